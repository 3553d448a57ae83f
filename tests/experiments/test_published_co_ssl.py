"""CO-SSL's published numbers: the one that could be verified, and where the book's recipes say what
is ours.
"""

import csv

from partwhole import places
from partwhole.experiments import tables
from partwhole.recipes import files

FILE = places.root() / "data" / "published" / "co_ssl.csv"
with FILE.open(encoding="utf-8", newline="") as opened:
    ROWS = list(csv.DictReader(opened))
RECIPES = [name for name in files.names() if "co_ssl" in name]


def test_the_abstracts_number_is_the_only_one():
    [row] = ROWS
    assert (row["table"], row["row"], row["column"], row["value"]) == (
        "co_ssl/abstract",
        "co_ssl_100",
        "linear",
        "71.5",
    )
    assert row["source"].startswith(
        "Aubret, Teuliere & Triesch 2025 (arXiv 2501.02860), abstract, ImageNet-1K, 100"
    )
    assert (
        row["trust"].startswith("stated in the abstract")
        and "which network gives it is not stated" in row["trust"]
    )
    assert None not in row and None not in row.values(), "a comma without quotes"


def test_no_table_of_the_book_has_a_column_of_the_papers():
    """Every other number is inaccessible: rows of ours must not meet a number by their name."""
    for name in tables.names():
        if name.startswith("co_ssl/"):
            assert tables.grid(name).published in (None, FILE.name)
            assert not [row for row in ROWS if row["table"] == name]


def test_every_recipe_says_that_it_is_ours_and_carries_no_published_number():
    assert len(RECIPES) >= 10
    for name in RECIPES:
        text = files.path(name).read_text(encoding="utf-8")
        assert text.startswith("# Ours"), name
        recipe = files.load(name)
        assert recipe.method.objective == "co_ssl" and recipe.method.co_ssl.weight == 0.3
        assert "%" not in recipe.about


def test_what_is_not_ours_in_the_large_recipes_is_solo_learns():
    """Facts page, 2.2: learning rate, weight decay, epochs' order, heads, crops and asymmetric views."""
    for name, lr, decay, predictor, blur in (
        ("cifar10/byol_co_ssl", 1.0, 1e-5, 4096, (0.0, 0.0)),
        ("cifar100/byol_co_ssl", 1.0, 1e-5, 4096, (0.0, 0.0)),
        ("tiny_imagenet/byol_co_ssl", 1.0, 1e-5, 4096, (1.0, 0.1)),
        ("imagenet/byol_co_ssl", 0.5, 1e-6, 8192, (1.0, 0.1)),
    ):
        recipe = files.load(name)
        training, method, views = recipe.training, recipe.method, recipe.views
        assert (training.optimiser, training.lr, training.weight_decay, training.batch_size) == (
            "lars",
            lr,
            decay,
            256,
        )
        assert (training.trust, training.trust_clip, training.warmup_epochs, training.warmup_lr) == (
            0.02,
            True,
            10,
            3e-5,
        )
        assert (method.projector, method.predictor) == ((4096, 256), (predictor, 256))
        assert (method.momentum, method.momentum_end) == (0.99, 1.0)
        assert (views.scale, views.solarise, views.blur.probability) == ((0.08, 1.0), (0.0, 0.2), blur)


def test_co_ssls_recipes_differ_from_their_bases_in_the_objective_alone():
    def values(name, **update):
        recipe = files.load(name)
        plain = recipe.method.model_copy(update={"objective": "pooled"})
        return recipe.model_copy(update={"method": plain, "about": "", **update})

    for base in ("byol", "moco", "simclr", "simsiam"):
        assert values(f"cifar10/narrow_{base}_co_ssl") == values(f"cifar10/narrow_{base}")
    assert values("scenes/byol_co_ssl") == values("scenes/byol")
    shortened = files.load("cifar10/byol_solo").training.model_copy(update={"epochs": 200})
    assert values("cifar10/byol_co_ssl") == values("cifar10/byol_solo", training=shortened)
    rf17 = files.load("cifar10/byol_co_ssl_rf17")
    assert rf17.model_copy(
        update={"model": files.load("cifar10/byol_co_ssl").model, "about": ""}
    ) == files.load("cifar10/byol_co_ssl").model_copy(update={"about": ""})
    from partwhole.models.receptive_field import NETWORKS

    assert rf17.model == NETWORKS["rf17_resnet18"]
