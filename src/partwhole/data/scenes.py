"""Scenes: procedural images of textured shapes on textured backgrounds, with exact boxes and every nuisance
under control.

An image is a function of (seed, its index) and the controls: the first images of a larger set equal those of
a smaller one. Image i shows class i mod 10.
"""

from collections.abc import Iterator

import numpy as np
import torch

from partwhole.data.channels import NORMALISATION
from partwhole.data.controls import Controls, settings
from partwhole.data.image_set import ImageSet
from partwhole.data.painting import BLOCK, Painted, paint
from partwhole.data.shapes import SHAPES
from partwhole.errors import BadInput

CLASSES = list(SHAPES)


def scenes(
    count: int, *, setting: str = "plain", size: int = 32, seed: int = 0, swap: int = 0, **controls
) -> ImageSet:
    """`count` images of `size` pixels with labels and exact boxes; `controls` replace those of the named
    setting.

    setting: plain or nuisance.  size: 32..128.  controls: the fields of Controls.
    swap: the same objects, pixel by pixel, each on the background of the image so many places further in its
    block of 100.
    boxes: (count, most objects, 4), tight around the pixels that an object covers by half and that no other
    object hides; the first row is the object that gives the label.
    """
    chosen = settings(setting, **controls)
    if count < 1:
        raise BadInput(f"scenes: count is {count}; it must be at least 1")
    if not 32 <= size <= 128:
        raise BadInput(f"scenes: size is {size}; it must lie in 32..128")
    if seed < 0:
        raise BadInput(f"scenes: seed is {seed}; it must be 0 or above")
    images = np.empty((count, size, size, 3), np.uint8)
    boxes = np.empty((count, chosen.objects[1], 4), np.float32)
    for start, painted in blocks(count, chosen, size, seed, swap):
        rows = slice(start, start + len(painted.images))
        images[rows], boxes[rows] = painted.images, tight_boxes(painted.masks)
    labels = torch.arange(count) % len(CLASSES)
    mean, std = NORMALISATION[f"scenes/{setting}"]
    return ImageSet(
        torch.from_numpy(images),
        labels,
        torch.from_numpy(boxes),
        None,
        list(CLASSES),
        f"scenes/{setting}",
        mean,
        std,
    )


def blocks(
    count: int, controls: Controls, size: int = 32, seed: int = 0, swap: int = 0
) -> Iterator[tuple[int, Painted]]:
    """The images in blocks of 100, each from a generator of its own: the index of a block's first image, and
    the block.
    """
    for start in range(0, count, BLOCK):
        generator = np.random.default_rng([seed, start // BLOCK])
        yield start, paint(generator, min(BLOCK, count - start), controls, size, swap)


def tight_boxes(masks: np.ndarray) -> np.ndarray:
    """The smallest box around each mask: bool (B, M, S, S) -> float32 (B, M, 4), NaN where nothing is
    visible.
    """
    ends, side = [], masks.shape[-1]
    for axis in (3, 2):
        line = masks.any(axis)
        ends += [line.argmax(2), side - line[:, :, ::-1].argmax(2)]
    top, bottom, left, right = ends
    boxes = np.stack([top, left, bottom, right], -1) / side
    return np.where(masks.any((2, 3))[..., None], boxes, np.nan).astype(np.float32)
