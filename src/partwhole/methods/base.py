"""The joints of every method: a base says how to compare, an objective says what to compare with what, a
level compares.

A **base** (SimCLR, MoCo, BYOL, SimSiam) owns the encoder and, with an EMA target, its twin. A **level** is
everything between vectors of one kind and their cost. **Pairs** say who is compared with whom. A **method**
is an objective on a base: it chooses tokens from the features of a view, one set for each level, adds pairs
of its own, and names the loss terms.
"""

import copy
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from partwhole.arithmetic import full_precision, widened
from partwhole.models.heads import mlp
from partwhole.models.normalisation import Normalisation
from partwhole.models.resnet import Encoder, Features
from partwhole.recipes import schema

# Sets of vectors (B, T, C or D) by name: one for each level, and what else targets need.
Tokens = dict[str, Tensor]
View = tuple[str, int]  # a crop group and the view's place in it
GLOBALS: tuple[View, View] = (("global", 0), ("global", 1))


@dataclass(frozen=True)
class Pair:
    """One comparison: the online vectors of one view with the target vectors of another.

    weight: of its cost, in a sum over pairs.  frozen: no gradient reaches the target. SimCLR's own pairs are
    not frozen.
    """

    online: View
    target: View
    weight: float
    frozen: bool = True


def both_ways(weight: float, frozen: bool = True) -> tuple[Pair, Pair]:
    """Each global view predicts the other."""
    one, two = GLOBALS
    return Pair(one, two, weight, frozen), Pair(two, one, weight, frozen)


class Twin(nn.Module):
    """A copy of a module that follows it: after each step, target <- m target + (1 - m) online.

    mode "train": parameters follow; normalisation uses the target's own batch statistics.  mode "eval" (EMAN,
    Cai et al. 2021): buffers follow too and the target runs in eval mode.  Starts equal to the online module
    and never receives a gradient.
    """

    def __init__(self, online: nn.Module, mode: str):
        super().__init__()
        self.__dict__["online"] = (
            online  # a reference, not a child: the online module has its own place in the tree
        )
        self.target = copy.deepcopy(online).requires_grad_(False)
        self.follow_mode = mode
        self.train()

    def train(self, mode: bool = True) -> "Twin":
        super().train(mode)
        self.target.train(mode and self.follow_mode == "train")
        return self

    def forward(self, *inputs):
        return self.target(*inputs)

    def followers(self) -> list[tuple[Tensor, Tensor]]:
        """(target, online) of every tensor that follows."""
        tensors = list(zip(self.target.parameters(), self.online.parameters()))
        if self.follow_mode == "eval":
            buffers = zip(self.target.buffers(), self.online.buffers())
            tensors += [(target, online) for target, online in buffers if target.is_floating_point()]
        return tensors


class Level(nn.Module):
    """From vectors of one kind to their cost: `project`, `predict`, `compare`, `remember`.

    projector: (R, C) -> (R, D).  predictor: (R, D) -> (R, D) or None.  cost: a pure function (B, T, D) x (B,
    T or 1, D) -> (B, T) that detaches its target; None where a subclass has a `cost` of its own.
    mode: None where the target is the online network, else the twin's.
    """

    def __init__(
        self, projector: nn.Module, predictor: nn.Module | None, cost: Callable | None, mode: str | None
    ):
        super().__init__()
        self.projector, self.predictor, self.function = projector, predictor, cost
        self.twin = Twin(projector, mode) if mode else None

    def project(self, tokens: Tensor, role: str) -> Tensor:
        """(B, T, C) -> (B, T, D), one pass over all tokens, by the online or the target projector."""
        projector = self.twin if role == "target" and self.twin is not None else self.projector
        return projector(tokens.flatten(0, 1)).unflatten(0, tokens.shape[:2])

    def predict(self, tokens: Tensor) -> Tensor:
        """(B, T, D) -> (B, T, D): the predictor of BYOL and SimSiam; the tokens themselves where a base has
        none.
        """
        return (
            tokens
            if self.predictor is None
            else self.predictor(tokens.flatten(0, 1)).unflatten(0, tokens.shape[:2])
        )

    def compare(self, predicted: Tensor, target: Tensor, frozen: bool = True) -> Tensor:
        """`cost` in float32 or wider: (B, T, D), (B, T or 1, D) -> (B, T).

        Under autocast the products inside it would be bf16.
        """
        with full_precision(predicted.device):
            return self.cost(widened(predicted), widened(target), frozen)

    def cost(self, predicted: Tensor, target: Tensor, frozen: bool = True) -> Tensor:
        """(B, T, D), (B, T or 1, D) -> (B, T). frozen: whether no gradient reaches the target; only SimCLR's
        own is not.
        """
        return self.function(predicted, target)

    def remember(self, keys: Tensor) -> None:
        """Keep keys (B, D) as later negatives: MoCo's queue; nothing elsewhere."""


