"""ImageSet: images as one uint8 tensor, with labels, object boxes and sizes where they are known."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from partwhole.data.channels import IMAGENET, Triple
from partwhole.errors import BadInput


@dataclass
class ImageSet:
    """N images of one height and width, in memory, on a device or memory-mapped.

    images: uint8 (N, H, W, 3), RGB.
    labels: int64 (N,), places in `classes`; None where unknown.
    boxes: float32 (N, M, 4), up to M objects an image: top, left, bottom, right in [0, 1]; NaN rows where
        there are fewer. The truth, for measuring, never for training.
    sizes: int32 (N, 2), height and width of the valid part, at the top left, where smaller images are padded.
    mean, std: three numbers each, to normalise R, G, B in [0, 1] by; ImageNet's where none are given.
    """

    images: Tensor
    labels: Tensor | None = None
    boxes: Tensor | None = None
    sizes: Tensor | None = None
    classes: list[str] = field(default_factory=list)
    name: str = ""
    mean: Triple = IMAGENET[0]
    std: Triple = IMAGENET[1]

    def __post_init__(self):
        wanted = {
            "images": (torch.uint8, "uint8 (N, H, W, 3)", (None, None, None, 3)),
            "labels": (torch.int64, "int64 (N,)", (None,)),
            "boxes": (torch.float32, "float32 (N, M, 4)", (None, None, 4)),
            "sizes": (torch.int32, "int32 (N, 2)", (None, 2)),
        }
        for part, (dtype, text, shape) in wanted.items():
            given = getattr(self, part)
            if given is None and part != "images":
                continue
            fits = given.ndim == len(shape) and all(w in (None, g) for w, g in zip(shape, given.shape))
            if given.dtype != dtype or not fits:
                got = f"{str(given.dtype).removeprefix('torch.')} {tuple(given.shape)}"
                raise BadInput(f"{self.name or 'image set'}: {part} are {got}; expected {text}")
            if len(given) != len(self.images):
                raise BadInput(
                    f"{self.name or 'image set'}: {len(given)} {part} for {len(self.images)} images"
                )
        if self.labels is not None and len(self.labels) and self.classes:
            low, high = int(self.labels.min()), int(self.labels.max())
            if low < 0 or high >= len(self.classes):
                raise BadInput(
                    f"{self.name or 'image set'}: labels run from {low} to {high}; "
                    f"with {len(self.classes)} classes they must lie in 0..{len(self.classes) - 1}"
                )
        self.mean = self._three_numbers("mean", "in 0..1", lambda number: 0 <= number <= 1)
        self.std = self._three_numbers("std", "above 0 and at most 1", lambda number: 0 < number <= 1)

    def _three_numbers(self, part: str, wanted: str, fits: Callable[[float], bool]) -> Triple:
        given = getattr(self, part)
        try:
            numbers = tuple(float(number) for number in given)
        except (TypeError, ValueError):
            numbers = ()
        if len(numbers) != 3 or not all(map(fits, numbers)):
            got = " ".join(repr(given).split())
            raise BadInput(f"{self.name or 'image set'}: {part} is {got}; expected three numbers {wanted}")
        return numbers

    def __len__(self) -> int:
        return len(self.images)

    def subset(self, index: Tensor) -> "ImageSet":
        """The images at `index` (int64 (n,) or a mask), in that order."""
        return self._each(lambda part: part[index.to(part.device)])

    def part(self, start: int, stop: int) -> "ImageSet":
        """The images from `start` to before `stop`, as a view of this set: nothing is copied."""
        return self._each(lambda part: part[start:stop])

    def to(self, device: torch.device | str) -> "ImageSet":
        """The same set with every tensor on `device`."""
        return self._each(lambda part: part.to(device))

    def _each(self, change) -> "ImageSet":
        parts = {name: getattr(self, name) for name in ("images", "labels", "boxes", "sizes")}
        return replace(self, **{name: change(part) for name, part in parts.items() if part is not None})

    def balanced(self, count: int, seed: int = 0) -> "ImageSet":
        """`count` images, the same number of each class, drawn at random and kept in their order.

        With one seed, a smaller draw is part of a larger one.
        """
        if self.labels is None:
            raise BadInput(
                f"{self.name or 'image set'} has no labels, so {count} images of it cannot be balanced; "
                "take all its images, or a set with labels"
            )
        classes = len(self.classes) or int(self.labels.max()) + 1
        each, rest = divmod(count, classes)
        if rest or not each:
            nearest = max(round(count / classes), 1) * classes
            raise BadInput(
                f"{count} images cannot be shared equally by {classes} classes; "
                f"take a multiple of {classes}, such as {nearest}"
            )
        labels, generator, picked = self.labels.cpu(), torch.Generator().manual_seed(seed), []
        for label in range(classes):
            members = (labels == label).nonzero()[:, 0]
            if len(members) < each:
                known, name = self.classes[label] if self.classes else label, self.name or "the set"
                raise BadInput(
                    f"{count} images need {each} of each class, "
                    f"but {name} has {len(members)} of class {known}; ask for fewer"
                )
            picked.append(members[torch.randperm(len(members), generator=generator)[:each]])
        return self.subset(torch.cat(picked).sort().values)


def channel_statistics(image_set: ImageSet, batch: int = 1024) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation of R, G, B over all valid pixels, in [0, 1]; exact, by counting levels."""
    counts = torch.zeros(3, 256, dtype=torch.float64)
    for start in range(0, len(image_set), batch):
        images = image_set.images[start : start + batch]
        if image_set.sizes is None:
            pixels = images.reshape(-1, 3)
        else:
            height, width = image_set.sizes[start : start + batch].to(images.device).long().T[:, :, None]
            rows = torch.arange(images.shape[1], device=images.device) < height
            columns = torch.arange(images.shape[2], device=images.device) < width
            pixels = images[rows[:, :, None] & columns[:, None, :]]
        for channel in range(3):
            counts[channel] += torch.bincount(pixels[:, channel].contiguous(), minlength=256).cpu()
    share = counts / counts.sum(1, keepdim=True)
    levels = torch.arange(256, dtype=torch.float64) / 255
    mean = share @ levels
    deviation = ((share @ levels.square()) - mean.square()).clamp_min(0).sqrt()
    return tuple(mean.tolist()), tuple(deviation.tolist())
