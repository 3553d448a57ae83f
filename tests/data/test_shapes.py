"""Shapes: inside their radius, true distances near the outline, told apart at 32 px."""

import numpy as np
import pytest

from partwhole.data.shapes import SHAPES

LINE = np.linspace(-1.3, 1.3, 261)
X, Y = np.meshgrid(LINE, LINE)


def test_there_are_ten():
    assert len(SHAPES) == 10


@pytest.mark.parametrize("name", SHAPES)
def test_a_shape_fits_its_radius_and_fills_it(name):
    inside = SHAPES[name](X, Y) < 0
    reach = np.hypot(X, Y)[inside].max()
    assert 0.9 < reach <= 1.0
    assert inside.mean() * 2.6**2 / np.pi > 0.3, "a shape must be more than a few pixels"


@pytest.mark.parametrize("name", SHAPES)
def test_the_outline_is_at_a_distance_that_antialiasing_can_trust(name):
    """Within 0.05 of the outline the slope of the distance is 1, except along the few lines where two edges
    meet.
    """
    distance = SHAPES[name](X, Y)
    down, across = np.gradient(distance, LINE, LINE)
    near = np.abs(distance) < 0.05
    slope = np.hypot(down, across)[near]
    assert np.median(slope) == pytest.approx(1, abs=0.02)
    assert np.mean(np.abs(slope - 1) < 0.15) > 0.85


def test_no_two_shapes_look_the_same_at_any_turn():
    """Largest overlap (intersection over union) of any two shapes over 24 turns stays below 0.85."""
    worst = {}
    for first, one in SHAPES.items():
        inside = one(X, Y) < 0
        for second, other in SHAPES.items():
            if first < second:
                for turn in np.arange(24) * 2 * np.pi / 24:
                    c, s = np.cos(turn), np.sin(turn)
                    turned = other(c * X + s * Y, c * Y - s * X) < 0
                    overlap = (inside & turned).sum() / (inside | turned).sum()
                    worst[first, second] = max(overlap, worst.get((first, second), 0))
    assert max(worst.values()) < 0.85, max(worst, key=worst.get)
