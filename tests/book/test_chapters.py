import base64
import io
import json
import os
import subprocess
import sys
import time

import numpy as np
import pytest
from PIL import Image
from rules import complaints

from partwhole.book import chapters, presets
from partwhole.book.address import address
from partwhole.book.cells import new_notebook
from partwhole.book.outputs import machine_paths, normalised, with_outputs, with_small_pictures
from partwhole.errors import BadInput

NAME = "paper/1_problem"


@pytest.fixture
def clone(tmp_path, monkeypatch):
    """A repository with one chapter of the parameters preset, rate and count; its last cell may fail."""
    (tmp_path / "book").mkdir()
    (tmp_path / "book" / "_toc.yml").write_text(
        f"root: book/start\nchapters:\n  - file: notebooks/{NAME}\n", encoding="utf-8"
    )
    (tmp_path / "_config.yml").write_text(
        "repository:\n  url: https://github.com/a/b\n  branch: main\n", encoding="utf-8"
    )
    path = new_notebook(f"notebooks/{NAME}.ipynb", "Part one", folder=tmp_path)
    notebook = json.loads(path.read_text(encoding="utf-8"))
    cells = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    cells[1]["source"] = ["preset = None\n", "rate = 0.5\n", "count = 3\n", "fail = ''  # raise this"]
    cells[2]["source"] = [
        "import os\n", "from partwhole import errors\n", "from partwhole.book import presets\n",
        "presets.image_set_name('smoke')\n", "print(presets.choose(preset), rate, count)\n",
        "print(os.getcwd())\n", "if fail:\n", "    raise getattr(errors, fail, ValueError)('refused')",
    ]  # fmt: skip
    path.write_text(json.dumps(notebook), encoding="utf-8")
    monkeypatch.setattr(chapters, "home", lambda: tmp_path)
    return tmp_path


def printed(path) -> str:
    notebook = json.loads(path.read_text(encoding="utf-8"))
    return "".join(
        "".join(output.get("text", "")) for cell in notebook["cells"] for output in cell.get("outputs", [])
    )


def test_chapters_come_from_the_contents_with_title_and_cost(clone):
    [chapter] = chapters.chapters()
    assert (chapter.name, chapter.title) == (NAME, "Part one")
    assert set(chapter.cost) == set(presets.PRESETS)


def test_run_takes_preset_and_parameters_and_leaves_the_source_alone(clone):
    source = clone / "notebooks" / f"{NAME}.ipynb"
    before = source.read_bytes()
    done = chapters.run_chapter(NAME, preset="teach", parameters={"rate": 1}, quiet=True)
    assert done == clone / "outputs" / f"{NAME}.ipynb"
    assert printed(done).splitlines() == ["teach 1 3", str(source.parent)]
    assert source.read_bytes() == before
    assert os.listdir(done.parent) == [done.name]


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("paper/1_problm", {}, "unknown chapter 'paper/1_problm'; did you mean paper/1_problem?"),
        (NAME, {"preset": "tech"}, "unknown preset 'tech'; did you mean teach?"),
        (
            NAME,
            {"parameters": {"ratte": 1}},
            "unknown parameter of paper/1_problem 'ratte'; did you mean rate?",
        ),
        (
            NAME,
            {"parameters": {"count": "many"}},
            "paper/1_problem: count is 'many'; expected int, such as 3",
        ),
        (NAME, {"parameters": {"count": True}}, "paper/1_problem: count is True; expected int, such as 3"),
    ],
)
def test_bad_input_is_one_line_and_runs_nothing(clone, name, arguments, message):
    with pytest.raises(BadInput) as refused:
        chapters.run_chapter(name, **arguments)
    assert str(refused.value) == message
    assert not (clone / "outputs").exists()


def test_what_a_cell_refuses_is_bad_input_and_what_it_breaks_is_a_failed_chapter(clone):
    with pytest.raises(BadInput, match=r"^paper/1_problem: refused$"):
        chapters.run_chapter(NAME, parameters={"fail": "BadInput"}, quiet=True)
    with pytest.raises(
        chapters.ChapterFailed,
        match=r"^paper/1_problem: cell \d raised ValueError: refused; see .*failed.ipynb$",
    ):
        chapters.run_chapter(NAME, parameters={"fail": "ValueError"}, quiet=True)
    assert os.listdir(clone / "outputs" / "paper") == ["1_problem.failed.ipynb"]


