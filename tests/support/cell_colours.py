"""A network whose maps are mean colours, so that what is measured of it can be said beforehand."""

import torch
from torch import nn

from partwhole.models.resnet import Features


class CellColours(nn.Module):
    """Sees the mean colours of a 4 x 4 grid; weights (4, 4) says how much of each cell counts in the pooled
    vector.
    """

    def __init__(self, weights=None):
        super().__init__()
        self.unused, self.weights = nn.Parameter(torch.zeros(1)), weights

    def forward(self, pixels):
        maps = nn.functional.adaptive_avg_pool2d(pixels, 4)
        weighted = maps if self.weights is None else maps * self.weights
        return Features(maps, weighted.mean((2, 3)))
