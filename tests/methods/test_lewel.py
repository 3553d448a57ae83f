"""LEWEL against closed forms, slow loops, torch's own layers, and a table of which loss reaches
which part.
"""

import copy
import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from partwhole.data import catalogue
from partwhole.errors import BadInput
from partwhole.evaluation.map_figures import map_figures
from partwhole.evaluation.maps import mapper
from partwhole.experiments.export import export
from partwhole.experiments.run import assemble, train
from partwhole.methods import build
from partwhole.methods.lewel import alignment_maps, pool
from partwhole.methods.method import Encoded, Phase
from partwhole.models.resnet import Features
from partwhole.models.saved import load_encoder, load_projector
from partwhole.recipes import files
from partwhole.training.ranks import Ranks
from support.tiny_recipes import METHODS, lewel, tiny

PHASE = Phase()


def made(*arguments, **settings):
    torch.manual_seed(0)
    return build(lewel(*arguments, **settings), Ranks(0))


def features(batch: int = 6, side: int = 4, channels: int = 32, seed: int = 0) -> Features:
    maps = torch.randn(batch, channels, side, side, generator=torch.Generator().manual_seed(seed)).relu()
    return Features(maps, maps.mean((2, 3)))


# Maps and pooling


@pytest.mark.parametrize(("depth", "positions", "scale"), [(256, 49, 1.0), (128, 16, 1.0), (128, 16, 0.1)])
def test_maps_are_weights_within_the_bounds_of_their_logits(depth, positions, scale):
    maps = alignment_maps(torch.randn(20, positions, depth), scale)
    torch.testing.assert_close(maps.sum(1), torch.ones(20, depth))
    high = math.exp(2 / scale)
    assert 1 / (1 + (positions - 1) * high) <= maps.min() and maps.max() <= high / (high + positions - 1)
    divergence = (maps * (maps * positions).log()).sum(1).mean()
    if scale == 1:
        assert divergence <= (math.e**2 + 1) / (4 * depth)
    else:
        assert divergence > (math.e**2 + 1) / (4 * depth)  # the bound is one of scale 1


def test_the_mean_squared_logit_is_one_over_depth():
    logits = (alignment_maps(torch.randn(3, 16, 64), 0.5)).log()
    projected = F.normalize(torch.randn(3, 16, 64), dim=-1) / 0.5
    assert projected.square().mean().item() == pytest.approx(1 / (64 * 0.25), rel=1e-5)
    assert logits.isfinite().all()


def test_a_small_scale_chooses_one_place_and_a_large_one_all():
    projected = torch.randn(4, 9, 16)
    assert torch.equal(alignment_maps(projected, 1e-4).argmax(1), F.normalize(projected, dim=-1).argmax(1))
    assert alignment_maps(projected, 1e-4).amax(1).median() > 0.999
    torch.testing.assert_close(
        alignment_maps(projected, 1e4), torch.full((4, 9, 16), 1 / 9), atol=1e-4, rtol=0
    )


@pytest.mark.parametrize("groups", [1, 2, 4])
def test_grouped_pooling_equals_a_loop_over_blocks(groups):
    maps, positions = torch.rand(3, 9, 8).softmax(1), torch.rand(3, 9, 12)
    kept, block = 8 // groups, 12 // groups
    slow = torch.zeros(3, kept, 12)
    for k in range(kept):
        for j in range(groups):
            for c in range(block):
                channel = j * block + c
                slow[:, k, channel] = (positions[:, :, channel] * maps[:, :, j * kept + k]).sum(1)
    torch.testing.assert_close(pool(maps, positions, groups), slow)
    if groups == 1:
        torch.testing.assert_close(pool(maps, positions, 1), torch.bmm(maps.mT, positions))


