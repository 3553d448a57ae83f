"""The loops that the benchmark times do the library's work: same crops from the same numbers, same boxes from
the same maps.
"""

import pytest
import torch

from partwhole.bench import crops
from partwhole.models.resnet import Features
from partwhole.views import localisation
from partwhole.views.contrastive_crop import ContrastiveCrop


# Ten tries nearly always fail in the last.
@pytest.mark.parametrize("size", [(32, 32), (64, 64), (64, 32), (16, 128)])
@pytest.mark.parametrize("alpha", [0.1, 0.6, 1.0])
def test_the_loop_makes_the_library_s_crops_from_the_same_numbers(size, alpha):
    draws = torch.Generator().manual_seed(1)
    sampler = ContrastiveCrop(scale=(0.2, 1.0), alpha=alpha)
    sizes, u = torch.tensor(size).expand(500, 2), torch.rand(500, sampler.uniforms, generator=draws)
    ends = (
        torch.cat([torch.randint(0, side, (2, 500, 1), generator=draws) / side for side in size], -1)
        .sort(0)
        .values
    )
    boxes = torch.cat([ends[0], ends[1]], 1)
    boxes[:2] = torch.tensor([[0.0, 0.0, 1.0, 1.0], [0.5, 0.5, 0.5, 0.5]])  # everything, and a point
    numbers = [crops.Given(*own) for own in crops.numbers_of(u, alpha)]
    by_loop = crops.crops_by_loop(sizes, boxes, sampler, numbers)
    assert torch.equal(by_loop, torch.stack(sampler(sizes, boxes, u)))
    assert len(by_loop.T.unique(dim=0)) > 100 or size == (16, 128)


def test_the_loop_with_its_own_numbers_stays_inside_the_image():
    torch.manual_seed(0)
    sampler, sizes = ContrastiveCrop(), torch.full((200, 2), 32)
    boxes = crops.some_boxes(200, 32, torch.Generator().manual_seed(0))
    top, left, height, width = crops.crops_by_loop(sizes, boxes, sampler, [crops.Drawn(0.6)] * 200)
    assert (
        (top >= 0).all() and (left >= 0).all() and (top + height <= 32).all() and (left + width <= 32).all()
    )
    assert ((height * width >= 0.15 * 1024) & (height * width <= 1024)).all()


@pytest.mark.parametrize("threshold", [0.1, 0.3, 0.8])
def test_the_loop_finds_the_library_s_boxes_in_random_maps(threshold):
    maps = torch.rand(200, 2, 4, 4, generator=torch.Generator().manual_seed(2)) ** 8  # few positions are hot
    maps[:3] = 0
    maps[1, :, 1, 2] = 1  # one hot position; the first and the third map are constant
    by_loop = crops.boxes_by_loop(maps, 32, threshold)
    assert torch.equal(by_loop, localisation.boxes(maps, 32, threshold)[:, 0])
    assert torch.equal(by_loop[0], torch.tensor([0, 0, 31 / 32, 31 / 32]))
    assert len(by_loop.unique(dim=0)) > 10


def test_compare_says_what_crops_boxes_and_shares_cost_and_shows_it(capsys):
    small = ["data.images=260", "model.width=8"]
    result = crops.compare(
        data="scenes/plain", batch=32, images=64, rounds=2, least=0, device="cpu", extra=small
    )
    sampled, located, shares = result["crops"], result["boxes"], result["shares"]
    assert set(sampled["seconds"]) == {crops.LOOP, crops.LOOP_DRAWS, crops.BATCHED, crops.RANDOM}
    names = {crops.FORWARD, crops.BOXES, crops.BOX_LOOP, crops.BOXES_ALONE, crops.BOX_LOOP_ALONE}
    assert set(located["seconds"]) == set(located["forward_passes"]) == names
    assert sampled["equal_crops"] == 32 and located["equal_boxes"] == 64
    assert located["forward_passes"][crops.FORWARD] == 1
    assert {
        "step",
        "crops",
        "extra_crops",
        "loop_crops",
        "update_of_epoch",
        "updates_of_run",
        "goal_extra_crops",
    } == set(shares)
    assert shares["crops"] == pytest.approx(2 * sampled["seconds"][crops.BATCHED] / shares["step"])
    assert shares["updates_of_run"] == pytest.approx(4 * shares["update_of_epoch"] / 500)
    assert all(len(values) == 2 for values in sampled["rounds"].values())
    crops.show(result)
    assert "forward passes" in capsys.readouterr().out


def test_unequal_work_is_noticed(monkeypatch):
    """The comparison refuses to time a loop that does something else."""
    monkeypatch.setattr(crops, "place", lambda room, extent, first, last, x: 0)
    with pytest.raises(AssertionError, match="different crops"):
        crops.time_crops(ContrastiveCrop(), 0.6, 32, 16, torch.device("cpu"), rounds=1, least=0)
    maps = Features(torch.rand(4, 2, 4, 4), torch.rand(4, 2))
    assert torch.equal(
        crops.boxes_by_loop(maps.maps, 32, 2.0), torch.tensor([0, 0, 31 / 32, 31 / 32]).expand(4, 4)
    )
