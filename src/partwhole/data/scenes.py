"""Scenes: procedural images of textured shapes on textured backgrounds, with exact boxes and every nuisance under control.

An image is a function of (seed, its index) and the controls: the first images of a larger set equal those of a smaller
one. Image i shows class i mod 10.
"""

from collections.abc import Iterator
from dataclasses import dataclass, fields, replace

import numpy as np
import torch

from partwhole.data.image_set import ImageSet
from partwhole.data.painting import BLOCK, MOST, Painted, paint
from partwhole.data.shapes import SHAPES
from partwhole.errors import BadInput, choice

CLASSES = list(SHAPES)


@dataclass(frozen=True)
class Controls:
    """What makes a set easy or hard.

    object_size: diameter of an object as a share of the image's side, smallest and largest.
    objects: how many an image holds, fewest and most (at most 4); the first one, on top, gives the label.
    spread: 0 puts the first object in the middle, 1 anywhere inside the image.
    rotation: objects turn by up to so many degrees either way.
    contrast: how far an object's lightness is from the background's, 0..1; lighter or darker by chance.
    texture, clutter: strength of the texture on objects, and on backgrounds, 0..1.
    object_correlation, background_correlation: probability that this texture is the one tied to the class, else any.
    palettes: how many ranges of hue the images come in.
    hues: width of each of these ranges, 0..1; at 1 they meet, and any hue is as likely as any other.
    accent: how far an object's hue may lie from the background's, as a share of the colour circle, 0..1.
    weave: share of the background that is of the image's own, waves of three random colours in two directions, 0..1.
    """

    object_size: tuple[float, float] = (0.35, 0.6)
    objects: tuple[int, int] = (1, 1)
    spread: float = 1.0
    rotation: float = 45.0
    contrast: float = 0.4
    texture: float = 1.0
    clutter: float = 0.25
    object_correlation: float = 1.0
    background_correlation: float = 0.0
    palettes: int = 1
    hues: float = 0.2
    accent: float = 0.1
    weave: float = 0.0

    def __post_init__(self):
        for name in ("object_size", "objects"):
            given = getattr(self, name)
            if not isinstance(given, tuple | list) or len(given) != 2:
                raise BadInput(f"scenes: {name} is {given}; it needs two numbers, the smallest and the largest")
        if not 0 < self.object_size[0] <= self.object_size[1] <= 1:
            raise BadInput(f"scenes: object_size is {self.object_size}; it needs 0 < smallest <= largest <= 1")
        if not 1 <= self.objects[0] <= self.objects[1] <= MOST:
            raise BadInput(f"scenes: objects is {self.objects}; it needs 1 <= fewest <= most <= {MOST}")
        if not 1 <= self.palettes <= 8:
            raise BadInput(f"scenes: palettes is {self.palettes}; it must lie in 1..8")
        if not 0 <= self.rotation <= 180:
            raise BadInput(f"scenes: rotation is {self.rotation}; it is in degrees, 0..180")
        for name in (field.name for field in fields(self) if field.name not in ("object_size", "objects", "rotation", "palettes")):
            if not 0 <= getattr(self, name) <= 1:
                raise BadInput(f"scenes: {name} is {getattr(self, name)}; it must lie in 0..1")


# plain: what varies most is what the views of SimCLR vary too (place, size, brightness), which confuses pixels and not
# encoders; few hues, since a hue of its own would be an image's shortcut. nuisance: exactly that shortcut, and nothing else.
SETTINGS = {
    "plain": Controls(),
    "nuisance": Controls(weave=1.0),
}


def scenes(count: int, *, setting: str = "plain", size: int = 32, seed: int = 0, swap: int = 0, **controls) -> ImageSet:
    """`count` images of `size` pixels with labels and exact boxes; `controls` replace those of the named setting.

    setting: plain or nuisance.  size: 32..128.  controls: the fields of Controls.
    swap: the same objects, pixel by pixel, each on the background of the image so many places further in its block of 100.
    boxes: (count, most objects, 4), tight around the pixels that an object covers by half and that no other object
    hides; the first row is the object that gives the label.
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
    return ImageSet(torch.from_numpy(images), labels, torch.from_numpy(boxes), None, list(CLASSES), f"scenes/{setting}")


def settings(setting: str, **controls) -> Controls:
    """The controls of a named setting, some of them replaced."""
    if setting not in SETTINGS:
        raise choice("setting of scenes", setting, list(SETTINGS))
    known = [field.name for field in fields(Controls)]
    for name in controls:
        if name not in known:
            raise choice("control of scenes", name, known)
    return replace(SETTINGS[setting], **controls)


def blocks(count: int, controls: Controls, size: int = 32, seed: int = 0, swap: int = 0) -> Iterator[tuple[int, Painted]]:
    """The images in blocks of 100, each from a generator of its own: the index of a block's first image, and the block."""
    for start in range(0, count, BLOCK):
        generator = np.random.default_rng([seed, start // BLOCK])
        yield start, paint(generator, min(BLOCK, count - start), controls, size, swap)


def tight_boxes(masks: np.ndarray) -> np.ndarray:
    """The smallest box around each mask: bool (B, M, S, S) -> float32 (B, M, 4), NaN where nothing is visible."""
    ends, side = [], masks.shape[-1]
    for axis in (3, 2):
        line = masks.any(axis)
        ends += [line.argmax(2), side - line[:, :, ::-1].argmax(2)]
    top, bottom, left, right = ends
    boxes = np.stack([top, left, bottom, right], -1) / side
    return np.where(masks.any((2, 3))[..., None], boxes, np.nan).astype(np.float32)
