"""Where to crop. A sampler turns image sizes and uniform numbers into boxes; it never sees a pixel."""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from partwhole.errors import BadInput

ATTEMPTS = 10


class RandomResizedCrop:
    """A box of random area and aspect ratio, then a random place for it (Inception crop; torchvision's
    algorithm).

    scale: the box's share of the image's area, uniform between the two.  ratio: width / height, uniform in
    its
    logarithm. Ten boxes are drawn and the first that fits is used; where none fits, the largest central box
    of an allowed ratio.
    One crop takes `uniforms` uniform numbers: an area and a ratio for each attempt, then top and left.
    """

    uniforms = 2 * ATTEMPTS + 2

    def __init__(self, scale: tuple[float, float] = (0.08, 1.0), ratio: tuple[float, float] = (3 / 4, 4 / 3)):
        for name, (low, high) in (("scale", scale), ("ratio", ratio)):
            if not 0 < low <= high:
                raise BadInput(f"{name} is ({low}, {high}); expected two positive numbers, the smaller first")
        self.scale, self.ratio = scale, ratio

    def __call__(
        self, sizes: Tensor, boxes: Tensor | None, u: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Top, left, height and width, each int64 (B,).

        sizes: int64 (B, 2), height and width of each image.  boxes: (B, 4), for samplers that place crops by
        them: top, left, bottom, right as shares of the sides.  u: (B, uniforms) in [0, 1).
        """
        if u.shape != (len(sizes), self.uniforms):
            raise BadInput(
                f"u has shape {tuple(u.shape)}; a crop of {len(sizes)} images takes ({len(sizes)}, "
                f"{self.uniforms})"
            )
        # Double: a box must not depend on the device's float32 exp.
        u, (tall, wide) = (u.double(), sizes.double().unbind(1))
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

        first, any_fits = fits.int().argmax(1, keepdim=True), fits.any(1)
        height = torch.where(any_fits, heights.gather(1, first)[:, 0], height)
        width = torch.where(any_fits, widths.gather(1, first)[:, 0], width)
        rows, columns = (None, None) if boxes is None else (boxes[:, 0::2], boxes[:, 1::2])
        top = torch.where(any_fits, self.starts(tall, height, rows, u[:, -2]), top)
        left = torch.where(any_fits, self.starts(wide, width, columns, u[:, -1]), left)
        return top.long(), left.long(), height.long(), width.long()

    def starts(self, room: Tensor, extent: Tensor, ends: Tensor | None, u: Tensor) -> Tensor:
        """First rows (or columns) of crops of `extent` (B,) in images of `room` (B,), from u (B,).  ends: of
        a box, not used.
        """
        return (u * (room - extent + 1)).floor()

    def begin(
        self, images: int, epochs: int, size: int, device: torch.device, truth: Tensor | None = None
    ) -> None:
        """Before training on so many images, seen at `size`. Nothing to prepare here, and nothing to learn
        below.

        truth: (images, M, 4), the true boxes of the objects where they are known, for samplers that ask for
        them.
        """

    def boxes_of(self, index: Tensor) -> Tensor | None:
        return None

    def before_epoch(self, epoch: int) -> None: ...

    def after_epoch(self, epoch: int, read_images: Callable) -> dict[str, float]:
        return {}

    def state_dict(self) -> dict:
        return {}

    def load_state_dict(self, state: dict) -> None: ...
