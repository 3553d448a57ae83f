"""Scenes: deterministic, exactly boxed, and under control."""

import time

import numpy as np
import pytest
import torch

from partwhole.data import catalogue
from partwhole.data.scenes import CLASSES, Controls, blocks, scenes, settings, tight_boxes
from partwhole.errors import BadInput
from partwhole.evaluation.raw_pixels import raw_pixels

CROWD = {"objects": (1, 4), "object_size": (0.2, 0.5)}


def painted(count, *, size=32, seed=0, setting="plain", **controls):
    return [block for _, block in blocks(count, settings(setting, **controls), size, seed)]


def joined(count, part, **options):
    return np.concatenate([getattr(block, part) for block in painted(count, **options)])


@pytest.mark.parametrize("setting", ["plain", "nuisance"])
@pytest.mark.parametrize("controls", [{}, CROWD])
def test_the_first_images_of_a_larger_set_are_the_smaller_set(setting, controls):
    small, large = (scenes(count, setting=setting, seed=3, **controls) for count in (130, 250))
    for part in ("images", "labels", "boxes"):
        torch.testing.assert_close(
            getattr(large, part)[:130], getattr(small, part), rtol=0, atol=0, equal_nan=True
        )


def test_every_image_and_every_seed_is_another():
    first, second = scenes(300), scenes(300, seed=1)
    assert len(first.images.flatten(1).unique(dim=0)) == 300
    assert not (first.images == second.images).flatten(1).all(1).any()


def test_classes_are_balanced_and_named():
    made = scenes(500)
    assert made.labels.bincount().tolist() == [50] * 10
    assert made.classes == CLASSES and len(CLASSES) == 10 and made.name == "scenes/plain"


@pytest.mark.parametrize("size", [32, 47, 128])
def test_boxes_are_the_ends_of_the_masks(size):
    made = scenes(110, size=size, **CROWD)
    masks = joined(110, "masks", size=size, **CROWD)
    for box, mask in zip(made.boxes.flatten(0, 1), masks.reshape(-1, size, size)):
        if not mask.any():
            assert box.isnan().all()
            continue
        rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
        expected = np.array([rows[0], columns[0], rows[-1] + 1, columns[-1] + 1]) / size
        assert np.allclose(box.numpy(), expected, atol=1e-6)


def test_tight_boxes_by_hand():
    masks = np.zeros((1, 2, 8, 8), bool)
    masks[0, 0, 2:4, 5] = True
    boxes = tight_boxes(masks)
    assert boxes[0, 0].tolist() == [0.25, 0.625, 0.5, 0.75]
    assert np.isnan(boxes[0, 1]).all()


def test_masks_are_where_the_picture_changes_when_an_object_is_added():
    """The same scene with a second object differs only where that object is visible and in the shadow around
    it.
    """
    one = joined(100, "images", objects=(1, 1), object_size=(0.3, 0.4)).astype(int)
    two = joined(100, "images", objects=(2, 2), object_size=(0.3, 0.4)).astype(int)
    mask = joined(100, "masks", objects=(2, 2), object_size=(0.3, 0.4))[:, 1]
    changed = np.abs(one - two).max(3) > 0
    assert np.mean(changed[mask]) > 0.99
    reach = (
        7  # pixels: a shadow of 0.06 image sides, 2.7 times that beyond the sharpest tip, and half a pixel
    )
    near = np.zeros_like(mask)
    for down in range(-reach, reach + 1):
        for across in range(-reach, reach + 1):
            near |= np.roll(mask, (down, across), (1, 2))
    assert not changed[~near].any()


@pytest.mark.parametrize(
    ("shape", "height", "width"),
    [("disc", 0.92, 0.92), ("square", 0.7, 0.7), ("cross", 0.95, 0.95), ("arrow", 0.95, 0.7875)],
)
def test_a_box_has_the_shapes_own_extent(shape, height, width):
    made = scenes(200, size=128, rotation=0.0, object_size=(0.5, 0.5))
    boxes = made.boxes[made.labels == CLASSES.index(shape), 0] * 128
    assert (boxes[:, 2] - boxes[:, 0]).numpy() == pytest.approx(0.5 * 128 * height, abs=1.5)
    assert (boxes[:, 3] - boxes[:, 1]).numpy() == pytest.approx(0.5 * 128 * width, abs=1.5)


def test_objects_lie_inside_their_images():
    boxes = scenes(500, size=64, object_size=(0.3, 1.0), rotation=180.0, **{"objects": (1, 3)}).boxes
    seen = boxes[~boxes.isnan().any(2)]
    assert seen.min() >= 0 and seen.max() <= 1
    large = scenes(200, size=64, object_size=(0.5, 0.5), rotation=180.0)
    area = joined(200, "masks", size=64, object_size=(0.5, 0.5), rotation=180.0)[:, 0].sum((1, 2))
    for label in range(10):  # a shape cut by the border would have fewer pixels than the others of its class
        areas = area[large.labels.numpy() == label]
        assert areas.min() > 0.9 * areas.max()


def test_spread_decides_how_far_from_the_middle():
    def centres(spread):
        boxes = scenes(300, spread=spread, rotation=0.0).boxes[::10, 0]  # discs
        return (boxes[:, :2] + boxes[:, 2:]) / 2

    assert (centres(0.0) - 0.5).abs().max() < 0.02
    assert centres(1.0).std() > 1.7 * centres(0.5).std() > 0.03


def test_object_size_decides_the_area():
    small, large = (np.mean(joined(200, "masks", object_size=(share, share))[:, 0]) for share in (0.3, 0.6))
    assert large / small == pytest.approx(4, rel=0.1)


