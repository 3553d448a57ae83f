"""Measures of maps against slow loops, closed forms and maps whose places are known."""

import math

import pytest
import torch
import torch.nn.functional as F

from partwhole.evaluation import maps
from partwhole.methods import build
from partwhole.methods.lewel import alignment_maps, divergence
from partwhole.models.resnet import Encoder
from partwhole.training.ranks import Ranks
from partwhole.views.geometry import Crops
from support.tiny_recipes import METHODS, lewel, tiny


def test_divergence_and_entropy_are_those_of_scipy():
    stats = pytest.importorskip("scipy.stats")
    weights = torch.rand(3, 9, 5).softmax(1)
    even = torch.full((3, 9, 5), 1 / 9)
    torch.testing.assert_close(
        divergence(weights), torch.from_numpy(stats.entropy(weights, even, axis=1)).float()
    )
    figures = maps.evenness(weights)
    assert figures["map_entropy"] == pytest.approx(stats.entropy(weights, axis=1).mean(), rel=1e-5)
    assert figures["map_kl"] + figures["map_entropy"] == pytest.approx(math.log(9), rel=1e-5)


def test_divergence_is_zero_for_even_maps_and_log_n_for_one_place():
    one = torch.zeros(1, 16, 2)
    one[0, 3] = 1
    torch.testing.assert_close(divergence(one), torch.full((1, 2), math.log(16)))
    assert maps.evenness(torch.full((2, 16, 3), 1 / 16)) == pytest.approx(
        {"map_kl": 0, "map_entropy": math.log(16), "map_peak": 1}, abs=1e-6
    )
    assert maps.evenness(one)["map_peak"] == 16


def test_cover_equals_counting_fine_points():
    boxes = torch.rand(20, 2, 2).sort(1).values.flatten(1)[:, [0, 1, 2, 3]]  # top, left, bottom, right
    fine = (torch.arange(400) + 0.5) / 400
    down = (fine >= boxes[:, 0, None]) & (fine < boxes[:, 2, None])
    along = (fine >= boxes[:, 1, None]) & (fine < boxes[:, 3, None])
    slow = F.avg_pool2d((down[:, :, None] & along[:, None]).float()[:, None], 100)[:, 0]
    torch.testing.assert_close(maps.cover(boxes, 4), slow, atol=0.02, rtol=0)
    area = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    torch.testing.assert_close(maps.cover(boxes, 4).mean((1, 2)), area)


