"""Results: what the records of a table say, line by line, beside pixels, chance and published numbers."""

import csv
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from partwhole import places
from partwhole.errors import BadInput
from partwhole.experiments import baselines
from partwhole.experiments.judgements import judgements
from partwhole.experiments.statistics import Summary, summary
from partwhole.experiments.table_records import device, table_records, values
from partwhole.experiments.tables import Grid, Scale, cells, grid, names
from partwhole.experiments.verdicts import Comparison


@dataclass(frozen=True)
class Line:
    """One row and one metric at one scale. comparison: with its baseline, on the seeds that both have."""

    row: str
    label: str
    metric: str
    values: dict[int, float]
    ours: Summary | None  # None where every run diverged
    comparison: Comparison | None
    diverged: dict[int, int]
    paper: float | None
    source: str
    images_seen: int
    minutes: float
    device: str
    scale: str

    @property
    def gap(self) -> float | None:
        """Ours less the paper's, where both are of the paper's setting."""
        return (
            None
            if self.paper is None or self.ours is None or self.scale != "full"
            else self.ours.mean - self.paper
        )


@dataclass(frozen=True)
class Floor:
    """What pixels and chance score on the images of some rows. name: empty if all rows share the images."""

    name: str
    rows: tuple[str, ...]
    record: dict | None
    path: Path


def tables() -> list[str]:
    """Every table that has a record to show."""
    return [name for name in names() if scales(name)]


def scales(table: str) -> list[Scale]:
    """The scales at which a table has a record, the largest first; smoke is never shown."""
    shown = [scale for scale in grid(table).scales if scale != "smoke"]
    return [scale for scale in reversed(shown) if any(cell.record() for cell in cells(table, scale))]


def lines(table: str, scale: str, metrics: Iterable[str] | None = None) -> list[Line]:
    """The table's lines at a scale, metric by metric (the table's); a row without a record is left out."""
    records, judged = table_records(table, scale), judgements(table, scale)
    about, paper = records.grid, published(table, grid(table))
    result = []
    for metric in about.metrics if metrics is None else metrics:
        arms = values(records.finite, metric)
        for row, runs in records.by_row.items():
            diverged = records.diverged(row)
            if not arms[row] and not diverged:
                continue
            used = [record for seed, record in runs.items() if seed in arms[row] or seed in diverged]
            value, source = paper.get((row, metric), (None, ""))
            result.append(
                Line(
                    row=row,
                    label=about.rows[row].label,
                    metric=metric,
                    values=arms[row],
                    ours=summary(list(arms[row].values())) if arms[row] else None,
                    comparison=judged.comparisons.get((row, metric)),
                    diverged=diverged,
                    paper=value,
                    source=source,
                    images_seen=max(record["images_seen"] for record in used),
                    minutes=summary([record["train_seconds"] / 60 for record in used]).mean,
                    device=" / ".join(sorted({device(record["machine"]) for record in used})),
                    scale=scale,
                )
            )
    return result


def floors(table: str, scale: str) -> list[Floor]:
    """Pixels and chance on each image set of rows with a record, named by what tells the sets apart."""
    records = table_records(table, scale)
    rows_of: dict[Path, list[str]] = {}
    for row in (row for row, runs in records.by_row.items() if runs):
        rows_of.setdefault(baselines.path(records.cell(row).recipe), []).append(row)
    sets = {file: baselines.image_set(records.cell(rows[0]).recipe) for file, rows in rows_of.items()}
    flat = {file: {"data": about["data"], **about["controls"]} for file, about in sets.items()}
    keys = dict.fromkeys(key for about in flat.values() for key in about)
    telling = [key for key in keys if len({str(about.get(key)) for about in flat.values()}) > 1]
    result = []
    for file, rows in rows_of.items():
        name = ", ".join(named(key, flat[file][key]) for key in telling if key in flat[file])
        result.append(Floor(name, tuple(rows), baselines.read(records.cell(rows[0]).recipe), file))
    return result


def named(key: str, value: object) -> str:
    """One setting of an image set in words: scenes/nuisance; object size 0.2 to 0.3."""
    low_high = [f"{part:g}" for part in value] if isinstance(value, list | tuple) else []
    text = (
        " to ".join(dict.fromkeys(low_high))
        if low_high
        else f"{value:g}"
        if isinstance(value, int | float)
        else str(value)
    )
    return text if key == "data" else f"{key.replace('_', ' ')} {text}"


def published(table: str, about: Grid) -> dict[tuple[str, str], tuple[float, str]]:
    """{(row, column): (published value, source and trust)}; empty if nothing is known."""
    clone = places.root()
    if about.published is None or clone is None:
        return {}
    path = clone / "data" / "published" / about.published
    try:
        with path.open(encoding="utf-8", newline="") as file:
            rows = [row for row in csv.DictReader(file) if row["table"] == table and row["value"]]
        return {
            (row["row"], row["column"]): (float(row["value"]), f"{row['source']} ({row['trust']})")
            for row in rows
        }
    except (OSError, KeyError, ValueError) as error:
        raise BadInput(
            f"{path}: cannot be read ({error}); expected columns table, row, column, value, source, trust"
        ) from None