@pytest.mark.parametrize("correlation", [0.0, 0.5, 1.0])
def test_background_correlation_is_the_share_of_tied_textures(correlation):
    tied = joined(4000, "backgrounds", background_correlation=correlation) == np.arange(4000) % 10
    assert tied.mean() == pytest.approx(correlation + (1 - correlation) / 10, abs=0.03)


def test_a_background_control_leaves_the_objects_alone():
    plain, other = (joined(50, "masks", background_correlation=share) for share in (0.0, 1.0))
    assert np.array_equal(plain, other)


@pytest.mark.parametrize("setting", ["plain", "nuisance"])
def test_a_swap_puts_the_same_objects_on_the_backgrounds_of_others(setting):
    options = {"setting": setting, "clutter": 1.0, "background_correlation": 1.0}
    own, swapped = (scenes(200, swap=swap, **options) for swap in (0, 3))
    assert torch.equal(own.boxes, swapped.boxes) and torch.equal(own.labels, swapped.labels)
    masks = torch.from_numpy(joined(200, "masks", **options)[:, 0])
    # Without the outline, where both colours mix.
    inside = -torch.nn.functional.max_pool2d(-masks.float(), 3, 1, 1) > 0
    difference = (own.images[inside].int() - swapped.images[inside].int()).abs()
    # Notches, whose outline is nearer than a pixel.
    assert difference.max() <= 3 and (difference > 0).float().mean() < 0.01
    assert inside.flatten(1).any(1).float().mean() > 0.9
    # Without the shadow, which reaches farther at notches.
    outside = torch.nn.functional.max_pool2d(masks.float(), 7, 1, 3) == 0
    donors = (torch.arange(200) // 100) * 100 + (torch.arange(200) + 3) % 100
    clear = outside & outside[donors]
    assert (swapped.images[clear] != own.images[donors][clear]).any(1).float().mean() < 0.01
    assert (own.images[outside] != swapped.images[outside]).any(1).float().mean() > 0.9


def test_objects_decides_how_many():
    shapes = joined(2000, "shapes", objects=(1, 3), object_size=(0.2, 0.4))
    counts = np.bincount((shapes >= 0).sum(1), minlength=4)
    assert counts[0] == 0 and np.allclose(counts[1:] / 2000, 1 / 3, atol=0.04)
    assert np.array_equal(shapes[:, 0], np.arange(2000) % 10)
    others = shapes[:, 1:][shapes[:, 1:] >= 0]
    assert np.allclose(np.bincount(others) / len(others), 0.1, atol=0.03)


def test_small_objects_rarely_hide_each_other():
    masks = joined(500, "masks", objects=(2, 2), object_size=(0.25, 0.4), size=64)
    alone = joined(500, "masks", objects=(2, 2), object_size=(0.25, 0.4), size=64, spread=1.0)[:, 1]
    assert (masks[:, 0] & masks[:, 1]).sum() == 0, "a pixel belongs to one object"
    assert (alone.sum((1, 2)) > 0).mean() > 0.99


def test_the_weave_makes_every_background_its_own():
    """Mean colours of the outer frame: hardly any two images of nuisance are as close as two of plain usually
    are.
    """

    def frames(setting):
        images = scenes(400, setting=setting, object_size=(0.3, 0.3), spread=0.0).images.float() / 255
        corners = torch.stack(
            [images[:, :8, :8], images[:, :8, 24:], images[:, 24:, :8], images[:, 24:, 24:]], 1
        )
        return corners.mean((2, 3)).flatten(1)

    nearest = {}
    for setting in ("plain", "nuisance"):
        distance = torch.cdist(frames(setting), frames(setting))
        nearest[setting] = distance.fill_diagonal_(9).min(1).values.median().item()
    assert nearest["nuisance"] > 2 * nearest["plain"]


def test_raw_pixels_hardly_tell_the_classes_of_plain():
    """By the book's protocol: 10,000 images as the bank, k = 200. Chance is 10 %."""
    accuracy = raw_pixels(catalogue.load("scenes/plain", "train"), catalogue.load("scenes/plain", "test"))
    assert 15 < accuracy < 30


def test_ten_thousand_images_are_made_in_seconds():
    started = time.process_time()
    scenes(1000)
    assert (time.process_time() - started) * 10 < 10


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"setting": "plian"}, "unknown setting of scenes 'plian'; did you mean plain?"),
        ({"sprad": 0.5}, "unknown control of scenes 'sprad'; did you mean spread?"),
        ({"count": 0}, "scenes: count is 0; it must be at least 1"),
        ({"size": 16}, "scenes: size is 16; it must lie in 32..128"),
        ({"seed": -1}, "scenes: seed is -1; it must be 0 or above"),
        ({"background_correlation": 1.5}, "scenes: background_correlation is 1.5; it must lie in 0..1"),
        (
            {"object_size": (0.5, 0.2)},
            "scenes: object_size is (0.5, 0.2); it needs 0 < smallest <= largest <= 1",
        ),
        (
            {"object_size": 0.5},
            "scenes: object_size is 0.5; it needs two numbers, the smallest and the largest",
        ),
        ({"objects": (0, 2)}, "scenes: objects is (0, 2); it needs 1 <= fewest <= most <= 4"),
        ({"rotation": 200}, "scenes: rotation is 200; it is in degrees, 0..180"),
    ],
)
def test_a_wrong_control_is_one_line(options, text):
    with pytest.raises(BadInput) as error:
        scenes(**{"count": 10} | options)
    assert str(error.value) == text


def test_the_default_controls_are_those_of_plain():
    assert settings("plain") == Controls()
