"""Judgements on a table: its comparisons and trend, judged together, and why some get no verdict."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from partwhole.errors import BadInput
from partwhole.evaluation import is_percentage
from partwhole.experiments import baselines
from partwhole.experiments.statistics import summary, unpack
from partwhole.experiments.table_records import TableRecords, table_records, values
from partwhole.experiments.verdicts import (
    Comparison,
    Correct,
    Learned,
    Trend,
    compare,
    jointly,
    learned,
    sentence,
    trend,
)

NOT_JUDGED = "only accuracies are judged"


@dataclass(frozen=True)
class Judgements:
    """Everything that is judged together: {(row, metric): comparison}, and the trend through ordered rows."""

    comparisons: dict[tuple[str, str], Comparison]
    trend: Trend | None


def correct_images(records: TableRecords, metric: str) -> Correct:
    """{row: {seed: (N,) bool}}: which test images a run got right, of the runs whose records say so."""
    right: dict[str, dict[int, object]] = {}
    for row, runs in records.finite.items():
        baseline = baselines.read(records.cell(row).recipe) or {}
        for seed, record in runs.items():
            if packed := (record.get("correct") or {}).get(metric):
                packed_bits = 8 * (len(packed) * 3 // 4 - packed.count("="))
                count = record.get("test_images") or baseline.get("test_images") or packed_bits
                right.setdefault(row, {})[seed] = unpack(packed, count)
    return right


def base_learned(records: TableRecords, row: str) -> Learned:
    """Whether a row had learned enough to judge others by it: its mean kNN against pixels and chance."""
    recipe = records.cell(row).recipe
    figures = (baselines.read(recipe) or {"metrics": {}})["metrics"]
    knn = values(records.finite, "knn")[row]
    if not knn:
        return Learned(False, "the base is not known to have learned: its kNN is not recorded")
    scenes = recipe.data.name.startswith("scenes/")
    return learned(
        summary(list(knn.values())).mean, figures.get("raw_pixels"), figures.get("chance", 0.0), scenes
    )


def judgements(table: str, scale: str) -> Judgements:
    """Every comparison and the trend of a table at a scale, Holm's correction over all that get a verdict."""
    records = table_records(table, scale)
    about = records.grid
    questions = {row: (row, base) for row in about.rows if (base := about.baseline_of(row)) is not None}
    comparisons = {}
    for metric in about.metrics:
        asked = compared(records, questions, metric)
        comparisons |= {(row, metric): comparison for row, comparison in asked.items()}
    through = trend_of(records)
    together = jointly([*comparisons.values(), *([through] if through else [])])
    return Judgements(dict(zip(comparisons, together)), together[-1] if through else None)


def compare_rows(
    table: str, scale: str, questions: Mapping[str, tuple[str, str]], metric: str = "knn"
) -> dict[str, Comparison]:
    """Questions of one's own, {name: (row, baseline)}: their comparisons, by Holm over these questions.

    The scatter is pooled over all rows of the table all the same.
    """
    return compared(table_records(table, scale), questions, metric)


def compared(
    records: TableRecords, questions: Mapping[str, tuple[str, str]], metric: str
) -> dict[str, Comparison]:
    """As `compare_rows`, of records at hand; a question whose rows share no seed has no answer."""
    arms, right = values(records.finite, metric), correct_images(records, metric)
    answers = {}
    for baseline in dict.fromkeys(base for _, base in questions.values()):
        withheld = withheld_reasons(records, baseline, metric)
        try:
            against = compare(arms, right, baseline, withheld)
        except ValueError as error:
            raise BadInput(f"{records.table}: {error}") from None
        answers |= {
            name: against[row]
            for name, (row, base) in questions.items()
            if base == baseline and row in against
        }
    ordered = {name: answers[name] for name in questions if name in answers}
    return dict(zip(ordered, jointly(ordered.values())))


def withheld_reasons(records: TableRecords, baseline: str, metric: str) -> dict[str, str]:
    """Why no verdict may be given: {baseline: reason} for every row, {row: reason} for that row."""
    if not is_percentage(metric):
        return {baseline: NOT_JUDGED}
    base = base_learned(records, baseline)
    if not base:
        return {baseline: base.sentence}
    return {
        row: f"{len(records.diverged(row))} of its {len(runs)} runs diverged"
        for row, runs in records.by_row.items()
        if records.diverged(row)
    }


def trend_of(records: TableRecords) -> Trend | None:
    """The trend of the first metric through rows that the table calls ordered; None where there is none."""
    about, metric = records.grid, records.grid.metrics[0]
    arms = values(records.finite, metric)
    if about.ordered is None:
        return None
    positions = about.ordered
    if isinstance(positions, str):
        figures = values(records.finite, positions)
        positions = {row: summary(list(runs.values())).mean for row, runs in figures.items() if runs}
    positions = {row: position for row, position in positions.items() if arms[row]}
    base = about.baseline or next(iter(positions), None)
    reasons = withheld_reasons(records, base, metric) if base else {}
    reason = reasons.get(base) or next((reasons[row] for row in positions if row in reasons), "")
    try:
        through = trend(positions, arms, correct_images(records, metric), reason)
    except ValueError:
        return None
    return replace(through, unit=about.ordered) if isinstance(about.ordered, str) else through


def verdict_sentences(
    table: str, scale: str, questions: Mapping[str, tuple[str, str]] | None = None, metric: str = "knn"
) -> dict[str, str]:
    """{row's label: its verdict in words}; with questions, {name: (row, baseline)}, by their names."""
    if questions is not None:
        return {
            name: sentence(answer) for name, answer in compare_rows(table, scale, questions, metric).items()
        }
    rows = table_records(table, scale).grid.rows
    judged = judgements(table, scale).comparisons
    return {rows[row].label: sentence(answer) for (row, name), answer in judged.items() if name == metric}
