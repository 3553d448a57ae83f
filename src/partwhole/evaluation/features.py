"""Features of a frozen encoder: evaluation mode, no augmentation, no gradient; for evaluation in full precision."""

from collections.abc import Callable
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from partwhole.errors import BadInput
from partwhole.models.resnet import Features
from partwhole.views.photometric import normalise
from partwhole.views.resample import resample


@contextmanager
def frozen(encoder: nn.Module):
    """Evaluation mode and no gradients inside; afterwards every module is in the mode that it was in."""
    modes = [(module, module.training) for module in encoder.modules()]
    encoder.eval()
    try:
        with torch.no_grad():
            yield encoder
    finally:
        for module, mode in modes:
            module.training = mode


def features(encoder: nn.Module, images: Tensor, mean: tuple, std: tuple, **where) -> Tensor:
    """The encoder's pooled output for every image, in order: float32 (N, C), in full precision. Arguments as `over` takes them."""
    device = torch.device(where.get("device") or next(encoder.parameters()).device)
    with torch.autocast(device.type, enabled=False):
        return over(encoder, images, mean, std, lambda seen: seen.pooled, **where).float()


def over(
    encoder: nn.Module,
    images: Tensor,
    mean: tuple[float, float, float],
    std: tuple[float, float, float],
    read: Callable[[Features], Tensor],
    *,
    device: torch.device | str | None = None,
    batch: int = 512,
    size: int | None = None,
    sizes: Tensor | None = None,
) -> Tensor:
    """What `read` makes of the encoder's features of every image, in order: uint8 (N, H, W, 3) -> (N, ...) on `device`.

    mean, std: of each channel, in [0, 1].  device: the encoder's where it is not given; images may lie elsewhere, also
    memory-mapped, since one batch moves at a time.  size: resize each whole image to (size, size) first; as they are
    where it is not given.  sizes: int (N, 2), height and width of the valid part of padded images, which then need `size`.
    Draws no random numbers, and leaves the encoder as it was, its mode and BatchNorm's running statistics included.
    """
    if sizes is not None and size is None:
        raise BadInput("images of unequal size need a size to be evaluated at; pass size")
    device = torch.device(device or next(encoder.parameters()).device)
    parts = []
    with frozen(encoder):
        for start in range(0, len(images), batch):
            own = slice(start, start + batch)
            with torch.autocast(device.type, enabled=False):  # bf16 would cost a grey level
                pixels = whole(images[own].to(device), size, None if sizes is None else sizes[own].to(device))
                pixels = normalised(pixels, mean, std)
            parts.append(read(encoder(pixels)))
    return torch.cat(parts)


def whole(images: Tensor, size: int | None, sizes: Tensor | None) -> Tensor:
    """Whole images, uncropped: uint8 (B, H, W, 3) -> float32 (B, 3, S, S) in [0, 1]; resized only where `size` asks for it."""
    if sizes is None and size in (None, images.shape[1]) and (size is None or images.shape[1] == images.shape[2]):
        return images.permute(0, 3, 1, 2).float() / 255
    if sizes is None:
        sizes = torch.tensor(images.shape[1:3], device=images.device).expand(len(images), 2)
    height, width = sizes.long().unbind(1)
    corner = torch.zeros_like(height)
    return resample(images, corner, corner, height, width, corner.bool(), size)


def normalised(pixels: Tensor, mean: tuple, std: tuple) -> Tensor:
    """What the encoder is fed: (x - mean) / std of each channel, in its memory order."""
    return normalise(pixels, mean, std).contiguous(memory_format=torch.channels_last)
