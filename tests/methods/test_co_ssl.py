"""CO-SSL: whom positions meet on every base, what the base keeps bit for bit, and the identities of
its loss.
"""

import copy
import itertools
import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from partwhole.errors import BadInput
from partwhole.experiments.run import assemble, train
from partwhole.methods import build
from partwhole.methods.base import Level
from partwhole.methods.byol import squared_distance
from partwhole.methods.method import Encoded, Phase
from partwhole.models.resnet import Features
from partwhole.recipes import files
from partwhole.training.ranks import Ranks
from partwhole.views.augment import Group, Views
from support.few_scenes import few_scenes
from support.tiny_recipes import co_ssl, contrastive, tiny

PHASE = Phase()
ONE, TWO = ("global", 0), ("global", 1)
TERMS = {"simclr": 2, "simsiam": 2, "byol": 2, "moco": 1}  # global pairs; the tiny MoCo goes one way
LOCALS = {"local": {"count": 2, "size": 16, "scale": (0.05, 0.2)}}


def built(*arguments, **settings):
    torch.manual_seed(0)
    return build(co_ssl(*arguments, **settings), Ranks(0)).train()


def views(seed=0, local=False):
    generator = torch.Generator().manual_seed(seed)
    names = ("global", "local") if local else ("global",)
    groups = {name: Group(torch.randn(2, 8, 3, 16, 16, generator=generator), None) for name in names}
    return Views(groups, torch.arange(8))


def features(batch=6, side=4, channels=32, seed=0):
    maps = torch.randn(batch, channels, side, side, generator=torch.Generator().manual_seed(seed)).relu()
    return Features(maps, maps.mean((2, 3)))


def encoded_from(method, one, two):
    """What a step knows of two views given as features in place of pixels."""
    encoded = Encoded()
    for view, seen in ((ONE, one), (TWO, two)):
        tokens = method.embed(seen, "online")
        encoded.online[view] = tokens
        encoded.predicted[view] = {
            n: level.predict(tokens[n]) for n, level in method.levels.items() if n in tokens
        }
        with torch.no_grad():
            encoded.target[view] = method.embed(seen, "target") if method.base.ema else tokens
    return encoded


@pytest.fixture
def comparisons(monkeypatch):
    """Every comparison that is made: the level, shapes, the target itself, and whether it is frozen."""
    calls, compare = [], Level.compare

    def recorded(self, predicted, target, frozen=True):
        calls.append((self, predicted, target, frozen))
        return compare(self, predicted, target, frozen)

    monkeypatch.setattr(Level, "compare", recorded)
    return calls


# Whom positions meet


@pytest.mark.parametrize("shared", [False, True])
def test_every_local_term_meets_the_pooled_target_of_the_other_view_by_identity(base, comparisons, shared):
    method = built(base, shared_heads=shared)
    encoded = method.encode(views(), PHASE)
    method.terms(encoded, PHASE)
    count = TERMS[base]
    assert len(comparisons) == 2 * count
    for pair, (level, predicted, target, frozen) in zip(method.base.pairs, comparisons[count:], strict=True):
        assert level is method.levels["local"] and frozen
        assert predicted.shape == (8, 4, 8) and target.shape == (8, 1, 8)
        assert predicted is encoded.predicted[pair.online]["local"]
        assert target is encoded.target[pair.target]["pooled"] and pair.online != pair.target
    assert [frozen for *_, frozen in comparisons[:count]] == [base != "simclr"] * count


def test_with_a_target_head_of_its_own_they_meet_the_pooled_vector_through_the_local_projector(
    base, comparisons
):
    method, given = built(base, target_head="separate"), views()
    encoded = method.encode(given, PHASE)
    method.terms(encoded, PHASE)
    for pair, (_, predicted, target, frozen) in zip(
        method.base.pairs, comparisons[TERMS[base] :], strict=True
    ):
        assert frozen and predicted.shape == (8, 4, 8) and target.shape == (8, 1, 8)
        assert target is encoded.target[pair.target]["local_pooled"]
    if base == "byol":
        pooled = method.base.twin(given.globals.pixels[1]).pooled
        twin = copy.deepcopy(method.levels["local"].twin)
        torch.testing.assert_close(encoded.target[TWO]["local_pooled"][:, 0], twin(pooled))


