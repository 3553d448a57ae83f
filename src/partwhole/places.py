"""Where things lie: the clone that this package runs from, and its folders for records, published numbers and
outputs.
"""

from pathlib import Path

from partwhole.errors import BadInput


def root() -> Path | None:
    """The clone that this package runs from, or the one around the working folder; None where there is no
    clone.
    """
    for start in (Path(__file__).resolve(), Path.cwd()):
        for folder in (start, *start.parents):
            if (folder / "_config.yml").is_file() and (folder / "src" / "partwhole").is_dir():
                return folder
    return None


def home() -> Path:
    """As root(), but BadInput where there is no clone: chapters, the book and the address need one."""
    folder = root()
    if folder is None:
        raise BadInput(
            "no clone of the repository here; chapters and the book need one: run this from inside a clone"
        )
    return folder


def results_folder() -> Path:
    """data/results of the clone; outputs/results in the working folder where there is no clone."""
    clone = root()
    return clone / "data" / "results" if clone else outputs_folder() / "results"


def published_folder() -> Path | None:
    """data/published of the clone: the papers' tables; None where there is no clone."""
    clone = root()
    return clone / "data" / "published" if clone else None


def outputs_folder() -> Path:
    """outputs/ of the clone, else of the working folder: runs, checkpoints, whatever is not committed."""
    return (root() or Path.cwd()) / "outputs"
