"""Results: what the records of a table say, beside what was published. Nothing here is typed in by hand; unknown stays blank."""

import csv
import math
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from partwhole import places
from partwhole.errors import BadInput
from partwhole.experiments.tables import Cell, Grid, Scale, cells, grid, names

ACCURACIES = ("knn", "linear", "raw_pixels")  # metrics that begin so are percentages; all others are shown with more digits


@dataclass(frozen=True)
class Summary:
    """Numbers over seeds: mean, sample standard deviation, and the half width of the mean's 95 % interval (Student's t).

    spread and half are None for one number.  Check: 1, 2, 3 give mean 2, spread 1, half 4.303 / sqrt(3) = 2.484.
    """

    mean: float
    spread: float | None
    half: float | None
    count: int


@dataclass(frozen=True)
class Line:
    """One row and one metric at one scale. difference: to the baseline, over the seeds that both have."""

    scale: str
    label: str
    metric: str
    paper: float | None
    source: str
    ours: Summary
    difference: Summary | None
    images_seen: int
    minutes: float
    device: str

    @property
    def gap(self) -> float | None:
        """Ours less the paper's, where both are of the paper's setting."""
        return None if self.paper is None or self.scale != "full" else self.ours.mean - self.paper

    @property
    def resolved(self) -> bool:
        """Whether the difference's 95 % interval leaves out zero."""
        return self.difference is not None and self.difference.half is not None and abs(self.difference.mean) > self.difference.half


def summary(values: list[float]) -> Summary:
    """Mean, standard deviation and half width of the 95 % interval (Student's t); of one value the mean alone."""
    count, mean = len(values), math.fsum(values) / len(values)
    if count == 1:
        return Summary(mean, None, None, 1)
    spread = math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (count - 1))
    return Summary(mean, spread, student(0.975, count - 1) * spread / math.sqrt(count), count)


@cache
def student(p: float, freedom: int) -> float:
    """The p-quantile of Student's t, 1/2 < p < 1.

    With t = sqrt(freedom) tan(angle) its density is cos(angle)^(freedom - 1), up to a factor, so that equal parts of the area
    under that curve (Simpson's rule) are equal parts of the probability.  Check: 12.706, 4.303, 3.182 for p = 0.975 and 1, 2, 3.
    """

    def area(angle: float, parts: int = 400) -> float:
        heights = [math.cos(angle * place / parts) ** (freedom - 1) for place in range(parts + 1)]
        return angle / (3 * parts) * (heights[0] + heights[-1] + 4 * sum(heights[1::2]) + 2 * sum(heights[2:-1:2]))

    low, high, wanted = 0.0, math.pi / 2, (2 * p - 1) * area(math.pi / 2)
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if area(middle) < wanted else (low, middle)
    return math.sqrt(freedom) * math.tan(low)


def tables() -> list[str]:
    """Every table that has a record to show."""
    return [name for name in names() if scales(name)]


def scales(table: str) -> list[Scale]:
    """The scales at which a table has a record to show, the largest first; smoke claims nothing and is never shown."""
    found = [scale for scale in grid(table).scales if scale != "smoke"]
    return [scale for scale in reversed(found) if any(cell.record() for cell in cells(table, scale))]


def lines(table: str, scale: str) -> list[Line]:
    """The table's lines at a scale, from the records of its cells; rows without a record are left out."""
    found = grid(table)
    records = {cell: record for cell in cells(table, scale) if (record := cell.record())}
    paper = published(table, found)
    made = []
    for metric in found.metrics:
        by_row = {row: values(records, row, metric) for row in found.rows}
        base = by_row.get(found.baseline, {})
        for row, seen in by_row.items():
            if not seen:
                continue
            both = [seed for seed in seen if seed in base] if row != found.baseline else []
            own = [record for cell, record in records.items() if cell.row == row and cell.seed in seen]
            value, source = paper.get((row, metric), (None, ""))
            made.append(
                Line(
                    scale=scale,
                    label=found.rows[row].label,
                    metric=metric,
                    paper=value,
                    source=source,
                    ours=summary(list(seen.values())),
                    difference=summary([seen[seed] - base[seed] for seed in both]) if both else None,
                    images_seen=max(record["images_seen"] for record in own),
                    minutes=summary([record["train_seconds"] / 60 for record in own]).mean,
                    device=" / ".join(sorted({device(record["machine"]) for record in own})),
                )
            )
    return made


