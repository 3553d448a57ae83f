"""Pairs: which views are encoded and in which role, how many costs a loss has, and whose targets
they meet.
"""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from partwhole.methods import BASES, OBJECTIVES, build
from partwhole.methods.base import Level, Pair, statistics_kept
from partwhole.methods.method import Method, Phase
from partwhole.recipes import registers
from partwhole.training.ranks import Ranks
from partwhole.views.augment import SAMPLERS, Group, Views
from support.tiny_recipes import tiny

PHASE = Phase()
ONE, TWO, SMALL, OTHER = ("global", 0), ("global", 1), ("local", 0), ("local", 1)
OWN = {"simclr": 2, "simsiam": 2, "byol": 2, "moco": 1}


class WithLocals(Method):
    """Four local-to-global pairs beside the base's own: what a multi-crop objective adds."""

    @property
    def pairs(self):
        added = [Pair(local, target, 1.0) for local in (SMALL, OTHER) for target in (ONE, TWO)]
        return (*self.base.pairs, *added)


def method_of(base, kind=Method, **settings):
    recipe = tiny(base)
    recipe = recipe.model_copy(update={"method": recipe.method.model_copy(update=settings)})
    torch.manual_seed(0)
    built = build(recipe, Ranks(0)).train()
    if kind is not Method:
        built.__class__ = kind
    return built


def views(seed=0, size=16):
    generator = torch.Generator().manual_seed(seed)
    pixels = {"global": (16, 16), "local": (8, 8)}
    groups = {
        name: Group(torch.randn(2, 8, 3, *shape, generator=generator), None) for name, shape in pixels.items()
    }
    return Views(groups, torch.arange(8))


@pytest.fixture
def comparisons(monkeypatch):
    """Every comparison that is made: shapes, whether the target is frozen, and the target itself."""
    calls, compare = [], Level.compare

    def recorded(self, predicted, target, frozen=True):
        calls.append((predicted, target, frozen))
        return compare(self, predicted, target, frozen)

    monkeypatch.setattr(Level, "compare", recorded)
    return calls


def test_each_base_compares_as_often_as_its_paper_says(base, comparisons):
    method, given = method_of(base), views()
    encoded = method.encode(given, PHASE)
    method.terms(encoded, PHASE)
    assert len(comparisons) == OWN[base]
    assert all(frozen == (base != "simclr") for *_, frozen in comparisons)
    wanted = [encoded.target[pair.target]["pooled"] for pair in method.base.pairs]
    assert all(target is expected for (_, target, _), expected in zip(comparisons, wanted))


def test_local_pairs_are_four_on_every_base_and_their_targets_are_frozen(base, comparisons):
    method, given = method_of(base, WithLocals), views()
    encoded = method.encode(given, PHASE)
    terms = method.terms(encoded, PHASE)
    assert len(comparisons) == OWN[base] + 4
    for predicted, target, frozen in comparisons[OWN[base] :]:
        assert frozen and predicted.shape == target.shape == (8, 1, 8)
        assert target is encoded.target[ONE]["pooled"] or target is encoded.target[TWO]["pooled"]
    assert set(encoded.online) >= {SMALL, OTHER} and not set(encoded.target) & {SMALL, OTHER}
    terms["loss"].backward()
    assert all(parameter.grad is None for name, parameter in method.named_parameters() if "twin" in name)


def test_no_gradient_of_a_local_pair_reaches_the_global_views(base):
    method = method_of(base, WithLocals)
    given = views()
    given.groups["global"].pixels.requires_grad_()
    encoded = method.encode(given, PHASE)
    local = method.over_pairs(encoded, "pooled", method.pairs[OWN[base] :])
    [gradient] = torch.autograd.grad(local, [given.globals.pixels], allow_unused=True)
    assert gradient is None or not gradient.any()


def test_views_that_no_pair_names_are_not_encoded(base):
    method, seen = method_of(base), []
    method.encoder.register_forward_hook(lambda module, inputs, output: seen.append(inputs[0].shape[-1]))
    method.encode(views(), PHASE)
    assert seen and 8 not in seen