def test_both_ways_the_pooled_vector_predicts_every_local_target_of_the_other_view(base, comparisons):
    method = built(base, direction="both")
    encoded = method.encode(views(), PHASE)
    terms = method.terms(encoded, PHASE)
    count = TERMS[base]
    assert len(comparisons) == 3 * count
    for pair, (level, predicted, target, frozen) in zip(
        method.base.pairs, comparisons[2 * count :], strict=True
    ):
        assert level is method.levels["pooled"] and frozen
        assert predicted.shape == target.shape == (8, 4, 8)
        assert torch.equal(predicted, encoded.predicted[pair.online]["pooled"].expand_as(predicted))
        assert target is encoded.target[pair.target]["local"]
    local = (terms["local"] + terms["global_to_local"]) / 2
    torch.testing.assert_close(terms["loss"], 0.7 * terms["pooled"] + 0.3 * local)


def test_no_gradient_of_a_local_term_reaches_the_view_that_is_its_target(base):
    """On SimCLR too, whose own pairs pull both views."""
    method, given = built(base), views()
    given.globals.pixels.requires_grad_()
    encoded = method.encode(given, PHASE)
    level, pair = method.levels["local"], method.base.pairs[0]
    cost = level.compare(
        encoded.predicted[pair.online]["local"], encoded.target[pair.target]["pooled"]
    ).mean()
    (gradient,) = torch.autograd.grad(cost, [given.globals.pixels])
    assert gradient[pair.online[1]].abs().max() > 0
    assert not gradient[pair.target[1]].any()


def test_negatives_of_a_position_are_pooled_vectors_of_other_images(base):
    """Move another position of the same image, then a position of another image: no cost but their own
    changes.
    """
    method = built(base)
    encoded = method.encode(views(), PHASE)
    level, pair = method.levels["local"], method.base.pairs[0]
    predicted, target = (
        encoded.predicted[pair.online]["local"].detach(),
        encoded.target[pair.target]["pooled"].detach(),
    )
    before = level.compare(predicted, target)
    moved = predicted.clone()
    moved[2, 1] *= -1
    changed = (level.compare(moved, target) - before).abs() > 1e-6
    assert changed.sum() == 1 and changed[2, 1]
    other = target.clone()
    other[3] *= -1
    changed = (level.compare(predicted, other) - before).abs() > 1e-6
    assert changed[3].any() and changed[[0, 1, 2, 4, 5, 6, 7]].any() == (base == "simclr")


@pytest.mark.parametrize("head", ["pooled", "separate"])
def test_mocos_local_queue_takes_pooled_keys_only(head):
    method = built("moco", target_head=head)
    method.base.shuffle = False
    encoded = method.encode(views(), PHASE)
    method.after_step(encoded, torch.tensor(0.0))
    for name, keys in (("pooled", "pooled"), ("local", "local_pooled" if head == "separate" else "pooled")):
        level = method.levels[name]
        torch.testing.assert_close(level.queue[:8], F.normalize(encoded.target[TWO][keys][:, 0], dim=1))
        assert level.pointer == 8


def test_shared_heads_write_mocos_one_queue_once():
    method = built("moco", shared_heads=True)
    method.after_step(method.encode(views(), PHASE), torch.tensor(0.0))
    assert method.levels["pooled"].pointer == 8
    assert [name for name, _ in method.named_buffers() if "queue" in name] == ["levels.pooled.queue"]


def test_shared_heads_have_the_bases_parameters_and_serve_both_kinds(base):
    method, plain = built(base, shared_heads=True), build(tiny(base), Ranks(0))
    assert {n: p.shape for n, p in method.named_parameters()} == {
        n: p.shape for n, p in plain.named_parameters()
    }
    seen, head = features(), copy.deepcopy(method.levels["pooled"].projector)
    tokens = method.embed(seen, "online")
    torch.testing.assert_close(tokens["pooled"][:, 0], head(seen.pooled))
    torch.testing.assert_close(tokens["local"].flatten(0, 1), head(seen.positions.flatten(0, 1)))


