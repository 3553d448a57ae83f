"""The report on a table: its verdict in one sentence, and its numbers as texts, for a terminal."""

from collections.abc import Callable, Mapping

from partwhole.evaluation import is_percentage
from partwhole.experiments.judgements import compare_rows, judgements
from partwhole.experiments.measures import MINUS, interval, measure, number, with_unit
from partwhole.experiments.results import Line, floors, lines, scales
from partwhole.experiments.statistics import Summary, summary
from partwhole.experiments.table_records import held_equal, table_records, values
from partwhole.experiments.tables import cells, grid
from partwhole.experiments.verdicts import Judged, sentence


def verdict(table: str, scale: str) -> str:
    """What a table shows at a scale, in one sentence; a verdict has the words of `verdicts.sentence`."""
    rows, judged = grid(table).rows, judgements(table, scale)
    accuracies = {place: one for place, one in judged.comparisons.items() if is_percentage(place[1])}
    if not accuracies:
        paired = any(grid(table).baseline_of(row) for row in rows)
        return "No verdict: " + (
            "no row shares a seed with its baseline."
            if paired
            else "this table measures and compares no rows."
        )
    if all(one.verdict == "no verdict" for one in accuracies.values()):
        reasons = [one.reason for one in accuracies.values()]
        most, *others = sorted(dict.fromkeys(reasons), key=reasons.count, reverse=True)
        return f"No verdict, since {most}" + ("; other rows: see the notes." if others else ".")
    several = len({metric for _, metric in accuracies}) > 1
    groups: dict[str, list[str]] = {}
    for (row, metric), one in accuracies.items():
        label = rows[row].label + (f" ({measure(metric).name})" if several else "")
        groups.setdefault(kind(one), []).append(label)
    parts = [f"{'; '.join(labels)}: {said}" for said, labels in groups.items()]
    parts += [f"trend: {sentence(judged.trend)}"] if judged.trend else []
    bases = dict.fromkeys(one.baseline for one in accuracies.values())
    against = rows[next(iter(bases))].label if len(bases) == 1 else "each one's baseline"
    return f"Against {against}, at {held_equal(table_records(table, scale).finite)}: {'. '.join(parts)}."


def kind(one: Judged) -> str:
    """A comparison's verdict in words; those not resolved say the same, and so do equal reasons."""
    if one.verdict == "no verdict":
        return f"no verdict, since {one.reason}"
    return "not resolved" if one.verdict == "not resolved" else sentence(one)


def mean_in_words(ours: Summary | None, metric: str) -> str:
    return "" if ours is None else interval(ours.mean, ours.half, metric)


def runs_in_words(line: Line, link: Callable[[str, int], str]) -> str:
    """Every run's value; link: makes a link of a text and a seed."""
    shown = [(seed, number(value, line.metric)) for seed, value in line.values.items()]
    shown += [(seed, f"diverged after epoch {epoch}") for seed, epoch in line.diverged.items()]
    return " ".join(link(text, seed) for seed, text in sorted(shown))


def block(table: str, scale: str, metric: str, link: Callable[[str, str], str]) -> list[list[str]]:
    """One metric's rows as texts, the head first, without empty columns; doses stand beside the first metric.

    link: makes a link of a text and a file.
    """
    about, records = grid(table), table_records(table, scale)
    doses = about.doses if metric == about.metrics[0] else ()
    arms = {dose: values(records.finite, dose) for dose in doses}
    bases = {base for row in about.rows if (base := about.baseline_of(row))}
    less = f"less {about.rows[next(iter(bases))].label}" if len(bases) == 1 else "less its baseline"
    names = [measure(dose) for dose in doses]
    head = ["", with_unit(metric), "each run", less, "verdict", "paper", "gap"]
    head += [f"{name.name} ({name.unit})" if name.unit else name.name for name in names]
    body = []
    for line in lines(table, scale, [metric]):
        one, paths = (
            line.comparison,
            {seed: str(records.cells[line.row, seed].path) for seed in records.by_row[line.row]},
        )
        delivered = [list(arms[dose][line.row].values()) for dose in doses]
        body.append(
            [
                line.label,
                mean_in_words(line.ours, metric),
                runs_in_words(line, lambda text, seed, paths=paths: link(text, paths[seed])),
                interval(one.mean, one.half, metric, signed=True) if one else "",
                one.verdict if one and is_percentage(metric) else "",
                "" if line.paper is None else f"{line.paper:g}",
                "" if line.gap is None else f"{line.gap:+.1f}".replace("-", MINUS),
                *(
                    number(summary(figures).mean, dose) if figures else ""
                    for figures, dose in zip(delivered, doses)
                ),
            ]
        )
    body += floor_rows(table, scale, metric, link, len(head)) if is_percentage(metric) else []
    if {row[4] for row in body} <= {"", "no verdict"}:
        # The sentence above the table says why there is none.
        body = [[*row[:4], "", *row[5:]] for row in body]
    filled = [place for place in range(len(head)) if place == 0 or any(row[place] for row in body)]
    return [[row[place] for place in filled] for row in (head, *body)]


