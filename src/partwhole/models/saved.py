"""An encoder as a file: safetensors under torchvision's parameter names, with what is needed to build and feed it again."""

import json
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from partwhole.errors import BadInput
from partwhole.models.resnet import Encoder, encoder
from partwhole.recipes.schema import Model


def save_encoder(network: Encoder, file: Path, model: Model, *, dtype: torch.dtype = torch.float32, **about: str) -> None:
    """Write the encoder's parameters and buffers; `model` and every `about` text go into the header.  Atomic."""
    tensors = {
        name: (value.to(dtype) if value.is_floating_point() else value).contiguous().cpu()
        for name, value in network.state_dict().items()
    }
    file.parent.mkdir(parents=True, exist_ok=True)
    part = file.with_name(file.name + ".part")
    save_file(tensors, part, metadata={"model": model.model_dump_json(), **about})
    part.replace(file)


def load_encoder(file: Path) -> tuple[Encoder, dict]:
    """The encoder in eval mode, in float32, and its header: `model` (dict) and the texts saved beside it."""
    try:
        with safe_open(file, "pt") as opened:
            about = dict(opened.metadata() or {})
            tensors = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118 (not a dict)
    except FileNotFoundError:
        raise BadInput(f"{file}: no such file; expected an encoder written by partwhole export") from None
    except (SafetensorError, OSError) as error:
        raise BadInput(f"{file}: not a readable safetensors file ({error}); write it again with partwhole export") from None
    if "model" not in about:
        raise BadInput(f"{file}: its header names no model; expected an encoder written by partwhole export")
    about["model"] = json.loads(about["model"])
    network = encoder(Model(**about["model"]))
    network.load_state_dict({name: value.float() if value.is_floating_point() else value for name, value in tensors.items()})
    return network.eval(), about