# Bit for bit


def stepped(recipe, count=3):
    loop = assemble(recipe, Ranks(0))
    loop.method.train()
    start = {name: value.clone() for name, value in loop.method.state_dict().items()}
    terms = [
        loop.step(step, index, images) for step, (index, images, _) in zip(range(count), loop.batches.epoch())
    ]
    return loop, start, terms


@pytest.mark.parametrize(("weight", "head"), [(0.0, "pooled"), (0.0, "separate"), (0.3, "pooled")])
def test_local_heads_leave_the_start_of_all_that_a_base_has_as_it_is(base, weight, head):
    """Weight 0 is the base: gradients, and after three steps every weight, buffer and queue."""
    few = {"training": {"momentum": 0.9, "weight_decay": 1e-3}}
    plain, start, terms = stepped(tiny(base, momentum=0.9, weight_decay=1e-3))
    more, other_start, others = stepped(co_ssl(base, few["training"], weight=weight, target_head=head))
    for name, value in start.items():
        assert torch.equal(value, other_start[name]), name
    if weight:
        return
    assert [t["loss"].item() for t in terms] == [t["loss"].item() for t in others]
    after = more.method.state_dict()
    for name, value in plain.method.state_dict().items():
        assert torch.equal(value, after[name]), name


def test_weight_0_gives_the_bases_gradients_and_none_to_the_local_heads(base):
    gradients = {}
    for recipe in (tiny(base), co_ssl(base, weight=0.0)):
        torch.manual_seed(0)
        method = build(recipe, Ranks(0)).train()
        method.terms(method.encode(views(), PHASE), PHASE)["loss"].backward()
        gradients[recipe.method.objective] = {
            n: p.grad for n, p in method.named_parameters() if p.grad is not None
        }
    for name, gradient in gradients["pooled"].items():
        assert torch.equal(gradient, gradients["co_ssl"][name]), name
    rest = gradients["co_ssl"].keys() - gradients["pooled"].keys()
    assert rest and all(
        name.startswith("levels.local") and not gradients["co_ssl"][name].any() for name in rest
    )


def test_in_training_local_heads_leave_the_statistics_of_the_pooled_ones_alone(base):
    method, twin = built(base), built(base)
    for one in (method, twin):
        one.base.shuffle = False
    seen, other = features(), features(seed=3)
    method.embed(seen, "online")
    twin.embed(Features(other.maps, seen.pooled), "online")
    for (name, one), (_, two) in zip(
        method.levels["pooled"].named_buffers(), twin.levels["pooled"].named_buffers()
    ):
        assert torch.equal(one, two), name


@pytest.mark.parametrize("head", ["pooled", "separate"])
def test_at_weight_1_the_pooled_heads_get_no_gradient(head):
    """With the pooled target that projector stays random: why w_s is below 1 there. With its own head the
    target is trained.
    """
    method = built("byol", weight=1.0, target_head=head)
    method.terms(method.encode(views(), PHASE), PHASE)["loss"].backward()
    pooled, local = method.levels["pooled"], method.levels["local"]
    assert all(
        p.grad is None or not p.grad.any()
        for p in (*pooled.projector.parameters(), *pooled.predictor.parameters())
    )
    assert all(p.grad.any() for p in local.predictor[-1:].parameters())
    before = {n: level.twin.target[-1].weight.clone() for n, level in method.levels.items()}
    with torch.no_grad():
        for parameter in method.parameters():
            if parameter.grad is not None:
                parameter -= 0.5 * parameter.grad
    method.move_twins(torch.tensor(0.0))
    moved = {
        n: not torch.equal(level.twin.target[-1].weight, before[n]) for n, level in method.levels.items()
    }
    # The local twin is the target only where `separate` asks it.
    assert moved == {"pooled": False, "local": True}
    assert method.against["local"] == ("local_pooled" if head == "separate" else "pooled")


