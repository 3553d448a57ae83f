"""Vectors of global and local crops of every image, made as in training: what LoGo's diagnostics look at."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from partwhole.arithmetic import full_precision
from partwhole.data.image_set import ImageSet
from partwhole.evaluation.features import encoder_of, frozen
from partwhole.methods.method import Method
from partwhole.models.resnet import Features
from partwhole.recipes.schema import LocalViews, Views
from partwhole.views.augment import Augment
from partwhole.views.geometry import Crops

# Shares of the image's area, where a recipe has no local crops.
GLOBAL_SCALE, LOCAL_SCALE = ((0.4, 1.0), (0.15, 0.4))
CHUNK = 500  # images in one pass


@dataclass
class CropVectors:
    """globals, locals: unit vectors of two crops of each image, float32 (2, N, D).  crops: the local ones,
    (2, N), in pixels.
    """

    globals: Tensor
    locals: Tensor
    crops: Crops


def views_with_locals(views: Views) -> Views:
    """A recipe's views, with random resized crops; LoGo's two area ranges, and locals of half the size, where
    it has none.
    """
    update = {"sampler": "random_resized_crop"}
    if views.local is None:
        local = LocalViews(size=max(1, views.size // 2), scale=LOCAL_SCALE)
        update |= {"scale": GLOBAL_SCALE, "local": local}
    return views.model_copy(update=update)


def projected(network: nn.Module) -> Callable[[Features], Tensor]:
    """How features become the vectors that are compared: a method's projected ones, an encoder's pooled ones,
    (B, D).
    """
    if isinstance(network, Method):
        return lambda features: network.levels["pooled"].project(features.pooled[:, None], "online")[:, 0]
    return pooled


def pooled(features: Features) -> Tensor:
    """An encoder's own vectors, (B, C)."""
    return features.pooled


def crop_vectors(
    network: nn.Module,
    image_set: ImageSet,
    *,
    views: Views,
    seed: int = 0,
    embed: Callable[[Features], Tensor] | None = None,
) -> CropVectors:
    """Two global and two local crops of every image through a network in evaluation mode.

    network: a method or an encoder.  views: with two local ones (`views_with_locals`).  embed: from features
    to vectors, `projected` where not given.  The same seed gives the same crops and colours, whatever the
    network.
    """
    augment, embed = Augment(views, image_set.mean, image_set.std), embed or projected(network)
    device, count = next(network.parameters()).device, len(image_set)
    numbers = torch.rand(count, augment.uniforms, generator=torch.Generator().manual_seed(seed))
    vectors: dict[str, list[Tensor]] = {"global": [], "local": []}
    crops = []
    with frozen(network), full_precision(device):
        for start in range(0, count, CHUNK):
            rows = slice(start, start + CHUNK)
            images, u = image_set.images[rows].to(device), numbers[rows].to(device)
            sizes = None if image_set.sizes is None else image_set.sizes[rows].to(device)
            augmented = augment(images, u, torch.arange(len(images), device=device), sizes=sizes)
            crops.append(augmented.locals.crops)
            for name, group in augmented.groups.items():
                each = [
                    F.normalize(embed(encoder_of(network)(pixels)).float(), dim=1) for pixels in group.pixels
                ]
                vectors[name].append(torch.stack(each))
    parts = (
        (getattr(part, name) for part in crops) for name in ("top", "left", "height", "width", "flipped")
    )
    both = Crops(*(torch.cat(list(part), 1) for part in parts))
    return CropVectors(torch.cat(vectors["global"], 1), torch.cat(vectors["local"], 1), both)


def auc(higher: Tensor, lower: Tensor) -> float:
    """The chance that a number of the first set exceeds one of the second, ties half: (N,), (M,) -> 0..1
    (Mann-Whitney).
    """
    ordered = lower.double().sort().values
    below = torch.searchsorted(ordered, higher.double(), right=False) + torch.searchsorted(
        ordered, higher.double(), right=True
    )
    return (below.double().mean() / (2 * len(lower))).item()
