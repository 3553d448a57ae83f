"""LoGo: which terms there are on every base, who gets a gradient from what, and what it equals when parts are
left out.
"""

import copy
import math

import pytest
import torch
import torch.nn.functional as F

from partwhole.experiments.run import assemble
from partwhole.methods import affinity, build
from partwhole.methods.base import GLOBALS, Level
from partwhole.methods.logo import CRITIC, LOCALS, LoGo
from partwhole.methods.method import TRAIN, Phase
from partwhole.training.ranks import Ranks
from support.tiny_recipes import contrastive, logo, tiny

BASE_PAIRS = {"simclr": 2, "simsiam": 2, "byol": 2, "moco": 1}
STILL = {"momentum": 0.0, "weight_decay": 0.0}


def started(recipe):
    """A loop and the views of its first batch."""
    loop = assemble(recipe, Ranks(0))
    loop.method.train()
    index, images, _ = next(iter(loop.batches.epoch()))
    return loop, loop.augment(images, loop.ranks.draw(len(index), loop.augment.uniforms), index)


def stepped(recipe, steps: int = 3):
    """The state of a method after some steps, without its critic, and the last terms."""
    loop = assemble(recipe, Ranks(0))
    loop.method.train()
    for step, (index, images, _) in zip(range(steps), loop.batches.epoch()):
        terms = loop.step(step, index, images)
    return {
        name: value for name, value in loop.method.state_dict().items() if not name.startswith("critic.")
    }, terms


def reached(loss, method) -> set[str]:
    """The names of all parameters to which a loss sends a gradient that is not 0."""
    named = {name: value for name, value in method.named_parameters() if value.requires_grad}
    gradients = torch.autograd.grad(loss, list(named.values()), allow_unused=True)
    return {name for name, gradient in zip(named, gradients) if gradient is not None and gradient.any()}


def equal(one: dict, two: dict) -> bool:
    return one.keys() == two.keys() and all(torch.equal(one[name], two[name]) for name in one)


# The terms


@pytest.mark.parametrize("mode", ["paper", "code"])
@pytest.mark.parametrize("kind", ["learned", "cosine"])
def test_every_base_has_its_own_terms_and_four_more_that_meet_frozen_global_targets(
    base, mode, kind, monkeypatch
):
    loop, views = started(logo(base, mode=mode, affinity=kind))
    calls, compare = [], Level.compare

    def recorded(self, predicted, target, frozen=True):
        calls.append((predicted, target, frozen))
        return compare(self, predicted, target, frozen)

    monkeypatch.setattr(Level, "compare", recorded)
    encoded = loop.method.encode(views)
    loop.method.terms(encoded)
    pairs = [(pair.online, pair.target, pair.frozen) for pair in loop.method.base.pairs]
    pairs += [(local, whole, True) for local in LOCALS for whole in GLOBALS]
    assert len(calls) == len(pairs) == BASE_PAIRS[base] + 4
    for (predicted, target, frozen), (online, answer, expected) in zip(calls, pairs):
        assert predicted is encoded.predicted[online]["pooled"] and target is encoded.target[answer]["pooled"]
        assert frozen is expected and predicted.shape == target.shape == (16, 1, 8)
    assert not set(LOCALS) & set(encoded.target), "no local crop is a target"


def test_a_local_query_finds_its_target_among_those_of_other_images():
    """SimCLR: cross-entropy over the globals of the batch alone.

    MoCo: over the queue alone.  Both for each of four pairs.
    """
    for base in ("simclr", "moco"):
        loop, views = started(logo(base, affinity="none"))
        encoded = loop.method.encode(views)
        level, expected = loop.method.levels["pooled"], []
        for local in LOCALS:
            for whole in GLOBALS:
                query = F.normalize(encoded.predicted[local]["pooled"][:, 0], dim=1)
                key = F.normalize(encoded.target[whole]["pooled"][:, 0], dim=1)
                if base == "simclr":
                    logits, labels = query @ key.T, torch.arange(16)
                else:
                    logits = torch.cat([(query * key).sum(1, keepdim=True), query @ level.queue.T], 1)
                    labels = torch.zeros(16, dtype=torch.long)
                expected.append(F.cross_entropy(logits / level.temperature, labels))
        torch.testing.assert_close(loop.method.terms(encoded)["local_global"], sum(expected) / 4)


