"""Features of a frozen encoder: evaluation mode, no augmentation, no gradient; for evaluation in full
precision.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torchvision.models.resnet import ResNet

from partwhole.arithmetic import full_precision
from partwhole.data.image_set import ImageSet
from partwhole.errors import BadInput
from partwhole.models.resnet import Encoder, Features, from_torchvision
from partwhole.views.photometric import normalise
from partwhole.views.resample import resample


@contextmanager
def frozen(network: nn.Module):
    """Evaluation mode and no gradients inside; afterwards every module is in the mode that it was in."""
    modes = [(module, module.training) for module in network.modules()]
    network.eval()
    try:
        with torch.no_grad():
            yield network
    finally:
        for module, mode in modes:
            module.training = mode


def features(network: nn.Module, image_set: ImageSet, **where) -> Tensor:
    """The encoder's pooled vector of every image, in order: float32 (N, C), in full precision.

    Arguments: `read_features`.
    """
    device = torch.device(where.get("device") or next(network.parameters()).device)
    with full_precision(device):
        return read_features(network, image_set, lambda features: features.pooled, **where).float()


def read_features(
    network: nn.Module,
    image_set: ImageSet,
    read: Callable[[Features], Tensor],
    *,
    device: torch.device | str | None = None,
    batch: int = 512,
    size: int | None = None,
) -> Tensor:
    """What `read` makes of the features of every whole image, in order: (N, ...) on `device`.

    network: an encoder, or a method, whose online encoder is asked and whose heads are in evaluation mode
    too.
    image_set: it says how to normalise; its images may lie on another device, also memory-mapped, since one
    batch moves at a time.  device: the network's where it is not given.  size: resize each image to (size,
    size) first; as they are where it is not given, which padded images of unequal size do not allow. Draws no
    random numbers, and leaves the network as it was, its modes and BatchNorm's running statistics included.
    """
    if image_set.sizes is not None and size is None:
        raise BadInput("images of unequal size need a size to be evaluated at; pass size")
    device = torch.device(device or next(network.parameters()).device)
    parts = []
    with frozen(network):
        for _, pixels in pixel_batches(image_set, device=device, batch=batch, size=size):
            with full_precision(device):
                pixels = normalised(pixels, image_set.mean, image_set.std)
            parts.append(read(encoder_of(network)(pixels)))
    return torch.cat(parts)


def pixel_batches(
    image_set: ImageSet, *, device: torch.device | str, batch: int = 512, size: int | None = None
) -> Iterator[tuple[slice, Tensor]]:
    """Every whole image, in order: which rows, and their pixels, float32 (B, 3, S, S) in [0, 1], on the
    device.
    """
    images, sizes = image_set.images, image_set.sizes
    for start in range(0, len(images), batch):
        rows = slice(start, start + batch)
        with full_precision(torch.device(device)):  # bf16 would cost a grey level
            yield (
                rows,
                whole(images[rows].to(device), size, None if sizes is None else sizes[rows].to(device)),
            )


def encoder_of(network: nn.Module) -> nn.Module:
    """A method's online encoder; an encoder is its own, and a torchvision ResNet becomes one that shares its
    parts.
    """
    encoder = getattr(network, "encoder", network)
    return (
        from_torchvision(encoder)
        if isinstance(encoder, ResNet) and not isinstance(encoder, Encoder)
        else encoder
    )


def whole(images: Tensor, size: int | None, sizes: Tensor | None) -> Tensor:
    """Whole images, uncropped: uint8 (B, H, W, 3) -> float32 (B, 3, S, S) in [0, 1]; resized only where
    `size` asks for it.
    """
    if (
        sizes is None
        and size in (None, images.shape[1])
        and (size is None or images.shape[1] == images.shape[2])
    ):
        return images.permute(0, 3, 1, 2).float() / 255
    if sizes is None:
        sizes = torch.tensor(images.shape[1:3], device=images.device).expand(len(images), 2)
    height, width = sizes.long().unbind(1)
    corner = torch.zeros_like(height)
    return resample(images, corner, corner, height, width, corner.bool(), size)


def normalised(pixels: Tensor, mean: tuple, std: tuple) -> Tensor:
    """What the encoder is fed: (x - mean) / std of each channel, in its memory order."""
    return normalise(pixels, mean, std).contiguous(memory_format=torch.channels_last)