def test_pooled_vectors_are_means_over_space_with_weights():
    seen = features()
    method = made(scale=0.1)
    _, maps, aligned = method.alignment(seen)
    flat = seen.maps.flatten(2)
    assert maps.shape == (6, 16, 8) and aligned.shape == (6, 4, 32)
    assert (aligned <= flat.amax(2)[:, None] + 1e-6).all() and (aligned >= flat.amin(2)[:, None] - 1e-6).all()
    assert not torch.allclose(aligned, seen.pooled[:, None].expand_as(aligned), atol=1e-2)


def test_uniform_maps_and_constant_features_give_the_average():
    seen = features()
    _, _, aligned = made(maps="uniform").alignment(seen)
    torch.testing.assert_close(aligned, seen.pooled[:, None].expand_as(aligned))
    method = made().eval()
    flat = Features(seen.pooled[:, :, None, None].expand(-1, -1, 4, 4), seen.pooled)
    _, maps, aligned = method.alignment(flat)
    torch.testing.assert_close(maps, torch.full_like(maps, 1 / 16))
    expected = method.levels["aligned"].project(seen.pooled[:, None], "online").expand(-1, 4, -1)
    torch.testing.assert_close(method.embed(flat, "online")["aligned"], expected, atol=1e-5, rtol=1e-4)


def test_one_position_degenerates_to_the_average():
    seen = features(side=1)
    _, maps, aligned = made().alignment(seen)
    assert (maps == 1).all()
    torch.testing.assert_close(aligned, seen.pooled[:, None].expand_as(aligned))


