"""MoCo v2 (He et al., CVPR 2020, arXiv 1911.05722; arXiv 2003.04297): a queue of keys from a slowly moving
encoder.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from partwhole.arithmetic import widened
from partwhole.methods.base import GLOBALS, Base, Level, Pair, both_ways


class MoCo(Base):
    """One way, from the first view's query to the second view's key, or both ways averaged (`symmetric`)."""

    ema = True

    def __init__(self, encoder, norm, ranks, settings):
        super().__init__(encoder, norm, ranks, settings)
        self.pairs = both_ways(0.5) if settings.symmetric else (Pair(*GLOBALS, weight=1.0),)

    def level(self, channels: int) -> Level:
        return QueueLevel(self, channels)


class QueueLevel(Level):
    """Queries meet the queue as it was before their step; `remember` then writes keys at its pointer,
    wrapping at the end.
    """

    def __init__(self, base: MoCo, channels: int):
        settings = base.settings
        super().__init__(base.projector(channels), None, None, base.mode)
        self.ranks, self.temperature = base.ranks, settings.temperature
        start = torch.randn(settings.queue, settings.projector[-1])
        self.register_buffer("queue", F.normalize(start, dim=1))
        self.register_buffer("pointer", torch.zeros((), dtype=torch.int64))

    def cost(self, predicted: Tensor, target: Tensor, frozen: bool = True) -> Tensor:
        key = F.normalize(target.detach(), dim=-1)
        return info_nce(F.normalize(predicted, dim=-1), key, self.queue, temperature=self.temperature)

    @torch.no_grad()
    def remember(self, keys: Tensor) -> None:
        """keys (B, D) of every rank enter the queue; of more keys than it holds, the last ones stay."""
        keys = F.normalize(self.ranks.gather(widened(keys)), dim=1).to(self.queue.dtype)
        keys = keys[-self.queue.shape[0] :]
        places = (self.pointer + torch.arange(keys.shape[0], device=keys.device)) % self.queue.shape[0]
        self.queue.index_copy_(0, places, keys)
        self.pointer.add_(keys.shape[0]).remainder_(self.queue.shape[0])


def info_nce(query: Tensor, key: Tensor, negatives: Tensor, *, temperature: float) -> Tensor:
    """Cost in nats of finding each query's key among Q negatives (MoCo, Eq. 1).

    -log exp(q.k+ / tau) / (exp(q.k+ / tau) + sum_j exp(q.k_j / tau));
    log(1 + Q) when all similarities are equal.
    query q, key k+: (..., D) unit vectors, of shapes that broadcast.
    negatives k_j: (Q, D) unit rows, no gradient.  temperature tau > 0, else ValueError.
    Returns (...).
    """
    if temperature <= 0:
        raise ValueError(f"temperature is {temperature}; it must be above 0 (MoCo v2 uses 0.2)")
    positive = (query * key).sum(-1, keepdim=True)
    logits = torch.cat([positive, query @ negatives.T], -1) / temperature  # (..., 1 + Q)
    return logits.logsumexp(-1) - logits[..., 0]
