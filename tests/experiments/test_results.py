"""Results: equal to what a hand computes from the records, and silent where nothing is known."""

import csv
import math

import numpy as np
import pytest

from partwhole import places, plots
from partwhole.errors import BadInput
from partwhole.experiments import (
    baselines,
    judgements,
    records,
    report,
    report_page,
    results,
    table_records,
    tables,
)
from partwhole.experiments.statistics import pack, summary
from partwhole.experiments.tables import cells, grid
from partwhole.experiments.verdicts import UNRECORDED, sentence
from support.fake_records import made_up

BASES = "foundations/bases"
# By seed 0, 1, 2.
KNN = {"simclr": (60.0, 62.0, 64.0), "moco": (59.0, 64.0, 69.0), "byol": (52.0, 54.5, 56.5)}


def right(share: float, seed: int) -> str:
    """1,000 test images of which exactly that share, in per cent, are right, packed; alike on one seed."""
    return pack(np.random.default_rng(seed).permutation(1000) < round(10 * share))


def write(cell, share: float, **fields) -> None:
    """A record of this cell with so much kNN accuracy and the test images that it got right."""
    made = made_up(cell, minutes=cell.seed + 1, knn=share)
    records.write(
        made
        | {"correct": {"knn": right(share, cell.seed)}, "test_images": 1000, "precision": "bf16"}
        | fields,
        cell.path,
    )


def write_baseline(cell, raw_pixels: float = 38.0) -> None:
    recipe = cell.recipe
    about = {
        "kind": "baseline",
        **baselines.image_set(recipe),
        "knn_k": 200,
        "knn_temperature": 0.1,
        "test_images": 1000,
    }
    records.write(about | {"metrics": {"raw_pixels": raw_pixels, "chance": 10.0}}, baselines.path(recipe))


def all_cells(table: str = BASES, scale: str = "study"):
    return {(cell.row, cell.seed): cell for cell in cells(table, scale)}


@pytest.fixture
def study(folders):
    """Records of three bases with three seeds each; SimSiam has none. The base has learned."""
    for cell in cells(BASES, "study"):
        if cell.row in KNN:
            write(cell, KNN[cell.row][cell.seed])
    write_baseline(cell)


def line(row: str, scale: str = "study"):
    return next(line for line in results.lines(BASES, scale) if line.label == row)


def test_the_lines_of_a_table_equal_those_by_hand(study):
    simclr, moco, byol = line("SimCLR"), line("MoCo v2"), line("BYOL")
    assert (simclr.ours.mean, simclr.ours.spread, simclr.ours.count) == (
        62.0,
        2.0,
        3,
    ) and simclr.comparison is None
    assert (simclr.minutes, simclr.images_seen, simclr.device) == (2.0, 199_680, "a processor, 2 cores")
    assert (moco.comparison.mean, moco.comparison.verdict) == (2.0, "not resolved")
    assert math.isclose(byol.comparison.mean, -23 / 3) and byol.comparison.verdict == "worse"
    assert (moco.comparison.family, moco.comparison.images) == (2, 1000)


def test_a_row_without_records_is_left_out_and_counted_as_missing(study):
    assert {line.label for line in results.lines(BASES, "study")} == {"SimCLR", "MoCo v2", "BYOL"}
    assert "Missing: 3 cells." in report.text(BASES)


def test_only_seeds_in_common_are_compared(study):
    all_cells()["byol", 1].path.unlink()
    byol = line("BYOL")
    assert (
        byol.ours.count == byol.comparison.seeds == 2
        and byol.comparison.mean == ((52 - 60) + (56.5 - 64)) / 2
    )


def test_a_record_of_another_recipe_does_not_count(study):
    write(all_cells()["simclr", 2], 99.0, digest="0" * 16)
    assert line("SimCLR").ours.mean == 61.0
    assert "Missing: 4 cells, 1 of them with a record of another recipe." in report.text(BASES)


def test_no_verdict_on_a_base_that_has_not_learned_or_whose_pixels_are_unknown(study):
    cell = all_cells()["simclr", 0]
    write_baseline(cell, raw_pixels=47.5)
    assert not any(line.comparison and line.comparison.p for line in results.lines(BASES, "study"))
    reason = (
        "the base has not learned enough to judge an objective on it: kNN 62.0 %; it must be 15 points above"
    )
    assert report.verdict(BASES, "study").startswith(f"No verdict, since {reason} raw pixels (47.5 %)")
    baselines.path(cell.recipe).unlink()
    assert report.verdict(BASES, "study").endswith("raw pixels are not recorded.")
    assert "raw pixels  not recorded" in report.text(BASES)


