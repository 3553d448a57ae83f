"""Where views come from, so that what is seen in one can be carried over to another."""

from dataclasses import dataclass

from torch import Tensor


@dataclass
class Crops:
    """Boxes in pixels of the whole image, always inside it, any one shape: int64 top, left, height, width;
    bool flipped.

    A flipped view shows its box mirrored left to right: column x of an S-wide view looks at left + width (S -
    x - 1/2) / S.
    """

    top: Tensor
    left: Tensor
    height: Tensor
    width: Tensor
    flipped: Tensor

    def __getitem__(self, index) -> "Crops":
        parts = self.top, self.left, self.height, self.width, self.flipped
        return Crops(*(part[index] for part in parts))
