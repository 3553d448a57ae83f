import copy
import io

import pytest
import torch
from lightly.utils.lars import LARS
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from partwhole.recipes.schema import Training
from partwhole.training.optimisers import make, set_lr
from partwhole.training.precision import LossScale


class NoHostSync(TorchDispatchMode):
    """Fails on whatever would make the host wait for the device."""

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        name = str(function)
        if any(word in name for word in ("_local_scalar_dense", "nonzero", "is_nonzero", "aten.equal")):
            raise AssertionError(f"{name} waits for the device")
        return function(*args, **(kwargs or {}))


def network(seed=0):
    torch.manual_seed(seed)
    net = nn.ModuleDict(
        {
            "encoder": nn.Sequential(
                nn.Conv2d(3, 4, 3, bias=False), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(16, 6)
            ),
            "predictor": nn.Linear(6, 6),
        }
    )
    return net.to(memory_format=torch.channels_last)


def gradients(net, step):
    """The same pseudo-random gradients for any copy of the network, in the network's own memory order."""
    generator = torch.Generator().manual_seed(100 + step)
    for parameter in net.parameters():
        value = torch.randn(parameter.shape, generator=generator)
        parameter.grad = torch.empty_like(parameter).copy_(value)


def rates(steps):
    return [0.3 * (1 - step / steps) + 0.01 for step in range(steps)]


def run(net, training, steps=8):
    optimiser = make(net.named_parameters(), training)
    for step, lr in enumerate(rates(steps)):
        gradients(net, step)
        set_lr(optimiser, torch.tensor(lr))
        optimiser.step()
    return optimiser


def assert_same(ours, theirs, **tolerance):
    for (name, a), b in zip(ours.named_parameters(), theirs.parameters()):
        torch.testing.assert_close(a, b, msg=lambda text, name=name: f"{name}: {text}", **tolerance)


@pytest.mark.parametrize("decay_all", [True, False])
@pytest.mark.parametrize("momentum", [0.9, 0.0])
def test_sgd_walks_with_torchs_sgd(decay_all, momentum):
    ours, theirs = network(), network()
    run(ours, Training(lr=0.5, momentum=momentum, weight_decay=0.05, decay_norm_and_bias=decay_all))
    large = [p for p in theirs.parameters() if p.ndim > 1]
    small = [p for p in theirs.parameters() if p.ndim == 1]
    groups = [
        {"params": large, "weight_decay": 0.05},
        {"params": small, "weight_decay": 0.05 if decay_all else 0.0},
    ]
    reference = torch.optim.SGD(groups, lr=0.5, momentum=momentum)
    for step, lr in enumerate(rates(8)):
        gradients(theirs, step)
        for group in reference.param_groups:
            group["lr"] = lr
        reference.step()
    assert_same(ours, theirs, rtol=1e-6, atol=1e-6)
    assert not torch.allclose(ours["predictor"].weight, network()["predictor"].weight)


def plain_lars(net, *, trust, decay, momentum, clip, steps=8):
    """LARS by its paper, a parameter at a time, in float64; clipped: by solo-learn's description."""
    velocity = {}
    for step, lr in enumerate(rates(steps)):
        gradients(net, step)
        for name, p in net.named_parameters():
            w, g = p.detach().double(), p.grad.double()
            scale = 1.0
            if p.ndim > 1:
                if w.norm() > 0 and g.norm() > 0:
                    scale = (trust * w.norm() / (g.norm() + decay * w.norm())).item()
                    scale = min(scale / lr, 1) if clip else scale
                g = g + decay * w
            inside, outside = (1, lr) if clip else (lr, 1)
            velocity[name] = momentum * velocity.get(name, 0) + inside * scale * g
            p.data.copy_((w - outside * velocity[name]).float())


@pytest.mark.parametrize(("trust", "clip"), [(0.001, False), (0.02, True), (5.0, True), (0.1, False)])
def test_lars_equals_a_plain_loop_over_parameters(trust, clip):
    ours, theirs = network(), network()
    for net in (ours, theirs):
        net["predictor"].weight.data.zero_()  # |w| = 0: the trust ratio is undefined, the step is SGD's
    run(ours, Training(optimiser="lars", weight_decay=0.03, trust=trust, trust_clip=clip, momentum=0.9))
    plain_lars(theirs, trust=trust, decay=0.03, momentum=0.9, clip=clip)
    assert_same(ours, theirs, rtol=1e-5, atol=1e-6)


