import json
import shutil

import pytest

from partwhole import repository
from partwhole.errors import BadInput
from partwhole.notebook_cells import badge, new_notebook, set_up_cell
from partwhole.repository import Address

NEW = Address("https://github.com/some-one/where.to-look", "stable")


@pytest.fixture
def clone(tmp_path):
    """A small copy of this repository: everything that names its address, and one notebook."""
    root = repository.home()
    for name in ("_config.yml", "README.md", "CITATION.cff", "CONTRIBUTING.md"):
        shutil.copy(root / name, tmp_path)
    shutil.copytree(root / "book", tmp_path / "book")
    new_notebook("notebooks/paper/1_problem.ipynb", "Title", folder=tmp_path)
    return tmp_path


def texts(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_moving_changes_the_address_everywhere(clone):
    old = repository.address(clone)
    changed = repository.move(NEW.url, NEW.branch, clone)
    assert repository.address(clone) == NEW
    assert {"_config.yml", "CITATION.cff", "1_problem.ipynb"} <= {path.name for path in changed}
    notebook = json.loads((clone / "notebooks/paper/1_problem.ipynb").read_text(encoding="utf-8"))
    assert badge("notebooks/paper/1_problem.ipynb", NEW) in "".join(notebook["cells"][0]["source"])
    assert "".join(notebook["cells"][3]["source"]) == set_up_cell(NEW)
    assert not [path for path, text in texts(clone).items() if f"github.com/{old.slug}".encode() in text]


def test_moving_there_and_back_changes_no_byte(clone):
    before, old = texts(clone), repository.address(clone)
    repository.move(NEW.url, NEW.branch, clone)
    repository.move(old.url, old.branch, clone)
    assert texts(clone) == before


def test_moving_leaves_longer_names_and_the_library_alone():
    old = Address("https://github.com/partwhole/partwhole", "main")
    text = "https://github.com/partwhole/partwhole-data import partwhole; cd partwhole/x\nbranch: main"
    assert repository._rewritten(text, old, NEW) == text


@pytest.mark.parametrize(
    "url", ["", "github.com/a/b", "https://gitlab.com/a/b", "https://github.com/a", "https://github.com/a/b/c"]
)
def test_another_form_of_address_is_refused_and_changes_nothing(clone, url):
    before = texts(clone)
    with pytest.raises(BadInput, match=r"expected https://github.com/OWNER/NAME"):
        repository.move(url, None, clone)
    assert texts(clone) == before


def test_git_suffix_and_slash_are_dropped(clone):
    repository.move(f"{NEW.url}.git/", folder=clone)
    assert repository.address(clone) == Address(NEW.url, "main")


def test_command_shows_the_address_and_refuses_in_one_line(capsys):
    assert repository.main([]) == 0
    assert repository.address().url in capsys.readouterr().out
    assert repository.main(["nonsense"]) == 2
    assert capsys.readouterr().err.count("\n") == 1
