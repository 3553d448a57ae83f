"""LoGo (Zhang et al., CVPR 2022, arXiv 2203.17205): local crops agree with the global ones, and may differ from each other.

From the paper: four terms that pull each local crop to each frozen global one (Eq. 4), a learned affinity of two local
crops that the encoder lowers (Eq. 5), with a weight lambda (Eq. 9), in turn with the critic that learns it (Eq. 6). From
the released code: the critic's logistic form, and the whole of mode `code`. Ours: vectors are normalised before the critic
on every base, and on SimCLR the four terms look for their target among the targets of other images.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from partwhole.arithmetic import full_precision, widened
from partwhole.methods.affinity import FORMS, Affinity, noise, repulsion
from partwhole.methods.base import GLOBALS, Base, Pair
from partwhole.methods.method import TRAIN, Encoded, Method, Phase
from partwhole.recipes.logo import LoGo as LoGoSettings
from partwhole.recipes.schema import Recipe
from partwhole.views.augment import LOCAL, Views

LOCALS = ((LOCAL, 0), (LOCAL, 1))
CRITIC, LOCAL_LOCAL = "critic", "local_local"


class LoGo(Method):
    """LoGo on any base: the base's own pairs, four local-to-global pairs, and a local-local term.

    affinity: learned, by a critic with a phase, an optimiser and a constant rate of its own; cosine, the mean cosine of
    the two local vectors; none, which is multi-crop.  mode paper: the critic's step, then one joint step, on one encoding.
    mode code: the critic's, then the local-local step with its gradient bounded by `clip` times the norm of the last main
    gradient (0 in the first step of an epoch, as released), then the main step on a fresh encoding.
    weights: sum adds the four terms to the base's own loss; mean divides all by their number (released: 6).
    """

    def __init__(self, base: Base, settings: LoGoSettings):
        super().__init__(base)
        self.settings, self.critic = settings, None
        self.local_pairs = tuple(Pair(local, target, 1.0) for local in LOCALS for target in GLOBALS)
        if settings.affinity == "learned":  # made last: all that a base has starts as it does alone
            self.critic = Affinity(base.settings.projector[-1], settings.hidden, base.norm.rows)
        self.register_buffer("main_norm", torch.zeros(()))
        self.phases = self._phases()

    @classmethod
    def of_recipe(cls, base: Base, recipe: Recipe) -> "LoGo":
        return cls(base, recipe.method.logo)

    def _phases(self) -> tuple[Phase, ...]:
        critic = (Phase(CRITIC, lr=self.settings.lr),) if self.critic is not None else ()
        if self.settings.mode == "paper":
            return (*critic, TRAIN)
        return (*critic, Phase(LOCAL_LOCAL, bounded=True), Phase(fresh=True, bounded=True))

    @property
    def pairs(self) -> tuple[Pair, ...]:
        return (*self.base.pairs, *self.local_pairs)

    def encode(self, views: Views, phase: Phase = TRAIN) -> Encoded:
        """Code mode encodes the local views alone for its first phases, and all of them anew for the main one."""
        if self.settings.mode == "code" and phase.name != TRAIN.name:
            views = Views({LOCAL: views.groups[LOCAL]}, views.images)
        return super().encode(views, phase)

    def local_vectors(self, encoded: Encoded) -> tuple[Tensor, Tensor]:
        """The projected vectors of both local views, of unit length: each (B, D)."""
        one, two = (encoded.online[view]["pooled"][:, 0] for view in LOCALS)
        return F.normalize(widened(one), dim=1), F.normalize(widened(two), dim=1)

    def terms(self, encoded: Encoded, phase: Phase = TRAIN) -> dict[str, Tensor]:
        """Critic: its loss, the mean affinity of same and of different images, and how often r tells them apart.

        Main: global_global (the base's own), local_global, local_local, and their sum.
        """
        with full_precision(self.main_norm.device):
            if phase.name == CRITIC:
                return self.critic_terms(*self.local_vectors(encoded))
            if phase.name == LOCAL_LOCAL:
                return {"loss": self.local_local(*self.local_vectors(encoded))}
        terms = {"global_global": self.over_pairs(encoded, "pooled", self.base.pairs)}
        if self.local_pairs:
            terms["local_global"] = self.over_pairs(encoded, "pooled", self.local_pairs)
        total = sum(terms.values())
        if self.settings.weights == "mean":
            total = total / sum(pair.weight for pair in self.pairs)
        if self.settings.affinity != "none" and self.settings.mode == "paper":
            with full_precision(self.main_norm.device):
                terms["local_local"] = self.local_local(*self.local_vectors(encoded))
            total = total + self.settings.lam * terms["local_local"]
        return terms | {"loss": self.base.settings.loss_scale * total}

    def local_local(self, one: Tensor, two: Tensor) -> Tensor:
        """How alike the two local crops of an image are; the encoder lowers it."""
        if self.critic is None:
            return (one * two).sum(1).mean()
        cost = repulsion(self.critic(one, two))
        return cost if self.settings.orders == "one" else (cost + repulsion(self.critic(two, one))) / 2

    def critic_terms(self, one: Tensor, two: Tensor) -> dict[str, Tensor]:
        """One step's loss of the critic, on detached vectors (B, D): both orders of each pair, halves of the loss."""
        one, two = one.detach(), two.detach()
        settings, width = self.settings, one.shape[1]
        u = self.base.ranks.draw(one.shape[0], 2, width)  # drawn whatever the jitter, so that arms share what follows
        shifts = [noise(part, width) for part in u.unbind(1)]
        same = [(one, two), (two, one)]
        other = [(one, self.others(two)), (two, self.others(one))]
        if settings.jitter != "none":
            same = [(a + shifts[0], b + shifts[1]) for a, b in same]
        if settings.jitter == "both":
            other = [(a + shifts[0], b + shifts[1]) for a, b in other]
        scores = self.scores([*same, *other])
        cost = FORMS[settings.form]
        loss = (cost(scores[0], scores[2]) + cost(scores[1], scores[3])) / 2
        alike, different = torch.cat(scores[:2]), torch.cat(scores[2:])
        right = torch.cat([alike > 0, different <= 0]).float().mean()
        return {"loss": loss, "same": alike.mean(), "different": different.mean(), "accuracy": right}

    def scores(self, pairs: list[tuple[Tensor, Tensor]]) -> list[Tensor]:
        """r of each list of pairs, (B,) each: a batch of BatchNorm for each, as released, or one for all."""
        if not self.settings.joint_norm:
            return [self.critic(one, two) for one, two in pairs]
        ones, twos = (torch.cat(part) for part in zip(*pairs))
        return list(self.critic(ones, twos).chunk(len(pairs)))

    def others(self, vectors: Tensor) -> Tensor:
        """For each image the vector of another one of the global batch, (B, D): the batch reversed, or moved on by one."""
        everyone = self.base.ranks.gather(vectors)
        everyone = everyone.flip(0) if self.settings.negatives == "reversal" else everyone.roll(1, 0)
        return everyone[self.base.ranks.own(vectors.shape[0])]

    def trained(self, phase: Phase = TRAIN) -> dict[str, nn.Parameter]:
        """The critic's phase trains the critic and nothing else does; the local-local step reaches no predictor."""
        named = super().trained(phase)
        if phase.name == CRITIC:
            return {name: value for name, value in named.items() if name.startswith("critic.")}
        skipped = ("critic.", "levels.pooled.predictor.") if phase.name == LOCAL_LOCAL else ("critic.",)
        return {name: value for name, value in named.items() if not name.startswith(skipped)}

    def bound(self, phase: Phase, norm: Tensor) -> Tensor | None:
        """Code mode: the local-local gradient stays below `clip` of the last main gradient, whose norm is kept here."""
        if phase.name == LOCAL_LOCAL:
            return self.settings.clip * self.main_norm
        self.main_norm.copy_(norm)
        return torch.full_like(norm, 100.0)

    def before_epoch(self, epoch: int) -> None:
        self.main_norm.zero_()

    @torch.no_grad()
    def after_step(self, encoded: Encoded, progress: Tensor) -> None:
        super().after_step(encoded, progress)
        if self.settings.mode == "code" and self.settings.ema_twice:
            self.move_twins(progress)