def test_a_permutation_of_places_permutes_the_maps_and_nothing_else():
    seen, order = features(), torch.randperm(16, generator=torch.Generator().manual_seed(1))
    mixed = Features(seen.maps.flatten(2)[..., order].unflatten(2, (4, 4)), seen.pooled)
    method = made(scale=0.2)
    (z, maps, aligned), (z2, maps2, aligned2) = method.alignment(seen), method.alignment(mixed)
    torch.testing.assert_close(maps2, maps[:, order])
    torch.testing.assert_close(z2, z, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(aligned2, aligned, atol=1e-6, rtol=1e-5)


# The coupled head


def test_in_evaluation_mode_the_head_is_a_convolution_over_places_and_the_plain_projector_of_the_average():
    """Against torch's own Conv1d with the same weights; and place by place."""
    seen, method = features(), made(scale=0.3).eval()
    first, norm, _, last = method.levels["pooled"].projector
    norm.running_mean.normal_()
    norm.running_var.uniform_(0.5, 2)
    one, two = nn.Conv1d(32, 16, 1, bias=False), nn.Conv1d(16, 8, 1)
    one.weight.data, two.weight.data, two.bias.data = (
        first.weight.data[..., None],
        last.weight.data[..., None],
        last.bias.data,
    )
    with torch.no_grad():
        projected = two(norm(one(seen.maps.flatten(2))).relu())  # (B, D, N)
        expected = (F.normalize(projected, dim=1) / 0.3).softmax(2)
        pooled, maps, _ = method.alignment(seen)
        torch.testing.assert_close(maps.mT, expected)
        torch.testing.assert_close(pooled[:, 0], method.levels["pooled"].projector(seen.pooled))


def test_in_training_the_places_move_the_pooled_vector_through_shared_statistics_and_in_evaluation_they_do_not():
    seen = features()
    other = Features(features(seed=5).maps * 3, seen.pooled)
    method = made()
    changed = {}
    for mode in (True, False):
        twins = [copy.deepcopy(method).train(mode).alignment(part)[0] for part in (seen, other)]
        changed[mode] = not torch.allclose(*twins, atol=1e-6)
    assert changed == {True: True, False: False}
    separate = made(head="separate")
    torch.testing.assert_close(*(copy.deepcopy(separate).alignment(part)[0] for part in (seen, other)))


def test_the_heads_have_the_released_numbers_of_parameters():
    """Facts derived from the released code: ResNet-18, H 1024, d 128: 657,408 and 264,192; ResNet-50, H 4096,
    d 256.
    """
    for name, projector, predictor in (("resnet18", 657_408, 264_192), ("resnet50", 9_445_376, 2_105_344)):
        deep = name == "resnet50"
        hidden, depth = (4096, 256) if deep else (1024, 128)
        recipe = files.load("cifar10/byol", ["method.objective=lewel", "method.output_bias=false",
            f"method.projector=[{hidden}, {depth}]", f"method.predictor=[{hidden}, {depth}]",
            *(["model.block=bottleneck", "model.blocks=[1, 1, 1, 1]"] if deep else [])])  # fmt: skip
        for level in build(recipe, Ranks(0)).levels.values():
            assert sum(p.numel() for p in level.projector.parameters()) == projector
            assert sum(p.numel() for p in level.predictor.parameters()) == predictor


# Losses and gradients


def terms(method, seed: int = 0):
    """Loss terms on two views given as feature maps, in place of pixels."""
    views = [features(batch=16, side=2, seed=seed + number) for number in (0, 1)]

    predicted, target = {}, {}
    for number, view in enumerate(views):
        tokens = method.embed(view, "online")
        predicted["global", number] = {name: method.levels[name].predict(t) for name, t in tokens.items()}
        with torch.no_grad():
            target["global", number] = method.embed(view, "target")
    return method.terms(Encoded(predicted=predicted, target=target), PHASE)


def test_the_loss_is_the_weighted_sum_of_both_terms_each_within_its_bounds():
    for weight in (0.0, 0.3, 1.0):
        found = terms(made(weight=weight))
        assert found["loss"].item() == pytest.approx(
            (weight * found["pooled"] + (1 - weight) * found["aligned"]).item()
        )
        # BYOL: two directions of 0..4, summed.
        assert all(0 <= found[name] <= 8 for name in ("pooled", "aligned"))
    assert 2.5 < terms(made())["loss"] < 5.5  # about 4 before any training


REACHED = {  # part: (by the pooled loss, by the aligned loss), in BYOL with learned maps
    "pooled projector": (True, True), "pooled predictor": (True, False), "aligned projector": (False, True),
    "aligned predictor": (False, True),
}  # fmt: skip


@pytest.mark.parametrize("maps", ["learned", "detached", "uniform"])
@pytest.mark.parametrize(("loss", "column"), [("pooled", 0), ("aligned", 1)])
def test_which_loss_reaches_which_part(loss, column, maps):
    method = made(maps=maps)
    terms(method)[loss].backward()
    for part, reached in REACHED.items():
        level, kind = part.split()
        wanted = reached[column] and not (
            part == "pooled projector" and loss == "aligned" and maps != "learned"
        )
        gradients = [p.grad for p in getattr(method.levels[level], kind).parameters()]
        assert any(g is not None and g.abs().max() > 0 for g in gradients) == wanted, part
    assert all(p.grad is None for name, p in method.named_parameters() if "twin" in name)


def test_both_losses_reach_the_encoder_by_the_values_and_the_maps(base):
    """From pixels, on every base; the encoder's gradient of each term alone is not zero, and no target
    collects one.
    """
    loop = assemble(lewel(base), Ranks(0))
    index, images, _ = next(iter(loop.batches.epoch()))
    views = loop.augment(images, loop.ranks.draw(len(index), loop.augment.uniforms), index)
    for name in ("pooled", "aligned"):
        loop.method.zero_grad()
        loop.method.terms(loop.method.encode(views, PHASE), PHASE)[name].backward()
        assert max(p.grad.abs().max() for p in loop.method.encoder.parameters() if p.grad is not None) > 1e-6
        assert all(
            p.grad is None or not p.grad.any() for n, p in loop.method.named_parameters() if "twin" in n
        )


def test_at_scale_one_the_aligned_loss_hardly_moves_the_maps():
    """Facts page, 2.8: the gradient of the aligned loss in the last projector layer is many times smaller
    than the pooled one's.
    """
    ratios = {}
    for scale in (1.0, 0.1):
        norms = {}
        for name in ("pooled", "aligned"):
            method = made(scale=scale)
            terms(method)[name].backward()
            norms[name] = method.levels["pooled"].projector[-1].weight.grad.norm()
        ratios[scale] = (norms["pooled"] / norms["aligned"]).item()
    assert ratios[1.0] > 3 * ratios[0.1] and ratios[1.0] > 5


def test_a_weight_of_one_trains_the_encoder_as_byol_with_the_same_head_does():
    """The aligned level adds nothing then: its parameters get gradients of zero, the others those of the
    pooled loss alone.
    """
    method = made(weight=1.0)
    found = terms(method)
    found["loss"].backward()
    assert all(not p.grad.any() for p in method.levels["aligned"].parameters() if p.requires_grad)
    alone = made(weight=0.3)
    terms(alone)["pooled"].backward()
    for one, two in zip(
        method.levels["pooled"].projector.parameters(), alone.levels["pooled"].projector.parameters()
    ):
        torch.testing.assert_close(one.grad, two.grad)


# In a run


@pytest.mark.parametrize("head", ["coupled", "separate"])
@pytest.mark.parametrize("maps", ["learned", "detached", "uniform"])
def test_every_control_trains_on_every_base(base, maps, head):
    loop = assemble(lewel(base, {"lr": 0.05}, maps=maps, head=head), Ranks(0))
    before = {name: p.detach().clone() for name, p in loop.method.named_parameters()}
    losses = [loop.epoch()["loss"] for _ in range(2)]
    assert all(math.isfinite(loss) for loss in losses)
    online = {name: p for name, p in loop.method.named_parameters() if p.requires_grad}
    moved = {name.split(".")[0] for name, p in online.items() if not torch.equal(p, before[name])}
    assert moved == {"base", "levels"} | ({"mapper"} if head == "separate" and maps == "learned" else set())


def test_three_hundred_steps_lower_both_losses(base):
    """From the third epoch on.

    MoCo's keys come from a network that moves too: there both stay below the chance level.
    """
    loop = assemble(lewel(base, {"lr": 0.05, "epochs": 100, "momentum": 0.9}), Ranks(0))
    history = [loop.epoch() for _ in range(100)]
    assert 100 * loop.batches.steps == 300
    for name in ("pooled", "aligned"):
        first, last = (sum(row[name] for row in rows) / 10 for rows in (history[2:12], history[-10:]))
        assert last < (math.log(25) - 0.1 if base == "moco" else first - 0.02)  # 24 keys in the queue


@pytest.mark.parametrize("mode", ["train", "eval"])
def test_after_a_step_the_target_has_followed_in_every_part(mode):
    """EMAN: buffers follow too, and the target normalises by them."""
    loop = assemble(lewel("byol", method={"target_mode": mode, "momentum": 0.8}, head="separate"), Ranks(0))
    twins = {name: part for name, part in loop.method.named_modules() if name.endswith("twin")}
    assert set(twins) == {"base.twin", "levels.pooled.twin", "levels.aligned.twin", "mapper.twin"}
    before = {
        name: {k: v.clone() for k, v in twin.target.state_dict().items()} for name, twin in twins.items()
    }
    index, images, _ = next(iter(loop.batches.epoch()))
    loop.method.train()
    loop.step(0, index, images)
    for name, twin in twins.items():
        assert twin.target.training == (mode == "train")
        online = twin.online.state_dict()
        for key, now in twin.target.state_dict().items():
            if now.is_floating_point() and ("running" not in key or mode == "eval"):
                torch.testing.assert_close(now, 0.8 * before[name][key] + 0.2 * online[key])


def test_mocos_second_queue_takes_one_aligned_vector_an_image_in_turn():
    method = made("moco")
    keys = torch.randn(6, 4, 8)
    assert torch.equal(method.remembered("pooled", keys), keys[:, 0])
    assert torch.equal(
        method.remembered("aligned", keys), torch.stack([keys[image, image % 4] for image in range(6)])
    )
    method.base.ranks = Ranks(0, rank=1, world=2)  # the second half of a batch of 12
    assert torch.equal(
        method.remembered("aligned", keys), torch.stack([keys[image, (6 + image) % 4] for image in range(6)])
    )


def test_what_the_encoder_gives_later_does_not_depend_on_the_heads():
    method = made().eval()
    pixels = torch.randn(4, 3, 16, 16)
    before = method.encoder(pixels)
    for part in method.levels.parameters():
        part.data.normal_()
    torch.testing.assert_close(method.encoder(pixels).pooled, before.pooled)
    torch.testing.assert_close(before.pooled, before.maps.mean((2, 3)))


def test_groups_that_do_not_divide_are_refused_in_one_line():
    with pytest.raises(
        BadInput, match=r"method.lewel.groups is 3; it must divide the encoder's channels \(512\)"
    ):
        files.load("cifar10/byol", ["method.objective=lewel", "method.lewel.groups=3"])
    assert set(METHODS) == {"simclr", "moco", "byol", "simsiam"}


def test_a_run_reports_how_even_its_maps_are_after_every_epoch():
    """At scale 1 always below the bound; what is reported is what the trained network's maps give on the same
    images.
    """
    recipe = lewel(training={"epochs": 3})
    loop, record = train(recipe, "tiny", device="cpu", progress=False)
    assert [row["epoch"] for row in record["history"] if 0 < row["map_kl"] <= (math.e**2 + 1) / (4 * 8)] == [
        1,
        2,
        3,
    ]
    images = catalogue.load("scenes/plain", "test").subset(torch.arange(500))
    found = map_figures(loop.method, images, views=recipe.views, size=16)
    assert (
        record["metrics"]["map_kl"]
        == record["history"][-1]["map_kl"]
        == pytest.approx(found["map_kl"], rel=1e-3)
    )
    assert record["metrics"]["map_peak"] == pytest.approx(found["map_peak"], rel=1e-3)
    even = train(lewel(training={"epochs": 1}, maps="uniform"), "tiny", device="cpu", progress=False)[1]
    assert even["metrics"]["map_kl"] == pytest.approx(0, abs=1e-6)
    assert "map_kl" not in train(tiny("byol", epochs=1), "tiny", device="cpu", progress=False)[1]["metrics"]


def test_other_aligned_vectors_of_an_image_are_never_its_negatives(base):
    """Move one aligned vector of an image in the other view: the cost of none of its other vectors
    changes.
    """
    level = made(base).levels["aligned"]
    predicted, target = torch.randn(6, 4, 8), torch.randn(6, 4, 8)
    before = level.cost(predicted, target)
    target[2, 1] = -target[2, 1]
    changed = (level.cost(predicted, target) - before).abs() > 1e-6
    assert changed[2].tolist() == [False, True, False, False]
    assert changed[:, [0, 2, 3]].sum() == 0 and changed[[0, 1, 3, 4, 5], 1].all() == (base == "simclr")


def test_a_trained_run_is_exported_as_its_encoder_with_the_plain_average(tmp_path):
    loop, _ = train(lewel(training={"epochs": 1}), "tiny", tmp_path, device="cpu", progress=False)
    file = export(tmp_path, tmp_path / "encoder.safetensors", projector=True)
    network, about = load_encoder(file)
    pixels = torch.randn(3, 3, 16, 16)
    found, method = network(pixels), loop.method.eval()
    torch.testing.assert_close(found.pooled, method.encoder(pixels).pooled)
    torch.testing.assert_close(found.pooled, found.maps.mean((2, 3)))
    assert about["data"] == "scenes/plain"
    wanted = method.alignment(method.encoder(pixels))[1]
    torch.testing.assert_close(mapper(network, projector=load_projector(file))(found), wanted)
