"""Boxes from feature maps: a plain loop and scipy as oracles, tables walked by hand, and what must not change
a box.
"""

from itertools import pairwise

import numpy as np
import pytest
import torch
from scipy import ndimage
from torch.nn.functional import interpolate

from partwhole.views.localisation import COMPONENTS, active, boxes, closure, components, heatmap

# Last feature map and image: CIFAR, Tiny-ImageNet, STL-10, ImageNet.
GRIDS = [(4, 32), (8, 64), (12, 96), (7, 224)]


def features(count=200, channels=6, side=4, seed=0):
    """Positive as after a last ReLU, over a background: from a single cell that is lit to all of them."""
    generator = torch.Generator().manual_seed(seed)
    maps, lit = (
        torch.rand(count, channels, side, side, generator=generator),
        torch.rand(count, 1, side * side, generator=generator),
    )
    share = torch.linspace(0, 1, count)[:, None, None] ** 3
    lit = (lit < share) | (lit == lit.amin(2, keepdim=True))
    return 0.03 * maps + maps * lit.unflatten(2, (side, side))


def hot(*cells, side=4):
    """One image's map (1, 1, side, side): one at these cells, zero elsewhere."""
    maps = torch.zeros(1, 1, side, side)
    for row, column in cells:
        maps[..., row, column] = 1
    return maps


def pixels(maps, size=32, threshold=0.1):
    """Boxes as whole pixels: first row, first column, last row, last column."""
    scaled = boxes(maps, size, threshold)[:, 0] * size
    assert torch.equal(scaled, scaled.round()), "an end is a pixel's number over the side"
    return scaled.long()


def released(maps, size, threshold):
    """The released code's update of the boxes: image by image, as the paper's page describes it."""
    found = []
    for image in maps:
        heat = image.sum(0)
        heat = heat - heat.min()
        heat = interpolate((heat / heat.max())[None, None], (size, size), mode="bilinear")[0, 0].numpy()
        rows, columns = (np.where(heat.max(axis) > threshold)[0] for axis in (1, 0))
        found.append([rows[0] / size, columns[0] / size, rows[-1] / size, columns[-1] / size])
    return torch.tensor(found, dtype=torch.float32)


@pytest.mark.parametrize("threshold", [0.05, 0.1, 0.3, 0.5])
@pytest.mark.parametrize(("side", "size"), GRIDS)
def test_boxes_equal_a_plain_loop_over_images(side, size, threshold):
    maps = features(60, side=side)
    ours = boxes(maps, size, threshold)
    assert ours.shape == (60, 1, 4) and ours.dtype == torch.float32
    assert torch.equal(ours[:, 0], released(maps, size, threshold))
    assert len(ours.unique(dim=0)) > 10, "boxes that are all alike would prove little"


@pytest.mark.parametrize("threshold", [0.05, 0.1, 0.3, 0.5])
def test_ends_lie_in_order_between_zero_and_the_last_pixel(threshold):
    top, left, bottom, right = pixels(features(), threshold=threshold).unbind(1)
    for first, last in ((top, bottom), (left, right)):
        assert (first >= 0).all() and (first <= last).all() and (last <= 31).all()
        assert first.min() == 0 and last.max() == 31, "both bounds must be met, or this shows nothing"


def test_a_higher_threshold_gives_a_box_inside_that_of_a_lower_one():
    by_threshold = [pixels(features(), threshold=k) for k in (-0.1, 0.03, 0.05, 0.1, 0.2, 0.3, 0.5)]
    for wide, narrow in pairwise(by_threshold):
        assert (narrow[:, :2] >= wide[:, :2]).all() and (narrow[:, 2:] <= wide[:, 2:]).all()
    assert not any(torch.equal(*pair) for pair in pairwise(by_threshold))


def test_below_zero_the_threshold_takes_the_whole_image():
    assert (pixels(features(), threshold=-0.01) == torch.tensor([0, 0, 31, 31])).all()
    assert (pixels(hot((1, 2)), threshold=0.0) != torch.tensor([0, 0, 31, 31])).all()  # strictly above zero


