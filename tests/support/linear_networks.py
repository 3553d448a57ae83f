"""Networks that can be reasoned about by hand: encoders in the place of ResNets."""

import torch
from torch import nn

from partwhole.data.image_set import ImageSet
from partwhole.models.resnet import Features


class Blocks(nn.Module):
    """Every `block` x `block` square of pixels is a local vector of its mean colours; pooled is
    their mean.
    """

    def __init__(self, block: int = 4):
        super().__init__()
        self.block, self.channels = block, 3
        self.scale = nn.Parameter(torch.ones(()))

    def forward(self, pixels):
        maps = nn.functional.avg_pool2d(pixels * self.scale, self.block)
        return Features(maps, self.after_pooling(maps.mean((2, 3))))

    def after_pooling(self, vectors):
        return vectors


def images(count: int = 20, side: int = 16, seed: int = 0, classes: int = 4) -> ImageSet:
    """Random images with random labels, normalised by nothing."""
    generator = torch.Generator().manual_seed(seed)
    pixels = torch.randint(0, 256, (count, side, side, 3), dtype=torch.uint8, generator=generator)
    labels = torch.randint(0, classes, (count,), generator=generator)
    return ImageSet(
        pixels, labels, classes=[str(c) for c in range(classes)], mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0)
    )


def probe(classes: int = 4, channels: int = 3, seed: int = 0) -> nn.Linear:
    torch.manual_seed(seed)
    return nn.Linear(channels, classes).requires_grad_(False)
