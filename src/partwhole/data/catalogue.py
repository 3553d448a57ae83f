"""The catalogue: every image set by name, where it is, and how to get it."""

import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from partwhole import places
from partwhole.data import packs, staging
from partwhole.data.channels import IMAGENET, NORMALISATION, Statistics
from partwhole.errors import BadInput, choice

if TYPE_CHECKING:
    from partwhole.data.image_set import ImageSet

SCENES = {
    "scenes/plain": "10,000 + 2,000 generated images, 32 px, ten shapes, exact boxes",
    "scenes/nuisance": "the same shapes on a background of each image's own",
}
DOWNLOADS = {
    "cifar10": "50,000 + 10,000 photographs, 32 px, 10 classes",
    "cifar100": "50,000 + 10,000 photographs, 32 px, 100 classes",
}
SCENE_COUNTS = {"train": 10_000, "test": 2_000}
SCENE_SEEDS = {"train": 0, "test": 1}


class Row(NamedTuple):
    """One line of the catalogue: `where` is a folder, "generated" or "absent"."""

    name: str
    what: str
    where: str


def root() -> Path:
    """The folder of packs: PARTWHOLE_DATA, else data/ of the clone, else ~/.cache/partwhole."""
    if given := os.environ.get("PARTWHOLE_DATA"):
        return Path(given).expanduser().absolute()
    clone = places.root()
    return clone / "data" if clone else Path.home() / ".cache" / "partwhole"


def available() -> list[Row]:
    """Every set that has a name here: the scenes, the downloads, the packs under root()."""
    rows = [Row(name, what, "generated") for name, what in SCENES.items()]
    packed = _packs()
    for name, what in DOWNLOADS.items():
        rows.append(Row(name, what, str(root() / name) if name in packed else "absent"))
    for name in packed:
        if name not in DOWNLOADS:
            rows.append(Row(name, _about(name), str(root() / name)))
    return rows


def _about(name: str) -> str:
    try:
        classes = len(packs.read_classes(root(), name))
    except BadInput:
        return "damaged pack"
    contents = f"{classes} classes" if classes else "no classes"
    return f"pack, {contents}, {' and '.join(packs.splits(root(), name))}"


def _packs() -> list[str]:
    staging.recover(root())
    try:
        folders = [folder for folder in root().iterdir() if not folder.name.startswith(".")]
        return sorted(folder.name for folder in folders if packs.is_pack(folder))
    except OSError:
        return []


def _is_damaged_pack(name: str) -> bool:
    """Whether a part of a pack lies under that name, but no whole pack."""
    plain = not name.startswith(".") and "/" not in name
    return plain and ((root() / name / "classes.json").exists() or bool(packs.splits(root(), name)))


def check(name: str) -> None:
    """Refuse a name that nothing here has; a download that is not there yet is refused with what to do."""
    packed = _packs()
    if name in SCENES or name in packed or _is_damaged_pack(name):
        return  # reading a damaged pack says how it is damaged
    if name in DOWNLOADS:
        raise BadInput(
            f"{name} is not under {root()}; fetch it with: partwhole data get {name}, "
            "or set PARTWHOLE_DATA to the folder that holds it"
        )
    raise choice("data set", name, [*SCENES, *DOWNLOADS, *(pack for pack in packed if pack not in DOWNLOADS)])


def load(
    name: str, split: str, *, images: int | None = None, mmap: bool = False, controls: dict | None = None
) -> "ImageSet":
    """The image set `name`; split is train or test (val, where the pack calls it so).

    images: only so many, the same number of each class (of scenes the first ones, and no others are made).
    mmap: leave a pack's images on disk.  controls: of scenes, in place of the named setting's.
    The set carries the statistics of normalisation(name); its labels are None where the pack has none.
    """
    if split not in ("train", "test"):
        raise choice("split", split, ["train", "test"])
    check(name)
    if name in SCENES:
        count = SCENE_COUNTS[split] if images is None else images
        from partwhole.data.scenes import CLASSES, scenes

        if count % len(CLASSES) or not 0 < count <= SCENE_COUNTS[split]:
            raise BadInput(
                f"{count} images of {name}/{split} were asked for; it has {SCENE_COUNTS[split]}, "
                f"and a balanced part is a multiple of {len(CLASSES)}"
            )
        drawn = scenes(
            count, setting=name.removeprefix("scenes/"), seed=SCENE_SEEDS[split], **(controls or {})
        )
        return _normalised(drawn, name)
    if controls:
        raise BadInput(
            f"controls are given ({', '.join(controls)}), but {name} is no scene; leave data.controls out"
        )
    here = packs.splits(root(), name)
    folder = "val" if split == "test" and "test" not in here and "val" in here else split
    image_set = _normalised(packs.read_pack(root(), name, folder, mmap), name)
    return image_set if images is None else image_set.balanced(images)


def _normalised(image_set: "ImageSet", name: str) -> "ImageSet":
    mean, std = normalisation(name)
    return replace(image_set, mean=mean, std=std)


def get(name: str, progress=print) -> Path:
    """Download cifar10 or cifar100 into a pack under root(), unless it is there; returns its folder."""
    if name in SCENES:
        raise BadInput(f"{name} is generated when it is used; there is nothing to download")
    if name not in DOWNLOADS:
        raise choice("data set to download", name, list(DOWNLOADS))
    if name in _packs():
        return root() / name
    from partwhole.data.cifar import download

    return download(root(), name, progress)


def normalisation(name: str) -> Statistics:
    """Channel means and deviations to normalise by: the published ones, ImageNet's for other packs."""
    return NORMALISATION.get(name, IMAGENET)
