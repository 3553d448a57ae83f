"""LoGo (Zhang et al., CVPR 2022, arXiv 2203.17205): local crops agree with the global ones, and may differ
from each other.

From the paper (its equations and Algorithm 1; the text could not be reached): four terms that pull each local
crop to each frozen global one (Eq. 4), a learned affinity of two local crops that the encoder lowers (Eq. 5),
with a weight lambda (Eq. 9), in turn with the critic that learns it (Eq. 6). From the released code (MoCo
alone): the critic's logistic form and the whole of mode `code`. Ours: what both mean on the other bases. On
SimCLR the four terms look for their target among those of other images.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from partwhole.arithmetic import full_precision, widened
from partwhole.methods.affinity import FORMS, NOISE, Affinity, accuracy, normals, partners, repulsion
from partwhole.methods.base import GLOBALS, Base, Pair
from partwhole.methods.method import TRAIN, Encoded, Method, Phase
from partwhole.models.normalisation import Normalisation
from partwhole.recipes.logo import LoGo as LoGoSettings
from partwhole.recipes.schema import Recipe
from partwhole.views.augment import LOCAL, Views

LOCALS = ((LOCAL, 0), (LOCAL, 1))
CRITIC, LOCAL_LOCAL = "critic", "local_local"
LARGEST = 100.0  # code mode: cap of the main gradient's norm, as released
STREAM = (
    "logo"  # of random numbers: what is drawn here moves no crop, so arms of a comparison see the same crops
)


class LoGo(Method):
    """LoGo on any base: its own pairs, L_gg; four local-to-global pairs, L_lg; the affinity of two local
    crops, L_ll.

    weights: L_lg is counted in units of the base's own loss: the mean of its four costs, times what the
    base's own pairs weigh (1; 2 on BYOL, which sums its directions). mean is the released (L_gg + L_lg) / 6,
    whose L_gg has two terms: 2/6 L_gg + 4/6 L_lg, which has the size of the base's own loss, so that its
    learning rate keeps its meaning. sum is Eqs. 3, 4 and 9 as
    printed, one term and four: L_gg + 4 L_lg, five times that size.
    affinity: learned, by a critic with a phase, an optimiser and a constant rate of its own; cosine, the mean
    cosine of the two local vectors; none, which is multi-crop. mode paper (Algorithm 1): the critic's step,
    then one on L_gg, L_lg and lambda L_ll, on one encoding.
    mode code: the critic's step and one on L_ll, both on an encoding of the local crops alone, the second
    with a gradient of at most `clip` times the norm of the last main one; then the main step on a fresh
    encoding, its norm recorded, then capped at 100. Each phase has its optimiser, so weight decay acts twice
    on the encoder, as released. That norm is 0 when an epoch begins: the first L_ll then has no effect but
    through momentum.

    In both modes, BatchNorm's running statistics in encoder and heads are those of global crops: whole images
    are what the network is evaluated on. In the released code four of the six passes that move them are of
    local crops. The critic's BatchNorm normalises over the global batch, whatever the encoder's does.
    """

    def __init__(self, base: Base, settings: LoGoSettings, locals: bool = True):
        """locals: whether there are local crops; without them this is the base, bit for bit."""
        super().__init__(base)
        self.settings, self.critic = settings, None
        whole = sum(pair.weight for pair in base.pairs)
        views = LOCALS if locals else ()
        self.local_pairs = tuple(Pair(local, target, whole / 4) for local in views for target in GLOBALS)
        self.repels = locals and settings.affinity != "none"
        if (
            self.repels and settings.affinity == "learned"
        ):  # made last: all that a base has starts as it does alone
            rows = Normalisation("sync", base.ranks).rows
            self.critic = Affinity(base.settings.projector[-1], settings.hidden, rows)
        self.phases = self._phases()
        if settings.mode == "code":
            for name in ("main_norm", "effective_lambda", "progress"):
                self.register_buffer(name, torch.zeros(()))

    @classmethod
    def of_recipe(cls, base: Base, recipe: Recipe) -> "LoGo":
        return cls(base, recipe.method.logo)

    def _phases(self) -> tuple[Phase, ...]:
        critic = () if self.critic is None else (Phase(CRITIC, lr=self.settings.critic_lr),)
        if self.settings.mode == "paper":
            return (*critic, TRAIN)
        local_local = (Phase(LOCAL_LOCAL, bounded=True),) if self.repels else ()
        return (*critic, *local_local, Phase(fresh=True, bounded=True))

    @property
    def pairs(self) -> tuple[Pair, ...]:
        return (*self.base.pairs, *self.local_pairs)

    def trained(self, phase: Phase = TRAIN) -> dict[str, nn.Parameter]:
        """critic: the critic.  local_local: encoder and projector, whose output it sees.

        Main: all but the critic.
        """
        named = super().trained(phase)
        if phase.name == LOCAL_LOCAL:
            reached = ("base.encoder.", "levels.pooled.projector.")
            return {name: value for name, value in named.items() if name.startswith(reached)}
        return {
            name: value
            for name, value in named.items()
            if name.startswith("critic.") == (phase.name == CRITIC)
        }

    def encode(self, views: Views, phase: Phase = TRAIN) -> Encoded:
        """All crops; in code mode the projected local ones alone for the phases before the main one."""
        if self.settings.mode == "code" and phase.name != TRAIN.name:
            with self.statistics_of(LOCAL):
                tokens = self._see_group(LOCAL, views.locals.pixels, {view: {"online"} for view in LOCALS})
            return Encoded(online={view: tokens["online", view] for view in LOCALS})
        if self.settings.mode == "code" and self.repels and self.settings.ema_twice:
            # As released: once after the local-local step, once after the main one.
            self.move_twins(self.progress)
        return super().encode(views, phase)

    def terms(self, encoded: Encoded, phase: Phase = TRAIN) -> dict[str, Tensor]:
        """The main phase: global_global, local_global, the weighted sum, and in paper mode local_local.

        Of the critic: its loss, the mean r of pairs of one image (same) and of two (different), and its
        accuracy. In code mode effective_lambda, the factor by which the bound shortened this step's
        local-local gradient.
        """
        if phase.name == CRITIC:
            return self.critic_terms(*(vectors.detach() for vectors in self.local_vectors(encoded)))
        if phase.name == LOCAL_LOCAL:
            return {"loss": self.local_local(*self.local_vectors(encoded))}
        of_globals, of_locals = self.shares()
        terms = {"global_global": self.over_pairs(encoded, "pooled", self.base.pairs)}
        total = of_globals * terms["global_global"]
        if self.local_pairs:
            terms["local_global"] = self.over_pairs(encoded, "pooled", self.local_pairs)
            total = total + of_locals * terms["local_global"]
        if self.repels and self.settings.mode == "paper":
            terms["local_local"] = self.local_local(*self.local_vectors(encoded))
            total = total + self.settings.lam * terms["local_local"]
        elif self.repels:
            terms["effective_lambda"] = self.effective_lambda.clone()
        return terms | {"loss": self.base.settings.loss_scale * total}

    def shares(self) -> tuple[float, float]:
        """How much global_global and local_global count: 2/6 and 4/6, or 1 and 4; 1 and 0 without local
        crops.
        """
        count = len(self.local_pairs)
        return (
            (1.0, float(count)) if self.settings.weights == "sum" else (2 / (2 + count), count / (2 + count))
        )

    def local_vectors(self, encoded: Encoded) -> tuple[Tensor, Tensor]:
        """The projected vectors of both local views that the affinity sees: each (B, D), float32 or wider."""
        one, two = (widened(encoded.online[view]["pooled"][:, 0]) for view in LOCALS)
        return (F.normalize(one, dim=1), F.normalize(two, dim=1)) if self.settings.normalise else (one, two)

    def local_local(self, one: Tensor, two: Tensor) -> Tensor:
        """How alike the two local crops of an image are: (B, D), (B, D) -> (); the encoder lowers it."""
        with full_precision(one.device):
            if self.critic is None:
                return F.cosine_similarity(one, two, dim=1).mean()
            pairs = [(one, two)] if self.settings.orders == "one" else [(one, two), (two, one)]
            if not self.settings.joint_norm:
                return repulsion(self.critic.scores(pairs, joint=False))
            # Among both kinds, as it was trained.
            others = [(a.detach(), self.others(b.detach())) for a, b in pairs]
            return repulsion(self.critic.scores([*pairs, *others], joint=True)[: len(pairs)])

    def critic_terms(self, one: Tensor, two: Tensor) -> dict[str, Tensor]:
        """One step's loss of the critic, on detached vectors (B, D): both orders of each pair, halves of the
        loss.
        """
        with full_precision(one.device):
            same, different = [(one, two), (two, one)], [(one, self.others(two)), (two, self.others(one))]
            if self.settings.jitter != "none":
                first, second = self.noise(one)
                same = [(a + first, b + second) for a, b in same]
                if self.settings.jitter == "both":
                    different = [(a + first, b + second) for a, b in different]
            scores = self.critic.scores([*same, *different], self.settings.joint_norm)
            same, different = scores[:2], scores[2:]
            loss = FORMS[self.settings.form](same, different)
            return {
                "loss": loss,
                "same": same.mean(),
                "different": different.mean(),
                "accuracy": accuracy(same, different),
            }

    def noise(self, vectors: Tensor) -> tuple[Tensor, Tensor]:
        """Gaussian noise for the first and the second place of a pair, each (B, D): one draw, for both
        orders.
        """
        count, width = vectors.shape
        drawn = normals(self.base.ranks.draw(count, 2, width, stream=STREAM)).to(vectors.dtype)
        return (drawn * NOISE / width**0.5).unbind(1)

    def others(self, vectors: Tensor) -> Tensor:
        """For each image the vector of another one of the global batch, (B, D) -> (B, D)."""
        ranks, everyone, shift = self.base.ranks, self.base.ranks.gather(vectors), None
        count = everyone.shape[0]
        if self.settings.negatives == "roll":
            shift = 1 + ranks.permutation(count - 1, stream=STREAM)[0]
        return everyone[partners(count, vectors.device, shift)[ranks.own(vectors.shape[0])]]

    def bound(self, phase: Phase, norm: Tensor) -> Tensor | None:
        """local_local: `clip` of the last main gradient's norm.  Main: 100, after its norm was recorded."""
        if phase.name == LOCAL_LOCAL:
            bound = self.settings.clip * self.main_norm
            self.effective_lambda.copy_((bound / (norm + 1e-12)).clamp(max=1))
            return bound
        # Fp16: an overflow says nothing.
        self.main_norm.copy_(torch.where(norm.isfinite(), norm, self.main_norm))
        return torch.full_like(norm, LARGEST)

    def before_epoch(self, epoch: int) -> None:
        if self.settings.mode == "code":
            self.main_norm.zero_()

    @torch.no_grad()
    def after_step(self, encoded: Encoded, progress: Tensor) -> None:
        super().after_step(encoded, progress)
        if self.settings.mode == "code":
            self.progress.copy_(progress)
