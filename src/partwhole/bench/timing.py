"""What the benchmarks share: the clock, and how a result is told."""

import json
import time
from collections.abc import Callable

import torch


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


def tell(result: dict, show: Callable[[dict], None], as_json: bool) -> None:
    """Print a benchmark's result, for people or as JSON."""
    if as_json:
        print(json.dumps(result, indent=1))
    else:
        show(result)
