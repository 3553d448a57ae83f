"""Arithmetic that must not be low: float32 or wider, with autocast off."""

from contextlib import AbstractContextManager

import torch
from torch import Tensor


def full_precision(device: torch.device) -> AbstractContextManager:
    """A context in which products keep the precision of their inputs.

    Casting the inputs alone is not enough: autocast would cast them back.
    """
    return torch.autocast(device.type, enabled=False)


def widened(values: Tensor) -> Tensor:
    """float32, or float64 where the values are: low precision goes up, double precision passes through."""
    return values if values.dtype == torch.float64 else values.float()
