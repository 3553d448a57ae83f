"""SimCLR (Chen et al., ICML 2020, arXiv 2002.05709): find the other view of the same image among everything else in the batch."""

import torch
import torch.nn.functional as F
from torch import Tensor

from partwhole.methods.base import Base, Level


class SimCLR(Base):
    """Both directions, averaged; negatives are the other images' views, of all ranks; their gradients count too."""

    def level(self, channels: int) -> Level:
        return ContrastLevel(self, channels)


class ContrastLevel(Level):
    """A level compared by NT-Xent over all ranks' images."""

    def __init__(self, base: SimCLR, channels: int):
        super().__init__(base.projector(channels, base.norm.rows), None, None, base.mode)
        self.ranks, self.temperature = base.ranks, base.settings.temperature

    def cost(self, predicted: Tensor, target: Tensor) -> Tensor:
        """The target is not detached here: SimCLR pulls both views."""
        query, key = F.normalize(predicted, dim=-1), F.normalize(target, dim=-1)
        return nt_xent(
            query, key, queries=self.ranks.gather(query), keys=self.ranks.gather(key),
            first=self.ranks.own(query.shape[0]).start, temperature=self.temperature,
        )  # fmt: skip


def nt_xent(
    query: Tensor, key: Tensor, *, temperature: float, queries: Tensor | None = None, keys: Tensor | None = None, first: int = 0
) -> Tensor:
    """Cost in nats of finding each query's key among the 2N - 1 other vectors of a batch of N images (SimCLR, Eq. 1).

    l_i = -log exp(q_i.k_i / tau) / (sum_j exp(q_i.k_j / tau) + sum_{j != i} exp(q_i.q_j / tau));  log(2N - 1) when all are equal.
    query q, key k: (B, T, D) unit vectors, the two views; token t meets token t of other images only.  queries, keys: (N, T, D),
    those of all ranks, of which ours begin at row `first`; by default our own.  temperature tau > 0, else ValueError.
    Returns (B, T).
    """
    if temperature <= 0:
        raise ValueError(f"temperature is {temperature}; it must be above 0 (SimCLR uses 0.5 on CIFAR-10)")
    queries, keys = query if queries is None else queries, key if keys is None else keys
    across = torch.einsum("btd,ntd->btn", query, keys) / temperature
    within = torch.einsum("btd,ntd->btn", query, queries) / temperature
    places = torch.arange(queries.shape[0], device=query.device)
    itself = places[first : first + query.shape[0], None] == places  # (B, N)
    within = within.masked_fill(itself[:, None], float("-inf"))
    positive = (query * key).sum(-1) / temperature
    return torch.cat([across, within], -1).logsumexp(-1) - positive
