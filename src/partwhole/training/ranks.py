"""Ranks: the only place that knows how many processes train together. Views and methods draw and gather through it."""

import torch
import torch.distributed as dist
from torch import Tensor


class Gather(torch.autograd.Function):
    """All ranks' rows, in rank order, with gradients: backward sums what every rank sends back and keeps our rows."""

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
    """One process of `world`, holding rows `rank * B ... (rank + 1) * B` of every global batch, and the random numbers.

    All ranks are built with one seed and draw the same numbers for the *global* batch, of which each keeps its rows: so
    N ranks see what one would. The generator's state is training state: `state_dict`, `load_state_dict`.
    """

    def __init__(self, seed: int = 0, device: torch.device | str = "cpu", rank: int = 0, world: int = 1):
        self.rank, self.world, self.device = rank, world, torch.device(device)
        self.generator = torch.Generator(device=self.device).manual_seed(seed)

    def draw(self, rows: int, *shape: int) -> Tensor:
        """Uniform float32 numbers in [0, 1), (rows, *shape): this rank's rows of what is drawn for the global batch."""
        return torch.rand(rows * self.world, *shape, generator=self.generator, device=self.device)[self.own(rows)]

    def permutation(self, count: int) -> Tensor:
        """A random order of `count` things, int64 (count,), the same on every rank."""
        return torch.rand(count, generator=self.generator, device=self.device, dtype=torch.float64).argsort()

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
        return {"generator": self.generator.get_state()}

    def load_state_dict(self, state: dict) -> None:
        self.generator.set_state(state["generator"].cpu())