def values(records: dict[Cell, dict], row: str, metric: str) -> dict[int, float]:
    """A row's values of one metric, by seed."""
    found = {cell.seed: record["metrics"].get(metric) for cell, record in records.items() if cell.row == row}
    return {seed: value for seed, value in found.items() if value is not None}


def kept(table: str, scale: str) -> dict[str, dict[int, dict]]:
    """A table's records at a scale, {row: {seed: record}}: every row, empty where there is no record."""
    found = {row: {} for row in grid(table).rows}
    for cell in cells(table, scale):
        if (record := cell.record()) is not None:
            found[cell.row][cell.seed] = record
    return found


def how_many(table: str, scale: str) -> str:
    """How many of a table's records there are, and the command that makes the rest."""
    wanted, count = len(cells(table, scale)), sum(len(seeds) for seeds in kept(table, scale).values())
    more = "" if count == wanted else f"; partwhole reproduce {table} --scale {scale} makes the rest"
    return f"{table}: {f'{count} of {wanted} records' if count else 'no record yet'}{more}"


def differences(found: dict[str, dict[int, dict]], row: str, baseline: str, metric: str = "knn") -> list[float]:
    """A row's differences to the baseline, one for each seed that both have; found: as `kept` gives it."""
    shared = [(found[row][seed]["metrics"], found[baseline][seed]["metrics"]) for seed in found[row] if seed in found[baseline]]
    return [own[metric] - other[metric] for own, other in shared if metric in own and metric in other]


def verdict(difference: Summary | None, digits: int = 2, questions: int = 1) -> str:
    """A paired difference in words: better, worse, or not resolved, and what could have been.

    questions: how many such differences are asked about together.  With more than one a verdict that holds alone, but not in an
    interval wide enough for all of them (Bonferroni), is said to hold alone only.
    """
    if difference is None:
        return "nothing to compare with yet"
    if difference.half is None:
        return f"{difference.mean:+.{digits}f} on one seed: no interval, no verdict"
    said, size = f"not resolved (could have resolved {difference.half:.{digits}f})", abs(difference.mean)
    if size > difference.half:
        said = "better" if difference.mean > 0 else "worse"
        freedom = difference.count - 1
        wider = difference.half * student(1 - 0.025 / questions, freedom) / student(0.975, freedom)
        said += f", alone; not for all {questions} questions (± {wider:.{digits}f})" if size <= wider else ""
    return f"{difference.mean:+.{digits}f} ± {difference.half:.{digits}f} over {difference.count} pairs: {said}"


def device(machine: dict) -> str:
    """A machine in words."""
    return machine["model"] + (f", {machine['cores']} cores" if machine["device"] == "cpu" else "")


def published(table: str, found: Grid) -> dict[tuple[str, str], tuple[float, str]]:
    """(row, column) -> published value and where it is from, with how far it can be trusted; empty where nothing is known."""
    clone = places.root()
    if found.published is None or clone is None:
        return {}
    path: Path = clone / "data" / "published" / found.published
    try:
        with path.open(encoding="utf-8", newline="") as file:
            rows = [row for row in csv.DictReader(file) if row["table"] == table and row["value"]]
        return {(row["row"], row["column"]): (float(row["value"]), f"{row['source']} ({row['trust']})") for row in rows}
    except (OSError, KeyError, ValueError) as error:
        raise BadInput(f"{path}: cannot be read ({error}); expected columns table, row, column, value, source, trust") from None


HEAD = ("", "metric", "paper", "ours", "seeds", "gap", "against", "images seen", "minutes", "device")