def test_lars_equals_lightlys_at_a_constant_learning_rate_and_not_at_a_changing_one():
    """lightly keeps lr outside the momentum and adds 1e-8 to the denominator; its norms and biases need a
    group of their own.
    """
    for schedule, same in ([0.4] * 6, True), (rates(6), False):
        ours, theirs = network(), network()
        optimiser = make(
            ours.named_parameters(), Training(optimiser="lars", lr=0.4, weight_decay=0.03, trust=0.02)
        )
        large = [p for p in theirs.parameters() if p.ndim > 1]
        small = [p for p in theirs.parameters() if p.ndim == 1]
        groups = [{"params": large}, {"params": small, "weight_decay": 0.0}]
        reference = LARS(groups, lr=0.4, momentum=0.9, weight_decay=0.03, trust_coefficient=0.02)
        for step, lr in enumerate(schedule):
            for net in (ours, theirs):
                gradients(net, step)
            set_lr(optimiser, torch.tensor(lr))
            for group in reference.param_groups:
                group["lr"] = lr
            optimiser.step()
            reference.step()
        close = [
            torch.allclose(a, b, rtol=1e-5, atol=1e-6) for a, b in zip(ours.parameters(), theirs.parameters())
        ]
        assert all(close) == same


def test_lars_with_zero_gradient_takes_plain_decay():
    weight = nn.Parameter(torch.ones(2, 2))
    optimiser = make(
        [("weight", weight)], Training(optimiser="lars", lr=0.5, weight_decay=0.1, momentum=0.0, trust=0.001)
    )
    weight.grad = torch.zeros(2, 2)
    optimiser.step()
    torch.testing.assert_close(weight.detach(), torch.full((2, 2), 1 - 0.5 * 0.1))


def test_lars_leaves_its_input_gradients_alone():
    net = network()
    optimiser = make(net.named_parameters(), Training(optimiser="lars"))
    gradients(net, 0)
    before = [p.grad.clone() for p in net.parameters()]
    optimiser.step()
    assert all(torch.equal(a, p.grad) for a, p in zip(before, net.parameters()))


@pytest.mark.parametrize("optimiser", ["sgd", "lars"])
def test_predictor_keeps_its_learning_rate_when_fixed(optimiser):
    net = network()
    names = [
        ("encoder.predictors.weight", net["encoder"][3].weight),
        ("target.predictor.1.weight", net["predictor"].weight),
    ]
    made = make(
        names,
        Training(
            optimiser=optimiser, lr=0.5, fixed_predictor_lr=True, weight_decay=0.0, momentum=0.0, trust=1.0
        ),
    )
    before = {name: p.detach().clone() for name, p in names}
    gradients(net, 0)
    set_lr(made, torch.tensor(0.0))
    made.step()
    assert torch.equal(names[0][1], before["encoder.predictors.weight"]), (
        "a name that merely contains the word is scheduled"
    )
    assert not torch.equal(names[1][1], before["target.predictor.1.weight"])
    assert sorted(float(group["lr"]) for group in made.param_groups) == [0.0, 0.5]


def test_norm_and_bias_are_decayed_only_where_asked():
    def decays(**training):
        made = make(network().named_parameters(), Training(weight_decay=0.1, **training))
        return {p.ndim > 1: group["weight_decay"] for group in made.param_groups for p in group["params"]}

    assert decays(decay_norm_and_bias=True) == {True: 0.1, False: 0.1}
    assert decays(decay_norm_and_bias=False) == {True: 0.1, False: 0.0}
    assert decays(optimiser="lars", decay_norm_and_bias=True) == {True: 0.1, False: 0.0}


def test_gradient_in_another_memory_order_takes_the_same_step():
    """torch's fused CPU step reads flat memory without looking at strides: a contiguous gradient would land
    on wrong weights.
    """
    ours, theirs = network(), network()
    steps = [make(net.named_parameters(), Training()) for net in (ours, theirs)]
    gradients(ours, 0), gradients(theirs, 0)
    for p in ours.parameters():
        p.grad = p.grad.contiguous()
    assert ours["encoder"][0].weight.grad.stride() != ours["encoder"][0].weight.stride()
    for optimiser in steps:
        optimiser.step()
    assert_same(ours, theirs, rtol=0, atol=0)


def test_network_moved_to_channels_last_after_its_optimiser_takes_the_same_steps():
    ours, theirs = network().to(memory_format=torch.contiguous_format), network()
    ours_steps = make(ours.named_parameters(), Training())
    theirs_steps = make(theirs.named_parameters(), Training())
    for step in range(3):
        for net, optimiser in ((ours, ours_steps), (theirs, theirs_steps)):
            gradients(net, step)
            optimiser.step()
        ours.to(memory_format=torch.channels_last)
    assert_same(ours, theirs, rtol=0, atol=0)


