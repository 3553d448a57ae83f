"""Reference steps: three training steps of every base, objective and sampler, in some ten seconds.

The values in `steps.json` come from the code of commit b7985e3. A change of the code that is not meant to
change numbers must give them again: `test_steps.py` compares within rounding, on any machine; `compare.py`
compares two source trees bit by bit, on one.

    python tests/references/steps.py > tests/references/steps.json   # only where numbers are meant to change
    python tests/references/steps.py --fingerprints                  # what compare.py reads

A configuration is a whole recipe. Weight decay and momenta are larger than anyone would train with, so that
an error in one of them shows after three steps. Names of tensors appear nowhere, so renaming a module changes
nothing.
"""

import hashlib
import json
import math
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor, nn

import partwhole
from partwhole.recipes.schema import Recipe
from partwhole.training.ranks import Ranks

try:
    from partwhole.experiments.run import assemble
except ModuleNotFoundError:  # commit b7985e3, which gave the reference, has it in another room
    from partwhole.training.run import assemble

STEPS = 3
DIGITS = 9  # significant digits of a figure, float32 has 7
PLAIN = {
    "data": {"name": "scenes/plain", "images": 120},
    "views": {"size": 32},
    "model": {"blocks": (1, 1, 1, 1), "width": 8},
    "training": {
        "epochs": 1, "batch_size": 20, "lr": 0.03, "momentum": 0.8, "weight_decay": 0.05, "precision": "fp32",
        "seed": 3,
    },
    "evaluation": {"knn_every": 0, "knn_k": 5},
}  # fmt: skip
BASES = {
    "simclr": {"projector": (32, 16), "temperature": 0.3},
    "moco": {"projector": (32, 16), "temperature": 0.2, "queue": 50, "momentum": 0.8},
    "byol": {"projector": (32, 16), "projector_norm": True, "predictor": (32, 16), "momentum": 0.8},
    "simsiam": {
        "projector": (32, 32, 16), "projector_norm": True, "projector_last_norm": True, "predictor": (8, 16),
    },
}  # fmt: skip
LEWEL = {"objective": "lewel", "lewel": {"groups": 4, "scale": 0.5, "weight": 0.3}}
CROP = {"sampler": "contrastive_crop", "contrastive_crop": {"warmup": 0.0}}
PARTS = ("terms", "gradients", "parameters", "targets", "buffers")


def merged(values: dict, changes: dict) -> dict:
    """A nested dict with some of its values changed."""
    both = {
        key: merged(values.get(key, {}), value) for key, value in changes.items() if isinstance(value, dict)
    }
    return values | changes | both


def recipe(base: str, **changes: dict) -> dict:
    """The plain configuration of a base, with changed sections."""
    return merged(merged(PLAIN, {"method": {"base": base, **BASES[base]}}), changes)


def lewel(base: str, method: dict | None = None, **settings) -> dict:
    """The configuration of a base under LEWEL."""
    return recipe(base, method=merged(LEWEL, {"lewel": settings, **(method or {})}))


def grid() -> Iterator[tuple[str, dict]]:
    """Every base with every objective and every sampler, by name."""
    for base in BASES:
        for objective, method in (("pooled", {}), ("lewel", LEWEL)):
            for sampler, views in (("random_resized_crop", {}), ("contrastive_crop", CROP)):
                yield f"{base}, {objective}, {sampler}", recipe(base, method=method, views=views)


