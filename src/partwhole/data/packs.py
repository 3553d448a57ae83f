"""Packs: an image set on disk as plain .npy files, so that it can be memory-mapped.

NAME/SPLIT/images.npy (and labels, boxes, sizes where known), NAME/classes.json; SPLIT is train, and test or val. What is
written appears under its own name only when it is whole.
"""

import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from partwhole.errors import BadInput, choice

if TYPE_CHECKING:
    from partwhole.data.image_set import ImageSet

SPLITS = ("train", "test", "val")
PARTS = {"images": "uint8", "labels": "int64", "boxes": "float32", "sizes": "int32"}


def splits(root: Path, name: str) -> list[str]:
    """The splits that a pack has; empty where there is no such pack."""
    return [split for split in SPLITS if (Path(root) / name / split / "images.npy").is_file()]


def is_pack(folder: Path) -> bool:
    """Whether a folder holds a pack: names of classes and at least one whole split."""
    return (folder / "classes.json").is_file() and bool(splits(folder.parent, folder.name))


@contextmanager
def staged(root: Path, name: str) -> Iterator[Path]:
    """A scratch folder to write NAME in, a pack or one split (NAME/SPLIT); moved to its place when the block ends.

    If the block fails or is interrupted the scratch folder is removed, and what was there before is untouched.
    """
    pack, _, split = name.partition("/")
    if not pack or pack.startswith(".") or pack != Path(pack).name or (split and split not in SPLITS):
        raise BadInput(f"{name!r} cannot name a pack; use one folder name that does not begin with a dot")
    target = Path(root) / pack / split
    try:
        Path(root).mkdir(parents=True, exist_ok=True)
        scratch = Path(tempfile.mkdtemp(prefix=f".{pack}-", suffix=".partial", dir=root))
    except OSError as error:
        raise _unwritable(root, error) from error
    try:
        yield scratch
        target.parent.mkdir(parents=True, exist_ok=True)
        scratch.chmod(0o755)
        _swap(scratch, target)
    except OSError as error:
        raise _unwritable(root, error) from error
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _swap(new: Path, target: Path) -> None:
    """Put the folder `new` in the place of `target`; on failure what was there stays."""
    old = new.with_suffix(".old")
    if target.exists():
        os.replace(target, old)
    try:
        os.replace(new, target)
    except BaseException:
        if old.exists():
            os.replace(old, target)
        raise
    shutil.rmtree(old, ignore_errors=True)


def _unwritable(root: Path, error: OSError) -> BadInput:
    return BadInput(
        f"cannot write under {root}: {error.strerror or error}; free some space or set PARTWHOLE_DATA to a folder you own"
    )


def write_arrays(folder: Path, image_set: "ImageSet") -> None:
    """The parts of one split, as .npy files in `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    for part in PARTS:
        if (tensor := getattr(image_set, part)) is not None:
            np.save(folder / f"{part}.npy", tensor.cpu().numpy())


def write_classes(folder: Path, classes: list[str]) -> None:
    """Write the names of classes, in label order."""
    (folder / "classes.json").write_text(json.dumps(classes, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def write_pack(root: Path, name: str, split: str, image_set: "ImageSet") -> Path:
    """Write one split of a pack, replacing that split if it is there; returns the pack's folder. Never half-written."""
    if split not in SPLITS:
        raise choice("split", split, list(SPLITS))
    root = Path(root)
    if (root / name / "classes.json").is_file():
        known = read_classes(root, name)
        if known != image_set.classes:
            raise BadInput(
                f"{root / name} has other classes ({_short(known)}) than those given ({_short(image_set.classes)}); "
                "take another name, or remove that folder first"
            )
        with staged(root, f"{name}/{split}") as folder:
            write_arrays(folder, image_set)
    else:
        with staged(root, name) as folder:
            write_arrays(folder / split, image_set)
            write_classes(folder, image_set.classes)
    return root / name


def read_classes(root: Path, name: str) -> list[str]:
    """The class names of a pack, in label order."""
    path = Path(root) / name / "classes.json"
    try:
        classes = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise BadInput(f"{path} is missing; {_again(name)}") from error
    except (OSError, ValueError) as error:
        raise BadInput(f"{path} is damaged (no JSON list of names); {_again(name)}") from error
    if not isinstance(classes, list) or not all(isinstance(item, str) for item in classes):
        raise BadInput(f"{path} is damaged (no JSON list of names); {_again(name)}")
    return classes


def read_pack(root: Path, name: str, split: str, mmap: bool = False) -> "ImageSet":
    """One split of a pack. mmap: leave the images on disk and read them as they are indexed (writes never reach the disk)."""
    root = Path(root)
    if split not in SPLITS:
        raise choice("split", split, list(SPLITS))
    if not (root / name).is_dir():
        raise BadInput(f"no pack {name} under {root}; set PARTWHOLE_DATA to the folder that holds it, or {_again(name)}")
    classes = read_classes(root, name)
    if split not in splits(root, name):
        has = ", ".join(splits(root, name)) or "none"
        raise BadInput(f"pack {name} under {root} has no split {split} (it has: {has}); {_again(name)}")
    arrays = {}
    for part, dtype in PARTS.items():
        path = root / name / split / f"{part}.npy"
        if not path.exists():
            continue
        try:
            arrays[part] = np.load(path, mmap_mode="c" if mmap and part == "images" else None)
        except (OSError, ValueError, EOFError) as error:
            raise BadInput(f"{path} is damaged ({str(error).splitlines()[0]}); {_again(name)}") from error
        if arrays[part].dtype != dtype:
            raise BadInput(f"{path} holds {arrays[part].dtype}; expected {dtype}; {_again(name)}")
    import torch

    from partwhole.data.image_set import ImageSet

    try:
        tensors = {part: torch.from_numpy(array) for part, array in arrays.items()}
        return ImageSet(**tensors, classes=classes, name=name)
    except BadInput as error:
        raise BadInput(f"{root / name / split} is damaged: {str(error).removeprefix(f'{name}: ')}; {_again(name)}") from error


def _short(classes: list[str]) -> str:
    return f"{len(classes)}: {', '.join(classes[:3])}{', ...' if len(classes) > 3 else ''}"


def _again(name: str) -> str:
    how = f"partwhole data get {name}" if name in ("cifar10", "cifar100") else f"partwhole data pack FOLDER {name}"
    return f"make it with: {how}"
