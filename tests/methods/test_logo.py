"""LoGo: which terms there are on every base, who gets a gradient from what, the critic, both modes."""

import math

import pytest
import torch
import torch.nn.functional as F

from partwhole.errors import BadInput
from partwhole.experiments.run import assemble, train
from partwhole.methods import affinity
from partwhole.methods.base import GLOBALS, Level
from partwhole.methods.logo import CRITIC, LOCAL_LOCAL, LOCALS
from partwhole.methods.method import TRAIN, Phase
from partwhole.recipes import files
from partwhole.recipes.schema import Recipe
from partwhole.training.ranks import Ranks
from support.tiny_recipes import contrastive, tiny

OWN = {"simclr": 2, "simsiam": 2, "byol": 2, "moco": 1}


def logo(base="simclr", training=None, sampler=None, **settings) -> Recipe:
    values = (contrastive if sampler else tiny)(base, **(training or {})).model_dump()
    values["views"] |= {"scale": (0.4, 1.0), "local": {"count": 2, "size": 8, "scale": (0.1, 0.4)}}
    values["method"] |= {"objective": "logo", "logo": {"hidden": 12, **settings}}
    return Recipe(**values)


def started(recipe):
    """A loop and the views of its first batch."""
    loop = assemble(recipe, Ranks(0))
    loop.method.train()
    index, images, _ = next(iter(loop.batches.epoch()))
    views = loop.augment(images, loop.ranks.draw(len(index), loop.augment.uniforms), index)
    return loop, views


def gradients(method):
    return {name: value.grad for name, value in method.named_parameters() if value.grad is not None and value.grad.any()}


def equal(one, other, names=None):
    return all(torch.equal(one[name], other[name]) for name in names or one)


@pytest.mark.parametrize("mode", ["paper", "code"])
def test_every_base_has_its_own_terms_and_four_more_that_meet_frozen_global_targets(base, mode, monkeypatch):
    loop, views = started(logo(base, mode=mode))
    calls, compare = [], Level.compare

    def recorded(self, predicted, target, frozen=True):
        calls.append((predicted, target, frozen))
        return compare(self, predicted, target, frozen)

    monkeypatch.setattr(Level, "compare", recorded)
    encoded = loop.method.encode(views)
    loop.method.terms(encoded)
    assert len(calls) == OWN[base] + 4
    locals_seen = [(p, t) for p, t, frozen in calls[OWN[base] :] if frozen]
    assert len(locals_seen) == 4
    wanted = [(encoded.predicted[local]["pooled"], encoded.target[whole]["pooled"]) for local in LOCALS for whole in GLOBALS]
    assert all(p is a and t is b for (p, t), (a, b) in zip(locals_seen, wanted))


def test_the_critic_learns_from_detached_vectors_and_nothing_else_does(base):
    loop, views = started(logo(base))
    loop.method.terms(loop.method.encode(views), Phase(CRITIC))["loss"].backward()
    assert gradients(loop.method) and all(name.startswith("critic.") for name in gradients(loop.method))  # T1


def test_the_joint_step_never_moves_the_critic(base):
    loop, views = started(logo(base, lam=10.0))
    named = loop.method.trained(TRAIN)
    assert not any(name.startswith("critic.") for name in named)
    loop.method.terms(loop.method.encode(views))["loss"].backward(inputs=list(named.values()))
    assert not any(name.startswith("critic.") for name in gradients(loop.method))  # T2
    assert any(name.startswith("base.encoder.") for name in gradients(loop.method))


def test_a_critic_that_knows_nothing_costs_twice_the_log_of_two():
    loop, views = started(logo())
    last = loop.method.critic.layers[-1]
    torch.nn.init.zeros_(last.weight), torch.nn.init.zeros_(last.bias)
    encoded = loop.method.encode(views)
    terms = loop.method.terms(encoded, Phase(CRITIC))
    torch.testing.assert_close(terms["loss"], torch.tensor(2 * math.log(2)))  # T3
    torch.testing.assert_close(loop.method.terms(encoded)["local_local"], torch.tensor(math.log(2)))
    assert affinity.difference(torch.zeros(4), torch.zeros(4)) == 0


