"""Recipe files: find, read, override, validate. `DATA/NAME.yaml` beside this module is the recipe
`DATA/NAME`.

A file may say `extends: DATA/NAME` and give only what differs; the named one must be whole, so a reader opens
two files at most.
"""

import hashlib
import json
from copy import deepcopy
from difflib import get_close_matches
from functools import lru_cache
from pathlib import Path

import yaml
from pydantic import BaseModel, ValidationError

from partwhole.errors import BadInput, choice
from partwhole.recipes.registers import OBJECTIVES, SAMPLERS
from partwhole.recipes.schema import Recipe

FOLDER = Path(__file__).parent


def names() -> list[str]:
    """Every recipe that comes with the package, as `DATA/NAME`."""
    return sorted(file.relative_to(FOLDER).with_suffix("").as_posix() for file in FOLDER.glob("*/*.yaml"))


def load(name: str | Path, overrides: list[str] = ()) -> Recipe:
    """The recipe called `DATA/NAME`, or in a YAML file of your own, with overrides like "training.epochs=50".

    Raises BadInput, in one line, for an unknown name, key or value, and for a file that cannot be read.
    """
    label = str(name)
    values = resolved(name)
    for override in overrides:
        put(values, *split(override), label)
    return validated(Recipe, values, label)


def dump(recipe: Recipe) -> dict:
    """All values as plain JSON types; `Recipe(**dump(recipe)) == recipe`.

    Settings of objectives and samplers that are not in use are left out where they are the defaults, so that
    a record does not depend on what they are called later.
    """
    values = recipe.model_dump(mode="json")
    for section, used, register in (
        ("method", recipe.method.objective, OBJECTIVES), ("views", recipe.views.sampler, SAMPLERS),
    ):  # fmt: skip
        for name, settings in register.items():
            if (
                settings is not None
                and name != used
                and getattr(getattr(recipe, section), name) == settings()
            ):
                del values[section][name]
    return values


