"""Checkpoints: everything that decides how a run goes on, written whole or not at all."""

import pickle
from pathlib import Path

import torch

from partwhole.errors import BadInput
from partwhole.recipes.files import digest, dump
from partwhole.recipes.schema import Recipe

FORMAT = 1


def save(file: Path, state: dict, recipe: Recipe) -> None:
    """Write to a neighbouring name, then rename: a kill leaves the old checkpoint or the new one."""
    file.parent.mkdir(parents=True, exist_ok=True)
    part = file.with_name(file.name + ".part")
    torch.save({"format": FORMAT, "recipe": dump(recipe), "digest": digest(recipe), **state}, part)
    part.replace(file)


def read(file: Path) -> dict:
    """The checkpoint in a file, or in a run's folder; on the CPU."""
    file = Path(file)
    if file.is_dir():
        file = file / "checkpoint.pt"
    try:
        state = torch.load(file, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise BadInput(
            f"{file}: no such checkpoint; partwhole train RECIPE --out FOLDER writes one"
        ) from None
    except (RuntimeError, EOFError, pickle.UnpicklingError, ValueError, OSError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise BadInput(
            f"{file}: damaged or not a checkpoint ({reason[:120]}); delete it and train again"
        ) from None
    if not isinstance(state, dict) or state.get("format") != FORMAT:
        raise BadInput(f"{file}: not a checkpoint of format {FORMAT}; delete it and train again")
    return state


def matching(file: Path, recipe: Recipe) -> dict | None:
    """The checkpoint to go on from; None where there is none. One of another recipe is refused."""
    if not file.exists():
        return None
    state = read(file)
    if state["digest"] != digest(recipe):
        changed = sorted(differences(state["recipe"], dump(recipe)))
        raise BadInput(
            f"{file}: belongs to another recipe (differs in {', '.join(changed)}); use another --out or "
            "delete it"
        )
    return state


def differences(one: dict, other: dict, prefix: str = "") -> list[str]:
    """Dotted names of the values in which two dumped recipes differ."""
    names = []
    for key in one.keys() | other.keys():
        a, b = one.get(key), other.get(key)
        if isinstance(a, dict) and isinstance(b, dict):
            names += differences(a, b, f"{prefix}{key}.")
        elif a != b:
            names.append(f"{prefix}{key}")
    return names
