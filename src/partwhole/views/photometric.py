"""Changes of colour and sharpness: pure functions on pixels (B, 3, H, W) in [0, 1], each with one parameter a
sample.

Values equal torchvision.transforms.v2.functional's on float images; every function returns a new tensor.
"""

import torch
from torch import Tensor

Planes = tuple[Tensor, Tensor, Tensor]  # red, green, blue, each (B, H, W)
BRIGHTNESS, CONTRAST, SATURATION, HUE = range(4)  # torchvision's numbers for the jitter's operations


def adjust_brightness(pixels: Tensor, factor: Tensor) -> Tensor:
    """clamp(f x).  factor f: (B,), at least 0."""
    return (pixels * factor[:, None, None, None]).clamp_(0, 1)


def adjust_contrast(pixels: Tensor, factor: Tensor) -> Tensor:
    """clamp(m + f (x - m)), where m is the image's mean luma.  factor f: (B,), at least 0."""
    mean = luma(*pixels.unbind(1)).mean((1, 2))[:, None, None, None]
    return torch.lerp(mean, pixels, factor[:, None, None, None]).clamp_(0, 1)


def adjust_saturation(pixels: Tensor, factor: Tensor) -> Tensor:
    """clamp(g + f (x - g)), where g is each pixel's luma.  factor f: (B,), at least 0."""
    grey = luma(*pixels.unbind(1))[:, None]
    return torch.lerp(grey, pixels, factor[:, None, None, None]).clamp_(0, 1)


def adjust_hue(pixels: Tensor, shift: Tensor) -> Tensor:
    """Turn the hue by a share of the full circle; value and chroma (HSV) stay.  shift: (B,) in
    [-1/2, 1/2].
    """
    return torch.stack(turn(*pixels.unbind(1), shift), 1)


def turn(red: Tensor, green: Tensor, blue: Tensor, shift: Tensor) -> Planes:
    """Hue, there and back, without the branches of the usual round trip; continuous where two channels tie.

    With value v, chroma c and hue h in sixths of a circle (red 0, green 2, blue -2):
    |h| = 2 + (g + b - r - v) / c, and h has the sign of g - b.  Back, with h in [-3, 3] and clamp to [0, 1]:
    r = v - c clamp(|h| - 1),  g = v - c clamp(2 - |h + 1|),  b = v - c clamp(2 - |h - 1|).
    """
    value = torch.maximum(torch.maximum(red, green), blue)
    chroma = value - torch.minimum(torch.minimum(red, green), blue)
    low = value.sub(chroma, alpha=2)
    hue = (green + blue).sub_(red).sub_(low).div_(chroma + 1e-20)  # no chroma, no hue: 0 / 1e-20
    hue = torch.copysign(hue, green - blue).add_(6 * shift[:, None, None])
    hue = hue.sub((hue / 6).round_(), alpha=6)
    red = (value + chroma).addcmul_(chroma, hue.abs().clamp_(1, 2), value=-1)
    green = low.addcmul(chroma, (hue + 1).abs_().clamp_(1, 2))
    blue = low.addcmul(chroma, (hue - 1).abs_().clamp_(1, 2))
    return red, green, blue


def jitter(
    pixels: Tensor,
    chosen: Tensor,
    order: Tensor,
    brightness: Tensor,
    contrast: Tensor,
    saturation: Tensor,
    hue: Tensor | None,
) -> Tensor:
    """Brightness, contrast, saturation and hue, in an order of its own for each chosen sample (torchvision's
    ColorJitter).

    chosen: bool (B,).  order: int64 (B, 4), a permutation of 0 ... 3 (brightness, contrast, saturation, hue),
    first one first.
    brightness, contrast, saturation, hue: (B,), the factors and the shift.  hue None: that operation is left
    out.

    The first three are one formula, clamp(t + f (x - t)), with t = 0, the mean luma or the luma, and f = 1
    changes nothing: a pass of `blend` applies to every sample its own. Hue costs three times as much and is
    done once for all: after the passes for what comes before it in a sample's order, and before the passes
    for what comes after it.
    """
    neutral = torch.ones_like(brightness)
    # (B, 4), by place in the order.
    factors = torch.stack((brightness, contrast, saturation, neutral), 1).gather(1, order)
    factors = factors.masked_fill(~chosen[:, None], 1.0)
    planes = pixels.unbind(1)
    if hue is None:
        return torch.stack(blend(*planes, order, factors), 1)
    late = (order == HUE).cumsum(1) > 0  # at or after hue's place
    planes = blend(*planes, order[:, :3], factors.masked_fill(late, 1.0)[:, :3])
    planes = turn(*planes, hue.masked_fill(~chosen, 0.0))
    planes = blend(*planes, order[:, 1:], factors.masked_fill(~late, 1.0)[:, 1:])
    return torch.stack(planes, 1)


