"""A method: an objective on a base.

The plain one compares pooled vectors; the others override what they change.
"""

import math
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from partwhole.methods.base import Base, Pair, Tokens, Twin, View, statistics_kept
from partwhole.models.resnet import Encoder, Features
from partwhole.recipes import schema
from partwhole.views.augment import GLOBAL, Views


@dataclass(frozen=True)
class Phase:
    """One of the steps that make up a training step: which loss, on which parameters (`Method.trained`).

    fresh: encode the views again before it.  lr: a constant learning rate of its own instead of the
    schedule.  bounded: its gradient's norm is capped by `Method.bound`.
    """

    name: str = "train"
    fresh: bool = False
    lr: float | None = None
    bounded: bool = False


TRAIN = Phase()  # the only phase of most methods


@dataclass
class Encoded:
    """What one step knows of its views, by view, then by token set: projected and predicted online tokens,
    and target tokens.
    """

    online: dict[View, Tokens] = field(default_factory=dict)
    predicted: dict[View, Tokens] = field(default_factory=dict)
    target: dict[View, Tokens] = field(default_factory=dict)


class Method(nn.Module):
    """An objective on a base. Here the plain one: pooled vectors against pooled vectors, over the base's own
    pairs.

    weights: how much each level's cost counts in the loss; a level is made for each.
    phases: the steps that make up a training step, nearly always one.
    against: whose target tokens a level's predictions meet; its own where it is not named.
    """

    phases: tuple[Phase, ...] = (TRAIN,)
    against: dict[str, str] = {}  # noqa: RUF012 (never changed in place)
    reports: tuple[str, ...] = ()  # what `report` measures

    def __init__(self, base: Base, weights: dict[str, float] | None = None):
        super().__init__()
        self.base = base
        self.weights = weights or {"pooled": 1.0}
        self.levels = nn.ModuleDict({name: base.level(base.encoder.channels) for name in self.weights})

    @classmethod
    def of_recipe(cls, base: Base, recipe: schema.Recipe) -> "Method":
        """The objective that a recipe describes, on its base. Objectives with settings override this."""
        return cls(base)

    @property
    def encoder(self) -> Encoder:
        return self.base.encoder

    @property
    def pairs(self) -> tuple[Pair, ...]:
        """Who is compared with whom. Exactly the views named here are encoded, in exactly these roles."""
        return self.base.pairs

    def embed(self, features: Features, role: str) -> Tokens:
        """The objective's choice of tokens: projected vectors (B, T, D) for each level."""
        return {"pooled": self.levels["pooled"].project(features.pooled[:, None], role)}

    def embedding(self, group: str) -> Callable[[Features, str], Tokens]:
        """How views of a crop group become tokens: all alike, unless an objective tells parts from wholes."""
        return self.embed

    def encode(self, views: Views, phase: Phase = TRAIN) -> Encoded:
        """Both networks on all views that the pairs name.

        Called once a step, and again for a phase that is `fresh`.
        """
        encoded = Encoded()
        for (role, view), tokens in self.see_views(views).items():
            if role == "target":
                encoded.target[view] = tokens
                continue
            encoded.online[view] = tokens
            with self.statistics_of(view[0]):
                encoded.predicted[view] = {
                    name: level.predict(tokens[name]) for name, level in self.levels.items() if name in tokens
                }
        return encoded

    def statistics_of(self, group: str) -> AbstractContextManager:
        """Where views of a crop group go through the network: local ones leave BatchNorm's running statistics
        alone.

        The network is evaluated on whole images, which look like global views.
        """
        return nullcontext() if group == GLOBAL else statistics_kept(self)

    def see_views(self, views: Views) -> dict[tuple[str, View], Tokens]:
        """Tokens by role and view, in the order of views.

        A view is encoded by itself, so that BatchNorm's batch is one view. With `concatenate` the views of a
        group go through
        together: both globals in both roles, whatever the pairs ask.
        """
        roles: dict[View, set[str]] = {}
        for pair in self.pairs:
            roles.setdefault(pair.online, set()).add("online")
            roles.setdefault(pair.target, set()).add("target")
        tokens_of = {}
        for group, given in views.groups.items():
            with self.statistics_of(group):
                tokens_of |= self._see_group(group, given.pixels, roles)
        return tokens_of

    def _see_group(
        self, group: str, pixels: Tensor, roles: dict[View, set[str]]
    ) -> dict[tuple[str, View], Tokens]:
        """`see_views` of one group's views (V, B, 3, S, S)."""
        count, rows = pixels.shape[:2]
        wanted = {view: roles.get((group, view), set()) for view in range(count)}
        if not any(wanted.values()):
            return {}
        if not self.base.settings.concatenate:
            return {
                (role, (group, view)): tokens
                for view in range(count)
                if wanted[view]
                for role, tokens in self.base.see(pixels[view], self.embedding(group), wanted[view]).items()
            }
        together = {"online", "target"} if group == GLOBAL else set.union(*wanted.values())
        return {
            (role, (group, view)): {
                name: part[view * rows : (view + 1) * rows] for name, part in tokens.items()
            }
            for role, tokens in self.base.see(pixels.flatten(0, 1), self.embedding(group), together).items()
            for view in range(count)
        }

    def terms(self, encoded: Encoded, phase: Phase = TRAIN) -> dict[str, Tensor]:
        """Named loss terms of a phase, each a mean over images and tokens; `loss` is what is minimised."""
        terms = {name: self.over_pairs(encoded, name, self.pairs) for name in self.levels}
        total = sum(self.weights[name] * term for name, term in terms.items())
        return terms | {"loss": self.base.settings.loss_scale * total}

    def over_pairs(self, encoded: Encoded, name: str, pairs: tuple[Pair, ...]) -> Tensor:
        """A level's weighted cost over pairs: each cost is the mean over images and tokens."""
        level, target = self.levels[name], self.against.get(name, name)
        return sum(
            pair.weight
            * level.compare(
                encoded.predicted[pair.online][name], encoded.target[pair.target][target], pair.frozen
            ).mean()
            for pair in pairs
        )

    def trained(self, phase: Phase = TRAIN) -> dict[str, nn.Parameter]:
        """Exactly the parameters that this phase's loss reaches, by name."""
        return {name: parameter for name, parameter in self.named_parameters() if parameter.requires_grad}

    def bound(self, phase: Phase, norm: Tensor) -> Tensor | None:
        """The largest norm that the gradient of a `bounded` phase may have, from the norm that it has, ();
        None for no cap.
        """
        return None

    def before_epoch(self, epoch: int) -> None:
        """Called before each epoch, counted from 1."""

    @torch.no_grad()
    def after_step(self, encoded: Encoded, progress: Tensor) -> None:
        """Move twins and queues, after the step's last backward. progress: share of training done, in [0, 1],
        on the device.

        A level's queue takes the keys that its predictions meet, of the views that the base's own pairs have
        as targets, whatever pairs an objective adds.
        """
        self.move_twins(progress)
        for view in sorted({pair.target for pair in self.base.pairs}):
            for name, level in self.levels.items():
                keys = self.against.get(name, name)
                if keys in encoded.target[view]:
                    level.remember(self.remembered(name, encoded.target[view][keys]))

    @torch.no_grad()
    def move_twins(self, progress: Tensor) -> None:
        """target <- m target + (1 - m) online, for every twin."""
        followers = [
            pair for module in self.modules() if isinstance(module, Twin) for pair in module.followers()
        ]
        if followers:
            momentum = ema_momentum(self.base.settings, progress)
            targets, onlines = (list(tensors) for tensors in zip(*followers))
            torch._foreach_mul_(targets, momentum)
            torch._foreach_add_(
                targets, torch._foreach_mul([online.detach() for online in onlines], 1 - momentum)
            )

    def remembered(self, name: str, keys: Tensor) -> Tensor:
        """Which of a level's target tokens (B, T, D) a queue keeps: (B, D)."""
        return keys[:, 0]

    def report(self, features: Features) -> Tensor:
        """What an objective says of itself after every epoch, of whole images: (B, len(reports)); their means
        are kept.
        """
        raise NotImplementedError


def ema_momentum(settings: schema.Method, progress: Tensor) -> Tensor:
    """m(t) = end - (end - start) (cos(pi t) + 1) / 2, t = progress (BYOL, Sec. 3.2); the start throughout
    where there is no end.
    """
    if settings.momentum_end is None:
        return torch.full_like(progress, settings.momentum)
    return (
        settings.momentum_end
        - (settings.momentum_end - settings.momentum) * (torch.cos(math.pi * progress) + 1) / 2
    )
