"""LoGo's diagnostics against scikit-learn, closed forms and hand-made pairs."""

import math

import pytest
import torch
from sklearn.metrics import roc_auc_score

from partwhole.data.scenes import scenes
from partwhole.errors import BadInput
from partwhole.evaluation import affinity, local_objects
from partwhole.evaluation.crop_vectors import CropVectors, auc, crop_vectors, views_with_locals
from partwhole.evaluation.effective_rank import effective_rank
from partwhole.evaluation.local_cosines import cosines
from partwhole.experiments.run import assemble
from partwhole.methods.affinity import logistic
from partwhole.training.ranks import Ranks
from partwhole.views.geometry import Crops
from support.tiny_recipes import logo, tiny


def test_the_auc_is_scikit_learns_with_ties():
    generator = torch.Generator().manual_seed(0)
    higher, lower = (
        torch.randint(0, 9, (40,), generator=generator),
        torch.randint(0, 7, (55,), generator=generator),
    )
    labels, scores = [1] * 40 + [0] * 55, torch.cat([higher, lower])
    assert auc(higher, lower) == pytest.approx(roc_auc_score(labels, scores))


@pytest.mark.parametrize("directions", [1, 3, 6])
def test_the_effective_rank_of_even_directions_is_their_number(directions):
    axes = torch.eye(6)[:directions]
    assert effective_rank(torch.cat([axes, -axes])) == pytest.approx(directions)


def test_two_unequal_directions_have_the_exponential_of_their_entropy():
    vectors = torch.tensor([[3.0, 0.0], [-3.0, 0.0], [0.0, 1.0], [0.0, -1.0]])
    shares = (0.9, 0.1)
    assert effective_rank(vectors) == pytest.approx(math.exp(-sum(p * math.log(p) for p in shares)))


def test_cosines_are_those_of_the_pairs_named():
    turn = torch.tensor([0.0, 0.3, 0.9, 2.0])

    def ray(angle):
        return torch.stack([angle.cos(), angle.sin()], 1)

    vectors = CropVectors(
        torch.stack([ray(turn), ray(turn + 0.5)]), torch.stack([ray(turn + 0.1), ray(turn + 1.1)]), None
    )
    found = cosines(vectors)
    torch.testing.assert_close(found["local_local"], torch.full((4,), math.cos(1.0)))
    torch.testing.assert_close(found["global_global"], torch.full((4,), math.cos(0.5)))
    expected = torch.tensor([math.cos(angle) for angle in (0.1, 0.4, 1.1, 0.6) for _ in range(4)])
    torch.testing.assert_close(found["local_global"], expected)
    torch.testing.assert_close(found["local_other"], torch.cos(turn + 0.1 - (turn.roll(2) + 1.1)))


def test_a_score_that_knows_the_image_is_always_right_and_one_that_knows_nothing_is_at_chance():
    one = torch.eye(8)
    figures = affinity.affinity_figures(lambda a, b: 10 * (a * b).sum(1) - 5, one, one, 0.0)
    assert figures["affinity_accuracy"] == figures["affinity_auc"] == 1
    assert figures["affinity_same"] == 5 and figures["affinity_different"] == -5
    loss = logistic(torch.full((8,), 5.0), torch.full((8,), -5.0)).item()
    assert figures["details"]["loss"] == pytest.approx(loss)
    nothing = affinity.affinity_figures(lambda a, b: torch.zeros(len(a)), one, one, 0.0)
    assert nothing["affinity_accuracy"] == nothing["affinity_auc"] == 0.5


def test_neighbours_are_ordered_by_the_score():
    one = torch.eye(5)
    assert affinity.hits(affinity.neighbours(affinity.cosine, one, one)) == 1
    assert affinity.hits(affinity.neighbours(lambda a, b: -(a * b).sum(1), one, one)) == 0


def test_a_critic_scores_where_there_is_one_and_the_cosine_elsewhere():
    network = assemble(logo("byol"), Ranks(0)).method.eval()
    one, two = torch.randn(2, 6, 8, generator=torch.Generator().manual_seed(2)).unbind(0)
    expected = (network.critic(one, two) + network.critic(two, one)) / 2
    torch.testing.assert_close(affinity.score_of(network)(one, two), expected)
    plain = assemble(tiny("byol"), Ranks(0)).method
    torch.testing.assert_close(affinity.score_of(plain)(one, two), (one * two).sum(1))


def crops_at(*places):
    """Pairs of 8 px crops of 32 px images by their two corners: (2, N)."""
    corner = torch.tensor(places).transpose(0, 1)  # (2, N, 2)
    side = torch.full(corner.shape[:2], 8)
    return Crops(corner[..., 0], corner[..., 1], side, side, torch.zeros(corner.shape[:2], dtype=torch.bool))


def test_what_two_crops_show_is_told_from_the_true_boxes():
    box = torch.tensor([[0.0, 0.0, 0.25, 0.25], [0.75, 0.75, 1.0, 1.0]])  # two objects in opposite corners
    crops = crops_at([[0, 0], [1, 1]], [[0, 0], [24, 24]], [[0, 24], [24, 0]])
    pair = local_objects.shown(crops, box.expand(3, 2, 4), torch.full((3, 2), 32))
    assert pair.same.tolist() == [True, False, False] and pair.different.tolist() == [False, True, False]
    assert pair.overlap[1:].tolist() == [0, 0] and pair.overlap[0] > 0.5


def test_the_gap_compares_pairs_of_like_overlap_alone():
    same = torch.tensor([True, True, False, False])
    pair = local_objects.Shown(same, ~same, torch.tensor([0.05, 0.6, 0.05, 0.6]))
    figures = local_objects.object_figures(torch.tensor([0.3, 0.9, 0.2, 0.8]), pair)
    assert figures["objects_gap"] == pytest.approx(0.1) and figures["objects_share"] == 0.5
    assert figures["objects_auc"] == 0.75
    apart = local_objects.Shown(same, ~same, torch.tensor([0.6, 0.6, 0.05, 0.05]))
    with pytest.raises(BadInput, match="overlap alike"):
        local_objects.object_figures(torch.tensor([0.3, 0.9, 0.2, 0.8]), apart)


def test_crop_vectors_are_unit_vectors_of_the_crops_that_they_name_and_leave_the_network_alone():
    network = assemble(tiny("simclr"), Ranks(0)).method.train()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    views = views_with_locals(tiny("simclr").views)
    assert views.local.size == 8 and views.scale == (0.4, 1.0)
    vectors = crop_vectors(network, scenes(12), views=views)
    assert vectors.globals.shape == vectors.locals.shape == (2, 12, 8)
    torch.testing.assert_close(vectors.locals.norm(dim=2), torch.ones(2, 12))
    again = crop_vectors(network, scenes(12), views=views)
    assert torch.equal(vectors.locals, again.locals) and network.training
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())
