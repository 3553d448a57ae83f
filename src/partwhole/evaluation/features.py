"""Pooled features of a frozen encoder: evaluation mode, no augmentation, no gradient, full precision."""

from contextlib import contextmanager

import torch
from torch import Tensor, nn


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


def normalised(images: Tensor, mean: tuple, std: tuple) -> Tensor:
    """uint8 (B, H, W, 3) -> float32 (B, 3, H, W), channels_last: (value / 255 - mean) / std of each channel."""
    mean, std = (torch.tensor(values, device=images.device, dtype=torch.float32) for values in (mean, std))
    return ((images.float() / 255 - mean) / std).permute(0, 3, 1, 2)


def features(
    encoder: nn.Module,
    images: Tensor,
    mean: tuple[float, float, float],
    std: tuple[float, float, float],
    *,
    device: torch.device | str | None = None,
    batch: int = 512,
) -> Tensor:
    """The encoder's pooled output for every image, in order: uint8 (N, H, W, 3) -> float32 (N, C) on `device`.

    `device` is the encoder's where it is not given. Images may lie elsewhere, also memory-mapped: one batch moves at a time.
    Draws no random numbers, and leaves the encoder as it was, BatchNorm's running statistics included.
    """
    device = torch.device(device or next(encoder.parameters()).device)
    with frozen(encoder), torch.autocast(device.type, enabled=False):
        parts = [encoder(normalised(part.to(device), mean, std)).pooled for part in images.split(batch)]
    return torch.cat(parts).float()
