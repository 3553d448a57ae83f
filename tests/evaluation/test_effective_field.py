"""The effective receptive field: closed forms of linear networks, and nothing outside the field by
recursion.
"""

import pytest
import torch

from partwhole.errors import BadInput
from partwhole.evaluation.receptive_field import effective_area, gradient_map
from partwhole.models.receptive_field import receptive_field
from partwhole.models.resnet import encoder
from partwhole.recipes.schema import Model
from support.linear_networks import Blocks, images


def test_a_position_that_averages_a_block_has_its_gradient_there_evenly():
    found = gradient_map(Blocks(4), images(7), batch=3)
    expected = torch.zeros(16, 16)
    expected[8:12, 8:12] = 1 / 16
    torch.testing.assert_close(found, expected)
    corner = gradient_map(Blocks(4), images(7), place=(0, 3))
    assert corner[:4, 12:].sum().item() == pytest.approx(1)


def test_no_gradient_lies_outside_the_field_by_recursion():
    network = encoder(Model(width=8, keep=(2, 1, 1, 0))).train()
    found = gradient_map(network, images(4, side=48), place=(2, 4))
    top, left, bottom, right = receptive_field(network).window(2, 4, 48)
    assert found[top:bottom, left:right].sum().item() == pytest.approx(
        1
    ) and found.sum().item() == pytest.approx(1)
    assert network.training and all(p.grad is None for p in network.parameters())


def test_an_area_holds_so_much_of_the_map():
    even = torch.full((10, 10), 0.01)
    assert effective_area(even, 0.5) == 0.5 and effective_area(even, 0.955) == 0.96
    point = torch.zeros(10, 10)
    point[3, 3] = 1
    assert effective_area(point) == 0.01


def test_a_place_off_the_map_is_refused_in_one_line():
    with pytest.raises(BadInput, match=r"place is \(4, 0\), but the map has 4 x 4 positions"):
        gradient_map(Blocks(4), images(2), place=(4, 0))