def test_the_logistic_form_is_binary_cross_entropy_in_value_and_gradient():
    same, different = (torch.randn(2, 50, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * 3).requires_grad_()
    ours = affinity.logistic(same, different)
    ones, zeros = torch.ones_like(same), torch.zeros_like(same)
    theirs = F.binary_cross_entropy_with_logits(same, ones) + F.binary_cross_entropy_with_logits(different, zeros)
    torch.testing.assert_close(ours, theirs)  # T4
    for value in (1e4, -1e4):
        assert affinity.logistic(torch.full((3,), value), torch.full((3,), -value)).isfinite()


@pytest.mark.parametrize(("apart", "low", "high"), [(6.0, -0.01, 0.1), (0.0, 1.2, 1.45)])
def test_the_critic_separates_what_can_be_separated_and_stays_at_chance_elsewhere(apart, low, high):
    torch.manual_seed(0)
    critic = affinity.Affinity(4, 32, torch.nn.BatchNorm1d)
    optimiser = torch.optim.SGD(critic.parameters(), lr=0.1)
    for _ in range(300):
        one, two, three = torch.randn(3, 256, 4)
        scores = critic(torch.cat([one, one]), torch.cat([two + apart, three - apart]))  # one batch of BatchNorm
        loss = affinity.logistic(*scores.chunk(2))
        optimiser.zero_grad(), loss.backward(), optimiser.step()
    assert low < loss.item() < high  # T5


def test_the_loss_without_jitter_does_not_know_which_local_crop_is_the_first():
    loop, views = started(logo(jitter="none"))
    one, two = loop.method.local_vectors(loop.method.encode(views))
    torch.testing.assert_close(loop.method.critic_terms(one, two)["loss"], loop.method.critic_terms(two, one)["loss"])  # T6
    order = torch.randperm(16, generator=torch.Generator().manual_seed(1))
    shuffled = loop.method.local_local(one[order], two[order])
    torch.testing.assert_close(loop.method.local_local(one, two), shuffled, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("negatives", ["reversal", "roll"])
def test_no_image_is_its_own_negative_but_in_an_odd_reversed_batch(negatives):
    loop, _ = started(logo(negatives=negatives))
    even, odd = torch.arange(16.0)[:, None], torch.arange(15.0)[:, None]
    assert (loop.method.others(even) != even).all()  # T7
    assert (loop.method.others(odd) == odd).sum() == (1 if negatives == "reversal" else 0)


def test_lambda_zero_gives_multi_crops_loss_and_gradient(base):
    results = []
    for settings in ({"lam": 0.0}, {"affinity": "none"}):
        loop, views = started(logo(base, **settings))
        loss = loop.method.terms(loop.method.encode(views))["loss"]
        named = loop.method.trained(TRAIN)
        results.append((loss, dict(zip(named, torch.autograd.grad(loss, list(named.values()))))))
    assert torch.equal(results[0][0], results[1][0]) and equal(results[0][1], results[1][1])  # T8


def test_without_local_pairs_it_is_the_base_bit_for_bit(base):
    results = []
    for recipe in (logo(base, affinity="none"), tiny(base)):
        loop = assemble(recipe, Ranks(0))
        loop.method.train()
        if recipe.method.objective == "logo":
            loop.method.local_pairs = ()
            loop.augment.groups, loop.augment.uniforms = loop.augment.groups[:1], loop.augment.groups[0].uniforms
            loop.augment.groups[0].sampler.scale = (0.2, 1.0)
        index, images, _ = next(iter(loop.batches.epoch()))
        loss = loop.step(0, index, images)["loss"]
        state = {name: value for name, value in loop.method.state_dict().items() if name != "main_norm"}
        results.append((loss, state))
    assert torch.equal(results[0][0], results[1][0]) and equal(results[0][1], results[1][1])


def test_code_mode_bounds_the_local_step_by_the_last_main_gradient():
    recipe = logo(mode="code", clip=0.015, training={"momentum": 0.0, "weight_decay": 0.0, "lr": 0.1})
    loop = assemble(recipe, Ranks(0))
    loop.method.train()
    assert [stage.phase.name for stage in loop.stages] == [CRITIC, LOCAL_LOCAL, TRAIN.name]
    loop.method.before_epoch(1)
    batches = iter(loop.batches.epoch())
    norms, moved, stage = [], [], loop.stages[1]
    step = stage.optimiser.step

    def recorded(skip=None):
        norms.append(loop.method.main_norm.clone())
        moved.append(torch.stack(torch._foreach_norm([value.grad for value in stage.parameters])).norm())
        step(skip=skip)

    stage.optimiser.step = recorded
    for number, (index, images, _) in zip(range(3), batches):
        loop.step(number, index, images)
    assert norms[0] == 0 and moved[0] == 0  # as released: nothing in an epoch's first step
    for norm, length in zip(norms[1:], moved[1:]):
        assert norm > 0 and length <= 0.015 * norm * (1 + 1e-4)  # T9
    loop.method.before_epoch(2)
    assert loop.method.main_norm == 0


def test_code_mode_sees_locals_alone_first_and_everything_anew_for_the_main_step():
    loop, _ = started(logo(mode="code"))
    sizes = []
    loop.method.encoder.register_forward_hook(lambda module, inputs, output: sizes.append(inputs[0].shape[-1]))
    index, images, _ = next(iter(loop.batches.epoch()))
    loop.step(0, index, images)
    assert sizes == [8, 8, 16, 16, 8, 8]  # T14: six passes


def test_paper_mode_sees_four_views_once():
    loop, _ = started(logo())
    sizes = []
    loop.method.encoder.register_forward_hook(lambda module, inputs, output: sizes.append(inputs[0].shape[-1]))
    index, images, _ = next(iter(loop.batches.epoch()))
    loop.step(0, index, images)
    assert sizes == [16, 16, 8, 8]


def test_equal_costs_give_a_mean_loss_equal_to_each(monkeypatch):
    loop, views = started(logo("byol", affinity="none", weights="mean"))
    monkeypatch.setattr(Level, "compare", lambda self, p, t, frozen=True: torch.full(p.shape[:2], 1.7))
    terms = loop.method.terms(loop.method.encode(views))
    torch.testing.assert_close(terms["loss"], torch.tensor(1.7))  # T11
    torch.testing.assert_close(terms["local_global"], torch.tensor(4 * 1.7))


def test_the_queue_takes_global_keys_alone():
    loop, views = started(logo("moco"))
    encoded = loop.method.encode(views)
    loop.method.after_step(encoded, torch.tensor(0.0))
    level = loop.method.levels["pooled"]
    assert level.pointer == 16  # T12: view 1's keys, as without local crops
    torch.testing.assert_close(level.queue[:16], F.normalize(encoded.target["global", 1]["pooled"][:, 0], dim=1))


@pytest.mark.parametrize(("twice", "share"), [(False, 0.9), (True, 0.81)])
def test_the_target_moves_once_or_as_released_twice(twice, share):
    loop, views = started(logo("byol", mode="code", ema_twice=twice))
    online, target = loop.method.encoder.conv1.weight, loop.method.base.twin.target.conv1.weight
    with torch.no_grad():
        online.add_(1.0)
    before = target.clone()
    loop.method.after_step(loop.method.encode(views), torch.tensor(0.5))
    torch.testing.assert_close(target, share * before + (1 - share) * online.detach())  # T13


def test_cosine_needs_no_critic_and_is_the_mean_cosine():
    loop, views = started(logo(affinity="cosine"))
    assert loop.method.critic is None and len(loop.stages) == 1
    encoded = loop.method.encode(views)
    one, two = (encoded.online[view]["pooled"][:, 0] for view in LOCALS)
    torch.testing.assert_close(loop.method.terms(encoded)["local_local"], F.cosine_similarity(one, two).mean())  # T16


def test_a_step_on_the_local_term_alone_lowers_it():
    loop, views = started(logo(lam=1.0))
    encoded = loop.method.encode(views)
    before = loop.method.terms(encoded)["local_local"]
    named = list(loop.method.trained(TRAIN).values())
    for value, slope in zip(named, torch.autograd.grad(before, named, allow_unused=True)):
        if slope is not None:
            value.data.sub_(0.002 * slope / slope.norm().clamp(min=1e-9))
    assert loop.method.terms(loop.method.encode(views))["local_local"] < before


@pytest.mark.parametrize("mode", ["paper", "code"])
def test_stopped_and_resumed_it_ends_bit_identical(mode, tmp_path, monkeypatch):
    from partwhole.training import loop as module

    recipe = logo("byol", {"epochs": 3}, mode=mode)
    whole, _ = train(recipe, "x", device="cpu", progress=False)
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
    resumed, _ = train(recipe, "x", tmp_path, device="cpu", progress=False)
    assert equal(whole.method.state_dict(), resumed.method.state_dict())


def test_every_sampler_crops_the_globals_and_local_crops_change_none_of_them(base):
    with_locals, without = assemble(logo(base, sampler=True), Ranks(0)), assemble(contrastive(base), Ranks(0))
    without.augment.groups[0].sampler.scale = (0.4, 1.0)
    images, index = with_locals.batches.image_set.images[:8], torch.arange(8)
    boxes = with_locals.sampler.boxes_of(index)
    u = Ranks(1).draw(8, with_locals.augment.uniforms)
    one = with_locals.augment(images, u, index, boxes=boxes)
    two = without.augment(images, u[:, : without.augment.uniforms], index, boxes=boxes)
    assert torch.equal(one.globals.pixels, two.globals.pixels)  # bit for bit
    area = (one.locals.crops.height * one.locals.crops.width).double() / 32**2
    assert one.locals.pixels.shape == (2, 8, 3, 8, 8) and area.min() > 0.05 and area.max() < 0.45  # T15


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (["views.local=null"], "views.local is missing; LoGo needs local crops"),
        (["views.local.count=3"], "views.local.count is 3; LoGo compares two local crops"),
        (["views.local.scale=[0.5, 1.0]"], "above the global scale"),
        (["views.local.size=4"], "smaller than a step of the encoder's map"),
        (["method.logo.lam=-1"], "method.logo.lam is -1"),
        (["method.logo.clip=-0.1"], "method.logo.clip is -0.1"),
        (["training.batch_size=255"], "an odd batch pairs its middle image with itself"),
        (["method.logo.affinity=none", "method.logo.mode=code"], "there is no local-local step"),
        (["method.logo.afinity=none"], "did you mean method.logo.affinity"),
    ],
)
def test_bad_input_is_refused_in_one_line(change, message):
    with pytest.raises(BadInput) as caught:
        files.load("cifar10/narrow_simclr_logo", change)
    assert message in str(caught.value) and "\n" not in str(caught.value)
