"""LoGo's published numbers: the one cell that could be verified, and recipes that say what is not known."""

import csv

import pytest

from partwhole import places
from partwhole.experiments import tables
from partwhole.recipes import files

FILE = places.root() / "data" / "published" / "logo.csv"
with FILE.open(encoding="utf-8", newline="") as opened:
    ROWS = list(csv.DictReader(opened))
LARGE = [
    "cifar10/simsiam_logo",
    "cifar10/moco_logo",
    "cifar100/simsiam_logo",
    "cifar100/moco_logo",
    "imagenet/moco_logo",
]


def test_the_only_number_is_the_quoted_cell_with_how_far_it_can_be_trusted():
    [row] = ROWS
    assert (row["table"], row["column"], row["value"]) == ("logo/table1", "knn", "87.67")
    assert row["trust"].startswith("second-hand") and "64.13" in row["trust"]
    assert None not in row and None not in row.values(), "a comma without quotes"


def test_no_row_of_ours_meets_a_number_by_its_name():
    names = [name for name in tables.names() if name.startswith("logo/")]
    assert len(names) == 4 and not [row for row in ROWS if row["table"] in names]


@pytest.mark.parametrize("name", LARGE)
def test_the_large_recipes_are_those_of_the_facts_page(name):
    recipe = files.load(name)
    views, logo, training = recipe.views, recipe.method.logo, recipe.training
    assert (views.scale, views.local.scale, views.local.count) == ((0.4, 1.0), (0.05, 0.4), 2)
    assert (views.jitter.saturation, views.grayscale) == (0.4, 0.2)
    assert (training.epochs, training.weight_decay, training.momentum) == (200, 1e-4, 0.9)
    assert training.lr == pytest.approx(0.03 * training.batch_size / 256) == logo.critic_lr
    if recipe.method.base == "moco":
        method = recipe.method
        assert (method.queue, method.momentum, method.temperature) == (4096, 0.999, 0.07)
        assert (logo.mode, logo.clip, logo.weights, method.symmetric) == ("code", 0.015, "mean", True)
        assert method.projector[-1] == 128 and not method.projector_norm
    else:
        assert (logo.mode, logo.lam, logo.weights) == ("paper", 1e-4, "sum")


def test_on_imagenet_it_is_a_resnet_34_at_two_sizes():
    recipe = files.load("imagenet/moco_logo")
    assert (recipe.model.blocks, recipe.model.stem) == ((3, 4, 6, 3), "imagenet")
    assert (recipe.views.size, recipe.views.local.size) == (224, 96)


@pytest.mark.parametrize("base", ["simclr", "moco", "byol", "simsiam"])
def test_narrow_recipes_differ_from_their_base_in_objective_and_crops_alone(base):
    ours, plain = files.load(f"cifar10/narrow_{base}_logo"), files.load(f"cifar10/narrow_{base}")
    views = plain.views.model_copy(update={"scale": (0.4, 1.0), "local": ours.views.local})
    method = plain.method.model_copy(update={"objective": "logo", "logo": ours.method.logo})
    assert ours == plain.model_copy(update={"views": views, "method": method, "about": ours.about})