SPLIT = {"norm": "split", "norm_groups": 2}
LARS = {"optimiser": "lars", "lr": 2.0, "trust": 0.02, "warmup_epochs": 0.3, "warmup_lr": 0.5}
CONFIGURATIONS = {
    **dict(grid()),
    "simclr, concatenate": recipe("simclr", method={"concatenate": True}),
    "simsiam, concatenate": recipe("simsiam", method={"concatenate": True}),
    "byol, concatenate": recipe("byol", method={"concatenate": True}),
    "byol, lewel, concatenate": lewel("byol", {"concatenate": True}),
    "moco, shuffle": recipe("moco", model=SPLIT),
    "moco, lewel, shuffle": merged(lewel("moco"), {"model": SPLIT}),
    "moco, symmetric": recipe("moco", method={"symmetric": True}),
    "moco, lewel, symmetric": lewel("moco", {"symmetric": True}),
    "byol, eval target": recipe("byol", method={"target_mode": "eval"}),
    "byol, lewel, eval target": lewel("byol", {"target_mode": "eval"}),
    "byol, rising momentum": recipe("byol", method={"momentum_end": 1.0}),
    "byol, batch norm of each rank": recipe("byol", model={"norm": "batch"}),
    "byol, lars": recipe("byol", training=LARS),
    "simclr, lars, clipped": recipe("simclr", training={**LARS, "lr": 0.3, "trust_clip": True}),
    "simclr, weights alone decayed": recipe(
        "simclr", training={"decay_norm_and_bias": False, "final_lr": 0.05}
    ),
    "simsiam, fixed predictor rate": recipe("simsiam", training={"fixed_predictor_lr": True}),
    "byol, lewel, detached maps": lewel("byol", maps="detached"),
    "byol, lewel, uniform maps": lewel("byol", maps="uniform"),
    "byol, lewel, separate head": lewel("byol", head="separate"),
    "simclr, lewel, separate head, uniform maps": lewel("simclr", head="separate", maps="uniform"),
    "simclr, loss scale": recipe("simclr", method={"loss_scale": 2.5}),
    "byol, lewel, loss scale": lewel("byol", {"loss_scale": 0.4}),
    "simclr, blur and solarise": recipe(
        "simclr",
        views={
            "blur": {"probability": (1.0, 0.3), "kernel": 5},
            "solarise": (0.0, 0.4),
            "scale": (0.08, 1.0),
        },
    ),
    "simclr, one of several regions": recipe(
        "simclr", views=merged(CROP, {"contrastive_crop": {"region": "components"}})
    ),
}


@dataclass
class Outcome:
    """What three steps leave: the loss terms of every step, and tensors by name after the last.

    gradients: as the last optimiser step met them.  parameters: they train.  targets: they only follow.
    """

    terms: list[dict[str, Tensor]] = field(default_factory=list)
    gradients: dict[str, Tensor] = field(default_factory=dict)
    parameters: dict[str, Tensor] = field(default_factory=dict)
    targets: dict[str, Tensor] = field(default_factory=dict)
    buffers: dict[str, Tensor] = field(default_factory=dict)


def outcome(values: dict, *, smooth: bool) -> Outcome:
    """Three steps of a configuration, in float32, on one thread of the CPU.

    smooth: with another activation, see `smoothed`.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return trained(Recipe(**values), smooth)
    finally:
        torch.set_num_threads(threads)


def trained(settings: Recipe, smooth: bool) -> Outcome:
    """Assemble, take the steps by the loop's own `step`, and gather what they leave."""
    loop = assemble(settings, Ranks(settings.training.seed))
    if settings.views.sampler == "contrastive_crop":
        crop_in_boxes(loop.sampler)
    if smooth:
        smoothed(loop.method)
    loop.method.train()
    result, named = Outcome(), dict(loop.method.named_parameters())

    def keep_gradients(*_) -> None:
        """Runs before the optimiser, which only then has gradients: they are zeroed after it."""
        result.gradients |= {name: p.grad.clone() for name, p in named.items() if p.grad is not None}

    for phase in loop.stages if hasattr(loop, "stages") else loop.phases:  # their name before and after
        phase.optimiser.register_step_pre_hook(keep_gradients)
    for step, (index, images, sizes) in zip(range(STEPS), loop.batches.epoch()):
        result.terms.append(loop.step(step, index, images, sizes))
    result.parameters = {name: p.detach() for name, p in named.items() if p.requires_grad}
    result.targets = {name: p for name, p in named.items() if not p.requires_grad}
    result.buffers = dict(loop.method.named_buffers())
    return result


def smoothed(method: nn.Module) -> None:
    """Put SiLU in the place of every ReLU, online and target.

    A ReLU's slope jumps at 0. Another machine's rounding takes a few values across it, and after three steps
    of so small a network gradients then differ by whole per cents. Without the jump they differ by rounding.
    """
    relus = [
        (module, name)
        for module in method.modules()
        for name, child in module.named_children()
        if isinstance(child, nn.ReLU)
    ]
    if not relus:
        raise RuntimeError("the method has no nn.ReLU; say here how its activation is made smooth")
    for module, name in relus:
        setattr(module, name, nn.SiLU())


