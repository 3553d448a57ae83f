"""Scenes: procedural images of textured shapes on textured backgrounds, with exact boxes and every nuisance under control.

An image is a function of (seed, its index) alone: the first images of a larger set equal those of a smaller one.
Image i shows class i mod 10.
"""

from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from typing import NamedTuple

import numpy as np
import torch

from partwhole.data.image_set import ImageSet
from partwhole.data.shapes import SHAPES
from partwhole.data.textures import TEXTURES, srgb, texture
from partwhole.errors import BadInput, choice

CLASSES = list(SHAPES)
BLOCK = 100  # images drawn from one generator
MOST = 4  # objects in an image
FIELD = 5  # knots a side of the colour field
TRIES = 8  # places considered for a second object, of which the one farthest from the others is taken


@dataclass(frozen=True)
class Controls:
    """What makes a set easy or hard.

    object_size: the objects' diameter as a share of the image's side, smallest and largest.
    objects: how many an image holds, fewest and most (at most 4); the first one, on top, gives the label.
    spread: 0 puts the first object in the middle, 1 anywhere inside the image.
    rotation: objects turn by up to so many degrees either way.
    contrast: how far the object's lightness is from the background's, 0..1.
    texture: how strong the texture on objects and backgrounds is, 0..1.
    correlation: probability that the background's texture is the one tied to the class; else any of the ten.
    field: strength of a colour field of the image's own, a smooth cloud of random colours behind the objects, 0..1.
    """

    object_size: tuple[float, float] = (0.55, 0.9)
    objects: tuple[int, int] = (1, 1)
    spread: float = 1.0
    rotation: float = 20.0
    contrast: float = 0.6
    texture: float = 0.5
    correlation: float = 0.0
    field: float = 0.0
    hues: float = 1.0
    clutter: float = 0.5
    dress: float = 0.0
    accent: float = 1.0

    def __post_init__(self):
        for name in ("spread", "contrast", "texture", "correlation", "field"):
            if not 0 <= getattr(self, name) <= 1:
                raise BadInput(f"scenes: {name} is {getattr(self, name)}; it must lie in 0..1")
        if not 0 < self.object_size[0] <= self.object_size[1] <= 1:
            raise BadInput(f"scenes: object_size is {self.object_size}; it needs 0 < smallest <= largest <= 1")
        if not 1 <= self.objects[0] <= self.objects[1] <= MOST:
            raise BadInput(f"scenes: objects is {self.objects}; it needs 1 <= fewest <= most <= {MOST}")
        if not 0 <= self.rotation <= 180:
            raise BadInput(f"scenes: rotation is {self.rotation}; it is in degrees, 0..180")


SETTINGS = {
    "plain": Controls(),
    "nuisance": Controls(object_size=(0.35, 0.6), contrast=0.3, field=1.0),
}


class Drawn(NamedTuple):
    """images uint8 (B, S, S, 3); masks bool (B, M, S, S), where each object is visible; kinds int64 (B, M), -1 for none."""

    images: np.ndarray
    masks: np.ndarray
    kinds: np.ndarray


