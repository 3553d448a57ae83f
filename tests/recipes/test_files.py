"""Recipe files: every one loads; a wrong name, key or value is one clear line; the digest changes exactly
when a run would.
"""

import pytest

from partwhole.errors import BadInput
from partwhole.recipes import files
from partwhole.recipes.schema import Recipe


@pytest.mark.parametrize("name", files.names())
def test_every_recipe_loads_and_says_what_it_is(name):
    recipe = files.load(name)
    text = files.path(name).read_text(encoding="utf-8")
    assert text.startswith("# ") and 20 < len(recipe.about) < 120 and "\n" not in recipe.about
    assert Recipe(**files.dump(recipe)) == recipe
    assert recipe.data.name.split("/")[0].startswith(name.split("/")[0])


def test_there_are_the_four_bases_in_every_published_variant_and_on_scenes():
    bases = ("simclr", "moco", "byol", "simsiam")
    published = {
        f"{data}/{base}{end}"
        for data in ("cifar10", "cifar100")
        for base in bases
        for end in ("", "_solo", "_lightly")
    }
    ours = (
        {f"scenes/{base}" for base in bases}
        | {f"cifar10/narrow_{base}" for base in bases}
        | {"imagenette/simclr"}
    )
    assert published | ours <= set(files.names())
    assert all(files.load(name).method.base in name for name in files.names())


@pytest.mark.parametrize("base", ["simclr", "moco", "byol", "simsiam"])
@pytest.mark.parametrize("data", ["cifar10", "cifar100"])
def test_every_row_of_contrastive_crops_table_differs_from_its_random_crop_in_the_crops_alone(data, base):
    plain, contrastive = files.load(f"{data}/{base}"), files.load(f"{data}/{base}_contrastive_crop")
    own = contrastive.views.contrastive_crop
    assert (own.alpha, own.threshold, own.rounding, own.warmup, own.interval) == (
        0.6,
        0.1,
        "official",
        0.2,
        0.2,
    )
    back = contrastive.views.model_copy(
        update={"sampler": "random_resized_crop", "contrastive_crop": plain.views.contrastive_crop}
    )
    assert contrastive.views.sampler == "contrastive_crop"
    assert contrastive.model_copy(update={"views": back, "about": plain.about}) == plain


def test_overrides_are_read_as_yaml_and_reach_every_depth():
    given = [
        "training.epochs=7",
        "training.weight_decay=1e-5",
        "model.blocks=[1,1,1,1]",
        "views.jitter.hue=0",
        "training.compile=true",
    ]
    recipe = files.load("cifar10/simclr", given)
    assert (
        recipe.training.epochs == 7
        and recipe.training.weight_decay == 1e-5
        and recipe.training.compile is True
    )
    assert (
        recipe.model.blocks == (1, 1, 1, 1)
        and recipe.views.jitter.hue == 0
        and recipe.views.jitter.contrast == 0.4
    )


REFUSED = [
    ("training.epoch=3", "cifar10/simclr: unknown key training.epoch; did you mean training.epochs?"),
    ("epochs=3", "cifar10/simclr: unknown key epochs; did you mean training.epochs?"),
    ("views.jitter.hou=0", "cifar10/simclr: unknown key views.jitter.hou; did you mean views.jitter.hue?"),
    (
        "colour=3",
        "cifar10/simclr: unknown key colour; a recipe knows about, data, views, model, method, "
        "training, evaluation",
    ),
    (
        "training.epochs.x=3",
        "cifar10/simclr: unknown key training.epochs.x; training.epochs is a single value",
    ),
    ("training.lr=-1", "cifar10/simclr: training.lr is -1; Input should be greater than 0"),
    (
        "training.lr=fast",
        "cifar10/simclr: training.lr is 'fast'; Input should be a valid number, unable to parse string "
        "as a number",
    ),
    ("method.base=simclrr", "cifar10/simclr: unknown method.base 'simclrr'; did you mean simclr?"),
    (
        "method.base=moco",
        "cifar10/simclr: method.queue is missing; MoCo compares with kept keys, so say how many, such "
        "as 4096",
    ),
    ("method.base=byol", "cifar10/simclr: method.predictor is missing; byol needs one, such as [512, 128]"),
    (
        "method.projector=[3, 0]",
        "cifar10/simclr: method.projector[1] is 0; Input should be greater than or equal to 1",
    ),
    ("training=5", "cifar10/simclr: training is 5; it should be a section with keys of its own"),
    (
        "views.scale=[0.5, 0.2]",
        "cifar10/simclr: views: scale is [0.5, 0.2]; the first number must not exceed the second",
    ),
    (
        "views.contrastive_crop.box=[0.5, 0, 0.2, 1]",
        "cifar10/simclr: views.contrastive_crop: box is [0.5, 0.0, 0.2, 1.0]; it needs top <= bottom "
        "and left <= right",
    ),
    (
        "views.contrastive_crop.alpha=0",
        "cifar10/simclr: views.contrastive_crop.alpha is 0; Input should be greater than 0",
    ),
    (
        "views.contrastive_crop.threshold=1",
        "cifar10/simclr: views.contrastive_crop.threshold is 1; Input should be less than 1",
    ),
    (
        "views.sampler=contrastive",
        "cifar10/simclr: unknown views.sampler 'contrastive'; did you mean contrastive_crop?",
    ),
    (
        "training.warmup_epochs=600",
        "cifar10/simclr: training.warmup_epochs is 600, more than training.epochs (500)",
    ),
    (
        "training.epochs",
        "override 'training.epochs' has no value; expected key=value, such as training.epochs=50",
    ),
    (
        "views.scale=[1",
        "override 'views.scale=[1': its value is not valid YAML; a list is written [1, 2], a text 'so'",
    ),
]