def test_pointing_at_a_known_place():
    """Objects fill one cell each. Map 0 looks there, map 1 always at the first cell."""
    cell = torch.arange(16)
    box = torch.stack([cell // 4, cell % 4, cell // 4 + 1, cell % 4 + 1], 1) / 4
    weights = torch.full((16, 16, 2), 0.4 / 15)
    weights[cell, cell, 0] = weights[:, 0, 1] = 0.6
    figures = maps.pointing(weights, box[:, None])
    assert figures["pointing"] == pytest.approx((1 + 1 / 16) / 2) and figures[
        "pointing_chance"
    ] == pytest.approx(1 / 16)
    assert figures["pointing_best"] == 1 and figures["pointing_fixed"] == 0  # no cell holds two objects
    assert maps.pointing(weights, box[:1, None].expand(16, -1, -1))["pointing_fixed"] == 1
    assert figures["map_inside"] == pytest.approx((0.6 + 1 / 16) / 2) and figures[
        "map_inside_even"
    ] == pytest.approx(1 / 16)


def test_even_maps_hold_the_share_of_the_box():
    boxes = torch.rand(30, 1, 2, 2).sort(2).values.flatten(2)
    figures = maps.pointing(torch.full((30, 25, 3), 1 / 25), boxes)
    assert figures["map_inside"] == pytest.approx(figures["map_inside_even"], rel=1e-5)


def crops(*rows) -> Crops:
    """Rows of (top, left, height, width, flipped), one for each view, the same for two images."""
    return Crops(*(torch.tensor(column)[:, None].expand(-1, 2) for column in zip(*rows)))


def field(crop: tuple, waves: torch.Tensor, side: int = 16) -> torch.Tensor:
    """Smooth functions of the place in the whole image, one a row of waves (D, 3), in the cells of a view."""
    top, left, height, width, flipped = crop
    at = (torch.arange(side) + 0.5) / side
    y, x = top + at * height, left + (1 - at if flipped else at) * width
    values = torch.sin(
        waves[:, 0, None, None] * y[:, None] + waves[:, 1, None, None] * x + waves[:, 2, None, None]
    )
    return values.flatten(1).T[None].expand(2, -1, -1)


@pytest.mark.parametrize(
    ("one", "two"),
    [((0, 0, 32, 32, False), (0, 0, 32, 32, True)), ((0, 4, 20, 20, False), (8, 8, 24, 16, False)),
     ((3, 0, 16, 24, True), (5, 9, 27, 12, False)), ((0, 0, 20, 20, True), (10, 6, 22, 26, True))],
)  # fmt: skip
def test_maps_of_the_place_agree_wherever_the_crops_lie(one, two):
    """Crops and flips undone rightly, a function of the place agrees with itself; other functions do not."""
    torch.manual_seed(0)
    waves = torch.cat([0.5 * torch.rand(24, 2), 6 * torch.rand(24, 1)], 1)
    figures = maps.consistency(field(one, waves), field(two, waves), crops(one, two))
    assert figures["consistency"] > 0.98
    assert abs(figures["consistency_shuffled"]) < 0.3
    turned = maps.consistency(field(one, waves), field(two, waves), crops(one, (*two[:4], not two[4])))
    assert turned["consistency"] < 0.9  # a flip forgotten is noticed


def test_crops_that_share_nothing_are_left_out():
    one, two = torch.rand(2, 16, 3), torch.rand(2, 16, 3)
    far = Crops(
        *(
            torch.tensor(rows)
            for rows in ([[0, 0], [20, 0]], [[0, 0], [20, 0]], [[8, 8], [8, 8]], [[8, 8], [8, 8]])
        ),
        torch.zeros(2, 2).bool(),
    )
    alone = Crops(*(value[:, 1:] for value in vars(far).values()))
    assert maps.consistency(one, two, far) == pytest.approx(maps.consistency(one[1:], two[1:], alone))


def test_moved_is_one_where_only_backgrounds_count_and_zero_where_only_objects_do():
    (objects, backgrounds), shift = torch.randn(2, 50, 8), 3
    before, after = (objects, backgrounds), (objects, backgrounds.roll(-shift, 0))
    assert maps.moved(before[0], after[0], shift) == 0
    assert maps.moved(before[1], after[1], shift) == 1
    both = [torch.cat(parts, 1) for parts in (before, after)]
    assert maps.moved(*both, shift) == pytest.approx(0.5, abs=0.1)
    assert maps.moved(*[part * torch.rand(50, 1) for part in both], shift) == pytest.approx(
        maps.moved(*both, shift), rel=1e-5
    )


@pytest.mark.parametrize("base", sorted(METHODS))
def test_any_network_has_maps(base):
    pixels = torch.randn(2, 3, 32, 32)
    for recipe in (tiny(base), lewel(base)):
        method = build(recipe, Ranks(0)).eval()
        features = method.encoder(pixels)
        weights = maps.mapper(method)(features)
        assert weights.shape == (2, 16, 8)
        torch.testing.assert_close(weights.sum(1), torch.ones(2, 8))
    coupled = method.levels["pooled"].projector(features.maps.flatten(2).mT.flatten(0, 1)).view(2, 16, 8)
    torch.testing.assert_close(weights, alignment_maps(coupled, 1.0))
    uniform = build(lewel(base, maps="uniform"), Ranks(0)).eval()
    assert divergence(maps.mapper(uniform)(features)).min() > 0  # what its projector would make
    encoder = Encoder(blocks=(1, 1, 1, 1), width=4).eval()
    weights = maps.mapper(encoder, scale=0.1)(encoder(pixels))
    assert (
        weights.shape == (2, 16, 32)
        and weights.std(1).mean() > maps.mapper(encoder)(encoder(pixels)).std(1).mean()
    )