@pytest.mark.parametrize(("weights", "of_globals", "of_locals"), [("mean", 2 / 6, 4 / 6), ("sum", 1.0, 4.0)])
def test_the_loss_weighs_its_terms_as_the_released_code_or_as_the_equations(
    base, weights, of_globals, of_locals
):
    loop, views = started(logo(base, weights=weights, lam=0.7))
    terms = loop.method.terms(loop.method.encode(views))
    expected = (
        of_globals * terms["global_global"] + of_locals * terms["local_global"] + 0.7 * terms["local_local"]
    )
    torch.testing.assert_close(terms["loss"], expected)


def test_with_all_costs_equal_the_mean_is_the_bases_own_loss_and_the_sum_is_five_of_it(base, monkeypatch):
    monkeypatch.setattr(
        Level, "compare", lambda self, predicted, target, frozen=True: torch.full(predicted.shape[:2], 1.7)
    )
    losses = {}
    for weights in ("mean", "sum"):
        loop, views = started(logo(base, affinity="none", weights=weights))
        terms = loop.method.terms(loop.method.encode(views))
        losses[weights] = terms["loss"]
    own = torch.tensor(1.7 * (2 if base == "byol" else 1))
    for name, value in (("global_global", own), ("local_global", own)):
        torch.testing.assert_close(terms[name], value)
    torch.testing.assert_close(losses["mean"], own)
    torch.testing.assert_close(losses["sum"], 5 * own)


def test_the_local_term_is_the_critics_affinity_of_the_projected_unit_vectors_of_both_locals():
    loop, views = started(logo("byol"))
    encoded = loop.method.encode(views)
    one, two = (F.normalize(encoded.online[view]["pooled"][:, 0], dim=1) for view in LOCALS)
    critic = copy.deepcopy(loop.method.critic)
    expected = F.softplus(critic(one, two)).mean()
    torch.testing.assert_close(loop.method.terms(encoded)["local_local"], expected)
    raw, _ = started(logo("byol", normalise=False))
    one, two = (encoded.online[view]["pooled"][:, 0] for view in LOCALS)
    assert torch.equal(raw.method.local_vectors(encoded)[0], one) and torch.equal(
        raw.method.local_vectors(encoded)[1], two
    )


def test_cosine_needs_no_critic_and_is_the_mean_cosine():
    loop, views = started(logo(affinity="cosine"))
    assert loop.method.critic is None and [stage.phase for stage in loop.stages] == [TRAIN]
    encoded = loop.method.encode(views)
    one, two = (encoded.online[view]["pooled"][:, 0] for view in LOCALS)
    torch.testing.assert_close(
        loop.method.terms(encoded)["local_local"], F.cosine_similarity(one, two).mean()
    )


def test_terms_have_names_of_their_own_in_both_modes():
    critic = {"critic_loss", "critic_same", "critic_different", "critic_accuracy"}
    main = {"global_global", "local_global", "loss"}
    assert set(stepped(logo(), 1)[1]) == critic | main | {"local_local"}
    assert set(stepped(logo(mode="code"), 1)[1]) == critic | main | {"local_local_loss", "effective_lambda"}
    assert set(stepped(logo(affinity="none"), 1)[1]) == main


# Gradients


def test_the_critic_learns_from_detached_vectors_and_nothing_else_does(base):
    loop, views = started(logo(base))
    loss = loop.method.terms(loop.method.encode(views), Phase(CRITIC))["loss"]
    names = reached(loss, loop.method)
    assert names and names == set(loop.method.trained(Phase(CRITIC)))
    assert all(name.startswith("critic.") for name in names)


