"""Ten families of texture for the scenes, and colours in OKLCH, where equal steps look equal."""

from collections.abc import Callable

import numpy as np

Array = np.ndarray
TAU = 2 * np.pi


def srgb(lightness: Array, chroma: Array, hue: Array) -> Array:
    """OKLCH (lightness and chroma in 0..1, hue in turns), each (...,), to sRGB in [0, 1], (..., 3), clipped
    to its gamut.
    """
    a, b = chroma * np.cos(TAU * hue), chroma * np.sin(TAU * hue)
    cones = np.stack(
        [
            lightness + 0.3963377774 * a + 0.2158037573 * b,
            lightness - 0.1055613458 * a - 0.0638541728 * b,
            lightness - 0.0894841775 * a - 1.2914855480 * b,
        ],
        axis=-1,
    )
    mixing = np.array(
        [
            [4.0767416621, -3.3077115913, 0.2309699292],
            [-1.2684380046, 2.6097574011, -0.3413193965],
            [-0.0041960863, -0.7034186147, 1.7076147010],
        ]
    )
    linear = np.clip(cones**3 @ mixing.T, 0, 1)
    return np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055).astype(
        np.float32
    )


def soft(wave: Array, blur: Array) -> Array:
    """A wave in [-1, 1] to a two-tone pattern in [0, 1] whose edges are `blur` wide."""
    return np.clip(0.5 + 0.5 * wave / blur, 0, 1)


# Each family: u, v (B, H, W), coordinates turned and scaled per image to about one period a unit; q (B, 4, 1,
# 1) uniform numbers; blur (B, 1, 1), the width of an edge that one pixel can show. Returns (B, H, W) in [0,
# 1].


def gradient(u: Array, v: Array, q: Array, blur: Array) -> Array:
    return np.clip(0.5 + 0.3 * u, 0, 1) + 0 * v


def stripes(u: Array, v: Array, q: Array, blur: Array) -> Array:
    return soft(np.sin(TAU * (u + q[:, 0])), blur) + 0 * v


def checks(u: Array, v: Array, q: Array, blur: Array) -> Array:
    return soft(np.sin(TAU * (0.7 * u + q[:, 0])) * np.sin(TAU * (0.7 * v + q[:, 1])), blur)


def dots(u: Array, v: Array, q: Array, blur: Array) -> Array:
    return soft(np.cos(TAU * (u + q[:, 0])) + np.cos(TAU * (v + q[:, 1])) - 0.7, 1.2 * blur)


def waves(u: Array, v: Array, q: Array, blur: Array) -> Array:
    return soft(np.sin(TAU * (u + 0.22 * np.sin(TAU * 0.8 * (v + q[:, 1])) + q[:, 0])), blur)


def rings(u: Array, v: Array, q: Array, blur: Array) -> Array:
    return soft(np.sin(TAU * (np.hypot(u + 2 * q[:, 0] - 1, v + 2 * q[:, 1] - 1) + q[:, 2])), blur)


def rays(u: Array, v: Array, q: Array, blur: Array) -> Array:
    across, along = u + 2 * q[:, 0] - 1, v + 2 * q[:, 1] - 1
    return soft(
        np.sin(8 * np.arctan2(across, along)), np.minimum(1, blur / (0.3 + np.hypot(across, along)) * 2)
    )


def clouds(u: Array, v: Array, q: Array, blur: Array) -> Array:
    one = np.sin(TAU * (0.5 * u + 0.3 * np.sin(TAU * (0.31 * v + q[:, 0])) + q[:, 1]))
    two = np.sin(TAU * (0.47 * v + 0.3 * np.sin(TAU * (0.37 * u + q[:, 2])) + q[:, 3]))
    return 0.5 + 0.25 * (one + two)


def grid(u: Array, v: Array, q: Array, blur: Array) -> Array:
    lines = np.maximum(np.cos(TAU * (u + q[:, 0])), np.cos(TAU * (v + q[:, 1])))
    return soft(lines - 0.75, blur)


def speckle(u: Array, v: Array, q: Array, blur: Array) -> Array:
    """Grain: waves of unrelated directions and lengths, whose sum never repeats within an image."""
    total = np.zeros(np.broadcast_shapes(u.shape, v.shape), np.float32)
    for turn, length in ((0.1, 1.9), (0.9, 2.3), (1.7, 1.6), (2.6, 2.1)):
        total = total + np.sin(
            TAU * length * (np.cos(turn) * u + np.sin(turn) * v) + TAU * q[:, 0] * length * 7
        )
    return soft(total - 0.8, 1.5 * blur)


TEXTURES: dict[str, Callable[[Array, Array, Array, Array], Array]] = {
    texture.__name__: texture
    for texture in (gradient, stripes, checks, dots, waves, rings, rays, clouds, grid, speckle)
}


def texture(kind: Array, u: Array, v: Array, q: Array, blur: Array) -> Array:
    """The pattern of each image, (B, H, W) in [0, 1]: kind (B,) in 0..9, u and v (B, H, W), q (B, 4), blur
    (B,).
    """
    pattern = np.empty(u.shape, np.float32)
    for place, family in enumerate(TEXTURES.values()):
        rows = np.flatnonzero(kind == place)
        if len(rows):
            pattern[rows] = family(u[rows], v[rows], q[rows][:, :, None, None], blur[rows][:, None, None])
    return pattern
