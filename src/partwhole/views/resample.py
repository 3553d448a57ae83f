"""Crop, resize and flip as two batched matrix products, equal to PIL's crop and antialiased resize within one
grey level.
"""

import torch
from torch import Tensor

from partwhole.errors import BadInput, choice


def triangle(distance: Tensor) -> Tensor:
    """The kernel of bilinear interpolation."""
    return (1 - distance.abs()).clamp_(min=0)


def cubic(distance: Tensor) -> Tensor:
    """Keys' cubic with a = -1/2, PIL's."""
    x = distance.abs()
    near = (1.5 * x - 2.5) * x * x + 1
    far = ((2.5 - 0.5 * x) * x - 4) * x + 2
    return torch.where(x < 1, near, far).masked_fill_(x >= 2, 0.0)


FILTERS = {"bilinear": triangle, "bicubic": cubic}


def resample(
    images: Tensor,
    top: Tensor,
    left: Tensor,
    height: Tensor,
    width: Tensor,
    flipped: Tensor,
    size: int,
    *,
    interpolation: str = "bilinear",
) -> Tensor:
    """The boxes of `images`, resized to (size, size) and mirrored where flipped: float32 (..., B, 3, size,
    size) in [0, 1].

    images: uint8 (B, H, W, 3).  Boxes: int64 (B,), or (V, B) for V views of each image; inside the images,
    and inside their
    valid part where images are padded: no pixel outside a box is looked at.
    Bilinear is within one grey level of PIL's. Bicubic overshoots: PIL clips to [0, 255] after each of its
    two passes, this once at the end, so they are the same on average and differ by some levels beside hard
    edges.
    """
    if images.dtype != torch.uint8 or images.ndim != 4 or images.shape[3] != 3:
        raise BadInput(f"images are {images.dtype} {tuple(images.shape)}; expected torch.uint8 (B, H, W, 3)")
    if interpolation not in FILTERS:
        raise choice("interpolation", interpolation, list(FILTERS))
    batch, tall, wide, _ = images.shape
    planes = images.permute(0, 3, 1, 2).contiguous().float()  # (B, 3, H, W)
    rows = filters(top, height, size, tall, interpolation).view(-1, batch, size, tall)
    columns = filters(left, width, size, wide, interpolation, reverse=flipped).view(-1, batch, size, wide)
    pixels = [
        torch.bmm((row[:, None] @ planes).flatten(1, 2), column.mT) for row, column in zip(rows, columns)
    ]
    return torch.stack(pixels).mul_(1 / 255).clamp_(0, 1).view(*top.shape, 3, size, size)


def filters(
    start: Tensor,
    length: Tensor,
    size: int,
    whole: int,
    interpolation: str = "bilinear",
    reverse: Tensor | None = None,
) -> Tensor:
    """(..., size, whole) matrices that resize the stretch [start, start + length) of `whole` pixels to `size`
    pixels.

    Row i is the filter around c_i = start + length (i + 1/2) / size, stretched by max(length / size, 1)
    (antialiasing), cut at the ends of the stretch, with sum 1.  start, length: int64 (...).  reverse: bool
    (...), rows in opposite order.
    """
    pixel = torch.arange(whole, device=start.device, dtype=torch.float32)
    place = (torch.arange(size, device=start.device, dtype=torch.float32)[:, None] + 0.5) / size
    start, length = start[..., None, None].float(), length[..., None, None].float()
    if reverse is not None:
        place = torch.where(reverse[..., None, None], 1 - place, place)
    centre = start - 0.5 + length * place  # (..., size, 1)
    inside = (pixel >= start) & (pixel < start + length)  # (..., 1, whole)
    weights = FILTERS[interpolation]((pixel - centre) / (length / size).clamp(min=1)).mul_(inside)
    return weights.div_(weights.sum(-1, keepdim=True))
