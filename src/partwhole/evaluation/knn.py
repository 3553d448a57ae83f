"""Weighted k-nearest-neighbour classification: how well do an image's neighbours in feature space name its
class?
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from partwhole.errors import BadInput
from partwhole.evaluation.subject import Subject


@torch.no_grad()
def knn_predict(
    bank: Tensor,
    bank_labels: Tensor,
    queries: Tensor,
    *,
    classes: int,
    k: int = 200,
    temperature: float = 0.1,
    chunk: int = 1024,
) -> Tensor:
    """Each query's class by a vote of its k nearest bank rows, int64 (Q,).

    vote(c) = sum over the k nearest with label c of exp(cos(query, neighbour) / temperature); the largest
    vote wins. bank (N, C), bank_labels int64 (N,) in [0, classes), queries (Q, C); rows need not have unit
    length. Works through `chunk` queries at a time, so memory is chunk x N. Ties: of equal votes the lower
    class wins; which of several equally distant rows is the k-th nearest is left to torch.topk. BadInput
    where the bank has fewer than k rows.
    """
    if k > len(bank):
        raise BadInput(
            f"kNN asks for {k} neighbours but the bank has {len(bank)} images; lower evaluation.knn_k"
        )
    bank, bank_labels, votes = F.normalize(bank.float()), bank_labels.to(bank.device), []
    for part in queries.split(chunk):
        cosine, nearest = (F.normalize(part.float()) @ bank.T).topk(k)  # (chunk, k), best first
        weight = ((cosine - cosine[:, :1]) / temperature).double().exp()  # at most 1: cannot overflow
        empty = weight.new_zeros(len(part), classes)
        votes.append(empty.scatter_add_(1, bank_labels[nearest], weight).argmax(1))
    return torch.cat(votes)


def knn_accuracy(
    bank: Tensor,
    bank_labels: Tensor,
    queries: Tensor,
    query_labels: Tensor,
    *,
    classes: int | None = None,
    k: int = 200,
    temperature: float = 0.1,
) -> float:
    """Percentage of queries whose class `knn_predict` names."""
    classes = int(bank_labels.max()) + 1 if classes is None else classes
    predicted = knn_predict(bank, bank_labels, queries, classes=classes, k=k, temperature=temperature)
    return 100 * (predicted == query_labels.to(predicted.device)).double().mean().item()


def measure(subject: Subject) -> dict:
    bank, queries = subject.vectors
    return {"knn": knn_accuracy(bank, subject.train.labels, queries, subject.test.labels, **subject.vote)}