# The loss


def test_a_linear_head_on_positions_is_a_1x1_convolution_on_the_map():
    method = built().double()
    projector = method.levels["local"].projector
    first, norm, _, last = projector
    one, two = nn.Conv2d(32, 16, 1, bias=False).double(), nn.Conv2d(16, 8, 1).double()
    one.weight.data, two.weight.data, two.bias.data = (
        first.weight[..., None, None],
        last.weight[..., None, None],
        last.bias,
    )
    as_maps = nn.BatchNorm2d(16).double()
    maps = torch.randn(6, 32, 4, 4, dtype=torch.float64)
    expected = two(as_maps(one(maps)).relu())
    found = method.levels["local"].project(Features(maps, maps.mean((2, 3))).positions, "online")
    assert (found.mT.unflatten(2, (4, 4)) - expected).abs().max() < 5e-15
    assert norm.num_batches_tracked == 1


def test_the_local_loss_is_two_less_two_resultants_times_a_cosine():
    """(1/N) sum d(p_i, t) = 2 - 2 R cos(mean p, t) >= 2 - 2 R, and R^2 = 1/N + (1 - 1/N) rho."""
    count = 16
    predicted = torch.randn(5, count, 8, dtype=torch.float64)
    target = torch.randn(5, 1, 8, dtype=torch.float64)
    unit = F.normalize(predicted, dim=-1)
    mean = unit.mean(1)
    resultant = mean.norm(dim=-1)
    cost = squared_distance(predicted, target).mean(1)
    torch.testing.assert_close(cost, 2 - 2 * resultant * F.cosine_similarity(mean, target[:, 0], dim=-1))
    assert (cost >= 2 - 2 * resultant).all()
    table = unit @ unit.mT
    rho = (table.sum((1, 2)) - count) / (count * (count - 1))
    torch.testing.assert_close(resultant.square(), 1 / count + (1 - 1 / count) * rho)
    reported = built().report(Features(predicted.mT.unflatten(2, (4, 4)), mean))[:, 0]
    torch.testing.assert_close(reported.double(), rho, atol=1e-6, rtol=0)


@pytest.mark.parametrize("direction", ["local_to_global", "both"])
def test_one_position_and_copied_heads_are_the_base(base, direction):
    """N = 1: local and pooled vectors are the same; only SimCLR's own loss has more negatives than its local
    one.
    """
    method = built(base, direction=direction)
    state = method.levels["pooled"].state_dict()
    method.levels["local"].load_state_dict(state)
    one, two = features(side=1), features(side=1, seed=1)
    terms = method.terms(encoded_from(method, one, two), PHASE)
    if base == "simclr":
        assert terms["local"] < terms["pooled"]
    else:
        torch.testing.assert_close(terms["local"], terms["pooled"])
        torch.testing.assert_close(terms["loss"], terms["pooled"])
        torch.testing.assert_close(terms.get("global_to_local", terms["pooled"]), terms["pooled"])


def test_mocos_local_loss_is_cross_entropy_with_the_own_images_pooled_key_first():
    method = built("moco")
    one, two = features(), features(seed=1)
    encoded = encoded_from(method, one, two)
    found = method.terms(encoded, PHASE)["local"]
    query = F.normalize(method.levels["local"].projector(one.positions.flatten(0, 1)), dim=1)
    key = F.normalize(method.levels["pooled"].twin(two.pooled), dim=1).repeat_interleave(16, 0)
    logits = torch.cat([(query * key).sum(1, keepdim=True), query @ method.levels["local"].queue.T], 1) / 0.2
    torch.testing.assert_close(found, F.cross_entropy(logits, torch.zeros(len(logits), dtype=torch.long)))