def scenes(count: int, *, setting: str = "plain", size: int = 32, seed: int = 0, **controls) -> ImageSet:
    """`count` images of `size` pixels with labels and exact boxes; `controls` override those of the named setting.

    setting: plain or nuisance.  size: 32 to 128.  controls: the fields of Controls.
    The boxes' first row is the object that gives the label.
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
    for start, drawn in blocks(count, chosen, size, seed):
        rows = slice(start, start + len(drawn.images))
        images[rows], boxes[rows] = drawn.images, tight(drawn.masks)
    labels = torch.arange(count) % len(CLASSES)
    return ImageSet(torch.from_numpy(images), labels, torch.from_numpy(boxes), None, list(CLASSES), f"scenes/{setting}")


def settings(setting: str, **controls) -> Controls:
    """The controls of a named setting, some replaced."""
    if setting not in SETTINGS:
        raise choice("setting of scenes", setting, list(SETTINGS))
    known = [field.name for field in fields(Controls)]
    for name in controls:
        if name not in known:
            raise choice("control of scenes", name, known)
    return replace(SETTINGS[setting], **controls)


def blocks(count: int, controls: Controls, size: int, seed: int) -> Iterator[tuple[int, Drawn]]:
    """The images in blocks of 100, each from a generator of its own, with the index of the block's first image."""
    for start in range(0, count, BLOCK):
        generator = np.random.default_rng([seed, start // BLOCK])
        yield start, draw(generator, min(BLOCK, count - start), controls, size)


def tight(masks: np.ndarray) -> np.ndarray:
    """The smallest box around each mask: bool (B, M, S, S) -> float32 (B, M, 4), NaN where nothing is visible."""
    ends, side = [], masks.shape[-1]
    for axis in (3, 2):
        line = masks.any(axis)
        ends += [line.argmax(2), side - line[:, :, ::-1].argmax(2)]
    top, bottom, left, right = ends
    boxes = np.stack([top, left, bottom, right], -1) / side
    return np.where(masks.any((2, 3))[..., None], boxes, np.nan).astype(np.float32)


def draw(generator: np.random.Generator, count: int, controls: Controls, size: int) -> Drawn:
    """The first `count` images of a block. All random numbers are drawn for the whole block, whatever the controls."""
    behind, knots = generator.random((BLOCK, 16))[:count], generator.random((BLOCK, FIELD, FIELD, 3))[:count]
    fronts = [generator.random((BLOCK, 33))[:count] for _ in range(MOST)]
    label = np.arange(count) % len(CLASSES)

    centre = (np.arange(size, dtype=np.float32) + 0.5) / size
    x, y = centre[None, None, :], centre[None, :, None]
    canvas, tone = background(behind, knots, label, controls, x, y)

    low, high = controls.objects
    number = low + np.floor(behind[:, 15] * (high - low + 1)).astype(int)
    centres, radii = places(fronts[:high], controls)
    kinds = np.stack([label] + [np.floor(u[:, 0] * len(CLASSES)).astype(int) for u in fronts[1:high]], 1)
    kinds = np.where(np.arange(high) < number[:, None], kinds, -1)
    masks = np.zeros((count, high, size, size), bool)
    for one in reversed(range(high)):  # the last object lies at the bottom
        shown = np.flatnonzero(kinds[:, one] >= 0)
        canvas[shown], covered = paint(
            canvas[shown], 0.7 + controls.hues * (behind[shown, 4] - 0.5),
            fronts[one][shown],
            kinds[shown, one],
            centres[shown, one],
            radii[shown, one],
            tone[shown],
            controls,
            x,
            y,
        )
        masks[shown, one] = covered
        masks[shown, one + 1 :] &= ~covered[:, None]
    return Drawn(np.clip(canvas * 255 + 0.5, 0, 255).astype(np.uint8), masks, kinds)


def places(fronts: list[np.ndarray], controls: Controls) -> tuple[np.ndarray, np.ndarray]:
    """Centres (B, M, 2), x and y, and radii (B, M) of the objects, all inside the image where they fit."""
    small, large = controls.object_size
    radii = np.stack([0.5 * (small + (large - small) * u[:, 1]) for u in fronts], 1)
    centres = np.empty((*radii.shape, 2))
    for one, u in enumerate(fronts):
        tries = u[:, 17:33].reshape(-1, TRIES, 2)
        free = np.maximum(0, 1 - 2 * radii[:, one])[:, None, None]
        if one == 0:
            centres[:, 0] = 0.5 + controls.spread * free[:, 0] * (tries[:, 0] - 0.5)
            continue
        tries = 0.5 + free * (tries - 0.5)
        apart = np.linalg.norm(tries[:, :, None] - centres[:, None, :one], axis=-1) - radii[:, None, :one]
        centres[:, one] = np.take_along_axis(tries, apart.min(2).argmax(1)[:, None, None], 1)[:, 0]
    return centres.astype(np.float32), radii.astype(np.float32)


def background(u, knots, label, controls: Controls, x, y) -> tuple[np.ndarray, np.ndarray]:
    """The canvas (B, S, S, 3) in [0, 1] and its lightness (B,)."""
    size = x.shape[-1]
    family = np.where(u[:, 0] < controls.correlation, label, np.floor(u[:, 1] * len(TEXTURES)).astype(int))
    tone, step = 0.35 + 0.5 * u[:, 2], controls.clutter * (0.08 + 0.12 * u[:, 3])
    hue, chroma = 0.7 + controls.hues * (u[:, 4] - 0.5), 0.06 + controls.hues * 0.08 * (u[:, 5]-.5)
    dark = srgb(tone - step / 2, chroma, hue)
    light = srgb(tone + step / 2, chroma, hue + 0.15 * controls.hues * (u[:, 6] - 0.5))
    period = 0.22 + 0.2 * u[:, 7]
    pattern = turned(family, x - 0.5, y - 0.5, u[:, 8], period, u[:, 9:13], size)
    canvas = dark[:, None, None] + (light - dark)[:, None, None] * pattern[..., None]
    if controls.field:
        cloud = field(knots, size)
        canvas += controls.field * (cloud - canvas) * 0.85
    return canvas, tone


def field(knots: np.ndarray, size: int) -> np.ndarray:
    """A smooth field of saturated colours, (B, S, S, 3), through random colours at knots (B, K, K, 3)."""
    at = (np.arange(size) + 0.5) / size * (knots.shape[1] - 1)
    near = np.clip(1 - np.abs(at[:, None] - np.arange(knots.shape[1])), 0, 1)
    weights = (near * near * (3 - 2 * near)).astype(np.float32)  # (S, K), rows sum to 1
    return np.einsum("sk,bklc,tl->bstc", weights, knots.astype(np.float32), weights, optimize=True)


def turned(family, x, y, turn, period, q, size) -> np.ndarray:
    """Texture of each image in coordinates turned by `turn` (in turns) with `period` as a share of the image's side."""
    c, s = (f(2 * np.pi * turn).astype(np.float32)[:, None, None] for f in (np.cos, np.sin))
    scale = (1 / period).astype(np.float32)[:, None, None]
    u, v = (c * x + s * y) * scale, (c * y - s * x) * scale
    blur = np.clip(4 / (size * period), 0.05, 1).astype(np.float32)
    return texture(family, u, v, q.astype(np.float32), blur)


def paint(canvas, bghue, u, kind, centre, radius, tone, controls: Controls, x, y) -> tuple[np.ndarray, np.ndarray]:
    """The canvas with one object on it, and where it covers at least half of a pixel, bool (B, S, S)."""
    size = x.shape[-1]
    angle = np.deg2rad(controls.rotation) * (2 * u[:, 2] - 1)
    c, s = (f(angle).astype(np.float32)[:, None, None] for f in (np.cos, np.sin))
    radius = radius[:, None, None]
    dx, dy = (x - centre[:, 0, None, None]) / radius, (y - centre[:, 1, None, None]) / radius
    px, py = c * dx + s * dy, c * dy - s * dx
    distance = np.empty(px.shape, np.float32)
    for place, shape in enumerate(SHAPES.values()):
        rows = np.flatnonzero(kind == place)
        if len(rows):
            distance[rows] = shape(px[rows], py[rows])
    distance *= radius * size  # now in pixels
    cover = np.clip(0.5 - distance, 0, 1)

    away = controls.contrast * (0.3 + 0.25 * u[:, 3])
    brighter = np.where(tone + away > 0.95, False, np.where(tone - away < 0.15, True, u[:, 4] < 0.5))
    light = np.where(brighter, tone + away, tone - away)
    step = controls.texture * (0.12 + 0.13 * u[:, 5])
    hue, chroma = bghue + controls.accent * (u[:, 6] - 0.5), 0.12 + controls.hues * 0.12 * (u[:, 7]-.5)
    one = srgb(light - step / 2, chroma, hue)
    two = srgb(light + step / 2, chroma, hue + 0.2 * controls.hues * (u[:, 8] - 0.5))
    family = np.where(u[:, 12] < controls.dress, kind, np.floor(u[:, 9] * len(TEXTURES)).astype(int))
    pattern = turned(family, px * radius, py * radius, u[:, 10], 0.14 + 0.12 * u[:, 11], u[:, 13:17], size)
    colour = one[:, None, None] + (two - one)[:, None, None] * pattern[..., None]
    rim = 1 - 0.35 * np.clip(1 + distance / (0.04 * size), 0, 1)
    lit = rim - 0.12 * (dx + dy)
    canvas = canvas * (1 - 0.35 * np.clip(1 - distance / (0.06 * size), 0, 1))[..., None]  # a soft shadow around
    return canvas + (colour * lit[..., None] - canvas) * cover[..., None], cover >= 0.5
