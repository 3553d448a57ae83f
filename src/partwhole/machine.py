"""The machine: what a run ran on, for its record, and what of it a run may use."""

import ctypes
import os
import platform
import subprocess
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from partwhole import places


def describe(device: str = "cpu") -> dict:
    """What a run ran on. device: cpu or cuda.  `amx` and `avx512_bf16` say whether the CPU has fast bf16."""
    model, flags = processor()
    if device == "cuda":
        import torch

        model = torch.cuda.get_device_name()
    return {
        "device": device,
        "model": model,
        "cores": cores(),
        "amx": "amx_bf16" in flags,
        "avx512_bf16": "avx512_bf16" in flags,
        "torch": installed("torch"),
        "python": platform.python_version(),
        "system": platform.system(),
        "commit": commit(),
        "date": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
    }


def processor(info: Path = Path("/proc/cpuinfo")) -> tuple[str, set[str]]:
    """The CPU's name and its flags, as far as the system tells."""
    try:
        lines = [line.partition(":") for line in info.read_text(encoding="utf-8").splitlines()]
    except OSError:
        return platform.processor() or platform.machine(), set()
    fields = {key.strip(): value.strip() for key, _, value in reversed(lines)}
    return fields.get("model name") or platform.machine(), set(
        fields.get("flags", fields.get("Features", "")).split()
    )


def installed(package: str) -> str | None:
    """The version of an installed package, without importing it."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def commit() -> str | None:
    """The clone's commit, with "+" where tracked files differ from it; None outside a clone."""
    clone = places.root()
    if clone is None:
        return None
    try:
        head = subprocess.run(
            ["git", "describe", "--always", "--abbrev=12", "--dirty=+", "--exclude=*"],
            cwd=clone, capture_output=True, text=True, timeout=10,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired):
        return None
    return head.stdout.strip() or None


def cores() -> int:
    """Processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # glibc's malloc.h
LARGEST_BLOCKS = (2**30, 2**25)  # bytes; older versions of glibc take no more than the second


def reuse_memory() -> bool:
    """Let glibc keep large blocks that are freed instead of handing them back; whether it could be done.

    By default a block above 32 MiB, and often a smaller one, goes back to the system when it is freed, so
    that every training step faults its activations in again, page by page. Call it once, before work starts.
    On other systems and C libraries nothing happens.
    """
    if platform.system() != "Linux" or platform.libc_ver()[0] != "glibc":
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return False
    return any(
        mallopt(M_MMAP_THRESHOLD, size) == 1 and mallopt(M_TRIM_THRESHOLD, size) == 1
        for size in LARGEST_BLOCKS
    )


def peak_memory(device) -> int | None:
    """The most memory that this process has taken, in bytes: of its GPU on a torch device of type cuda, else
    of the machine.

    None where the system does not tell (Windows).
    """
    if device.type == "cuda":
        import torch

        return torch.cuda.max_memory_allocated(device)
    try:
        import resource
    except ImportError:
        return None
    unit = 1 if platform.system() == "Darwin" else 1024  # macOS counts bytes
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
