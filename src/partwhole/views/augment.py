"""All views of a batch: crops, flips, resampling and photometric changes, as one deterministic function of
uniform numbers.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from partwhole.arithmetic import full_precision
from partwhole.errors import BadInput
from partwhole.recipes import schema
from partwhole.views import photometric
from partwhole.views.contrastive_crop import ContrastiveCrop
from partwhole.views.crops import RandomResizedCrop
from partwhole.views.geometry import Crops
from partwhole.views.resample import resample

SAMPLERS: dict[str, type[RandomResizedCrop]] = {
    "random_resized_crop": RandomResizedCrop,
    "contrastive_crop": ContrastiveCrop,
}
GLOBAL, LOCAL = "global", "local"  # the names of the crop groups
CACHE, MEMORY = 2**21, 2**29  # bytes that one chunk's pixels may take: eager on a CPU; otherwise
# For: jitter? its order, its factors, grayscale? blur? its sigma, solarise?
COLOUR_NUMBERS = (1, 4, 4, 1, 1, 1, 1)


@dataclass
class Group:
    """Views of one kind and size: pixels float32 (V, B, 3, S, S), each pixels[v] channels_last, and their
    crops, (V, B).
    """

    pixels: Tensor
    crops: Crops


@dataclass
class Views:
    """What Augment makes of a batch: groups of views by name, and which images they show, int64 (B,)."""

    groups: dict[str, Group]
    images: Tensor

    @property
    def globals(self) -> Group:
        return self.groups[GLOBAL]

    @property
    def locals(self) -> Group | None:
        return self.groups.get(LOCAL)


@dataclass(frozen=True)
class GroupSettings:
    """How one crop group is made. blur, solarise: a probability for each of its views."""

    name: str
    size: int
    sampler: RandomResizedCrop
    blur: tuple[float, ...]
    solarise: tuple[float, ...]

    @property
    def count(self) -> int:
        return len(self.blur)

    @property
    def uniforms(self) -> int:
        """Numbers that one image takes: for each view a crop, a flip and the colours."""
        return self.count * (self.sampler.uniforms + 1 + sum(COLOUR_NUMBERS))


def groups_of(settings: schema.Views) -> tuple[GroupSettings, ...]:
    """The crop groups of a recipe's `views`: two global views, then the local ones where it asks for them."""
    options = getattr(settings, settings.sampler, None)  # a sampler's own settings lie under its name
    sampler = SAMPLERS[settings.sampler](
        settings.scale, settings.ratio, **(options.model_dump() if options else {})
    )
    groups = [GroupSettings(GLOBAL, settings.size, sampler, settings.blur.probability, settings.solarise)]
    if (local := settings.local) is not None:
        crop = RandomResizedCrop(local.scale, local.ratio)
        groups.append(
            GroupSettings(
                LOCAL, local.size, crop, (local.blur,) * local.count, (local.solarise,) * local.count
            )
        )
    return tuple(groups)