class Base(nn.Module):
    """How to compare. Subclasses set `ema` and `pairs`, those of the two global views, and build their
    `level`.

    shuffle: mix the target's rows over the global batch before they are encoded, so that grouped BatchNorm
    cannot tell a query which key shared its statistics (MoCo, Sec. 3.3).
    """

    ema = False
    pairs: tuple[Pair, ...] = both_ways(0.5)

    def __init__(self, encoder: Encoder, norm: Normalisation, ranks, settings: schema.Method):
        super().__init__()
        self.encoder, self.norm, self.ranks, self.settings = encoder, norm, ranks, settings
        self.mode = settings.target_mode if self.ema else None
        self.twin = Twin(encoder, self.mode) if self.ema else None
        self.shuffle = self.ema and norm.kind == "split"
        # Images encoded so far, by role and the side of their view.
        self.passes: Counter[tuple[str, int]] = Counter()

    def level(self, channels: int) -> Level:
        """A new level for vectors of so many channels, with heads of its own."""
        raise NotImplementedError

    def projector(self, channels: int, last_norm: Callable | None = None) -> nn.Sequential:
        """The recipe's projector. last_norm: makes the norm after its last layer, where the recipe
        wants one.
        """
        settings = self.settings
        return mlp(
            channels, settings.projector, norm=self.norm.rows if settings.projector_norm else None,
            last_norm=last_norm if settings.projector_last_norm else None, output_bias=settings.output_bias,
        )  # fmt: skip

    def predictor(self) -> nn.Sequential:
        """The recipe's predictor, between projected vectors."""
        settings = self.settings
        return mlp(
            settings.projector[-1], settings.predictor, norm=self.norm.rows, output_bias=settings.output_bias
        )

    def see(
        self, pixels: Tensor, embed: Callable[[Features, str], Tokens], roles: set[str]
    ) -> dict[str, Tokens]:
        """What the online and the target network make of pixels (B, 3, S, S), by role.

        embed(features, role): the objective's choice of tokens. With a twin it is asked once for each role
        wanted; without one a single pass, asked as "online", serves both.
        """
        tokens: dict[str, Tokens] = {}
        for role in roles if self.ema else ("online",):
            self.passes[role, pixels.shape[-1]] += pixels.shape[0]
        if not self.ema:
            tokens = dict.fromkeys(roles, embed(self.encoder(pixels), "online"))
        elif "online" in roles:
            tokens["online"] = embed(self.encoder(pixels), "online")
        if self.ema and "target" in roles:
            with torch.no_grad():
                tokens["target"] = (
                    self._shuffled(pixels, embed) if self.shuffle else embed(self.twin(pixels), "target")
                )
        return tokens

    def _shuffled(self, pixels: Tensor, embed: Callable[[Features, str], Tokens]) -> Tokens:
        rows = pixels.shape[0]
        order = self.ranks.permutation(rows * self.ranks.world)
        places = self.ranks.own(rows)
        mixed = self.ranks.gather(pixels)[order[places]].contiguous(memory_format=torch.channels_last)
        back = order.argsort()[places]
        return {
            name: self.ranks.gather(tokens)[back]
            for name, tokens in embed(self.twin(mixed), "target").items()
        }


@contextmanager
def statistics_kept(network: nn.Module) -> Iterator[None]:
    """Inside, BatchNorm normalises by its batch as in training, but its running statistics stay as
    they are.
    """
    norms = [module for module in network.modules() if isinstance(module, nn.modules.batchnorm._BatchNorm)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.momentum = 0.0
    try:
        yield
    finally:
        for norm, momentum in zip(norms, momenta):
            norm.momentum = momentum