@pytest.mark.parametrize(("override", "line"), REFUSED)
def test_a_wrong_key_or_value_is_one_line_that_says_what_to_do(override, line):
    with pytest.raises(BadInput) as caught:
        files.load("cifar10/simclr", [override])
    assert str(caught.value) == line


def test_of_several_mistakes_the_first_is_told_and_the_others_counted():
    with pytest.raises(BadInput, match=r"unknown key data.image; did you mean data.images\? \(and 1 more\)$"):
        files.load("cifar10/simclr", ["data.image=4", "training.lr=x"])


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("- a\n- b\n", "not a list of keys and values; expected sections such as data, method and training"),
        ("data: [1\n", "not valid YAML (line 2: expected ',' or ']', but got '<stream end>')"),
        ("data: {name: cifar10}\ndata: {name: x}\n", "not valid YAML (line 1: data is given twice)"),
        ("method: {base: simclr}\n", "data is missing"),
        (
            "extends: cifar100/simclr\n",
            "extends cifar100/simclr, which extends cifar10/simclr itself; extend that one",
        ),
        ("extends: cifar10/simcrl\n", "unknown recipe 'cifar10/simcrl'; did you mean cifar10/simclr?"),
        ("3: 4\n", "its keys must be texts"),
    ],
)
def test_a_file_that_is_no_recipe_is_refused_in_one_line(tmp_path, text, line):
    file = tmp_path / "mine.yaml"
    file.write_text(text)
    with pytest.raises(BadInput) as caught:
        files.load(file)
    assert line in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("cifar10/simcrl", "unknown recipe 'cifar10/simcrl'; did you mean cifar10/simclr?"),
        ("q", "unknown recipe 'q'; partwhole recipes lists them"),
        (
            "nowhere.yaml",
            "nowhere.yaml: no such file; expected a recipe in YAML, or a name that partwhole recipes lists",
        ),
        (
            "../recipes/cifar10/simclr",
            "unknown recipe '../recipes/cifar10/simclr'; did you mean cifar10/simclr?",
        ),
    ],
)
def test_an_unknown_recipe_is_refused_with_the_nearest_name(name, line):
    with pytest.raises(BadInput) as caught:
        files.load(name)
    assert str(caught.value) == line


def test_a_file_of_ones_own_can_extend_a_packaged_recipe_key_by_key(tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text("extends: cifar10/simclr\nviews: {jitter: {hue: 0.2}}\nmodel: {blocks: [1, 1, 1, 1]}\n")
    mine, whole = files.load(file), files.load("cifar10/simclr")
    assert mine.views.jitter.hue == 0.2 and mine.model.blocks == (1, 1, 1, 1)
    assert (
        mine.views.jitter.contrast == 0.4 and mine.training == whole.training and mine.method == whole.method
    )


def test_the_digest_changes_with_every_value_but_not_with_the_description_or_the_order():
    recipe = files.load("cifar10/simclr")
    assert (
        files.digest(recipe) == files.digest(files.load("cifar10/simclr")) and len(files.digest(recipe)) == 16
    )
    others = [
        "training.seed=1",
        "training.lr=0.4",
        "data.images=100",
        "views.flip=0",
        "method.temperature=0.4",
    ]
    digests = {files.digest(files.load("cifar10/simclr", [other])) for other in others}
    assert len(digests | {files.digest(recipe)}) == len(others) + 1
    assert files.digest(recipe.model_copy(update={"about": "something else"})) == files.digest(recipe)
    shuffled = Recipe(**dict(reversed(list(files.dump(recipe).items()))))
    assert files.digest(shuffled) == files.digest(recipe)


def test_a_value_written_out_at_its_default_does_not_change_the_digest():
    assert files.digest(files.load("cifar10/simclr", ["training.compile=false"])) == files.digest(
        files.load("cifar10/simclr")
    )


def test_a_dump_leaves_out_settings_that_are_not_in_use_unless_they_were_changed():
    plain, changed = files.load("scenes/simclr"), files.load("scenes/simclr", ["method.lewel.scale=0.1"])
    dumped = files.dump(plain)
    assert (
        not {"lewel", "logo", "co_ssl"} & set(dumped["method"]) and "contrastive_crop" not in dumped["views"]
    )
    assert files.dump(changed)["method"]["lewel"]["scale"] == 0.1
    lewel = files.load("scenes/byol_lewel")
    assert files.dump(lewel)["method"]["lewel"]["groups"] == lewel.method.lewel.groups
    for recipe in (plain, changed, lewel):
        again = type(recipe)(**files.dump(recipe))
        assert again == recipe and files.digest(again) == files.digest(recipe)
