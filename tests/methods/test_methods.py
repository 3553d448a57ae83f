"""What every method owes the loop: passes, gradients, twins and queues."""

import copy

import pytest
import torch

from partwhole.methods import build
from partwhole.methods.method import Phase
from partwhole.training.ranks import Ranks
from partwhole.views.augment import Group, Views
from support.tiny_recipes import tiny

PHASE = Phase()
ONE, TWO = ("global", 0), ("global", 1)


def method_of(base, **settings):
    recipe = tiny(base)
    recipe = recipe.model_copy(update={"method": recipe.method.model_copy(update=settings)})
    torch.manual_seed(0)
    return build(recipe, Ranks(0)).train()


def views(pixels, **locals_by_name):
    groups = {"global": pixels, **locals_by_name}
    return Views({name: Group(part, None) for name, part in groups.items()}, torch.arange(pixels.shape[1]))


def test_the_loss_reaches_exactly_the_parameters_that_are_listed(base, pixels):
    method = method_of(base)
    method.terms(method.encode(views(pixels), PHASE), PHASE)["loss"].backward()
    listed = method.trained(PHASE)
    for name, parameter in method.named_parameters():
        assert (parameter.grad is not None) == (name in listed), name
        assert name not in listed or parameter.grad.isfinite().all(), name


def test_each_network_runs_as_often_as_its_method_needs(base, pixels):
    expected = {"simclr": (2, 0), "simsiam": (2, 0), "byol": (2, 2), "moco": (1, 1)}[base]
    method = method_of(base)
    calls = {"online": 0, "target": 0}
    method.encoder.register_forward_hook(lambda *_: calls.update(online=calls["online"] + 1))
    if method.base.twin is not None:
        method.base.twin.register_forward_hook(lambda *_: calls.update(target=calls["target"] + 1))
    method.encode(views(pixels), PHASE)
    assert (calls["online"], calls["target"]) == expected


def test_one_forward_over_both_views_shares_their_batch_statistics_and_nothing_else(pixels):
    apart, together = method_of("simclr"), method_of("simclr", concatenate=True)
    together.load_state_dict(apart.state_dict())
    loss = {
        name: m.terms(m.encode(views(pixels), PHASE), PHASE)["loss"]
        for name, m in (("apart", apart), ("together", together))
    }
    assert (loss["apart"] - loss["together"]).abs() > 1e-4
    apart.eval(), together.eval()  # running statistics: the two ways must agree
    together.load_state_dict(apart.state_dict())
    torch.testing.assert_close(
        *(m.terms(m.encode(views(pixels), PHASE), PHASE)["loss"] for m in (apart, together))
    )


@pytest.mark.parametrize("base_name", ["moco", "byol"])
def test_a_twin_starts_equal_and_moves_by_its_momentum(base_name, pixels):
    method = method_of(base_name, momentum=0.75)
    online, target = dict(method.encoder.named_parameters()), method.base.twin.target
    before = copy.deepcopy(dict(target.named_parameters()))
    assert all(torch.equal(before[name], online[name]) for name in before)
    with torch.no_grad():
        for parameter in online.values():
            parameter.add_(1.0)
    method.after_step(method.encode(views(pixels), PHASE), torch.tensor(0.5))
    for name, parameter in target.named_parameters():
        torch.testing.assert_close(parameter, before[name] * 0.75 + online[name].detach() * 0.25)
        assert not parameter.requires_grad


def test_an_eval_twin_follows_buffers_and_stays_in_eval_mode(pixels):
    method = method_of("byol", target_mode="eval", momentum=0.5).train()
    assert method.training and not method.base.twin.target.training
    encoded = method.encode(views(pixels), PHASE)
    mean = method.encoder.bn1.running_mean.clone()
    assert mean.abs().sum() > 0
    method.after_step(encoded, torch.tensor(0.0))
    torch.testing.assert_close(method.base.twin.target.bn1.running_mean, mean / 2)