def test_the_order_of_positions_does_not_matter_and_equal_ones_cost_alike(base):
    one, two = features(), features(seed=1)
    order = torch.stack([torch.randperm(16, generator=torch.Generator().manual_seed(i)) for i in range(6)])
    mixed = one.positions.gather(1, order[..., None].expand(-1, -1, 32))
    shuffled = Features(mixed.mT.unflatten(2, (4, 4)), one.pooled)
    found = [
        m.terms(encoded_from(m, seen, two), PHASE)["local"]
        for m, seen in ((built(base), one), (built(base), shuffled))
    ]
    torch.testing.assert_close(*found)
    flat = Features(one.pooled[:, :, None, None].expand(-1, -1, 4, 4), one.pooled)
    tokens = built(base).eval().embed(flat, "online")["local"]
    torch.testing.assert_close(tokens, tokens[:, :1].expand_as(tokens))


def test_a_random_subset_is_without_replacement_and_right_on_average():
    """The mean of the loss over all subsets of k positions is the whole loss; heads in evaluation mode."""
    one, two = features(), features(seed=1)
    whole = built().eval()
    wanted = whole.terms(encoded_from(whole, one, two), PHASE)["local"]
    costs = []
    for subset in itertools.combinations(range(4), 2):
        rows = torch.tensor(subset)
        parts = [
            Features(seen.maps[..., :2, :2].flatten(2)[..., rows][..., None], seen.pooled)
            for seen in (one, two)
        ]
        costs.append(whole.terms(encoded_from(whole, *parts), PHASE)["local"])
    corner = [Features(seen.maps[..., :2, :2], seen.pooled) for seen in (one, two)]
    torch.testing.assert_close(
        torch.stack(costs).mean(), whole.terms(encoded_from(whole, *corner), PHASE)["local"]
    )

    few = built(positions=3).eval()
    few.settings = few.settings.model_copy(update={"positions": 5})
    places = torch.arange(16.0).expand(4000, 16)[..., None]
    drawn = few.drawn(places)[..., 0]
    assert drawn.shape == (4000, 5) and all(len(set(row.tolist())) == 5 for row in drawn[:200])
    shares = torch.bincount(drawn.flatten().long(), minlength=16) / 4000
    torch.testing.assert_close(shares, torch.full((16,), 5 / 16), atol=0.03, rtol=0)
    assert not torch.equal(drawn[0], drawn[1])
    estimates = [few.terms(encoded_from(few, one, two), PHASE)["local"] for _ in range(300)]
    torch.testing.assert_close(torch.stack(estimates).mean(), wanted, atol=0.02, rtol=0)


