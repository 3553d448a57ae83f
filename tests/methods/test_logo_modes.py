"""LoGo as released, killed and resumed, beside the device, and refused: what the loop makes of its phases."""

from itertools import pairwise

import pytest
import torch

from partwhole.errors import BadInput
from partwhole.experiments.run import assemble, train
from partwhole.methods.logo import CRITIC, LARGEST, LOCAL_LOCAL
from partwhole.methods.method import TRAIN, Phase
from partwhole.recipes import files
from partwhole.training.ranks import Ranks
from support.no_waiting import NoWaiting
from support.tiny_recipes import logo

MODES = ["paper", "code"]
STILL = {"momentum": 0.0, "weight_decay": 0.0}


def batches(loop, count: int):
    loop.method.train()
    loop.method.before_epoch(1)
    return [(step, index, images) for step, (index, images, _) in zip(range(count), loop.batches.epoch())]


def norm(tensors) -> torch.Tensor:
    return torch.stack([tensor.norm() for tensor in tensors]).norm()


# Phases


def test_the_phases_are_those_of_the_algorithm_and_of_the_released_code():
    phases = {
        (mode, kind): [
            phase.name for phase in assemble(logo(mode=mode, affinity=kind), Ranks(0)).method.phases
        ]
        for mode, kind in (
            ("paper", "learned"),
            ("paper", "cosine"),
            ("paper", "none"),
            ("code", "learned"),
            ("code", "cosine"),
        )
    }
    assert phases == {
        ("paper", "learned"): [CRITIC, TRAIN.name],
        ("paper", "cosine"): [TRAIN.name],
        ("paper", "none"): [TRAIN.name],
        ("code", "learned"): [CRITIC, LOCAL_LOCAL, TRAIN.name],
        ("code", "cosine"): [LOCAL_LOCAL, TRAIN.name],
    }


@pytest.mark.parametrize("mode", MODES)
def test_the_critic_has_a_constant_rate_of_its_own_and_all_others_the_schedules(mode):
    loop = assemble(logo(mode=mode, critic_lr=0.07, training={"warmup_epochs": 1, "lr": 0.5}), Ranks(0))
    for step, index, images in batches(loop, 3):
        loop.step(step, index, images)
        rates = [{float(group["lr"]) for group in stage.optimiser.param_groups} for stage in loop.stages]
        assert sorted(rates[0]) == pytest.approx([0.07])
        assert all(rate == {float(loop.rates[step])} for rate in rates[1:])


@pytest.mark.parametrize(
    ("settings", "sides"),
    [({}, [16, 16, 8, 8]), ({"affinity": "none"}, [16, 16, 8, 8]), ({"mode": "code"}, [8, 8, 16, 16, 8, 8])],
)
def test_a_step_encodes_what_the_facts_page_counts(base, settings, sides):
    """q: four passes, six in code mode; MoCo's first view alone is a query.  k: both globals and no local
    crop.
    """
    if base == "moco":
        sides = [side for place, side in enumerate(sides) if place != sides.index(16)]
    loop = assemble(logo(base, **settings), Ranks(0))
    online, target = [], []
    loop.method.encoder.register_forward_hook(
        lambda module, inputs, output: online.append(inputs[0].shape[-1])
    )
    if loop.method.base.ema:
        loop.method.base.twin.target.register_forward_hook(
            lambda m, inputs, output: target.append(inputs[0].shape[-1])
        )
    [(step, index, images)] = batches(loop, 1)
    loop.step(step, index, images)
    assert online == sides and target == ([16, 16] if loop.method.base.ema else [])


def test_in_code_mode_the_critic_and_the_local_step_share_an_encoding_that_uses_no_predictor():
    loop = assemble(logo("byol", mode="code"), Ranks(0))
    encodings, calls = [], []
    encode = loop.method.encode
    loop.method.encode = lambda views, phase: encodings.append(phase.name) or encode(views, phase)
    loop.method.levels["pooled"].predictor.register_forward_hook(lambda *_: calls.append(encodings[-1]))
    [(step, index, images)] = batches(loop, 1)
    loop.step(step, index, images)
    assert encodings == [CRITIC, TRAIN.name] and calls == [TRAIN.name] * 4


# The bound


def recorded_norms(loop, count):
    """By step: the main norm that the bound was made of, and the local-local and main gradients' norms as
    stepped.
    """
    rows, stages = [], {stage.phase.name: stage for stage in loop.stages}
    for name in (LOCAL_LOCAL, TRAIN.name):
        stage = stages[name]
        step = stage.optimiser.step

        def recorded(skip=None, stage=stage, step=step, name=name):
            rows[-1][name] = norm([parameter.grad for parameter in stage.parameters])
            rows[-1][f"{name}_main_norm"] = loop.method.main_norm.clone()
            step(skip=skip)

        stage.optimiser.step = recorded
    for step, index, images in batches(loop, count):
        rows.append({})
        rows[-1] |= loop.step(step, index, images)
    return rows


