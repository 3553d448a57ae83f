"""LEWEL's published numbers: as the facts page has them, marked by how far they can be trusted, and in
keeping with each other.
"""

import csv
import math
import re
from functools import lru_cache
from types import SimpleNamespace

import pytest
import torch

from partwhole import places
from partwhole.experiments import results, tables
from partwhole.methods.method import ema_momentum
from partwhole.recipes import files

FILE = places.root() / "data" / "published" / "lewel.csv"
with FILE.open(encoding="utf-8", newline="") as opened:
    ROWS = list(csv.DictReader(opened))
# table: how many numbers, how their source begins, how their trust begins
TABLES = {
    "readme_linear": (3, "the authors' README", "printed by the authors"),
    "readme_coco": (10, "the authors' README", "printed by the authors"),
    "abstract_gains": (8, "Huang et al. 2022, abstract", "stated in the abstract"),
    "third_party": (7, ("wizwand.com", "W2SSL's README"), "third party: "),
    "log_loss": (14, "the authors' log", "read from the authors' public log; one run"),
    "log_knn": (14, "the authors' log", "read from the authors' public log; one run"),
    "log_first_epoch": (6, "the authors' log", "read from the authors' public log; one run"),
    "log_momentum": (3, "the authors' log", "read from the authors' public log; one run"),
}


@lru_cache
def numbers(table):
    """All of a table, as the book's own tables would get them: by (row, column)."""
    any_grid = tables.grid("lewel/controls").model_copy(update={"published": FILE.name})
    return results.published(f"lewel/{table}", any_grid)


def read(table, row, column):
    return numbers(table)[row, column][0]


def series(table):
    """A table of the log as {number at the end of the row's name: value}, in the order of the file."""
    return {int(row.split("_")[1]): value for (row, _), (value, _) in numbers(table).items()}


def test_every_number_has_one_place_a_source_and_a_trust():
    places = [(row["table"], row["row"], row["column"]) for row in ROWS]
    assert len(set(places)) == len(places) == sum(count for count, _, _ in TABLES.values())
    for row in ROWS:
        _, source, trust = TABLES[row["table"].removeprefix("lewel/")]
        assert row["source"].startswith(source) and row["trust"].startswith(trust)
        assert None not in row and None not in row.values(), "a comma without quotes"


@pytest.mark.parametrize("table", TABLES)
def test_each_table_is_read_whole(table):
    assert len(numbers(table)) == TABLES[table][0] == sum(row["table"] == f"lewel/{table}" for row in ROWS)


@pytest.mark.parametrize(
    ("table", "row", "column", "value"),
    [("readme_linear", "eman_100", "linear", "71.9"), ("readme_linear", "eman_200", "linear", "72.8"),
     ("readme_linear", "syncbn_400", "linear", "73.8"), ("readme_coco", "eman_200_c4_1x", "box_ap", "38.5"),
     ("readme_coco", "eman_200_c4_1x", "mask_ap", "33.7"), ("readme_coco", "eman_200_fpn_1x", "mask_ap", "37.4"),
     ("readme_coco", "eman_200_fpn_2x", "box_ap", "42.2"), ("readme_coco", "syncbn_400_fpn_1x", "box_ap", "41.9"),
     ("readme_coco", "syncbn_400_fpn_2x", "mask_ap", "39.1"), ("abstract_gains", "moco", "imagenet_linear", "1.6"),
     ("abstract_gains", "moco", "detection", "0.4"), ("abstract_gains", "byol", "imagenet_semi", "1.3"),
     ("abstract_gains", "byol", "voc_segmentation", "0.7"), ("third_party", "wizwand", "voc_segmentation_miou", "67.8"),
     ("third_party", "wizwand", "voc_detection_ap", "57.3"), ("third_party", "w2ssl_lewel_200", "imagenet_linear", "68.4"),
     ("third_party", "w2ssl_byol_200", "imagenet_linear", "70.6"), ("log_loss", "epoch_0", "loss", "0.804"),
     ("log_loss", "epoch_2", "loss", "0.624"), ("log_loss", "epoch_60", "loss", "0.520"),
     ("log_loss", "epoch_99", "loss", "0.308"), ("log_knn", "after_5", "knn_monitor", "9.07"),
     ("log_knn", "after_50", "knn_monitor", "28.15"), ("log_knn", "after_95", "knn_monitor", "35.18"),
     ("log_knn", "after_100", "knn_monitor", "35.09"), ("log_first_epoch", "iteration_0", "loss", "3.974"),
     ("log_first_epoch", "iteration_150", "loss", "0.097"), ("log_momentum", "epoch_50", "momentum", "0.99031")],
)  # fmt: skip
def test_numbers_are_those_of_the_facts_page_digit_by_digit(table, row, column, value):
    written = [
        line["value"]
        for line in ROWS
        if (line["table"], line["row"], line["column"]) == (f"lewel/{table}", row, column)
    ]
    assert written == [value] and read(table, row, column) == float(value)


