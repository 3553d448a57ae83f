"""The objectives and the samplers that a recipe can name, with the settings of each: a new paper adds its
line here.

The classes that they configure are in the registers `methods.OBJECTIVES` and `views.augment.SAMPLERS`, under
the same names.
"""

from partwhole.recipes.co_ssl import CoSSL
from partwhole.recipes.contrastive_crop import ContrastiveCrop
from partwhole.recipes.lewel import Lewel
from partwhole.recipes.logo import LoGo
from partwhole.recipes.parts import Settings

OBJECTIVES: dict[str, type[Settings] | None] = {
    "pooled": None,
    "lewel": Lewel,
    "logo": LoGo,
    "co_ssl": CoSSL,
}
SAMPLERS: dict[str, type[Settings] | None] = {
    "random_resized_crop": None,
    "contrastive_crop": ContrastiveCrop,
}


def sections(register: dict[str, type[Settings] | None]) -> dict[str, tuple]:
    """The fields that a register adds to a section of the recipe: one for each name that has settings, all at
    their defaults.
    """
    return {name: (settings, settings()) for name, settings in register.items() if settings is not None}


def uses_locals(objective: str) -> bool:
    """Whether an objective makes anything of local crops."""
    settings = OBJECTIVES[objective]
    return settings is not None and settings.uses_locals
