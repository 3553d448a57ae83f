"""Phases: each has its parameters, its optimiser, its rate and its bound; their terms keep their names."""

import pytest
import torch

from partwhole.experiments.run import assemble
from partwhole.methods import OBJECTIVES
from partwhole.methods.method import Method, Phase
from partwhole.training.ranks import Ranks
from support.tiny_recipes import tiny


class Critic(Method):
    """A critic of projected vectors with a rate of its own, then the encoder's phase on the same encoding,
    bounded.
    """

    phases = (Phase("critic", lr=0.05), Phase("encoder", bounded=True))
    cap = 0.01

    def __init__(self, base, weights=None):
        super().__init__(base, weights)
        self.critic = torch.nn.Linear(8, 1)
        self.encodings, self.norms = 0, []

    def encode(self, views, phase):
        self.encodings += 1
        return super().encode(views, phase)

    def terms(self, encoded, phase):
        if phase.name == "critic":
            vectors = encoded.online["global", 0]["pooled"][:, 0].detach()
            return {"loss": self.critic(vectors).square().mean()}
        return super().terms(encoded, phase)

    def trained(self, phase):
        named = super().trained(phase)
        return {
            name: value
            for name, value in named.items()
            if name.startswith("critic.") == (phase.name == "critic")
        }

    def bound(self, phase, norm):
        self.norms.append(norm)
        return torch.tensor(self.cap)


@pytest.fixture
def critic(monkeypatch):
    monkeypatch.setitem(OBJECTIVES, "pooled", Critic)
    return Critic


def stepped(recipe, count=1):
    loop = assemble(recipe, Ranks(0))
    loop.method.train()
    before = {name: value.detach().clone() for name, value in loop.method.named_parameters()}
    for step, (index, images, _) in zip(range(count), loop.batches.epoch()):
        terms = loop.step(step, index, images)
    return loop, before, terms


def test_terms_are_named_after_their_phase_but_for_the_last(critic):
    loop, _, terms = stepped(tiny("byol"))
    assert set(terms) == {"critic_loss", "pooled", "loss"} and terms["critic_loss"] != terms["loss"]
    assert loop.method.encodings == 1


def test_a_fresh_phase_encodes_again(critic, monkeypatch):
    monkeypatch.setattr(critic, "phases", (Phase("critic", lr=0.05), Phase("encoder", fresh=True)))
    assert stepped(tiny("byol"))[0].method.encodings == 2


def test_a_phase_moves_its_own_parameters_at_its_own_rate(critic, monkeypatch):
    monkeypatch.setattr(critic, "cap", 1e9)
    plain = {"momentum": 0.0, "weight_decay": 0.0, "lr": 0.3, "warmup_epochs": 1}
    loop, before, _ = stepped(tiny("byol", **plain))
    after = dict(loop.method.named_parameters())
    assert not torch.equal(before["critic.weight"], after["critic.weight"])
    # The warm-up's first rate is 0.
    assert torch.equal(before["base.encoder.conv1.weight"], after["base.encoder.conv1.weight"])
    [rate] = {float(group["lr"]) for group in loop.stages[0].optimiser.param_groups}
    assert rate == pytest.approx(0.05)


def test_a_bound_caps_the_norm_and_leaves_smaller_gradients_alone(critic, monkeypatch):
    plain = {"momentum": 0.0, "weight_decay": 0.0, "lr": 0.3}

    def moved(cap):
        monkeypatch.setattr(critic, "cap", cap)
        loop, before, _ = stepped(tiny("byol", **plain))
        after = dict(loop.method.named_parameters())
        names = [name for name in loop.method.trained(critic.phases[1])]
        return {name: (before[name] - after[name].detach()) / 0.3 for name in names}, loop.method.norms[0]

    free, norm = moved(1e9)
    total = torch.stack([gradient.norm() for gradient in free.values()]).norm()
    torch.testing.assert_close(total, norm, rtol=1e-4, atol=0)
    capped, _ = moved(0.01)
    total = torch.stack([gradient.norm() for gradient in capped.values()]).norm()
    torch.testing.assert_close(total, torch.tensor(0.01), rtol=1e-3, atol=0)
    for name, gradient in free.items():
        torch.testing.assert_close(capped[name], gradient * 0.01 / norm, rtol=1e-3, atol=1e-6)


def test_both_optimisers_are_saved_and_restored(critic):
    loop, _, _ = stepped(tiny("byol"), count=2)
    other = assemble(tiny("byol"), Ranks(0))
    state = loop.state_dict()
    assert len(state["optimisers"]) == 2
    other.load_state_dict(state)
    for one, two in zip(loop.stages, other.stages):
        for a, b in zip(one.parameters, two.parameters):
            velocities = one.optimiser.state[a]["momentum_buffer"], two.optimiser.state[b]["momentum_buffer"]
            assert torch.equal(*velocities)
