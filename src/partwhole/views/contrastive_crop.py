"""ContrastiveCrop (Peng et al., CVPR 2022): crop where the object is, but not twice the same.

Sizes are those of a random resized crop. What changes is the place: the crop's centre is drawn inside a box
(localisation), and towards the box's ends rather than its middle (centre suppression). Everything that the
paper compares is one of its settings: `alpha=1` is localisation alone, `box=(0, 0, 1, 1)` centre suppression
alone, `box=(0.25, 0.25, 0.75, 0.75)` the authors' later SimCCrop, and `warmup=1` random cropping throughout.
"""

import math
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from partwhole.errors import BadInput
from partwhole.views import localisation
from partwhole.views.crops import RandomResizedCrop

WHOLE = (0.0, 0.0, 1.0, 1.0)
BELOW_ONE = 1 - 2**-24  # the largest value that torch's own float32 Beta gives
A_THOUSANDTH = 1e-3  # of a pixel: what the float32 share of a box's edge may lose of a whole number
KNOTS, FINE = 4096, 2**18


def beta_quantiles(alpha: float, bend: int) -> Tensor:
    """The lower half of Beta(alpha, alpha)'s inverse distribution function as a table, float64 (KNOTS + 1,).

    Entry i belongs to u = (i / KNOTS)^bend / 2 and holds x^(alpha / bend), nearly a straight line where x is
    far from one. Below 1, where the density has a pole, F(x) is integrated over s = x^alpha: it is that of (1
    - s^(1/alpha))^(alpha - 1).
    """
    if alpha < 1:
        s = np.linspace(0, 0.5**alpha, FINE + 1)
        density = (1 - s ** (1 / alpha)) ** (alpha - 1)
    else:
        x = np.linspace(0, 0.5, FINE + 1)
        s, density = x ** (alpha / bend), (4 * x * (1 - x)) ** (alpha - 1)
    total = np.concatenate([[0], np.cumsum((density[1:] + density[:-1]) / 2)])
    return torch.from_numpy(np.interp(np.linspace(0, 1, KNOTS + 1) ** bend, total / total[-1], s))


class Beta:
    """Uniform numbers to Beta(alpha, alpha) numbers, one to one: close to 0 and 1 for small alpha, to 1/2 for
    large.

    bend: above alpha 2 the outermost of even knots would reach far into the image, so knots crowd at both
    ends. Exact to 5e-6 up to alpha 2, to 2e-5 up to 50.
    """

    def __init__(self, alpha: float):
        self.alpha, self.bend = alpha, 3 if alpha > 2 else 1
        self.table = beta_quantiles(alpha, self.bend)

    def __call__(self, u: Tensor) -> Tensor:
        """u: in [0, 1), any shape -> the same shape, float64."""
        if self.table.device != u.device:
            self.table = self.table.to(u.device)
        u = u.double()
        half = torch.minimum(u, 1 - u)
        place = 2 * KNOTS * half if self.bend == 1 else KNOTS * (2 * half) ** (1 / self.bend)
        knot = place.floor().clamp(max=KNOTS - 1).long()
        low, high = self.table[knot], self.table[knot + 1]
        x = (low + (high - low) * (place - knot)) ** (self.bend / self.alpha)
        return torch.where(u <= 0.5, x, 1 - x)


class Gaussian:
    """Uniform numbers to a Gaussian around 1/2, cut off at 0 and 1, one to one: what readers of the paper
    propose instead.
    """

    def __init__(self, sigma: float):
        self.sigma, self.tail = sigma, 0.5 * math.erfc(0.5 / sigma / math.sqrt(2))

    def __call__(self, u: Tensor) -> Tensor:
        """u: in [0, 1), any shape -> the same shape, float64."""
        return (0.5 + self.sigma * torch.special.ndtri(self.tail + (1 - 2 * self.tail) * u.double())).clamp(
            0, 1
        )


class Schedule:
    """Which epochs, counted from 1, crop by boxes, and after which the boxes are computed anew (the released
    code's rule).

    warmup, interval: shares of the epochs, in whole epochs, the interval at least one.
    """

    def __init__(self, epochs: int, warmup: float, interval: float):
        self.epochs, self.warmup, self.interval = (
            epochs,
            round(warmup * epochs),
            max(1, round(interval * epochs)),
        )

    def uses(self, epoch: int) -> bool:
        return epoch > self.warmup

    def updates(self, epoch: int) -> bool:
        return self.warmup <= epoch < self.epochs and epoch % self.interval == 0


