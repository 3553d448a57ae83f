"""Tables as grids: a small YAML file says rows, scales and seeds; a cell is one row with one seed, its record
one file.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from partwhole import places
from partwhole.errors import BadInput, choice
from partwhole.experiments import SCALES, records
from partwhole.recipes import files
from partwhole.recipes.schema import Recipe

FOLDER = Path(__file__).parents[1] / "tables"
Scale = Literal[SCALES]


class Part(BaseModel):
    """What every part of a table's file is: closed to unknown keys, and fixed once read."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Row(Part):
    """One line of the table. recipes: another recipe at some scales.  overrides: dotted keys of the recipe,
    over the scale's.
    baseline: the row that this one is compared with, in place of the table's."""

    label: str
    recipe: str
    recipes: dict[Scale, str] = {}
    overrides: dict[str, Any] = {}
    baseline: str | None = None


class Size(Part):
    """One scale of the table: what it means, its seeds, and what it changes in every recipe."""

    about: str
    seeds: Annotated[tuple[int, ...], Field(min_length=1)] = (0,)
    overrides: dict[str, Any] = {}


class Grid(Part):
    """A table. metrics: the columns, names in the records' `metrics`.  baseline: the row that others are
    compared with.
    published: a file under data/published with the columns table, row, column, value, source, trust.
    doses: figures that say how far a treatment was delivered; shown beside the metrics, never judged.
    ordered: rows that stand in an order, for a trend in the first metric: each row's position, or the figure
    that gives it.
    """

    title: str
    metrics: Annotated[tuple[str, ...], Field(min_length=1)] = ("knn",)
    doses: tuple[str, ...] = ()
    ordered: dict[str, float] | str | None = None
    baseline: str | None = None
    published: str | None = None
    rows: Annotated[dict[str, Row], Field(min_length=1)]
    scales: Annotated[dict[Scale, Size], Field(min_length=1)]

    @model_validator(mode="after")
    def known_rows(self):
        ordered = self.ordered if isinstance(self.ordered, dict) else {}
        for what, row in [("baseline", self.baseline), *(("ordered", row) for row in ordered)]:
            if row is not None and row not in self.rows:
                raise ValueError(f"{what} is {row}; expected one of the rows {', '.join(self.rows)}")
        for name, row in self.rows.items():
            if row.baseline is not None and (row.baseline not in self.rows or row.baseline == name):
                raise ValueError(
                    f"row {name}: baseline is {row.baseline}; expected another of the rows "
                    f"{', '.join(self.rows)}"
                )
        return self

    def baseline_of(self, row: str) -> str | None:
        """The row that a row is compared with; None for the table's baseline, and where there is none."""
        return self.rows[row].baseline or (None if row == self.baseline else self.baseline)


@dataclass(frozen=True)
class Cell:
    """One row with one seed at one scale."""

    table: str
    scale: str
    row: str
    seed: int
    recipe_name: str
    recipe: Recipe

    @property
    def name(self) -> str:
        return f"{self.row}-{self.scale}-s{self.seed}"

    @property
    def digest(self) -> str:
        return files.digest(self.recipe)

    @property
    def path(self) -> Path:
        """Where its record is kept. Those of smoke claim nothing, so they stay under outputs/."""
        folder = places.outputs_folder() / "results" if self.scale == "smoke" else places.results_folder()
        return folder / self.table / f"{self.name}.json"

    @property
    def folder(self) -> Path:
        """Where it trains; the digest is in the name, so that a changed recipe starts afresh."""
        return places.outputs_folder() / "runs" / self.table / f"{self.name}-{self.digest[:8]}"

    def record(self) -> dict | None:
        """Its record, unless there is none or it is of another recipe."""
        record = records.read(self.path) if self.path.is_file() else None
        return record if record and record["digest"] == self.digest else None

    def state(self) -> str:
        """done, stale (its record is of another recipe), begun, or to do."""
        if self.path.is_file():
            return "done" if self.record() else "stale: of another recipe"
        return "begun" if (self.folder / "checkpoint.pt").is_file() else "to do"


def names() -> list[str]:
    """Every table."""
    return sorted(file.relative_to(FOLDER).with_suffix("").as_posix() for file in FOLDER.glob("*/*.yaml"))


def grid(table: str) -> Grid:
    """A table's grid; BadInput for an unknown table."""
    if table not in names():
        raise choice("table", table, names())
    return files.validated(Grid, files.read(FOLDER / f"{table}.yaml"), table)


def cells(table: str, scale: str) -> list[Cell]:
    """A table's cells at a scale, seed by seed, so that a budget that ends early leaves whole comparisons."""
    definition = grid(table)
    if scale not in definition.scales:
        raise BadInput(f"{table} has no scale {scale}; it has {', '.join(definition.scales)}")
    return [
        cell(table, definition, scale, row, seed)
        for seed in definition.scales[scale].seeds
        for row in definition.rows
    ]


def cell(table: str, definition: Grid, scale: str, row: str, seed: int) -> Cell:
    """One cell, its recipe resolved: the scale's overrides, then the row's, then the seed."""
    line = definition.rows[row]
    name = line.recipes.get(scale, line.recipe)
    values, label = files.resolved(name), f"{table}, row {row}"
    for key, value in {**definition.scales[scale].overrides, **line.overrides, "training.seed": seed}.items():
        files.put(values, key, value, label)
    return Cell(table, scale, row, seed, name, files.validated(Recipe, values, label))
