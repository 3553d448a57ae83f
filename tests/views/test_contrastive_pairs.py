"""Pairs of crops by ContrastiveCrop: how much they overlap, as measured for the paper's page; what they keep
of an object.
"""

from itertools import pairwise

import pytest
import torch

from partwhole.recipes.contrastive_crop import ContrastiveCrop as Settings
from partwhole.recipes.schema import Jitter, Views
from partwhole.views.augment import Augment
from partwhole.views.contrastive_crop import WHOLE, ContrastiveCrop
from support.contrastive_crops import (
    CENTRE,
    CORNER,
    RANDOM,
    ROUNDINGS,
    SMALL,
    crops,
    ends,
    mean_overlap,
    overlap,
    pairs,
)


@pytest.mark.parametrize(
    ("settings", "box", "side", "expected"),
    [({"alpha": 0.1}, WHOLE, 32, 0.4495), ({"alpha": 0.3}, WHOLE, 32, 0.468), ({"alpha": 0.4}, WHOLE, 32, 0.477),
     ({"alpha": 0.6}, WHOLE, 32, 0.4916), ({"alpha": 0.8}, WHOLE, 32, 0.5037), ({"alpha": 1}, WHOLE, 32, 0.5136),
     ({"alpha": 1.5}, WHOLE, 32, 0.534), ({"alpha": 2}, WHOLE, 32, 0.548),
     ({"alpha": 1}, WHOLE, 64, 0.510), ({"alpha": 1}, WHOLE, 96, 0.509), ({"alpha": 1}, WHOLE, 224, 0.508),
     ({"alpha": 0.1}, CENTRE, 32, 0.452), ({"alpha": 0.6}, CENTRE, 32, 0.493), ({"alpha": 1}, CENTRE, 32, 0.515),
     ({"alpha": 0.1}, SMALL, 32, 0.527), ({"alpha": 0.6}, SMALL, 32, 0.555), ({"alpha": 1}, SMALL, 32, 0.568),
     ({"alpha": 0.1}, CORNER, 32, 0.634), ({"alpha": 1}, CORNER, 32, 0.634),
     ({"alpha": 0.1, "rounding": "unbiased"}, WHOLE, 32, 0.425), ({"alpha": 0.6, "rounding": "unbiased"}, WHOLE, 32, 0.470),
     ({"alpha": 1, "rounding": "unbiased"}, WHOLE, 32, 0.496), ({"alpha": 0.6, "rounding": "clip_after"}, WHOLE, 32, 0.430)],
)  # fmt: skip
def test_pairs_overlap_as_much_as_measured(settings, box, side, expected):
    assert mean_overlap(ContrastiveCrop(**settings), box, side) == pytest.approx(expected, abs=0.0035)


@pytest.mark.parametrize(("side", "expected"), [(32, 0.4957), (64, 0.501), (96, 0.503), (224, 0.505)])
def test_random_pairs_overlap_as_much_as_measured(side, expected):
    assert mean_overlap(RANDOM, side=side) == pytest.approx(expected, abs=0.0035)


def test_few_pairs_share_nothing_and_the_fewer_the_larger_alpha():
    samplers = [ContrastiveCrop(alpha=alpha) for alpha in (0.1, 0.3, 0.4, 0.6, 0.8, 1)] + [RANDOM]
    missed = [(overlap(*pairs(sampler)) == 0).double().mean().item() for sampler in samplers]
    assert missed == pytest.approx([0.0079, 0.0040, 0.0027, 0.0015, 0.0009, 0.0005, 0.0010], abs=9e-4)
    assert missed[:6] == sorted(missed[:6], reverse=True)


