"""Redundancy against slow loops over all pairs, closed forms and cases by hand."""

import pytest
import torch
import torch.nn.functional as F

from partwhole.errors import BadInput
from partwhole.evaluation.features import encoder_of
from partwhole.evaluation.redundancy import Alikeness, by_distance, few_positions, rank, redundancy
from partwhole.methods import build
from partwhole.models.resnet import encoder
from partwhole.recipes.schema import Model
from partwhole.training.ranks import Ranks
from support.linear_networks import Blocks, images
from support.tiny_recipes import co_ssl, tiny


def locals_of(network, image_set):
    with torch.no_grad():
        return encoder_of(network).eval()(image_set.images.permute(0, 3, 1, 2).float() / 255).positions


def slow(vectors):
    """Mean cosines within and between images over all pairs of different vectors."""
    unit = F.normalize(vectors.double(), dim=-1)
    within, between = [], []
    for one, first in enumerate(unit):
        for two, second in enumerate(unit):
            table = first @ second.T
            if one == two:
                within += [table[i, j] for i in range(len(table)) for j in range(len(table)) if i != j]
            else:
                between += table.flatten().tolist()
    return float(sum(within) / len(within)), sum(between) / len(between)


@pytest.mark.parametrize("batch", [3, 64])
def test_cosines_are_those_of_all_pairs(batch):
    torch.manual_seed(0)
    network, image_set = encoder(Model(width=4, blocks=(1, 1, 1, 1))), images(10, side=24)
    found = redundancy(network, image_set, batch=batch)
    vectors = locals_of(network, image_set)
    centred = vectors - vectors.flatten(0, 1).mean(0)
    assert (found["redundancy"], found["redundancy_between"]) == pytest.approx(slow(vectors), abs=1e-5)
    pair = found["redundancy_centred"], found["redundancy_between_centred"]
    assert pair == pytest.approx(slow(centred), abs=1e-4)
    assert found["predicted"] is None


def test_the_squared_resultant_follows_from_the_mean_cosine():
    vectors, alike = torch.randn(4, 9, 5, dtype=torch.float64), Alikeness()
    alike.add(vectors)
    rho, _ = alike.figures()
    resultants = F.normalize(vectors, dim=-1).mean(1).norm(dim=1).square()
    assert resultants.mean().item() == pytest.approx(1 / 9 + (1 - 1 / 9) * rho)


def test_equal_positions_are_wholly_redundant_and_one_position_too():
    image_set = images(6, side=16)
    image_set.images[:] = image_set.images[:, :1, :1]
    assert redundancy(Blocks(4), image_set)["redundancy"] == pytest.approx(1, abs=1e-6)
    assert redundancy(Blocks(16), images(6))["redundancy"] == 1.0


def test_a_rank_is_that_of_even_eigenvalues_and_one_of_a_collapsed_network():
    assert rank(torch.eye(7, dtype=torch.float64)) == pytest.approx(7)
    assert rank(torch.outer(torch.ones(5), torch.ones(5)).double()) == pytest.approx(1, abs=1e-6)
    assert rank(torch.diag(torch.tensor([3.0, 1.0, 0.0]))) == pytest.approx(
        (4 / 3) ** 0.75 * 4**0.25, rel=1e-5
    )


def test_the_local_rank_is_that_of_the_covariance_of_all_local_vectors():
    network, image_set = encoder(Model(width=4, blocks=(1, 1, 1, 1))), images(10, side=24)
    flat = locals_of(network, image_set).flatten(0, 1).double()
    assert redundancy(network, image_set)["local_rank"] == pytest.approx(
        rank(torch.cov(flat.T, correction=0)), rel=1e-3
    )


def test_cosines_go_to_the_distance_of_their_positions():
    table = torch.tensor([[1.0, 0.5, 0.4, 0.2], [0.5, 1, 0.1, 0.3], [0.4, 0.1, 1, 0.6], [0.2, 0.3, 0.6, 1]])
    found = by_distance(torch.stack([table, 2 * table]), (2, 2))  # a diagonal is 1.41 long, so 1
    assert found["distance"] == [1]
    assert found["raw"] == pytest.approx([table[~torch.eye(4, dtype=torch.bool)].mean().item()])
    row = by_distance(torch.stack([table, 2 * table]), (1, 4))
    assert row["distance"] == [1, 2, 3] and row["raw"] == pytest.approx(
        [(0.5 + 0.1 + 0.6) / 3, (0.4 + 0.3) / 2, 0.2]
    )
    assert row["centred"] == pytest.approx([2 * value for value in row["raw"]])


def test_all_positions_give_the_pooled_vector_and_one_gives_a_local_one():
    torch.manual_seed(0)
    network, image_set = encoder(Model(width=4, blocks=(1, 1, 1, 1), head=2)).eval(), images(12, side=24)
    one, whole = few_positions(network, image_set, [1, 9])
    vectors = locals_of(network, image_set)
    with torch.no_grad():
        torch.testing.assert_close(whole, network.head(vectors.mean(1)))
        distances = (network.head(vectors.flatten(0, 1)).unflatten(0, (12, 9)) - one[:, None]).abs().amax(2)
    assert (distances.amin(1) < 1e-5).all() and len(distances.argmin(1).unique()) > 2
    with pytest.raises(BadInput, match="10 positions were asked for, but the map has 9"):
        few_positions(network, image_set, [10])


@pytest.mark.parametrize("recipe", [co_ssl(), co_ssl(shared_heads=True), tiny("simclr")])
def test_a_methods_predictions_are_looked_at_through_its_local_heads(recipe):
    method, image_set = build(recipe, Ranks(0)).eval(), images(8)
    level = method.levels["local" if "local" in method.levels else "pooled"]
    with torch.no_grad():
        predicted = level.predict(level.project(locals_of(method, image_set), "online"))
    assert redundancy(method, image_set)["predicted"] == pytest.approx(slow(predicted)[0], abs=1e-5)
