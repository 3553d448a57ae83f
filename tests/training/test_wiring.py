"""What the loop hands to whom: each step's rate, the progress of the EMA, the twin's tokens, heads' norms."""

import pytest
import torch

from partwhole.experiments.run import assemble
from partwhole.methods import build
from partwhole.methods.base import GLOBALS
from partwhole.training.ranks import Ranks
from partwhole.training.schedules import learning_rate
from partwhole.views.augment import Group, Views
from support.tiny_recipes import METHODS, tiny

WARM = {"epochs": 3, "lr": 0.4, "final_lr": 0.01, "warmup_epochs": 1, "warmup_lr": 0.05}
WITH_TWIN = ("byol", "moco")


def rates_at_steps(loop, epochs: int) -> list[float]:
    """The learning rate that the optimiser has in the moment of each step."""
    [stage], rates = loop.stages, []
    step = stage.optimiser.step

    def recorded(**options):
        [rate] = {float(group["lr"]) for group in stage.optimiser.param_groups}
        rates.append(rate)
        return step(**options)

    stage.optimiser.step = recorded
    for _ in range(epochs):
        loop.epoch()
    return rates


@pytest.mark.parametrize("moves", ["epoch", "iteration"])
def test_each_step_is_taken_at_the_schedules_rate_of_that_step(base, moves):
    recipe = tiny(base, step=moves, **WARM)
    loop = assemble(recipe, Ranks(0))
    steps = loop.batches.steps
    expected = [learning_rate(recipe.training, step, steps) for step in range(3 * steps)]
    assert len(set(expected)) > steps, "a constant rate would show nothing"
    assert rates_at_steps(loop, 3) == pytest.approx(expected, rel=1e-6)


def test_a_resumed_loop_goes_on_at_the_rate_where_it_was():
    recipe = tiny("simclr", **WARM)
    first, second = assemble(recipe, Ranks(0)), assemble(recipe, Ranks(0))
    first.epoch()
    second.load_state_dict(first.state_dict())
    steps = first.batches.steps
    expected = [learning_rate(recipe.training, step, steps) for step in range(steps, 3 * steps)]
    assert rates_at_steps(second, 2) == pytest.approx(expected, rel=1e-6)


def test_the_progress_that_after_step_gets_is_the_share_of_steps_taken_and_ends_at_one(base):
    recipe = tiny(base, **WARM)
    loop = assemble(recipe, Ranks(0))
    after_step, progress = loop.method.after_step, []

    def recorded(encoded, share):
        progress.append(float(share))
        assert set(encoded.target) == {pair.target for pair in loop.method.pairs}
        after_step(encoded, share)

    loop.method.after_step = recorded
    for _ in range(3):
        loop.epoch()
    count = 3 * loop.batches.steps
    assert progress == pytest.approx([(step + 1) / count for step in range(count)])


def test_the_twin_moves_by_the_momentum_of_that_progress():
    """target <- m target + (1 - m) online, m on a cosine from 0.5 to 1: at the end it stands still."""
    recipe = tiny("byol", **WARM)
    method = recipe.method.model_copy(update={"momentum": 0.5, "momentum_end": 1.0})
    loop = assemble(recipe.model_copy(update={"method": method}), Ranks(0))
    loop.method.train()
    steps = loop.batches.steps
    for step, (index, images, _) in enumerate(loop.batches.epoch()):
        twin = loop.method.base.twin.target.conv1.weight
        before = twin.clone()
        loop.step(3 * steps - 1 if step == steps - 1 else step, index, images)
        progress = 1.0 if step == steps - 1 else (step + 1) / (3 * steps)
        momentum = 1 - 0.5 * (torch.cos(torch.tensor(torch.pi * progress)) + 1) / 2
        online = loop.method.encoder.conv1.weight.detach()
        torch.testing.assert_close(twin, momentum * before + (1 - momentum) * online, rtol=1e-5, atol=1e-7)
    torch.testing.assert_close(twin, before, rtol=0, atol=1e-7)


def method_and_views(base: str):
    torch.manual_seed(0)
    method = build(tiny(base, norm="batch"), Ranks(0)).train()
    assert not method.base.shuffle
    pixels = torch.randn(2, 8, 3, 16, 16, generator=torch.Generator().manual_seed(1))
    return method, Views({"global": Group(pixels, None)}, torch.arange(8))


@pytest.mark.parametrize("base", WITH_TWIN)
def test_target_tokens_are_the_twin_projectors_output_on_the_twin_encoders_features(base):
    method, views = method_and_views(base)
    level = method.levels["pooled"]
    with torch.no_grad():  # so far from the online network that neither can be taken for the other
        for twin in (method.base.twin, level.twin):
            for parameter in twin.target.parameters():
                parameter.add_(0.3 * torch.randn_like(parameter))
    encoded = method.encode(views)
    assert encoded.target
    for view, tokens in encoded.target.items():
        features = method.base.twin.target(views.globals.pixels[view[1]])
        torch.testing.assert_close(tokens["pooled"][:, 0], level.twin.target(features.pooled).detach())
        for other in (
            level.projector(features.pooled),
            level.twin.target(method.encoder(views.globals.pixels[view[1]]).pooled),
        ):
            assert (tokens["pooled"][:, 0] - other).abs().max() > 0.01
        assert not tokens["pooled"].requires_grad


@pytest.mark.parametrize("base", sorted(METHODS.keys() - set(WITH_TWIN)))
def test_without_a_twin_target_tokens_are_the_online_projectors(base):
    method, views = method_and_views(base)
    encoded = method.encode(views)
    for view in GLOBALS:
        assert encoded.target[view]["pooled"] is encoded.online[view]["pooled"]
        features = method.encoder(views.globals.pixels[view[1]])
        torch.testing.assert_close(
            encoded.target[view]["pooled"][:, 0], method.levels["pooled"].projector(features.pooled)
        )


@pytest.mark.parametrize("norm", ["batch", "split", "sync"])
def test_simsiams_last_norm_has_no_scale_and_no_shift_and_the_others_have(norm):
    level = build(tiny("simsiam", norm=norm), Ranks(0)).levels["pooled"]
    norms = [layer for layer in level.projector if isinstance(layer, torch.nn.modules.batchnorm._BatchNorm)]
    assert len(norms) == 3 and norms[-1] is level.projector[-1]
    assert norms[-1].weight is None and norms[-1].bias is None
    assert all(layer.weight is not None and layer.bias is not None for layer in norms[:-1])
    hidden = [layer for layer in level.predictor if isinstance(layer, torch.nn.modules.batchnorm._BatchNorm)]
    assert len(hidden) == 1 and hidden[0].weight is not None
    rows = level.projector(torch.randn(64, 32))
    torch.testing.assert_close(rows.mean(0), torch.zeros(8), rtol=0, atol=1e-5)
    torch.testing.assert_close(rows.var(0, unbiased=False), torch.ones(8), rtol=0, atol=1e-2)


def test_simclrs_last_norm_has_a_scale_and_a_shift():
    recipe = tiny("simclr")
    method = recipe.method.model_copy(update={"projector_last_norm": True})
    last = build(recipe.model_copy(update={"method": method}), Ranks(0)).levels["pooled"].projector[-1]
    assert last.weight is not None and last.bias is not None
