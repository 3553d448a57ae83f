"""A network's alignment maps in figures: how even they are, where they point, whether two views of an image
agree.
"""

import torch
from torch import nn

from partwhole.data.image_set import ImageSet
from partwhole.evaluation import maps
from partwhole.evaluation.features import encoder_of, frozen, read_features
from partwhole.evaluation.subject import Subject
from partwhole.recipes.schema import Views
from partwhole.views.augment import Augment

IMAGES = 500  # test images that `measure` looks at


def map_figures(
    network: nn.Module,
    image_set: ImageSet,
    *,
    views: Views,
    size: int | None = None,
    scale: float = 1.0,
    seed: int = 0,
) -> dict[str, float]:
    """Evenness of a network's alignment maps, pointing where the set has boxes, and consistency over two
    views of every image.

    network: a method or an encoder, of any kind (evaluation.maps.mapper).  image_set: a few hundred images
    do.
    views: how views are made; crops are random resized ones.  size: of whole images when looked at; theirs
    where it is not given.
    """
    read = maps.mapper(network, scale)
    alignment = read_features(network, image_set, read, size=size)
    figures = maps.evenness(alignment)
    if image_set.boxes is not None:
        figures |= maps.pointing(alignment, image_set.boxes.to(alignment.device))
    augment = Augment(
        views.model_copy(update={"sampler": "random_resized_crop"}), image_set.mean, image_set.std
    )
    u = torch.rand(len(image_set), augment.uniforms, generator=torch.Generator().manual_seed(seed))
    device = alignment.device
    sizes = None if image_set.sizes is None else image_set.sizes.to(device)
    pair = augment(
        image_set.images.to(device), u.to(device), torch.arange(len(image_set), device=device), sizes=sizes
    ).globals
    with frozen(network):
        one, two = (read(encoder_of(network)(pixels)) for pixels in pair.pixels)
    return figures | maps.consistency(one, two, pair.crops)


def measure(subject: Subject) -> dict:
    first = subject.test.subset(torch.arange(min(IMAGES, len(subject.test))))
    return map_figures(subject.network, first, views=subject.recipe.views, size=subject.size)
