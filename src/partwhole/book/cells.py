"""What all notebooks have in common: the Colab badge, the set-up cell, the parameters cell, the sections.

The structure test holds every notebook to these texts, so they are written here and nowhere else.
"""

import json
from pathlib import Path

from partwhole.book.address import Address, address
from partwhole.book.presets import PRESETS
from partwhole.errors import BadInput

# The headings (##) that every notebook has, in this order.
SECTIONS = ("You will learn", "Set-up", "Exercises", "Summary")

PARAMETERS = "preset = None  # None asks PARTWHOLE_PRESET, else smoke; or: smoke, teach, full"

_CHOICE = """\
from partwhole.book import presets

preset = presets.choose(preset)
name = presets.image_set_name(preset)
print(f"{preset}: {presets.MEANING[preset]}; images: {name}")"""

_SET_UP = """\
# On Colab: fetch the book's repository. Everywhere: import the library from the clone around.
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

here, address = Path.cwd(), "{url}"
package = Path("src", "partwhole", "__init__.py")
folders = [here, *here.parents, here / "{name}", *sorted(here.glob("*"))]
clone = next((folder for folder in folders if os.path.isfile(folder / package)), None)
if find_spec("google") and find_spec("google.colab"):
    if clone is None:
        clone = here / "{name}"
        command = ["git", "clone", "--quiet", "--depth", "1", "--branch", "{branch}", address]
        git = subprocess.run([*command, str(clone)], capture_output=True, text=True)
        if git.returncode:
            raise RuntimeError(f"{{address}} could not be cloned: {{git.stderr.strip()}}")
    os.chdir(clone)
if clone and (not (spec := find_spec("partwhole")) or spec.origin != str(clone / package)):
    for module in [name for name in sys.modules if name.partition(".")[0] == "partwhole"]:
        del sys.modules[module]  # of another clone, or of a plain folder that bears the name
    sys.path.insert(0, str(clone / "src"))
if not (spec := find_spec("partwhole")) or not spec.origin:
    raise ImportError(f"no partwhole here; open this notebook inside a clone of {{address}}")"""


def set_up_cell(where: Address | None = None) -> str:
    """The set-up cell's source, the same in every notebook.

    The library is imported from the clone that holds the notebook's folder or lies in it, whatever other
    `partwhole` is installed, imported already, or only a folder of that name (which Python takes for a
    package without files, so that asking whether `partwhole` can be found proves nothing). Where no clone is
    around, the installed library serves; where there is none either, the cell ends in one line. On Colab it
    clones the repository (once: an existing copy is used) and moves into it. It installs nothing, so Colab's
    torch and numpy stay as they are.
    """
    where = where or address()
    return _SET_UP.format(name=where.slug.split("/")[-1], url=where.url, branch=where.branch)


def badge(path: str | Path, where: Address | None = None) -> str:
    """Markdown of the *Open in Colab* button for a notebook, `path` relative to the repository's root."""
    where = where or address()
    target = (
        f"https://colab.research.google.com/github/{where.slug}/blob/{where.branch}/{Path(path).as_posix()}"
    )
    return f"[![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)]({target})"


def cost_line(cost: dict[str, str]) -> str:
    """The line under a notebook's title that says what each preset costs, in the words of its metadata."""
    return "**Cost:** " + "; ".join(f"`{preset}` {cost[preset]}" for preset in PRESETS if preset in cost)


def new_notebook(
    path: str | Path, title: str, *, cost: dict[str, str] | None = None, folder: Path | None = None
) -> Path:
    """Write an empty chapter that passes the structure test, and return where it is.

    path: relative to the repository's root, `notebooks/PAPER/N_name.ipynb`.  cost: of each preset, in words.
    Raises BadInput if the file is there already.
    """
    from partwhole.places import home

    folder = folder or home()
    path = Path(path)
    if (folder / path).exists():
        raise BadInput(f"{path} exists; choose another name or edit that notebook")
    cost = cost or {"smoke": "20 s on 2 cores", "teach": "minutes on 2 cores", "full": "hours on one GPU"}
    where = address(folder)
    cells = [
        _markdown(
            f"# {title}\n\n{badge(path, where)}\n\nThe paper: authors, venue, number.\n\n{cost_line(cost)}"
        ),
        _markdown("## You will learn\n\n- what\n- why\n- how"),
        _markdown("## Set-up"),
        _code(set_up_cell(where), "hide-input"),
        _code(PARAMETERS, "parameters"),
        _code(_CHOICE, "nbval-ignore-output"),
        _markdown("## The problem"),
        _markdown(
            "## Exercises\n\n1. Recall.\n2. Modify.\n3. Research.\n\n"
            "```{dropdown} Solutions\n1. The answer, and why.\n```"
        ),
        _markdown("## Summary\n\n- one\n- two"),
    ]
    for number, cell in enumerate(cells):
        cell["id"] = f"cell-{number:02d}"
    metadata = {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
        "partwhole": {"cost": cost},
    }
    notebook = {"cells": cells, "metadata": metadata, "nbformat": 4, "nbformat_minor": 5}
    (folder / path).parent.mkdir(parents=True, exist_ok=True)
    (folder / path).write_text(json.dumps(notebook, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return folder / path


def _markdown(text: str) -> dict:
    return {"cell_type": "markdown", "metadata": {}, "source": text.splitlines(keepends=True)}


def _code(text: str, *tags: str) -> dict:
    lines = text.splitlines(keepends=True)
    metadata = {"tags": list(tags)} if tags else {}
    return {
        "cell_type": "code",
        "metadata": metadata,
        "source": lines,
        "outputs": [],
        "execution_count": None,
    }
