"""Results: equal to what a hand computes from the records, and silent where nothing is known."""

import csv
import math

import pytest

from partwhole import places, plots
from partwhole.errors import BadInput
from partwhole.experiments import records, results, tables
from partwhole.experiments.tables import cells
from support.fake_records import made_up

KNN = {"simclr": (40.0, 42.0, 44.0), "moco": (41.0, 44.0, 47.0), "byol": (36.0, 38.5, 39.5)}  # by seed 0, 1, 2


@pytest.fixture
def study(folders):
    """Records of three bases with three seeds each; SimSiam has none."""
    for cell in cells("foundations/bases", "study"):
        if cell.row in KNN:
            records.write(made_up(cell, minutes=cell.seed + 1, knn=KNN[cell.row][cell.seed]), cell.path)


def line(row, scale="study"):
    return next(line for line in results.lines("foundations/bases", scale) if line.label == row)


def test_mean_spread_and_interval_equal_those_by_hand():
    three = results.summary([1.0, 2.0, 3.0])
    assert (three.mean, three.spread, three.count) == (2.0, 1.0, 3)
    assert math.isclose(three.half, 4.303 / math.sqrt(3), rel_tol=1e-4)
    four = results.summary([2.0, 4.0, 4.0, 6.0])
    assert (
        four.mean == 4.0
        and math.isclose(four.spread, math.sqrt(8 / 3))
        and math.isclose(four.half, 3.182 * four.spread / 2, rel_tol=1e-3)
    )
    assert results.summary([5.0]) == results.Summary(5.0, None, None, 1)


def test_the_quantiles_are_those_of_students_t():
    stats = pytest.importorskip("scipy.stats")
    for freedom in (1, 2, 3, 7, 30, 500):
        for p in (0.6, 0.975, 1 - 0.025 / 8):
            assert math.isclose(results.student(p, freedom), stats.t.ppf(p, freedom), rel_tol=1e-8)


def test_the_lines_of_a_table_equal_those_by_hand(study):
    simclr, moco, byol = line("SimCLR"), line("MoCo v2"), line("BYOL")
    assert (simclr.ours.mean, simclr.ours.spread, simclr.ours.count) == (42.0, 2.0, 3) and simclr.difference is None
    assert (simclr.minutes, simclr.images_seen, simclr.device) == (2.0, 199_680, "a processor, 2 cores")
    assert moco.difference.mean == 2.0 and math.isclose(moco.difference.half, 4.303 / math.sqrt(3), rel_tol=1e-4)
    assert not moco.resolved  # 2 lies within 2.48 of zero
    assert byol.difference.mean == -4.0 and byol.difference.spread == 0.5 and byol.resolved


def test_a_row_without_records_is_left_out_and_counted_as_missing(study):
    assert {line.label for line in results.lines("foundations/bases", "study")} == {"SimCLR", "MoCo v2", "BYOL"}
    assert "Missing: 3 cells." in results.text("foundations/bases")


def test_only_seeds_in_common_are_compared(study):
    [cell] = [cell for cell in cells("foundations/bases", "study") if (cell.row, cell.seed) == ("byol", 1)]
    cell.path.unlink()
    byol = line("BYOL")
    assert byol.ours.count == 2 and byol.difference.count == 2 and byol.difference.mean == ((36 - 40) + (39.5 - 44)) / 2


def test_a_record_of_another_recipe_does_not_count(study):
    [cell] = [cell for cell in cells("foundations/bases", "study") if (cell.row, cell.seed) == ("simclr", 2)]
    records.write(made_up(cell, knn=99.0) | {"digest": "0" * 16}, cell.path)
    assert line("SimCLR").ours.mean == 41.0
    assert "Missing: 4 cells, 1 of them with a record of another recipe." in results.text("foundations/bases")


def test_paper_ours_and_gap(folders, tmp_path, monkeypatch):
    (tmp_path / "data" / "published").mkdir(parents=True)
    (tmp_path / "data" / "published" / "foundations.csv").write_text(
        "table,row,column,value,source,trust\n"
        "foundations/bases,simclr,knn,84.8,somewhere,read\nfoundations/bases,moco,knn,,unknown,none\n"
        "foundations/other,byol,knn,1,elsewhere,read\n"
    )
    monkeypatch.setattr(places, "root", lambda: tmp_path)
    for cell in cells("foundations/bases", "full"):
        records.write(made_up(cell, knn=83.0 + cell.seed), cell.path)
    simclr = line("SimCLR", "full")
    assert simclr.paper == 84.8 and math.isclose(simclr.gap, -0.8) and simclr.source == "somewhere (read)"
    assert line("MoCo v2", "full").paper is line("MoCo v2", "full").gap is line("BYOL", "full").paper is None
    [small] = [cell for cell in cells("foundations/bases", "study") if (cell.row, cell.seed) == ("simclr", 0)]
    records.write(made_up(small, knn=40.0), small.path)
    assert line("SimCLR", "study").paper == 84.8 and line("SimCLR", "study").gap is None
    shown = results.markdown("foundations/bases", "full")
    assert "| SimCLR | knn | 84.8 | 84.0 ± 1.0 | 3 | -0.8 |" in shown and "| MoCo v2 | knn |  | 84.0 ± 1.0 | 3 |  |" in shown
    assert "Paper: somewhere (read)." in shown


