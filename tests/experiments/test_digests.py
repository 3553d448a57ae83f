"""Committed records stay those of today's recipes: no digest, no default changes, and no cell is stale.

A changed default of the schema once made 57 cells stale while every test passed: a digest leaves out what
equals the default.
"""

import json
from pathlib import Path

import pytest

from partwhole import places
from partwhole.experiments.tables import cells, grid, names
from partwhole.recipes.files import digest
from partwhole.recipes.schema import Part, Recipe

RESULTS = Path(__file__).parents[2] / "data" / "results"
RECORDS = {path: json.loads(path.read_text(encoding="utf-8")) for path in sorted(RESULTS.rglob("*.json"))}
OF_RECIPES = [path for path, record in RECORDS.items() if "recipe" in record]  # trained or evaluated
DEFAULTS = json.loads(Path(__file__).with_name("schema_defaults.json").read_text(encoding="utf-8"))
REQUIRED = "(required)"
SCALES = [(table, scale) for table in names() for scale in grid(table).scales]


def identity(path: Path) -> str:
    return path.relative_to(RESULTS).with_suffix("").as_posix()


def defaults(part: type[Part], prefix: str = "") -> dict[str, object]:
    """The default of every leaf of the schema, by its dotted key, in JSON types.

    Asserts that it also stands where the whole part around it is left out.
    """
    leaves = {}
    for name, field in part.model_fields.items():
        key, default = f"{prefix}{name}", field.get_default(call_default_factory=True)
        if isinstance(field.annotation, type) and issubclass(field.annotation, Part):
            leaves |= defaults(field.annotation, f"{key}.")
            whole = field.is_required() or default == field.annotation()
            assert whole, f"{key} does not default to {field.annotation.__name__}()"
        else:
            leaves[key] = REQUIRED if field.is_required() else json.loads(json.dumps(default))
    return leaves


@pytest.mark.parametrize("path", OF_RECIPES, ids=identity)
def test_the_digest_of_a_record_comes_out_again(path):
    assert digest(Recipe(**RECORDS[path]["recipe"])) == RECORDS[path]["digest"]


def test_there_are_records_to_check():
    assert len(OF_RECIPES) >= 116
    assert sum(record["kind"] == "train" for record in RECORDS.values()) >= 112


@pytest.mark.parametrize(("table", "scale"), SCALES)
def test_no_cell_with_a_committed_record_is_stale(table, scale):
    """Records of scale smoke lie under outputs/, are nobody's evidence, and may be old."""
    committed = [cell for cell in cells(table, scale) if cell.path.is_relative_to(places.results_folder())]
    assert [cell.name for cell in committed if cell.state().startswith("stale")] == []


def test_every_record_of_a_table_belongs_to_a_cell():
    """A renamed row or a dropped seed would leave its record behind, unread."""
    paths = {cell.path.resolve() for table, scale in SCALES for cell in cells(table, scale)}
    trained = [path for path, record in RECORDS.items() if record["kind"] == "train"]
    assert [identity(path) for path in trained if path.resolve() not in paths] == []


@pytest.mark.parametrize("key", DEFAULTS)
def test_a_default_of_the_schema_is_what_it_was(key):
    """Keys that are added later pass; they join schema_defaults.json once records are published with them."""
    today = defaults(Recipe)
    assert key in today, f"the recipe's key {key} is gone: records that hold it can no longer be read"
    assert today[key] == DEFAULTS[key], (
        f"the default of {key} was {DEFAULTS[key]} and is {today[key]}: records whose recipes left it out "
        "become stale. Keep the default, and say the new value in the recipes that want it"
    )
