"""Where a network pools: alignment maps of any trained encoder, against even maps, true boxes and the other
view of an image.

Maps are (B, N, D), D of them over N = h w positions, row by row, each with weights that sum to one.
"""

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from partwhole.methods.lewel import Lewel, alignment_maps, divergence
from partwhole.methods.method import Method
from partwhole.models.resnet import Features
from partwhole.views.geometry import Crops

POINTS = 8  # along each side of the part of an image that two crops share


def mapper(
    network: nn.Module, scale: float = 1.0, projector: nn.Module | None = None
) -> Callable[[Features], Tensor]:
    """A function from features to the alignment maps that a network makes of them, in evaluation mode.

    LEWEL makes its own. The projector of any other method is read as LEWEL would read it, and so are LEWEL's
    with uniform maps and the channels of an encoder without a projector; `scale` divides the logits of these.
    projector: (R, C) -> (R, D), one that was kept beside an encoder (models.saved.load_projector).
    """
    if isinstance(network, Lewel) and network.settings.maps != "uniform":
        return lambda features: network.alignment(features)[1]
    if isinstance(network, Method):
        projector = network.levels["pooled"].projector
    if projector is None:
        return lambda features: alignment_maps(positions(features), scale)

    def read(features: Features) -> Tensor:
        places = positions(features)
        return alignment_maps(projector(places.flatten(0, 1)).unflatten(0, places.shape[:2]), scale)

    return read


def positions(features: Features) -> Tensor:
    """The map (B, C, h, w) as (B, N, C)."""
    return features.maps.flatten(2).mT


def square(maps: Tensor) -> Tensor:
    """Maps of a square grid as images: (B, N, D) -> (B, D, h, h)."""
    side = round(maps.shape[1] ** 0.5)
    return maps.mT.unflatten(2, (side, side))


def evenness(maps: Tensor) -> dict[str, float]:
    """map_kl: mean divergence from even, in nats; map_entropy: log N less that; map_peak: mean largest
    weight, even being 1.
    """
    kl, positions = divergence(maps).mean().item(), maps.shape[1]
    return {
        "map_kl": kl,
        "map_entropy": math.log(positions) - kl,
        "map_peak": maps.amax(1).mean().item() * positions,
    }


def cover(boxes: Tensor, side: int) -> Tensor:
    """The share of every cell of a (side, side) grid that lies in a box: (B, 4) in 0..1 -> (B,
    side, side).
    """
    low = torch.arange(side, device=boxes.device) / side
    top, left, bottom, right = (edge[:, None] for edge in boxes.unbind(1))
    down, along = (
        (torch.minimum(high, low + 1 / side) - torch.maximum(start, low)).clamp(min=0) * side
        for start, high in ((top, bottom), (left, right))
    )
    return down[:, :, None] * along[:, None]


def pointing(maps: Tensor, objects: Tensor) -> dict[str, float]:
    """How maps (B, N, D) meet the box of each image's first object, (B, M, 4); means over images and maps.

    pointing: how often the middle of the heaviest cell lies in the box (the pointing game); pointing_chance:
    any cell instead;
    pointing_best: the map that points best on every other image, on the images between; pointing_fixed: the
    cell that does, the same for all images, which is what the best map must beat.
    map_inside: the share of the weight in the box; map_inside_even: that of even maps.
    """
    side, box = round(maps.shape[1] ** 0.5), objects[:, 0]
    middle = (torch.arange(side, device=maps.device) + 0.5) / side
    down, along = (
        (middle >= low[:, None]) & (middle < high[:, None])
        for low, high in ((box[:, 0], box[:, 2]), (box[:, 1], box[:, 3]))
    )
    inside = (down[:, :, None] & along[:, None]).flatten(1)  # (B, N): the middle of the cell
    hit = inside.gather(1, maps.argmax(1)).float()  # (B, D)
    best, fixed = hit[::2].mean(0).argmax(), inside[::2].float().mean(0).argmax()
    share = cover(box, side).flatten(1)  # (B, N): how much of the cell
    return {
        "pointing": hit.mean().item(),
        "pointing_chance": inside.float().mean().item(),
        "pointing_best": hit[1::2, best].mean().item(),
        "pointing_fixed": inside[1::2, fixed].float().mean().item(),
        "map_inside": torch.einsum("bnd,bn->bd", maps, share).mean().item(),
        "map_inside_even": share.mean().item(),
    }


def consistency(one: Tensor, two: Tensor, crops: Crops) -> dict[str, float]:
    """Does map k look at the same place in both views? maps (B, N, D) of each view, crops (2, B).

    Both maps are read, bilinearly, at 8 x 8 points of the part of the image that both crops show, and
    correlated over these points.
    consistency: map k with map k; consistency_shuffled: with all others; means over images that share at
    least a point's width.
    """
    top, left = torch.maximum(crops.top[0], crops.top[1]), torch.maximum(crops.left[0], crops.left[1])
    bottom, right = (
        torch.minimum(start[0] + extent[0], start[1] + extent[1])
        for start, extent in ((crops.top, crops.height), (crops.left, crops.width))
    )
    shared = (bottom - top >= 2) & (right - left >= 2)
    # (B, P, D) each.
    read = [
        read_at(maps, crops[view], top, left, bottom, right)[shared] for view, maps in enumerate((one, two))
    ]
    unit = [F.normalize(values - values.mean(1, keepdim=True), dim=1) for values in read]
    table = torch.einsum("bpd,bpe->bde", *unit).mean(0)  # correlations of every map with every other
    depth, same = len(table), table.diagonal().mean()
    others = (table.sum() - table.diagonal().sum()) / (depth * (depth - 1))
    return {"consistency": same.item(), "consistency_shuffled": others.item()}


def read_at(maps: Tensor, crop: Crops, top: Tensor, left: Tensor, bottom: Tensor, right: Tensor) -> Tensor:
    """Maps (B, N, D) of one view at POINTS x POINTS points of a part of the whole image, each bound (B,), in
    pixels: (B, P, D).
    """
    steps = (torch.arange(POINTS, device=maps.device) + 0.5) / POINTS
    y = top[:, None] + (bottom - top)[:, None] * steps
    x = left[:, None] + (right - left)[:, None] * steps
    y, x = (y - crop.top[:, None]) / crop.height[:, None], (x - crop.left[:, None]) / crop.width[:, None]
    x = torch.where(crop.flipped[:, None], 1 - x, x)
    grid = torch.stack(torch.broadcast_tensors(x[:, None], y[:, :, None]), -1) * 2 - 1
    sampled = F.grid_sample(
        square(maps).float(), grid.float(), mode="bilinear", padding_mode="border", align_corners=False
    )
    return sampled.flatten(2).mT


def moved(before: Tensor, after: Tensor, shift: int) -> float:
    """The background's share in vectors (n, C): `after` shows the same objects, image i on the background of
    image i + shift.

    Unit vectors; squared distance when only the background changes, over that plus the distance when only the
    object does. In 0..1.
    Vectors must be pooled alike: weights that go with the object, such as its box, make a change of place one
    of content.
    """
    before, after = F.normalize(before, dim=-1), F.normalize(after, dim=-1)
    background = (before - after).square().sum(-1).mean()
    content = (before.roll(-shift, 0) - after).square().sum(-1).mean()
    return (background / (background + content)).item()
