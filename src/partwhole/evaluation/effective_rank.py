"""Over how many directions pooled vectors are spread: collapse shows as few."""

import torch
from torch import Tensor

from partwhole.evaluation.redundancy import rank
from partwhole.evaluation.subject import Subject


def effective_rank(vectors: Tensor) -> float:
    """exp(entropy) of the shares that directions have in the variance of vectors (N, C): between 1 and C.

    The shares are the eigenvalues of the covariance over their sum. Roy & Vetterli (EUSIPCO 2007) take
    singular values.
    """
    return rank(torch.cov(vectors.double().T))


def measure(subject: Subject) -> dict:
    """Of the test images' pooled vectors, whole images."""
    return {"effective_rank": effective_rank(subject.vectors[1])}
