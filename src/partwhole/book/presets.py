"""The three sizes at which every chapter runs: smoke, teach, full."""

import os

from partwhole.errors import BadInput, choice

PRESETS = ("smoke", "teach", "full")
MEANING = {
    "smoke": "seconds on any computer, procedural scenes: the real loop, too short to learn",
    "teach": "minutes on two cores, CIFAR-10: learning that you can see",
    "full": "hours on a GPU: the setting of the paper",
}


def choose(preset: str | None = None) -> str:
    """The preset to run: the argument, else the environment's PARTWHOLE_PRESET, else smoke.

    Raises BadInput for any other name, saying where the name came from.
    """
    given, where = (preset, "preset") if preset is not None else (os.environ.get("PARTWHOLE_PRESET"), "PARTWHOLE_PRESET")
    if not given and where == "PARTWHOLE_PRESET":
        return "smoke"
    if not isinstance(given, str):
        raise BadInput(f"{where} is {given!r}; expected one of {', '.join(PRESETS)}")
    if given not in PRESETS:
        raise choice(where, given, list(PRESETS))
    return given