def test_text_and_markdown_say_the_same_numbers(study):
    text, markdown = results.text("foundations/bases"), results.markdown("foundations/bases")
    for part in ("42.0 ± 2.0", "+2.00 ± 2.48, not resolved", "-4.00 ± 1.24", "199,680", "a processor, 2 cores", "against SimCLR"):
        assert part in text and part in markdown
    rows = [row for row in markdown.splitlines() if row.startswith("|")]
    assert len({row.count("|") for row in rows}) == 1 and len(rows) == 5


def test_a_table_without_records_says_how_to_make_them_and_is_not_listed(folders):
    assert results.tables() == []
    assert results.text("scenes/settings").endswith("No records yet. Make them: partwhole reproduce scenes/settings")


def test_smoke_is_never_shown(folders):
    for cell in cells("scenes/settings", "smoke"):
        records.write(made_up(cell, knn=10.0, loss=4.0), cell.path)
    assert results.tables() == []


def test_an_unknown_scale_is_refused(folders):
    with pytest.raises(BadInput, match="scenes/settings has no scale full; it has smoke, study"):
        results.text("scenes/settings", "full")


def test_published_numbers_name_known_rows_a_source_and_a_trust():
    folder = places.root() / "data" / "published"
    for table in tables.names():
        if (name := tables.grid(table).published) is None:
            continue
        with (folder / name).open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
        assert all(row["source"] and row["trust"] and 0 < float(row["value"]) < 100 for row in rows)
        assert {row["row"] for row in rows if row["table"] == table} <= set(tables.grid(table).rows)


def test_records_are_kept_by_row_and_seed_and_counted(study):
    found = results.kept("foundations/bases", "study")
    assert {row: sorted(seeds) for row, seeds in found.items()} == {**{row: [0, 1, 2] for row in KNN}, "simsiam": []}
    assert found["byol"][1]["metrics"]["knn"] == 38.5
    assert results.how_many("foundations/bases", "study").startswith("foundations/bases: 9 of 12 records; partwhole reproduce")
    assert results.differences(found, "byol", "simclr") == [-4.0, -3.5, -4.5]
    assert results.differences(found, "byol", "simsiam") == results.differences(found, "byol", "simclr", "linear") == []


def test_no_record_is_said(folders):
    assert results.how_many("foundations/bases", "full").startswith("foundations/bases: no record yet; partwhole reproduce")


def test_a_verdict_is_better_worse_or_what_could_have_been_resolved():
    said = {better: results.verdict(results.summary([better, better + 1, better - 1])) for better in (3.0, -3.0, 1.0)}
    assert said[3.0] == "+3.00 ± 2.48 over 3 pairs: better" and said[-3.0] == "-3.00 ± 2.48 over 3 pairs: worse"
    assert said[1.0] == "+1.00 ± 2.48 over 3 pairs: not resolved (could have resolved 2.48)"
    assert results.verdict(results.summary([1.0])) == "+1.00 on one seed: no interval, no verdict"
    assert results.verdict(None) == "nothing to compare with yet"


def test_a_verdict_on_several_questions_needs_a_wider_interval():
    """With two degrees of freedom the quantile has a closed form: 8.860 for four questions, 2.059 times that of one."""
    found = [results.verdict(results.summary([mean, mean + 1, mean - 1]), questions=4) for mean in (6.0, 3.0, 1.0)]
    assert found[0] == "+6.00 ± 2.48 over 3 pairs: better"
    assert found[1] == "+3.00 ± 2.48 over 3 pairs: better, alone; not for all 4 questions (± 5.12)"
    assert found[2] == "+1.00 ± 2.48 over 3 pairs: not resolved (could have resolved 2.48)"


def test_drawn_differences_are_those_given():
    figure = plots.differences({"two": [1.0, 2.0], "none": [], "one": [-1.0]}, title="t", x="points")
    [axis] = figure.axes
    assert [label.get_text() for label in axis.get_yticklabels()] == ["two", "one"]
    dots = [line.get_xdata().tolist() for line in axis.get_lines() if line.get_marker() == "o"]
    assert dots == [[1.0, 2.0], [-1.0]]
    bar = next(line for line in axis.get_lines() if line.get_linewidth() == 6)
    assert bar.get_solid_capstyle() == "butt"  # as long as it says
    assert bar.get_xdata()[1] - bar.get_xdata()[0] == pytest.approx(2 * results.summary([1.0, 2.0]).half)