def test_a_joint_step_moves_all_but_the_critic_and_the_critics_step_the_critic_alone(base):
    """What the optimisers do, with decay and momentum: a parameter that no phase trains is bit-identical."""
    loop, _ = started(logo(base, lam=10.0, training={"momentum": 0.9, "weight_decay": 0.1}))
    index, images, _ = next(iter(loop.batches.epoch()))
    moved = {}
    for stage in loop.stages:
        step = stage.optimiser.step

        def recorded(skip=None, step=step, name=stage.phase.name):
            before = {key: value.detach().clone() for key, value in loop.method.named_parameters()}
            step(skip=skip)
            now = dict(loop.method.named_parameters())
            moved[name] = {key for key in before if not torch.equal(before[key], now[key])}

        stage.optimiser.step = recorded
    loop.step(0, index, images)
    learning = {name for name, value in loop.method.named_parameters() if value.requires_grad}
    critic = {name for name in learning if name.startswith("critic.")}
    assert moved[CRITIC] == critic
    assert moved[TRAIN.name] <= learning - critic and {"base.encoder.conv1.weight"} < moved[TRAIN.name]


def test_local_to_global_terms_send_no_gradient_into_the_global_views(base):
    loop, views = started(logo(base))
    views.globals.pixels.requires_grad_(), views.locals.pixels.requires_grad_()
    term = loop.method.terms(loop.method.encode(views))["local_global"]
    into_globals, into_locals = torch.autograd.grad(
        term, [views.globals.pixels, views.locals.pixels], allow_unused=True
    )
    assert into_globals is None or not into_globals.any()
    assert all(view.any() for view in into_locals)


def test_the_local_term_reaches_encoder_and_projector_through_both_local_crops(base):
    loop, views = started(logo(base))
    views.locals.pixels.requires_grad_()
    loss = loop.method.terms(loop.method.encode(views))["local_local"]
    [gradient] = torch.autograd.grad(loss, [views.locals.pixels], retain_graph=True)
    assert all(view.any() for view in gradient)
    names = {name for name in reached(loss, loop.method) if not name.startswith("critic.")}
    assert names and all(name.startswith(("base.encoder.", "levels.pooled.projector.")) for name in names)


@pytest.mark.parametrize("kind", ["learned", "cosine"])
def test_a_step_on_the_local_term_alone_makes_the_locals_less_alike(kind):
    loop, views = started(logo(affinity=kind))

    def alike():
        one, two = loop.method.local_vectors(loop.method.encode(views))
        score = F.cosine_similarity(one, two) if kind == "cosine" else loop.method.critic(one, two)
        return score.mean(), loop.method.local_local(one, two)

    before, loss = alike()
    named = list(loop.method.encoder.parameters())
    for value, slope in zip(named, torch.autograd.grad(loss, named)):
        value.data.sub_(0.002 * slope / slope.norm().clamp(min=1e-9))
    assert alike()[0] < before


def test_critic_steps_raise_the_difference_between_pairs_of_one_image_and_of_two():
    """With vectors that can be told apart, at the released rate, the accuracy of the sign rises with it."""
    loop, _ = started(logo(jitter="none", joint_norm=True))
    method, [critic, _] = loop.method, loop.stages
    one = F.normalize(torch.randn(64, 8, generator=torch.Generator().manual_seed(0)), dim=1)
    two = F.normalize(one + 0.1 * torch.randn(64, 8, generator=torch.Generator().manual_seed(1)), dim=1)
    first = method.critic_terms(one, two)
    for _ in range(300):
        terms = method.critic_terms(one, two)
        terms["loss"].backward()
        critic.optimiser.step(), critic.optimiser.zero_grad()
    assert terms["same"] - terms["different"] > 1 + first["same"] - first["different"]
    assert terms["accuracy"] > 0.9 and terms["loss"] < first["loss"]


