"""Costs are float32 under autocast, and float64 where the tokens are: in value and gradient."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from partwhole.methods import BASES, OBJECTIVES, build
from partwhole.methods.lewel import alignment_maps, pool
from partwhole.methods.method import Encoded
from partwhole.recipes.schema import Recipe
from partwhole.training.ranks import Ranks
from partwhole.views.augment import Group, Views
from support.tiny_recipes import tiny

LOW = {"bf16": torch.bfloat16, "fp16": torch.float16}
TEMPERATURES = (0.07, 0.1, 0.2, 0.5)
BATCH, WIDTH, QUEUE = 16, 64, 128
CASES = [
    (base, objective, temperature)
    for base in BASES
    for objective in OBJECTIVES
    for temperature in (TEMPERATURES if base in ("simclr", "moco") else (0.5,))  # the other two have none
]


def method_of(base: str, objective: str, temperature: float = 0.5):
    """A method in training mode, with wider vectors than `tiny` has."""
    values = tiny(base, batch_size=BATCH).model_dump()
    values["method"] |= {"objective": objective, "temperature": temperature, "projector": (16, WIDTH)}
    if base in ("byol", "simsiam"):
        values["method"]["predictor"] = (16, WIDTH)
    if base == "moco":
        values["method"]["queue"] = QUEUE
    if objective == "logo":
        values["views"] |= {"scale": (0.4, 1.0), "local": {"count": 2, "size": 8, "scale": (0.1, 0.4)}}
    torch.manual_seed(0)
    return build(Recipe(**values), Ranks(0)).train()


def views_for(method) -> Views:
    """Random pixels in every crop group that the method's pairs name."""
    generator = torch.Generator().manual_seed(1)
    names = {view[0] for pair in method.pairs for view in (pair.online, pair.target)}
    sizes = {name: 16 if name == "global" else 8 for name in sorted(names)}
    groups = {
        name: Group(torch.randn(2, BATCH, 3, size, size, generator=generator), None)
        for name, size in sizes.items()
    }
    return Views(groups, torch.arange(BATCH))


def random_tokens(encoded: Encoded) -> tuple[Encoded, list[Tensor]]:
    """Leaves of random numbers, float32, of the shapes that a method made of its views.

    Views of an image share half of what they are made of, so that they are alike as in training.
    """
    generator, leaves, replaced = torch.Generator().manual_seed(2), [], Encoded()
    shared = torch.randn(BATCH, 1, WIDTH, generator=generator)
    for role in ("online", "predicted", "target"):
        for view, tokens in getattr(encoded, role).items():
            by_name = {}
            for name, given in tokens.items():
                drawn = shared + torch.randn(given.shape, generator=generator)
                by_name[name] = drawn.requires_grad_()
                leaves.append(by_name[name])
            getattr(replaced, role)[view] = by_name
    return replaced, leaves


def value_and_gradients(method, phase, encoded, leaves, autocast=None):
    """The loss, and its gradient with respect to tokens and to the phase's parameters."""
    state = method.base.ranks.state_dict()
    if autocast is None:
        loss = method.terms(encoded, phase)["loss"]
    else:
        with torch.autocast("cpu", autocast):
            loss = method.terms(encoded, phase)["loss"]
    method.base.ranks.load_state_dict(state)
    inputs = [*leaves, *method.trained(phase).values()]
    gradients = torch.autograd.grad(loss, inputs, allow_unused=True)
    return loss.detach(), [gradient for gradient in gradients if gradient is not None]