def blend(red: Tensor, green: Tensor, blue: Tensor, operations: Tensor, factors: Tensor) -> Planes:
    """One pass for each column of operations and factors, (B, passes): clamp(t + f (x - t)) with the
    operation's t.
    """
    planes = red, green, blue
    uses_mean, uses_luma = (operations == CONTRAST).float(), (operations == SATURATION).float()
    for place in range(operations.shape[1]):
        grey = luma(*planes)
        mean = grey.mean((1, 2)).mul_(uses_mean[:, place])
        target = grey.mul_(uses_luma[:, place, None, None]).add_(mean[:, None, None])
        factor = factors[:, place, None, None]
        planes = tuple(torch.lerp(target, plane, factor).clamp_(0, 1) for plane in planes)
    return planes


def grayscale(pixels: Tensor, chosen: Tensor) -> Tensor:
    """All three channels become the luma where chosen, bool (B,)."""
    grey = luma(*pixels.unbind(1))[:, None]
    # Exact at 0 and 1; faster than where.
    return torch.lerp(pixels, grey, chosen.to(pixels.dtype)[:, None, None, None])


def blur(pixels: Tensor, chosen: Tensor, sigma: Tensor, *, kernel: int) -> Tensor:
    """Gaussian blur where chosen: a true kernel of `kernel` taps (odd), mirrored at the border.  chosen: bool
    (B,).  sigma: (B,).

    Two products with banded matrices, so that every sample has its own sigma.
    """
    reach = kernel // 2
    offset = torch.arange(-reach, reach + 1, device=pixels.device, dtype=torch.float32)
    taps = torch.softmax(-0.5 * (offset / sigma[:, None]) ** 2, 1)  # (B, kernel)
    taps = torch.where(chosen[:, None], taps, (offset == 0).float())
    down, across = (bands(taps, length) for length in pixels.shape[2:])
    return down[:, None] @ pixels @ across.mT[:, None]


def bands(taps: Tensor, length: int) -> Tensor:
    """(B, length, length) matrices that filter a line with each sample's taps (B, kernel), mirroring at its
    ends.
    """
    reach = taps.shape[1] // 2
    place = torch.arange(length, device=taps.device)
    source = (
        place[None, :] + torch.arange(-reach, reach + 1, device=taps.device)[:, None]
    ).abs()  # (kernel, length)
    source = length - 1 - (length - 1 - source).abs()
    hits = (source[:, :, None] == place).to(taps.dtype)  # (kernel, length, length)
    return (taps @ hits.flatten(1)).view(-1, length, length)


def solarise(pixels: Tensor, chosen: Tensor, *, threshold: float = 0.5) -> Tensor:
    """Invert values >= threshold where chosen, bool (B,)."""
    return torch.where(chosen[:, None, None, None] & (pixels >= threshold), 1 - pixels, pixels)


def normalise(pixels: Tensor, mean: tuple[float, ...], std: tuple[float, ...]) -> Tensor:
    """(x - mean) / std of each channel."""
    return torch.stack([(plane - m).div_(s) for plane, m, s in zip(pixels.unbind(1), mean, std)], 1)


def luma(red: Tensor, green: Tensor, blue: Tensor) -> Tensor:
    """Perceived lightness of each pixel, with torchvision's weights; a new tensor."""
    return (red * 0.2989).add_(green, alpha=0.587).add_(blue, alpha=0.114)
