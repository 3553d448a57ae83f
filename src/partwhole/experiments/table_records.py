"""Records of a table at a scale: those that may be pooled, by row and seed, and a figure's values in them.

Records of different arithmetic never meet: a table shows the group with the most cells.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from partwhole.experiments.statistics import paired
from partwhole.experiments.tables import Cell, Grid, cells, grid

ByRow = dict[str, dict[int, dict]]  # {row: {seed: record}}
Arithmetic = tuple[int, str]  # how a step was computed: numerics, precision


@dataclass(frozen=True)
class TableRecords:
    """The records of a table at a scale that may be pooled. left_out: how many others, by arithmetic."""

    table: str
    scale: str
    by_row: ByRow
    arithmetic: Arithmetic | None
    left_out: dict[Arithmetic, int]
    cells: dict[tuple[str, int], Cell]

    @property
    def grid(self) -> Grid:
        return grid(self.table)

    @property
    def finite(self) -> ByRow:
        """The records of runs that did not diverge: the only ones that are averaged."""
        return {
            row: {seed: record for seed, record in runs.items() if not record.get("diverged")}
            for row, runs in self.by_row.items()
        }

    def diverged(self, row: str) -> dict[int, int]:
        """{seed: epoch after which the run had diverged}."""
        return {seed: record["epochs"] for seed, record in self.by_row[row].items() if record.get("diverged")}

    def cell(self, row: str) -> Cell:
        """One cell of a row: what its images are."""
        return next(cell for (name, _), cell in self.cells.items() if name == row)


def table_records(table: str, scale: str) -> TableRecords:
    """A table's records at a scale, of one arithmetic: that with most cells, of equally many the newest."""
    everything = {(cell.row, cell.seed): cell for cell in cells(table, scale)}
    records = {place: record for place, cell in everything.items() if (record := cell.record()) is not None}
    counts: dict[Arithmetic, int] = {}
    for record in records.values():
        counts[arithmetic(record)] = counts.get(arithmetic(record), 0) + 1
    chosen = max(counts, key=lambda group: (counts[group], group), default=None)
    by_row: ByRow = {row: {} for row in grid(table).rows}
    for (row, seed), record in records.items():
        if arithmetic(record) == chosen:
            by_row[row][seed] = record
    left_out = {group: count for group, count in counts.items() if group != chosen}
    return TableRecords(table, scale, by_row, chosen, left_out, everything)


def arithmetic(record: Mapping) -> Arithmetic:
    """How a record's steps were computed; records without `numerics` are of the first."""
    return record.get("numerics", 1), record.get("precision", "")


def records_by_row(table: str, scale: str) -> ByRow:
    """{row: {seed: record}} of one arithmetic, without diverged runs; a row without records is empty."""
    return table_records(table, scale).finite


def values(by_row: ByRow, metric: str) -> dict[str, dict[int, float]]:
    """{row: {seed: value}} of one metric; a record that lacks it, or holds null, is left out."""
    return {
        row: {
            seed: value
            for seed, record in runs.items()
            if (value := record["metrics"].get(metric)) is not None
        }
        for row, runs in by_row.items()
    }


def differences(by_row: ByRow, row: str, baseline: str, metric: str = "knn") -> list[float]:
    """A row's differences to another, one for each seed that both have."""
    arms = values(by_row, metric)
    return list(paired(arms[row], arms[baseline]).values())


def held_equal(by_row: ByRow) -> str:
    """The budget that all rows share, within 2 %: images seen, encoder compute, or nothing."""
    for key, words in (("images_seen", "images seen"), ("encoder_compute", "encoder compute")):
        budgets = [record.get(key) for runs in by_row.values() for record in runs.values()]
        if budgets and None not in budgets and max(budgets) <= 1.02 * min(budgets):
            return f"equal {words}"
    return "unequal budgets"


def device(machine: Mapping) -> str:
    """A machine in words."""
    return machine["model"] + (f", {machine['cores']} cores" if machine["device"] == "cpu" else "")


def how_many(table: str, scale: str) -> str:
    """How many of a table's records there are, and the command that makes the rest."""
    wanted = len(cells(table, scale))
    count = sum(len(runs) for runs in table_records(table, scale).by_row.values())
    more = "" if count == wanted else f"; partwhole reproduce {table} --scale {scale} makes the rest"
    return f"{table}: {f'{count} of {wanted} records' if count else 'no record yet'}{more}"