CHANGES = {
    "scaled": lambda maps: 3 * maps + 2,
    "shrunk": lambda maps: 0.1 * maps - 1,
    "channels": lambda maps: maps.flip(1),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_scale_shift_and_order_of_channels_change_nothing(change):
    assert torch.equal(pixels(change(features())), pixels(features()))
    torch.testing.assert_close(heatmap(change(features())), heatmap(features()), rtol=0, atol=1e-5)
    assert not torch.equal(pixels(-features()), pixels(features())), "a negative scale must change the boxes"


def test_a_mirrored_map_gives_the_mirrored_box():
    top, left, bottom, right = pixels(features()).unbind(1)
    assert torch.equal(pixels(features().flip(3)), torch.stack([top, 31 - right, bottom, 31 - left], 1))
    assert torch.equal(pixels(features().flip(2)), torch.stack([31 - bottom, left, 31 - top, right], 1))
    assert torch.equal(pixels(features().mT), torch.stack([left, top, right, bottom], 1))


@pytest.mark.parametrize(
    ("threshold", "centre", "corner"),
    [(0.05, (4, 27), 11), (0.1, (5, 26), 10), (0.2, (6, 25), 9), (0.3, (6, 25), 9), (0.5, (8, 23), 7)],
)
def test_hot_cells_on_a_four_by_four_map_by_hand(threshold, centre, corner):
    first, last = centre
    middle = pixels(hot((1, 1), (1, 2), (2, 1), (2, 2)), threshold=threshold)
    assert middle.tolist() == [[first, first, last, last]]
    assert pixels(hot((0, 0)), threshold=threshold).tolist() == [[0, 0, corner, corner]]
    assert pixels(hot((3, 0)), threshold=threshold).tolist() == [[31 - corner, 0, 31, corner]]


@pytest.mark.parametrize(
    ("side", "size", "threshold", "share"),
    [(4, 32, 0.05, 0.5), (4, 32, 0.1, 0.4375), (4, 32, 0.2, 0.375), (4, 32, 0.3, 0.3125), (4, 32, 0.5, 0.25),
     (8, 64, 0.1, 0.219), (12, 96, 0.1, 0.146), (7, 224, 0.1, 0.259)],
)  # fmt: skip
def test_no_box_inside_is_smaller_than_that_of_one_hot_cell(side, size, threshold, share):
    top, left, bottom, right = pixels(hot((1, 2), side=side), size, threshold)[0].tolist()
    for extent in (bottom - top + 1, right - left + 1):
        assert abs(extent / size - share) < 5e-4


def test_a_heatmap_runs_from_zero_to_one_and_sums_over_channels():
    heat = heatmap(features())
    assert torch.equal(heat.amin((1, 2)), torch.zeros(200)) and torch.equal(
        heat.amax((1, 2)), torch.ones(200)
    )
    two = torch.tensor([[[[0.0, 3.0], [1.0, 0.0]], [[2.0, 3.0], [3.0, 4.0]]]])  # sums 2, 6, 4, 4
    assert heatmap(two).tolist() == [[[0.0, 1.0], [0.5, 0.5]]]
    assert heatmap(two.half()).dtype == torch.float32


@pytest.mark.parametrize("value", [0.0, 0.7])
@pytest.mark.parametrize("region", ["closure", "components"])
def test_a_constant_map_gives_the_whole_image(value, region):
    maps = torch.full((2, 3, 4, 4), value)
    assert (heatmap(maps) == 0).all()
    assert (boxes(maps, 32, 0.1, region)[:, 0] == torch.tensor([0, 0, 31 / 32, 31 / 32])).all()


def test_one_constant_map_leaves_the_others_alone():
    maps = torch.cat([hot((0, 0)), torch.ones(1, 1, 4, 4), hot((3, 3))])
    assert pixels(maps).tolist() == [[0, 0, 10, 10], [0, 0, 31, 31], [21, 21, 31, 31]]
    assert torch.equal(boxes(maps, 32, 0.1, "components")[:, 0], boxes(maps, 32, 0.1)[:, 0])


def test_a_threshold_above_the_enlarged_peak_gives_the_whole_image():
    peak = (1 - 1 / 16) ** 2  # what a single cell is left with after enlarging eight times
    assert pixels(hot((1, 1)), threshold=peak - 1e-4).tolist() == [[11, 11, 12, 12]]
    assert pixels(hot((1, 1)), threshold=peak + 1e-4).tolist() == [[0, 0, 31, 31]]


def test_only_what_is_above_the_threshold_is_active():
    heat = torch.tensor([[[0.0, 0.5], [1.0, 0.75]]])
    assert active(heat, 2, 0.5).tolist() == [[[False, False], [True, True]]]
    assert active(heat, 2, 0.4999).tolist() == [[[False, True], [True, True]]]


def test_two_blobs_have_one_closure_and_two_components():
    maps = hot((0, 0), (3, 3))
    assert pixels(maps).tolist() == [[0, 0, 31, 31]]
    found = boxes(maps, 32, 0.1, "components")[0] * 32
    assert found[:2].tolist() == [[0, 0, 10, 10], [21, 21, 31, 31]]
    assert found.shape == (COMPONENTS, 4) and found[2:].isnan().all()


def with_scipy(mask, most):
    """Boxes of the connected regions: the largest first, of equal ones that whose last pixel comes first."""
    label, count = ndimage.label(mask)
    regions = [np.argwhere(label == number) for number in range(1, count + 1)]
    regions.sort(key=lambda places: (-len(places), tuple(places[-1])))
    found = [[*places.min(0), *places.max(0)] for places in regions[:most]]
    return np.array(found + [[np.nan] * 4] * (most - len(found)), dtype=np.float32) / len(mask)


def snake(side):
    """A path of one region through the whole image, whose ends are as far apart as they can be."""
    mask = torch.zeros(side, side, dtype=torch.bool)
    mask[::2] = True
    mask[1::4, -1] = mask[3::4, 0] = True
    return mask


@pytest.mark.parametrize("share", [0.1, 0.3, 0.5, 0.6])
@pytest.mark.parametrize("most", [1, COMPONENTS])
def test_components_equal_scipys(share, most):
    masks = torch.rand(60, 17, 17, generator=torch.Generator().manual_seed(0)) < share
    theirs = np.stack([with_scipy(mask, most) for mask in masks.numpy()])
    np.testing.assert_array_equal(components(masks, most).numpy(), theirs)


def test_components_follow_a_winding_region_and_leave_out_what_is_missing():
    masks = torch.stack(
        [snake(17), ~snake(17), torch.zeros(17, 17, dtype=torch.bool), torch.ones(17, 17, dtype=torch.bool)]
    )
    np.testing.assert_array_equal(
        components(masks).numpy(), np.stack([with_scipy(mask, COMPONENTS) for mask in masks.numpy()])
    )
    assert components(masks)[2].isnan().all() and components(masks)[[0, 1, 3], 0].isfinite().all()


def test_pixels_that_touch_at_a_corner_only_are_not_connected():
    diagonal = torch.eye(4, dtype=torch.bool)[None]
    assert (components(diagonal)[0] * 4).tolist() == [[i, i, i, i] for i in range(4)]


def test_the_closure_encloses_every_component_and_equals_that_of_a_single_one():
    masks = torch.rand(200, 9, 9, generator=torch.Generator().manual_seed(1)) < 0.3
    masks |= ~masks.any((1, 2), keepdim=True)
    whole, parts = closure(masks), components(masks, 81)
    lowest, highest = parts[..., :2].nan_to_num(2).amin(1), parts[..., 2:].nan_to_num(-1).amax(1)
    assert torch.equal(whole, torch.cat([lowest, highest], 1))
