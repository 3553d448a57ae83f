"""The benchmark compares the same work, and says so when it does not."""

import pytest
import torch

from partwhole.bench.train import MATCHED, OURS, SHIPPED, Lightly, Ours, compare, recipe_for, same_work
from partwhole.data import catalogue

CPU = torch.device("cpu")


def test_both_loops_train_the_same_network_on_the_same_loss_and_the_gains_follow_from_the_rounds():
    result = compare(
        data="scenes/plain", batch=64, rounds=3, seconds=0.3, device="cpu", extra=["data.images=500"]
    )
    assert result["same_work"]["parameters"] > 100_000
    assert set(result["median"]) >= {OURS, MATCHED, SHIPPED}
    ours, theirs = (sorted(result["rounds"][name])[1] for name in (OURS, MATCHED))
    # A busy machine times nothing: speed itself is for make bench to record.
    assert result["gain_matched"] == ours / theirs > 0


def test_unequal_work_is_noticed():
    image_set = catalogue.load("scenes/plain", "train", images=100)
    recipe = recipe_for("scenes/plain", 64, "fp32", [])
    theirs = Lightly(
        recipe_for("scenes/plain", 64, "fp32", ["model.width=8"]),
        image_set,
        matched=True,
        workers=0,
        device=CPU,
    )
    with pytest.raises(AssertionError, match=r"parameters differ"):
        same_work(Ours(recipe, CPU), theirs)
    theirs = Lightly(recipe, image_set, matched=True, workers=0, device=CPU)
    theirs.criterion.temperature = 0.1
    with pytest.raises(AssertionError, match=r"not close|Mismatch"):
        same_work(Ours(recipe, CPU), theirs)
