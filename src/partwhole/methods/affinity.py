"""LoGo's learned affinity: a critic that tells two local crops of one image from two of different images.

Formulas: Eqs. 5 and 6 are the paper's; the logistic form, the noise, the reversed batch and both orders are
the released code's; the affinity a = softplus(r) that both forms share is second-hand; the random shift is
ours.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from partwhole.models.heads import mlp

NOISE = 0.3  # the length to be expected of the noise on a unit vector, whatever its width (released code)


class Affinity(nn.Module):
    """r(u, v): pairs of vectors (B, D) and (B, D) -> logits (B,), above 0 where both seem to come from one
    image.

    Two hidden layers with BatchNorm and ReLU on the concatenated pair, then one number: the released network;
    the paper's could not be read. There, hidden layers have a bias too, which BatchNorm takes out again. The
    order of a pair counts.
    norm: from a width to a normalisation layer.
    """

    def __init__(self, width: int, hidden: int, norm):
        super().__init__()
        self.layers = mlp(2 * width, (hidden, hidden, 1), norm=norm)

    def forward(self, one: Tensor, two: Tensor) -> Tensor:
        return self.layers(torch.cat([one, two], 1))[:, 0]

    def scores(self, pairs: list[tuple[Tensor, Tensor]], joint: bool) -> Tensor:
        """r of several sets of B pairs, (sets, B): a batch of BatchNorm for each set, as released, or one for
        all.
        """
        if not joint:
            return torch.stack([self(one, two) for one, two in pairs])
        ones, twos = (torch.cat(part) for part in zip(*pairs))
        return self(ones, twos).unflatten(0, (len(pairs), -1))


def logistic(same: Tensor, different: Tensor) -> Tensor:
    """mean softplus(-r) over pairs of one image + mean softplus(r) over pairs of two: any shapes -> (), in
    nats.

    Binary cross-entropy, summed over the two kinds of pairs. 2 ln 2 = 1.386 at r = 0; at its minimum 2 ln 2
    less twice the Jensen-Shannon divergence of the two kinds (ours).
    """
    return F.softplus(-same).mean() + F.softplus(different).mean()


def difference(same: Tensor, different: Tensor) -> Tensor:
    """-(mean a(same) - mean a(different)), a = softplus(r): minus Omega of Eq. 6, to be minimised. 0 at r =
    0.

    Not bounded below, and the gradient of its first part dies where r is far below 0 (ours).
    """
    return F.softplus(different).mean() - F.softplus(same).mean()


FORMS = {"logistic": logistic, "eq6": difference}


def repulsion(same: Tensor) -> Tensor:
    """mean a(z1, z2) = mean softplus(r): what the encoder lowers (Eq. 5). ln 2 at r = 0; its gradient is
    sigmoid(r).
    """
    return F.softplus(same).mean()


def accuracy(same: Tensor, different: Tensor) -> Tensor:
    """The share of pairs that the sign of r names rightly, each kind counting half; 1/2 where all r are 0."""
    return ((same > 0).float().mean() + (different <= 0).float().mean()) / 2


def partners(images: int, device: torch.device, shift: Tensor | None = None) -> Tensor:
    """Which image of a global batch each one meets as a different one: int64 (images,).

    Without a shift, the batch reversed (released code): the middle image of an odd batch meets itself.
    shift: int64 (), in 1 .. images - 1: so many places further, round the end, so that none meets itself.
    """
    places = torch.arange(images, device=device)
    return images - 1 - places if shift is None else (places + shift) % images


def normals(u: Tensor) -> Tensor:
    """Uniform float32 numbers in [0, 1) -> standard normal float32 ones, one for one, never infinite.

    Uniform ones are multiples of 2^-24. Half a step more, and they lie evenly about 1/2, and none is 0 or 1.
    """
    return torch.special.ndtri(u.double() + 2**-25).float()
