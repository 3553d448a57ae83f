"""Records: what a run was and what came of it, one JSON file each. Every number in the book comes from one.

A record is a dict. A training run's holds `kind`, `name`, `recipe` (all values), `digest`, `seed`, `data`,
`images`, `images_seen`, `epochs`, `metrics` (of the last epoch, by name, accuracies in per cent), `history`
(a row an epoch), `train_seconds`, `images_per_second`, `peak_memory_bytes`, `precision`, `processes`,
`threads` and `machine`. `write` adds `format`, and turns a number that JSON cannot hold (a loss that
diverged) into null.
"""

import json
import math
from pathlib import Path

from partwhole import places
from partwhole.errors import BadInput

FORMAT = 1
# Of the arithmetic of a step. Records without it are 1: their costs under autocast were computed in bf16.
NUMERICS = 2


def write(record: dict, path: Path) -> Path:
    """Write a record whole or not at all (to a neighbouring name, then renamed); returns the path.

    BadInput if it cannot.
    """
    path = Path(path)
    part = path.with_name(path.name + ".part")
    text = json.dumps(finite({"format": FORMAT} | record), indent=1, allow_nan=False)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part.write_text(text + "\n", encoding="utf-8")
        part.replace(path)
    except OSError as error:
        raise BadInput(f"{path}: cannot be written ({error.strerror}); choose another folder") from None
    return path


def finite(value: object) -> object:
    """The same value, with None for every float that is not finite."""
    if isinstance(value, dict):
        return {key: finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def read(path: Path) -> dict:
    """The record in a file, or BadInput where there is none of this format."""
    try:
        record = json.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise BadInput(f"{path}: cannot be read ({error.strerror}); expected a run's record") from None
    except ValueError:
        raise BadInput(f"{path}: damaged, not JSON; delete it and run again") from None
    if not isinstance(record, dict) or record.get("format") != FORMAT:
        raise BadInput(f"{path}: not a record of format {FORMAT}; delete it and run again")
    return record


def read_all(folder: Path | None = None) -> list[dict]:
    """Every record under a folder, by default under the repository's data/results, in the order of their
    paths.
    """
    return [read(path) for path in sorted((folder or places.results_folder()).rglob("*.json"))]


def glue(name: str, value: object) -> None:
    """Store a value in the notebook's outputs, unseen, so that a page of the book can show it; nothing
    outside a notebook.

    On a page beside it: {glue:text}`notebook.ipynb::name:.1f`.  The stored form is MyST-NB's, which need not
    be installed.
    """
    try:
        from IPython import get_ipython
        from IPython.display import display
    except ImportError:
        return
    shell = get_ipython()
    if shell is None:
        return
    prefix = "application/papermill.record/"
    data, metadata = shell.display_formatter.format(value)
    hidden = {prefix + kind: content for kind, content in data.items()}
    display(hidden, metadata={**metadata, "scrapbook": {"name": name, "mime_prefix": prefix}}, raw=True)
