"""LoGo's learned affinity: a critic that tells two local crops of one image from two of different images.

Formulas: Eq. 6 is the paper's; the logistic form, the jitter, the reversed batch and both orders are the released code's.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

JITTER = 0.3  # length of the noise beside unit vectors, as released


class Affinity(nn.Module):
    """r(u, v), a scalar for two vectors: (B, D), (B, D) -> (B,). The order counts.

    Two hidden layers with BatchNorm, as released.
    """

    def __init__(self, width: int, hidden: int, norm):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(2 * width, hidden), norm(hidden), nn.ReLU(inplace=True),
            nn.Linear(hidden, hidden), norm(hidden), nn.ReLU(inplace=True), nn.Linear(hidden, 1),
        )  # fmt: skip

    def forward(self, one: Tensor, two: Tensor) -> Tensor:
        return self.layers(torch.cat([one, two], 1))[:, 0]


def noise(u: Tensor, width: int) -> Tensor:
    """Uniform numbers to Gaussian ones of mean length JITTER: (B, D) in [0, 1) -> (B, D)."""
    return JITTER / math.sqrt(width) * torch.special.ndtri(u.double().clamp(1e-7, 1 - 1e-7)).to(u.dtype)


def logistic(same: Tensor, different: Tensor) -> Tensor:
    """mean softplus(-r) over same-image pairs + mean softplus(r) over others: (B,), (B,) -> (), in nats.

    Binary cross-entropy, summed over the two kinds of pairs. 2 ln 2 = 1.386 at r = 0; at its minimum 2 ln 2 less twice the
    Jensen-Shannon divergence of the two kinds.
    """
    return F.softplus(-same).mean() + F.softplus(different).mean()


def difference(same: Tensor, different: Tensor) -> Tensor:
    """-(mean a(same) - mean a(different)), a = softplus(r): the paper's Eq. 6, to be minimised here; not bounded below."""
    return F.softplus(different).mean() - F.softplus(same).mean()


FORMS = {"logistic": logistic, "eq6": difference}


def repulsion(same: Tensor) -> Tensor:
    """mean a(z1, z2) = mean softplus(r): what the encoder lowers (Eq. 5). ln 2 at r = 0; its gradient is sigmoid(r)."""
    return F.softplus(same).mean()
