"""Encoders: torchvision's ResNet blocks and parameter names, with a CIFAR or an ImageNet stem, of any depth and width."""

from typing import NamedTuple

from torch import Tensor, nn
from torchvision.models.resnet import BasicBlock, Bottleneck, ResNet

BLOCKS = {"basic": BasicBlock, "bottleneck": Bottleneck}


class Features(NamedTuple):
    """maps (B, C, h, w): the last stage's output, after its ReLU.  pooled (B, C): what the encoder's pooling makes of them."""

    maps: Tensor
    pooled: Tensor

    @property
    def positions(self) -> Tensor:
        """The local vectors: maps as (B, N, C), N = h w row by row."""
        return self.maps.flatten(2).mT


class Encoder(ResNet):
    """pixels (B, 3, S, S) -> Features.

    blocks: residual blocks in each of the four stages; (2, 2, 2, 2) of basic is ResNet-18, (3, 4, 6, 3) ResNet-34 or, of
    bottleneck, ResNet-50.  width: channels of the first stage (64 in the standard networks).  stem "cifar": 3x3, stride 1,
    padding 1, no pooling, so 32 px end as 4 x 4; "imagenet": 7x7, stride 2, then max-pooling, so 224 px end as 7 x 7.
    norm: a function from a channel count to a normalisation layer.  He et al., CVPR 2016.
    pools_by_mean: whether `pooled` is the mean of `maps` over positions and nothing else, which LEWEL needs.
    """

    pools_by_mean = True

    def __init__(
        self, block: str = "basic", blocks: tuple[int, ...] = (2, 2, 2, 2), width: int = 64, *, stem: str = "cifar",
        zero_init_residual: bool = False, norm=nn.BatchNorm2d,
    ):  # fmt: skip
        nn.Module.__init__(self)  # torchvision's own constructor fixes the width and stem that are free here
        kind = BLOCKS[block]
        self._norm_layer, self.inplanes, self.dilation, self.groups, self.base_width = norm, width, 1, 1, 64
        small = stem == "cifar"
        self.conv1 = nn.Conv2d(3, width, 3, 1, 1, bias=False) if small else nn.Conv2d(3, width, 7, 2, 3, bias=False)
        self.bn1 = norm(width)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.Identity() if small else nn.MaxPool2d(3, 2, 1)
        for stage, (count, stride) in enumerate(zip(blocks, (1, 2, 2, 2))):
            setattr(self, f"layer{stage + 1}", self._make_layer(kind, width * 2**stage, count, stride))
        self.channels = width * 8 * kind.expansion
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            elif zero_init_residual and isinstance(module, BLOCKS[block]):
                nn.init.zeros_((module.bn2 if block == "basic" else module.bn3).weight)

    @property
    def stages(self) -> tuple[nn.Sequential, ...]:
        """The four stages, from the first to the last."""
        return self.layer1, self.layer2, self.layer3, self.layer4

    def forward(self, pixels: Tensor) -> Features:
        maps = self.maxpool(self.relu(self.bn1(self.conv1(pixels))))
        for stage in self.stages:
            maps = stage(maps)
        return Features(maps, self.pool(maps))

    def pool(self, maps: Tensor) -> Tensor:
        """(B, C, h, w) -> (B, C): the mean over positions."""
        return maps.mean((2, 3))


def encoder(model, norm=nn.BatchNorm2d) -> Encoder:
    """The encoder that a recipe's `model` part describes."""
    return Encoder(model.block, model.blocks, model.width, stem=model.stem, zero_init_residual=model.zero_init_residual, norm=norm)
