"""Changes of colour and sharpness: pure functions on pixels (B, 3, H, W) in [0, 1], each with one parameter a sample.

Values equal torchvision.transforms.v2.functional's on float images; every function returns a new tensor.
"""

import torch
from torch import Tensor

GREY = (0.2989, 0.587, 0.114)                                        # torchvision's luma
BRIGHTNESS, CONTRAST, SATURATION, HUE = range(4)                     # torchvision's numbers for the jitter's operations


def adjust_brightness(pixels: Tensor, factor: Tensor) -> Tensor:
    """clamp(f x).  factor f: (B,), at least 0."""
    return (pixels * per_sample(factor)).clamp_(0, 1)


def adjust_contrast(pixels: Tensor, factor: Tensor) -> Tensor:
    """clamp(m + f (x - m)), where m is the image's mean luma.  factor f: (B,), at least 0."""
    return torch.lerp(luma(pixels).mean((2, 3), keepdim=True), pixels, per_sample(factor)).clamp_(0, 1)


def adjust_saturation(pixels: Tensor, factor: Tensor) -> Tensor:
    """clamp(g + f (x - g)), where g is each pixel's luma.  factor f: (B,), at least 0."""
    return torch.lerp(luma(pixels), pixels, per_sample(factor)).clamp_(0, 1)


def adjust_hue(pixels: Tensor, shift: Tensor) -> Tensor:
    """Turn the hue by a share of the full circle; value v and chroma c (HSV) stay.  shift: (B,) in [-1/2, 1/2].

    With hue h in [-3, 3], red at 0, green at 2, blue at -2:
    red = v - c clamp(|h| - 1, 0, 1),  green = v - c clamp(2 - |h + 1|, 0, 1),  blue = v - c clamp(2 - |h - 1|, 0, 1).
    Continuous in the pixels, also where two channels tie, so no branch of the usual round trip is needed.
    """
    red, green, blue = pixels.unbind(1)
    value = torch.maximum(torch.maximum(red, green), blue)
    chroma = value - torch.minimum(torch.minimum(red, green), blue)
    hue = torch.where(green == value, (blue - red).add_(chroma, alpha=2), (red - green).sub_(chroma, alpha=2))
    hue = torch.where(red == value, green - blue, hue)
    hue.div_(chroma.clamp(min=1e-20)).add_(6 * shift[:, None, None])  # without chroma, no hue: 0 / 1e-20
    hue.sub_((hue / 6).round_(), alpha=6)
    low = value.sub(chroma, alpha=2)
    red = (value + chroma).addcmul_(chroma, hue.abs().clamp_(1, 2), value=-1)
    green = low.addcmul(chroma, (hue + 1).abs_().clamp_(1, 2))
    blue = low.addcmul_(chroma, hue.sub_(1).abs_().clamp_(1, 2))
    return torch.stack((red, green, blue), 1)


def jitter(
    pixels: Tensor, chosen: Tensor, order: Tensor, brightness: Tensor, contrast: Tensor, saturation: Tensor, hue: Tensor | None
) -> Tensor:
    """Brightness, contrast, saturation and hue, in an order of its own for each chosen sample (torchvision's ColorJitter).

    chosen: bool (B,).  order: int64 (B, 4), a permutation of 0 ... 3 (brightness, contrast, saturation, hue), first one first.
    brightness, contrast, saturation, hue: (B,), the factors and the shift.  hue None: that operation is left out.

    The first three are one formula, clamp(t + f (x - t)), with t = 0, the mean luma or the luma; f = 1 changes nothing.
    So a pass costs the same whichever it applies. Hue costs four times as much, and is done once: after the passes that
    come before it in a sample's order, and before the ones that come after it; the others of the six have f = 1.
    """
    ones = torch.ones_like(brightness)
    factors = torch.stack((brightness, contrast, saturation, ones), 1).gather(1, order)   # (B, 4), by place in the order
    factors = torch.where(chosen[:, None], factors, 1.0)
    if hue is None:
        for place in range(4):
            pixels = blend(pixels, order[:, place], factors[:, place])
        return pixels
    place_of_hue = (order == HUE).int().argmax(1)
    for place in range(3):
        pixels = blend(pixels, order[:, place], torch.where(place < place_of_hue, factors[:, place], 1.0))
    pixels = adjust_hue(pixels, torch.where(chosen, hue, 0.0))
    for place in range(1, 4):
        pixels = blend(pixels, order[:, place], torch.where(place > place_of_hue, factors[:, place], 1.0))
    return pixels


def blend(pixels: Tensor, operation: Tensor, factor: Tensor) -> Tensor:
    """clamp(t + f (x - t)) with the t of each sample's operation: brightness 0, contrast mean luma, saturation luma."""
    target = luma(pixels)
    mean = target.mean((2, 3), keepdim=True) * per_sample(operation == CONTRAST)
    target = target.mul_(per_sample(operation == SATURATION)).add_(mean)
    return torch.lerp(target, pixels, per_sample(factor)).clamp_(0, 1)


def grayscale(pixels: Tensor, chosen: Tensor) -> Tensor:
    """All three channels become the luma where chosen, bool (B,)."""
    return torch.where(per_sample(chosen), luma(pixels), pixels)


def blur(pixels: Tensor, chosen: Tensor, sigma: Tensor, *, kernel: int) -> Tensor:
    """Gaussian blur where chosen: a true kernel of `kernel` taps (odd), mirrored at the border.  chosen: bool (B,).  sigma: (B,).

    torchvision's gaussian_blur. Two products with banded matrices, so that every sample has its own sigma.
    """
    reach = kernel // 2
    offset = torch.arange(-reach, reach + 1, device=pixels.device, dtype=torch.float32)
    taps = torch.softmax(-0.5 * (offset / sigma[:, None]) ** 2, 1)                         # (B, kernel)
    taps = torch.where(chosen[:, None], taps, (offset == 0).float())
    down, across = (bands(taps, length) for length in pixels.shape[2:])
    return torch.einsum("bij,bcjk,blk->bcil", down, pixels, across)


def bands(taps: Tensor, length: int) -> Tensor:
    """(B, length, length) matrices that filter a line with each sample's taps (B, kernel), mirroring at its ends."""
    reach = taps.shape[1] // 2
    place = torch.arange(length, device=taps.device)
    source = (place[None, :] + torch.arange(-reach, reach + 1, device=taps.device)[:, None]).abs()   # (kernel, length)
    source = length - 1 - (length - 1 - source).abs()
    hits = (source[:, :, None] == place).to(taps.dtype)                                    # (kernel, length, length)
    return (taps @ hits.flatten(1)).view(-1, length, length)


def solarise(pixels: Tensor, chosen: Tensor, *, threshold: float = 0.5) -> Tensor:
    """Invert values >= threshold where chosen, bool (B,)."""
    return torch.where(per_sample(chosen) & (pixels >= threshold), 1 - pixels, pixels)


def normalise(pixels: Tensor, mean: tuple[float, ...], std: tuple[float, ...]) -> Tensor:
    """(x - mean) / std of each channel."""
    planes = [(plane - m) / s for plane, m, s in zip(pixels.unbind(1), mean, std)]
    return torch.stack(planes, 1)


def luma(pixels: Tensor) -> Tensor:
    """Perceived lightness of each pixel, (B, 1, H, W), a new tensor."""
    red, green, blue = pixels.split(1, 1)
    return (red * GREY[0]).add_(green, alpha=GREY[1]).add_(blue, alpha=GREY[2])


def per_sample(values: Tensor) -> Tensor:
    """(B,) -> (B, 1, 1, 1)."""
    return values[:, None, None, None]
