"""All views of a batch: crops, flips, resampling and photometric changes, as one deterministic function of uniform numbers."""

from dataclasses import dataclass

import torch
from torch import Tensor

from partwhole.errors import BadInput, choice
from partwhole.views import photometric
from partwhole.views.contrastive_crop import ContrastiveCrop
from partwhole.views.crops import RandomResizedCrop
from partwhole.views.geometry import Crops
from partwhole.views.resample import resample

SAMPLERS = {"random_resized_crop": RandomResizedCrop, "contrastive_crop": ContrastiveCrop}
CACHE, MEMORY = 2**21, 2**29  # bytes that one chunk's pixels may take: eager on a CPU; otherwise
LOOK = (1, 4, 4, 1, 1, 1, 1)  # numbers for: jitter? its order, its factors, grayscale? blur? its sigma, solarise?


@dataclass
class Group:
    """Views of one kind and size: pixels float32 (V, B, 3, S, S), each pixels[v] channels_last, and their boxes, (V, B)."""

    pixels: Tensor
    top: Tensor
    left: Tensor
    height: Tensor
    width: Tensor
    flipped: Tensor

    @property
    def crops(self) -> Crops:
        """Where the views come from."""
        return Crops(self.top, self.left, self.height, self.width, self.flipped)


@dataclass
class Views:
    """What Augment makes of a batch: groups of views by kind, and which images they show, int64 (B,)."""

    groups: dict[str, Group]
    images: Tensor

    @property
    def globals(self) -> Group:
        return self.groups["global"]