def floor_rows(
    table: str, scale: str, metric: str, link: Callable[[str, str], str], width: int
) -> list[list[str]]:
    """The rows of pixels and chance, one for each image set."""
    rows = []
    for floor in floors(table, scale):
        name = f": {floor.name}" if floor.name else ""
        figures = floor.record["metrics"] if floor.record else {}
        pixels = figures.get("raw_pixels_shifted" if metric == "knn_shifted" else "raw_pixels")
        if (
            metric == "knn_shifted"
            and floor.record
            and floor.record["controls"].get("background_correlation") == 0
        ):
            pixels = figures.get("raw_pixels")  # backgrounds say nothing there anyway
        what = "raw pixels" + ("" if metric.startswith("knn") else " (kNN)") + name
        said = link(number(pixels, metric), str(floor.path)) if pixels is not None else "not recorded"
        rows.append([what, said, *[""] * (width - 2)])
    chances = {floor.record["metrics"]["chance"] for floor in floors(table, scale) if floor.record}
    return rows + [["chance", number(chance, metric), *[""] * (width - 2)] for chance in sorted(chances)]


def budgets(table: str, scale: str) -> list[list[str]]:
    """What each row cost: runs, images seen, minutes, machine."""
    first_lines: dict[str, Line] = {}
    for line in lines(table, scale):
        first_lines.setdefault(line.label, line)
    body = [
        [
            label,
            str(len(line.values) + len(line.diverged)),
            f"{line.images_seen:,}",
            f"{line.minutes:.1f}",
            line.device,
        ]
        for label, line in first_lines.items()
    ]
    return [["", "runs", "images seen", "minutes a run", "machine"], *body]


def notes(table: str, scale: str) -> list[str]:
    """What a reader must know: what is missing or left out, and where the paper's numbers are from."""
    records, said = table_records(table, scale), []
    missing = [cell for cell in cells(table, scale) if cell.record() is None]
    if missing:
        stale = sum(cell.path.is_file() for cell in missing)
        said.append(
            f"Missing: {len(missing)} cells"
            + (f", {stale} of them with a record of another recipe." if stale else ".")
        )
    for (numerics, precision), count in records.left_out.items():
        numerics_shown, precision_shown = records.arithmetic
        said.append(
            f"Left out: {count} records of other arithmetic (numerics {numerics}, {precision}; "
            f"shown: {numerics_shown}, {precision_shown}), since that is another experiment."
        )
    diverged = sum(len(records.diverged(row)) for row in records.by_row)
    if diverged:
        said.append(f"Diverged: {diverged} runs; they are counted as results and not averaged.")
    shown_lines, reasons = lines(table, scale), {}
    for (row, metric), one in judgements(table, scale).comparisons.items():
        if is_percentage(metric) and one.verdict == "no verdict":
            reasons.setdefault(one.reason, {})[grid(table).rows[row].label] = None
    if len(reasons) > 1:
        said += [f"No verdict on {'; '.join(labels)}, since {reason}." for reason, labels in reasons.items()]
    if (base := grid(table).baseline) is not None:
        others = {
            row: about.baseline
            for row, about in grid(table).rows.items()
            if about.baseline not in (None, base)
        }
        rows = grid(table).rows
        said += [
            f"Against another baseline: {rows[row].label}, against {rows[b].label}."
            for row, b in others.items()
        ]
    said += [
        f"Paper: {source}." for source in dict.fromkeys(line.source for line in shown_lines if line.source)
    ]
    if scale != "full" and any(line.paper is not None for line in shown_lines):
        said.append("The paper's setting is larger than this one, so no gap is given.")
    return said


def shown(table: str, scale: str | None) -> list[str]:
    """The scales to show: those with records, or the one asked for if it has any."""
    if scale is not None:
        cells(table, scale)
    return [one for one in scales(table) if scale in (None, one)]


def nothing(table: str, scale: str | None) -> str:
    """What to say of a table without records."""
    return f"No records yet. Make them: partwhole reproduce {table}" + (f" --scale {scale}" if scale else "")


def heading(table: str, scale: str) -> str:
    return f"Scale {scale}: {grid(table).scales[scale].about}"


def text(table: str, scale: str | None = None) -> str:
    """The report for a terminal."""
    parts = [f"{grid(table).title} ({table})"]
    for one in shown(table, scale):
        parts.append(f"{heading(table, one)}\n{verdict(table, one)}")
        parts += [
            aligned(block(table, one, metric, lambda value, _: value)) for metric in grid(table).metrics
        ]
        parts += [
            aligned(budgets(table, one)),
            *(["\n".join(notes(table, one))] if notes(table, one) else []),
        ]
    return "\n\n".join(parts if len(parts) > 1 else [*parts, nothing(table, scale)])


def numbers(table: str, scale: str, metric: str = "knn") -> str:
    """One metric's rows for a terminal or a notebook: values, differences, doses, pixels and chance."""
    return aligned(block(table, scale, metric, lambda value, _: value))


def answers(table: str, scale: str, questions: Mapping[str, tuple[str, str]], metric: str = "knn") -> str:
    """Questions of one's own, {question: (row, baseline)}: each one's difference and verdict, judged
    together.

    Where none gets a verdict the reasons are said once, above.
    """
    judged = compare_rows(table, scale, questions, metric)
    if not judged:
        return "no row shares a seed with another yet"
    rows = [
        [name, interval(one.mean, one.half, metric, signed=True), kind(one)] for name, one in judged.items()
    ]
    if any(one.verdict != "no verdict" for one in judged.values()):
        return aligned(rows)
    reasons: dict[str, dict[str, None]] = {}
    for one in judged.values():
        reasons.setdefault(one.reason, {})[grid(table).rows[one.baseline].label] = None
    said = [f"- against {'; '.join(labels)}: {reason}" for reason, labels in reasons.items()]
    return "\n".join(["No verdict:", *said, "", aligned([row[:2] for row in rows])])


def aligned(rows: list[list[str]]) -> str:
    """Rows of texts with columns as wide as their widest."""
    widths = [max(map(len, column)) for column in zip(*rows)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip() for row in rows
    )
