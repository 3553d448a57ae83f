"""What surrounds a build does not change it: shell, settings of matplotlib and IPython, working folder."""

import json
import os
from pathlib import Path

import pytest

from partwhole.book import chapters
from partwhole.book.cells import new_notebook
from partwhole.book.outputs import figures
from partwhole.book.surroundings import kernel_environment, kernel_surroundings
from partwhole.data import catalogue

NAME = "paper/1_problem"
DRAWS = """\
import matplotlib.pyplot as plt
plt.plot([0, 1])
assert __debug__
print(plt.rcParams["lines.linewidth"])"""
ASKS = "from partwhole.data import catalogue\nprint(catalogue.root())"


def write_chapter(folder: Path, *cells: str) -> Path:
    """A repository with one chapter, whose last cells are these; its notebook."""
    (folder / "book").mkdir(parents=True)
    contents = f"root: book/start\nchapters:\n  - file: notebooks/{NAME}\n"
    (folder / "book" / "_toc.yml").write_text(contents, encoding="utf-8")
    config = "repository:\n  url: https://github.com/a/b\n  branch: main\n"
    (folder / "_config.yml").write_text(config, encoding="utf-8")
    path = new_notebook(f"notebooks/{NAME}.ipynb", "Part one", folder=folder)
    notebook = json.loads(path.read_text(encoding="utf-8"))
    for number, text in enumerate(cells):
        cell = {"cell_type": "code", "id": f"last-{number}", "metadata": {}, "source": [text], "outputs": []}
        notebook["cells"].append(cell | {"execution_count": None})
    path.write_text(json.dumps(notebook), encoding="utf-8")
    return path


def printed(path: Path) -> list[str]:
    outputs = json.loads(path.read_text(encoding="utf-8"))["cells"][-1]["outputs"]
    return "".join(
        "".join(output["text"]) for output in outputs if output["output_type"] == "stream"
    ).splitlines()


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A repository's folder, in which chapters are looked for; commands are given in a folder beside it."""
    monkeypatch.setattr(chapters, "home", lambda: tmp_path / "repository")
    (tmp_path / "beside").mkdir()
    monkeypatch.chdir(tmp_path / "beside")
    return tmp_path / "repository"


def hostile(folder: Path) -> dict[str, str]:
    """Variables that would each change the pictures, or leave them out, and the files that they name."""
    startup = folder / "startup.py"
    startup.write_text("import matplotlib\nmatplotlib.use('Agg')\n", encoding="utf-8")
    for settings in (folder / "matplotlib" / "matplotlibrc", folder / "matplotlibrc"):
        settings.parent.mkdir(exist_ok=True)
        settings.write_text("backend: Agg\nlines.linewidth: 9\n", encoding="utf-8")
    profile = folder / "ipython" / "profile_default" / "ipython_kernel_config.py"
    profile.parent.mkdir(parents=True)
    profile.write_text("c = get_config()\nc.InlineBackend.figure_formats = set()\n", encoding="utf-8")
    kernel = folder / "jupyter" / "kernels" / "python3" / "kernel.json"
    kernel.parent.mkdir(parents=True)
    kernel.write_text('{"argv": ["false"], "display_name": "x", "language": "python"}', encoding="utf-8")
    return {
        "MPLBACKEND": "Agg", "PYTHONSTARTUP": str(startup), "PYTHONOPTIMIZE": "1", "PYTHONWARNINGS": "error",
        "MPLCONFIGDIR": str(folder / "matplotlib"), "MATPLOTLIBRC": str(folder / "matplotlibrc"),
        "IPYTHONDIR": str(folder / "ipython"), "JUPYTER_PATH": str(folder / "jupyter"),
    }  # fmt: skip


@pytest.mark.parametrize(
    "name", [None, "MPLBACKEND", "PYTHONSTARTUP", "MATPLOTLIBRC", "IPYTHONDIR", "JUPYTER_PATH"]
)
def test_pictures_do_not_depend_on_the_shell_or_on_settings(folder, tmp_path, monkeypatch, name):
    write_chapter(folder, DRAWS)
    variables = hostile(tmp_path / "beside")
    for variable in variables if name is None else [name]:  # None: all of them
        monkeypatch.setenv(variable, variables[variable])
    before = dict(os.environ)
    run = chapters.run_chapter(NAME, quiet=True)
    assert figures(run) == 1 and printed(run) == ["1.5"]
    assert dict(os.environ) == before


def test_relative_folder_of_data_is_found_in_the_chapter_as_on_the_command_line(
    folder, tmp_path, monkeypatch
):
    write_chapter(folder, ASKS)
    monkeypatch.setenv("PARTWHOLE_DATA", "packs")
    assert catalogue.root() == tmp_path / "beside" / "packs"
    assert printed(chapters.run_chapter(NAME, quiet=True)) == [str(tmp_path / "beside" / "packs")]


def test_folders_of_the_kernel_are_absolute_and_the_rest_is_passed_on(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    given = {
        "MPLCONFIGDIR": "settings",
        "PARTWHOLE_DATA": "~/packs",
        "HOME": str(tmp_path),
        "OMP_NUM_THREADS": "1",
    }
    monkeypatch.setenv("HOME", str(tmp_path))
    environment = kernel_environment(given, tmp_path / "ipython")
    assert environment["MPLCONFIGDIR"] == str(tmp_path / "settings")
    assert environment["PARTWHOLE_DATA"] == str(tmp_path / "packs")
    assert environment["OMP_NUM_THREADS"] == "1"


def test_surroundings_are_restored_after_an_error(monkeypatch):
    monkeypatch.setenv("MPLBACKEND", "Agg")
    before, within = dict(os.environ), {}

    def fail():
        within.update(os.environ)
        raise RuntimeError

    with pytest.raises(RuntimeError), kernel_surroundings():
        fail()
    assert "MPLBACKEND" not in within and not Path(within["IPYTHONDIR"]).exists()
    assert dict(os.environ) == before


def test_run_without_a_figure_fails_where_the_committed_outputs_have_some(folder):
    path = write_chapter(folder, "print('no picture')")
    assert chapters.run_chapter(NAME, quiet=True).is_file()
    notebook = json.loads(path.read_text(encoding="utf-8"))
    picture = {"output_type": "display_data", "metadata": {}, "data": {"image/png": ""}}
    notebook["cells"][-1]["outputs"] = [picture, picture]
    path.write_text(json.dumps(notebook), encoding="utf-8")
    with pytest.raises(chapters.ChapterFailed) as failed:
        chapters.run_chapter(NAME, quiet=True)
    kept = folder / "outputs" / "paper" / "1_problem.failed.ipynb"
    said = f"{NAME}: the run made no figure, its committed outputs have 2; see {kept}"
    assert str(failed.value) == said and kept.is_file()