def digest(recipe: Recipe) -> str:
    """16 hex digits that change whenever a run would: SHA-256 of the values, without `about`.

    Values that equal the schema's default are left out, so that a key added later leaves old digests as they
    are. A default, once runs have been published with it, must therefore not change.
    """
    values = recipe.model_dump(mode="json", exclude_defaults=True, exclude={"about"})
    text = json.dumps(values, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def about(name: str) -> str:
    """A packaged recipe's own line about itself."""
    return str(resolved(name).get("about", ""))


def resolved(name: str | Path) -> dict:
    """The file's values, merged over those of the recipe that it extends."""
    file = path(name)
    values = read(file)
    parent = values.pop("extends", None)
    if parent is None:
        return values
    whole = read(path(parent))
    if "extends" in whole:
        raise BadInput(
            f"{file.name}: extends {parent}, which extends {whole['extends']} itself; extend that one"
        )
    return merged(whole, values)


def path(name: str | Path) -> Path:
    """The file of a recipe: a packaged one by its name, any other by its path."""
    if Path(name).suffix in (".yaml", ".yml"):
        return Path(name)
    if str(name) not in names():
        near = get_close_matches(str(name), names(), n=1)
        hint = f"did you mean {near[0]}?" if near else "partwhole recipes lists them"
        raise BadInput(f"unknown recipe {str(name)!r}; {hint}")
    return FOLDER / f"{name}.yaml"


class Loader(yaml.SafeLoader):
    """YAML that refuses a key given twice, of which the plain loader silently keeps the last."""

    def construct_mapping(self, node, deep=False):
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        for key in keys:
            if keys.count(key) > 1:
                raise yaml.constructor.ConstructorError(None, None, f"{key} is given twice", node.start_mark)
        return super().construct_mapping(node, deep)


@lru_cache(maxsize=512)
def parsed(text: str) -> object:
    """What a YAML text says; kept, since a table reads the same few recipes for each of its cells.

    Do not change it in place.
    """
    return yaml.load(text, Loader)


def read(file: Path) -> dict:
    """The mapping in a YAML file; BadInput where there is none."""
    try:
        values = deepcopy(parsed(Path(file).read_text(encoding="utf-8")))
    except FileNotFoundError:
        raise BadInput(
            f"{file}: no such file; expected a recipe in YAML, or a name that partwhole recipes lists"
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(f"{file}: cannot be read ({getattr(error, 'strerror', None) or 'not text'})") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f"line {mark.line + 1}: " if mark else ""
        raise BadInput(
            f"{file}: not valid YAML ({line}{getattr(error, 'problem', None) or 'cannot be parsed'})"
        ) from None
    if not isinstance(values, dict):
        raise BadInput(
            f"{file}: not a list of keys and values; expected sections such as data, method and training"
        )
    return values


def merged(under: dict, over: dict) -> dict:
    """`over` laid on `under`: sections are merged key by key, everything else is replaced."""
    both = under | over
    for key in under.keys() & over.keys():
        if isinstance(under[key], dict) and isinstance(over[key], dict):
            both[key] = merged(under[key], over[key])
    return both


def split(override: str) -> tuple[str, object]:
    """ "training.epochs=50" -> ("training.epochs", 50); the value is read as YAML."""
    key, equals, text = override.partition("=")
    if not equals or not key.strip():
        raise BadInput(f"override {override!r} has no value; expected key=value, such as training.epochs=50")
    try:
        return key.strip(), yaml.load(text, Loader)
    except yaml.YAMLError:
        raise BadInput(
            f"override {override!r}: its value is not valid YAML; a list is written [1, 2], a text 'so'"
        ) from None


def put(values: dict, key: str, value: object, label: str) -> None:
    """Set a dotted key, in place."""
    *sections, last = key.split(".")
    for place, section in enumerate(sections):
        values = values.setdefault(section, {})
        if not isinstance(values, dict):
            raise BadInput(f"{label}: unknown key {key}; {'.'.join(sections[: place + 1])} is a single value")
    values[last] = value


def validated(schema: type[BaseModel], values: dict, label: str):
    """An instance of the schema, or BadInput with the first thing that is wrong with the values."""
    try:
        return schema(**values)
    except ValidationError as error:
        entries = error.errors()
        more = f" (and {len(entries) - 1} more)" if len(entries) > 1 else ""
        raise BadInput(f"{label}: {sentence(entries[0], keys(schema))}{more}") from None
    except TypeError:
        raise BadInput(f"{label}: its keys must be texts") from None


def keys(schema: type[BaseModel], prefix: str = "") -> list[str]:
    """Every dotted key of a schema."""
    entries = []
    for name, field in schema.model_fields.items():
        entries.append(prefix + name)
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            entries += keys(field.annotation, f"{prefix}{name}.")
    return entries


def sentence(error: dict, known: list[str]) -> str:
    """What pydantic found, in our words."""
    key = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in error["loc"]).lstrip(".")
    given, text = error["input"], error["msg"].removeprefix("Value error, ")
    match error["type"]:
        case "extra_forbidden":
            near = [name for name in known if name.endswith(f".{key}")] or get_close_matches(
                key, known, n=1, cutoff=0.75
            )
            section = key.rpartition(".")[0]
            siblings = [name.rpartition(".")[2] for name in known if name.rpartition(".")[0] == section]
            hint = (
                f"did you mean {near[0]}?" if near else f"{section or 'a recipe'} knows {', '.join(siblings)}"
            )
            return f"unknown key {key}; {hint}"
        case "missing":
            return f"{key} is missing"
        case "literal_error":
            return str(choice(key, str(given), literals(error)))
        case "model_type" | "model_attributes_type" | "dict_type":
            return f"{key} is {given!r}; it should be a section with keys of its own"
        case "value_error":
            return f"{key}: {text}" if key else text
    return f"{key} is {given!r}; {text}"


def literals(error: dict) -> list[str]:
    """The allowed words of a literal error."""
    return [word.strip(" '") for word in error["ctx"]["expected"].replace(" or ", ", ").split(",")]
