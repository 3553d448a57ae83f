"""Crops and pairs of crops for the tests of ContrastiveCrop: samplers, boxes and seeds in, numbers out."""

from functools import lru_cache

import torch

from partwhole.views.contrastive_crop import WHOLE, ContrastiveCrop
from partwhole.views.crops import RandomResizedCrop

ROUNDINGS = ["official", "unbiased", "clip_after"]
CORNER, FAR_CORNER, CENTRE, SMALL = (
    (0, 0, 0.3, 0.3),
    (0.7, 0.7, 0.97, 0.97),
    (0.25, 0.25, 0.75, 0.75),
    (0.4, 0.4, 0.6, 0.6),
)
ALMOST_ONE = 1 - 2**-24
RANDOM = RandomResizedCrop((0.2, 1.0))


@lru_cache
def uniforms(rows, seed=0):
    return torch.rand(rows, ContrastiveCrop.uniforms, generator=torch.Generator().manual_seed(seed))


def crops(sampler, box=WHOLE, shape=(32, 32), rows=4000, u=None):
    """Top, left, height and width of one crop of each of so many images, int64 (4, rows); box: one for all,
    or (rows, 4).
    """
    u = uniforms(rows) if u is None else u
    sizes, boxes = (
        torch.tensor([shape]).expand(len(u), 2),
        torch.as_tensor(box, dtype=torch.float32).expand(len(u), 4),
    )
    return torch.stack(sampler(sizes, boxes, u))


def pairs(sampler, box=WHOLE, side=32, rows=40_000):
    """Two crops of each image: a pair of views."""
    return tuple(crops(sampler, box, (side, side), u=uniforms(rows, seed)) for seed in (1, 2))


def overlap(one, other):
    """Intersection over union of two crops, float64."""
    near, far = torch.maximum(one[:2], other[:2]), torch.minimum(one[:2] + one[2:], other[:2] + other[2:])
    inside = (far - near).clamp(min=0).prod(0).double()
    return inside / (one[2:].prod(0) + other[2:].prod(0) - inside)


def mean_overlap(sampler, box=WHOLE, side=32, rows=40_000):
    return overlap(*pairs(sampler, box, side, rows)).mean().item()


def ends(extent, box, room=32):
    """First and last place of crops of `extent` along one side, by a box's two ends: the released code, after
    its fix.
    """
    return [(int(room * end) - extent // 2).clamp(min=0).minimum(room - extent) for end in box]
