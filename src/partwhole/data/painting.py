"""How a scene is painted: a textured background, then objects from the bottom to the top, many images at
once.
"""

from typing import NamedTuple

import numpy as np

from partwhole.data.controls import MOST, Controls
from partwhole.data.shapes import SHAPES
from partwhole.data.textures import TEXTURES, srgb, texture

Array = np.ndarray

BLOCK = 100  # images painted from one generator
LIGHTNESS = (0.32, 0.6, 0.88)  # of the three colours of a weave
TRIES = 8  # places considered for a second object, of which the one farthest from the others is taken


class Painted(NamedTuple):
    """images: uint8 (B, S, S, 3).  masks: bool (B, M, S, S), where each object is visible; the first lies on
    top.
    shapes: int64 (B, M), the class of each object, -1 for none.  backgrounds: int64 (B,), the texture behind
    them.
    """

    images: Array
    masks: Array
    shapes: Array
    backgrounds: Array


class Uniforms:
    """Columns of a table of uniform numbers, (B, n), handed out one after the other, so that every use has
    its own.
    """

    def __init__(self, table: Array):
        self.table, self.used = table, 0

    def __call__(self, low: float = 0.0, high: float = 1.0) -> Array:
        """The next column, (B,), scaled to low..high."""
        return low + (high - low) * self.columns(1)[:, 0]

    def columns(self, count: int) -> Array:
        self.used += count
        return self.table[:, self.used - count : self.used]

    def of(self, count: int) -> Array:
        """The next column as whole numbers in 0..count - 1."""
        return np.floor(self(0, count)).astype(np.int64)


def paint(
    generator: np.random.Generator, count: int, controls: Controls, size: int, swap: int = 0
) -> Painted:
    """The first `count` images of a block. Random numbers are drawn for the whole block, whatever the
    controls.

    swap: objects, coloured as for their own background, are put on that of the image so many places further
    in the block.
    """
    numbers = generator.random((BLOCK, 30))
    fronts = [Uniforms(generator.random((BLOCK, 36))[:count]) for _ in range(MOST)]

    label = np.arange(count) % len(SHAPES)
    few, most = controls.objects
    behind = Uniforms(numbers[:count])
    number = few + behind.of(most - few + 1)
    canvas, family, tone, hue = background(behind, label, controls, size)
    if swap:
        other = Uniforms(np.roll(numbers, -swap, 0)[:count])
        other.columns(1)  # the number of objects
        canvas, family, _, _ = background(other, (label + swap) % len(SHAPES), controls, size)
    shapes = np.stack(
        [np.where(one, front.of(len(SHAPES)), label) for one, front in enumerate(fronts[:most])], 1
    )
    shapes = np.where(np.arange(most) < number[:, None], shapes, -1)
    centres, radii = places(fronts[:most], controls)
    masks = np.zeros((count, most, size, size), bool)
    for one in reversed(range(most)):
        canvas, covered = with_object(
            canvas, fronts[one], shapes[:, one], centres[:, one], radii[:, one], tone, hue, controls
        )
        masks[:, one] = covered
        masks[:, one + 1 :] &= ~covered[:, None]
    return Painted(np.clip(canvas * 255 + 0.5, 0, 255).astype(np.uint8), masks, shapes, family)


def background(u: Uniforms, label: Array, controls: Controls, size: int) -> tuple[Array, ...]:
    """The canvas (B, S, S, 3) in [0, 1], its texture, lightness and hue, each (B,)."""
    family = np.where(u() < controls.background_correlation, label, u.of(len(TEXTURES)))
    palette, off = u.of(controls.palettes), u(-0.5, 0.5)
    hue = (palette + controls.hues * off + 0.36) / controls.palettes
    tone, step, chroma = u(0.35, 0.85), controls.clutter * u(0.08, 0.2), 0.06 + controls.hues * u(-0.04, 0.04)
    dark = srgb(tone - step / 2, chroma, hue)
    light = srgb(tone + step / 2, chroma, hue + controls.hues * u(-0.07, 0.07))
    turn, period = u(), u(0.22, 0.42)
    x, y = pixel_centres(size)
    canvas = between(dark, light, pattern(family, x - 0.5, y - 0.5, turn, period, u.columns(4)))
    if controls.weave:
        canvas += controls.weave * (weave(u, size) - canvas)
    return canvas, family, tone, hue


def places(fronts: list[Uniforms], controls: Controls) -> tuple[Array, Array]:
    """Centres (B, M, 2), x and y, and radii (B, M) of the objects, which lie inside the image."""
    radii = np.stack([u(*controls.object_size) / 2 for u in fronts], 1)
    centres = np.empty((*radii.shape, 2))
    for one, u in enumerate(fronts):
        tries = u.columns(2 * TRIES).reshape(-1, TRIES, 2) - 0.5
        room = (1 - 2 * radii[:, one])[:, None, None]
        if one == 0:
            centres[:, 0] = 0.5 + controls.spread * (room * tries)[:, 0]
            continue
        tries = 0.5 + room * tries
        apart = np.linalg.norm(tries[:, :, None] - centres[:, None, :one], axis=-1) - radii[:, None, :one]
        centres[:, one] = np.take_along_axis(tries, apart.min(2).argmax(1)[:, None, None], 1)[:, 0]
    return centres.astype(np.float32), radii.astype(np.float32)