# The critic's pairs


def test_a_critic_that_says_nothing_costs_the_chance_values():
    for form, expected in (("logistic", 2 * math.log(2)), ("eq6", 0.0)):
        loop, views = started(logo(form=form))
        last = loop.method.critic.layers[-1]
        torch.nn.init.zeros_(last.weight), torch.nn.init.zeros_(last.bias)
        encoded = loop.method.encode(views)
        terms = loop.method.terms(encoded, Phase(CRITIC))
        torch.testing.assert_close(terms["loss"], torch.tensor(expected))
        assert terms["accuracy"] == 0.5 and terms["same"] == terms["different"] == 0
        torch.testing.assert_close(loop.method.terms(encoded)["local_local"], torch.tensor(math.log(2)))


@pytest.mark.parametrize("jitter", ["positives", "both", "none"])
@pytest.mark.parametrize("joint", [False, True])
def test_the_critics_loss_is_a_loop_over_images_with_both_orders_and_other_images(jitter, joint):
    loop, views = started(logo(jitter=jitter, joint_norm=joint))
    method = loop.method
    one, two = (vectors.detach() for vectors in method.local_vectors(method.encode(views)))
    state = method.base.ranks.state_dict()
    shifts = torch.zeros(2, 16, 8) if jitter == "none" else torch.stack(method.noise(one))
    method.base.ranks.load_state_dict(state)
    rows = {"same": [], "different": []}
    for first, second in ((one, two), (two, one)):
        noisy = [(first[i] + shifts[0, i], second[i] + shifts[1, i]) for i in range(16)]
        others = [(first[i], second[15 - i]) for i in range(16)]
        if jitter == "both":
            others = [(a + shifts[0, i], b + shifts[1, i]) for i, (a, b) in enumerate(others)]
        rows["same"].append(torch.stack([torch.cat(pair) for pair in noisy]))
        rows["different"].append(torch.stack([torch.cat(pair) for pair in others]))
    layers = copy.deepcopy(method.critic.layers)
    if joint:
        same, different = layers(torch.cat([*rows["same"], *rows["different"]]))[:, 0].view(2, 2, 16)
    else:
        same, different = (torch.stack([layers(part)[:, 0] for part in rows[kind]]) for kind in rows)
    expected = F.binary_cross_entropy_with_logits(same, torch.ones_like(same))
    expected = expected + F.binary_cross_entropy_with_logits(different, torch.zeros_like(different))
    terms = method.critic_terms(one, two)
    torch.testing.assert_close(terms["loss"], expected)
    torch.testing.assert_close(terms["same"], same.mean())
    torch.testing.assert_close(terms["different"], different.mean())


