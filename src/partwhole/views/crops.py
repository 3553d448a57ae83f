"""Where to crop. A sampler turns image sizes and uniform numbers into boxes; it never sees a pixel."""

import math

import torch
from torch import Tensor

from partwhole.errors import BadInput

ATTEMPTS = 10


class RandomResizedCrop:
    """A box of random area and aspect ratio, then a random place for it (Inception crop; torchvision's algorithm).

    scale: the box's share of the image's area, uniform between the two.  ratio: width / height, uniform in its logarithm.
    Ten boxes are drawn and the first that fits is used; where none fits, the largest central box of an allowed ratio.
    One crop takes `uniforms` uniform numbers: an area and a ratio for each attempt, then top and left.
    """

    uniforms = 2 * ATTEMPTS + 2

    def __init__(self, scale: tuple[float, float] = (0.08, 1.0), ratio: tuple[float, float] = (3 / 4, 4 / 3)):
        for name, (low, high) in (("scale", scale), ("ratio", ratio)):
            if not 0 < low <= high:
                raise BadInput(f"{name} is ({low}, {high}); expected two positive numbers, the smaller first")
        self.scale, self.ratio = scale, ratio

    def __call__(self, sizes: Tensor, boxes: Tensor | None, u: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Top, left, height and width, each int64 (B,).

        sizes: int64 (B, 2), height and width of each image.  boxes: not used here.  u: (B, uniforms) in [0, 1).
        """
        if u.shape != (len(sizes), self.uniforms):
            raise BadInput(f"u has shape {tuple(u.shape)}; a crop of {len(sizes)} images takes ({len(sizes)}, {self.uniforms})")
        u, (tall, wide) = u.double(), sizes.double().unbind(1)  # double: a box must not depend on the device's float32 exp
        low, high = self.scale
        area = (tall * wide)[:, None] * (low + (high - low) * u[:, :ATTEMPTS])
        low, high = math.log(self.ratio[0]), math.log(self.ratio[1])
        ratio = torch.exp(low + (high - low) * u[:, ATTEMPTS : 2 * ATTEMPTS])
        widths, heights = (area * ratio).sqrt().round(), (area / ratio).sqrt().round()  # (B, attempts)
        fits = (widths > 0) & (widths <= wide[:, None]) & (heights > 0) & (heights <= tall[:, None])

        low, high = self.ratio
        height = torch.where(wide < low * tall, (wide / low).round(), tall)  # none fits: as much as allowed
        width = torch.where(wide > high * tall, (tall * high).round(), wide)
        top, left = ((tall - height) / 2).floor(), ((wide - width) / 2).floor()

        first, found = fits.int().argmax(1, keepdim=True), fits.any(1)
        height = torch.where(found, heights.gather(1, first)[:, 0], height)
        width = torch.where(found, widths.gather(1, first)[:, 0], width)
        top = torch.where(found, (u[:, -2] * (tall - height + 1)).floor(), top)
        left = torch.where(found, (u[:, -1] * (wide - width + 1)).floor(), left)
        return top.long(), left.long(), height.long(), width.long()

    def after_epoch(self, encoder, image_set) -> None:
        """Nothing to learn."""
