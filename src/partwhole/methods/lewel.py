"""LEWEL (Huang et al., CVPR 2022, arXiv 2203.14898): learn where to pool.

The projector runs on the pooled vector and on every position of the map. What it makes of the positions,
normalised over channels
and put through a softmax over space, are **alignment maps**: weights by which the map is pooled again, once
for each of K aligned vectors. A second level compares aligned vector k of one view with aligned vector k of
the other. In the end only the encoder is used, with its plain average.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from partwhole.arithmetic import full_precision, widened
from partwhole.errors import BadInput
from partwhole.methods.base import Base, Level, Tokens
from partwhole.methods.method import TRAIN, Method, Phase
from partwhole.models.resnet import Features
from partwhole.recipes.lewel import Lewel as LewelSettings
from partwhole.recipes.schema import Recipe


def alignment_maps(projected: Tensor, scale: float) -> Tensor:
    """Projected positions (B, N, D) -> maps (B, N, D): unit length over D, over `scale`, softmax over N;
    float32 or wider.

    Every logit lies within 1 / scale and their mean square is 1 / (D scale^2). At scale 1 the divergences of
    an image's maps add up to at most (e^2 + 1) / 4 nats: few maps can be far from even.
    """
    return (F.normalize(widened(projected), dim=-1) / scale).softmax(1)


def pool(maps: Tensor, positions: Tensor, groups: int) -> Tensor:
    """Positions (B, N, C) pooled by maps (B, N, D): K = D / groups vectors (B, K, C).

    Channels and maps are cut into `groups` contiguous blocks; block j of vector k is pooled by map j K + k.
    """
    maps, positions = maps.unflatten(2, (groups, -1)), positions.unflatten(2, (groups, -1))
    return torch.einsum("bngk,bngc->bkgc", maps, positions.to(maps.dtype)).flatten(2)


def divergence(maps: Tensor) -> Tensor:
    """How far maps (B, N, D) are from even: their Kullback-Leibler divergence from 1 / N, nats, (B, D); log N
    less entropy.
    """
    return torch.special.xlogy(maps, maps * maps.shape[1]).sum(1)


class Lewel(Method):
    """LEWEL on any base.

    settings: a recipe's `method.lewel`.  weight: of the pooled level; the aligned level gets the rest.  maps:
    learned, detached (no gradient passes through them) or uniform (every aligned vector is the
    average).  head: coupled, where the pooled vector's projector makes the maps too; separate, where one of
    their own does.
    """

    reports = ("map_kl", "map_peak")

    def __init__(self, base: Base, settings: LewelSettings):
        if not base.encoder.pools_by_mean:
            raise BadInput(
                "LEWEL needs an encoder that pools by the mean alone; use one without a head after its "
                "pooling"
            )
        super().__init__(base, {"pooled": settings.weight, "aligned": 1 - settings.weight})
        self.settings = settings
        self.mapper = None
        if settings.head == "separate":
            self.mapper = Level(base.projector(base.encoder.channels, base.norm.rows), None, None, base.mode)

    @classmethod
    def of_recipe(cls, base: Base, recipe: Recipe) -> "Lewel":
        return cls(base, recipe.method.lewel)

    def embed(self, features: Features, role: str) -> Tokens:
        """pooled: (B, 1, D); aligned: (B, K, D).

        Pooled vector and positions go through in one pass and share BatchNorm's rows.
        """
        pooled, _, aligned = self.alignment(features, role)
        return {"pooled": pooled, "aligned": self.levels["aligned"].project(aligned, role)}

    def alignment(self, features: Features, role: str = "online") -> tuple[Tensor, Tensor, Tensor]:
        """The projected pooled vector (B, 1, D), the maps (B, N, D), N = h w row by row, and what they pool,
        (B, K, C).
        """
        positions = features.maps.flatten(2).mT  # (B, N, C)
        whole, level = features.pooled[:, None], self.levels["pooled"]
        if self.mapper is None:
            pooled, projected = level.project(torch.cat([whole, positions], 1), role).split(
                [1, positions.shape[1]], 1
            )
        else:
            pooled, projected = level.project(whole, role), self.mapper.project(positions, role)
        with full_precision(positions.device):
            if self.settings.maps == "uniform":
                maps = torch.full_like(widened(projected), 1 / positions.shape[1])
            else:
                maps = alignment_maps(
                    projected.detach() if self.settings.maps == "detached" else projected, self.settings.scale
                )
            return pooled, maps, pool(maps, positions, self.settings.groups)

    def trained(self, phase: Phase = TRAIN) -> dict[str, torch.nn.Parameter]:
        """All but a map head whose maps carry no gradient: it stays as it was made."""
        named = super().trained(phase)
        if self.settings.maps == "learned":
            return named
        return {name: parameter for name, parameter in named.items() if not name.startswith("mapper.")}

    def report(self, features: Features) -> Tensor:
        """map_kl: mean divergence of an image's maps from even, in nats.  map_peak: mean of their largest
        weights, even being 1.
        """
        maps = self.alignment(features)[1]
        return torch.stack([divergence(maps).mean(1), maps.amax(1).mean(1) * maps.shape[1]], 1)

    def remembered(self, name: str, keys: Tensor) -> Tensor:
        """Of K aligned vectors one an image, in turn, so that a step does not flush the queue with near
        copies.
        """
        if name == "pooled":
            return super().remembered(name, keys)
        rows = torch.arange(keys.shape[0], device=keys.device)
        # Places in the global batch, so that N ranks keep what one would.
        images = rows + self.base.ranks.own(keys.shape[0]).start
        return keys[rows, images % keys.shape[1]]
