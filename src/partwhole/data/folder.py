"""An ImageFolder tree (train/CLASS/*.jpg, and test or val) into a pack of square images."""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from partwhole.data.catalogue import DOWNLOADS
from partwhole.data.layout import SPLITS, check_name, refuse_overlap
from partwhole.data.packs import write_classes
from partwhole.data.staging import staged
from partwhole.errors import BadInput

ENDINGS = {".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp"}


def pack_folder(
    folder: Path,
    root: Path,
    name: str,
    size: int,
    classes: list[str] | None = None,
    progress: Callable[[str], None] | None = None,
    replace: bool = False,
) -> Path:
    """Pack the images below `folder`, short side made `size`, middle cut out; returns the pack's folder.

    classes: the class folders to take, in label order; all, sorted by name, where absent. ImageNet-100 is the
    list of its 100 WordNet ids. Images go one by one into a memory-mapped file, so any number fits in memory.
    replace: put it in the place of a pack of that name; anything else that lies there is refused in any case.
    """
    folder, root = Path(folder), Path(root)
    if not 8 <= size <= 1024:
        raise BadInput(f"size is {size}; it must lie in 8..1024 pixels")
    if name in DOWNLOADS:
        raise BadInput(
            f"{name} names a set to download (partwhole data get {name}); take another name for the pack"
        )
    check_name(name)
    if not folder.is_dir():
        raise BadInput(
            f"{folder} is not a folder; expected one that holds train/CLASS/*.jpg, and test or val"
        )
    if not (folder / "train").is_dir():
        raise BadInput(f"{folder} has no folder train; expected train/CLASS/*.jpg, and test or val beside it")
    for source in (folder, *(folder / split for split in SPLITS)):
        refuse_overlap(source, root / name)
    classes = classes or sorted(entry.name for entry in (folder / "train").iterdir() if entry.is_dir())
    if not classes:
        raise BadInput(f"{folder / 'train'} holds no class folders; expected train/CLASS/*.jpg")
    if len(set(classes)) < len(classes):
        twice = next(name for name in classes if classes.count(name) > 1)
        raise BadInput(f"class {twice} is listed twice; list every class once")
    with staged(root, name, replace=replace) as pack:
        lists = {split: _images(folder / split, classes) for split in SPLITS if (folder / split).is_dir()}
        for split, (paths, labels) in lists.items():
            (pack / split).mkdir()
            np.save(pack / split / "labels.npy", np.array(labels, np.int64))
            images = np.lib.format.open_memmap(
                pack / split / "images.npy", mode="w+", dtype=np.uint8, shape=(len(paths), size, size, 3)
            )
            for number, path in enumerate(paths):
                images[number] = squared(path, size)
                if progress and (number + 1) % 1000 == 0:
                    progress(f"{name}: {number + 1:,} of {len(paths):,} images of {split}")
            images.flush()
            del images
        write_classes(pack, classes)
    return root / name


def squared(path: Path, size: int) -> np.ndarray:
    """The image as uint8 (size, size, 3), as by torchvision's Resize (short side, bilinear), CenterCrop."""
    from PIL import Image

    try:
        with Image.open(path) as opened:
            image = opened.convert("RGB")
    except (OSError, SyntaxError, ValueError) as error:
        raise BadInput(
            f"{path} cannot be read as an image ({str(error).splitlines()[0]}); replace or remove it"
        ) from error
    width, height = (int(size * side / min(image.size)) for side in image.size)
    image = image.resize((width, height), Image.Resampling.BILINEAR)
    left, top = round((width - size) / 2), round((height - size) / 2)
    return np.asarray(image.crop((left, top, left + size, top + size)))


def _images(split: Path, classes: list[str]) -> tuple[list[Path], list[int]]:
    paths, labels = [], []
    for label, name in enumerate(classes):
        if not (split / name).is_dir():
            raise BadInput(f"{split} has no class folder {name}; every class needs one in every split")
        files = sorted(
            path for path in (split / name).rglob("*") if path.suffix.lower() in ENDINGS and path.is_file()
        )
        if not files:
            raise BadInput(
                f"{split / name} holds no image; expected files such as {', '.join(sorted(ENDINGS)[:3])}"
            )
        paths += files
        labels += [label] * len(files)
    return paths, labels
