"""Logistic regression on fixed features, in seconds: the probe that robustness and redundancy are measured
through.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def linear_probe_cached(
    bank: Tensor,
    bank_labels: Tensor,
    queries: Tensor,
    query_labels: Tensor,
    *,
    classes: int | None = None,
    strength: float = 1.0,
    iterations: int = 200,
) -> dict:
    """Multinomial logistic regression on features, by L-BFGS over all of them at once: no augmentation, no
    learning rate.

    Minimises mean cross-entropy + |W|^2 / (2 strength N) on features standardised by the bank's mean and
    deviation; strength is scikit-learn's C. bank (N, C), bank_labels int64 (N,), queries (Q, C), query_labels
    int64 (Q,). Returns train_accuracy and test_accuracy in per cent, and `probe`, a linear layer that takes
    features as they are.
    """
    classes = int(bank_labels.max()) + 1 if classes is None else classes
    bank, queries = bank.float(), queries.float().to(bank.device)
    bank_labels, query_labels = bank_labels.to(bank.device), query_labels.to(bank.device)
    mean, deviation = bank.mean(0), bank.std(0)
    deviation = torch.where(deviation > 1e-6 * deviation.max(), deviation, 1.0)
    standardised = (bank - mean) / deviation
    weight = torch.zeros(classes, bank.shape[1], device=bank.device, requires_grad=True)
    bias = torch.zeros(classes, device=bank.device, requires_grad=True)
    solver = torch.optim.LBFGS(
        [weight, bias], max_iter=iterations, line_search_fn="strong_wolfe", tolerance_grad=1e-5
    )

    def cost():
        solver.zero_grad()
        value = F.cross_entropy(F.linear(standardised, weight, bias), bank_labels)
        value = value + weight.square().sum() / (2 * strength * len(bank))
        value.backward()
        return value

    with torch.enable_grad():
        solver.step(cost)
    with torch.no_grad():
        scores = {
            "train_accuracy": (standardised, bank_labels),
            "test_accuracy": ((queries - mean) / deviation, query_labels),
        }
        figures = {
            name: accuracy(F.linear(rows, weight, bias), labels) for name, (rows, labels) in scores.items()
        }
        return figures | {"probe": folded(weight, bias, mean, deviation)}


def folded(weight: Tensor, bias: Tensor, mean: Tensor, deviation: Tensor) -> nn.Linear:
    """W ((x - mean) / deviation) + b as one linear layer of x."""
    probe = nn.Linear(weight.shape[1], weight.shape[0], device=weight.device).requires_grad_(False)
    probe.weight.copy_(weight / deviation)
    probe.bias.copy_(bias - probe.weight @ mean)
    return probe


def accuracy(scores: Tensor, labels: Tensor) -> float:
    """Percentage of rows whose largest score is at their label."""
    return 100 * (scores.argmax(1) == labels).double().mean().item()
