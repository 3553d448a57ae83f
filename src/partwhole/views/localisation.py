"""Where the object is, from an encoder's last feature map: a heatmap, a threshold, a box (ContrastiveCrop,
Sec. 3.2, Eq. 2).

Boxes are top, left, bottom, right as shares of the image's sides. As in the released code the bottom and the
right are the last
active row and column themselves, not one past them: a box around everything ends at (S - 1) / S.
"""

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from partwhole.arithmetic import widened

COMPONENTS = 4  # regions kept of an image


def heatmap(maps: Tensor) -> Tensor:
    """Features (B, C, h, w) summed over channels, then scaled to 0..1 in each image: (B, h, w), float32 or
    wider.

    A constant map gives 0.
    """
    heat = widened(maps).sum(1)
    heat = heat - heat.amin((1, 2), keepdim=True)
    peak = heat.amax((1, 2), keepdim=True)
    return heat / torch.where(peak > 0, peak, 1)


def active(heat: Tensor, size: int, threshold: float) -> Tensor:
    """Which pixels of a (size, size) image the heatmap (B, h, w), enlarged, puts above the threshold: bool
    (B, size, size).

    Where none is, all are: a constant map, or a threshold above the enlarged peak, says nothing about the
    place.
    """
    above = interpolate(heat[:, None], (size, size), mode="bilinear", align_corners=False)[:, 0] > threshold
    return above | ~above.any((1, 2), keepdim=True)


def closure(mask: Tensor) -> Tensor:
    """The smallest box around all that is active: bool (B, S, S), something active in each ->
    float32 (B, 4).
    """
    side, ends = mask.shape[-1], []
    for axis in (2, 1):
        line = mask.any(axis).byte()
        ends += [line.argmax(1), side - 1 - line.flip(1).argmax(1)]
    top, bottom, left, right = ends
    return torch.stack([top, left, bottom, right], 1).float() / side


def components(mask: Tensor, most: int = COMPONENTS) -> Tensor:
    """The smallest box around each connected region, the largest region first: bool (B, S, S) -> float32 (B,
    most, 4).

    Pixels that share a side are connected. NaN where an image has fewer regions. Takes as many rounds as the
    regions need.
    """
    batch, side, _ = mask.shape
    place = torch.arange(1, side * side + 1, device=mask.device).view(1, side, side)
    label = place * mask  # every region ends with the largest place in it
    while True:
        grown = label.clone()
        for there, here in ((slice(1, None), slice(None, -1)), (slice(None, -1), slice(1, None))):
            grown[:, here] = torch.maximum(grown[:, here], label[:, there])
            grown[:, :, here] = torch.maximum(grown[:, :, here], label[:, :, there])
        grown *= mask
        flat = grown.flatten(1)
        flat = flat.gather(1, (flat - 1).clamp(min=0))  # a leap: the label of the place that the label names
        grown = flat.view_as(grown) * mask
        if torch.equal(grown, label):
            break
        label = grown
    flat = label.flatten(1)
    area = torch.zeros(batch, side * side + 1, dtype=torch.long, device=mask.device).scatter_add_(
        1, flat, (flat > 0).long()
    )
    area, chosen = area[:, 1:].sort(dim=1, descending=True, stable=True)
    inside = label[:, None] == (chosen[:, :most] + 1).view(batch, -1, 1, 1)  # (B, most, S, S)
    boxes = closure((inside | ~inside.any((2, 3), keepdim=True)).flatten(0, 1)).view(batch, -1, 4)
    return torch.where(area[:, :most, None] > 0, boxes, torch.nan)


REGIONS = {"closure": lambda mask: closure(mask)[:, None], "components": components}


def boxes(maps: Tensor, size: int, threshold: float, region: str = "closure") -> Tensor:
    """From features (B, C, h, w) to boxes (B, M, 4): M is 1 for closure, COMPONENTS for components, NaN where
    there are fewer.
    """
    return REGIONS[region](active(heatmap(maps), size, threshold))
