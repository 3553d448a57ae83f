"""BYOL (Grill et al., NeurIPS 2020, arXiv 2006.07733): predict what a slowly moving target network makes of
the other view.
"""

import torch.nn.functional as F
from torch import Tensor

from partwhole.methods.base import Base, Level, both_ways


class BYOL(Base):
    """The two directions are *summed*, as in the paper: averaging them halves the learning rate in effect."""

    ema = True
    pairs = both_ways(1.0)

    def level(self, channels: int) -> Level:
        return Level(self.projector(channels), self.predictor(), squared_distance, self.mode)


def squared_distance(predicted: Tensor, target: Tensor) -> Tensor:
    """||p - t||^2 of unit vectors = 2 - 2 cos(p, stopgrad(t)): (B, T, D) and (B, T or 1, D) -> (B, T), in [0,
    4]; BYOL, Eq. 2.
    """
    return 2 - 2 * F.cosine_similarity(predicted, target.detach(), dim=-1)