@pytest.mark.parametrize("box", [WHOLE, CENTRE, SMALL])
@pytest.mark.parametrize("rounding", ROUNDINGS)
def test_pairs_overlap_more_the_larger_alpha_until_localisation_alone_exceeds_random_cropping(box, rounding):
    samplers = [ContrastiveCrop(alpha=alpha, rounding=rounding) for alpha in (0.1, 0.3, 0.6, 1.0, 2.0)]
    *by_alpha, random = (mean_overlap(sampler, box, rows=8000) for sampler in [*samplers, RANDOM])
    assert all(low + 0.001 < high for low, high in pairwise(by_alpha))
    if rounding == "official":
        assert by_alpha[3] > random + 0.01 and (by_alpha[0] < random - 0.02) == (box != SMALL)


def test_a_box_in_the_corner_leaves_nearly_every_crop_a_single_place_so_that_alpha_does_nothing():
    _, _, height, _ = crops(ContrastiveCrop(), CORNER, rows=60_000)
    first, last = ends(height, CORNER[0::2])
    assert (
        abs((first == last).double().mean() - 0.85) < 0.01
        and abs((last - first).double().mean() - 0.2) < 0.03
    )
    assert (
        abs(mean_overlap(ContrastiveCrop(alpha=0.1), CORNER) - mean_overlap(ContrastiveCrop(alpha=1), CORNER))
        < 5e-4
    )


def test_a_perfect_box_keeps_an_object_that_random_crops_miss():
    low, high = 0.55 * 32, 0.85 * 32

    def seen(sampler):
        """How much of the object each crop covers."""
        top, left, height, width = crops(sampler, (0.55, 0.55, 0.85, 0.85), rows=60_000)
        rows, columns = (
            (a + b).clamp(max=high) - a.clamp(min=low) for a, b in ((top, height), (left, width))
        )
        return rows.clamp(min=0) * columns.clamp(min=0) / (high - low) ** 2

    random = seen(RANDOM)
    assert abs(random.mean() - 0.747) < 5e-3 and abs((random == 0).double().mean() - 0.037) < 3e-3
    for alpha in (0.1, 0.6, 1.0):
        ours = seen(ContrastiveCrop(alpha=alpha))
        assert 0.96 < ours.mean() < 0.985 and ours.min() > 0


def views_of(count=3000, box=None, **settings):
    """Both views' crops of plain images, all of one size of crop, so that only their places vary."""
    views = Views(
        size=1,
        scale=(0.25, 0.25),
        ratio=(1, 1),
        flip=0,
        jitter=Jitter(probability=0),
        grayscale=0,
        sampler="contrastive_crop",
        contrastive_crop=Settings(**settings),
    )
    augment, images = Augment(views, (0, 0, 0), (1, 1, 1)), torch.zeros(count, 32, 32, 3, dtype=torch.uint8)
    boxes = torch.tensor(box or WHOLE, dtype=torch.float32).expand(count, 4)
    u = torch.rand(count, augment.uniforms, generator=torch.Generator().manual_seed(5))
    return augment(images, u, torch.arange(count), boxes=boxes).globals


def test_both_views_take_the_same_box_and_places_of_their_own():
    views = views_of(alpha=0.6)
    places = torch.stack(
        [*views.crops.top, *views.crops.left]
    ).double()  # top of both views, then left of both
    assert (places.std(1) > 4).all()
    assert (places.corrcoef().triu(1).abs() < 4 / 3000**0.5).all(), "places must be independent"
    point = views_of(50, box=(0.4, 0.6, 0.4, 0.6))
    assert (point.crops.top == 12 - 8).all() and (point.crops.left == 19 - 8).all()


def test_a_recipes_settings_reach_the_sampler():
    sharp, blunt = (views_of(2000, alpha=alpha).crops.top[0] == 0 for alpha in (0.1, 0.6))
    assert sharp.double().mean() > 1.5 * blunt.double().mean()
    assert (
        views_of(2000, rounding="official").crops.top.max() == 15
        and views_of(2000, rounding="unbiased").crops.top.max() == 16
    )
    assert views_of(2000, sigma=0.05).crops.top.double().std() < 1
