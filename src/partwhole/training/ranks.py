"""Ranks: the only place that knows how many processes train together.

Views and methods draw and gather through it.
"""

import zlib

import torch
import torch.distributed as dist
from torch import Tensor


class Gather(torch.autograd.Function):
    """All ranks' rows, in rank order, with gradients: backward sums what every rank sends back and keeps our
    rows.
    """

    @staticmethod
    def forward(ctx, rows: Tensor, rank: int, world: int) -> Tensor:
        ctx.rank, ctx.count = rank, rows.shape[0]
        parts = [torch.empty_like(rows, memory_format=torch.contiguous_format) for _ in range(world)]
        dist.all_gather(parts, rows.contiguous())
        return torch.cat(parts)

    @staticmethod
    def backward(ctx, gradient: Tensor):
        gradient = gradient.contiguous().clone()  # gloo reduces a non-contiguous tensor wrongly, and in place
        dist.all_reduce(gradient)
        return gradient[ctx.rank * ctx.count : (ctx.rank + 1) * ctx.count], None, None


class Total(torch.autograd.Function):
    """Sum over ranks, with gradients: each rank's input reaches every rank's output."""

    @staticmethod
    def forward(ctx, value: Tensor) -> Tensor:
        value = value.contiguous().clone()
        dist.all_reduce(value)
        return value

    @staticmethod
    def backward(ctx, gradient: Tensor) -> Tensor:
        gradient = gradient.contiguous().clone()
        dist.all_reduce(gradient)
        return gradient


class Ranks:
    """One process of `world`, holding rows `rank * B ... (rank + 1) * B` of every global batch, and the
    random numbers.

    All ranks are built with one seed and draw the same numbers for the *global* batch, of which each keeps
    its rows: so N ranks see what one would. The generator's state is training state: `state_dict`,
    `load_state_dict`.
    """

    def __init__(self, seed: int = 0, device: torch.device | str = "cpu", rank: int = 0, world: int = 1):
        self.rank, self.world, self.device, self.seed = rank, world, torch.device(device), seed
        self.generator = torch.Generator(device=self.device).manual_seed(seed)
        self.streams: dict[str, torch.Generator] = {}

    def generator_of(self, stream: str | None) -> torch.Generator:
        """The generator of views, or one that is a stream of its own, so that what is drawn there moves no
        crop.
        """
        if stream is None:
            return self.generator
        if stream not in self.streams:
            seed = zlib.crc32(f"{stream} {self.seed}".encode())
            self.streams[stream] = torch.Generator(device=self.device).manual_seed(seed)
        return self.streams[stream]

    def draw(self, rows: int, *shape: int, stream: str | None = None) -> Tensor:
        """Uniform float32 numbers in [0, 1), (rows, *shape): this rank's rows of what is drawn for the global
        batch.
        """
        generator = self.generator_of(stream)
        return torch.rand(rows * self.world, *shape, generator=generator, device=self.device)[self.own(rows)]

    def permutation(self, count: int, stream: str | None = None) -> Tensor:
        """A random order of `count` things, int64 (count,), the same on every rank."""
        generator = self.generator_of(stream)
        return torch.rand(count, generator=generator, device=self.device, dtype=torch.float64).argsort()

    def own(self, rows: int) -> slice:
        """This rank's rows among the gathered ones."""
        return slice(self.rank * rows, (self.rank + 1) * rows)

    def gather(self, rows: Tensor) -> Tensor:
        """(B, ...) -> (world * B, ...), every rank's rows in rank order; differentiable."""
        return rows if self.world == 1 else Gather.apply(rows, self.rank, self.world)

    def total(self, value: Tensor) -> Tensor:
        """Sum over ranks; differentiable."""
        return value if self.world == 1 else Total.apply(value)

    def average_(self, tensors: list[Tensor]) -> None:
        """Replace each floating tensor by its mean over ranks."""
        if self.world > 1:
            for tensor in tensors:
                dist.all_reduce(tensor)
                tensor.div_(self.world)

    def __deepcopy__(self, memo: dict) -> "Ranks":
        return self  # a copied module (a target network) stays among the same ranks

    def state_dict(self) -> dict:
        state = {"generator": self.generator.get_state()}
        if self.streams:
            state["streams"] = {name: generator.get_state() for name, generator in self.streams.items()}
        return state

    def load_state_dict(self, state: dict) -> None:
        self.generator.set_state(state["generator"].cpu())
        self.streams.clear()  # a stream that had not begun begins anew
        for name, saved in state.get("streams", {}).items():
            self.generator_of(name).set_state(saved.cpu())