def test_longer_training_helps_wherever_the_readme_lets_one_compare():
    assert read("readme_linear", "eman_100", "linear") < read("readme_linear", "eman_200", "linear")
    for column in ("box_ap", "mask_ap"):
        for model in ("eman_200", "syncbn_400"):
            assert read("readme_coco", f"{model}_fpn_1x", column) < read(
                "readme_coco", f"{model}_fpn_2x", column
            )
        assert read("readme_coco", "eman_200_c4_1x", column) < read("readme_coco", "eman_200_fpn_1x", column)
    for row in {row for row, _ in numbers("readme_coco")}:
        assert read("readme_coco", row, "mask_ap") < read("readme_coco", row, "box_ap")


def test_the_benchmark_site_repeats_the_readme_where_both_speak():
    assert read("third_party", "wizwand", "imagenet_linear") == read("readme_linear", "syncbn_400", "linear")
    assert read("third_party", "wizwand", "coco_box_ap") == read("readme_coco", "syncbn_400_fpn_1x", "box_ap")


def test_the_third_partys_gain_over_moco_is_not_the_abstracts():
    gain = read("third_party", "w2ssl_lewel_200", "imagenet_linear") - read(
        "third_party", "w2ssl_moco_200", "imagenet_linear"
    )
    assert round(gain, 1) == 0.9 != read("abstract_gains", "moco", "imagenet_linear")


def test_every_gain_says_that_its_setting_is_not_verified():
    gains = [row for row in ROWS if row["table"] == "lewel/abstract_gains"]
    assert all(0 < float(row["value"]) < 2 and row["trust"].endswith("not verified") for row in gains)


def test_the_logged_loss_dips_and_rises_while_the_monitor_rises():
    loss, knn = series("log_loss"), series("log_knn")
    assert (
        list(loss) == sorted(loss)
        and list(knn) == sorted(knn)
        and all(0 <= value <= 8 for value in loss.values())
    )
    assert loss[0] > loss[1] > loss[2] < loss[5] < loss[10] < loss[20], "a dip, then a rise"
    late = [value for epoch, value in loss.items() if epoch >= 20]
    assert late == sorted(late, reverse=True), "and down from epoch 20"
    rising = [value for after, value in knn.items() if after <= 95]
    assert rising == sorted(rising) and knn[100] < knn[95] == max(knn.values()), (
        "the monitor never falls before epoch 95"
    )


def test_the_first_epoch_falls_to_near_collapse_and_recovers():
    loss = series("log_first_epoch")
    low = min(loss, key=loss.get)
    assert low == 150 and abs(loss[0] - 4) < 0.05, "about 4, as of vectors that know nothing of each other"
    values, place = list(loss.values()), list(loss).index(low)
    assert values[: place + 1] == sorted(values[: place + 1], reverse=True) and values[place:] == sorted(
        values[place:]
    )
    assert loss[low] < series("log_loss")[0] / 8, "far below the mean of its epoch"


def test_the_logged_momentum_is_the_schedules():
    printed = {row: value for (row, _), (value, _) in numbers("log_momentum").items()}
    settings = SimpleNamespace(momentum=printed["start"], momentum_end=printed["end"])
    steps = 1251
    assert steps == math.floor(1_281_167 / 1024), "whole batches of an epoch"
    progress = torch.tensor([0, 51 * steps - 1, 100 * steps], dtype=torch.float64) / (100 * steps)
    made = ema_momentum(settings, progress).tolist()
    assert (
        [f"{value:.5f}" for value in made]
        == [f"{value:.5f}" for value in printed.values()]
        == ["0.98000", "0.99031", "1.00000"]
    )
    by_hand = [1 - (1 - 0.98) * (math.cos(math.pi * t) + 1) / 2 for t in progress.tolist()]
    assert made == pytest.approx(by_hand, abs=1e-12)


def test_the_recipe_quotes_the_readme():
    quoted = re.search(r"(\d+) epochs, ([\d.]+) % linear", files.load("imagenet/byol_lewel").about)
    assert float(quoted[2]) == read("readme_linear", f"eman_{quoted[1]}", "linear")