def test_renewed_outputs_keep_the_rules_of_committed_notebooks(clone):
    path = chapters.regenerate(NAME, quiet=True)
    notebook = json.loads(path.read_text(encoding="utf-8"))
    assert complaints(notebook, path.relative_to(clone), clone, address(clone)) == []
    assert printed(path).splitlines() == ["teach 0.5 3", "notebooks/paper"]


def test_run_of_another_version_is_not_mixed_in(clone):
    done = chapters.run_chapter(NAME, quiet=True)
    source = json.loads((clone / "notebooks" / f"{NAME}.ipynb").read_text(encoding="utf-8"))
    source["cells"][5]["source"] = ["1 + 1"]
    with pytest.raises(BadInput, match="run the chapter again"):
        with_outputs(source, json.loads(done.read_text(encoding="utf-8")))


def test_normalising_twice_is_normalising_once(clone):
    done = json.loads(chapters.run_chapter(NAME, quiet=True).read_text(encoding="utf-8"))
    once = normalised(done, clone)
    assert normalised(once, clone) == once
    assert "papermill" not in json.dumps(once)


@pytest.mark.parametrize(
    ("text", "paths"),
    [
        ("saved to /home/me/x.png.", ["/home/me/x.png."]),
        (r"C:\Users\me\x", [r"C:\Users\me\x"]),
        ("https://github.com/a/b and a/b/c, 1/2/3, ~/x/y, ./x/y, <td>1</td>", []),
    ],
)
def test_machine_paths_are_told_from_addresses_and_ratios(text, paths):
    assert machine_paths(text) == paths


@pytest.mark.parametrize(
    ("argument", "environment", "chosen"),
    [("full", "teach", "full"), (None, "teach", "teach"), (None, None, "smoke")],
)
def test_preset_is_the_argument_else_the_environment_else_smoke(monkeypatch, argument, environment, chosen):
    monkeypatch.delenv("PARTWHOLE_PRESET", raising=False)
    if environment:
        monkeypatch.setenv("PARTWHOLE_PRESET", environment)
    assert presets.choose(argument) == chosen


def test_wrong_preset_in_the_environment_is_named(monkeypatch):
    monkeypatch.setenv("PARTWHOLE_PRESET", "ful")
    with pytest.raises(BadInput, match=r"unknown PARTWHOLE_PRESET 'ful'; did you mean full\?"):
        presets.choose()


def test_listing_chapters_loads_no_torch_and_takes_under_a_second():
    code = (
        "import sys; from partwhole.book import chapters; chapters.chapters(); "
        "print({'torch', 'papermill'} & set(sys.modules))"
    )
    started = time.monotonic()
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert said.strip() == "set()"
    assert time.monotonic() - started < 5  # generous: a shared machine; alone it takes 0.1 s


def test_clock_speaks_in_words():
    assert [chapters.clock(seconds) for seconds in (4.4, 75, 3700)] == ["4 s", "1 min 15 s", "1 h 1 min"]


def test_pictures_are_kept_with_few_colours_and_look_the_same():
    shades = np.random.default_rng(0).integers(0, 12, (40, 40, 1)) * 20 + np.array([0, 5, 10])
    kept = io.BytesIO()
    Image.fromarray(shades.astype(np.uint8)).save(kept, "PNG", compress_level=0)
    output = {
        "output_type": "display_data",
        "metadata": {},
        "data": {"image/png": base64.b64encode(kept.getvalue()).decode()},
    }
    cell = {"cell_type": "code", "source": [], "metadata": {}, "outputs": [output]}
    small = with_small_pictures({"cells": [cell, {"cell_type": "markdown", "source": []}]})
    picture = base64.b64decode(small["cells"][0]["outputs"][0]["data"]["image/png"])
    assert (
        len(picture) < len(kept.getvalue()) / 2
        and output["data"]["image/png"] == base64.b64encode(kept.getvalue()).decode()
    )
    assert np.abs(np.asarray(Image.open(io.BytesIO(picture)).convert("RGB"), int) - shades).max() <= 3