@pytest.mark.parametrize("optimiser", ["sgd", "lars"])
@pytest.mark.parametrize("bad", [float("inf"), float("nan")])
@pytest.mark.parametrize("first", [True, False])
def test_skipped_step_changes_nothing_and_the_next_goes_on(optimiser, bad, first):
    training = Training(optimiser=optimiser, weight_decay=0.05, trust=0.02)
    ours, theirs = network(), network()
    made, reference = (make(net.named_parameters(), training) for net in (ours, theirs))
    if not first:
        for net, steps in ((ours, made), (theirs, reference)):
            gradients(net, 0)
            steps.step(skip=torch.tensor(0.0))
    gradients(ours, 1)
    for p in ours.parameters():
        p.grad.flatten()[0] = bad
        p.grad[..., 0] = bad
    made.step(skip=torch.tensor(1.0))
    assert_same(ours, theirs, rtol=0, atol=0)
    for net, steps in ((ours, made), (theirs, reference)):
        gradients(net, 2)
        steps.step(skip=torch.tensor(0.0))
    assert_same(ours, theirs, rtol=0, atol=0)
    assert all(p.isfinite().all() for p in ours.parameters())


@pytest.mark.parametrize("optimiser", ["sgd", "lars"])
def test_resumed_optimiser_goes_on_bit_for_bit(optimiser):
    training = Training(optimiser=optimiser, fixed_predictor_lr=True, trust=0.02)
    straight = network()
    made = run(straight, training, steps=3)
    saved = io.BytesIO()
    torch.save({"optimiser": made.state_dict(), "network": straight.state_dict()}, saved)
    saved.seek(0)
    state = torch.load(saved, weights_only=True)
    resumed = network(seed=1)
    resumed.load_state_dict(state["network"])
    other = make(resumed.named_parameters(), training)
    kept = other.lr, [other.state[p]["momentum_buffer"] for p in resumed.parameters()]
    other.load_state_dict(state["optimiser"])
    assert other.lr is kept[0] and other.param_groups[0]["lr"] is other.lr, (
        "a captured graph would keep the old tensor"
    )
    assert all(other.state[p]["momentum_buffer"] is v for p, v in zip(resumed.parameters(), kept[1]))
    for step in range(3, 6):
        for net, steps in ((straight, made), (resumed, other)):
            gradients(net, step)
            if step > 3:  # the first step after resuming uses the restored rate
                set_lr(steps, torch.tensor(0.2 / step))
            steps.step()
    assert_same(resumed, straight, rtol=0, atol=0)


def test_state_of_another_network_is_refused():
    made = make(network().named_parameters(), Training())
    state = copy.deepcopy(made.state_dict())
    with pytest.raises(ValueError, match="parameter group"):
        make([("weight", nn.Parameter(torch.ones(2, 2)))], Training()).load_state_dict(state)


@pytest.mark.parametrize("training", [{}, {"optimiser": "lars"}, {"optimiser": "lars", "trust_clip": True}])
def test_no_step_waits_for_the_device(training):
    net, scale = network(), LossScale("cpu")
    optimiser = make(net.named_parameters(), Training(fixed_predictor_lr=True, **training))
    table = torch.linspace(0.1, 0.2, 5)
    gradients(net, 0)
    with NoHostSync():
        for step in range(3):
            skip = scale.unscale_and_check([p.grad for p in net.parameters()])
            set_lr(optimiser, table[step])
            optimiser.step(skip=skip)
        scale.scale(torch.ones(()))


def test_the_watch_on_host_waits_sees_torchs_own_foreach_sgd():
    net = network()
    optimiser = torch.optim.SGD(net.parameters(), lr=torch.tensor(0.1), foreach=True)
    gradients(net, 0)
    with pytest.raises(AssertionError, match="_local_scalar_dense"), NoHostSync():
        optimiser.step()


def test_parameter_without_gradient_stays():
    net = network()
    optimiser = make(net.named_parameters(), Training())
    gradients(net, 0)
    net["predictor"].weight.grad = None
    optimiser.step()
    assert torch.equal(net["predictor"].weight, network()["predictor"].weight)
    assert not torch.equal(net["predictor"].bias, network()["predictor"].bias)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("training", [{}, {"optimiser": "lars"}, {"optimiser": "lars", "trust_clip": True}])
def test_cuda_steps_equal_cpu_steps_and_never_synchronise(training):
    here, there = network(), network().cuda()
    run(here, Training(**training), steps=4)
    optimiser = make(there.named_parameters(), Training(**training))
    table = torch.tensor(rates(4), device="cuda")
    scale = LossScale("cuda", initial=1.0)
    for step in range(4):
        gradients(there, step)
        torch.cuda.synchronize()
        torch.cuda.set_sync_debug_mode("error")
        try:
            skip = scale.unscale_and_check([p.grad for p in there.parameters()])
            set_lr(optimiser, table[step])
            optimiser.step(skip=skip)
        finally:
            torch.cuda.set_sync_debug_mode("default")
    assert_same(there.cpu(), here, rtol=1e-5, atol=1e-6)
