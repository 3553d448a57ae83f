"""From a checkpoint to an encoder file that torchvision users can load."""

from pathlib import Path

import torch

from partwhole.data import catalogue
from partwhole.errors import BadInput
from partwhole.methods import build
from partwhole.models.saved import save_encoder
from partwhole.recipes.schema import Recipe
from partwhole.training import checkpoint
from partwhole.training.ranks import Ranks


def load_method(source: Path):
    """The trained method and its recipe, from a checkpoint file or a run's folder; on the CPU, in eval mode.

    BadInput where a weight is not finite, which nothing can be measured on.
    """
    state = checkpoint.read(source)
    recipe = Recipe(**state["recipe"])
    method = build(recipe, Ranks(recipe.training.seed))
    method.load_state_dict(state["loop"]["method"])
    broken = [name for name, tensor in method.state_dict().items() if not tensor.isfinite().all()]
    if broken:
        raise BadInput(
            f"{source}: {len(broken)} tensors are not finite, {broken[0]} first: the training diverged; "
            "train again"
        )
    return method.eval(), recipe


def export(source: Path, file: Path, *, half: bool = False, projector: bool = False) -> Path:
    """Write a checkpoint's online encoder as safetensors under torchvision's parameter names.

    half: in half precision.  projector: its projector too, which LEWEL's alignment maps take.
    """
    method, recipe = load_method(source)
    mean, std = catalogue.normalisation(recipe.data.name)
    save_encoder(
        method.encoder, Path(file), recipe.model, dtype=torch.float16 if half else torch.float32,
        projector=method.levels["pooled"].projector if projector else None,
        data=recipe.data.name, mean=str(list(mean)), std=str(list(std)), size=str(recipe.views.size),
    )  # fmt: skip
    return Path(file)