def test_no_verdict_where_records_do_not_say_which_test_images_were_right(study):
    for (row, seed), cell in all_cells().items():
        if row in KNN:
            write(cell, KNN[row][seed], correct={})
    comparison = line("BYOL").comparison
    assert (comparison.verdict, comparison.reason) == ("no verdict", UNRECORDED) and comparison.half > 0


def test_records_of_other_arithmetic_are_neither_paired_nor_pooled(study):
    for seed in range(3):
        write(all_cells()["byol", seed], 90.0, numerics=2)
    assert "BYOL" not in {line.label for line in results.lines(BASES, "study")}
    assert "Left out: 3 records of other arithmetic (numerics 2, bf16; shown: 1, bf16)" in report.text(BASES)
    write(all_cells()["moco", 0], 90.0, precision="fp32")
    assert line("MoCo v2").ours.mean == 66.5
    for seed in range(3):
        write(all_cells()["moco", seed], 70.0, numerics=2)
    write(all_cells()["simclr", 0], 71.0, numerics=2)
    assert table_records.table_records(BASES, "study").arithmetic == (2, "bf16")  # 7 cells against 2
    assert line("SimCLR").values == {0: 71.0}


def test_of_equally_many_records_the_newest_arithmetic_is_shown(folders):
    write(all_cells()["simclr", 0], 60.0)
    write(all_cells()["simclr", 1], 50.0, numerics=2)
    assert line("SimCLR").values == {1: 50.0}


def test_a_diverged_run_is_said_and_counted_and_never_averaged(study):
    write(all_cells()["byol", 2], 99.0, diverged=True, epochs=4, metrics={"knn": None, "loss": None})
    byol = line("BYOL")
    assert byol.ours.count == 2 and byol.ours.mean == 53.25 and byol.diverged == {2: 4}
    assert (byol.comparison.verdict, byol.comparison.reason) == ("no verdict", "1 of its 3 runs diverged")
    assert "52.0 54.5 diverged after epoch 4" in report.text(BASES)
    assert "Diverged: 1 runs; they are counted as results and not averaged." in report.text(BASES)


def test_a_row_of_which_every_run_diverged_is_shown_without_a_mean(study):
    for seed in range(3):
        write(all_cells()["byol", seed], 99.0, diverged=True, epochs=1, metrics={"knn": None})
    assert line("BYOL").ours is None and line("BYOL").comparison is None
    assert "diverged after epoch 1 diverged after epoch 1" in report.text(BASES)


def test_a_row_may_have_a_baseline_of_its_own(folders):
    for cell in cells("scenes/settings", "study"):
        records.write(made_up(cell, knn=20.0 + 3 * (cell.row == "nuisance_contrastive"), loss=4.0), cell.path)
    judged = judgements.judgements("scenes/settings", "study").comparisons["nuisance_contrastive", "knn"]
    assert (judged.baseline, judged.mean) == ("nuisance", 3.0)
    assert "Against another baseline: nuisance, ContrastiveCrop, against nuisance." in report.text(
        "scenes/settings"
    )


def test_a_figure_that_is_no_accuracy_gets_an_interval_and_no_verdict(folders):
    for cell in cells("scenes/settings", "study"):
        records.write(made_up(cell, knn=20.0, loss=4.0 + cell.seed * (cell.row == "nuisance")), cell.path)
    loss = judgements.judgements("scenes/settings", "study").comparisons["nuisance", "loss"]
    assert (loss.mean, loss.reason) == (1.0, judgements.NOT_JUDGED) and loss.half > 0


def test_doses_stand_beside_the_first_metric_without_a_verdict(folders):
    for cell in cells("contrastive_crop/components", "study"):
        records.write(made_up(cell, knn=48.0, box_area=0.25 * cell.seed), cell.path)
    head, *rows = report.block("contrastive_crop/components", "study", "knn", lambda text, _: text)
    assert head[-1] == "box area" and rows[0][-1] == "0.25" and "verdict" not in head
    assert not any(
        metric == "box_area"
        for _, metric in judgements.judgements("contrastive_crop/components", "study").comparisons
    )


