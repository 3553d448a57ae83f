"""What the benchmarks share: the clock, the bytes kept for a backward pass, and how a result is told."""

import json
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks


def seconds(work: Callable[[], object], least: float, device: torch.device | None = None) -> float:
    """Seconds of one call, over calls for at least `least` seconds; a GPU is waited for at both ends only."""
    wait = torch.cuda.synchronize if device is not None and device.type == "cuda" else lambda: None
    wait()
    start, count = time.perf_counter(), 0
    while count == 0 or time.perf_counter() - start < least:
        work()
        count += 1
    wait()
    return (time.perf_counter() - start) / count


def kept(work: Callable[[], Any], network: nn.Module) -> tuple[int, Any]:
    """Bytes that autograd keeps of a piece of work for its backward pass, and what the work returns.

    Distinct storages, each counted whole; the network's own parameters and buffers, which are there anyway,
    are not counted.
    """
    permanent = {tensor.untyped_storage()._cdata for tensor in (*network.parameters(), *network.buffers())}
    sizes = {}

    def pack(tensor: Tensor) -> Tensor:
        place = tensor.untyped_storage()
        if place._cdata not in permanent:  # its identity; the address of its bytes is 0 on the meta device
            sizes[place._cdata] = place.nbytes()
        return tensor

    with saved_tensors_hooks(pack, lambda tensor: tensor):
        result = work()
    return sum(sizes.values()), result


def tell(result: dict, show: Callable[[dict], None], as_json: bool) -> None:
    """Print a benchmark's result, for people or as JSON."""
    if as_json:
        print(json.dumps(result, indent=1))
    else:
        show(result)
