"""The fast probe against scikit-learn's logistic regression."""

import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from partwhole.evaluation.linear_cached import linear_probe_cached


def clusters(count, classes=4, channels=10, noise=2.5, seed=0):
    centres = torch.randn(classes, channels, generator=torch.Generator().manual_seed(99))
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(classes, (count,), generator=generator)
    rows = centres[labels] + noise * torch.randn(count, channels, generator=generator)
    return rows * torch.linspace(0.01, 30, channels) + 5, labels  # channels of very unequal scale


@pytest.mark.parametrize("strength", [1.0, 0.01])
def test_cached_probe_equals_scikit_learns_logistic_regression(strength):
    bank, labels = clusters(400)
    queries, query_labels = clusters(600, seed=1)
    scaler = StandardScaler().fit(bank.numpy())
    theirs = LogisticRegression(C=strength, max_iter=1000, tol=1e-8).fit(
        scaler.transform(bank.numpy()), labels.numpy()
    )
    ours = linear_probe_cached(bank, labels, queries, query_labels, strength=strength)
    assert ours["train_accuracy"] == pytest.approx(
        100 * theirs.score(scaler.transform(bank.numpy()), labels.numpy()), abs=0.5
    )
    expected = 100 * theirs.score(scaler.transform(queries.numpy()), query_labels.numpy())
    assert ours["test_accuracy"] == pytest.approx(expected, abs=0.5)
    assert 50 < expected < 95, "a set on which all classifiers agree would show nothing"


def test_cached_probe_stands_a_constant_channel():
    bank, labels = clusters(100)
    bank[:, 3] = 7.0
    assert linear_probe_cached(bank, labels, bank, labels)["test_accuracy"] > 50


def test_the_layer_that_is_returned_takes_features_as_they_are():
    (bank, labels), (queries, query_labels) = clusters(200), clusters(300, seed=1)
    fitted = linear_probe_cached(bank, labels, queries, query_labels)
    for rows, names, figure in ((bank, labels, "train_accuracy"), (queries, query_labels, "test_accuracy")):
        scores = fitted["probe"](rows)
        reached = 100 * (scores.argmax(1) == names).float().mean().item()
        assert reached == pytest.approx(fitted[figure], abs=0.5) and not scores.requires_grad