def test_code_mode_bounds_the_local_step_by_the_last_main_gradient(base):
    loop = assemble(logo(base, mode="code", clip=0.015, training=STILL), Ranks(0))
    rows = recorded_norms(loop, 3)
    assert rows[0][f"{LOCAL_LOCAL}_main_norm"] == 0 and rows[0][LOCAL_LOCAL] == 0, (
        "nothing in an epoch's first step"
    )
    assert rows[0]["effective_lambda"] == 0
    for before, row in pairwise(rows):
        last = before[f"{TRAIN.name}_main_norm"]
        # The recorded norm is the gradient's.
        torch.testing.assert_close(before[TRAIN.name], last, rtol=1e-4, atol=0)
        assert row[f"{LOCAL_LOCAL}_main_norm"] == last > 0
        expected = 0.015 * last
        assert row[LOCAL_LOCAL] <= expected * (1 + 1e-4)
        if row["effective_lambda"] < 1:
            torch.testing.assert_close(row[LOCAL_LOCAL], expected, rtol=1e-3, atol=0)
    loop.method.before_epoch(2)
    assert loop.method.main_norm == 0


def test_a_local_gradient_within_its_bound_is_left_alone():
    free, bounded = (
        recorded_norms(assemble(logo(mode="code", clip=clip, training=STILL), Ranks(0)), 2)[1]
        for clip in (1e6, 1e3)
    )
    assert torch.equal(free[LOCAL_LOCAL], bounded[LOCAL_LOCAL]) and free["effective_lambda"] == 1
    small = recorded_norms(assemble(logo(mode="code", clip=1e-3, training=STILL), Ranks(0)), 2)[1]
    assert 0 < small["effective_lambda"] < 1


def test_the_main_norm_is_recorded_before_its_cap_and_an_overflow_is_not_recorded():
    method = assemble(logo(mode="code"), Ranks(0)).method
    main = Phase(fresh=True, bounded=True)
    assert method.bound(main, torch.tensor(250.0)) == LARGEST == 100 and method.main_norm == 250
    for overflow in (float("inf"), float("nan")):
        method.bound(main, torch.tensor(overflow))
        assert method.main_norm == 250
    assert method.bound(Phase(LOCAL_LOCAL, bounded=True), torch.tensor(1.0)) == pytest.approx(0.015 * 250)


def test_with_a_bound_of_zero_code_mode_moves_as_multi_crop_does(base):
    """Without decay and momentum; the target moves once, and BatchNorm's statistics are of globals only."""
    states = []
    for settings in ({"mode": "code", "clip": 0.0, "ema_twice": False}, {"affinity": "none"}):
        loop = assemble(logo(base, training=STILL, **settings), Ranks(0))
        for step, index, images in batches(loop, 3):
            terms = loop.step(step, index, images)
            assert terms["loss"] < LARGEST
        learning = {
            name: value for name, value in loop.method.named_parameters() if not name.startswith("critic.")
        }
        states.append(learning)
    for name, value in states[1].items():
        assert torch.equal(value, states[0][name]), name


def test_the_local_step_moves_encoder_and_projector_and_leaves_critic_and_predictor_as_they_are():
    loop = assemble(logo("byol", mode="code", clip=0.5), Ranks(0))
    loop.method.train()
    [(step, index, images)] = batches(loop, 1)
    loop.method.main_norm.fill_(1.0)
    stage = loop.stages[1]
    before = {name: value.detach().clone() for name, value in loop.method.named_parameters()}
    moved, take = set(), stage.optimiser.step

    def recorded(skip=None):
        before.update({name: value.detach().clone() for name, value in loop.method.named_parameters()})
        take(skip=skip)
        moved.update(
            name for name, value in loop.method.named_parameters() if not torch.equal(value, before[name])
        )

    stage.optimiser.step = recorded
    loop.step(step, index, images)
    assert "base.encoder.conv1.weight" in moved
    assert all(name.startswith(("base.encoder.", "levels.pooled.projector.")) for name in moved)


@pytest.mark.parametrize("twice", [True, False])
def test_the_target_moves_once_or_as_released_twice_between_the_steps(twice):
    """target <- m target + (1 - m) online: with what the local step left, and with what the main
    step left.
    """
    loop = assemble(
        logo("byol", mode="code", clip=0.5, ema_twice=twice, training={**STILL, "lr": 0.5}), Ranks(0)
    )
    [(step, index, images)] = batches(loop, 1)
    loop.method.main_norm.fill_(1.0)
    online, target, m = loop.method.encoder.conv1.weight, loop.method.base.twin.target.conv1.weight, 0.9
    expected, encode = target.clone(), loop.method.encode
    with torch.no_grad():
        online.add_(1.0)

    def recorded(views, phase):
        if phase.name == TRAIN.name and twice:
            expected.mul_(m).add_((1 - m) * online.detach())
        return encode(views, phase)

    loop.method.encode = recorded
    loop.step(step, index, images)
    expected.mul_(m).add_((1 - m) * online.detach())
    torch.testing.assert_close(target, expected)


