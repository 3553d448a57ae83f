"""What part of the image a position of the map can see, and the RF-ResNets that bound it.

The paper (CO-SSL) names RF99-ResNet50 and a field of 29 px for ResNet-18; which convolutions become 1x1, the
strides and the head are ours. Our rule gives these fields exactly; the published 23.7 M parameters it does
not (24.8 M with the head).
"""

import copy
from typing import NamedTuple

import torch
from torch import Tensor, nn

from partwhole.errors import BadInput
from partwhole.recipes.schema import Model

RESNET50 = {"block": "bottleneck", "blocks": (3, 4, 6, 3), "stem": "imagenet"}
NETWORKS = {  # by name: what goes into a recipe's `model`
    "rf99_resnet50": Model(**RESNET50, keep=(2, 2, 1, 1), head=2),
    "rf29_resnet18": Model(keep=(4, 2, 1, 1), head=2),
    "rf17_resnet18": Model(keep=(2, 2, 1, 0), last_stride=1, head=2),
}


class ReceptiveField(NamedTuple):
    """size: pixels along a side.  stride: pixels between the middles of neighbours.

    Position (row, column) is centred on pixel (stride row, stride column): the grid does not lie in the
    middle of the image.
    """

    size: int
    stride: int

    def window(self, row: int, column: int, side: int) -> tuple[int, int, int, int]:
        """Top, left, bottom, right (exclusive) of what a position sees of an image of `side` px."""
        reach = (self.size - 1) // 2
        low = [max(0, self.stride * place - reach) for place in (row, column)]
        high = [min(side, self.stride * place + reach + 1) for place in (row, column)]
        return *low, *high


def receptive_field(encoder: nn.Module) -> ReceptiveField:
    """That of the last map of an encoder of ours or any torchvision ResNet, by recursion over its layers.

    r <- r + (k - 1) j, j <- j s for kernel k and stride s, from r = j = 1; of parallel branches the wider.
    Exact where no weight is zero and normalisation is in evaluation mode: in training mode a position sees
    all images of the batch.
    """
    field = after(ReceptiveField(1, 1), encoder.conv1)
    if isinstance(encoder.maxpool, nn.MaxPool2d):
        field = after(field, encoder.maxpool)
    for stage in (encoder.layer1, encoder.layer2, encoder.layer3, encoder.layer4):
        for block in stage:
            shortcut = field if block.downsample is None else after(field, block.downsample[0])
            for name in ("conv1", "conv2", "conv3"):
                if hasattr(block, name):
                    field = after(field, getattr(block, name))
            field = ReceptiveField(max(field.size, shortcut.size), field.stride)
    return field


def after(field: ReceptiveField, layer: nn.Module) -> ReceptiveField:
    """The field behind a convolution or a pooling, square and possibly dilated."""
    kernel, stride, dilation = (
        value if isinstance(value, int) else value[0]
        for value in (layer.kernel_size, layer.stride, layer.dilation)
    )
    return ReceptiveField(field.size + dilation * (kernel - 1) * field.stride, field.stride * stride)


def visible(
    encoder: nn.Module, row: int, column: int, side: int, *, images: int = 12, seed: int = 0
) -> Tensor:
    """Which pixels of an image of `side` px a position's vector depends on, by gradients: bool (side, side).

    Leaves the encoder as it was. Its copy has weights of absolute values, so that nothing cancels, and is in
    evaluation mode, in float64; max-pooling hides pixels behind the largest, so it is the union over some
    random `images`.
    """
    network = copy.deepcopy(encoder).double().eval()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.abs_().add_(1e-3)
    support = torch.zeros(side, side, dtype=torch.bool)
    generator = torch.Generator().manual_seed(seed)
    for _ in range(images):
        pixels = torch.rand(1, 3, side, side, generator=generator, dtype=torch.float64).requires_grad_()
        maps = network(pixels).maps
        if not (row < maps.shape[2] and column < maps.shape[3]):
            raise BadInput(
                f"position ({row}, {column}) is not on the map of an image of {side} px, "
                f"{tuple(maps.shape[2:])}"
            )
        (gradient,) = torch.autograd.grad(maps[0, :, row, column].sum(), pixels)
        support |= (gradient[0] != 0).any(0)
    return support


def measured(encoder: nn.Module, side: int) -> int:
    """The receptive field's size by gradients, where its window lies inside an image of `side` px."""
    field = receptive_field(encoder)
    place = -(-((field.size - 1) // 2) // field.stride)  # the first that reaches no edge
    if field.stride * place + (field.size - 1) // 2 >= side:
        raise BadInput(
            f"an image of {side} px is smaller than the receptive field asked for ({field.size} px, "
            "centred on "
            f"pixel {field.stride * place}); use at least {field.stride * place + (field.size + 1) // 2} px"
        )
    rows = visible(encoder, place, place, side).any(1).nonzero()
    return int(rows.max() - rows.min()) + 1
