"""Can a network's affinity tell two local crops of one image from two of different images?

Of LoGo with a learned affinity it is its critic's r, of any other network the cosine.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from partwhole.evaluation.crop_vectors import auc, crop_vectors, views_with_locals
from partwhole.evaluation.features import frozen
from partwhole.evaluation.subject import Subject
from partwhole.methods.affinity import logistic, partners

# Test images that `measure` looks at, and those among which it looks for neighbours.
IMAGES, NEIGHBOURS = (2000, 300)

Score = Callable[[Tensor, Tensor], Tensor]  # (B, D), (B, D) unit vectors -> (B,)


def cosine(one: Tensor, two: Tensor) -> Tensor:
    """The affinity of networks that learned none."""
    return (one * two).sum(1)


def score_of(network: nn.Module) -> Score:
    """A network's affinity: the mean of its critic's r over both orders of a pair, where it has one; else the
    cosine.
    """
    critic = getattr(network, "critic", None)
    return cosine if critic is None else lambda one, two: (critic(one, two) + critic(two, one)) / 2


def affinity_figures(score: Score, one: Tensor, two: Tensor, threshold: float | None) -> dict:
    """Affinity of pairs of local crops, (N, D) each: of one image, and of two, by the batch reversed; N is
    even.

    affinity_same, affinity_different: means.  affinity_accuracy: the share that lies on the right side of the
    threshold; of the median of both kinds where it is None.  affinity_auc: the chance that a pair of one
    image has the higher affinity.
    """
    same, different = score(one, two), score(one, two[partners(len(two), two.device)])
    middle = torch.cat([same, different]).median() if threshold is None else threshold
    right = ((same > middle).float().mean() + (different <= middle).float().mean()) / 2
    return {
        "affinity_same": same.mean().item(),
        "affinity_different": different.mean().item(),
        "affinity_accuracy": right.item(),
        "affinity_auc": auc(same, different),
        "details": {
            "same": same.tolist(),
            "different": different.tolist(),
            "loss": logistic(same, different).item(),
        },
    }


def neighbours(score: Score, one: Tensor, two: Tensor) -> Tensor:
    """For each of N local crops (N, D) the other crops (N, D), the most alike first: int64 (N, N)."""
    count = len(one)
    return torch.stack([score(query.expand(count, -1), two) for query in one]).argsort(1, descending=True)


def hits(order: Tensor) -> float:
    """The share of local crops whose most alike one is the other crop of the same image; by chance 1 / N."""
    return (order[:, 0] == torch.arange(len(order), device=order.device)).float().mean().item()


def measure(subject: Subject) -> dict:
    """`affinity_figures`, and whether the nearest crop by affinity and by cosine is of the same image.

    In evaluation mode, so with running statistics: a critic trained on batches of one kind may be off the
    middle there.
    """
    count = min(IMAGES, len(subject.test)) // 2 * 2
    part, views = subject.test.subset(torch.arange(count)), views_with_locals(subject.recipe.views)
    one, two = crop_vectors(subject.network, part, views=views).locals
    learned = getattr(subject.network, "critic", None) is not None
    with frozen(subject.network):
        score = score_of(subject.network)
        figures = affinity_figures(score, one, two, 0.0 if learned else None)
        few = one[:NEIGHBOURS], two[:NEIGHBOURS]
        nearest = {
            "affinity_hits": hits(neighbours(score, *few)),
            "cosine_hits": hits(neighbours(cosine, *few)),
        }
    details = figures.pop("details")
    if not learned:
        details.pop("loss")
    return {**figures, **nearest, "details": {"affinity": "learned" if learned else "cosine", **details}}
