"""Packs: an image set on disk as plain .npy files, so that it can be memory-mapped.

NAME/SPLIT/images.npy (and labels, boxes, sizes where known), NAME/classes.json; SPLIT is train, and test or
val. What is written appears under its own name only when it is whole.
"""

import json
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from partwhole.data.layout import PARTS, SPLITS, check_name, is_pack, splits
from partwhole.data.staging import staged
from partwhole.errors import BadInput, choice

if TYPE_CHECKING:
    from partwhole.data.image_set import ImageSet


def write_arrays(folder: Path, image_set: "ImageSet") -> None:
    """The parts of one split, as .npy files in `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    for part in PARTS:
        if (tensor := getattr(image_set, part)) is not None:
            np.save(folder / f"{part}.npy", tensor.cpu().numpy())


def write_classes(folder: Path, classes: list[str]) -> None:
    """Write the names of classes, in label order."""
    text = json.dumps(classes, indent=1, ensure_ascii=False)
    (folder / "classes.json").write_text(f"{text}\n", encoding="utf-8")


def write_pack(root: Path, name: str, split: str, image_set: "ImageSet") -> Path:
    """Write one split of a pack, whole, replacing that split if it is there; returns the pack's folder."""
    if split not in SPLITS:
        raise choice("split", split, list(SPLITS))
    check_name(name)
    root = Path(root)
    if (root / name / "classes.json").is_file():
        known = read_classes(root, name)
        if known != image_set.classes:
            raise BadInput(
                f"{root / name} has other classes ({_short(known)}) "
                f"than those given ({_short(image_set.classes)}); "
                "take another name, or remove that folder first"
            )
        with staged(root, name, split, replace=True) as folder:
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
        raise BadInput(f"{path} is missing; {_again(root, name)}") from error
    except (OSError, ValueError) as error:
        raise BadInput(f"{path} is damaged (no JSON list of names); {_again(root, name)}") from error
    if not isinstance(classes, list) or not all(isinstance(item, str) for item in classes):
        raise BadInput(f"{path} is damaged (no JSON list of names); {_again(root, name)}")
    return classes


def read_pack(root: Path, name: str, split: str, mmap: bool = False) -> "ImageSet":
    """One split of a pack. mmap: leave the images on disk, to be read as they are indexed, never written."""
    root = Path(root)
    if split not in SPLITS:
        raise choice("split", split, list(SPLITS))
    if not (root / name).is_dir():
        todo = f"set PARTWHOLE_DATA to the folder that holds it, or {_again(root, name)}"
        raise BadInput(f"no pack {name} under {root}; {todo}")
    classes = read_classes(root, name)
    if split not in splits(root, name):
        has = ", ".join(splits(root, name)) or "none"
        raise BadInput(f"pack {name} under {root} has no split {split} (it has: {has}); {_again(root, name)}")
    arrays = {}
    for part, dtype in PARTS.items():
        path = root / name / split / f"{part}.npy"
        if not path.exists():
            continue
        try:
            arrays[part] = np.load(path, mmap_mode="c" if mmap and part == "images" else None)
        except (OSError, ValueError, EOFError) as error:
            raise BadInput(
                f"{path} is damaged ({str(error).splitlines()[0]}); {_again(root, name)}"
            ) from error
        if arrays[part].dtype != dtype:
            raise BadInput(f"{path} holds {arrays[part].dtype}; expected {dtype}; {_again(root, name)}")
    import torch

    from partwhole.data.image_set import ImageSet

    try:
        tensors = {part: torch.from_numpy(array) for part, array in arrays.items()}
        return ImageSet(**tensors, classes=classes, name=name)
    except BadInput as error:
        reason = str(error).removeprefix(f"{name}: ")
        raise BadInput(f"{root / name / split} is damaged: {reason}; {_again(root, name)}") from error


def _short(classes: list[str]) -> str:
    return f"{len(classes)}: {', '.join(classes[:3])}{', ...' if len(classes) > 3 else ''}"


def _again(root: Path, name: str) -> str:
    folder, download = Path(root) / name, name in ("cifar10", "cifar100")
    how = f"partwhole data get {name}" if download else f"partwhole data pack FOLDER {name}"
    if not folder.exists():
        return f"make it with: {how}"
    if is_pack(folder) and not download:
        return f"make it anew with: {how} --replace"
    return f"move {folder} away and make it anew with: {how}"
