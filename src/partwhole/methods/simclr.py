"""SimCLR (Chen et al., ICML 2020, arXiv 2002.05709): find the other view of the same image among everything
else in the batch.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from partwhole.methods.base import Base, Level, both_ways


class SimCLR(Base):
    """Both directions, averaged; negatives are the other images' views, of all ranks; their gradients count
    too.
    """

    pairs = both_ways(0.5, frozen=False)

    def level(self, channels: int) -> Level:
        return ContrastLevel(self, channels)


class ContrastLevel(Level):
    """A level compared by NT-Xent over all ranks' images."""

    def __init__(self, base: SimCLR, channels: int):
        super().__init__(base.projector(channels, base.norm.rows), None, None, base.mode)
        self.ranks, self.temperature = base.ranks, base.settings.temperature

    def cost(self, predicted: Tensor, target: Tensor, frozen: bool = True) -> Tensor:
        """SimCLR's own pairs pull both views.

        A frozen target is only looked for, among the targets of other images.
        """
        query, key = (
            F.normalize(predicted, dim=-1),
            F.normalize(target.detach() if frozen else target, dim=-1),
        )
        return nt_xent(
            query, key, queries=None if frozen else self.ranks.gather(query), keys=self.ranks.gather(key),
            first=self.ranks.own(query.shape[0]).start, temperature=self.temperature, within=not frozen,
        )  # fmt: skip


def nt_xent(
    query: Tensor,
    key: Tensor,
    *,
    temperature: float,
    queries: Tensor | None = None,
    keys: Tensor | None = None,
    first: int = 0,
    within: bool = True,
) -> Tensor:
    """Cost in nats of finding each query's key among the 2N - 1 other vectors of a batch of N images (SimCLR,
    Eq. 1).

    l_i = -log exp(q_i.k_i / tau) / (sum_j exp(q_i.k_j / tau) + sum_{j != i} exp(q_i.q_j / tau));
    log(2N - 1) when all are equal.
    query q: (B, T, D) unit vectors of one view.  key k: (B, T or 1, D), of the other; token t meets token t
    of
    other images only, or their one token.  queries, keys: (N, T or 1, D), those of all ranks, of which ours
    begin at row `first`; by default our own.
    within: whether other queries are negatives too; without them N - 1 keys are left.  temperature tau > 0,
    else ValueError. Returns (B, T).
    """
    if temperature <= 0:
        raise ValueError(f"temperature is {temperature}; it must be above 0 (SimCLR uses 0.5 on CIFAR-10)")
    queries, keys = query if queries is None else queries, key if keys is None else keys
    logits = similarities(query, keys) / temperature
    if within:
        places = torch.arange(queries.shape[0], device=query.device)
        itself = places[first : first + query.shape[0], None] == places  # (B, N)
        others = (similarities(query, queries) / temperature).masked_fill(itself[:, None], float("-inf"))
        logits = torch.cat([logits, others], -1)
    positive = (query * key).sum(-1) / temperature
    return logits.logsumexp(-1) - positive


def similarities(query: Tensor, others: Tensor) -> Tensor:
    """(B, T, D) with (N, T, D), token by token, or with (N, 1, D), every token with the one -> (B, T, N)."""
    if others.shape[1] != query.shape[1]:
        others = others.expand(-1, query.shape[1], -1)
    return torch.einsum("btd,ntd->btn", query, others)
