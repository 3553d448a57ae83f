"""The benchmark of CO-SSL's cost runs the same work, but for the local heads, and counts what
autograd keeps.
"""

import pytest

from partwhole.bench import co_ssl
from partwhole.bench.__main__ import PARTS
from partwhole.recipes import files

SMALL = [
    "data.images=260",
    "model.width=8",
    "model.blocks=[1, 1, 1, 1]",
    "method.projector=[64, 16]",
    "method.predictor=[64, 16]",
]


@pytest.fixture(scope="module")
def result():
    return co_ssl.compare(data="scenes/plain", batch=16, rounds=2, device="cpu", extra=SMALL)


def test_it_says_what_the_local_heads_add_and_fewer_positions_keep_less(result, capsys):
    for measured in result["networks"].values():
        assert all(len(values) == 2 for values in measured["seconds"].values())
        assert set(measured["added"]) == {"CO-BYOL", "4 positions"}
        held = measured["kept_bytes"]
        assert held["CO-BYOL"] > held["4 positions"] > held["BYOL"] > 0
    co_ssl.show(result)
    assert "CO-BYOL adds" in capsys.readouterr().out


def test_it_trains_byols_parameters_and_local_heads_of_the_same_size(result):
    for measured in result["networks"].values():
        level = measured["channels"] * 64 + 2 * 64 + 64 * 16 + 16 + (16 * 64 + 2 * 64 + 64 * 16 + 16)
        assert measured["parameters"]["CO-BYOL"] - measured["parameters"]["BYOL"] == level
        assert measured["parameters"]["4 positions"] == measured["parameters"]["CO-BYOL"]


def test_it_is_part_of_all_benchmarks_on_resnet_18_at_32_px():
    assert PARTS["co_ssl"] is co_ssl and co_ssl.GOAL == 0.25
    recipe = files.load(co_ssl.NETWORKS["ResNet-18"][0])
    assert (recipe.model.blocks, recipe.model.width, recipe.views.size) == ((2, 2, 2, 2), 64, 32)
