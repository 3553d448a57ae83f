"""Encoders: torchvision's ResNet blocks and parameter names, with a CIFAR or an ImageNet stem, of any depth
and width.

With `keep` they are RF-ResNets: most 3x3 convolutions become 1x1, so that a position of the map sees a small
part of the image (models.receptive_field).
"""

from typing import NamedTuple

import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import skip_init
from torchvision.models.resnet import BasicBlock, Bottleneck, ResNet

from partwhole.models.heads import mlp

BLOCKS = {"basic": BasicBlock, "bottleneck": Bottleneck}
SAFE_CHANNELS = 16  # from so many input channels on, torch's own strided 1x1 convolution is sound (Pointwise)


class Features(NamedTuple):
    """maps (B, C, h, w): the last stage's output, after its ReLU.  pooled (B, C): what the encoder's pooling
    makes of them.
    """

    maps: Tensor
    pooled: Tensor

    @property
    def positions(self) -> Tensor:
        """The local vectors: maps as (B, N, C), N = h w row by row."""
        return self.maps.flatten(2).mT


class Pointwise(nn.Conv2d):
    """A 1x1 convolution that drops positions first, by slicing, and then has stride 1.

    torch 2.15 on a CPU, float32, channels_last: the backward pass of a 1x1 convolution with stride 2 on fewer
    than 16 channels of 48 px or more writes beyond its memory (the process dies by "corrupted size", or goes
    on with other tensors damaged).
    """

    def forward(self, maps: Tensor) -> Tensor:
        down, along = self.stride
        return F.conv2d(maps[..., ::down, ::along], self.weight, self.bias)


def pointwise(convolution: nn.Conv2d) -> Pointwise:
    """A 1x1 convolution in the place of another one, same channels, stride and lack of bias.

    Its weights are not set.
    """
    return skip_init(
        Pointwise, convolution.in_channels, convolution.out_channels, 1, stride=convolution.stride, bias=False
    )


class Encoder(ResNet):
    """pixels (B, 3, S, S) -> Features.

    blocks: residual blocks in each of the four stages; (2, 2, 2, 2) of basic is ResNet-18, (3, 4, 6, 3)
    ResNet-34 or, of bottleneck, ResNet-50.  width: channels of the first stage (64 in the standard
    networks).  stem "cifar": 3x3, stride 1, padding 1, no pooling, so 32 px end as 4 x 4; "imagenet": 7x7,
    stride 2, then max-pooling, so 224 px end as 7 x 7.
    norm, row_norm: functions from a channel count to a normalisation layer of maps and of (B, C).  He et al.,
    CVPR 2016.
    keep: how many leading spatial convolutions of each stage (two a basic block, one a bottleneck) stay 3x3;
    the others become 1x1 without padding; None: all.  last_stride: of the last stage.  head: layers of an MLP
    after the pooling, each as wide as the map, with norm and ReLU between them; 0: none.  These three make an
    RF-ResNet (CO-SSL, Sec. 3; the rule is ours).
    pools_by_mean: whether `pooled` is the mean of `maps` over positions and nothing else, which LEWEL needs.
    """

    def __init__(
        self,
        block: str = "basic",
        blocks: tuple[int, ...] = (2, 2, 2, 2),
        width: int = 64,
        *,
        stem: str = "cifar",
        zero_init_residual: bool = False,
        norm=nn.BatchNorm2d,
        row_norm=nn.BatchNorm1d,
        keep: tuple[int, ...] | None = None,
        last_stride: int = 2,
        head: int = 0,
    ):
        nn.Module.__init__(self)  # torchvision's own constructor fixes the width and stem that are free here
        kind = BLOCKS[block]
        self._norm_layer, self.inplanes, self.dilation, self.groups, self.base_width = norm, width, 1, 1, 64
        small = stem == "cifar"
        self.conv1 = (
            nn.Conv2d(3, width, 3, 1, 1, bias=False) if small else nn.Conv2d(3, width, 7, 2, 3, bias=False)
        )
        self.bn1 = norm(width)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.Identity() if small else nn.MaxPool2d(3, 2, 1)
        for stage, (count, stride) in enumerate(zip(blocks, (1, 2, 2, last_stride))):
            setattr(self, f"layer{stage + 1}", self._make_layer(kind, width * 2**stage, count, stride))
        self.channels = width * 8 * kind.expansion
        self._make_pointwise(keep)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            elif zero_init_residual and isinstance(module, BLOCKS[block]):
                nn.init.zeros_((module.bn2 if block == "basic" else module.bn3).weight)
        self.head = mlp(self.channels, (self.channels,) * head, norm=row_norm) if head else None

    def _make_pointwise(self, keep: tuple[int, ...] | None) -> None:
        """Put 1x1 convolutions where `keep` asks for them, and safe ones in narrow strided shortcuts."""
        for stage, count in zip(self.stages, keep or (None,) * 4):
            for number, (block, name) in enumerate(spatial_convolutions(stage)):
                if count is not None and number >= count:
                    setattr(block, name, pointwise(getattr(block, name)))
            shortcut = stage[0].downsample
            if (
                shortcut is not None
                and shortcut[0].stride != (1, 1)
                and shortcut[0].in_channels < SAFE_CHANNELS
            ):
                shortcut[0] = pointwise(shortcut[0])

    @property
    def pools_by_mean(self) -> bool:
        return self.head is None

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
        """(B, C, h, w) -> (B, C): the mean over positions, then the head, where there is one."""
        return self.after_pooling(maps.mean((2, 3)))

    def after_pooling(self, vectors: Tensor) -> Tensor:
        """What follows the mean over positions: (B, C) -> (B, C)."""
        return vectors if self.head is None else self.head(vectors)


def spatial_convolutions(stage: nn.Sequential) -> list[tuple[nn.Module, str]]:
    """A stage's convolutions that are 3x3 in a standard network, in order: their block, and their
    name in it.
    """
    names = ("conv2",) if isinstance(stage[0], Bottleneck) else ("conv1", "conv2")
    return [(block, name) for block in stage for name in names]


def from_torchvision(network: ResNet) -> Encoder:
    """A torchvision ResNet, trained or not, as an encoder: it shares the network's parts but for its
    classifier.
    """
    wrapped = Encoder.__new__(Encoder)
    nn.Module.__init__(wrapped)
    for name in ("conv1", "bn1", "relu", "maxpool", "layer1", "layer2", "layer3", "layer4"):
        setattr(wrapped, name, getattr(network, name))
    last = wrapped.layer4[-1]
    wrapped.channels = (last.bn3 if isinstance(last, Bottleneck) else last.bn2).num_features
    wrapped.head = None
    wrapped.training = network.training  # of the parts each is in the mode that it was in
    return wrapped


def encoder(model, norm=nn.BatchNorm2d, row_norm=nn.BatchNorm1d) -> Encoder:
    """The encoder that a recipe's `model` part describes."""
    return Encoder(
        model.block,
        model.blocks,
        model.width,
        stem=model.stem,
        zero_init_residual=model.zero_init_residual,
        norm=norm,
        row_norm=row_norm,
        keep=model.keep,
        last_stride=model.last_stride,
        head=model.head,
    )
