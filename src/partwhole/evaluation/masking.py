"""Internal masking: parts of the last map are hidden before pooling; how much accuracy survives?

The paper reports an "internal masking accuracy" without an accessible definition: these three, and the
shares, are ours. Where all positions of an image are equal, hiding some of them changes nothing: the link
with redundancy.
"""

import math

import torch
from torch import Tensor

from partwhole.arithmetic import full_precision
from partwhole.data.image_set import ImageSet
from partwhole.errors import BadInput
from partwhole.evaluation.classifier import Classifier, bar
from partwhole.evaluation.features import frozen, pixel_batches
from partwhole.evaluation.subject import Subject

SHARES = (0.0, 0.25, 0.5, 0.75, 0.9)
VARIANTS = ("positions", "units", "block")


def surviving(maps: Tensor, share: float, generator: torch.Generator) -> Tensor:
    """The mean over positions left when a random share is hidden, but for one: (B, C, h, w) -> (B, C)."""
    batch, _, height, width = maps.shape
    count = max(1, round((1 - share) * height * width))
    order = torch.rand(batch, height * width, generator=generator, device=maps.device).argsort(1)
    return mean_of(maps, (order < count).unflatten(1, (height, width)))


def without_units(maps: Tensor, share: float, generator: torch.Generator) -> Tensor:
    """The mean after a random share of all values is zeroed, the rest scaled up: (B, C, h, w) -> (B, C)."""
    left = torch.rand(maps.shape, generator=generator, device=maps.device) >= share
    return (maps * left).mean((2, 3)) / (1 - share)


def outside_block(maps: Tensor, share: float, generator: torch.Generator) -> Tensor:
    """The mean over the positions outside a block at a random place: (B, C, h, w) -> (B, C).

    Of the rectangles that leave a position, the block has the area nearest to the share, and of these the
    squarest shape.
    """
    batch, _, height, width = maps.shape
    shapes = [
        (tall, wide)
        for tall in range(height + 1)
        for wide in range(width + 1)
        if tall * wide < height * width
    ]
    tall, wide = min(
        shapes,
        key=lambda shape: (abs(shape[0] * shape[1] - share * height * width), abs(shape[0] - shape[1])),
    )
    u = torch.rand(batch, 2, generator=generator, device=maps.device)
    top, left = ((u[:, 0] * (height - tall + 1)).floor(), (u[:, 1] * (width - wide + 1)).floor())
    rows, columns = torch.arange(height, device=maps.device), torch.arange(width, device=maps.device)
    down = (rows >= top[:, None]) & (rows < top[:, None] + tall)
    along = (columns >= left[:, None]) & (columns < left[:, None] + wide)
    return mean_of(maps, ~(down[:, :, None] & along[:, None]))


def mean_of(maps: Tensor, left: Tensor) -> Tensor:
    """The mean over the positions that are left, bool (B, h, w): (B, C, h, w) -> (B, C)."""
    weights = left.to(maps.dtype) / left.sum((1, 2), keepdim=True)
    return torch.einsum("bchw,bhw->bc", maps, weights)


MASKS = dict(zip(VARIANTS, (surviving, without_units, outside_block)))


def masked_accuracy(
    classifier: Classifier, image_set: ImageSet, *, size: int | None = None,
    shares: tuple[float, ...] = SHARES, batch: int = 512, seed: int = 0, progress: bool = False,
) -> dict:  # fmt: skip
    """Accuracy in per cent by variant, a list over shares, and `clean`, without a mask.

    Each image goes through the encoder once; what follows its pooling and the probe see every masked mean.
    """
    if not all(0 <= share < 1 for share in shares):
        raise BadInput(
            f"shares are {list(shares)}; each must be at least 0 and below 1, since something has to be left"
        )
    device, count = classifier.device, len(image_set)
    labels, generator = image_set.labels.to(device), torch.Generator(device).manual_seed(seed)
    hits = torch.zeros(len(VARIANTS), len(shares), dtype=torch.int64, device=device)
    clean = torch.zeros((), dtype=torch.int64, device=device)
    shown = bar("masking", count, progress)
    with shown, frozen(classifier), full_precision(device):
        for rows, pixels in pixel_batches(image_set, device=device, batch=batch, size=size):
            maps, pooled = classifier.features(pixels)
            clean += (classifier.probe(pooled.float()).argmax(1) == labels[rows]).sum()
            for line, mask in zip(hits, MASKS.values()):
                for place, share in enumerate(shares):
                    vectors = classifier.encoder.after_pooling(mask(maps, share, generator))
                    line[place] += (classifier.probe(vectors.float()).argmax(1) == labels[rows]).sum()
            shown.update(len(pixels))
    return {
        "clean": 100 * clean.item() / count,
        **dict(zip(VARIANTS, (100 * hits.double() / count).tolist())),
    }


def measure(subject: Subject) -> dict:
    """Mean accuracies over the shares above 0.  masking: positions.  masking_retained: over the
    unmasked one.
    """
    curves = masked_accuracy(subject.classifier, subject.test, size=subject.size, progress=subject.progress)
    means = {variant: math.fsum(curves[variant][1:]) / (len(SHARES) - 1) for variant in VARIANTS}
    return {
        "masking": means["positions"], "masking_units": means["units"], "masking_block": means["block"],
        "masking_retained": means["positions"] / max(curves["clean"], 1e-9),
        "details": {"shares": list(SHARES), **curves},
    }  # fmt: skip
