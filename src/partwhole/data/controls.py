"""What makes a set of scenes easy or hard: the controls, and their named settings."""

from dataclasses import dataclass, fields, replace

from partwhole.errors import BadInput, choice

MOST = 4  # objects in an image


@dataclass(frozen=True)
class Controls:
    """What makes a set easy or hard.

    object_size: diameter of an object as a share of the image's side, smallest and largest.
    objects: how many an image holds, fewest and most (at most 4); the first one, on top, gives the label.
    spread: 0 puts the first object in the middle, 1 anywhere inside the image.
    rotation: objects turn by up to so many degrees either way.
    contrast: how far an object's lightness is from the background's, 0..1; lighter or darker by chance.
    texture, clutter: strength of the texture on objects, and on backgrounds, 0..1.
    object_correlation, background_correlation: probability that this texture is the one tied to the class,
    else any.
    palettes: how many ranges of hue the images come in.
    hues: width of each of these ranges, 0..1; at 1 they meet, and any hue is as likely as any other.
    accent: how far an object's hue may lie from the background's, as a share of the colour circle, 0..1.
    weave: share of the background that is of the image's own, waves of three random colours in two
    directions, 0..1.
    """

    object_size: tuple[float, float] = (0.35, 0.6)
    objects: tuple[int, int] = (1, 1)
    spread: float = 1.0
    rotation: float = 45.0
    contrast: float = 0.4
    texture: float = 1.0
    clutter: float = 0.25
    object_correlation: float = 1.0
    background_correlation: float = 0.0
    palettes: int = 1
    hues: float = 0.2
    accent: float = 0.1
    weave: float = 0.0

    def __post_init__(self):
        for name in ("object_size", "objects"):
            given = getattr(self, name)
            if not isinstance(given, tuple | list) or len(given) != 2:
                raise BadInput(
                    f"scenes: {name} is {given}; it needs two numbers, the smallest and the largest"
                )
        if not 0 < self.object_size[0] <= self.object_size[1] <= 1:
            raise BadInput(
                f"scenes: object_size is {self.object_size}; it needs 0 < smallest <= largest <= 1"
            )
        if not 1 <= self.objects[0] <= self.objects[1] <= MOST:
            raise BadInput(f"scenes: objects is {self.objects}; it needs 1 <= fewest <= most <= {MOST}")
        if not 1 <= self.palettes <= 8:
            raise BadInput(f"scenes: palettes is {self.palettes}; it must lie in 1..8")
        if not 0 <= self.rotation <= 180:
            raise BadInput(f"scenes: rotation is {self.rotation}; it is in degrees, 0..180")
        for name in (
            field.name
            for field in fields(self)
            if field.name not in ("object_size", "objects", "rotation", "palettes")
        ):
            if not 0 <= getattr(self, name) <= 1:
                raise BadInput(f"scenes: {name} is {getattr(self, name)}; it must lie in 0..1")


# plain: what varies most is what the views of SimCLR vary too (place, size, brightness), which confuses
# pixels and not encoders; few hues, since a hue of its own would be an image's shortcut. nuisance: exactly
# that shortcut, and nothing else.
SETTINGS = {
    "plain": Controls(),
    "nuisance": Controls(weave=1.0),
}


def settings(setting: str, **controls) -> Controls:
    """The controls of a named setting, some of them replaced."""
    if setting not in SETTINGS:
        raise choice("setting of scenes", setting, list(SETTINGS))
    known = [field.name for field in fields(Controls)]
    for name in controls:
        if name not in known:
            raise choice("control of scenes", name, known)
    return replace(SETTINGS[setting], **controls)
