"""All views of a batch: crops, flips, resampling and photometric changes, as one deterministic function of uniform numbers."""

from dataclasses import dataclass

import torch
from torch import Tensor

from partwhole.errors import BadInput, choice
from partwhole.views import photometric
from partwhole.views.crops import RandomResizedCrop
from partwhole.views.geometry import Crops
from partwhole.views.resample import resample

SAMPLERS = {"random_resized_crop": RandomResizedCrop}


@dataclass
class Group:
    """Views of one kind and size: pixels float32 (V, B, 3, S, S), each pixels[v] channels_last, and their boxes, each (V, B)."""

    pixels: Tensor
    top: Tensor
    left: Tensor
    height: Tensor
    width: Tensor
    flipped: Tensor


@dataclass
class Views:
    """What Augment makes of a batch: groups of views by kind, and which images they show, int64 (B,)."""

    groups: dict[str, Group]
    images: Tensor

    @property
    def globals(self) -> Group:
        return self.groups["global"]


class Augment:
    """Two views of every image, as a recipe's `views` say: crop, flip, jitter, grayscale, blur, solarise, normalise.

    Every image takes `uniforms` numbers, the same count whatever the recipe, so one seed gives one stream of crops.
    The same numbers give the same views: nothing is drawn here, no shape depends on a value, nothing leaves the device.
    """

    views = 2
    colours = 13                                                     # numbers a view takes beside its crop's

    def __init__(self, settings, mean: tuple[float, ...], std: tuple[float, ...]):
        """settings: a recipe's views (recipes.schema.Views).  mean, std: of each channel, in [0, 1]."""
        if settings.sampler not in SAMPLERS:
            raise choice("sampler", settings.sampler, list(SAMPLERS))
        if len(mean) != 3 or len(std) != 3 or min(std) <= 0:
            raise BadInput(f"mean {tuple(mean)}, std {tuple(std)}; expected three numbers each, std above 0")
        self.settings, self.mean, self.std = settings, tuple(mean), tuple(std)
        self.sampler = SAMPLERS[settings.sampler](settings.scale, settings.ratio)
        self.uniforms = self.views * (self.sampler.uniforms + self.colours)

    def __call__(
        self, images: Tensor, u: Tensor, index: Tensor, *, sizes: Tensor | None = None, boxes: Tensor | None = None
    ) -> Views:
        """images: uint8 (B, H, W, 3).  u: (B, uniforms) in [0, 1).  index: int64 (B,), which images of the set these are.

        sizes: int64 (B, 2), height and width of the valid part of padded images.  boxes: (B, 4), for samplers that ask for them.
        """
        batch = len(images)
        if u.shape != (batch, self.uniforms):
            raise BadInput(f"u has shape {tuple(u.shape)}; {batch} images take ({batch}, {self.uniforms})")
        if sizes is None:
            sizes = torch.tensor([images.shape[1:3]], device=images.device).expand(batch, 2)
        made = [self.view(v, images, part, sizes, boxes) for v, part in enumerate(u.chunk(self.views, 1))]
        pixels, crops = zip(*made)
        fields = {name: torch.stack([getattr(crop, name) for crop in crops]) for name in vars(crops[0])}
        return Views({"global": Group(torch.stack(pixels), **fields)}, index)

    def view(self, v: int, images: Tensor, u: Tensor, sizes: Tensor, boxes: Tensor | None) -> tuple[Tensor, Crops]:
        settings = self.settings
        top, left, height, width = self.sampler(sizes, boxes, u[:, : self.sampler.uniforms])
        u = u[:, self.sampler.uniforms :]
        crops = Crops(top, left, height, width, flipped=u[:, 0] < settings.flip)
        pixels = resample(images, top, left, height, width, crops.flipped, settings.size, interpolation=settings.interpolation)
        pixels = photometric.jitter(pixels, **self.jitter(u[:, 1:10]))
        pixels = photometric.grayscale(pixels, u[:, 10] < settings.grayscale)
        if settings.blur.probability[v] > 0:
            pixels = photometric.blur(pixels, u[:, 11] < settings.blur.probability[v], between(u[:, 12], *settings.blur.sigma), kernel=settings.blur.kernel)
        if settings.solarise[v] > 0:
            pixels = photometric.solarise(pixels, u[:, 12] < settings.solarise[v])
        pixels = photometric.normalise(pixels, self.mean, self.std)
        return pixels.contiguous(memory_format=torch.channels_last), crops

    def jitter(self, u: Tensor) -> dict[str, Tensor]:
        """The jitter's parameters from u (B, 9): whether, order (4), factors (4)."""
        strength = self.settings.jitter
        factors = {
            name: between(u[:, 5 + i], max(0.0, 1 - getattr(strength, name)), 1 + getattr(strength, name))
            for i, name in enumerate(("brightness", "contrast", "saturation"))
        }
        hue = between(u[:, 8], -strength.hue, strength.hue) if strength.hue > 0 else None
        return {"chosen": u[:, 0] < strength.probability, "order": u[:, 1:5].argsort(1), "hue": hue, **factors}


def between(u: Tensor, low: float, high: float) -> Tensor:
    return low + (high - low) * u
