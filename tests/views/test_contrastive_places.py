"""One crop by ContrastiveCrop: the released code's, image by image; its bounds, ends and mirror image; random
where it must be.
"""

import math

import pytest
import torch
from scipy import stats

from partwhole.errors import BadInput
from partwhole.views.contrastive_crop import WHOLE, Beta, ContrastiveCrop
from partwhole.views.crops import ATTEMPTS
from support.contrastive_crops import (
    ALMOST_ONE,
    CENTRE,
    CORNER,
    FAR_CORNER,
    RANDOM,
    ROUNDINGS,
    SMALL,
    crops,
    ends,
    uniforms,
)

BOXES = [  # around everything (twice), in corners, central, a point, a line, reversed, and the far corner's point
    WHOLE,
    (0, 0, 31 / 32, 31 / 32),
    CORNER,
    FAR_CORNER,
    CENTRE,
    (0.5, 0.2, 0.5, 0.2),
    (0.1, 0.9, 0.8, 0.9),
    (0.6, 0.5, 0.4, 0.45),
    (1, 1, 1, 1),
]


def released(shape, boxes, u, alpha):
    """Crops one by one as the paper's page describes the released code, from the same uniform numbers."""
    (tall, wide), made = shape, []
    # Torch's Beta gives no more.
    shares = stats.beta.ppf(u[:, -2:].double().numpy(), alpha, alpha).clip(max=ALMOST_ONE)
    for box, numbers, (down, across) in zip(boxes.tolist(), u.tolist(), shares):
        for area, aspect in zip(numbers[:ATTEMPTS], numbers[ATTEMPTS:-2]):
            area = tall * wide * (0.2 + 0.8 * area)
            aspect = math.exp(math.log(3 / 4) + math.log(16 / 9) * aspect)
            width, height = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
            if 0 < width <= wide and 0 < height <= tall:
                h0, h1 = (min(max(int(tall * end) - height // 2, 0), tall - height) for end in box[0::2])
                w0, w1 = (min(max(int(wide * end) - width // 2, 0), wide - width) for end in box[1::2])
                made.append((h0 + int((h1 - h0) * down), w0 + int((w1 - w0) * across), height, width))
                break
        else:  # nothing fits: the central crop, the whole of a square image
            height, width = min(tall, round(wide * 4 / 3)), min(wide, round(tall * 4 / 3))
            made.append(((tall - height) // 2, (wide - width) // 2, height, width))
    return torch.tensor(made).T


@pytest.mark.parametrize("alpha", [0.1, 0.6, 1.0])
@pytest.mark.parametrize("shape", [(32, 32), (48, 64), (375, 500), (40, 9)])
def test_official_crops_equal_a_plain_loop_over_images(shape, alpha):
    rows, room = 1000, torch.tensor(shape)
    corners = torch.rand(rows, 2, 2, generator=torch.Generator().manual_seed(3)).sort(1).values
    # Half a pixel from where float32 decides what int() gives.
    boxes = (((corners * room).floor() + 0.5) / room).flatten(1)
    boxes[::10] = torch.tensor(WHOLE)
    ours = crops(ContrastiveCrop(alpha=alpha), boxes, shape, rows)
    assert torch.equal(ours, released(shape, boxes, uniforms(rows), alpha))
    assert not torch.equal(ours, released(shape, boxes, uniforms(rows), alpha + 0.2))


@pytest.mark.parametrize("rounding", ROUNDINGS)
@pytest.mark.parametrize("shape", [(32, 32), (48, 96), (375, 500), (200, 8), (3, 2), (1, 1)])
def test_crops_lie_in_the_image_and_are_as_large_as_random_ones(shape, rounding):
    u = uniforms(6000).clone()
    u[:1500, -2:], u[1500:3000, -2:] = 0, ALMOST_ONE
    boxes = torch.rand(6000, 4, generator=torch.Generator().manual_seed(3))  # half of them reversed
    boxes[::2] = torch.tensor(BOXES).repeat(334, 1)[:3000]
    top, left, height, width = crops(ContrastiveCrop(alpha=0.1, rounding=rounding), boxes, shape, u=u)
    assert (
        (top >= 0).all()
        and (left >= 0).all()
        and (top + height <= shape[0]).all()
        and (left + width <= shape[1]).all()
    )
    assert (height >= 1).all() and (width >= 1).all()
    assert torch.equal(torch.stack([height, width]), crops(RANDOM, shape=shape, u=u)[2:])


@pytest.mark.parametrize("shape", [(32, 32), (48, 64), (375, 500)])
def test_area_and_aspect_keep_their_bounds_up_to_rounding(shape):
    _, _, height, width = crops(ContrastiveCrop(), CENTRE, shape).double()
    half = 0.5 * (height + width) + 0.25  # what half a pixel a side adds to an area
    assert (height * width >= 0.2 * math.prod(shape) - half).all() and (
        height * width <= math.prod(shape)
    ).all()
    assert ((width + 0.5) / (height - 0.5) >= 3 / 4).all() and ((width - 0.5) / (height + 0.5) <= 4 / 3).all()
    assert (height * width).min() < 0.22 * math.prod(shape) and (
        (width / height).max() > 1.3 and (width / height).min() < 0.77
    )


def test_areas_and_sides_are_those_measured():
    _, _, height, width = crops(ContrastiveCrop(), rows=60_000).double()
    assert abs((height * width).mean() / 1024 - 0.551) < 2e-3 and abs(height.mean() - 23.37) < 0.05
    u = uniforms(60_000)
    area, aspect = 1024 * (0.2 + 0.8 * u[:, 0]), (u[:, ATTEMPTS] * math.log(16 / 9) + math.log(3 / 4)).exp()
    first = ((area * aspect).sqrt().round() <= 32) & ((area / aspect).sqrt().round() <= 32)
    assert abs(first.double().mean() - 0.8685) < 5e-3


@pytest.mark.parametrize("rounding", ROUNDINGS[:2])
@pytest.mark.parametrize("side", [0.0, 0.3, 0.5, 0.97, 1.0])
def test_in_a_box_without_extent_only_the_crops_size_decides(side, rounding):
    for last in (side, side / 2):  # a reversed box counts as a point, its first end
        top, left, height, width = crops(ContrastiveCrop(rounding=rounding), (side, side, last, last))
        for first, extent in ((top, height), (left, width)):
            assert torch.equal(first, ends(extent, (side,))[0])


@pytest.mark.parametrize("box", [WHOLE, CORNER, CENTRE, SMALL])
def test_u_of_zero_gives_the_first_place_and_of_almost_one_the_last_but_one_or_the_last(box):
    u = uniforms(2000).clone()
    for rounding, short in (("official", 1), ("unbiased", 0)):
        sampler = ContrastiveCrop(alpha=0.1, rounding=rounding)
        u[:, -2:] = 0
        lowest, _, height, _ = crops(sampler, box, u=u)
        u[:, -2:] = ALMOST_ONE
        highest = crops(sampler, box, u=u)[0]
        first, last = ends(height, box[0::2])
        assert (
            (last > first).any()
            and torch.equal(lowest, first)
            and torch.equal(highest, torch.maximum(first, last - short))
        )


@pytest.mark.parametrize("rounding", ROUNDINGS[:2])
def test_where_no_border_clips_the_centre_lies_in_the_box(rounding):
    low, high = 0.25, 0.72
    top, left, height, width = crops(
        ContrastiveCrop(alpha=0.1, rounding=rounding), (low, low, high, high), (96, 96), 8000
    )
    for first, extent in ((top, height), (left, width)):
        clipped = (int(96 * low) - extent // 2 < 0) | (int(96 * high) - extent // 2 > 96 - extent)
        centre = first + extent // 2
        assert (~clipped).sum() > 500 and ((centre >= int(96 * low)) & (centre <= int(96 * high)))[
            ~clipped
        ].all()
        assert centre[~clipped].min() == int(96 * low) and centre[~clipped].max() >= int(96 * high) - 1


def test_near_a_border_three_of_four_centres_lie_outside_the_box_and_farther_in_none():
    for (low, high), expected in (((0, 0.3), 0.25), ((0.25, 0.72), 1.0)):
        top, _, height, _ = crops(ContrastiveCrop(), (low, low, high, high), rows=60_000)
        centre = top + height // 2
        assert abs(((centre >= int(32 * low)) & (centre <= int(32 * high))).double().mean() - expected) < 0.01


@pytest.mark.parametrize("rounding", ROUNDINGS)
def test_a_mirrored_box_and_number_give_the_mirrored_crop_within_a_pixel(rounding):
    rows, u = 4000, uniforms(4000).clone()
    boxes = (
        torch.randint(0, 33, (rows, 2, 2), generator=torch.Generator().manual_seed(3))
        .sort(1)
        .values.flatten(1)
        / 32
    )
    sampler = ContrastiveCrop(rounding=rounding)
    top, left, height, width = crops(sampler, boxes, u=u)
    u[:, -2:] = 1 - u[:, -2:]
    above, before, *_ = crops(sampler, 1 - boxes[:, [2, 3, 0, 1]], u=u)
    for moved in (above - (32 - height - top), before - (32 - width - left)):
        assert moved.abs().max() == 1


def test_around_everything_unbiased_crops_mirror_exactly_and_official_ones_lean_to_the_top_left():
    u = uniforms(60_000)
    other = torch.cat([u[:, :-2], 1 - u[:, -2:]], 1)
    for rounding, exact, centre in (("unbiased", True, 0.5), ("official", False, 0.485)):
        (top, _, height, _), (above, *_) = (
            crops(ContrastiveCrop(rounding=rounding), u=numbers) for numbers in (u, other)
        )
        assert torch.equal(above, 32 - height - top) == exact
        assert abs(((top + height / 2) / 32).mean() - centre) < 1e-3


@pytest.mark.parametrize("side", [32, 64, 96, 224])
def test_a_boxs_share_in_float32_costs_a_pixel_in_the_released_rounding_only(side):
    index = torch.arange(side)
    shares, one = (index / side).float(), torch.ones(side, dtype=torch.int64)
    room = torch.full((side,), side).double()
    ends, u = torch.stack([shares, shares], 1), torch.full((side,), 0.3)
    unbiased, official = (
        ContrastiveCrop(rounding=how).starts(room, one.double(), ends, u) for how in ("unbiased", "official")
    )
    assert torch.equal(unbiased.long(), index)
    # Int(h * box[0]) on float32 shares.
    released = torch.tensor([int(side * share) for share in shares.tolist()])
    assert torch.equal(official.long(), released)
    assert (released != index).sum() == {32: 0, 64: 0, 96: 31, 224: 93}[side]


@pytest.mark.parametrize("alpha", [0.1, 0.6])
def test_corner_boxes_never_leave_the_image_as_they_did_before_the_border_was_mended(alpha):
    for box, before in ((CORNER, {0.1: 0.34, 0.6: 0.41}[alpha]), (FAR_CORNER, 0.68)):
        top, _, height, _ = crops(ContrastiveCrop(alpha=alpha), box, rows=60_000)
        assert ((top >= 0) & (top <= 32 - height)).all()
        first = (int(32 * box[0]) - height // 2).clamp(min=0)  # each end was clamped on one side only
        last = (int(32 * box[2]) - height // 2).minimum(32 - height)
        old = first + ((last - first) * Beta(alpha)(uniforms(60_000)[:, -2]).clamp(max=ALMOST_ONE)).trunc()
        assert abs(((old < 0) | (old > 32 - height)).double().mean() - before) < 0.012


def test_a_missing_box_is_refused_in_one_line():
    with pytest.raises(
        BadInput, match=r"needs a box for each image; pass boxes \(B, 4\): top, left, bottom, right"
    ):
        ContrastiveCrop()(torch.tensor([[32, 32]]), None, uniforms(1))


@pytest.mark.parametrize("shape", [(32, 32), (96, 96), (224, 224), (375, 500), (8, 200)])
def test_without_localisation_and_suppression_it_is_a_random_resized_crop(shape):
    u = uniforms(60_000)
    ours = crops(ContrastiveCrop(alpha=1, rounding="unbiased"), shape=shape, u=u)
    assert torch.equal(ours, crops(RANDOM, shape=shape, u=u))
    if shape != (8, 200):  # there nothing fits and all crops are central
        assert not torch.equal(ours, crops(ContrastiveCrop(alpha=1), shape=shape, u=u))


@pytest.mark.parametrize("rounding", ROUNDINGS)
def test_during_warm_up_it_is_a_random_resized_crop(rounding):
    sampler = ContrastiveCrop(alpha=0.1, box=SMALL, rounding=rounding)
    sampler.begin(4000, 10, 32, torch.device("cpu"))
    for epoch in range(1, 11):
        sampler.before_epoch(epoch)
        ours = crops(sampler, sampler.boxes_of(torch.arange(4000)))
        assert torch.equal(ours, crops(RANDOM)) == (epoch <= 2)


def test_compiled_once_it_follows_the_epochs():
    sampler = ContrastiveCrop()
    sampler.begin(50, 10, 32, torch.device("cpu"))
    compiled = torch.compile(sampler.__call__, fullgraph=True, backend="eager")
    for epoch in (1, 2, 3, 4):
        sampler.before_epoch(epoch)
        assert torch.equal(crops(compiled, CENTRE, rows=50), crops(sampler, CENTRE, rows=50)), (
            f"epoch {epoch}"
        )