class ContrastiveCrop(RandomResizedCrop):
    """A random resized crop whose centre lies in a box of the image, near the box's ends.

    alpha: of the Beta distribution of the centre; below 1 it prefers the ends, 1 is uniform.  sigma: a
    Gaussian instead.
    threshold, region: of the heatmap, and what of it becomes a box: the closure of all, or components, of
    which a pair gets one.
    box: the same for every image, top, left, bottom, right; learned from the encoder where it is None.
    oracle: the true box of each image's first object instead, throughout: for measuring what localisation
    could give.
    rounding: official, the released code's, which clips the ends of the range of places, never takes the last
    one, and loses a pixel where the float32 share of a box's edge, times the side, is not quite whole (at 96
    and 224 px, never at 32 or 64); unbiased, without either; clip_after, the paper's formula, which draws the
    centre first and then moves the crop inside.
    warmup, interval: see Schedule.
    """

    def __init__(
        self,
        scale: tuple[float, float] = (0.2, 1.0),
        ratio: tuple[float, float] = (3 / 4, 4 / 3),
        *,
        alpha: float = 0.6,
        sigma: float | None = None,
        threshold: float = 0.1,
        region: str = "closure",
        box: tuple[float, float, float, float] | None = None,
        oracle: bool = False,
        rounding: str = "official",
        warmup: float = 0.2,
        interval: float = 0.2,
    ):
        super().__init__(scale, ratio)
        self.draw = Beta(alpha) if sigma is None else Gaussian(sigma)
        self.threshold, self.region, self.box, self.rounding = threshold, region, box, rounding
        self.oracle = oracle
        self.warmup, self.interval = warmup, interval
        self.on = torch.tensor(True)

    def begin(
        self, images: int, epochs: int, size: int, device: torch.device, truth: Tensor | None = None
    ) -> None:
        """Before training: the schedule, and for each of so many images a box: around everything, the fixed
        or the true one.
        """
        self.size, self.schedule = size, Schedule(epochs, self.warmup, self.interval)
        count = localisation.COMPONENTS if self.region == "components" else 1
        self.boxes = torch.full((images, count, 4), torch.nan, device=device)
        self.boxes[:, 0] = torch.tensor(self.box or WHOLE, device=device)
        if self.oracle:
            if truth is None:
                raise BadInput(
                    "views.contrastive_crop.oracle asks for true boxes, and these images have none; use "
                    "scenes"
                )
            self.boxes[:, 0] = truth[:, 0].to(device)
        self.on, self.turn = torch.tensor(False, device=device), torch.tensor(0, device=device)

    def boxes_of(self, index: Tensor) -> Tensor:
        """The box that crops these images in this epoch, (B, 4).

        Of several regions each epoch takes the next one.
        """
        boxes = self.boxes[index]
        count = (~boxes[..., 0].isnan()).sum(1)
        return boxes[torch.arange(len(index), device=index.device), (self.turn + index) % count]

    def before_epoch(self, epoch: int) -> None:
        self.on.fill_(self.schedule.uses(epoch))
        self.turn.fill_(epoch)

    def after_epoch(self, epoch: int, read_images: Callable[[Callable], Tensor]) -> dict[str, float]:
        """Compute the boxes anew where the schedule says so; then their mean area and the share of those
        around everything.

        read_images: read_images(read) gives read(features) of every training image, whole and in order, by
        the online encoder in evaluation mode.
        """
        if self.box is not None or self.oracle or not self.schedule.updates(epoch):
            return {}
        self.boxes.copy_(read_images(self.locate))
        height, width = (self.boxes[:, 0, 2:] - self.boxes[:, 0, :2]).unbind(1)
        edge = (self.size - 1) / self.size - 1e-6  # where a box around everything ends
        whole = ((height >= edge) & (width >= edge)).float().mean()
        return {"box_area": (height * width).mean().item(), "box_whole": whole.item()}

    def locate(self, features) -> Tensor:
        """Boxes (B, M, 4) from the features of whole images, seen at the size of the views."""
        return localisation.boxes(features.maps, self.size, self.threshold, self.region)

    def state_dict(self) -> dict:
        return {"boxes": self.boxes}

    def load_state_dict(self, state: dict) -> None:
        self.boxes.copy_(state["boxes"])

    def starts(self, room: Tensor, extent: Tensor, ends: Tensor | None, u: Tensor) -> Tensor:
        """First rows (or columns) of crops of `extent` (B,) in images of `room` (B,), by the ends (B, 2) of
        boxes, from u (B,).
        """
        anywhere = super().starts(room, extent, ends, u)
        if ends is None:
            raise BadInput(
                "ContrastiveCrop needs a box for each image; pass boxes (B, 4): top, left, bottom, right"
            )
        x = self.draw(u).clamp(max=BELOW_ONE)
        first, last = room[:, None].mul(ends.double()).unbind(1)
        if self.rounding == "clip_after":
            within = (first + (last - first) * x - extent / 2).round()
            within = torch.minimum(within.clamp(min=0), room - extent)
        else:
            slack = 0.0 if self.rounding == "official" else A_THOUSANDTH
            first, last = (
                torch.minimum(((end + slack).floor() - (extent / 2).floor()).clamp(min=0), room - extent)
                for end in (first, last)
            )
            last = torch.maximum(first, last)
            span = last - first + (self.rounding == "unbiased")
            within = torch.minimum(first + (span * x).floor(), last)
        return torch.where(self.on, within, anywhere)