def test_without_local_views_the_step_is_the_bases_own_bit_for_bit(base):
    plain, more = method_of(base), method_of(base, WithLocals)
    more.base.shuffle = plain.base.shuffle = False  # a shuffle for one target more would draw first
    with_locals, without = views(), views()
    del without.groups["local"]
    one = plain.terms(plain.encode(without, PHASE), PHASE)["loss"]
    two = more.over_pairs(more.encode(with_locals, PHASE), "pooled", more.base.pairs)
    assert torch.equal(one, two)
    buffers = dict(more.named_buffers())
    for name, buffer in plain.named_buffers():
        if "num_batches" not in name and not (
            base == "moco" and "twin" in name
        ):  # MoCo's twin sees one global more
            assert torch.equal(buffer, buffers[name]), (
                f"{name}: local views must leave running statistics alone"
            )


def test_moco_remembers_the_keys_that_it_remembers_without_local_views():
    plain, more = method_of("moco"), method_of("moco", WithLocals)
    more.base.shuffle = plain.base.shuffle = False  # a shuffle for view 0 would draw first
    for method in (plain, more):
        method.after_step(method.encode(views(), PHASE), torch.tensor(0.0))
    assert torch.equal(plain.levels["pooled"].queue, more.levels["pooled"].queue)
    assert plain.levels["pooled"].pointer == more.levels["pooled"].pointer == 8


def test_with_concatenate_both_globals_go_through_together_and_locals_in_a_pass_of_their_own():
    method, seen = method_of("simsiam", WithLocals, concatenate=True), []
    method.encoder.register_forward_hook(
        lambda module, inputs, output: seen.append(tuple(inputs[0].shape[::3]))
    )
    encoded = method.encode(views(), PHASE)
    assert seen == [(16, 16), (16, 8)]
    assert set(encoded.online) == {ONE, TWO, SMALL, OTHER} and {ONE, TWO} <= set(encoded.target)


def test_a_frozen_pair_of_simclr_finds_its_key_among_the_keys_of_other_images():
    level = method_of("simclr").levels["pooled"]
    query, key = torch.randn(2, 6, 1, 8, generator=torch.Generator().manual_seed(3)).unbind(0)
    key.requires_grad_()
    cost = level.compare(query, key)
    logits = F.normalize(query[:, 0], dim=1) @ F.normalize(key[:, 0], dim=1).T / 0.5
    torch.testing.assert_close(cost[:, 0], F.cross_entropy(logits, torch.arange(6), reduction="none"))
    assert not cost.requires_grad


def test_several_tokens_meet_the_one_token_of_their_own_and_of_other_images(base):
    """CO-SSL's comparison: T predictions against one pooled target; each token costs what it would cost
    alone.
    """
    level = method_of(base).levels["pooled"]
    tokens = torch.randn(6, 5, 8, generator=torch.Generator().manual_seed(4))
    target = torch.randn(6, 1, 8, generator=torch.Generator().manual_seed(5))
    together = level.compare(tokens, target)
    alone = torch.cat([level.compare(tokens[:, t : t + 1], target) for t in range(5)], 1)
    assert together.shape == (6, 5)
    torch.testing.assert_close(together, alone)


def test_a_level_meets_the_targets_that_the_objective_names():
    method = method_of("byol")
    method.against = {"pooled": "other"}
    encoded = method.encode(views(), PHASE)
    for view in encoded.target:
        encoded.target[view]["other"] = -encoded.target[view]["pooled"]
    swapped = method.terms(encoded, PHASE)["loss"]
    method.against = {}
    # 2 - 2c and 2 + 2c, twice.
    torch.testing.assert_close(swapped + method.terms(encoded, PHASE)["loss"], torch.tensor(8.0))


def test_statistics_are_kept_inside_and_followed_outside():
    norm = torch.nn.BatchNorm1d(3)
    before = norm.running_mean.clone()
    with statistics_kept(norm):
        inside = norm(torch.randn(16, 3) + 2)
    # Normalised by its own batch.
    assert torch.equal(norm.running_mean, before) and inside.mean().abs() < 1e-5
    norm(torch.randn(16, 3) + 2)
    assert not torch.equal(norm.running_mean, before)


def test_the_registers_agree():
    assert set(OBJECTIVES) == set(registers.OBJECTIVES) and set(SAMPLERS) == set(registers.SAMPLERS)
    fields = tiny("byol").method.__class__.model_fields
    for name, settings in registers.OBJECTIVES.items():
        assert (name in fields) == (settings is not None)
        assert issubclass(OBJECTIVES[name], Method)
    assert set(BASES) == set(OWN)


def test_a_phase_is_a_value():
    assert replace(PHASE, lr=0.1) == Phase("train", lr=0.1) and not PHASE.fresh