def test_the_loss_without_jitter_does_not_know_which_local_crop_is_the_first():
    loop, views = started(logo(jitter="none"))
    one, two = loop.method.local_vectors(loop.method.encode(views))
    torch.testing.assert_close(
        loop.method.critic_terms(one, two)["loss"], loop.method.critic_terms(two, one)["loss"]
    )
    assert not torch.allclose(loop.method.local_local(one, two), loop.method.local_local(two, one))
    both, _ = started(logo(orders="both"))
    torch.testing.assert_close(both.method.local_local(one, two), both.method.local_local(two, one))
    order = torch.randperm(16, generator=torch.Generator().manual_seed(1))
    shuffled = loop.method.local_local(one[order], two[order])
    torch.testing.assert_close(loop.method.local_local(one, two), shuffled, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("negatives", ["reversal", "roll"])
def test_no_image_is_its_own_negative_but_in_an_odd_reversed_batch(negatives):
    loop, _ = started(logo(negatives=negatives))
    even, odd = torch.arange(16.0)[:, None], torch.arange(15.0)[:, None]
    for _ in range(40):
        assert (loop.method.others(even) != even).all()
        assert (loop.method.others(odd) == odd).sum() == (1 if negatives == "reversal" else 0)
    partners = {tuple(loop.method.others(even)[:, 0].tolist()) for _ in range(40)}
    assert len(partners) == (1 if negatives == "reversal" else len(partners)) and (
        negatives == "reversal" or len(partners) > 5
    )


def test_joint_batches_normalise_the_local_term_among_pairs_of_both_kinds_too():
    loop, views = started(logo(joint_norm=True))
    method = loop.method
    one, two = method.local_vectors(method.encode(views))
    scores = copy.deepcopy(method.critic)(torch.cat([one, one]), torch.cat([two, two.flip(0)]))
    torch.testing.assert_close(method.local_local(one, two), F.softplus(scores[:16]).mean())


def test_the_critics_statistics_are_the_global_batchs_whatever_the_encoders_are():
    loop, _ = started(logo("moco"))
    one, two = torch.randn(2, 16, 8)
    with_plain = copy.deepcopy(loop.method.critic)
    for place in (1, 4):
        old = with_plain.layers[place]
        with_plain.layers[place] = torch.nn.BatchNorm1d(12)
        with_plain.layers[place].load_state_dict(old.state_dict())
    torch.testing.assert_close(loop.method.critic(one, two), with_plain(one, two))


# What it equals


@pytest.mark.parametrize("weights", ["mean", "sum"])
def test_lambda_zero_is_multi_crop_bit_for_bit_over_steps(base, weights):
    """Three steps with momentum and decay, the critic learning beside them and drawing noise: all other state
    is the same.
    """
    with_critic, terms = stepped(logo(base, lam=0.0, weights=weights))
    multi_crop, others = stepped(logo(base, affinity="none", weights=weights))
    assert equal(with_critic, multi_crop)
    assert all(torch.equal(terms[name], others[name]) for name in others) and "critic_loss" in terms


def test_the_local_term_changes_the_step():
    assert not equal(stepped(logo(lam=0.1))[0], stepped(logo(affinity="none"))[0])
    assert not equal(stepped(logo(lam=0.1, affinity="cosine"))[0], stepped(logo(affinity="none"))[0])


@pytest.mark.parametrize("weights", ["mean", "sum"])
def test_without_local_crops_it_is_the_base_bit_for_bit(base, weights):
    recipe = tiny(base, momentum=0.9, weight_decay=1e-3)
    settings = logo(base, weights=weights, lam=5.0).method.logo
    states = []
    for plain in (True, False):
        loop = assemble(recipe, Ranks(0))
        if not plain:
            torch.manual_seed(recipe.training.seed)
            method = LoGo(build(recipe, loop.ranks).base, settings, locals=False)
            method.to(memory_format=torch.channels_last)
            torch.manual_seed(recipe.training.seed)
            fresh = build(recipe, loop.ranks)
            method.load_state_dict(fresh.state_dict())
            loop = type(loop)(recipe, method, loop.batches, loop.augment, Ranks(0), loop.precision)
            loop.batches.ranks = method.base.ranks = loop.ranks
            for module in method.modules():
                if hasattr(module, "ranks"):
                    module.ranks = loop.ranks
        loop.method.train()
        for step, (index, images, _) in zip(range(3), loop.batches.epoch()):
            terms = loop.step(step, index, images)
        states.append((loop.method.state_dict(), terms["loss"]))
    assert equal(states[0][0], states[1][0]) and torch.equal(states[0][1], states[1][1])


def test_all_that_a_base_has_starts_as_it_does_alone(base):
    torch.manual_seed(0)
    alone = build(tiny(base), Ranks(0)).state_dict()
    torch.manual_seed(0)
    with_critic = build(logo(base), Ranks(0)).state_dict()
    assert equal(
        alone, {name: value for name, value in with_critic.items() if not name.startswith("critic.")}
    )


def test_the_queue_takes_the_keys_that_it_takes_without_local_crops():
    loop, views = started(logo("moco"))
    encoded = loop.method.encode(views)
    before = loop.method.levels["pooled"].queue.clone()
    cost = loop.method.terms(encoded)["local_global"]
    assert torch.equal(before, loop.method.levels["pooled"].queue), (
        "nothing enters before the step's last backward"
    )
    cost.backward()
    loop.method.after_step(encoded, torch.tensor(0.0))
    level = loop.method.levels["pooled"]
    assert level.pointer == 16
    torch.testing.assert_close(
        level.queue[:16], F.normalize(encoded.target["global", 1]["pooled"][:, 0], dim=1)
    )
    assert torch.equal(level.queue[16:], before[16:])


@pytest.mark.parametrize("mode", ["paper", "code"])
def test_running_statistics_are_those_of_global_crops_alone(base, mode):
    """However the local crops look; but the critic, which sees nothing else, follows them."""
    buffers = []
    for shift in (0.0, 7.0):
        loop, views = started(logo(base, mode=mode))
        views.locals.pixels.add_(shift)
        for phase in loop.method.phases:
            if phase is loop.method.phases[0] or phase.fresh:
                encoded = loop.method.encode(views, phase)
            loop.method.terms(encoded, phase)
        running = {name: value for name, value in loop.method.named_buffers() if "running_" in name}
        buffers.append(running)
    critic = {name for name in buffers[0] if name.startswith("critic.")}
    same = {name for name in buffers[0] if torch.equal(buffers[0][name], buffers[1][name])}
    assert critic and same == set(buffers[0]) - critic


# Views


@pytest.mark.parametrize("sampler", ["random_resized_crop", "contrastive_crop"])
def test_every_sampler_crops_the_globals_and_local_crops_change_none_of_them(base, sampler):
    with_locals = assemble(logo(base, sampler=sampler), Ranks(0))
    plain = contrastive(base) if sampler == "contrastive_crop" else tiny(base)
    without = assemble(plain, Ranks(0))
    without.augment.groups[0].sampler.scale = (0.4, 1.0)
    images, index = with_locals.batches.image_set.images[:8], torch.arange(8)
    boxes = with_locals.sampler.boxes_of(index)
    u = Ranks(1).draw(8, with_locals.augment.uniforms)
    one = with_locals.augment(images, u, index, boxes=boxes)
    two = without.augment(images, u[:, : without.augment.uniforms], index, boxes=boxes)
    assert torch.equal(one.globals.pixels, two.globals.pixels)
    area = (one.locals.crops.height * one.locals.crops.width).double() / 32**2
    assert one.locals.pixels.shape == (2, 8, 3, 8, 8) and area.min() > 0.05 and area.max() < 0.45
    area = (one.globals.crops.height * one.globals.crops.width).double() / 32**2
    assert one.globals.pixels.shape == (2, 8, 3, 16, 16) and area.min() > 0.35


def test_it_trains_with_contrastive_crop():
    loop = assemble(logo(sampler="contrastive_crop", training={"epochs": 3}), Ranks(0))
    figures = {name: value for _ in range(3) for name, value in loop.epoch().items()}
    assert figures["box_area"] > 0 and math.isfinite(figures["local_local"])


def test_the_noise_moves_no_crop_and_is_drawn_anew_each_step():
    ranks = Ranks(5)
    method = build(logo(), ranks).train()
    before = ranks.generator.get_state()
    vectors = torch.zeros(16, 8)
    one, two = method.noise(vectors), method.noise(vectors)
    assert torch.equal(ranks.generator.get_state(), before)
    assert not torch.equal(one[0], two[0]) and not torch.equal(one[0], one[1])
    assert affinity.NOISE == 0.3 and torch.cat([*one, *two]).std().item() == pytest.approx(
        0.3 / 8**0.5, rel=0.15
    )