class Augment:
    """The views of every image as a recipe's `views` say: crop, flip, jitter, grayscale, blur, solarise,
    normalise.

    Every image takes `uniforms` numbers, as many whatever the colour settings, so that one seed gives one
    stream of crops; those of the global views come first, so that local views change none of them.
    The same numbers give the same views: nothing is drawn here, no shape depends on a value, nothing leaves
    the device.
    """

    def __init__(self, settings: schema.Views, mean: Sequence[float], std: Sequence[float]):
        """mean, std: of each channel, in [0, 1]: an ImageSet's."""
        self.settings, self.mean, self.std = settings, tuple(mean), tuple(std)
        self.groups = groups_of(settings)
        self.sampler = self.groups[0].sampler
        self.uniforms = sum(group.uniforms for group in self.groups)

    def __call__(
        self,
        images: Tensor,
        u: Tensor,
        index: Tensor,
        *,
        sizes: Tensor | None = None,
        boxes: Tensor | None = None,
    ) -> Views:
        """images: uint8 (B, H, W, 3).  u: (B, uniforms) in [0, 1).  index: int64 (B,), which images of the
        set these are.

        sizes: integers (B, 2), height and width of the valid part of padded images.  boxes: (B, 4), for
        samplers that use them.
        """
        if images.dtype != torch.uint8 or images.ndim != 4 or images.shape[3] != 3:
            raise BadInput(
                f"images are {images.dtype} {tuple(images.shape)}; expected torch.uint8 (B, H, W, 3)"
            )
        batch, tall, wide, _ = images.shape
        if u.shape != (batch, self.uniforms):
            raise BadInput(f"u has shape {tuple(u.shape)}; {batch} images take ({batch}, {self.uniforms})")
        if sizes is None:
            sizes = torch.stack(
                [torch.full((batch,), side, device=images.device) for side in (tall, wide)], 1
            )
        if sizes.shape != (batch, 2):
            raise BadInput(
                f"sizes has shape {tuple(sizes.shape)}; {batch} images have ({batch}, 2), height and width"
            )
        return self.make(images, u, index, sizes, boxes)

    def make(self, images: Tensor, u: Tensor, index: Tensor, sizes: Tensor, boxes: Tensor | None) -> Views:
        """What the call does once its arguments are known to be good."""
        numbers = u.split([group.uniforms for group in self.groups], 1)
        groups = zip(self.groups, numbers)
        return Views(
            {group.name: self.make_group(group, images, part, sizes, boxes) for group, part in groups}, index
        )

    def make_group(
        self, group: GroupSettings, images: Tensor, u: Tensor, sizes: Tensor, boxes: Tensor | None
    ) -> Group:
        """The views of one crop group, from its numbers u (B, group.uniforms)."""
        batch, tall, wide, _ = images.shape
        # (V, B, numbers); a copy: compiled loops then divide no index.
        u = torch.stack(u.chunk(group.count, 1))
        u, colours = u.split((group.sampler.uniforms + 1, sum(COLOUR_NUMBERS)), -1)
        crops = [
            torch.stack(parts) for parts in zip(*(group.sampler(sizes, boxes, view[:, :-1]) for view in u))
        ]
        crops = Crops(*crops, flipped=u[..., -1] < self.settings.flip)

        # Work in chunks whose pixels fit the cache: a batch at once would go through memory in each of some
        # twenty operations.
        step = max(1, self.budget(images) // (12 * max(tall * wide, group.count * group.size**2)))
        chunks = [slice(start, start + step) for start in range(0, batch, step)]
        with full_precision(images.device):  # bf16 would cost a grey level
            pixels = [self.finished(group, images[rows], crops[:, rows], colours[:, rows]) for rows in chunks]
        pixels = torch.cat(pixels, 1) if len(pixels) > 1 else pixels[0]  # (V, B, S, S, 3)
        return Group(pixels.permute(0, 1, 4, 2, 3), crops)

    def compile(self) -> None:
        """From now on run as one compiled function."""
        self.make = torch.compile(self.make)

    @staticmethod
    def budget(images: Tensor) -> int:
        """Bytes for one chunk's pixels.

        Eager operations on a CPU run from its cache; elsewhere only memory is a limit.
        """
        return CACHE if images.device.type == "cpu" and not torch.compiler.is_compiling() else MEMORY

    def finished(self, group: GroupSettings, images: Tensor, crops: Crops, u: Tensor) -> Tensor:
        """Finished views of some images: crops (V, B), u (V, B, numbers) -> (V, B, S, S, 3)."""
        settings, u = self.settings, u.split(COLOUR_NUMBERS, -1)
        jittered, order, factors, greyed, blurred, sigma, solarised = (draw.flatten(0, 1) for draw in u)
        pixels = resample(
            images, crops.top, crops.left, crops.height, crops.width, crops.flipped, group.size,
            interpolation=settings.interpolation,
        ).flatten(0, 1)  # fmt: skip
        if settings.jitter.probability > 0:
            chosen = jittered[:, 0] < settings.jitter.probability
            pixels = photometric.jitter(pixels, chosen, order.argsort(1), *self.strengths(factors))
        if settings.grayscale > 0:
            pixels = photometric.grayscale(pixels, greyed[:, 0] < settings.grayscale)
        if max(group.blur) > 0:
            chosen, sigma = below(blurred, group.blur), between(sigma[:, 0], *settings.blur.sigma)
            pixels = photometric.blur(pixels, chosen, sigma, kernel=settings.blur.kernel)
        if max(group.solarise) > 0:
            pixels = photometric.solarise(pixels, below(solarised, group.solarise))
        pixels = photometric.normalise(pixels, self.mean, self.std)
        return pixels.permute(0, 2, 3, 1).contiguous().unflatten(0, (group.count, -1))

    def strengths(self, u: Tensor) -> list[Tensor | None]:
        """Brightness, contrast and saturation factors and the hue's shift (None where it never moves), from u
        (B, 4).
        """
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
