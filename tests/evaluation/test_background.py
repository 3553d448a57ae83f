"""Diagnostics on networks whose answer is known."""

import pytest
import torch
from torch import nn

from partwhole.data.scenes import scenes
from partwhole.evaluation.background import background_share
from partwhole.evaluation.map_figures import map_figures
from partwhole.methods import build
from partwhole.models.resnet import Features
from partwhole.recipes.schema import Views
from partwhole.training.ranks import Ranks
from support.tiny_recipes import lewel

HALF = ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))


class Cells(nn.Module):
    """A network that sees mean colours of a 4 x 4 grid; weights says how much of each cell counts in the pooled vector."""

    def __init__(self, weights=None):
        super().__init__()
        self.unused, self.weights = nn.Parameter(torch.zeros(1)), weights

    def forward(self, pixels):
        maps = nn.functional.adaptive_avg_pool2d(pixels, 4)
        weighted = maps if self.weights is None else maps * self.weights
        return Features(maps, weighted.mean((2, 3)))


def test_an_object_in_the_middle_and_a_network_that_looks_there_or_elsewhere():
    inside = torch.zeros(4, 4)
    inside[1:3, 1:3] = 1
    middle = {"spread": 0.0, "object_size": (0.9, 0.95), "clutter": 1.0, "count": 400}
    there = background_share(Cells(inside), *HALF, **middle)
    everywhere, elsewhere = background_share(Cells(), *HALF, **middle), background_share(Cells(1 - inside), *HALF, **middle)
    assert there < everywhere < elsewhere and there < 0.3
    assert background_share(Cells(), *HALF, count=400, object_size=(0.1, 0.12)) > 0.9


def test_maps_are_measured_on_whole_images_and_on_views():
    found = map_figures(Cells(), scenes(60), *HALF, views=Views(size=32))
    assert found["map_inside"] == pytest.approx(found["map_inside_even"], rel=0.3)
    assert found["consistency"] > found["consistency_shuffled"]  # colours are tied to places
    boxless = scenes(60)
    boxless.boxes = None
    assert "pointing" not in map_figures(Cells(), boxless, *HALF, views=Views(size=32))


def test_a_method_is_left_in_the_mode_that_it_was_in_and_its_statistics_alone():
    method = build(lewel(), Ranks(0)).train()
    before = {name: value.clone() for name, value in method.state_dict().items()}
    one = map_figures(method, scenes(40), *HALF, views=Views(size=32))
    assert one == map_figures(method, scenes(40), *HALF, views=Views(size=32))
    assert all(torch.equal(value, before[name]) for name, value in method.state_dict().items())
    assert method.levels["aligned"].projector.training