class Augment:
    """Two views of every image as a recipe's `views` say: crop, flip, jitter, grayscale, blur, solarise, normalise.

    Every image takes `uniforms` numbers, as many whatever the settings, so that one seed gives one stream of crops.
    The same numbers give the same views: nothing is drawn here, no shape depends on a value, nothing leaves the device.
    """

    views = 2

    def __init__(self, settings, mean: tuple[float, float, float], std: tuple[float, float, float]):
        """settings: a recipe's `views` (recipes.schema.Views).  mean, std: of each channel, in [0, 1]."""
        if settings.sampler not in SAMPLERS:
            raise choice("sampler", settings.sampler, list(SAMPLERS))
        if len(mean) != 3 or len(std) != 3 or min(std) <= 0:
            raise BadInput(f"mean is {tuple(mean)}, std {tuple(std)}; expected three numbers each, and std above 0")
        self.settings, self.mean, self.std = settings, tuple(mean), tuple(std)
        own = getattr(settings, settings.sampler, None)  # a sampler's own settings lie under its name
        self.sampler = SAMPLERS[settings.sampler](settings.scale, settings.ratio, **(own.model_dump() if own else {}))
        self.uniforms = self.views * (self.sampler.uniforms + 1 + sum(LOOK))

    def __call__(
        self, images: Tensor, u: Tensor, index: Tensor, *, sizes: Tensor | None = None, boxes: Tensor | None = None
    ) -> Views:
        """images: uint8 (B, H, W, 3).  u: (B, uniforms) in [0, 1).  index: int64 (B,), which images of the set these are.

        sizes: integers (B, 2), height and width of the valid part of padded images.  boxes: (B, 4), for samplers that use them.
        """
        if images.dtype != torch.uint8 or images.ndim != 4 or images.shape[3] != 3:
            raise BadInput(f"images are {images.dtype} {tuple(images.shape)}; expected torch.uint8 (B, H, W, 3)")
        batch, tall, wide, _ = images.shape
        if u.shape != (batch, self.uniforms):
            raise BadInput(f"u has shape {tuple(u.shape)}; {batch} images take ({batch}, {self.uniforms})")
        if sizes is None:
            sizes = torch.stack([torch.full((batch,), side, device=images.device) for side in (tall, wide)], 1)
        if sizes.shape != (batch, 2):
            raise BadInput(f"sizes has shape {tuple(sizes.shape)}; {batch} images have ({batch}, 2), height and width")
        return self.make(images, u, index, sizes, boxes)

    def make(self, images: Tensor, u: Tensor, index: Tensor, sizes: Tensor, boxes: Tensor | None) -> Views:
        """What the call does once its arguments are known to be good."""
        batch, tall, wide, _ = images.shape
        u = torch.stack(u.chunk(self.views, 1))  # (V, B, numbers); a copy: compiled loops then divide no index
        u, look = u.split((self.sampler.uniforms + 1, sum(LOOK)), -1)
        crops = [torch.stack(parts) for parts in zip(*(self.sampler(sizes, boxes, view[:, :-1]) for view in u))]
        crops = Crops(*crops, flipped=u[..., -1] < self.settings.flip)

        step = max(1, self.budget(images) // (12 * max(tall * wide, self.views * self.settings.size**2)))
        chunks = [slice(start, start + step) for start in range(0, batch, step)]
        with torch.autocast(images.device.type, enabled=False):  # bf16 would cost a grey level
            pixels = [self.look(images[rows], crops[:, rows], look[:, rows]) for rows in chunks]
        pixels = torch.cat(pixels, 1) if len(pixels) > 1 else pixels[0]  # (V, B, S, S, 3)
        return Views({"global": Group(pixels.permute(0, 1, 4, 2, 3), **vars(crops))}, index)

    def compile(self) -> None:
        """From now on run as one compiled function."""
        self.make = torch.compile(self.make)

    @staticmethod
    def budget(images: Tensor) -> int:
        """Bytes for one chunk's pixels. Eager operations on a CPU run from its cache; elsewhere only memory is a limit."""
        return CACHE if images.device.type == "cpu" and not torch.compiler.is_compiling() else MEMORY

    def look(self, images: Tensor, crops: Crops, u: Tensor) -> Tensor:
        """Finished views of some images: crops (V, B), u (V, B, numbers) -> (V, B, S, S, 3)."""
        settings, u = self.settings, u.split(LOOK, -1)
        jittered, order, factors, greyed, blurred, sigma, solarised = (draw.flatten(0, 1) for draw in u)
        pixels = resample(images, **vars(crops), size=settings.size, interpolation=settings.interpolation).flatten(0, 1)
        if settings.jitter.probability > 0:
            chosen = jittered[:, 0] < settings.jitter.probability
            pixels = photometric.jitter(pixels, chosen, order.argsort(1), *self.strengths(factors))
        if settings.grayscale > 0:
            pixels = photometric.grayscale(pixels, greyed[:, 0] < settings.grayscale)
        if max(settings.blur.probability) > 0:
            chosen, sigma = below(blurred, settings.blur.probability), between(sigma[:, 0], *settings.blur.sigma)
            pixels = photometric.blur(pixels, chosen, sigma, kernel=settings.blur.kernel)
        if max(settings.solarise) > 0:
            pixels = photometric.solarise(pixels, below(solarised, settings.solarise))
        pixels = photometric.normalise(pixels, self.mean, self.std)
        return pixels.permute(0, 2, 3, 1).contiguous().unflatten(0, (self.views, -1))

    def strengths(self, u: Tensor) -> list[Tensor | None]:
        """Brightness, contrast and saturation factors and the hue's shift (None where it never moves), from u (B, 4)."""
        jitter = self.settings.jitter
        spreads = jitter.brightness, jitter.contrast, jitter.saturation
        factors = [between(u[:, i], max(0.0, 1 - spread), 1 + spread) for i, spread in enumerate(spreads)]
        return [*factors, between(u[:, 3], -jitter.hue, jitter.hue) if jitter.hue > 0 else None]


def between(u: Tensor, low: float, high: float) -> Tensor:
    """u in [0, 1) as a number in [low, high)."""
    return low + (high - low) * u


def below(u: Tensor, probability: tuple[float, ...]) -> Tensor:
    """Which of u (V B, 1) are below the probability of their view: bool (V B,)."""
    return torch.cat([view < p for view, p in zip(u[:, 0].chunk(len(probability)), probability)])
