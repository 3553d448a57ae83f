"""The joints of every method: a base says how to compare, an objective says what to compare, a level compares.

A **base** (SimCLR, MoCo, BYOL, SimSiam) owns the encoder and, with an EMA target, its twin. A **level** is everything between
vectors of one kind and their cost. A **method** is an objective on a base: it chooses tokens from the features of a view, one set
for each level, and names the loss terms. An objective that comes later overrides `embed` and, if it needs to, `terms`.
"""

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from partwhole.arithmetic import full_precision, widened
from partwhole.models.heads import mlp
from partwhole.models.resnet import Encoder, Features

Tokens = dict[str, Tensor]  # one set of vectors (B, T, C or D) for each level, by its name


class Twin(nn.Module):
    """A copy of a module that follows it: after each step, target <- m target + (1 - m) online.

    mode "train": parameters follow; normalisation uses the target's own batch statistics.  mode "eval" (EMAN, Cai et al. 2021):
    buffers follow too and the target runs in eval mode.  Starts equal to the online module and never receives a gradient.
    """

    def __init__(self, online: nn.Module, mode: str):
        super().__init__()
        self.__dict__["online"] = online  # a reference, not a child: the online module has its own place in the tree
        self.target = copy.deepcopy(online).requires_grad_(False)
        self.follow_mode = mode
        self.train()

    def train(self, mode: bool = True) -> "Twin":
        super().train(mode)
        self.target.train(mode and self.follow_mode == "train")
        return self

    def forward(self, *inputs):
        return self.target(*inputs)

    def pairs(self) -> list[tuple[Tensor, Tensor]]:
        """(target, online) of every tensor that follows."""
        pairs = list(zip(self.target.parameters(), self.online.parameters()))
        if self.follow_mode == "eval":
            pairs += [(t, o) for t, o in zip(self.target.buffers(), self.online.buffers()) if t.is_floating_point()]
        return pairs


class Level(nn.Module):
    """From vectors of one kind to their cost: `project`, `predict`, `cost`, `remember`.

    projector: (R, C) -> (R, D).  predictor: (R, D) -> (R, D) or None.  cost: a pure function (B, T, D) x (B, T or 1, D) -> (B, T).
    mode: None where the target is the online network, else the twin's.
    """

    def __init__(self, projector: nn.Module, predictor: nn.Module | None, cost: Callable | None, mode: str | None):
        super().__init__()
        self.projector, self.predictor = projector, predictor
        self.twin = Twin(projector, mode) if mode else None
        if cost is not None:
            self.cost = cost

    def project(self, tokens: Tensor, role: str) -> Tensor:
        """(B, T, C) -> (B, T, D), one pass over all tokens, by the online or the target projector."""
        projector = self.twin if role == "target" and self.twin is not None else self.projector
        return projector(tokens.flatten(0, 1)).unflatten(0, tokens.shape[:2])

    def predict(self, tokens: Tensor) -> Tensor:
        """(B, T, D) -> (B, T, D): the predictor of BYOL and SimSiam; the tokens themselves where a base has none."""
        return tokens if self.predictor is None else self.predictor(tokens.flatten(0, 1)).unflatten(0, tokens.shape[:2])

    def compare(self, predicted: Tensor, target: Tensor) -> Tensor:
        """`cost` in float32 or wider: (B, T, D), (B, T or 1, D) -> (B, T). Under autocast the products inside it would be bf16."""
        with full_precision(predicted.device):
            return self.cost(widened(predicted), widened(target))

    def remember(self, keys: Tensor) -> None:
        """Keep keys (B, D) as later negatives: MoCo's queue; nothing elsewhere."""


class Base(nn.Module):
    """How to compare. Subclasses set `ema`, `directions` and build their `level`.

    directions: (online view, target view, weight) of every comparison.  shuffle: mix the target's rows over the global batch before
    they are encoded, so that grouped BatchNorm cannot tell a query which key shared its statistics (MoCo, Sec. 3.3).
    """

    ema = False
    directions: tuple[tuple[int, int, float], ...] = ((0, 1, 0.5), (1, 0, 0.5))

    def __init__(self, encoder: Encoder, norm, ranks, settings):
        super().__init__()
        self.encoder, self.norm, self.ranks, self.settings = encoder, norm, ranks, settings
        self.mode = settings.target_mode if self.ema else None
        self.twin = Twin(encoder, self.mode) if self.ema else None
        self.shuffle = self.ema and norm.kind == "split"

    def level(self, channels: int) -> Level:
        raise NotImplementedError

    def projector(self, channels: int, last_norm: Callable | None = None) -> nn.Sequential:
        """The recipe's projector. last_norm: makes the norm after its last layer, where the recipe wants one."""
        settings = self.settings
        return mlp(
            channels, settings.projector, norm=self.norm.rows if settings.projector_norm else None,
            last_norm=last_norm if settings.projector_last_norm else None, output_bias=settings.output_bias,
        )  # fmt: skip

    def predictor(self) -> nn.Sequential:
        """The recipe's predictor, between projected vectors."""
        settings = self.settings
        return mlp(settings.projector[-1], settings.predictor, norm=self.norm.rows, output_bias=settings.output_bias)

    def see(self, pixels: Tensor, embed: Callable[[Features, str], Tokens], roles: set[str]) -> dict[str, Tokens]:
        """What the online and the target network make of pixels (B, 3, S, S), by role. Without a twin one pass serves both."""
        seen = {}
        if "online" in roles or not self.ema:
            seen["online"] = embed(self.encoder(pixels), "online")
            if not self.ema:
                seen["target"] = seen["online"]
        if "target" in roles and self.ema:
            with torch.no_grad():
                seen["target"] = self._shuffled(pixels, embed) if self.shuffle else embed(self.twin(pixels), "target")
        return seen

    def _shuffled(self, pixels: Tensor, embed) -> Tokens:
        rows = pixels.shape[0]
        order = self.ranks.permutation(rows * self.ranks.world)
        own = self.ranks.own(rows)
        mixed = self.ranks.gather(pixels)[order[own]].contiguous(memory_format=torch.channels_last)
        back = order.argsort()[own]
        return {name: self.ranks.gather(tokens)[back] for name, tokens in embed(self.twin(mixed), "target").items()}

    def see_views(self, pixels: Tensor, embed) -> dict[tuple[str, int], Tokens]:
        """`see` for all views (V, B, 3, S, S), in one pass or one for each view: tokens by (role, view)."""
        count, rows = pixels.shape[:2]
        if self.settings.concatenate:
            seen = self.see(pixels.flatten(0, 1), embed, {"online", "target"})
            return {
                (role, view): {name: t[view * rows : (view + 1) * rows] for name, t in tokens.items()}
                for role, tokens in seen.items()
                for view in range(count)
            }
        wanted: list[set[str]] = [set() for _ in range(count)]
        for online, target, _ in self.directions:
            wanted[online].add("online")
            wanted[target].add("target")
        return {
            (role, view): tokens
            for view, roles in enumerate(wanted)
            for role, tokens in self.see(pixels[view], embed, roles).items()
        }


