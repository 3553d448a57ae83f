"""What a pack's folder holds, what a pack may be called, and which folders a pack may take the place of."""

import os
from pathlib import Path

from partwhole.errors import BadInput

SPLITS = ("train", "test", "val")
PARTS = {"images": "uint8", "labels": "int64", "boxes": "float32", "sizes": "int32"}
CLASSES = "classes.json"
LONGEST_NAME = 200  # bytes: a scratch folder's name is longer, and most file systems allow 255

RESERVED = {
    "README.md": "a page that the clone keeps beside its packs",
    "encoders": "the folder of the clone's trained encoders",
    "published": "the folder of the papers' tables",
    "results": "the folder of the clone's records",
    "scenes": "the name of the generated sets",
} | dict.fromkeys(SPLITS, "the name of a split")


def splits(root: Path, name: str) -> list[str]:
    """The splits that a pack has; empty where there is no such pack."""
    return [split for split in SPLITS if is_split(Path(root) / name / split)]


def is_split(folder: Path) -> bool:
    """Whether a folder holds the images of a split."""
    return (folder / "images.npy").is_file()


def is_pack(folder: Path) -> bool:
    """Whether a folder holds a pack: names of classes and at least one whole split."""
    return (folder / CLASSES).is_file() and bool(splits(folder.parent, folder.name))


def check_name(name: str) -> None:
    """Refuse what is not one plain folder name, and the names of what else lies beside packs."""
    one_part = name.isprintable() and name == name.strip() and not set("/\\") & set(name)
    if not name or not one_part or name.startswith(".") or len(name.encode()) > LONGEST_NAME:
        raise BadInput(
            f"{name!r} cannot name a pack; use one folder name: no slash, no backslash, no dot in front"
        )
    if name in RESERVED:
        raise BadInput(f"{name} is {RESERVED[name]}; take another name for the pack")


def foreign_entry(pack: Path) -> str | None:
    """The first thing in a folder that is no part of a pack, as a path inside it; links are no part of it."""
    for entry in _entries(pack):
        if entry.name in SPLITS and entry.is_dir(follow_symlinks=False):
            if inner := foreign_entry_of_split(Path(entry.path)):
                return f"{entry.name}/{inner}"
        elif not _is_file_of(entry, {CLASSES}):
            return entry.name
    return None


def foreign_entry_of_split(split: Path) -> str | None:
    """As foreign_entry, of the folder of one split."""
    files = {f"{part}.npy" for part in PARTS}
    return next((entry.name for entry in _entries(split) if not _is_file_of(entry, files)), None)


def _is_file_of(entry: os.DirEntry, names: set[str]) -> bool:
    return entry.name in names and entry.is_file(follow_symlinks=False)


def _entries(folder: Path) -> list[os.DirEntry]:
    try:
        with os.scandir(folder) as entries:
            return sorted(entries, key=lambda entry: entry.name)
    except OSError as error:
        raise BadInput(
            f"{folder} cannot be read ({error.strerror}); move it away or take another name"
        ) from error


def refuse_occupied(target: Path, replace: bool) -> None:
    """Refuse a target where anything lies, except, with `replace`, a pack's own files and nothing else."""
    if not os.path.lexists(target):
        return
    if target.is_symlink() or not target.is_dir():
        kind = "a symbolic link" if target.is_symlink() else "a file"
        raise BadInput(f"{target} is {kind}, not a folder; move it away or take another name")
    foreign = foreign_entry(target)
    if not is_pack(target):
        reason = f"it holds {foreign!r}" if foreign else f"{CLASSES} or every split is missing"
        raise BadInput(f"{target} is a folder but no pack ({reason}); move it away or take another name")
    if foreign:
        raise BadInput(f"{target} is a pack that also holds {foreign!r}; move that away or take another name")
    if not replace:
        has = " and ".join(splits(target.parent, target.name))
        raise BadInput(f"{target} is a pack already ({has}); take another name, or replace it with --replace")


def refuse_occupied_split(target: Path, replace: bool) -> None:
    """As refuse_occupied, for one split of a pack, which is no link and has names of classes."""
    pack = target.parent
    if pack.is_symlink() or not (pack / CLASSES).is_file():
        reason = "is a symbolic link" if pack.is_symlink() else f"has no {CLASSES}"
        raise BadInput(f"{pack} {reason}, so {target.name} cannot be written in it; take another name")
    if not os.path.lexists(target):
        return
    if target.is_symlink() or not target.is_dir():
        raise BadInput(f"{target} is a link or a file, not a folder; move it away or take another name")
    if foreign := foreign_entry_of_split(target):
        raise BadInput(f"{target} also holds {foreign!r}; move that away or take another name")
    if not replace:
        raise BadInput(f"{target} is there already; take another name or another split")


def refuse_overlap(source: Path, target: Path) -> None:
    """Refuse a source that is, holds or lies in the target, through any links."""
    inner, outer = source.resolve(), target.resolve()
    if inner == outer or inner in outer.parents or outer in inner.parents:
        raise BadInput(
            f"the images in {source} and the pack {target} lie one in the other; "
            "pack a folder that lies elsewhere, or set PARTWHOLE_DATA to another folder"
        )


def remove_pack(folder: Path) -> None:
    """Delete a pack's own files by name, then its folders if they are empty; nothing else can go."""
    for split in SPLITS:
        if (folder / split).is_dir():
            remove_split(folder / split)
    if not folder.is_symlink():
        (folder / CLASSES).unlink(missing_ok=True)
        folder.rmdir()


def remove_split(folder: Path) -> None:
    """As remove_pack, for the folder of one split; the other end of a link stays as it is."""
    if not folder.is_symlink():
        for part in PARTS:
            (folder / f"{part}.npy").unlink(missing_ok=True)
        folder.rmdir()