# Resumed, and beside the device


@pytest.mark.parametrize("negatives", ["reversal", "roll"])
@pytest.mark.parametrize("mode", MODES)
def test_killed_and_resumed_it_ends_bit_identical(mode, negatives, tmp_path, monkeypatch):
    from partwhole.training import loop as module

    recipe = logo(
        "moco" if negatives == "roll" else "byol", {"epochs": 3}, mode=mode, negatives=negatives, lam=0.1
    )
    whole, record = train(recipe, "x", device="cpu", progress=False)
    step, calls = module.Loop.step, []

    def dying(self, *arguments):
        calls.append(1)
        if len(calls) == 2 + self.batches.steps:
            raise KeyboardInterrupt
        return step(self, *arguments)

    monkeypatch.setattr(module.Loop, "step", dying)
    with pytest.raises(KeyboardInterrupt):
        train(recipe, "x", tmp_path, device="cpu", progress=False)
    monkeypatch.undo()
    resumed, again = train(recipe, "x", tmp_path, device="cpu", progress=False)
    one, two = whole.method.state_dict(), resumed.method.state_dict()
    assert one.keys() == two.keys() and all(torch.equal(one[name], two[name]) for name in one)
    assert any(name.startswith("critic.") for name in one) and ("main_norm" in one) == (mode == "code")
    for stage, other in zip(whole.stages, resumed.stages):
        for a, b in zip(stage.parameters, other.parameters):
            velocities = (
                stage.optimiser.state[a]["momentum_buffer"],
                other.optimiser.state[b]["momentum_buffer"],
            )
            assert torch.equal(*velocities)
    assert [row["loss"] for row in record["history"]] == [row["loss"] for row in again["history"]]
    assert [row["critic_loss"] for row in record["history"]] == [
        row["critic_loss"] for row in again["history"]
    ]


@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
@pytest.mark.parametrize(
    "settings",
    [{}, {"mode": "code"}, {"negatives": "roll", "joint_norm": True, "jitter": "both", "orders": "both"}],
)
def test_a_step_never_waits_for_the_device(base, precision, settings):
    loop = assemble(logo(base, {"precision": precision}, **settings), Ranks(0))
    steps = batches(loop, 2)
    with NoWaiting():
        for step, index, images in steps:
            terms = loop.step(step, index, images)
    assert all(term.isfinite() for term in terms.values())


def test_a_record_says_what_was_encoded(tmp_path):
    """Passes and pixels an image: two globals of 16 px and two locals of 8; in code mode the locals twice; a
    twin both globals.
    """
    cases = {
        ("simclr", "paper"): (4, 640),
        ("simclr", "code"): (6, 768),
        ("byol", "paper"): (6, 1152),
        ("byol", "code"): (8, 1280),
    }
    for (base, mode), (passes, pixels) in cases.items():
        _, record = train(logo(base, {"epochs": 1}, mode=mode), "x", device="cpu", progress=False)
        assert (record["metrics"]["encoder_passes"], record["metrics"]["encoder_pixels"]) == (passes, pixels)


# Refused


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (["views.local=null"], "views.local is missing; LoGo needs local crops, such as"),
        (["views.local.count=3"], "views.local.count is 3; LoGo compares two local crops, so give 2"),
        (["views.local.scale=[0.5, 1.0]"], "above the global scale"),
        (["views.local.scale=[0.3, 0.1]"], "the first number must not exceed the second"),
        (
            ["views.local.size=4"],
            "a view of 4 px is smaller than a step of the encoder's map (8 px); enlarge it",
        ),
        (["method.logo.lam=-1"], "method.logo.lam is -1"),
        (["method.logo.clip=-0.1"], "method.logo.clip is -0.1"),
        (["method.logo.critic_lr=0"], "method.logo.critic_lr is 0"),
        (
            ["training.batch_size=255"],
            "an odd batch pairs its middle image with itself: make it even, or use",
        ),
        (
            ["method.logo.affinity=none", "method.logo.mode=code"],
            "there is no local-local step; use mode paper",
        ),
        (
            ["method.objective=pooled"],
            "the objective pooled makes nothing of local crops; say views.local: null",
        ),
        (
            ["method.objective=lewel"],
            "the objective lewel makes nothing of local crops; say views.local: null, or use one of",
        ),
        (["method.logo.afinity=none"], "did you mean method.logo.affinity"),
        (["method.logo.affinity=cosin"], "cosine"),
    ],
)
def test_bad_input_is_refused_in_one_line_before_any_training(change, message):
    with pytest.raises(BadInput) as caught:
        files.load("cifar10/narrow_simclr_logo", change)
    assert message in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "change",
    [
        ["training.batch_size=255", "method.logo.negatives=roll"],
        ["method.logo.affinity=none", "training.batch_size=255"],
    ],
)
def test_an_odd_batch_is_taken_where_no_image_meets_itself(change):
    assert files.load("cifar10/narrow_simclr_logo", change).training.batch_size == 255