def with_object(
    canvas: Array,
    u: Uniforms,
    shape: Array,
    centre: Array,
    radius: Array,
    tone: Array,
    hue: Array,
    controls: Controls,
) -> tuple[Array, Array]:
    """The canvas with an object on it where `shape` (B,) is not -1, and the pixels that it covers by half,
    (B, S, S).
    """
    size = canvas.shape[1]
    x, y = pixel_centres(size)
    c, s = turned(np.deg2rad(controls.rotation) * u(-1, 1))
    radius = radius[:, None, None]
    dx, dy = (x - centre[:, 0, None, None]) / radius, (y - centre[:, 1, None, None]) / radius
    px, py = c * dx + s * dy, c * dy - s * dx
    distance = np.full(px.shape, np.inf, np.float32)
    for place, signed_distance in enumerate(SHAPES.values()):
        if len(rows := np.flatnonzero(shape == place)):
            distance[rows] = signed_distance(px[rows], py[rows])
    distance *= radius * size  # in pixels
    cover = np.clip(0.5 - distance, 0, 1)

    away, side, step = controls.contrast * u(0.3, 0.55), u(), controls.texture * u(0.12, 0.25)
    brighter = np.where(tone + away > 0.95, False, np.where(tone - away < 0.15, True, side < 0.5))
    light = np.where(brighter, tone + away, tone - away)
    hue, chroma = hue + controls.accent * u(-0.5, 0.5), 0.12 + controls.hues * u(-0.06, 0.06)
    one = srgb(light - step / 2, chroma, hue)
    two = srgb(light + step / 2, chroma, hue + controls.hues * u(-0.1, 0.1))
    family = np.where(u() < controls.object_correlation, shape, u.of(len(TEXTURES)))
    turn, period = u(), u(0.14, 0.26)
    colour = between(one, two, pattern(family, px * radius, py * radius, turn, period, u.columns(4)))
    rim = 0.35 * np.clip(1 + distance / (0.04 * size), 0, 1)
    shade = 1 - rim - 0.12 * np.clip(dx + dy, -2, 2)  # lit from the top left, darker along the outline
    shadow = 1 - 0.35 * np.clip(1 - distance / (0.06 * size), 0, 1)
    canvas = canvas * shadow[..., None]
    return canvas + (colour * shade[..., None] - canvas) * cover[..., None], cover >= 0.5


def weave(u: Uniforms, size: int) -> Array:
    """Three colours of the image's own, a dark, a middle and a light one, mixed by waves in two directions,
    (B, S, S, 3).

    Whatever part of the image one sees, one sees these colours and directions: they survive crops, the
    directions survive colour changes and the loss of colour, and so do the colours' differences in hue.
    """
    x, y = pixel_centres(size)
    waves = [np.zeros((len(u.table), size, size), np.float32)]
    for _ in range(2):
        (c, s), cycles, phase = turned(2 * np.pi * u()), per_image(u(2.5, 7)), per_image(u())
        waves.append(1.8 * np.sin(2 * np.pi * (cycles * (c * x + s * y) + phase)))
    share = np.exp(np.stack(waves, -1))
    share /= share.sum(3, keepdims=True)
    order = np.stack([u() for _ in LIGHTNESS], 1).argsort(1)
    colours = np.stack([srgb(light, u(0.12, 0.22), u()) for light in np.array(LIGHTNESS)[order].T], 1)
    return np.einsum("bijk,bkc->bijc", share, colours)


def pattern(family: Array, x: Array, y: Array, turn: Array, period: Array, q: Array) -> Array:
    """Each image's texture over coordinates in image sides, turned by `turn` of a circle, with `period` in
    image sides.
    """
    c, s = turned(2 * np.pi * turn)
    scale = per_image(1 / period)
    blur = np.clip(4 / (x.shape[-1] * period), 0.05, 1).astype(np.float32)
    return texture(family, (c * x + s * y) * scale, (c * y - s * x) * scale, q.astype(np.float32), blur)


def between(one: Array, two: Array, share: Array) -> Array:
    """Colours one, two (B, 3) mixed by share (B, S, S): (B, S, S, 3)."""
    return one[:, None, None] + (two - one)[:, None, None] * share[..., None]


def pixel_centres(size: int) -> tuple[Array, Array]:
    """x (1, 1, S) and y (1, S, 1) in image sides."""
    centres = (np.arange(size, dtype=np.float32) + 0.5) / size
    return centres[None, None, :], centres[None, :, None]


def turned(angle: Array) -> tuple[Array, Array]:
    """Cosine and sine of (B,) angles, each (B, 1, 1)."""
    return per_image(np.cos(angle)), per_image(np.sin(angle))


def per_image(values: Array) -> Array:
    """(B,) numbers as float32 (B, 1, 1), to go with pixels."""
    return values.astype(np.float32)[:, None, None]