@pytest.mark.parametrize("precision", LOW)
@pytest.mark.parametrize(("base", "objective", "temperature"), CASES)
def test_terms_under_autocast_are_those_without_it(base, objective, temperature, precision):
    method = method_of(base, objective, temperature)
    encoded, leaves = random_tokens(method.encode(views_for(method)))
    for phase in method.phases:
        plain, gradients = value_and_gradients(method, phase, encoded, leaves)
        value, cast = value_and_gradients(method, phase, encoded, leaves, LOW[precision])
        assert value.dtype == torch.float32 and value.isfinite() and gradients
        torch.testing.assert_close(value, plain, rtol=1e-6, atol=1e-7)
        torch.testing.assert_close(cast, gradients, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("low", LOW.values(), ids=LOW)
def test_tokens_in_low_precision_are_widened_before_they_are_compared(base, low):
    level = method_of(base, "pooled").levels["pooled"]
    generator = torch.Generator().manual_seed(3)
    predicted, target = torch.randn(2, BATCH, 1, WIDTH, generator=generator).to(low).unbind(0)
    cost = level.compare(predicted, target)
    assert cost.dtype == torch.float32
    torch.testing.assert_close(cost, level.compare(predicted.float(), target.float()), rtol=0, atol=0)


@pytest.mark.parametrize("low", LOW.values(), ids=LOW)
def test_lewels_maps_and_what_they_pool_are_float32_under_autocast(low):
    method = method_of("byol", "lewel")
    features = method.encoder(torch.randn(BATCH, 3, 16, 16))
    positions = features.maps.flatten(2).mT
    fixed = torch.randn(BATCH, 1 + positions.shape[1], WIDTH)
    method.levels["pooled"].project = lambda tokens, role: fixed
    _, maps, pooled = method.alignment(features)
    with torch.autocast("cpu", low):
        _, maps_cast, pooled_cast = method.alignment(features)
    assert maps_cast.dtype == pooled_cast.dtype == torch.float32
    torch.testing.assert_close((maps_cast, pooled_cast), (maps, pooled), rtol=0, atol=0)


def test_double_precision_passes_through_every_cost_and_its_gradient_is_right(base):
    """torch's gradcheck: derivatives by the formula against differences, for constant targets and others."""
    level = method_of(base, "pooled").levels["pooled"].double()
    generator = torch.Generator().manual_seed(4)
    predicted, target = torch.randn(2, 4, 2, 6, dtype=torch.float64, generator=generator).unbind(0)
    if base == "moco":
        level.queue = F.normalize(torch.randn(10, 6, dtype=torch.float64, generator=generator), dim=1)
    predicted.requires_grad_()
    assert level.compare(predicted, target).dtype == torch.float64
    assert torch.autograd.gradcheck(lambda p: level.compare(p, target).sum(), [predicted])
    if base == "simclr":  # its own pairs pull both views
        target.requires_grad_()
        assert torch.autograd.gradcheck(
            lambda p, t: level.compare(p, t, frozen=False).sum(), [predicted, target]
        )


def test_a_method_in_double_precision_has_a_loss_in_double_precision(base):
    for objective in OBJECTIVES:
        method = method_of(base, objective).double()
        views = views_for(method)
        for group in views.groups.values():
            group.pixels = group.pixels.double()
        encoded = method.encode(views)
        for phase in method.phases:
            terms = method.terms(encoded, phase)
            assert terms["loss"].dtype == torch.float64 and terms["loss"].isfinite(), (objective, phase.name)


def test_lewels_maps_are_float64_where_the_positions_are_and_their_gradient_is_right():
    generator = torch.Generator().manual_seed(5)
    projected = torch.randn(2, 4, 6, dtype=torch.float64, generator=generator).requires_grad_()
    positions = torch.randn(2, 4, 8, dtype=torch.float64, generator=generator).requires_grad_()
    maps = alignment_maps(projected, 0.3)
    assert maps.dtype == pool(maps, positions, 2).dtype == torch.float64
    assert torch.autograd.gradcheck(lambda x, y: pool(alignment_maps(x, 0.3), y, 2), [projected, positions])
    torch.testing.assert_close(maps, (F.normalize(projected, dim=-1) / 0.3).softmax(1), rtol=0, atol=0)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
def test_mocos_queue_takes_keys_of_any_precision_as_unit_rows_of_its_own(dtype):
    level = method_of("moco", "pooled").levels["pooled"]
    keys = torch.randn(5, WIDTH, generator=torch.Generator().manual_seed(6)).to(dtype)
    level.remember(keys)
    assert level.queue.dtype == torch.float32 and level.pointer == 5
    expected = F.normalize(keys.double(), dim=1).float()
    torch.testing.assert_close(level.queue[:5], expected, rtol=1e-6, atol=1e-7)
