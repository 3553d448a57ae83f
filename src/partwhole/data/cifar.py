"""CIFAR-10 and CIFAR-100 by torchvision's download, turned into a pack."""

import pickle
import shutil
import tarfile
import tempfile
from collections.abc import Callable
from pathlib import Path

import torch

from partwhole.data.image_set import ImageSet
from partwhole.data.packs import write_arrays, write_classes
from partwhole.data.staging import staged
from partwhole.errors import BadInput

SETS = {"cifar10": "CIFAR10", "cifar100": "CIFAR100"}


def download(root: Path, name: str, progress: Callable[[str], None] = print) -> Path:
    """Fetch `name` into a scratch folder and write the pack, whole; returns the pack's folder."""
    with staged(root, name) as pack:
        progress(f"{name}: downloading about 170 MB")
        archive = Path(tempfile.mkdtemp(prefix="archive-", dir=pack))
        try:
            for split in ("train", "test"):
                image_set = read(archive, name, split, fetch=True)
                write_arrays(pack / split, image_set)
        finally:
            shutil.rmtree(archive, ignore_errors=True)
        write_classes(pack, image_set.classes)
    progress(f"{name}: packed in {root / name}")
    return root / name


def read(folder: Path, name: str, split: str, *, fetch: bool = False) -> ImageSet:
    """One split as torchvision reads it from `folder`, downloaded first if `fetch`."""
    import torchvision

    try:
        dataset = getattr(torchvision.datasets, SETS[name])(folder, train=split == "train", download=fetch)
    except (OSError, RuntimeError, EOFError, pickle.UnpicklingError, tarfile.TarError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise BadInput(
            f"{name} could not be downloaded ({reason}); check the network and the free space, "
            "or set PARTWHOLE_DATA to a folder that holds the pack"
        ) from error
    labels = torch.tensor(dataset.targets, dtype=torch.int64)
    return ImageSet(torch.from_numpy(dataset.data), labels, classes=list(dataset.classes), name=name)
