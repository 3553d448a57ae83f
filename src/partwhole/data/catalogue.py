"""The catalogue: every image set by name, where it is, and how to get it."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from partwhole import places
from partwhole.data import packs
from partwhole.errors import BadInput, choice

if TYPE_CHECKING:
    from partwhole.data.image_set import ImageSet

Statistics = tuple[tuple[float, float, float], tuple[float, float, float]]

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

# CIFAR-10: the deviations are those that the published recipes use, means over images of each image's own deviation;
# over all pixels they are 0.247, 0.243, 0.262. Scenes: channel_statistics of the train sets.
NORMALISATION: dict[str, Statistics] = {
    "cifar10": ((0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010)),
    "cifar100": ((0.5071, 0.4867, 0.4408), (0.2675, 0.2565, 0.2761)),
    "scenes/plain": ((0.442, 0.517, 0.369), (0.185, 0.178, 0.177)),
    "scenes/nuisance": ((0.429, 0.459, 0.437), (0.233, 0.172, 0.236)),
}
IMAGENET: Statistics = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


class Row(NamedTuple):
    """One line of the catalogue: `where` is a folder, "generated" or "absent"."""

    name: str
    what: str
    where: str


def root() -> Path:
    """The folder of packs: PARTWHOLE_DATA, else data/ of the clone, else ~/.cache/partwhole."""
    if given := os.environ.get("PARTWHOLE_DATA"):
        return Path(given).expanduser()
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
    return f"pack, {classes} classes, {' and '.join(packs.splits(root(), name))}"


def _packs() -> list[str]:
    try:
        return sorted(folder.name for folder in root().iterdir() if packs.is_pack(folder))
    except OSError:
        return []


def check(name: str) -> None:
    """Refuse a name that nothing here has; a download that is not there yet is refused with what to do."""
    packed = _packs()
    if name in SCENES or name in packed or (name not in DOWNLOADS and (root() / name).is_dir() and "/" not in name):
        return
    if name in DOWNLOADS:
        if (root() / name).is_dir():
            return  # there, but damaged: reading it says how
        raise BadInput(
            f"{name} is not under {root()}; fetch it with: partwhole data get {name}, "
            "or set PARTWHOLE_DATA to the folder that holds it"
        )
    raise choice("data set", name, [*SCENES, *DOWNLOADS, *(pack for pack in packed if pack not in DOWNLOADS)])


def load(name: str, split: str, *, images: int | None = None, mmap: bool = False, controls: dict | None = None) -> "ImageSet":
    """The image set `name`; split is train or test (val, where the pack calls it so).

    images: only so many, the same number of each class (of scenes the first ones, and no others are made).
    mmap: leave a pack's images on disk.  controls: of scenes, in place of the named setting's.
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
        return scenes(count, setting=name.removeprefix("scenes/"), seed=SCENE_SEEDS[split], **(controls or {}))
    if controls:
        raise BadInput(f"controls are given ({', '.join(controls)}), but {name} is no scene; leave data.controls out")
    here = packs.splits(root(), name)
    found = packs.read_pack(root(), name, "val" if split == "test" and "test" not in here and "val" in here else split, mmap)
    return found if images is None else found.balanced(images)


def get(name: str, progress=print) -> Path:
    """Download cifar10 or cifar100 into a pack under root(), unless it is there; returns the pack's folder."""
    if name in SCENES:
        raise BadInput(f"{name} is generated when it is used; there is nothing to download")
    if name not in DOWNLOADS:
        raise choice("data set to download", name, list(DOWNLOADS))
    if name in _packs():
        return root() / name
    from partwhole.data.cifar import download

    return download(root(), name, progress)


def normalisation(name: str) -> Statistics:
    """Channel means and standard deviations to normalise by, in [0, 1]: the published ones; ImageNet's for other packs."""
    return NORMALISATION.get(name, IMAGENET)
