"""The benchmark of LEWEL's cost runs the same work twice, but for the aligned level, and counts what autograd
keeps.
"""

import pytest
import torch

from partwhole.bench import lewel
from partwhole.bench.timing import kept
from partwhole.recipes import files

SMALL = ["data.images=260", "model.width=8", "model.blocks=[1, 1, 1, 1]"]


@pytest.fixture(scope="module")
def result():
    return lewel.compare(data="scenes/plain", batch=16, rounds=2, device="cpu", extra=SMALL)


def test_it_says_what_the_aligned_level_adds(result, capsys):
    for found in result["networks"].values():
        assert all(len(values) == 2 for values in found["seconds"].values())
        ratios = [two / one for one, two in zip(found["seconds"]["BYOL"], found["seconds"]["LEWEL"])]
        assert min(ratios) - 1 <= found["added"] <= max(ratios) - 1
        assert found["peak_bytes"] == {"BYOL": None, "LEWEL": None}
        assert found["kept_bytes"]["LEWEL"] > found["kept_bytes"]["BYOL"] > 0
    lewel.show(result)
    assert "LEWEL adds" in capsys.readouterr().out


def test_lewel_trains_byols_parameters_and_a_second_level(result):
    for found in result["networks"].values():
        recipe = files.load(found["recipe"])
        widths = {
            "projector": (found["channels"], *recipe.method.projector),
            "predictor": (recipe.method.projector[-1], *recipe.method.predictor),
        }
        # No biases; the norm's weight and bias.
        level = sum(c * h + 2 * h + h * d for c, h, d in widths.values())
        assert found["parameters"]["LEWEL"] - found["parameters"]["BYOL"] == level


def test_kept_bytes_are_those_of_a_case_that_can_be_counted():
    """Of y = relu(x w) autograd keeps x, and y to know where it was cut; w is a parameter."""
    linear = torch.nn.Linear(8, 5, bias=False)
    x = torch.randn(3, 8)
    held, made = kept(lambda: linear(x).relu(), linear)
    assert held == 4 * (3 * 8 + 3 * 5)
    assert made.shape == (3, 5)
    with torch.no_grad():
        assert kept(lambda: linear(x).relu(), linear)[0] == 0
