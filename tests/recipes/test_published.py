"""The published variants hold the published values: those by which one recipe is mistaken for another."""

import math

import pytest

from partwhole.recipes import files
from partwhole.training.schedules import learning_rate

# name: (optimiser, lr, weight decay, batch, epochs, projector, predictor, temperature, smallest crop)
PUBLISHED = {
    "simclr": ("sgd", 0.5, 1e-4, 512, 500, (512, 128), (), 0.5, 0.2),
    "moco": ("sgd", 0.5, 1e-4, 512, 500, (512, 128), (), 0.2, 0.2),
    "byol": ("sgd", 0.5, 1e-4, 512, 500, (512, 128), (512, 128), None, 0.2),
    "simsiam": ("sgd", 0.5, 1e-4, 512, 500, (512, 512, 512), (128, 512), None, 0.2),
    "simclr_solo": ("lars", 0.4, 1e-4, 256, 1000, (2048, 256), (), 0.2, 0.08),
    "moco_solo": ("sgd", 0.3, 1e-4, 256, 1000, (2048, 256), (), 0.2, 0.08),
    "byol_solo": ("lars", 1.0, 1e-5, 256, 1000, (4096, 256), (4096, 256), None, 0.08),
    "simsiam_solo": ("sgd", 0.5, 1e-5, 256, 1000, (2048, 2048, 2048), (512, 2048), None, 0.08),
    "simclr_lightly": ("sgd", 0.24, 5e-4, 512, 200, (512, 128), (), 0.5, 0.08),
    "moco_lightly": ("sgd", 0.24, 5e-4, 512, 200, (512, 128), (), 0.1, 0.08),
    "byol_lightly": ("sgd", 0.24, 5e-4, 512, 200, (1024, 256), (1024, 256), None, 0.08),
    "simsiam_lightly": ("sgd", 0.06, 5e-4, 512, 200, (2048, 2048), (512, 2048), None, 0.2),
}


@pytest.mark.parametrize("data", ["cifar10", "cifar100"])
@pytest.mark.parametrize("name", PUBLISHED)
def test_optimiser_heads_and_crops_are_those_published(data, name):
    optimiser, lr, decay, batch, epochs, projector, predictor, temperature, crop = PUBLISHED[name]
    recipe = files.load(f"{data}/{name}")
    training, method = recipe.training, recipe.method
    assert (training.optimiser, training.lr, training.weight_decay) == (optimiser, lr, decay)
    assert (training.batch_size, training.epochs, training.momentum) == (batch, epochs, 0.9)
    assert (method.projector, method.predictor) == (projector, predictor)
    assert temperature is None or method.temperature == temperature
    assert recipe.views.scale == (crop, 1.0) and recipe.data.name == data and recipe.data.images is None
    assert (recipe.model.blocks, recipe.model.width, recipe.model.stem) == ((2, 2, 2, 2), 64, "cifar")


@pytest.mark.parametrize("name", PUBLISHED)
def test_cifar100_differs_from_cifar10_in_the_data_only(name):
    ten, hundred = files.dump(files.load(f"cifar10/{name}")), files.dump(files.load(f"cifar100/{name}"))
    assert {key for key in ten if ten[key] != hundred[key]} == {"about", "data"}


def test_contrastive_crops_simclr_scales_its_loss_by_temperature_over_base_temperature():
    method = files.load("cifar10/simclr").method
    assert math.isclose(method.loss_scale, 0.5 / 0.07, rel_tol=1e-12) and method.concatenate
    assert (
        files.load("cifar10/simclr_solo").method.loss_scale
        == files.load("cifar10/simclr_lightly").method.loss_scale
        == 1
    )


@pytest.mark.parametrize("base", ["simclr", "moco", "byol", "simsiam"])
def test_contrastive_crops_cosine_ends_at_a_tenth_and_moves_once_an_epoch(base):
    training = files.load(f"cifar10/{base}").training
    steps = 97  # whole batches of 512 in 50,000 images
    by_epoch = {1: 0.5, 101: 0.457, 251: 0.275, 401: 0.0930, 500: 0.0500}
    for epoch, rate in by_epoch.items():
        first, last = (
            learning_rate(training, step, steps) for step in ((epoch - 1) * steps, epoch * steps - 1)
        )
        assert first == last and abs(first - rate) < 5e-4
    views = files.load(f"cifar10/{base}").views
    assert views.blur.probability == views.solarise == (0, 0) and training.decay_norm_and_bias


def test_the_queue_of_contrastive_crop_is_longer_than_the_data():
    method = files.load("cifar10/moco").method
    assert (method.queue, method.momentum, method.symmetric) == (
        65536,
        0.999,
        False,
    ) and method.queue > 50_000
    assert files.load("cifar10/moco").model.norm == "split"


def test_ema_momenta():
    momenta = {
        name: files.load(f"cifar10/{name}").method
        for name in ("byol", "byol_solo", "byol_lightly", "moco_solo", "moco_lightly")
    }
    assert {name: (method.momentum, method.momentum_end) for name, method in momenta.items()} == {
        "byol": (0.996, None), "byol_solo": (0.99, 1.0), "byol_lightly": (0.99, None),
        "moco_solo": (0.99, 0.999), "moco_lightly": (0.99, None),
    }  # fmt: skip


