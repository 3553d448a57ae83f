"""Staging: only a pack gives way, nothing else is deleted, and a kill at any point leaves a whole pack."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from partwhole import places
from partwhole.data import catalogue, layout, packs, staging
from partwhole.data.image_set import ImageSet
from partwhole.data.packs import read_pack, write_pack
from partwhole.data.staging import LOCK, MARK, recover, staged
from partwhole.errors import BadInput


def images(value: int, count: int = 4) -> ImageSet:
    labels = torch.arange(count) % 2
    return ImageSet(torch.full((count, 8, 8, 3), value, dtype=torch.uint8), labels, classes=["cat", "dog"])


def put_pack(root: Path, name: str, value: int, replace: bool = True) -> None:
    with staged(root, name, replace=replace) as folder:
        packs.write_arrays(folder / "train", images(value))
        packs.write_classes(folder, ["cat", "dog"])


def value_of(root: Path, name: str) -> int:
    return int(read_pack(root, name, "train").images[0, 0, 0, 0])


def tree(folder: Path) -> dict[str, bytes | None]:
    """Every path below a folder, hidden ones too, with the content of files."""
    paths = sorted(folder.rglob("*"))
    return {str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None for path in paths}


def refusal(root: Path, name: str, replace: bool = True) -> str:
    """The line that a refused pack gets; the block must not run, and nothing on disk may change."""
    before = tree(root)
    with pytest.raises(BadInput) as error, staged(root, name, replace=replace):
        pytest.fail("work began")
    assert "\n" not in str(error.value)
    assert tree(root) == before
    return str(error.value)


BAD_NAMES = [
    "",
    ".",
    "..",
    ".hidden",
    "a/b",
    "kept/train",
    "a\\b",
    "/abs",
    "../up",
    "a\nb",
    "a\x00b",
    "a\x7f",
    " a",
    "a" * 201,
]


@pytest.mark.parametrize("name", BAD_NAMES)
def test_a_name_is_one_path_part(tmp_path, name):
    put_pack(tmp_path, "kept", 1)
    assert refusal(tmp_path, name) == (
        f"{name!r} cannot name a pack; use one folder name: no slash, no backslash, no dot in front"
    )
    with pytest.raises(BadInput, match="cannot name a pack"):
        write_pack(tmp_path, name, "train", images(2))


@pytest.mark.parametrize("name", sorted(layout.RESERVED))
def test_the_names_of_what_lies_beside_packs_are_refused_even_where_nothing_lies(tmp_path, name):
    assert refusal(tmp_path, name).endswith("; take another name for the pack")


def test_everything_committed_under_data_has_a_reserved_name():
    clone = places.home()
    listed = subprocess.run(["git", "ls-files", "data"], cwd=clone, capture_output=True, text=True)
    if listed.returncode or not listed.stdout:
        pytest.skip("no git here")
    assert {Path(line).parts[1] for line in listed.stdout.splitlines()} <= set(layout.RESERVED)


def test_a_folder_that_is_no_pack_is_never_replaced(tmp_path):
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter.tex").write_text("years of work")
    (tmp_path / "empty").mkdir()
    (tmp_path / "half" / "train").mkdir(parents=True)
    (tmp_path / "half" / "train" / "images.npy").write_text("")
    (tmp_path / "names" / "train").mkdir(parents=True)
    (tmp_path / "names" / "classes.json").write_text("[]")
    move = "move it away or take another name"
    for replace in (False, True):
        assert refusal(tmp_path, "thesis", replace) == (
            f"{tmp_path / 'thesis'} is a folder but no pack (it holds 'chapter.tex'); {move}"
        )
        for name in ("empty", "half", "names"):
            assert refusal(tmp_path, name, replace) == (
                f"{tmp_path / name} is a folder but no pack (classes.json or every split is missing); {move}"
            )


@pytest.mark.parametrize(
    "entry",
    ["notes.txt", "train/photo.jpg", "val/notes.npy", "photos/1.jpg", ".DS_Store", "test/boxes.npy/x"],
)
def test_a_pack_with_anything_beside_its_own_files_is_never_replaced(tmp_path, entry):
    put_pack(tmp_path, "pets", 1)
    path = tmp_path / "pets" / entry
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("mine")
    foreign = {"photos/1.jpg": "photos", "test/boxes.npy/x": "test/boxes.npy"}.get(entry, entry)
    for replace in (False, True):
        assert refusal(tmp_path, "pets", replace) == (
            f"{tmp_path / 'pets'} is a pack that also holds '{foreign}'; move that away or take another name"
        )


def test_a_pack_is_replaced_only_where_that_is_asked_for(tmp_path):
    put_pack(tmp_path, "pets", 1)
    write_pack(tmp_path, "pets", "val", images(1))
    assert refusal(tmp_path, "pets", replace=False) == (
        f"{tmp_path / 'pets'} is a pack already (train and val); "
        "take another name, or replace it with --replace"
    )
    put_pack(tmp_path, "pets", 2)
    assert value_of(tmp_path, "pets") == 2
    assert packs.splits(tmp_path, "pets") == ["train"], "the whole pack gives way"
    assert [path.name for path in tmp_path.iterdir()] == ["pets"]


def test_a_file_or_a_link_at_the_target_is_refused_and_its_other_end_stays(tmp_path):
    root, elsewhere = tmp_path / "root", tmp_path / "elsewhere"
    put_pack(elsewhere, "pets", 1)
    root.mkdir()
    (root / "file").write_text("mine")
    (root / "link").symlink_to(elsewhere / "pets")
    (root / "dangling").symlink_to(elsewhere / "nothing")
    before = tree(elsewhere)
    for replace in (False, True):
        assert refusal(root, "file", replace) == (
            f"{root / 'file'} is a file, not a folder; move it away or take another name"
        )
        for name in ("link", "dangling"):
            assert refusal(root, name, replace) == (
                f"{root / name} is a symbolic link, not a folder; move it away or take another name"
            )
    with pytest.raises(BadInput, match="is a symbolic link, so train cannot be written in it"):
        write_pack(root, "link", "train", images(2))
    assert tree(elsewhere) == before
    assert value_of(root, "link") == 1, "a linked pack is still read"


def test_links_inside_a_pack_are_no_part_of_it(tmp_path):
    put_pack(tmp_path, "pets", 1)
    put_pack(tmp_path / "elsewhere", "other", 1)
    (tmp_path / "pets" / "val").symlink_to(tmp_path / "elsewhere" / "other" / "train")
    assert "also holds 'val'" in refusal(tmp_path, "pets")
    layout.remove_split(tmp_path / "pets" / "val")
    (tmp_path / "pets" / "val").unlink()
    (tmp_path / "pets" / "train" / "boxes.npy").symlink_to(tmp_path / "elsewhere" / "other" / "classes.json")
    assert "also holds 'train/boxes.npy'" in refusal(tmp_path, "pets")
    assert value_of(tmp_path / "elsewhere", "other") == 1


def test_a_split_gives_way_only_if_it_holds_nothing_else(tmp_path):
    put_pack(tmp_path, "pets", 1)
    (tmp_path / "pets" / "train" / "photo.jpg").write_text("mine")
    before = tree(tmp_path)
    with pytest.raises(BadInput, match=r"train also holds 'photo.jpg'; move that away or take another name$"):
        write_pack(tmp_path, "pets", "train", images(2))
    (tmp_path / "pets" / "val").write_text("a file")
    with pytest.raises(
        BadInput, match=r"val is a link or a file, not a folder; move it away or take another name$"
    ):
        write_pack(tmp_path, "pets", "val", images(2))
    (tmp_path / "pets" / "val").unlink()
    assert tree(tmp_path) == before


def test_a_folder_of_photographs_in_the_way_of_write_pack_stays(tmp_path):
    photo = tmp_path / "pets" / "train" / "cat" / "1.jpg"
    photo.parent.mkdir(parents=True)
    photo.write_text("mine")
    with pytest.raises(BadInput, match="is a folder but no pack"):
        write_pack(tmp_path, "pets", "train", images(1))
    assert photo.read_text() == "mine"


def test_what_came_in_the_way_while_the_pack_was_written_stays(tmp_path):
    def write_while_another_makes_a_folder():
        with staged(tmp_path, "pets", replace=True) as folder:
            packs.write_arrays(folder / "train", images(1))
            packs.write_classes(folder, ["cat", "dog"])
            (tmp_path / "pets").mkdir()
            (tmp_path / "pets" / "photo.jpg").write_text("mine")

    with pytest.raises(BadInput, match="is a folder but no pack"):
        write_while_another_makes_a_folder()
    assert tree(tmp_path) == {"pets": None, "pets/photo.jpg": b"mine"}


def test_the_swap_deletes_only_a_packs_own_files(tmp_path, monkeypatch):
    """Even where the refusals fail: the last line of defence."""
    put_pack(tmp_path, "pets", 1)
    (tmp_path / "pets" / "train" / "photo.jpg").write_text("mine")
    monkeypatch.setattr(layout, "refuse_occupied", lambda target, replace: None)
    put_pack(tmp_path, "pets", 2)
    assert value_of(tmp_path, "pets") == 2
    assert [path.read_text() for path in tmp_path.rglob("photo.jpg")] == ["mine"]


def test_an_interrupt_between_the_two_renames_puts_the_old_pack_back(tmp_path, monkeypatch):
    put_pack(tmp_path, "pets", 1)
    rename = os.rename

    def interrupted(source, target):
        rename(source, target)
        if str(target).endswith(".old"):
            raise KeyboardInterrupt

    monkeypatch.setattr(staging.os, "rename", interrupted)
    with pytest.raises(KeyboardInterrupt):
        put_pack(tmp_path, "pets", 2)
    assert value_of(tmp_path, "pets") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["pets"]


KILLED = """
import os, signal, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from test_staging import images, put_pack, staging, write_pack
point, what, root = sys.argv[2], sys.argv[3], Path(sys.argv[4])
rename = os.rename

