"""LoGo's affinity network and its losses: against torch's own, closed forms, and data of which the answer is
known.
"""

import math

import pytest
import torch
import torch.nn.functional as F
from scipy import integrate, stats
from torch import nn

from partwhole.methods.affinity import (
    NOISE,
    Affinity,
    accuracy,
    difference,
    logistic,
    normals,
    partners,
    repulsion,
)


def logits(seed: int = 0, spread: float = 3.0) -> torch.Tensor:
    return spread * torch.randn(2, 50, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def test_the_network_is_torchs_own_layers_on_the_concatenated_pair():
    torch.manual_seed(0)
    affinity = Affinity(5, 7, nn.BatchNorm1d)
    widths = [tuple(layer.weight.shape) for layer in affinity.layers if isinstance(layer, nn.Linear)]
    assert widths == [(7, 10), (7, 7), (1, 7)]
    one, two = torch.randn(2, 9, 5)
    first, norm, _, second, other_norm, _, last = affinity.layers
    hidden = F.relu(norm(F.linear(torch.cat([one, two], 1), first.weight)))
    expected = F.linear(F.relu(other_norm(F.linear(hidden, second.weight))), last.weight, last.bias)
    assert affinity(one, two).shape == (9,)
    torch.testing.assert_close(affinity(one, two), expected[:, 0])
    assert not torch.allclose(affinity(one, two), affinity(two, one)), "the order of a pair counts"


def test_sets_of_pairs_have_batches_of_their_own_or_share_one():
    torch.manual_seed(0)
    affinity = Affinity(5, 7, nn.BatchNorm1d)
    pairs = [tuple(torch.randn(2, 6, 5) + shift) for shift in (0.0, 2.0, -1.0)]
    separate, joint = affinity.scores(pairs, joint=False), affinity.scores(pairs, joint=True)
    assert separate.shape == joint.shape == (3, 6)
    torch.testing.assert_close(separate, torch.stack([affinity(one, two) for one, two in pairs]))
    together = affinity(*(torch.cat(part) for part in zip(*pairs)))
    torch.testing.assert_close(joint, together.view(3, 6))
    assert not torch.allclose(separate, joint, atol=1e-2)


def test_the_logistic_form_is_binary_cross_entropy_in_value_and_gradient():
    same, different = logits().requires_grad_()
    ones, zeros = torch.ones_like(same), torch.zeros_like(same)
    ours, bce = logistic(same, different), F.binary_cross_entropy_with_logits
    theirs = bce(same, ones) + bce(different, zeros)
    torch.testing.assert_close(ours, theirs)
    for one, two in zip(*(torch.autograd.grad(loss, (same, different)) for loss in (ours, theirs))):
        torch.testing.assert_close(one, two)


@pytest.mark.parametrize("value", [1e4, -1e4])
def test_all_losses_and_their_gradients_are_finite_for_huge_logits(value):
    same, different = torch.tensor([[value] * 3, [-value] * 3], requires_grad=True)
    for loss in (logistic(same, different), difference(same, different), repulsion(same)):
        [gradient] = torch.autograd.grad(loss, [same], retain_graph=True)
        assert loss.isfinite() and gradient.isfinite().all()


def test_a_critic_that_says_nothing_costs_the_chance_values():
    zero = torch.zeros(2, 8)
    assert logistic(zero, zero).item() == pytest.approx(2 * math.log(2))
    assert difference(zero, zero) == 0 and accuracy(zero, zero) == 0.5
    assert repulsion(zero).item() == pytest.approx(math.log(2))


def test_eq_6_is_the_difference_of_mean_affinities_and_has_no_lower_bound():
    same, different = logits()
    omega = F.softplus(same).mean() - F.softplus(different).mean()
    torch.testing.assert_close(difference(same, different), -omega)
    assert difference(same + 1000, different) < -900 and logistic(same + 1000, different - 1000) >= 0


def test_where_the_critic_is_wrong_eq_6_dies_and_the_logistic_form_does_not():
    same = torch.full((4,), -20.0, requires_grad=True)
    slopes = [torch.autograd.grad(form(same, torch.zeros(4)), [same])[0] for form in (difference, logistic)]
    assert slopes[0].abs().max() < 1e-8
    torch.testing.assert_close(slopes[1], torch.full((4,), -0.25))


def test_the_repulsions_gradient_is_the_sigmoid():
    same = logits()[0].requires_grad_()
    [gradient] = torch.autograd.grad(repulsion(same), [same])
    torch.testing.assert_close(gradient, same.detach().sigmoid() / 50)


def test_accuracy_counts_both_kinds_alike():
    assert accuracy(torch.tensor([1.0, 1.0, -1.0, 2.0]), torch.tensor([-1.0, 1.0])) == (0.75 + 0.5) / 2


def test_at_its_optimum_the_logistic_loss_is_what_the_divergence_says():
    """Two normal distributions one apart: the best logit is known, and 2 ln 2 - 2 JSD by scipy's
    quadrature.
    """
    p, q = stats.norm(0.5).pdf, stats.norm(-0.5).pdf

    def divergence(x):
        mean = (p(x) + q(x)) / 2
        return (p(x) * math.log(p(x) / mean) + q(x) * math.log(q(x) / mean)) / 2

    expected = 2 * math.log(2) - 2 * integrate.quad(divergence, -9, 9)[0]
    x = torch.randn(2, 400_000, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    best = logistic(x[0] + 0.5, x[1] - 0.5)  # log p / q = x
    assert best.item() == pytest.approx(expected, abs=3e-3)
    assert (
        logistic(1.3 * (x[0] + 0.5), 1.3 * (x[1] - 0.5))
        > best
        < logistic(0.7 * (x[0] + 0.5), 0.7 * (x[1] - 0.5))
    )


@pytest.mark.parametrize(("apart", "low", "high"), [(6.0, -0.01, 0.1), (0.0, 1.2, 1.45)])
def test_the_critic_separates_what_can_be_separated_and_stays_at_chance_elsewhere(apart, low, high):
    torch.manual_seed(0)
    critic = Affinity(4, 32, nn.BatchNorm1d)
    optimiser = torch.optim.SGD(critic.parameters(), lr=0.1)
    for _ in range(300):
        one, two, three = torch.randn(3, 256, 4)
        same, different = critic.scores([(one, two + apart), (one, three - apart)], joint=True)
        loss = logistic(same, different)
        optimiser.zero_grad(), loss.backward(), optimiser.step()
    assert low < loss.item() < high


@pytest.mark.parametrize("images", [2, 8, 15])
def test_partners_are_other_images_but_for_the_middle_of_an_odd_reversed_batch(images):
    places, here = torch.arange(images), torch.device("cpu")
    reversed_batch = partners(images, here)
    assert torch.equal(reversed_batch, places.flip(0))
    assert (reversed_batch == places).sum() == images % 2
    for shift in range(1, images):
        rolled = partners(images, here, torch.tensor(shift))
        assert (rolled != places).all() and torch.equal(rolled, places.roll(-shift))


def test_normals_are_one_for_one_symmetric_finite_and_normal():
    ends = torch.tensor([0.0, 1 - 2**-24])
    assert normals(ends).isfinite().all() and normals(ends)[0] == -normals(ends)[1]
    u = torch.rand(200_000, generator=torch.Generator().manual_seed(0))
    assert stats.kstest(normals(u).numpy(), "norm").pvalue > 0.01
    assert torch.equal(normals(u).argsort(), u.argsort())


def test_the_noise_is_as_long_as_the_facts_page_computed():
    """Length of a unit vector with noise at width 128: 1.043, spread 0.026; its cosine with the clean one
    0.958.
    """
    unit = F.normalize(torch.randn(20_000, 128, generator=torch.Generator().manual_seed(1)), dim=1)
    noisy = (
        unit + normals(torch.rand(20_000, 128, generator=torch.Generator().manual_seed(2))) * NOISE / 128**0.5
    )
    assert noisy.norm(dim=1).mean().item() == pytest.approx(1.043, abs=2e-3)
    assert noisy.norm(dim=1).std().item() == pytest.approx(0.026, abs=2e-3)
    assert F.cosine_similarity(noisy, unit).mean().item() == pytest.approx(0.958, abs=2e-3)