@pytest.mark.parametrize(("progress", "expected"), [(0.0, 0.9), (0.5, 0.95), (1.0, 1.0)])
def test_the_momentum_rises_on_a_cosine_to_its_end(progress, expected):
    from partwhole.methods.method import ema_momentum

    settings = tiny("byol").method.model_copy(update={"momentum": 0.9, "momentum_end": 1.0})
    torch.testing.assert_close(ema_momentum(settings, torch.tensor(progress)), torch.tensor(expected))


def test_the_queue_takes_keys_in_order_and_wraps_at_its_end(pixels):
    level = method_of("moco").levels["pooled"]
    for start in range(0, 64, 16):
        level.remember(
            torch.nn.functional.one_hot(torch.arange(start, start + 16) % 8, 8).float() * (1 + start)
        )
    assert level.pointer == 64 % 24
    written = torch.nn.functional.one_hot(torch.arange(64) % 8, 8).float()
    # 24 places: rows 48..63 stand first, 40..47 after them.
    expected = torch.cat([written[48:64], written[40:48]])
    torch.testing.assert_close(level.queue, expected)


def test_a_batch_larger_than_the_queue_leaves_its_last_keys():
    level = method_of("moco").levels["pooled"]
    keys = torch.nn.functional.normalize(
        torch.randn(40, 8, generator=torch.Generator().manual_seed(0)), dim=1
    )
    level.remember(keys)
    torch.testing.assert_close(level.queue, keys[-24:])


def test_moco_sees_its_queue_before_this_steps_keys_enter_it(pixels):
    method = method_of("moco")
    queue = method.levels["pooled"].queue.clone()
    encoded = method.encode(views(pixels), PHASE)
    loss = method.terms(encoded, PHASE)["loss"]
    assert torch.equal(queue, method.levels["pooled"].queue)
    loss.backward()  # the queue must not have been written in place by now
    method.after_step(encoded, torch.tensor(0.0))
    assert not torch.equal(queue, method.levels["pooled"].queue)


def test_shuffling_mixes_the_key_batch_but_returns_its_rows_in_order(pixels):
    method = method_of(
        "moco"
    ).eval()  # in eval mode normalisation cannot tell, so order is all that can differ
    plain = method_of("moco").eval()
    plain.base.shuffle = False
    keys = [m.encode(views(pixels), PHASE).target[TWO]["pooled"] for m in (method, plain)]
    torch.testing.assert_close(*keys)


def test_symmetric_moco_averages_both_directions(pixels):
    method = method_of("moco", symmetric=True).eval()
    other = method_of("moco").eval()
    one, two = (other.terms(other.encode(views(p), PHASE), PHASE)["loss"] for p in (pixels, pixels.flip(0)))
    torch.testing.assert_close(
        method.terms(method.encode(views(pixels), PHASE), PHASE)["loss"], (one + two) / 2
    )


def test_byol_sums_its_directions_and_starts_near_the_loss_of_unrelated_vectors(pixels):
    method = method_of("byol").eval()
    encoded = method.encode(views(pixels), PHASE)
    cost = method.levels["pooled"].cost
    each = [
        cost(encoded.predicted[a]["pooled"], encoded.target[b]["pooled"]).mean()
        for a, b in ((ONE, TWO), (TWO, ONE))
    ]
    torch.testing.assert_close(method.terms(encoded, PHASE)["loss"], each[0] + each[1])


def test_the_loss_scale_multiplies_the_loss_and_no_named_term(pixels):
    plain, scaled = method_of("simclr").eval(), method_of("simclr", loss_scale=0.5 / 0.07).eval()
    a, b = (m.terms(m.encode(views(pixels), PHASE), PHASE) for m in (plain, scaled))
    torch.testing.assert_close(b["pooled"], a["pooled"])
    torch.testing.assert_close(b["loss"], a["loss"] * 0.5 / 0.07)
