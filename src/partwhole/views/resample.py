"""Crop, resize and flip as two batched matrix products, equal to PIL's crop and antialiased resize within one grey level."""

import torch
from torch import Tensor

from partwhole.errors import BadInput, choice


def triangle(distance: Tensor) -> Tensor:
    return (1 - distance.abs()).clamp(min=0)


def cubic(distance: Tensor) -> Tensor:
    """Keys' cubic with a = -1/2, PIL's."""
    x = distance.abs()
    near = (1.5 * x - 2.5) * x * x + 1
    far = ((-0.5 * x + 2.5) * x - 4) * x + 2
    return torch.where(x < 1, near, torch.where(x < 2, far, 0.0))


FILTERS = {"bilinear": triangle, "bicubic": cubic}


def filters(start: Tensor, length: Tensor, size: int, whole: int, *, interpolation: str = "bilinear", reverse: Tensor | None = None) -> Tensor:
    """(B, size, whole) matrices that resize the stretch [start, start + length) of `whole` pixels to `size` pixels.

    Row i is the filter around c_i = start + length (i + 1/2) / size, stretched by max(length / size, 1) (antialiasing), cut
    at the ends of the stretch, with sum 1.  start, length: int64 (B,).  reverse: bool (B,), rows in opposite order.
    """
    pixel = torch.arange(whole, device=start.device, dtype=torch.float32)
    middle = torch.arange(size, device=start.device, dtype=torch.float32) + 0.5
    start, length = start[:, None, None].float(), length[:, None, None].float()
    middle = middle[None, :, None]
    if reverse is not None:
        middle = torch.where(reverse[:, None, None], size - middle, middle)
    centre = start - 0.5 + middle * (length / size)
    inside = (pixel >= start) & (pixel < start + length)                                    # (B, 1, whole)
    stretch = (length / size).clamp(min=1)
    weights = FILTERS[interpolation]((pixel - centre) / stretch) * inside
    return weights / weights.sum(2, keepdim=True)


def resample(
    images: Tensor, top: Tensor, left: Tensor, height: Tensor, width: Tensor, flipped: Tensor, size: int, *, interpolation: str = "bilinear"
) -> Tensor:
    """The boxes of `images`, resized to (size, size) and mirrored where flipped: float32 (B, 3, size, size) in [0, 1].

    images: uint8 (B, H, W, 3).  Boxes int64 (B,), inside the images (and inside their valid part, where images are padded).
    """
    if images.dtype != torch.uint8 or images.ndim != 4 or images.shape[3] != 3:
        raise BadInput(f"images are {images.dtype} {tuple(images.shape)}; expected torch.uint8 (B, H, W, 3)")
    if interpolation not in FILTERS:
        raise choice("interpolation", interpolation, list(FILTERS))
    batch, tall, wide, _ = images.shape
    rows = filters(top, height, size, tall, interpolation=interpolation) / 255
    columns = filters(left, width, size, wide, interpolation=interpolation, reverse=flipped)
    pixels = torch.bmm(rows, images.view(batch, tall, wide * 3).float())                    # (B, S, W 3)
    pixels = pixels.view(batch, size, wide, 3).permute(0, 3, 1, 2).reshape(batch, 3 * size, wide)
    pixels = torch.bmm(pixels, columns.transpose(1, 2)).view(batch, 3, size, size)
    return pixels.clamp(0, 1)
