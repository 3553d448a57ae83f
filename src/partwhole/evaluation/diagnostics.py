"""What a trained network pools, measured on images of any set: its alignment maps, and the background's part in its vectors."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from partwhole.data.image_set import ImageSet
from partwhole.data.scenes import scenes
from partwhole.evaluation import maps
from partwhole.evaluation.features import features, frozen, over
from partwhole.models.resnet import Features
from partwhole.recipes.schema import Views
from partwhole.views.augment import Augment

SHIFTS = (1, 3, 7)  # backgrounds are swapped with those of images so many places further; no multiple of the number of classes


def trunk(network: nn.Module) -> nn.Module:
    """A method's online encoder; an encoder is its own."""
    return getattr(network, "encoder", network)


def seen_by(network: nn.Module, read: Callable[[Features], Tensor], image_set: ImageSet, mean, std, size: int | None) -> Tensor:
    """`read` of the features of every whole image, on the network's device, heads in evaluation mode too."""
    with frozen(network):
        return over(trunk(network), image_set.images, mean, std, read, size=size, sizes=image_set.sizes)


def map_figures(
    network: nn.Module, image_set: ImageSet, mean, std, *, views: Views, size: int | None = None, scale: float = 1.0, seed: int = 0
) -> dict[str, float]:
    """Evenness of a network's alignment maps, pointing where the set has boxes, and consistency over two views of every image.

    network: a method or an encoder, of any kind (evaluation.maps.mapper).  image_set: a few hundred images do.
    views: how views are made; crops are random resized ones.  size: of whole images when looked at; theirs where it is not given.
    """
    read = maps.mapper(network, scale)
    made = seen_by(network, read, image_set, mean, std, size)
    found = maps.evenness(made)
    if image_set.boxes is not None:
        found |= maps.pointing(made, image_set.boxes.to(made.device))
    augment = Augment(views.model_copy(update={"sampler": "random_resized_crop"}), mean, std)
    u = torch.rand(len(image_set), augment.uniforms, generator=torch.Generator().manual_seed(seed))
    place = made.device
    sizes = None if image_set.sizes is None else image_set.sizes.to(place)
    seen = augment(image_set.images.to(place), u.to(place), torch.arange(len(image_set), device=place), sizes=sizes).globals
    with frozen(network):
        one, two = (read(trunk(network)(pixels)) for pixels in seen.pixels)
    return found | maps.consistency(one, two, seen.crops)


def background_share(network: nn.Module, mean, std, *, count: int = 1000, setting: str = "plain", **controls) -> float:
    """The background's part in a network's pooled vectors, 0..1, on scenes whose objects and backgrounds are swapped (maps.moved).

    network: a method, an encoder, or any module from pixels to Features.  controls: of the scenes.  count: a multiple of 100.
    """
    shown = (scenes(count, setting=setting, seed=1, swap=swap, **controls) for swap in (0, *SHIFTS))
    swapped = [features(trunk(network), image_set.images, mean, std) for image_set in shown]
    blocks = [part.unflatten(0, (-1, 100)).transpose(0, 1) for part in swapped]  # (100, blocks, C): shifts go round in a block
    return sum(maps.moved(blocks[0], part, shift) for shift, part in zip(SHIFTS, blocks[1:])) / len(SHIFTS)
