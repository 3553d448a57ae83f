"""The set-up cell in real surroundings: a clone, a plain folder, a fake google.colab, other packages.

The interpreter finds every installed package but partwhole: site, which would read the path file of an
editable install, is off, and a folder of links stands in for site-packages.
"""

import json
import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from partwhole.book.address import Address, address
from partwhole.book.cells import set_up_cell
from partwhole.book.chapters import chapters
from partwhole.places import home

WHERE = "print(__import__('partwhole.places').places.__file__); print(__import__('os').getcwd())"


@pytest.fixture(scope="session")
def packages(tmp_path_factory):
    """site-packages without partwhole, as links."""
    folder = tmp_path_factory.mktemp("packages")
    for installed in {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}:
        for entry in Path(installed).iterdir():
            if (
                "partwhole" not in entry.name
                and entry.suffix != ".pth"
                and not (folder / entry.name).exists()
            ):
                (folder / entry.name).symlink_to(entry)
    return folder


@pytest.fixture(scope="session")
def colab(tmp_path_factory):
    """A folder with a package google.colab, as Colab has one."""
    folder = tmp_path_factory.mktemp("colab")
    (folder / "google" / "colab").mkdir(parents=True)
    (folder / "google" / "colab" / "__init__.py").touch()
    return folder


@pytest.fixture(scope="session")
def working_tree(tmp_path_factory):
    """A copy of what a clone of this working tree would hold."""
    clone = tmp_path_factory.mktemp("tree") / "partwhole"
    shutil.copytree(home(), clone, ignore=lambda folder, names: _ignored(Path(folder), names))
    return clone


def _ignored(folder: Path, names: list[str]) -> list[str]:
    if folder == home():
        return [name for name in names if name not in ("_config.yml", "book", "data", "notebooks", "src")]
    if folder == home() / "data":
        return [name for name in names if name not in ("encoders", "published", "results")]
    return [name for name in names if name in ("__pycache__", ".ipynb_checkpoints")]


def minimal(clone: Path, version: str = "") -> Path:
    """A clone with next to nothing in it, whose library is told by `version`."""
    package = clone / "src" / "partwhole"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text(f"version = {version!r}\n", encoding="utf-8")
    (package / "places.py").touch()
    return clone


def run_code(code: str, folder: Path, *path: Path) -> tuple[int, list[str], str]:
    """Exit status, printed lines and errors of `code`, run in `folder` with only `path` to import from.

    As in a kernel, the folder itself comes first among the places to import from.
    """
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PARTWHOLE")}
    environment |= {"PYTHONPATH": os.pathsep.join(map(str, path)), "PYTHONDONTWRITEBYTECODE": "1"}
    run = subprocess.run(
        [sys.executable, "-S", "-c", code],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
    )
    return run.returncode, run.stdout.splitlines(), run.stderr


def imported_from(
    folder: Path, *path: Path, before: str = "", where: Address | None = None
) -> tuple[Path, Path]:
    """The clone from which the library comes after the set-up cell, and the working folder then."""
    code = "\n".join([before, set_up_cell(where), WHERE])
    status, lines, errors = run_code(code, folder, *path)
    assert status == 0, errors
    return Path(lines[-2]).parents[2], Path(lines[-1])


def test_on_colab_the_import_cells_of_all_chapters_run_beside_the_clone(working_tree, packages, colab):
    cells = {"set-up": set_up_cell()}
    for chapter in chapters():
        notebook = json.loads(chapter.path.read_text(encoding="utf-8"))
        sources = ["".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == "code"]
        assert sources[0] == set_up_cell()
        imports = next(source for source in sources[1:] if "\nfrom partwhole" in source)
        cells[chapter.name] = f"preset = 'smoke'\n{imports}"
    code = f"for source in {list(cells.values())!r}:\n    exec(source, {{}})\n{WHERE}"
    status, lines, errors = run_code(code, working_tree.parent, packages, colab)
    assert status == 0, errors
    assert len(cells) > 10 and lines[-2:] == [
        str(working_tree / "src/partwhole/places.py"),
        str(working_tree),
    ]


def test_on_colab_a_whole_chapter_runs_in_a_kernel_started_beside_the_clone(
    working_tree, packages, colab, tmp_path, monkeypatch
):
    import nbformat
    from nbclient import NotebookClient

    kernel = tmp_path / "kernels" / "colab"
    kernel.mkdir(parents=True)
    argv = [sys.executable, "-S", "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    path = os.pathsep.join(map(str, (packages, colab)))
    spec = {"argv": argv, "display_name": "colab", "language": "python", "env": {"PYTHONPATH": path}}
    (kernel / "kernel.json").write_text(json.dumps(spec), encoding="utf-8")
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path))
    monkeypatch.setenv("PARTWHOLE_PRESET", "smoke")
    monkeypatch.delenv("MPLBACKEND", raising=False)
    notebook = nbformat.read(working_tree / "notebooks/foundations/1_start_here.ipynb", as_version=4)
    notebook.cells.append(nbformat.v4.new_code_cell(WHERE))
    folder = {"metadata": {"path": str(working_tree.parent)}}
    NotebookClient(notebook, kernel_name="colab", resources=folder, timeout=120).execute()
    [printed] = notebook.cells[-1].outputs
    assert printed.text.splitlines() == [str(working_tree / "src/partwhole/places.py"), str(working_tree)]


