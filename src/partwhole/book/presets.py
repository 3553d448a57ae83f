"""The three sizes at which every chapter runs, smoke, teach and full, and which images each of them uses.

smoke uses generated scenes, always, so that it is the same everywhere and needs no data. teach and full use
CIFAR-10; where it is absent Colab fetches it, and any other machine is told in one line how to get it. No
chapter falls back on other images by itself: its sizes, its recipe and its text are those of the set that its
preset names.
"""

import os
from importlib.util import find_spec

from partwhole.errors import BadInput, choice

PRESETS = ("smoke", "teach", "full")
MEANING = {
    "smoke": "seconds on any computer, procedural scenes: the real loop, too short to learn",
    "teach": "minutes on two cores, CIFAR-10: learning that you can see",
    "full": "hours on a GPU: the setting of the paper",
}
IMAGE_SETS = {"smoke": "scenes/plain", "teach": "cifar10", "full": "cifar10"}


def choose(preset: str | None = None) -> str:
    """The preset to run: the argument, else the environment's PARTWHOLE_PRESET, else smoke.

    Raises BadInput for any other name, saying where the name came from.
    """
    if preset is not None:
        given, where = preset, "preset"
    else:
        given, where = os.environ.get("PARTWHOLE_PRESET") or "smoke", "PARTWHOLE_PRESET"
    if not isinstance(given, str):
        raise BadInput(f"{where} is {given!r}; expected one of {', '.join(PRESETS)}")
    if given not in PRESETS:
        raise choice(where, given, list(PRESETS))
    return given


def image_set_name(preset: str) -> str:
    """The name of the image set that a preset uses, for `catalogue.load`; the set is there afterwards.

    BadInput, one line that says what to do, if it is absent and this is not Colab.
    """
    return ensure_available(IMAGE_SETS[preset])


def ensure_available(name: str) -> str:
    """`name`, once that image set is there: Colab fetches it if it is absent, elsewhere BadInput says how."""
    from partwhole.data import catalogue

    if name in catalogue.DOWNLOADS and _on_colab():
        catalogue.get(name)
    catalogue.check(name)
    return name


def _on_colab() -> bool:
    return find_spec("google") is not None and find_spec("google.colab") is not None