def test_ordered_rows_get_a_trend_that_is_judged_with_the_rows(study, monkeypatch):
    about = grid(BASES).model_copy(update={"ordered": {"byol": 0.0, "simclr": 1.0, "moco": 2.0}})
    monkeypatch.setattr(table_records, "grid", lambda table: about)
    judged = judgements.judgements(BASES, "study")
    assert judged.trend.mean == pytest.approx((64.0 - 163 / 3) / 2) and judged.trend.family == 3
    assert f"trend: {sentence(judged.trend)}" in report.verdict(BASES, "study")


def test_questions_of_ones_own_are_corrected_for_each_other(study):
    questions = {"one": ("byol", "simclr"), "two": ("byol", "moco")}
    answers = judgements.compare_rows(BASES, "study", questions)
    assert [(name, one.family, one.baseline) for name, one in answers.items()] == [
        ("one", 2, "simclr"),
        ("two", 2, "moco"),
    ]
    assert judgements.verdict_sentences(BASES, "study", questions)["two"] == sentence(answers["two"])


def test_the_answers_to_questions_say_a_shared_reason_once(study):
    questions = {"byol or simclr?": ("byol", "simclr"), "moco or simclr?": ("moco", "simclr")}
    said = report.answers(BASES, "study", questions)
    comparisons = judgements.compare_rows(BASES, "study", questions)
    assert "byol or simclr?  \u22127.7 (" in said and sentence(comparisons["byol or simclr?"]) in said
    write_baseline(all_cells()["simclr", 0], raw_pixels=50.0)
    said = report.answers(BASES, "study", questions)
    assert said.startswith("No verdict:\n- against SimCLR: the base has not learned")
    assert said.count("learned") == 1
    assert report.answers(BASES, "full", questions) == "no row shares a seed with another yet"


def test_the_sentence_on_a_table_is_that_of_its_comparisons(study):
    said = judgements.verdict_sentences(BASES, "study")
    assert report.verdict(BASES, "study") == (
        f"Against SimCLR, at equal images seen: MoCo v2: not resolved. BYOL: {said['BYOL']}."
    )


def test_budgets_that_differ_are_said(study):
    write(all_cells()["moco", 0], 61.0, images_seen=100_000)
    assert "at unequal budgets" in report.verdict(BASES, "study")


def test_pixels_and_chance_are_rows_of_every_table_with_accuracies(study):
    rows = {row[0]: row[1] for row in report.block(BASES, "study", "knn", lambda text, _: text)}
    assert (rows["raw pixels"], rows["chance"]) == ("38.0", "10.0")


def test_every_image_set_of_a_committed_table_has_its_pixels_recorded():
    missing = [
        (table, floor.path.name)
        for table in results.tables()
        for scale in results.scales(table)
        for floor in results.floors(table, scale)
        if floor.record is None
    ]
    assert missing == [], f"run {baselines.COMMAND}"


def test_paper_ours_and_gap(folders, tmp_path, monkeypatch):
    (tmp_path / "data" / "published").mkdir(parents=True)
    (tmp_path / "data" / "published" / "foundations.csv").write_text(
        "table,row,column,value,source,trust\n"
        "foundations/bases,simclr,knn,84.8,somewhere,read\nfoundations/bases,moco,knn,,unknown,unverified\n",
        encoding="utf-8",
    )
    monkeypatch.setattr(places, "root", lambda: tmp_path)
    for cell in cells(BASES, "full"):
        records.write(made_up(cell, knn=83.0 + cell.seed), cell.path)
    simclr = line("SimCLR", "full")
    assert simclr.paper == 84.8 and math.isclose(simclr.gap, -0.8) and simclr.source == "somewhere (read)"
    assert line("MoCo v2", "full").paper is line("MoCo v2", "full").gap is line("BYOL", "full").paper is None
    write(all_cells()["simclr", 0], 40.0)
    assert line("SimCLR", "study").paper == 84.8 and line("SimCLR", "study").gap is None
    shown = report.text(BASES, "full")
    assert "84.8   −0.8" in shown and "Paper: somewhere (read)." in shown


def test_the_page_links_each_number_to_a_file_that_is_there(study, monkeypatch, tmp_path):
    (tmp_path / "data" / "published").mkdir(parents=True)
    (tmp_path / "data" / "published" / "foundations.csv").write_text("table,row,column,value,source,trust\n")
    monkeypatch.setattr(places, "root", lambda: tmp_path)
    page = report_page.markdown(BASES)
    for cell in all_cells().values():
        link = f"](../{cell.path.relative_to(tmp_path).as_posix()})"
        assert (link in page) == cell.path.is_file()
    assert f"](../{baselines.path(cell.recipe).relative_to(tmp_path).as_posix()})" in page
    blocks = [part.splitlines() for part in page.split("\n\n") if part.startswith("|")]
    assert all(len({row.count("| ") for row in rows}) == 1 for rows in blocks)