def crop_in_boxes(sampler) -> None:
    """ContrastiveCrop at work: a box for each image and, where there may be several, a second for most."""
    images, regions, _ = sampler.boxes.shape
    share = torch.arange(images) / images
    sampler.boxes[:, 0] = torch.stack(
        [0.3 * share, 0.4 * (1 - share), 0.4 + 0.3 * share, 0.8 - 0.3 * share], 1
    )
    if regions > 1:
        second = torch.stack([0.5 + 0.2 * share, 0.6 - 0.1 * share, 0.8 + 0.1 * share, 0.9 + 0 * share], 1)
        sampler.boxes[:, 1] = torch.where(torch.arange(images)[:, None] % 3 > 0, second, torch.nan)
    sampler.on.fill_(True)
    sampler.turn.fill_(1)


def summary(values: dict) -> dict:
    """What is committed of a configuration: loss terms by step, four figures for all tensors of a shape.

    They are: how many tensors, their sum over the root of their length, their norm, and their product with
    fixed weights, so that the norm is the scale of all three. Tensors of one shape in one part are added up,
    so neither a name nor an order matters, while a change in any value of any tensor moves the last figure.
    """
    result = outcome(values, smooth=True)
    figures: dict = {
        "terms": [{name: rounded(value.item()) for name, value in terms.items()} for terms in result.terms]
    }
    for part in PARTS[1:]:
        of_shape: dict[str, list[Tensor]] = {}
        for tensor in getattr(result, part).values():
            of_shape.setdefault(shape(tensor), []).append(tensor.double().flatten())
        figures[part] = {
            name: [
                len(tensors),
                rounded(sum(tensor.sum().item() / math.sqrt(len(tensor)) for tensor in tensors)),
                rounded(math.sqrt(sum(tensor.square().sum().item() for tensor in tensors))),
                rounded(sum((tensor @ weights(len(tensor))).item() for tensor in tensors)),
            ]
            for name, tensors in sorted(of_shape.items())
        }
    return figures


def shape(tensor: Tensor) -> str:
    """Type and shape in words: "float32 64x32x3x3"."""
    return (
        f"{str(tensor.dtype).removeprefix('torch.')} {'x'.join(str(side) for side in tensor.shape)}".strip()
    )


def weights(count: int) -> Tensor:
    """Numbers in -1..1 without a pattern, float64 (count,), the same on every machine."""
    place = torch.arange(1, count + 1, dtype=torch.float64)
    return torch.sin(0.7 * place * place)


def rounded(value: float) -> float:
    return float(f"{value:.{DIGITS}g}")


def digests(values: dict) -> dict[str, list[str]]:
    """A short SHA-256 of each loss term's and tensor's bytes, sorted: only names of terms count."""
    result = outcome(values, smooth=False)
    hashes = {
        "terms": [
            digest(f"{step} {name}", value)
            for step, terms in enumerate(result.terms)
            for name, value in terms.items()
        ]
    }
    for part in PARTS[1:]:
        hashes[part] = [digest(shape(tensor), tensor) for tensor in getattr(result, part).values()]
    return {part: sorted(values) for part, values in hashes.items()}


def digest(label: str, tensor: Tensor) -> str:
    return hashlib.sha256(label.encode() + tensor.contiguous().numpy().tobytes()).hexdigest()[:16]


def fingerprint(values: dict) -> str:
    """One SHA-256 over all that three steps leave: equal only where two codes agree bit for bit."""
    return hashlib.sha256(json.dumps(digests(values), sort_keys=True).encode()).hexdigest()


def origin() -> dict[str, str]:
    """Which code, which torch."""
    folder = Path(partwhole.__file__).parent
    commit = subprocess.run(
        ["git", "describe", "--always", "--dirty=+", "--exclude=*"],
        cwd=folder,
        capture_output=True,
        text=True,
    )
    return {"commit": commit.stdout.strip(), "torch": torch.__version__}


def main(arguments: list[str]) -> None:
    if arguments == ["--fingerprints"]:
        source = Path(partwhole.__file__).parents[1]
        print(json.dumps({"source": str(source), "digests": every(digests)}))
        return
    lines = [f"{json.dumps(name)}: {json.dumps(figures)}" for name, figures in every(summary).items()]
    print(json.dumps(origin())[:-1] + ', "configurations": {\n' + ",\n".join(lines) + "\n}}")


def every(figures_of) -> dict[str, dict]:
    return {name: figures_of(values) for name, values in CONFIGURATIONS.items()}


if __name__ == "__main__":
    main(sys.argv[1:])
