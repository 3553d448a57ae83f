"""ContrastiveCrop's published numbers: as printed, with the paper's own differences, and read by the tables
that show them.
"""

import csv
import re
from functools import lru_cache

import pytest

from partwhole import places
from partwhole.experiments import results, tables
from partwhole.recipes import files

FILE = places.root() / "data" / "published" / "contrastive_crop.csv"
with FILE.open(encoding="utf-8", newline="") as opened:
    ROWS = list(csv.DictReader(opened))
BASES = ("simclr", "moco", "byol", "simsiam")
SIZES = {
    "table1_cifar10": 8,
    "table1_cifar100": 8,
    "table1_tiny_imagenet": 8,
    "table1_stl10": 8,
    "table2_in200": 8,
    "table2_in1k": 8,
    "table3": 5,
    "table4": 49,
    "table5": 10,
    "figure4": 12,
    "figure5": 3,
    "figure6a": 7,
    "figure6b": 7,
}


@lru_cache
def numbers(table):
    """All of a table, as the book's own tables get them."""
    any_grid = tables.grid("contrastive_crop/components").model_copy(update={"published": FILE.name})
    return results.published(f"contrastive_crop/{table}", any_grid)


def read(table, row, column="linear"):
    return numbers(table)[row, column][0]


def gain(table, name):
    return round(read(table, f"{name}_contrastive") - read(table, f"{name}_random"), 2)


def test_every_number_has_one_place_a_source_and_a_trust():
    places = [(row["table"], row["row"], row["column"]) for row in ROWS]
    assert len(set(places)) == len(places) == sum(SIZES.values())
    assert {
        name: sum(table == f"contrastive_crop/{name}" for table, _, _ in places) for name in SIZES
    } == SIZES
    for row in ROWS:
        kind, number = re.fullmatch(
            r"contrastive_crop/(table|figure)(\d[ab]?)(?:_\w+)?", row["table"]
        ).groups()
        assert row["source"].startswith(f"Peng et al. 2022, {kind.capitalize()} {number}, ")
        assert row["trust"].startswith(
            {"table": "printed in the paper", "figure": ("read off", "digitised")}[kind]
        )
        assert None not in row and None not in row.values(), "a comma without quotes"


@pytest.mark.parametrize(
    ("table", "row", "column", "value"),
    [("table1_cifar10", "simclr_random", "linear", 89.63), ("table1_cifar10", "moco_contrastive", "linear", 88.78),
     ("table1_cifar100", "byol_random", "linear", 63.75), ("table1_cifar100", "simsiam_contrastive", "linear", 65.82),
     ("table1_tiny_imagenet", "simsiam_random", "linear", 43.03), ("table1_stl10", "byol_contrastive", "linear", 92.42),
     ("table2_in200", "moco_v1_contrastive", "linear", 65.80), ("table2_in1k", "simclr_random", "linear", 61.60),
     ("table2_in1k", "moco_v1_random", "linear", 57.25), ("table3", "update_50", "linear", 64.11),
     ("table4", "supervised", "in1k_top1", 76.1), ("table4", "random_init", "coco_mask_ap", 29.3),
     ("table4", "infomin", "voc_ap75", 64.6), ("table4", "moco_v1_contrastive", "coco_box_ap50", 58.5),
     ("table5", "crop_alone_contrastive", "linear", 45.9), ("table5", "colour_random", "linear", 60.6),
     ("figure4", "alpha_0.6", "richness", 0.5940), ("figure4", "random", "similarity", 0.8434),
     ("figure5", "localisation", "similarity", 0.856), ("figure6a", "threshold_0.30", "linear", 63.11),
     ("figure6b", "alpha_1.5", "linear", 62.28), ("figure6b", "alpha_0.1", "linear", 64.21)],
)  # fmt: skip
def test_numbers_are_those_of_the_paper(table, row, column, value):
    assert read(table, row, column) == value


@pytest.mark.parametrize(
    ("table", "gains"),
    [("table1_cifar10", (0.45, 2.05, 0.58, 0.52)), ("table1_cifar100", (1.61, 1.55, 0.87, 1.03)),
     ("table1_tiny_imagenet", (1.02, 0.89, 1.15, 1.51)), ("table1_stl10", (0.58, 0.64, 0.58, 0.44))],
)  # fmt: skip
def test_gains_on_small_images(table, gains):
    assert tuple(gain(table, base) for base in BASES) == gains


@pytest.mark.parametrize(
    ("table", "names", "gains"),
    [("table2_in200", ("simclr", "moco_v1", "moco_v2", "simsiam"), (0.94, 1.28, 1.18, 0.65)),
     ("table2_in1k", ("simclr", "moco_v1", "moco_v2", "simsiam"), (0.25, 1.09, 0.49, 0.33)),
     ("table5", ("flip_colour_blur", "flip", "colour", "blur", "crop_alone"), (1.2, 0.5, 0.8, 0.3, 0.4))],
)  # fmt: skip
def test_gains_on_imagenet_and_beside_other_transformations(table, names, gains):
    assert tuple(gain(table, name) for name in names) == gains


def test_the_ablations_agree_with_each_other_where_they_meet():
    random, localisation, both = (
        read("figure6a", "threshold_0.00"),
        read("figure6b", "alpha_1.0"),
        read("figure6b", "alpha_0.6"),
    )
    assert random == read("table2_in200", "moco_v2_random") == read("table3", "update_0") == 63.43
    assert localisation == read("figure6a", "threshold_0.10") == 63.64
    assert both == read("table2_in200", "moco_v2_contrastive") == read("table3", "update_20") == 64.61
    gains = [round(gain, 2) for gain in (localisation - random, both - localisation, both - random)]
    assert gains == [0.21, 0.97, 1.18]
    assert (
        round(
            read("table4", "moco_v1_contrastive", "in1k_top1")
            - read("table4", "moco_v1_random", "in1k_top1"),
            1,
        )
        == 2.4
    )


@pytest.mark.parametrize("data", ["cifar10", "cifar100"])
@pytest.mark.parametrize("base", BASES)
def test_recipes_quote_the_same_numbers(data, base):
    for row, recipe in ((f"{base}_random", base), (f"{base}_contrastive", f"{base}_contrastive_crop")):
        quoted = re.search(r"([\d.]+) % linear", files.load(f"{data}/{recipe}").about).group(1)
        assert float(quoted) == read(f"table1_{data}", row)


@pytest.mark.parametrize(
    "table", [name for name in tables.names() if name.startswith("contrastive_crop/table")]
)
def test_a_table_of_the_book_finds_a_number_for_every_row(table):
    found = tables.grid(table)
    assert {row for row, column in results.published(table, found) if column in found.metrics} == set(
        found.rows
    )