def test_smaller_scales_are_folded_and_the_largest_is_first(study):
    for cell in cells(BASES, "full"):
        write(cell, 83.0 + cell.seed)
    page = report_page.markdown(BASES)
    assert page.index("`foundations/bases`, full:") < page.index("Numbers of scale study")


def test_a_table_without_records_says_how_to_make_them_and_is_not_listed(folders):
    assert results.tables() == []
    assert report.text("scenes/settings").endswith(
        "No records yet. Make them: partwhole reproduce scenes/settings"
    )


def test_smoke_is_never_shown(folders):
    for cell in cells("scenes/settings", "smoke"):
        records.write(made_up(cell, knn=10.0, loss=4.0), cell.path)
    assert results.tables() == []


def test_an_unknown_scale_is_refused(folders):
    with pytest.raises(BadInput, match="scenes/settings has no scale full; it has smoke, study"):
        report.text("scenes/settings", "full")


def test_published_numbers_name_known_rows_a_source_and_a_trust():
    folder = places.root() / "data" / "published"
    for table in tables.names():
        if (name := tables.grid(table).published) is None:
            continue
        with (folder / name).open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
        assert all(row["source"] and row["trust"] and 0 < float(row["value"]) < 100 for row in rows)
        assert {row["row"] for row in rows if row["table"] == table} <= set(tables.grid(table).rows)


def test_records_come_by_row_and_seed_and_are_counted(study):
    by_row = table_records.records_by_row(BASES, "study")
    assert {row: sorted(seeds) for row, seeds in by_row.items()} == {
        **{row: [0, 1, 2] for row in KNN},
        "simsiam": [],
    }
    assert by_row["byol"][1]["metrics"]["knn"] == 54.5
    assert table_records.how_many(BASES, "study").startswith(
        "foundations/bases: 9 of 12 records; partwhole reproduce"
    )
    assert table_records.differences(by_row, "byol", "simclr") == [-8.0, -7.5, -7.5]
    assert table_records.differences(by_row, "byol", "simsiam") == []
    assert table_records.differences(by_row, "byol", "simclr", "linear") == []


def test_no_record_is_said(folders):
    assert table_records.how_many(BASES, "full").startswith(
        "foundations/bases: no record yet; partwhole reproduce"
    )


def test_drawn_differences_are_those_given():
    figure = plots.differences({"two": [1.0, 2.0], "none": [], "one": [-1.0]}, title="t", x="points")
    [axis] = figure.axes
    assert [label.get_text() for label in axis.get_yticklabels()] == ["two", "one"]
    dots = [line.get_xdata().tolist() for line in axis.get_lines() if line.get_marker() == "o"]
    assert dots == [[1.0, 2.0], [-1.0]]
    bar = next(line for line in axis.get_lines() if line.get_linewidth() == 6)
    assert bar.get_solid_capstyle() == "butt"  # as long as it says
    assert bar.get_xdata()[1] - bar.get_xdata()[0] == pytest.approx(2 * summary([1.0, 2.0]).half)


def test_a_tables_picture_shows_every_run_with_pixels_and_chance(study):
    left, right_panel = plots.table(**report_page.picture(BASES, "study")).axes
    dots = [drawn.get_xdata() for drawn in left.get_lines() if drawn.get_marker() == "o"]
    assert [list(values) for values in dots] == [list(KNN[row]) for row in ("simclr", "moco", "byol")]
    levels = {drawn.get_xdata()[0] for drawn in left.get_lines() if drawn.get_linestyle() in ("--", ":")}
    assert levels == {38.0, 10.0}
    bars = [drawn.get_xdata() for drawn in right_panel.get_lines() if drawn.get_linewidth() == 6]
    assert [list(bar) for bar in bars] == [
        pytest.approx([one.mean - one.half, one.mean + one.half])
        for one in (line("MoCo v2").comparison, line("BYOL").comparison)
    ]
    said = report_page.alternative(BASES, "study")
    assert "SimCLR 62.0" in said and "raw pixels (all 38.0)" in said
