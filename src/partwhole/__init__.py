"""Parts and Wholes: the library under the book.

Its public face for notebooks is the handful of names below. They are imported when they are first used, so
that `import partwhole` and the command line's help take no time. What a chapter takes apart, it imports from
its own room: `from partwhole.methods import simclr`, `from partwhole.views import crops, resample`.
"""

from importlib import import_module

__version__ = "0.1.0"

FACE = {
    "choose_preset": "partwhole.book.presets:choose",
    "load_images": "partwhole.data.catalogue:load",
    "load_recipe": "partwhole.recipes.files:load",
    "load_encoder": "partwhole.models.saved:load_encoder",
    "assemble": "partwhole.experiments.run:assemble",
    "train": "partwhole.experiments.run:train",
    "results": "partwhole.experiments.results",
    "plots": "partwhole.plots",
}


def __getattr__(name: str):
    """The object that a public name stands for; AttributeError, as for any module, where there is none."""
    if name not in FACE:
        raise AttributeError(
            f"module 'partwhole' has no attribute {name!r}; its public names are {', '.join(FACE)}"
        )
    module, _, attribute = FACE[name].partition(":")
    value = import_module(module)
    return getattr(value, attribute) if attribute else value


def __dir__() -> list[str]:
    return sorted([*globals(), *FACE])
