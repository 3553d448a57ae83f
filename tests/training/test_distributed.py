"""Two gloo processes at the same global batch do what one process does, for every base and objective."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from partwhole.training.ranks import Ranks
from support.tiny_recipes import METHODS
from support.two_ranks import RECIPES, one_step, recipe_of

TWO_RANKS = Path(__file__).parents[1] / "support" / "two_ranks.py"


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    file = tmp_path_factory.mktemp("ranks") / "results.pt"
    command = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--standalone",
        "--nproc-per-node",
        "2",
        str(TWO_RANKS),
    ]
    done = subprocess.run([*command, str(file)], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    return torch.load(file)


@pytest.mark.parametrize("objective", RECIPES)
@pytest.mark.parametrize("base", sorted(METHODS))
def test_two_processes_give_the_loss_and_the_gradients_of_one(two, base, objective):
    one, found = one_step(recipe_of(objective, base), Ranks(0)), two[objective, base]
    torch.testing.assert_close(found["loss"], one["loss"], atol=1e-5, rtol=1e-5)
    assert found["gradients"].keys() == one["gradients"].keys()
    assert max(gradient.abs().max() for gradient in one["gradients"].values()) > 1e-3
    rounding = 5e-5 if objective == "logo_code" else 1e-5  # its gradient is the sum of two steps' moves
    for name, gradient in one["gradients"].items():
        torch.testing.assert_close(
            found["gradients"][name], gradient, atol=rounding, rtol=1e-4, msg=lambda m, n=name: f"{n}: {m}"
        )
    assert len(one["queues"]) == (0 if base != "moco" else 2 if objective in ("lewel", "co_ssl") else 1)
    for name, queue in one["queues"].items():
        torch.testing.assert_close(found["queues"][name], queue, atol=1e-5, rtol=1e-5)


def test_two_processes_compute_the_boxes_of_one(two):
    from support.two_ranks import boxes

    one = boxes(Ranks(0))
    assert one.shape == (61, 1, 4) and one.unique(dim=0).shape[0] > 5
    # A pixel, where a map lies on the threshold.
    torch.testing.assert_close(two["boxes"], one, atol=1 / 16 + 1e-6, rtol=0)
    assert (two["boxes"] == one).float().mean() > 0.98


def test_ranks_draw_their_rows_of_what_one_process_would_draw():
    one, parts = Ranks(3), [Ranks(3, rank=rank, world=2) for rank in range(2)]
    for _ in range(2):
        whole = one.draw(8, 5)
        torch.testing.assert_close(torch.cat([part.draw(4, 5) for part in parts]), whole)
    assert torch.equal(parts[0].permutation(50), parts[1].permutation(50))
    assert parts[0].permutation(50).sort().values.equal(torch.arange(50))
