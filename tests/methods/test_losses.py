"""Every base's cost against an implementation that is not ours, in value and gradient, and against closed
forms.
"""

import math

import pytest
import torch
import torch.nn.functional as F
from lightly.loss import NegativeCosineSimilarity, NTXentLoss

from partwhole.methods.byol import squared_distance
from partwhole.methods.moco import info_nce
from partwhole.methods.simclr import nt_xent
from partwhole.methods.simsiam import negative_cosine


def rows(*shape: int, seed: int) -> torch.Tensor:
    return torch.randn(
        *shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64
    ).requires_grad_()


def gradient(value: torch.Tensor, of: torch.Tensor) -> torch.Tensor:
    return torch.autograd.grad(value, of, retain_graph=True)[0]


def simclr_loss(a, b, temperature):
    a, b = F.normalize(a, dim=-1)[:, None], F.normalize(b, dim=-1)[:, None]
    return (nt_xent(a, b, temperature=temperature).mean() + nt_xent(b, a, temperature=temperature).mean()) / 2


@pytest.mark.parametrize(("batch", "temperature"), [(2, 0.07), (5, 0.5), (16, 0.2)])
def test_nt_xent_equals_lightly_in_value_and_gradient(batch, temperature):
    a, b = rows(batch, 8, seed=0), rows(batch, 8, seed=1)
    ours, theirs = simclr_loss(a, b, temperature), NTXentLoss(temperature)(a, b)
    torch.testing.assert_close(ours, theirs)
    torch.testing.assert_close(gradient(ours, a), gradient(theirs, a))
    torch.testing.assert_close(gradient(ours, b), gradient(theirs, b))


def test_nt_xent_of_equal_vectors_is_the_log_of_the_number_of_candidates():
    same = F.normalize(torch.ones(512, 1, 4), dim=-1)
    torch.testing.assert_close(nt_xent(same, same, temperature=0.5), torch.full((512, 1), math.log(1023)))


def test_nt_xent_never_lets_tokens_of_one_image_be_each_others_negatives():
    a, b = (F.normalize(rows(4, 3, 8, seed=seed), dim=-1) for seed in (0, 1))
    together = nt_xent(a, b, temperature=0.3)
    alone = torch.cat([nt_xent(a[:, t : t + 1], b[:, t : t + 1], temperature=0.3) for t in range(3)], 1)
    torch.testing.assert_close(together, alone)


@pytest.mark.parametrize("temperature", [0.07, 0.2])
def test_info_nce_equals_lightly_with_a_queue_in_value_and_gradient(temperature):
    q, k = rows(6, 8, seed=0), rows(6, 8, seed=1)
    theirs = NTXentLoss(temperature, memory_bank_size=(32, 8))
    theirs(q.float(), k.float())  # makes and fills its queue
    theirs.memory_bank.bank = theirs.memory_bank.bank.double()
    queue = theirs.memory_bank.bank.clone()
    ours = info_nce(F.normalize(q, dim=1), F.normalize(k, dim=1), queue, temperature=temperature).mean()
    expected = theirs(q, k)
    torch.testing.assert_close(ours, expected)
    torch.testing.assert_close(gradient(ours, q), gradient(expected, q))


def test_info_nce_of_equal_similarities_is_the_log_of_queue_plus_one():
    same = F.normalize(torch.ones(3, 4), dim=1)
    cost = info_nce(same, same, same[:1].expand(65536, 4), temperature=0.2)
    torch.testing.assert_close(cost, torch.full((3,), math.log(65537)))


def test_simsiam_and_byol_costs_equal_lightly_and_the_squared_distance_of_unit_vectors():
    p, z = rows(7, 16, seed=0), rows(7, 16, seed=1)
    ours, theirs = negative_cosine(p[:, None], z[:, None]).mean(), NegativeCosineSimilarity()(p, z.detach())
    torch.testing.assert_close(ours, theirs)
    torch.testing.assert_close(gradient(ours, p), gradient(theirs, p))
    distance = (F.normalize(p, dim=1) - F.normalize(z.detach(), dim=1)).square().sum(1)
    torch.testing.assert_close(squared_distance(p[:, None], z[:, None])[:, 0], distance)
    torch.testing.assert_close(
        gradient(squared_distance(p[:, None], z[:, None]).sum(), p), gradient(distance.sum(), p)
    )


@pytest.mark.parametrize("cost", [negative_cosine, squared_distance])
def test_predictive_costs_send_no_gradient_to_the_target(cost):
    p, z = rows(3, 1, 4, seed=0), rows(3, 1, 4, seed=1)
    cost(p, z).sum().backward()
    assert p.grad.abs().sum() > 0
    assert z.grad is None


@pytest.mark.parametrize("cost", [negative_cosine, squared_distance])
def test_one_target_token_serves_all_predicted_tokens(cost):
    p, z = rows(3, 5, 4, seed=0), rows(3, 1, 4, seed=1)
    torch.testing.assert_close(cost(p, z), cost(p, z.expand(3, 5, 4)))


@pytest.mark.parametrize(
    "call", [lambda x: nt_xent(x, x, temperature=0), lambda x: info_nce(x, x, x[:, 0], temperature=-1)]
)
def test_a_temperature_that_is_not_positive_is_refused(call):
    with pytest.raises(ValueError, match=r"temperature is .*; it must be above 0"):
        call(torch.ones(2, 1, 4))
