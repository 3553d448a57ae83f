"""An encoder as a file: safetensors under torchvision's parameter names, with what is needed to build and
feed it again.
"""

import json
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import nn

from partwhole import places
from partwhole.errors import BadInput
from partwhole.models.resnet import Encoder, encoder
from partwhole.recipes.schema import Model

PROJECTOR = "projector."  # what a projector's tensors begin with, in the same file


def save_encoder(
    network: Encoder,
    file: Path,
    model: Model,
    *,
    projector: nn.Module | None = None,
    dtype=torch.float32,
    **about: str,
) -> None:
    """Write the encoder's parameters and buffers; `model` and every `about` text go into the header.  Atomic.

    projector: written beside them, under names that begin with "projector."; torchvision loads such a file
    with strict=False. Where torchvision has no network for them, the header's `torchvision` says why
    (`torchvision_gap`).
    """
    if gap := torchvision_gap(model):
        about["torchvision"] = gap
    parts = dict(network.state_dict())
    if projector is not None:
        parts |= projector.state_dict(prefix=PROJECTOR)
    tensors = {
        name: (value.to(dtype) if value.is_floating_point() else value).contiguous().cpu()
        for name, value in parts.items()
    }
    file.parent.mkdir(parents=True, exist_ok=True)
    part = file.with_name(file.name + ".part")
    save_file(tensors, part, metadata={"model": model.model_dump_json(), **about})
    part.replace(file)


def torchvision_gap(model: Model) -> str:
    """Why torchvision's ResNets cannot load such an encoder under its own names; empty where they can.

    Names are torchvision's everywhere else; stem, width and depth have to be those of the network that loads
    them.
    """
    gaps = []
    if model.keep is not None and (
        replaced := sum(whole - few for whole, few in zip(model.spatial_convolutions, model.keep))
    ):
        gaps.append(f"{replaced} of its 3x3 convolutions are 1x1 here (keep {list(model.keep)})")
    if model.head:
        gaps.append("it has no head after the pooling, so head.* are names of ours")
    if model.last_stride != 2:
        gaps.append("its last stage has stride 2, here 1: weights load, but maps differ")
    return f"torchvision's network differs: {'; '.join(gaps)}" if gaps else ""


def encoder_file(name: str | Path) -> Path:
    """The file of an encoder: a path as it is, a bare name such as "cifar10_narrow_byol" among those that the
    clone keeps.
    """
    path = Path(name)
    return path if path.suffix else places.home() / "data" / "encoders" / f"{name}.safetensors"


def load_encoder(file: str | Path) -> tuple[Encoder, dict]:
    """The encoder in eval mode, in float32, and its header: `model` (dict), `data`, and what it was fed,
    `mean`, `std` and `size`.

    file: a path, or the name of an encoder under data/encoders.
    """
    tensors, about = read(file)
    network = encoder(Model(**about["model"]))
    network.load_state_dict(
        {name: value for name, value in tensors.items() if not name.startswith(PROJECTOR)}
    )
    return network.eval(), about


def load_projector(file: str | Path) -> nn.Sequential:
    """The projector that was saved beside an encoder, in eval mode, in float32: (R, C) -> (R, D)."""
    tensors, _ = read(file)
    parts = {
        name.removeprefix(PROJECTOR): value for name, value in tensors.items() if name.startswith(PROJECTOR)
    }
    if not parts:
        raise BadInput(f"{file}: holds no projector; write it again with partwhole export --projector")
    layers: list[nn.Module] = []
    for place in range(1 + max(int(name.split(".")[0]) for name in parts)):
        part = {name.split(".")[1]: value for name, value in parts.items() if name.startswith(f"{place}.")}
        if "running_mean" in part:
            layers.append(nn.BatchNorm1d(len(part["running_mean"]), affine="weight" in part))
        else:
            layers.append(
                nn.Linear(*part["weight"].T.shape, bias="bias" in part) if part else nn.ReLU(inplace=True)
            )
    projector = nn.Sequential(*layers)
    projector.load_state_dict(parts)
    return projector.eval()


def read(file: str | Path) -> tuple[dict[str, torch.Tensor], dict]:
    """All tensors of a file, in float32, and its header, whose numbers are read."""
    file = encoder_file(file)
    try:
        with safe_open(file, "pt") as opened:
            about = dict(opened.metadata() or {})
            tensors = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118 (not a dict)
    except FileNotFoundError:
        raise BadInput(f"{file}: no such file; expected an encoder written by partwhole export") from None
    except (SafetensorError, OSError) as error:
        raise BadInput(
            f"{file}: not a readable safetensors file ({error}); write it again with partwhole export"
        ) from None
    if "model" not in about:
        raise BadInput(f"{file}: its header names no model; expected an encoder written by partwhole export")
    about |= {key: json.loads(about[key]) for key in ("model", "mean", "std", "size") if key in about}
    return {
        name: value.float() if value.is_floating_point() else value for name, value in tensors.items()
    }, about
