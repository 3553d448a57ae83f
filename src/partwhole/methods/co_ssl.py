"""CO-SSL (Aubret, Teuliere & Triesch 2025, arXiv 2501.02860): every part of a view predicts the other's
whole.

From the paper: local representations, taken before pooling, are aligned with a global representation of the
image, by the loss of any instance discrimination. Second-hand: local heads of their own, made of 1x1
convolutions, a weight w_s that balances both losses, a second target head. Ours, since nothing accessible
settles it: which target (all three readings are here), the convex sum, its 0.3, the mean over positions, and
everything on bases other than BYOL. No code was published.
"""

from collections.abc import Callable

import torch.nn.functional as F
from torch import Tensor, nn

from partwhole.methods.base import Base, Level, Pair, Tokens
from partwhole.methods.method import TRAIN, Encoded, Method, Phase
from partwhole.models.resnet import Features
from partwhole.recipes.co_ssl import CoSSL as CoSSLSettings
from partwhole.recipes.schema import Recipe
from partwhole.views.augment import LOCAL


class SharedLevel(Level):
    """Another level's heads under a second name: it has no parameters and remembers nothing itself."""

    def __init__(self, level: Level):
        nn.Module.__init__(self)
        self.__dict__["level"] = level  # a reference, not a child: its parameters are trained and saved once

    def project(self, tokens: Tensor, role: str) -> Tensor:
        return self.level.project(tokens, role)

    def predict(self, tokens: Tensor) -> Tensor:
        return self.level.predict(tokens)

    def cost(self, predicted: Tensor, target: Tensor, frozen: bool = True) -> Tensor:
        return self.level.cost(predicted, target, frozen)


class CoSSL(Method):
    """CO-SSL on any base: loss = (1 - w_s) pooled + w_s local, the local loss a mean over positions.

    Local vectors h_i (every position of the map) meet the pooled target of the other view, never another
    local vector. That target is always frozen: on SimCLR the pooled vectors of other images are the only
    negatives, as those of the queue are on MoCo. A linear head on positions (B, N, C) is a 1x1 convolution.

    settings: a recipe's `method.co_ssl`.  weight: w_s.  direction both: the pooled vector predicts each local
    target too, and the local loss is the mean of both ways.  target_head separate: the target is what the
    local projector makes of the pooled vector.  shared_heads: one projector and predictor, called once for
    pooled and once for local vectors, so that BatchNorm's running statistics follow both.  positions: how
    many of a map's are drawn.  crops: how many local crops there are. Each is a part too: its pooled vector
    goes through the local heads and meets the pooled targets that the base has, and that cost is one more
    term of the local loss.
    """

    reports = ("redundancy",)

    def __init__(self, base: Base, settings: CoSSLSettings, crops: int = 0):
        # The local level is made last: with the same seed all that a base has starts as it does alone.
        names = ("pooled",) if settings.shared_heads else ("pooled", "local")
        super().__init__(base, dict.fromkeys(names, 1.0))
        self.weights = {"pooled": 1 - settings.weight, "local": settings.weight}
        if settings.shared_heads:
            self.levels["local"] = SharedLevel(self.levels["pooled"])
        self.settings, self.crops = settings, crops
        self.against = {"local": "local_pooled" if settings.target_head == "separate" else "pooled"}

    @classmethod
    def of_recipe(cls, base: Base, recipe: Recipe) -> "CoSSL":
        return cls(base, recipe.method.co_ssl, recipe.views.local.count if recipe.views.local else 0)

    @property
    def pairs(self) -> tuple[Pair, ...]:
        return (*self.base.pairs, *self.crop_pairs)

    @property
    def crop_pairs(self) -> tuple[Pair, ...]:
        """Every local crop with every target view of the base; in all as heavy as the base's own pairs."""
        targets = sorted({pair.target for pair in self.base.pairs})
        weight = sum(pair.weight for pair in self.base.pairs) / max(1, self.crops * len(targets))
        return tuple(Pair((LOCAL, crop), target, weight) for crop in range(self.crops) for target in targets)

    def embedding(self, group: str) -> Callable[[Features, str], Tokens]:
        return self.embed_crop if group == LOCAL else self.embed

    def embed_crop(self, features: Features, role: str) -> Tokens:
        """local: (B, 1, D), of a local crop's pooled vector."""
        return {"local": self.levels["local"].project(features.pooled[:, None], role)}

    def embed(self, features: Features, role: str) -> Tokens:
        """pooled: (B, 1, D).  local: (B, N, D), of positions.  local_pooled: (B, 1, D), what `separate`
        meets.
        """
        local, whole = self.levels["local"], features.pooled[:, None]
        tokens = {"pooled": self.levels["pooled"].project(whole, role)}
        if role == "online" or self.settings.direction == "both":
            tokens["local"] = local.project(self.drawn(features.positions), role)
        if self.settings.target_head == "separate" and (role == "target" or not self.base.ema):
            tokens["local_pooled"] = local.project(whole, role)
        return tokens

    def drawn(self, vectors: Tensor) -> Tensor:
        """`positions` of each image's vectors (B, N, C), without replacement; right on average."""
        count = self.settings.positions
        if count is None or count == vectors.shape[1]:
            return vectors
        views = 2 if self.base.settings.concatenate else 1  # in one pass
        # By image, so ranks agree.
        u = self.base.ranks.draw(vectors.shape[0] // views, views, vectors.shape[1])
        u = u.transpose(0, 1).flatten(0, 1)
        return vectors.gather(1, u.argsort(1)[:, :count, None].expand(-1, -1, vectors.shape[2]))

    def terms(self, encoded: Encoded, phase: Phase = TRAIN) -> dict[str, Tensor]:
        """pooled, local and their weighted sum. `local`: positions with the pooled target.

        Where the recipe asks for them, global_to_local, the other way, and crop, local crops with the pooled
        target, are parts of the local loss too: it is the mean of its terms.
        """
        frozen = tuple(Pair(pair.online, pair.target, pair.weight) for pair in self.base.pairs)
        pooled = self.over_pairs(encoded, "pooled", self.base.pairs)
        terms = {"local": self.over_pairs(encoded, "local", frozen)}
        if self.settings.direction == "both":
            terms["global_to_local"] = self.global_to_local(encoded, frozen)
        if self.crops:
            terms["crop"] = self.over_pairs(encoded, "local", self.crop_pairs)
        local = sum(terms.values()) / len(terms)
        total = self.weights["pooled"] * pooled + self.weights["local"] * local
        return {"pooled": pooled, **terms, "loss": self.base.settings.loss_scale * total}

    def global_to_local(self, encoded: Encoded, pairs: tuple[Pair, ...]) -> Tensor:
        """Each pooled prediction with every local target of the other view."""
        level, total = self.levels["pooled"], 0.0
        for pair in pairs:
            target = encoded.target[pair.target]["local"]
            predicted = encoded.predicted[pair.online]["pooled"].expand(-1, target.shape[1], -1)
            total = total + pair.weight * level.compare(predicted, target).mean()
        return total

    def report(self, features: Features) -> Tensor:
        """redundancy: the mean cosine between two local vectors of an image."""
        unit = F.normalize(features.positions.float(), dim=-1)
        count = unit.shape[1]
        return ((unit.sum(1).square().sum(-1) - count) / max(1, count * (count - 1)))[:, None]
