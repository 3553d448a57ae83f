"""Infinity and not-a-number never enter a recipe: at no key that takes a number, in no spelling."""

from collections.abc import Iterator
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

import pytest
import yaml
from pydantic import BaseModel

from partwhole.errors import BadInput
from partwhole.recipes import files
from partwhole.recipes.schema import Recipe

SPELLED = (".inf", "-.inf", ".nan", "nan", "inf", "1e400", "-1.0e+400", "1.0e+400")


def shapes(annotation: Any) -> Iterator[str]:
    """How a value of this type is written in YAML, with {} for one of its floats; several for a tuple."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if annotation is float:
        yield "{}"
    elif origin is Annotated:
        yield from shapes(arguments[0])
    elif origin in (Union, UnionType):
        for part in arguments:
            yield from shapes(part)
    elif origin is tuple and ... not in arguments:
        for place, part in enumerate(arguments):
            for shape in shapes(part):
                parts = ["0.5"] * len(arguments)
                parts[place] = shape
                yield f"[{', '.join(parts)}]"


def sections(annotation: Any) -> Iterator[type[BaseModel]]:
    """The sections that a type names."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for part in get_args(annotation):
        yield from sections(part)


def float_keys(schema: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Every dotted key that takes a float, and a shape of its value."""
    for name, field in schema.model_fields.items():
        for section in sections(field.annotation):
            yield from float_keys(section, f"{prefix}{name}.")
        for shape in shapes(field.annotation):
            yield prefix + name, shape


def refused(message: str, name: str) -> None:
    """One line about the value that was given, not about something else."""
    assert (
        name in message and "\n" not in message and "unknown key" not in message and "missing" not in message
    )


KEYS = [
    *float_keys(Recipe),
    *((f"data.controls.{control}", shape) for control in ("contrast", "hues") for shape in ("{}",)),
    *(("data.controls.object_size", shape) for shape in ("[{}, 0.5]", "[0.2, {}]")),
]


def test_the_keys_are_all_there():
    names = {key for key, _ in KEYS}
    assert len(names) > 40
    assert names > {
        "training.lr", "views.scale", "views.jitter.hue", "views.blur.sigma", "views.local.scale",
        "views.contrastive_crop.sigma", "views.contrastive_crop.box", "method.temperature",
        "method.momentum_end", "method.lewel.scale", "method.logo.lam", "method.co_ssl.weight",
        "evaluation.knn_temperature", "data.controls.contrast",
    }  # fmt: skip
    assert ("views.scale", "[0.5, {}]") in KEYS and ("views.scale", "[{}, 0.5]") in KEYS


@pytest.mark.parametrize(("key", "shape"), KEYS, ids=[f"{key}={shape}" for key, shape in KEYS])
def test_no_spelling_of_infinity_or_not_a_number_passes(key, shape, tmp_path):
    name = key.rpartition(".")[2]
    for text in SPELLED:
        with pytest.raises(BadInput) as caught:
            files.load("scenes/simclr", [f"{key}={shape.format(text)}"])
        refused(str(caught.value), name)

        values = files.resolved("scenes/simclr")
        files.put(values, key, "HERE", "mine")
        file = tmp_path / "mine.yaml"
        file.write_text(yaml.safe_dump(values).replace("HERE", shape.format(text)))
        with pytest.raises(BadInput) as caught:
            files.load(file)
        refused(str(caught.value), name)


@pytest.mark.parametrize("value", [float("inf"), -float("inf"), float("nan")])
@pytest.mark.parametrize("control", ["contrast", "object_size", "palettes"])
def test_nor_do_controls_given_as_numbers(control, value):
    values = files.resolved("scenes/simclr")
    values["data"]["controls"] = {control: (value, 0.5) if control == "object_size" else value}
    with pytest.raises(ValueError, match="finite"):
        Recipe(**values)
