"""Start and stop of several processes: `torchrun --nproc-per-node N -m partwhole train RECIPE`.

One process needs none of this.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch
import torch.distributed as dist

from partwhole.training.ranks import Ranks


@contextmanager
def ranks(device: torch.device, seed: int) -> Iterator[Ranks]:
    """The ranks of this process: alone, or one of torchrun's (NCCL on GPUs, gloo on CPUs)."""
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield Ranks(seed, device)
        return
    if device.type == "cuda":
        device = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
        torch.cuda.set_device(device)
    dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
    try:
        yield Ranks(seed, device, dist.get_rank(), dist.get_world_size())
    finally:
        dist.destroy_process_group()
