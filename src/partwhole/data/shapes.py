"""The ten shape classes of the scenes, as signed distances: negative inside, positive outside, 1 = the
shape's radius.
"""

from collections.abc import Callable

import numpy as np

Array = np.ndarray


def disc(x: Array, y: Array) -> Array:
    return np.hypot(x, y) - 0.92


def ring(x: Array, y: Array) -> Array:
    return np.abs(np.hypot(x, y) - 0.7) - 0.25


def square(x: Array, y: Array) -> Array:
    return _box(x, y, 0.7, 0.7)


def triangle(x: Array, y: Array) -> Array:
    y = y - 0.06
    return np.maximum(0.866 * np.abs(x) - 0.5 * y, y) - 0.48


def star(x: Array, y: Array) -> Array:
    """Five points: folded into one tenth of the plane, where the outline is one line from tip to notch."""
    angle = np.arctan2(x, -y)
    angle = np.abs(np.mod(angle + np.pi / 5, 2 * np.pi / 5) - np.pi / 5)
    radius = np.hypot(x, y)
    across, along = 0.45 * np.sin(np.pi / 5), 1 - 0.45 * np.cos(np.pi / 5)
    return ((radius * np.cos(angle) - 1) * across + radius * np.sin(angle) * along) / np.hypot(across, along)


def cross(x: Array, y: Array) -> Array:
    return np.minimum(_box(x, y, 0.95, 0.3), _box(x, y, 0.3, 0.95))


def crescent(x: Array, y: Array) -> Array:
    return np.maximum(np.hypot(x, y) - 0.95, 0.74 - np.hypot(x - 0.42, y))


def heart(x: Array, y: Array) -> Array:
    """A square on its tip, with half discs on its upper sides."""
    x, y = np.abs(x), y - 0.07
    side = 0.5
    tip = _box((x + y) * 0.7071, (y - x) * 0.7071, side, side)
    lobe = np.hypot(x - side * 0.7071, y + side * 0.7071) - side
    return np.minimum(tip, lobe)


def arrow(x: Array, y: Array) -> Array:
    """Points up: a head on a shaft."""
    head = np.maximum((0.8 * np.abs(x) - 0.6 * (y + 0.95)), y - 0.1)
    return np.minimum(head, _box(x, y - 0.45, 0.26, 0.5))


def hourglass(x: Array, y: Array) -> Array:
    return np.maximum(0.8 * np.abs(x) - 0.6 * np.abs(y) - 0.08, np.abs(y) - 0.75)


def _box(x: Array, y: Array, half_width: float, half_height: float) -> Array:
    return np.maximum(np.abs(x) - half_width, np.abs(y) - half_height)


SHAPES: dict[str, Callable[[Array, Array], Array]] = {
    shape.__name__: shape
    for shape in (disc, ring, square, triangle, star, cross, crescent, heart, arrow, hourglass)
}
