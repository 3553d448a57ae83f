"""Where crops and boxes lie against the objects that are really there: for image sets that know their boxes.

Boxes are top, left, bottom, right as shares of the sides, float32; an image has up to M objects, NaN where
there are fewer.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from partwhole.data.image_set import ImageSet
from partwhole.views.crops import RandomResizedCrop
from partwhole.views.geometry import Crops


def area(boxes: Tensor) -> Tensor:
    """(..., 4) -> (...); 0 for a box that is turned inside out."""
    return (boxes[..., 2] - boxes[..., 0]).clamp(min=0) * (boxes[..., 3] - boxes[..., 1]).clamp(min=0)


def intersection(one: Tensor, two: Tensor) -> Tensor:
    """The area that two boxes share: (..., 4), (..., 4) -> (...)."""
    return area(torch.cat([torch.maximum(one, two)[..., :2], torch.minimum(one, two)[..., 2:]], -1))


def iou(one: Tensor, two: Tensor) -> Tensor:
    """Intersection over union: (..., 4), (..., 4) -> (...); NaN where a box is."""
    shared = intersection(one, two)
    return shared / (area(one) + area(two) - shared)


def around(objects: Tensor) -> Tensor:
    """The smallest box around all objects of an image: (N, M, 4) -> (N, 4)."""
    low, high = (
        objects[..., :2].nan_to_num(torch.inf).amin(1),
        objects[..., 2:].nan_to_num(-torch.inf).amax(1),
    )
    return torch.cat([low, high], 1)


def full(boxes: Tensor, size: int) -> Tensor:
    """Learned boxes name the last active row and column of a (size, size) image; the same boxes up to the far
    edge of these.
    """
    return boxes + boxes.new_tensor([0, 0, 1 / size, 1 / size])


def boxes_against_truth(boxes: Tensor, objects: Tensor, size: int) -> dict[str, float]:
    """How well learned boxes (N, M, 4), of images seen at `size`, meet the true objects (N, K, 4); means over
    images.

    box_iou: the learned box (where there are several regions, the box around them) with the box around all
    objects.
    object_iou: every object with the region that meets it best, averaged over the image's objects.
    """
    boxes, objects = full(boxes, size).cpu(), objects.cpu()
    # (N, K): the best region of each object.
    each = iou(boxes[:, :, None], objects[:, None]).nan_to_num(-1).amax(1)
    there = ~objects[..., 0].isnan()
    best = (each.clamp(min=0) * there).sum(1) / there.sum(1)
    return {"box_iou": iou(around(boxes), around(objects)).mean().item(), "object_iou": best.mean().item()}


def pair_figures(
    sampler: RandomResizedCrop, image_set: ImageSet, *, images: int = 10_000, seed: int = 0
) -> dict[str, float]:
    """What two crops of an image have in common, as a sampler crops now: means over the set's first images.

    pair_iou: their intersection over union.  false_pairs, where objects are known: the share of pairs that no
    object joins (Pairs.false_positive).
    """
    count = min(images, len(image_set))
    part, generator = image_set.part(0, count).to("cpu"), torch.Generator().manual_seed(seed)
    sizes = part.sizes
    if sizes is None:
        sizes = torch.tensor(part.images.shape[1:3]).expand(count, 2)
    boxes = sampler.boxes_of(torch.arange(count, device=image_set.images.device))
    crops = [
        torch.stack(sampler(sizes.long(), None if boxes is None else boxes.cpu(), u))
        for u in torch.rand(2, count, sampler.uniforms, generator=generator)
    ]
    both = Crops(*torch.stack(crops, 1), flipped=torch.zeros(2, count, dtype=torch.bool))
    if part.boxes is None:
        return {"pair_iou": pairs(both, torch.zeros(count, 1, 4), sizes).overlap.mean().item()}
    common = pairs(both, part.boxes, sizes)
    return {
        "pair_iou": common.overlap.mean().item(),
        "false_pairs": common.false_positive.float().mean().item(),
    }


@dataclass
class Pairs:
    """What two crops of an image show. overlap: (B,), their IoU.  coverage: (2, B, K), the share of each
    object in each crop.
    false_positive: bool (B,), there is no object of which both crops hold at least `seen` of its box.
    """

    overlap: Tensor
    coverage: Tensor
    false_positive: Tensor


def pairs(crops: Crops, objects: Tensor, sizes: Tensor, seen: float = 0.25) -> Pairs:
    """crops: (2, B), in pixels.  objects: (B, K, 4).  sizes: (B, 2), height and width of each image."""
    tall, wide = sizes.unbind(1)
    edges = [
        crops.top / tall,
        crops.left / wide,
        (crops.top + crops.height) / tall,
        (crops.left + crops.width) / wide,
    ]
    boxes = torch.stack(edges, -1).float()  # (2, B, 4)
    coverage = intersection(boxes[:, :, None], objects[None]) / area(objects)
    both = (coverage.nan_to_num(0) >= seen).all(0).any(1)
    return Pairs(iou(boxes[0], boxes[1]), coverage, ~both)
