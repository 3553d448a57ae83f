"""Do local crops that truly show different things lie further apart than those that show the same? For sets
with boxes.

Ours: the paper claims that local crops may differ since they can show different things, and no table of it
that could be read measures that.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from partwhole.data.image_set import ImageSet
from partwhole.errors import BadInput
from partwhole.evaluation.crop_vectors import auc, crop_vectors, views_with_locals
from partwhole.evaluation.localisation import pairs
from partwhole.evaluation.subject import Subject
from partwhole.views.geometry import Crops

IMAGES, DRAWS = 2000, 4  # test images that `measure` looks at, and pairs of local crops of each
HELD = 0.25  # the least share of an object's box in a crop that shows it
EDGES = (0.0, 0.1, 0.2, 0.3, 0.5)  # of crops' overlap: pairs are compared with pairs of like overlap


@dataclass
class Shown:
    """Of pairs of crops, (N,): whether both hold one object (same), whether none of the objects held is in
    both (different).

    Pairs that hold no object are neither.  overlap: the crops' intersection over union.
    """

    same: Tensor
    different: Tensor
    overlap: Tensor


def shown(crops: Crops, objects: Tensor, sizes: Tensor) -> Shown:
    """crops (2, N), in pixels; objects (N, K, 4), NaN where there are fewer; sizes (N, 2), height
    and width.
    """
    both = pairs(crops, objects, sizes, seen=HELD)
    held = (both.coverage.nan_to_num(0) >= HELD).any(2).any(0)
    return Shown(~both.false_positive, held & both.false_positive, both.overlap)


def object_figures(cosines: Tensor, pair: Shown) -> dict[str, float]:
    """Of cosines of pairs of local crops (N,), and of what they show.

    objects_same, objects_different: their mean cosines.  objects_gap: the first less the second, among pairs
    of like overlap, since crops that show one object overlap more.  objects_auc: the chance that a pair of
    the same has the higher cosine.
    objects_share: the share of different among both.  BadInput where a kind, or a like pair of it, is
    missing.
    """
    same, different = cosines[pair.same], cosines[pair.different]
    if not len(same) or not len(different):
        raise BadInput(
            "no local crops show the same object, or none show different ones; measure local_objects on "
            "more images"
        )
    bins = torch.bucketize(pair.overlap, torch.tensor(EDGES, device=cosines.device))
    gaps, weights = [], []
    for which in bins.unique().tolist():
        alike, apart = cosines[pair.same & (bins == which)], cosines[pair.different & (bins == which)]
        if len(alike) and len(apart):
            gaps.append((alike.mean() - apart.mean()).item())
            weights.append(min(len(alike), len(apart)))
    if not gaps:
        raise BadInput(
            "no two pairs of local crops overlap alike and differ in what they show; use more images"
        )
    return {
        "objects_same": same.mean().item(), "objects_different": different.mean().item(),
        "objects_gap": sum(gap * weight for gap, weight in zip(gaps, weights)) / sum(weights),
        "objects_auc": auc(same, different), "objects_share": len(different) / (len(same) + len(different)),
    }  # fmt: skip


def sizes_of(image_set: ImageSet) -> Tensor:
    """Height and width of every image's valid part, (N, 2)."""
    if image_set.sizes is not None:
        return image_set.sizes
    return torch.tensor(image_set.images.shape[1:3]).expand(len(image_set), 2)


def measure(subject: Subject) -> dict:
    """`object_figures` of a method's projected vectors, over several pairs of local crops of each
    test image.
    """
    if subject.test.boxes is None:
        raise BadInput(
            f"{subject.recipe.data.name} has no boxes, so what a crop shows is not known; use scenes, "
            "for example"
        )
    part = subject.test.subset(torch.arange(min(IMAGES, len(subject.test))))
    views, cosines, kinds = views_with_locals(subject.recipe.views), [], []
    for seed in range(DRAWS):
        vectors = crop_vectors(subject.network, part, views=views, seed=seed)
        cosines.append((vectors.locals[0] * vectors.locals[1]).sum(1))
        device = vectors.locals.device
        kinds.append(shown(vectors.crops, part.boxes.to(device), sizes_of(part).to(device)))
    joined = Shown(
        *(torch.cat([getattr(kind, name) for kind in kinds]) for name in ("same", "different", "overlap"))
    )
    return object_figures(torch.cat(cosines), joined)
