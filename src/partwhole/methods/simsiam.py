"""SimSiam (Chen & He, CVPR 2021, arXiv 2011.10566): a predictor and a stop-gradient, no negatives."""

import torch.nn.functional as F
from torch import Tensor

from partwhole.methods.base import Base, Level


class SimSiam(Base):
    """The target is the online network with its gradient stopped: nothing runs twice.

    Both directions, averaged (Eq. 4).
    """

    def level(self, channels: int) -> Level:
        projector = self.projector(channels, lambda width: self.norm.rows(width, affine=False))
        return Level(projector, self.predictor(), negative_cosine, self.mode)


def negative_cosine(predicted: Tensor, target: Tensor) -> Tensor:
    """-cos(p, stopgrad(z)) of each token: (B, T, D) and (B, T or 1, D) -> (B, T), in [-1, 1];
    SimSiam, Eq. 3.
    """
    return -F.cosine_similarity(predicted, target.detach(), dim=-1)