@pytest.mark.parametrize("name", ["partwhole", "my-book"])
def test_clone_in_the_working_folder_is_used_under_any_name(tmp_path, colab, name):
    clone = minimal(tmp_path / name)
    (tmp_path / "sample_data").mkdir()
    assert imported_from(tmp_path, colab) == (clone, clone)  # on Colab
    assert imported_from(tmp_path) == (clone, tmp_path)  # a notebook copied beside a clone


def test_clone_around_the_notebook_is_used_and_the_working_folder_stays(tmp_path):
    clone = minimal(tmp_path / "partwhole")
    chapter = clone / "notebooks" / "paper"
    chapter.mkdir(parents=True)
    assert imported_from(chapter) == (clone, chapter)


def test_on_colab_the_cell_run_again_stays_in_its_clone(tmp_path, colab):
    clone = minimal(tmp_path / "partwhole")
    again = f"first = __import__('os').getcwd()\n{set_up_cell()}\nimport partwhole as first\n"
    assert imported_from(tmp_path, colab, before=again) == (clone, clone)
    code = f"{again}{set_up_cell()}\nimport partwhole\nprint(partwhole is first, sys.path.count(sys.path[0]))"
    assert run_code(code, tmp_path, colab)[1] == ["True 1"]


def test_installed_library_serves_where_no_clone_is_around(tmp_path):
    installed = minimal(tmp_path / "elsewhere")
    copy = tmp_path / "notes" / "partwhole"  # a plain folder of the name is no package
    copy.mkdir(parents=True)
    assert imported_from(copy.parent, installed / "src") == (installed, copy.parent)


@pytest.mark.parametrize("before", ["", "import partwhole, partwhole.places"])
def test_clone_wins_over_a_library_installed_elsewhere_or_imported_already(tmp_path, before):
    clone, other = minimal(tmp_path / "here" / "partwhole"), minimal(tmp_path / "other")
    assert imported_from(clone, other / "src", before=before) == (clone, clone)


def test_clone_wins_over_its_folder_imported_as_a_package_without_files(tmp_path):
    clone = minimal(tmp_path / "partwhole")
    assert imported_from(tmp_path, before="import partwhole\nassert partwhole.__file__ is None") == (
        clone,
        tmp_path,
    )


@pytest.mark.parametrize("folder_of_that_name", [True, False])
def test_where_there_is_no_library_the_cell_ends_in_one_line(tmp_path, folder_of_that_name):
    if folder_of_that_name:
        (tmp_path / "partwhole").mkdir()
    status, _, errors = run_code(set_up_cell(), tmp_path)
    assert status == 1
    assert errors.splitlines()[-1] == (
        f"ImportError: no partwhole here; open this notebook inside a clone of {address().url}"
    )


@pytest.fixture
def remote(tmp_path):
    """A repository with one commit on main, and its address."""
    clone = minimal(tmp_path / "remote" / "book")
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@b.c", "-C", str(clone)]
    for command in (["init", "-q", "-b", "main"], ["add", "."], ["commit", "-q", "-m", "First"]):
        subprocess.run([*git, *command], check=True)
    return Address(clone.as_uri(), "main")


def test_on_colab_the_repository_is_cloned_once_and_entered(tmp_path, colab, remote):
    folder = tmp_path / "content"
    folder.mkdir()
    for _ in range(2):
        assert imported_from(folder, colab, where=remote) == (folder / "book", folder / "book")
        (folder / "book" / "mine.txt").touch()
    assert (folder / "book" / ".git").is_dir() and (folder / "book" / "mine.txt").is_file()


def test_on_colab_a_clone_that_fails_says_why_in_one_line(tmp_path, colab, remote):
    folder = tmp_path / "content"
    folder.mkdir()
    status, _, errors = run_code(set_up_cell(Address(remote.url, "gone")), folder, colab)
    assert status == 1
    assert errors.splitlines()[-1].endswith("Remote branch gone not found in upstream origin")
    assert f"RuntimeError: {remote.url} could not be cloned" in errors


def test_elsewhere_nothing_is_cloned(tmp_path, remote):
    folder = tmp_path / "content"
    folder.mkdir()
    status, _, errors = run_code(set_up_cell(remote), folder)
    assert status == 1 and "no partwhole here" in errors
    assert list(folder.iterdir()) == []