def test_simsiams_heads_and_predictor_rate():
    ours, solo, lightly = (files.load(f"cifar10/simsiam{end}") for end in ("", "_solo", "_lightly"))
    assert [len(recipe.method.projector) for recipe in (ours, solo, lightly)] == [3, 3, 2]
    assert [recipe.training.fixed_predictor_lr for recipe in (ours, solo, lightly)] == [True, True, False]
    assert ours.model.zero_init_residual and ours.method.projector_last_norm


@pytest.mark.parametrize("base", ["simclr", "moco", "byol", "simsiam"])
def test_solo_warms_up_ten_epochs_to_a_cosine_that_ends_at_zero_and_crops_bicubic(base):
    recipe = files.load(f"cifar10/{base}_solo")
    training, steps = recipe.training, 195
    assert learning_rate(training, 0, steps) == 3e-5 and training.warmup_epochs == 10
    assert math.isclose(learning_rate(training, 10 * steps, steps), training.lr)
    assert learning_rate(training, 1000 * steps - 1, steps) < 1e-6 * training.lr + 1e-6
    assert recipe.views.interpolation == "bicubic"
    assert training.optimiser == "sgd" or (
        training.trust,
        training.trust_clip,
        training.decay_norm_and_bias,
    ) == (0.02, True, False)


def test_views_that_differ_between_the_two_sides():
    for name in ("byol_solo", "byol_lightly"):
        views = files.load(f"cifar10/{name}").views
        assert (
            views.solarise == (0, 0.2) and views.jitter.saturation == 0.2 and views.blur.probability == (0, 0)
        )
    strong = files.load("cifar10/simclr_solo").views
    jitter = strong.jitter
    assert (jitter.brightness, jitter.contrast, jitter.saturation, jitter.hue) == (0.8, 0.8, 0.8, 0.2)
    assert strong.blur.probability == (0.5, 0.5) and strong.grayscale == 0.2


def test_the_narrow_runs_stay_within_their_budget():
    for base in ("simclr", "moco", "byol", "simsiam"):
        narrow, scenes = files.load(f"cifar10/narrow_{base}"), files.load(f"scenes/{base}")
        assert narrow.data.images == 20_000 and narrow.training.epochs * narrow.data.images <= 600_000
        assert scenes.training.epochs * scenes.data.images <= 200_000
        assert (
            narrow.model.blocks == scenes.model.blocks == (1, 1, 1, 1)
            and narrow.model.width == scenes.model.width == 16
        )


def test_lewels_recipe_is_the_released_script():
    recipe = files.load("imagenet/byol_lewel")
    training, method, views, steps = recipe.training, recipe.method, recipe.views, 1251
    assert (training.optimiser, training.lr, training.weight_decay, training.batch_size) == (
        "lars",
        3.6,
        1.5e-6,
        1024,
    )
    assert (training.epochs, training.momentum, training.trust, training.decay_norm_and_bias) == (
        100,
        0.9,
        0.001,
        False,
    )
    assert (method.base, method.projector, method.predictor, method.target_mode) == (
        "byol",
        (4096, 256),
        (4096, 256),
        "eval",
    )
    assert (method.momentum, method.momentum_end, method.output_bias, method.symmetric) == (
        0.98,
        1.0,
        False,
        False,
    )
    assert (method.lewel.groups, method.lewel.scale, method.lewel.weight, method.lewel.head) == (
        4,
        1.0,
        0.5,
        "coupled",
    )
    assert (views.size, views.scale, views.blur.probability, views.solarise) == (
        224,
        (0.2, 1.0),
        (1.0, 0.1),
        (0.0, 0.2),
    )
    jitter = views.jitter
    assert (jitter.probability, jitter.brightness, jitter.contrast, jitter.saturation, jitter.hue) == (
        0.8,
        0.4,
        0.4,
        0.2,
        0.1,
    )
    assert learning_rate(training, 0, steps) < 3.6 / 1000  # from about zero, at every step
    assert math.isclose(learning_rate(training, 5 * steps, steps), 1.8, rel_tol=1e-3)
    first, last = (learning_rate(training, step, steps) for step in (55 * steps, 56 * steps - 1))
    # Half of the cosine, which moves once an epoch.
    assert first == last and math.isclose(first, 1.8, rel_tol=1e-6)


def test_lewels_small_recipes_differ_from_their_bases_in_what_they_say():
    def differing(one, two):
        one, two = (files.load(name).method.model_dump() for name in (one, two))
        return {key for key in one if one[key] != two[key]}

    assert differing("cifar10/narrow_byol_lewel", "cifar10/narrow_byol") == {"objective", "output_bias"}
    assert differing("scenes/byol_lewel", "scenes/byol") == {"objective", "output_bias"}
    assert differing("cifar10/narrow_byol_lewel", "scenes/byol_lewel") == set()