def text(table: str, scale: str | None = None) -> str:
    """The table for a terminal."""
    parts = [grid(table).title + f" ({table})"]
    for wanted in shown(table, scale):
        rows = filled(table, wanted)
        widths = [max(map(len, column)) for column in zip(*rows)]
        body = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip() for row in rows]
        parts.append("\n".join([heading(table, wanted), *body, *notes(table, wanted)]))
    return "\n\n".join(parts if len(parts) > 1 else [*parts, nothing(table, scale)])


def markdown(table: str, scale: str | None = None) -> str:
    """The table for the book."""
    parts = [f"## {grid(table).title}"]
    for wanted in shown(table, scale):
        first, *rest = filled(table, wanted)
        rows = [first, ["---"] * len(first), *rest]
        body = ["| " + " | ".join(row) + " |" for row in rows]
        parts += [f"**{heading(table, wanted)}**", "\n".join(body), *notes(table, wanted)]
    return "\n\n".join(parts if len(parts) > 1 else [*parts, nothing(table, scale)])


def shown(table: str, scale: str | None) -> list[str]:
    """The scales to show: those with records, or the one asked for if it has any."""
    if scale is not None:
        cells(table, scale)
    return [found for found in scales(table) if scale in (None, found)]


def nothing(table: str, scale: str | None) -> str:
    """What to say of a table without records."""
    return f"No records yet. Make them: partwhole reproduce {table}" + (f" --scale {scale}" if scale else "")


def heading(table: str, scale: str) -> str:
    """What a scale of a table is."""
    return f"Scale {scale}: {grid(table).scales[scale].about}"


def head(table: str) -> tuple[str, ...]:
    """The columns' names."""
    found = grid(table)
    against = f"against {found.rows[found.baseline].label}" if found.baseline else ""
    return tuple(against if name == "against" else name for name in HEAD)


def filled(table: str, scale: str) -> list[list[str]]:
    """The head and the lines as text, without the columns that no line fills."""
    rows = [head(table), *(cells_of(line) for line in lines(table, scale))]
    kept = [place for place in range(len(HEAD)) if place == 0 or any(row[place] for row in rows[1:])]
    return [[row[place] for place in kept] for row in rows]


def cells_of(line: Line) -> tuple[str, ...]:
    """A line as texts, one for each of HEAD."""
    digits = 1 if line.metric.startswith(ACCURACIES) else 3
    ours = f"{line.ours.mean:.{digits}f}" + (f" ± {line.ours.spread:.{digits}f}" if line.ours.spread is not None else "")
    against = ""
    if line.difference is not None:
        fine = max(2, digits)  # paired differences are often smaller than a tenth of a point
        against = f"{line.difference.mean:+.{fine}f}"
        against += f" ± {line.difference.half:.{fine}f}" if line.difference.half is not None else ""
        against += "" if line.resolved else ", not resolved"
    return (
        line.label, line.metric, "" if line.paper is None else f"{line.paper:g}", ours, str(line.ours.count),
        "" if line.gap is None else f"{line.gap:+.1f}", against, f"{line.images_seen:,}", f"{line.minutes:.1f}", line.device,
    )  # fmt: skip


def notes(table: str, scale: str) -> list[str]:
    """What a reader of the table must know."""
    found = lines(table, scale)
    said = ["Ours: last epoch, mean ± standard deviation over seeds."]
    if any(line.difference for line in found):
        said.append("Differences: over seeds in common, ± half of the 95 % interval; not resolved where it holds zero.")
    missing = [cell for cell in cells(table, scale) if cell.record() is None]
    if missing:
        stale = sum(cell.path.is_file() for cell in missing)
        said.append(f"Missing: {len(missing)} cells" + (f", {stale} of them with a record of another recipe." if stale else "."))
    said += [f"Paper: {source}." for source in dict.fromkeys(line.source for line in found if line.source)]
    if scale != "full" and any(line.paper is not None for line in found):
        said.append("The paper's setting is larger than this one, so no gap is given.")
    return [" ".join(said)]
