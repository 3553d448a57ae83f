"""The report on a table for the book: verdict, picture, numbers that link to their records."""

import os
from collections.abc import Callable
from pathlib import Path

from partwhole import places
from partwhole.evaluation import is_percentage
from partwhole.experiments.measures import interval, measure, with_unit
from partwhole.experiments.report import block, budgets, mean_in_words, notes, nothing, shown, verdict
from partwhole.experiments.results import floors, lines
from partwhole.experiments.tables import grid

SPACE = "\u00a0"  # keeps a number and its interval on one line


def markdown(
    table: str, scale: str | None = None, picture: Callable[[str, str], str] = lambda table, scale: ""
) -> str:
    """Verdict, picture, the first metric's numbers; all else is folded, and so are smaller scales.

    picture: makes the picture of a table at a scale and returns the Markdown that shows it.
    """
    parts = [f"## {grid(table).title}"]
    for place, one in enumerate(shown(table, scale)):
        first, *others = grid(table).metrics
        body = [picture(table, one), piped(block(table, one, first, linked))]
        more = [piped(block(table, one, metric, linked)) for metric in others]
        folded = "\n\n".join([*more, piped(budgets(table, one)), *notes(table, one)])
        parts.append(f"**{verdict(table, one)}**\n\n`{table}`, {one}: {grid(table).scales[one].about}.")
        details = f"::::{{dropdown}} Other figures, budgets, notes\n\n{folded}\n::::"
        together = "\n\n".join(part for part in (*body, details) if part)
        parts.append(
            together if place == 0 else f":::::{{dropdown}} Numbers of scale {one}\n\n{together}\n:::::"
        )
    return "\n\n".join(parts if len(parts) > 1 else [*parts, nothing(table, scale)])


def linked(value: str, path: str) -> str:
    """A link to a record, relative to the folder `book`."""
    folder = (places.root() or Path.cwd()) / "book"
    return f"[{value.replace(' ', SPACE)}]({Path(os.path.relpath(path, folder)).as_posix()})"


def piped(rows: list[list[str]]) -> str:
    """Rows of texts as a Markdown table; numbers and their intervals do not break."""
    first, *rest = rows
    body = [
        [row[0], *(cell if "](" in cell else cell.replace(" ", SPACE) for cell in row[1:])] for row in rest
    ]
    table = "\n".join("| " + " | ".join(row) + " |" for row in (first, ["---"] * len(first), *body))
    return f":::{{div}} numbers\n\n{table}\n\n:::"


def definitions(tables: list[str]) -> str:
    """What the figures of these tables mean, a line each."""
    used = dict.fromkeys(metric for table in tables for metric in (*grid(table).metrics, *grid(table).doses))
    return "\n".join(f"- **{with_unit(metric)}**: {measure(metric).meaning}." for metric in used)


def picture(table: str, scale: str) -> dict:
    """What `plots.table` draws: the runs of the first metric; the title says how many rows are resolved."""
    first = grid(table).metrics[0]
    shown_lines = lines(table, scale, [first])
    judged = [
        line.comparison for line in shown_lines if line.comparison and line.comparison.adjusted is not None
    ]
    resolved = sum(one.verdict in one.words for one in judged)
    title = f"{resolved} of {len(judged)} comparisons resolved" if judged else "Measured; no verdict"
    marks = floors(table, scale) if is_percentage(first) else []
    return {"lines": shown_lines, "floors": marks, "title": title, "x": with_unit(first)}


def alternative(table: str, scale: str) -> str:
    """What the picture of a table shows, in words, for a reader who does not see it."""
    first = grid(table).metrics[0]
    shown_lines = lines(table, scale, [first])
    rows = "; ".join(
        f"{line.label} {mean_in_words(line.ours, first)}"
        + (
            f", {interval(line.comparison.mean, line.comparison.half, first, signed=True)} to its baseline"
            if line.comparison
            else ""
        )
        for line in shown_lines
    )
    pixels = [
        f"{floor.name or 'all'} {floor.record['metrics']['raw_pixels']:.1f}"
        for floor in floors(table, scale)
        if floor.record
    ]
    lines_drawn = (
        f" Dashed: raw pixels ({', '.join(pixels)}); dotted: chance."
        if pixels and is_percentage(first)
        else ""
    )
    return (
        f"{with_unit(first)} of each run, by row, and differences with 95 % intervals: {rows}.{lines_drawn}"
    )
