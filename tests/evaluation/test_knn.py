import math

import numpy as np
import pytest
import torch
from sklearn.neighbors import KNeighborsClassifier

from partwhole.errors import BadInput
from partwhole.evaluation.knn import knn_accuracy, knn_predict


def clusters(count, classes=5, channels=12, noise=1.2, seed=0):
    """Rows around one centre for each class, close enough that neighbours disagree."""
    centres = torch.randn(classes, channels, generator=torch.Generator().manual_seed(99))
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(classes, (count,), generator=generator)
    rows = centres[labels] + noise * torch.randn(count, channels, generator=generator)
    return rows * (0.1 + torch.rand(count, 1, generator=generator)), labels


@pytest.mark.parametrize(("k", "temperature"), [(1, 0.1), (7, 0.1), (50, 0.1), (50, 1.0), (300, 0.5)])
def test_predictions_equal_scikit_learns_weighted_cosine_neighbours(k, temperature):
    bank, labels = clusters(300)
    queries, _ = clusters(200, seed=1)
    theirs = KNeighborsClassifier(
        k, metric="cosine", weights=lambda distance: np.exp((1 - distance) / temperature)
    )
    expected = theirs.fit(bank.double().numpy(), labels.numpy()).predict(queries.double().numpy())
    ours = knn_predict(bank, labels, queries, classes=5, k=k, temperature=temperature)
    assert ours.tolist() == expected.tolist()
    assert len(set(expected.tolist())) > 1


def test_predictions_equal_a_vote_counted_by_hand():
    bank, labels = clusters(40, classes=3)
    queries, _ = clusters(15, classes=3, seed=1)
    predicted = knn_predict(bank, labels, queries, classes=3, k=9, temperature=0.2)
    for query, ours in zip(queries, predicted.tolist()):
        similar = sorted(
            (
                (torch.cosine_similarity(query, row, dim=0).item(), label)
                for row, label in zip(bank, labels.tolist())
            ),
            reverse=True,
        )
        votes = [sum(math.exp(cosine / 0.2) for cosine, label in similar[:9] if label == c) for c in range(3)]
        assert votes[ours] == max(votes)


def test_weight_decides_where_counting_would_not():
    """Two neighbours of class 1 at cosine 0.6 against one of class 0 at 1.

    e^(1/t) > 2 e^(0.6/t) below t = 0.4 / ln 2 = 0.577.
    """
    bank, labels = torch.tensor([[1.0, 0.0], [0.6, 0.8], [0.6, -0.8]]), torch.tensor([0, 1, 1])
    query = torch.tensor([[3.0, 0.0]])
    assert knn_predict(bank, labels, query, classes=2, k=3, temperature=0.57).tolist() == [0]
    assert knn_predict(bank, labels, query, classes=2, k=3, temperature=0.59).tolist() == [1]


def test_chunks_change_nothing():
    bank, labels = clusters(100)
    queries, _ = clusters(33, seed=1)
    votes = [knn_predict(bank, labels, queries, classes=5, k=20, chunk=chunk) for chunk in (1, 7, 33, 1000)]
    assert all(torch.equal(votes[0], vote) for vote in votes)


def test_low_temperatures_do_not_overflow():
    bank, labels = clusters(50)
    nearest = knn_predict(bank, labels, bank, classes=5, k=1)
    assert torch.equal(knn_predict(bank, labels, bank, classes=5, k=50, temperature=1e-4), nearest)
    assert torch.equal(nearest, labels)


def test_a_tied_vote_goes_to_the_lower_class():
    bank = torch.tensor([[1.0, 0.0], [1.0, 0.0]])
    assert knn_predict(bank, torch.tensor([2, 1]), torch.tensor([[1.0, 0.0]]), classes=3, k=2).tolist() == [1]


def test_accuracy_is_a_percentage_of_queries():
    bank, labels = torch.eye(4), torch.arange(4)
    assert knn_accuracy(bank, labels, torch.eye(4), torch.tensor([0, 1, 2, 0]), k=1) == 75.0


def test_more_neighbours_than_images_are_refused_in_one_line():
    with pytest.raises(
        BadInput, match=r"^kNN asks for 200 neighbours but the bank has 50 images; lower evaluation\.knn_k$"
    ):
        knn_accuracy(*clusters(50), *clusters(5))
