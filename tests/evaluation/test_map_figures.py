"""Figures of alignment maps, on networks whose answer is known."""

from dataclasses import replace

import pytest
import torch

from partwhole.data.scenes import scenes
from partwhole.evaluation.map_figures import map_figures
from partwhole.methods import build
from partwhole.recipes.schema import Views
from partwhole.training.ranks import Ranks
from support.cell_colours import CellColours
from support.tiny_recipes import lewel

VIEWS = Views(size=32)


def test_maps_are_measured_on_whole_images_and_on_views():
    figures = map_figures(CellColours(), scenes(60), views=VIEWS)
    assert figures["map_inside"] == pytest.approx(figures["map_inside_even"], rel=0.3)
    assert figures["consistency"] > figures["consistency_shuffled"]  # colours are tied to places
    assert "pointing" not in map_figures(CellColours(), replace(scenes(60), boxes=None), views=VIEWS)


def test_a_method_is_left_in_the_mode_that_it_was_in_and_its_statistics_alone():
    method = build(lewel(), Ranks(0)).train()
    before = {name: value.clone() for name, value in method.state_dict().items()}
    one = map_figures(method, scenes(40), views=VIEWS)
    assert one == map_figures(method, scenes(40), views=VIEWS)
    assert all(torch.equal(value, before[name]) for name, value in method.state_dict().items())
    assert method.levels["aligned"].projector.training
