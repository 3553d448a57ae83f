import json
import shutil

import pytest

from partwhole import places
from partwhole.book import address
from partwhole.book.address import Address
from partwhole.book.cells import badge, new_notebook, set_up_cell
from partwhole.errors import BadInput

NEW = Address("https://github.com/some-one/where.to-look", "stable")


@pytest.fixture
def clone(tmp_path):
    """A small copy of this repository: everything that names its address, and one notebook."""
    root = places.home()
    for name in ("_config.yml", "README.md", "CITATION.cff", "CONTRIBUTING.md"):
        shutil.copy(root / name, tmp_path)
    shutil.copytree(root / "book", tmp_path / "book")
    new_notebook("notebooks/paper/1_problem.ipynb", "Title", folder=tmp_path)
    return tmp_path


def texts(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_moving_changes_the_address_everywhere(clone):
    old = address.address(clone)
    changed = address.move(NEW.url, NEW.branch, clone)
    assert address.address(clone) == NEW
    assert {"_config.yml", "CITATION.cff", "1_problem.ipynb"} <= {path.name for path in changed}
    notebook = json.loads((clone / "notebooks/paper/1_problem.ipynb").read_text(encoding="utf-8"))
    assert badge("notebooks/paper/1_problem.ipynb", NEW) in "".join(notebook["cells"][0]["source"])
    assert "".join(notebook["cells"][3]["source"]) == set_up_cell(NEW)
    assert not [path for path, text in texts(clone).items() if f"github.com/{old.slug}".encode() in text]


def test_moving_there_and_back_changes_no_byte(clone):
    before, old = texts(clone), address.address(clone)
    address.move(NEW.url, NEW.branch, clone)
    address.move(old.url, old.branch, clone)
    assert texts(clone) == before


def test_moving_leaves_longer_names_and_the_library_alone():
    old = Address("https://github.com/partwhole/partwhole", "main")
    text = "https://github.com/partwhole/partwhole-data import partwhole; cd partwhole/x\nbranch: main"
    assert address._rewritten(text, old, NEW) == text


@pytest.mark.parametrize(
    "url",
    ["", "github.com/a/b", "https://gitlab.com/a/b", "https://github.com/a", "https://github.com/a/b/c"],
)
def test_another_form_of_address_is_refused_and_changes_nothing(clone, url):
    before = texts(clone)
    with pytest.raises(BadInput, match=r"expected https://github.com/OWNER/NAME"):
        address.move(url, None, clone)
    assert texts(clone) == before


def test_git_suffix_and_slash_are_dropped(clone):
    address.move(f"{NEW.url}.git/", folder=clone)
    assert address.address(clone) == Address(NEW.url, "main")


def test_command_shows_the_address_and_refuses_in_one_line(capsys):
    assert address.main([]) == 0
    assert address.address().url in capsys.readouterr().out
    assert address.main(["nonsense"]) == 2
    assert capsys.readouterr().err.count("\n") == 1