def dying(source, target):
    new = ".partial" in str(source)
    if point == "before" or (point == "between" and new):
        os.kill(os.getpid(), signal.SIGKILL)
    rename(source, target)
    if point == "after" and new:
        os.kill(os.getpid(), signal.SIGKILL)

staging.os.rename = dying
put_pack(root, "pets", 2) if what == "pack" else write_pack(root, "pets", "train", images(2))
"""


def killed(tmp_path: Path, point: str, what: str) -> Path:
    """A root where a process was killed at `point` of replacing value 1 by 2 in a pack or its split."""
    root = tmp_path / "root"
    put_pack(root, "pets", 1)
    command = [sys.executable, "-c", KILLED, str(Path(__file__).parent), point, what, str(root)]
    assert subprocess.run(command).returncode == -signal.SIGKILL
    return root


@pytest.mark.parametrize("what", ["pack", "split"])
@pytest.mark.parametrize(("point", "value"), [("before", 1), ("between", 1), ("after", 2)])
def test_a_kill_leaves_the_old_pack_or_the_new_one_and_the_next_start_tidies(
    tmp_path, monkeypatch, point, value, what
):
    root = killed(tmp_path, point, what)
    assert any(path.name.endswith(".partial") for path in root.rglob(".*"))
    monkeypatch.setenv("PARTWHOLE_DATA", str(root))
    assert [row.name for row in catalogue.available()][-1] == "pets", "leftovers are not listed, the pack is"
    assert set(catalogue.load("pets", "train").images.unique().tolist()) == {value}
    names = {"pets", "pets/classes.json", "pets/train", "pets/train/images.npy", "pets/train/labels.npy"}
    assert set(tree(root)) == names, "no scratch folder is left"


def test_a_pack_moved_aside_by_a_kill_is_back_before_another_takes_its_name(tmp_path):
    root = killed(tmp_path, "between", "pack")
    assert not (root / "pets").exists()
    with pytest.raises(BadInput, match="is a pack already"), staged(root, "pets"):
        pytest.fail("work began")
    assert value_of(root, "pets") == 1


def test_what_is_being_written_is_not_tidied_away(tmp_path):
    put_pack(tmp_path, "pets", 1)
    with staged(tmp_path, "pets", replace=True) as folder:
        packs.write_arrays(folder / "train", images(2))
        recover(tmp_path)  # another process starts
        packs.write_classes(folder, ["cat", "dog"])
        assert packs.is_pack(folder)
    assert value_of(tmp_path, "pets") == 2


def test_a_pack_moved_aside_by_a_living_process_is_left_to_it(tmp_path):
    put_pack(tmp_path, "pets", 1)
    with staged(tmp_path, "dogs") as folder:
        aside = folder.parent.with_suffix(".old")
        (tmp_path / "pets").rename(aside)
        recover(tmp_path)
        assert aside.is_dir() and not (tmp_path / "dogs").exists()
        aside.rename(tmp_path / "pets")
        packs.write_arrays(folder / "train", images(2))
        packs.write_classes(folder, ["cat", "dog"])


def test_hidden_folders_that_are_not_ours_stay(tmp_path):
    put_pack(tmp_path, "pets", 1)
    names = ".pets-abcdefgh.partial", ".pets-2024.partial", ".photos-12345678.old", ".trip.partial"
    for name in names:
        (tmp_path / name / "pets").mkdir(parents=True)
        (tmp_path / name / "pets" / "photo.jpg").write_text("mine")
    (tmp_path / names[0] / LOCK).write_text("my own notes")
    before = tree(tmp_path)
    recover(tmp_path)
    put_pack(tmp_path, "pets", 1)
    assert tree(tmp_path) == before


def test_of_a_left_over_scratch_folder_only_what_we_wrote_goes(tmp_path):
    scratch = tmp_path / ".pets-abcdefgh.partial"
    (scratch / "pets" / "train").mkdir(parents=True)
    (scratch / LOCK).write_text(MARK)
    (scratch / "photo.jpg").write_text("mine")
    recover(tmp_path)
    assert tree(scratch) == {LOCK: MARK.encode(), "photo.jpg": b"mine"}
    (scratch / "photo.jpg").unlink()
    recover(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_link_that_is_called_like_a_scratch_folder_is_not_followed(tmp_path):
    elsewhere, root = tmp_path / "elsewhere", tmp_path / "root"
    (elsewhere / "pets").mkdir(parents=True)
    (elsewhere / "pets" / "photo.jpg").write_text("mine")
    (elsewhere / LOCK).write_text(MARK)
    root.mkdir()
    (root / ".pets-abcdefgh.partial").symlink_to(elsewhere)
    before = tree(elsewhere)
    recover(root)
    assert tree(elsewhere) == before


def test_an_old_pack_that_could_not_be_deleted_goes_at_the_next_start(tmp_path, monkeypatch):
    put_pack(tmp_path, "pets", 1)

    def failing(folder):
        raise PermissionError(13, "Permission denied")

    with monkeypatch.context() as patch:
        patch.setattr(layout, "remove_pack", failing)
        put_pack(tmp_path, "pets", 2)
    assert len(list(tmp_path.iterdir())) == 3
    recover(tmp_path)
    assert value_of(tmp_path, "pets") == 2
    assert [path.name for path in tmp_path.iterdir()] == ["pets"]


def test_an_old_pack_is_dropped_only_where_a_whole_pack_has_its_name(tmp_path):
    root = killed(tmp_path, "between", "pack")
    (root / "pets").mkdir()
    (root / "pets" / "photo.jpg").write_text("mine")
    recover(root)
    assert (root / "pets" / "photo.jpg").read_text() == "mine"
    (aside,) = root.glob(".pets-*.old")
    assert packs.is_pack(aside)


def test_a_hidden_pack_is_not_listed(tmp_path, monkeypatch):
    monkeypatch.setenv("PARTWHOLE_DATA", str(tmp_path))
    put_pack(tmp_path, "pets", 1)
    (tmp_path / "pets").rename(tmp_path / ".pets-backup.old")
    assert "pets" not in " ".join(row.name for row in catalogue.available())
    with pytest.raises(BadInput, match="unknown data set"):
        catalogue.check(".pets-backup.old")
