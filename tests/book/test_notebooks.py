import json
from pathlib import Path

import pytest
from rules import code_cells, complaints

from partwhole.book.address import Address, address
from partwhole.book.cells import badge, new_notebook
from partwhole.book.chapters import chapters
from partwhole.places import home

ROOT = home()
NOTEBOOKS = sorted(
    path.relative_to(ROOT)
    for path in (ROOT / "notebooks").rglob("*.ipynb")
    if ".ipynb_checkpoints" not in path.parts
)
COLAB = Address("https://github.com/reader/book", "main")


@pytest.mark.parametrize("path", NOTEBOOKS, ids=str)
def test_notebook_keeps_every_rule(path):
    assert complaints(json.loads((ROOT / path).read_text(encoding="utf-8")), path, ROOT, address()) == []


def test_the_book_lists_every_notebook_once():
    listed = [chapter.path.relative_to(ROOT) for chapter in chapters()]
    assert sorted(listed) == NOTEBOOKS


@pytest.fixture
def template(tmp_path):
    """A new notebook, as if it had been run with teach; and the folder it lies in."""
    (tmp_path / "_config.yml").write_text(
        f"repository:\n  url: {COLAB.url}\n  branch: main\n", encoding="utf-8"
    )
    path = new_notebook("notebooks/paper/1_problem.ipynb", "A title", folder=tmp_path)
    notebook = json.loads(path.read_text(encoding="utf-8"))
    notebook["metadata"]["partwhole"]["made_with"] = {"preset": "teach"}
    for count, cell in enumerate(code_cells(notebook), 1):
        cell["execution_count"] = count
    return notebook


def judged(notebook: dict) -> list[str]:
    return complaints(notebook, Path("notebooks/paper/1_problem.ipynb"), ROOT, COLAB)


def test_a_new_notebook_keeps_every_rule_once_it_has_run(template):
    assert judged(template) == []


def stream(name: str, text: str) -> dict:
    return {"output_type": "stream", "name": name, "text": [text]}


SPOILS = {
    "badge of its own path": lambda n: n["cells"][0].update(
        source=["# A title\n", badge("notebooks/paper/2_method.ipynb", COLAB)]
    ),
    "does not begin with '# title'": lambda n: n["cells"][0]["source"].insert(0, "Hello\n"),
    "exactly one '# title'": lambda n: n["cells"][1]["source"].insert(0, "# Another\n"),
    "must be there once": lambda n: n["cells"].pop(1),
    "not the set-up cell": lambda n: code_cells(n)[0]["source"].append("\nprint(1)"),
    "0 cells are tagged": lambda n: code_cells(n)[1]["metadata"].clear(),
    "preset = None": lambda n: code_cells(n)[1].update(source=["preset = 'smoke'"]),
    "no cell asks presets": lambda n: code_cells(n)[2].update(source=["1"]),
    "it looks by itself": lambda n: code_cells(n)[2]["source"].append("\nabsent = catalogue.available()"),
    "takes the imported name presets": lambda n: code_cells(n)[2]["source"].append(
        "\nfor presets in ():\n    pass"
    ),
    "96 characters": lambda n: code_cells(n)[2].update(source=["x" * 96]),
    "imports from partwhole 6 times": lambda n: code_cells(n)[2]["source"].append("\nimport partwhole" * 5),
    "picture without alternative text": lambda n: code_cells(n)[2]["outputs"].append(
        {"output_type": "display_data", "data": {"image/png": ""}, "metadata": {}}
    ),
    "no folded solutions": lambda n: n["cells"][-2].update(source=["## Exercises\n", "\n", "1. Recall.\n"]),
    "26 lines": lambda n: code_cells(n)[2].update(source=["1\n"] * 26),
    "execution counts": lambda n: code_cells(n)[2].update(execution_count=7),
    "shows an error": lambda n: code_cells(n)[2]["outputs"].append(
        {"output_type": "error", "ename": "E", "evalue": "", "traceback": []}
    ),
    "stderr": lambda n: code_cells(n)[2]["outputs"].append(stream("stderr", "careful")),
    "not teach": lambda n: n["metadata"]["partwhole"]["made_with"].update(preset="smoke"),
    "kernel is not python3": lambda n: n["metadata"]["kernelspec"].update(name="conda-env"),
    "an id of its own": lambda n: n["cells"][1].update(id=n["cells"][2]["id"]),
    "papermill": lambda n: n["metadata"].update(papermill={"duration": 3}),
    "machine paths in outputs": lambda n: code_cells(n)[2]["outputs"].append(
        stream("stdout", "/home/me/data")
    ),
    "absolute path /home/me/data": lambda n: code_cells(n)[2].update(source=["open('/home/me/data')"]),
    "1000000 or more": lambda n: code_cells(n)[2]["outputs"].append(stream("stdout", "x" * 1_000_000)),
    "must say what smoke, teach, full cost": lambda n: n["metadata"]["partwhole"]["cost"].pop("full"),
    "lacks the line: **Cost:**": lambda n: n["metadata"]["partwhole"]["cost"].update(full="a week"),
}


@pytest.mark.parametrize("complaint", SPOILS)
def test_each_rule_catches_its_breach(template, complaint):
    SPOILS[complaint](template)
    assert any(complaint in said for said in judged(template)), judged(template)