@pytest.mark.parametrize("concatenate", [False, True])
def test_two_ranks_draw_the_positions_of_one(concatenate):
    places = torch.arange(4.0).expand(8, 4)[..., None].repeat(1 + concatenate, 1, 1)
    method = built("simsiam", method={"concatenate": concatenate}, positions=2)
    whole = method.drawn(places)
    parts = []
    for rank in range(2):
        method.base.ranks = Ranks(0, rank=rank, world=2)
        parts.append(method.drawn(places[: len(places) // 2]))
    # Rows of a rank: its images, view by view.
    by_view = [part.unflatten(0, (1 + concatenate, -1)) for part in parts]
    assert torch.equal(whole, torch.cat(by_view, 1).flatten(0, 1))


def test_every_cost_is_within_bounds_and_views_can_be_swapped():
    for direction, head in itertools.product(("local_to_global", "both"), ("pooled", "separate")):
        method = built(direction=direction, target_head=head)
        one, two = features(), features(seed=1)
        terms, swapped = (
            method.terms(encoded_from(method, *pair), PHASE) for pair in ((one, two), (two, one))
        )
        assert all(0 <= value <= 8 for value in terms.values())  # two directions of 0...4, summed
        torch.testing.assert_close(terms["loss"], swapped["loss"])


def test_positions_are_averaged_and_not_summed():
    method = built().eval()
    one, two = features(side=2), features(side=2, seed=1)
    larger = [Features(seen.maps.repeat(1, 1, 2, 2), seen.pooled) for seen in (one, two)]
    found = [method.terms(encoded_from(method, *pair), PHASE)["local"] for pair in ((one, two), larger)]
    torch.testing.assert_close(*found)


@pytest.mark.parametrize("mode", ["train", "eval"])
def test_targets_collect_no_gradient_and_follow_by_the_average(mode):
    loop = assemble(co_ssl("byol", method={"target_mode": mode, "momentum": 0.8}, direction="both"), Ranks(0))
    twins = {name: part for name, part in loop.method.named_modules() if name.endswith("twin")}
    assert set(twins) == {"base.twin", "levels.pooled.twin", "levels.local.twin"}
    before = {
        name: {k: v.clone() for k, v in twin.target.state_dict().items()} for name, twin in twins.items()
    }
    index, images, _ = next(iter(loop.batches.epoch()))
    loop.method.train()
    loop.step(0, index, images)
    assert all(p.grad is None for name, p in loop.method.named_parameters() if "twin" in name)
    for name, twin in twins.items():
        online = twin.online.state_dict()
        for key, now in twin.target.state_dict().items():
            if now.is_floating_point() and ("running" not in key or mode == "eval"):
                torch.testing.assert_close(now, 0.8 * before[name][key] + 0.2 * online[key])


# Crops


def test_a_local_crop_is_a_part_whose_pooled_vector_goes_through_the_local_heads(base, comparisons):
    method, given = built(base, views=LOCALS), views(local=True)
    encoded = method.encode(given, PHASE)
    terms = method.terms(encoded, PHASE)
    targets = sorted({pair.target for pair in method.base.pairs})
    crops = comparisons[2 * TERMS[base] :]
    assert len(crops) == 2 * len(targets)
    wanted = [(("local", crop), target) for crop in range(2) for target in targets]
    for (crop, view), (level, predicted, target, frozen) in zip(wanted, crops, strict=True):
        assert level is method.levels["local"] and frozen and predicted.shape == target.shape == (8, 1, 8)
        assert predicted is encoded.predicted[crop]["local"] and target is encoded.target[view]["pooled"]
    assert set(encoded.online["local", 0]) == {"local"} and not set(encoded.target) & {
        ("local", 0),
        ("local", 1),
    }
    assert sum(p.weight for p in method.crop_pairs) == pytest.approx(sum(p.weight for p in method.base.pairs))
    torch.testing.assert_close(
        terms["loss"], 0.7 * terms["pooled"] + 0.3 * (terms["local"] + terms["crop"]) / 2
    )


def test_it_trains_with_any_sampler_and_with_local_crops(base):
    crops = contrastive(base).model_dump()["views"]
    for more in ({"sampler": crops["sampler"], "contrastive_crop": crops["contrastive_crop"]}, LOCALS):
        loop = assemble(co_ssl(base, views=more), Ranks(0))
        assert all(math.isfinite(loop.epoch()["loss"]) for _ in range(2))


@pytest.mark.parametrize(
    "own",
    [{}, {"target_head": "separate"}, {"direction": "both"}, {"shared_heads": True}, {"positions": 2},
     {"direction": "both", "target_head": "separate", "positions": 3}],
)  # fmt: skip
@pytest.mark.parametrize("model", [{}, {"keep": (1, 1, 1, 0), "last_stride": 1, "head": 2}])
def test_every_option_trains_on_every_base_and_network(base, own, model):
    recipe = co_ssl(base, {"lr": 0.05}, **own)
    recipe = recipe.model_copy(update={"model": recipe.model.model_copy(update=model)})
    loop = assemble(recipe, Ranks(0))
    before = {name: p.detach().clone() for name, p in loop.method.named_parameters()}
    assert all(math.isfinite(loop.epoch()["loss"]) for _ in range(2))
    for name, parameter in loop.method.named_parameters():
        assert not torch.equal(parameter, before[name]), f"{name} has not moved"


def test_a_hundred_and_fifty_steps_lower_the_local_loss_and_raise_redundancy():
    loop = assemble(co_ssl("byol", {"lr": 0.05, "epochs": 50, "momentum": 0.9}), Ranks(0))
    history = [loop.epoch() for _ in range(50)]
    assert history[-1]["local"] < 0.5 * history[0]["local"] and history[-1]["pooled"] < history[0]["pooled"]


# In a run


class Killed(Exception):
    pass


@pytest.mark.parametrize("own", [{}, {"positions": 2, "direction": "both"}])
def test_killed_and_resumed_it_ends_the_same_bit_for_bit(own, base, tmp_path, monkeypatch):
    from partwhole.training import loop as module

    recipe = co_ssl(base, {"epochs": 3, "momentum": 0.9}, **own)
    with few_scenes(test=50):
        whole, record = train(recipe, base, device="cpu", progress=False)
        step, calls = module.Loop.step, []

        def dying(self, *arguments):
            calls.append(1)
            if len(calls) == 2 + self.batches.steps:
                raise Killed
            return step(self, *arguments)

        monkeypatch.setattr(module.Loop, "step", dying)
        with pytest.raises(Killed):
            train(recipe, base, tmp_path, device="cpu", progress=False)
        monkeypatch.setattr(module.Loop, "step", step)
        resumed, again = train(recipe, base, tmp_path, device="cpu", progress=False)
    one, two = whole.method.state_dict(), resumed.method.state_dict()
    assert one.keys() == two.keys() and all(torch.equal(one[name], two[name]) for name in one)
    assert 0 < record["metrics"]["redundancy"] <= 1 and again["metrics"] == record["metrics"]


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_step_never_waits_for_the_device(base, precision):
    from experiments.test_run import NoWaiting

    loop = assemble(co_ssl(base, {"precision": precision}, positions=2, direction="both"), Ranks(0))
    loop.method.train()
    index, images, _ = next(iter(loop.batches.epoch()))
    with NoWaiting():
        for step in range(2):
            terms = loop.step(step, index, images)
    assert terms["loss"].isfinite()


# Bad input


@pytest.mark.parametrize(
    ("overrides", "line"),
    [
        (
            ["method.co_ssl.weight=1.5"],
            r"method.co_ssl.weight is 1.5; Input should be less than or equal to 1",
        ),
        (
            ["method.co_ssl.weight=-0.1"],
            r"method.co_ssl.weight is -0.1; Input should be greater than or equal to 0",
        ),
        (
            ["method.co_ssl.positions=17"],
            r"positions is 17; the map of a view of 32 px has 4 x 4, so ask for at most 16",
        ),
        (
            ["method.co_ssl.positions=0"],
            r"method.co_ssl.positions is 0; Input should be greater than or equal to 1",
        ),
        (
            ["method.co_ssl.shared_heads=true", "method.co_ssl.target_head=separate"],
            r"shared_heads leaves no second head; drop one",
        ),
        (
            ["views.local={scale: [0.05, 0.2]}", "method.co_ssl.direction=both"],
            r"local crops are never targets",
        ),
        (
            ["views.local={scale: [0.05, 0.2]}", "method.co_ssl.weight=0"],
            r"local crops would be encoded for nothing",
        ),
        (["method.co_ssl.direction=global_to_local"], r"unknown method.co_ssl.direction 'global_to_local'"),
    ],
)
def test_what_makes_no_sense_is_refused_in_one_line(overrides, line):
    with pytest.raises(BadInput, match=line) as refused:
        files.load("cifar10/narrow_byol_co_ssl", overrides)
    assert "\n" not in str(refused.value)


def test_an_objective_of_positions_needs_no_local_crops_and_other_recipes_keep_their_digests():
    """The settings are left out where another objective is chosen: BYOL beside CO-BYOL is BYOL's own recipe
    but for them.
    """
    recipe = files.load("cifar10/narrow_byol_co_ssl", ["method.objective=pooled"])
    assert files.digest(recipe) == files.digest(files.load("cifar10/narrow_byol"))
    assert files.load("cifar10/byol_co_ssl_rf17").model.stride == 4
    files.load("cifar10/byol_co_ssl_rf17", ["method.co_ssl.positions=64"])
    with pytest.raises(BadInput, match="at most 64"):
        files.load("cifar10/byol_co_ssl_rf17", ["method.co_ssl.positions=65"])
