"""Which arithmetic a device is good at: fp32, bf16, or fp16 with a loss scale that never leaves the
device.
"""

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor

from partwhole import machine
from partwhole.errors import BadInput, choice

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass
class Precision:
    """fp32, bf16 or fp16 on a device; fp16 with the scale of its loss."""

    name: str
    device: torch.device
    scaler: "LossScale | None" = None

    def autocast(self) -> AbstractContextManager:
        """A fresh context for one phase's forward; close it before that phase's step, or its cache serves old
        weights.
        """
        if self.name == "fp32":
            return nullcontext()
        return torch.autocast(self.device.type, DTYPES[self.name])


def device(requested: str | None = None) -> torch.device:
    """The device asked for; where none is asked for, the GPU if there is one, else the CPU.

    BadInput where it is absent.
    """
    if requested is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        chosen = torch.device(requested)
    except RuntimeError:
        raise BadInput(f"unknown device {requested!r}; use cpu, cuda or cuda:0") from None
    if chosen.type == "cuda" and not torch.cuda.is_available():
        raise BadInput(
            f"device {requested} was asked for but torch sees no CUDA GPU; use cpu, or leave the device out"
        )
    if chosen.type == "cuda" and (chosen.index or 0) >= torch.cuda.device_count():
        raise BadInput(
            f"device {requested} was asked for but torch sees {torch.cuda.device_count()} GPU(s), "
            "numbered from 0"
        )
    return chosen


def cpu_flags() -> set[str]:
    """The instruction sets that the processor names; empty where the system does not say."""
    return machine.processor()[1]


def choose(
    requested: str,
    device: torch.device,
    *,
    capability: Callable[[torch.device], tuple[int, int]] = torch.cuda.get_device_capability,
    flags: Callable[[], Iterable[str]] = cpu_flags,
) -> Precision:
    """The precision asked for, or for "auto" the fastest that trains safely on `device`.

    CUDA of capability 8 and up: bf16. Older CUDA (a T4): fp16 with a loss scale, since bf16 is emulated
    there. CPU: bf16 where it has the matrix unit AMX, or the AVX-512 instruction that multiplies bf16 pairs:
    with either we measured bf16 training faster than fp32, and without both far slower, because every product
    is then emulated. Anything else: fp32.
    """
    if requested not in (*DTYPES, "auto"):
        raise choice("precision", requested, [*DTYPES, "auto"])
    name = requested
    if name == "auto" and device.type == "cuda":
        name = "bf16" if capability(device)[0] >= 8 else "fp16"
    elif name == "auto":
        native = device.type == "cpu" and {"amx_bf16", "avx512_bf16"} & set(flags())
        name = "bf16" if native else "fp32"
    return Precision(name, device, LossScale(device) if name == "fp16" else None)


class LossScale:
    """Keeps fp16 gradients off zero: the loss is multiplied by a power of two, the gradients divided by it
    again.

    A step whose gradients overflow halves the scale and is skipped; `every` good steps in a row double it.
    Scale and count are tensors on the device and stay there, so no step waits for the GPU. The same rule as
    torch's GradScaler.
    """

    def __init__(self, device: torch.device | str, *, initial=65536.0, growth=2.0, backoff=0.5, every=2000):
        self.growth, self.backoff, self.every = growth, backoff, every
        self.value = torch.tensor(float(initial), device=device)
        self.good = torch.tensor(0, dtype=torch.int32, device=device)

    def scale(self, loss: Tensor) -> Tensor:
        """The loss to call backward on."""
        return loss * self.value

    @torch.no_grad()
    def unscale_and_check(self, gradients: Iterable[Tensor | None]) -> Tensor:
        """Divide the gradients by the scale in place, adapt the scale, and return `skip` for the optimiser's
        step:

        float32 (), 1 if any gradient is infinite or not a number, else 0. Gradients that are None are passed
        over.
        """
        gradients = [gradient for gradient in gradients if gradient is not None]
        torch._foreach_mul_(gradients, 1 / self.value)
        largest = torch.stack(torch._foreach_norm(gradients, float("inf")))
        bad = ~largest.isfinite().all()
        good = torch.where(bad, 0, self.good + 1)
        grown = torch.where(good >= self.every, self.value * self.growth, self.value)
        grown = torch.where(grown.isfinite(), grown, self.value)
        self.value.copy_(torch.where(bad, self.value * self.backoff, grown))
        self.good.copy_(torch.where(good >= self.every, 0, good))
        return bad.float()

    def state_dict(self) -> dict:
        return {"value": self.value.clone(), "good": self.good.clone()}

    def load_state_dict(self, state: dict) -> None:
        self.value.copy_(state["value"])
        self.good.copy_(state["good"])