@dataclass
class Encoded:
    """What one step knows of its views: predicted tokens of the online network and target tokens, by view, then by level."""

    predicted: dict[int, Tokens] = field(default_factory=dict)
    target: dict[int, Tokens] = field(default_factory=dict)


class Method(nn.Module):
    """An objective on a base. Here the plain one: pooled vectors against pooled vectors.

    weights: how much each level's cost counts in the loss.
    """

    phases = ("train",)
    reports: tuple[str, ...] = ()  # what `report` measures

    def __init__(self, base: Base, weights: dict[str, float] | None = None):
        super().__init__()
        self.base = base
        self.weights = weights or {"pooled": 1.0}
        self.levels = nn.ModuleDict({name: base.level(base.encoder.channels) for name in self.weights})

    @property
    def encoder(self) -> Encoder:
        return self.base.encoder

    def embed(self, features: Features, role: str) -> Tokens:
        """The objective's choice of tokens: projected vectors (B, T, D) for each level."""
        return {"pooled": self.levels["pooled"].project(features.pooled[:, None], role)}

    def encode(self, views) -> Encoded:
        """Both networks on all global views, once a step."""
        seen = self.base.see_views(views.globals.pixels, self.embed)
        encoded = Encoded()
        for online in sorted({online for online, _, _ in self.base.directions}):
            tokens = seen["online", online]
            encoded.predicted[online] = {name: self.levels[name].predict(t) for name, t in tokens.items()}
        for target in sorted({target for _, target, _ in self.base.directions}):
            encoded.target[target] = seen["target", target]
        return encoded

    def terms(self, encoded: Encoded, phase: str) -> dict[str, Tensor]:
        """Named loss terms of a phase, each a mean over images and tokens; `loss` is what is minimised."""
        terms = {
            name: sum(
                weight * level.compare(encoded.predicted[online][name], encoded.target[target][name]).mean()
                for online, target, weight in self.base.directions
            )
            for name, level in self.levels.items()
        }
        terms["loss"] = self.base.settings.loss_scale * sum(self.weights[name] * term for name, term in terms.items())
        return terms

    def trained(self, phase: str) -> dict[str, nn.Parameter]:
        """Exactly the parameters that this phase's loss reaches, by name."""
        return {name: parameter for name, parameter in self.named_parameters() if parameter.requires_grad}

    @torch.no_grad()
    def after_step(self, encoded: Encoded, progress: Tensor) -> None:
        """Move twins and queues. progress: share of training done, a tensor in [0, 1] on the device."""
        pairs = [pair for module in self.modules() if isinstance(module, Twin) for pair in module.pairs()]
        if pairs:
            momentum = ema_momentum(self.base.settings, progress)
            targets, onlines = (list(tensors) for tensors in zip(*pairs))
            torch._foreach_mul_(targets, momentum)
            torch._foreach_add_(targets, torch._foreach_mul([online.detach() for online in onlines], 1 - momentum))
        for keys in encoded.target.values():
            for name, tokens in keys.items():
                self.levels[name].remember(self.kept(name, tokens))

    def report(self, features: Features) -> Tensor:
        """What an objective says of itself after every epoch, of whole images: (B, len(reports)); their means are kept."""
        raise NotImplementedError

    def kept(self, name: str, keys: Tensor) -> Tensor:
        """Which of a level's target tokens (B, T, D) a queue keeps: (B, D)."""
        return keys[:, 0]


def ema_momentum(settings, progress: Tensor) -> Tensor:
    """m(t) = end - (end - start) (cos(pi t) + 1) / 2, t = progress (BYOL, Sec. 3.2); the start throughout where there is no end."""
    if settings.momentum_end is None:
        return torch.full_like(progress, settings.momentum)
    return settings.momentum_end - (settings.momentum_end - settings.momentum) * (torch.cos(math.pi * progress) + 1) / 2
