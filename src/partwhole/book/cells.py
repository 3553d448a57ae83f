"""What all notebooks have in common: the Colab badge, the set-up cell, the parameters cell, the sections.

The structure test holds every notebook to these texts, so they are written here and nowhere else.
"""

import json
from pathlib import Path

from partwhole.book.address import Address, address
from partwhole.book.presets import PRESETS
from partwhole.errors import BadInput

SECTIONS = ("You will learn", "Set-up", "Exercises", "Summary")  # the headings (##) that every notebook has, in this order

PARAMETERS = "preset = None  # None asks PARTWHOLE_PRESET, else smoke; or: smoke, teach, full"

_SET_UP = """\
# On Colab: fetch the book's repository. Elsewhere: only make sure that the library is found.
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

places = [Path.cwd(), *Path.cwd().parents, Path.cwd() / "{name}"]
home = next((place for place in places if (place / "src" / "partwhole").is_dir()), None)
if find_spec("google") and find_spec("google.colab"):
    if home is None:
        home = Path.cwd() / "{name}"
        address = "{url}"
        subprocess.run(["git", "clone", "--quiet", "--depth", "1", "--branch", "{branch}", address, str(home)], check=True)
    os.chdir(home)
if home is not None and find_spec("partwhole") is None:
    sys.path.insert(0, str(home / "src"))"""


def set_up_cell(where: Address | None = None) -> str:
    """The set-up cell's source, the same in every notebook.

    On Colab it clones the repository (once: an existing copy is used) and moves into it; everywhere it puts `src` on the
    path if the library is not installed. It installs nothing, so Colab's own torch and numpy stay as they are.
    """
    where = where or address()
    return _SET_UP.format(name=where.slug.split("/")[-1], url=where.url, branch=where.branch)


def badge(path: str | Path, where: Address | None = None) -> str:
    """Markdown of the *Open in Colab* button for a notebook, `path` relative to the repository's root."""
    where = where or address()
    target = f"https://colab.research.google.com/github/{where.slug}/blob/{where.branch}/{Path(path).as_posix()}"
    return f"[![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)]({target})"


def cost_line(cost: dict[str, str]) -> str:
    """The line under a notebook's title that says what each preset costs; the same words as in its metadata."""
    return "**Cost:** " + "; ".join(f"`{preset}` {cost[preset]}" for preset in PRESETS if preset in cost)


def new_notebook(path: str | Path, title: str, *, cost: dict[str, str] | None = None, folder: Path | None = None) -> Path:
    """Write an empty chapter that passes the structure test, and return where it is.

    path: relative to the repository's root, `notebooks/PAPER/N_name.ipynb`.  cost: what each preset costs, in words.
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
        _markdown(f"# {title}\n\n{badge(path, where)}\n\nThe paper: authors, venue, number.\n\n{cost_line(cost)}"),
        _markdown("## You will learn\n\n- what\n- why\n- how"),
        _markdown("## Set-up"),
        _code(set_up_cell(where), "hide-input"),
        _code(PARAMETERS, "parameters"),
        _code("from partwhole import presets\n\npreset = presets.choose(preset)\npreset", "nbval-ignore-output"),
        _markdown("## The problem"),
        _markdown("## Exercises\n\n1. Recall.\n2. Modify.\n3. Research."),
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
    return {"cell_type": "code", "metadata": metadata, "source": lines, "outputs": [], "execution_count": None}
