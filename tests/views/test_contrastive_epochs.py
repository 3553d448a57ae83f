"""ContrastiveCrop over epochs: when boxes are computed and used, whose they are, what is told of them, how
they are kept.
"""

from types import SimpleNamespace

import pytest
import torch

from partwhole.views import localisation
from partwhole.views.contrastive_crop import WHOLE, ContrastiveCrop, Schedule
from support.contrastive_crops import SMALL


@pytest.mark.parametrize(
    ("epochs", "warmup", "interval", "updates", "first"),
    [(500, 0.2, 0.2, {100, 200, 300, 400}, 101), (100, 0.2, 0.2, {20, 40, 60, 80}, 21), (20, 0.2, 0.2, {4, 8, 12, 16}, 5),
     (100, 1.0, 0.2, set(), None), (100, 0.3, 0.2, {40, 60, 80}, 31), (100, 0.0, 0.5, {50}, 1), (100, 0.5, 0.5, {50}, 51),
     (100, 0.1, 0.1, set(range(10, 100, 10)), 11), (3, 0.2, 0.2, {1, 2}, 2), (2, 0.0, 0.01, {1}, 1)],
)  # fmt: skip
def test_boxes_are_used_after_the_warm_up_and_computed_at_every_interval_but_the_last(
    epochs, warmup, interval, updates, first
):
    schedule, all_epochs = Schedule(epochs, warmup, interval), range(1, epochs + 1)
    assert {epoch for epoch in all_epochs if schedule.updates(epoch)} == updates
    assert [epoch for epoch in all_epochs if schedule.uses(epoch)] == list(
        range(first or epochs + 1, epochs + 1)
    )


def started(images=6, epochs=10, **settings):
    sampler = ContrastiveCrop(**settings)
    sampler.begin(images, epochs, 32, torch.device("cpu"))
    return sampler


def look_at(*hot_cells):
    """Stands for the loop's look: the features of one image for each list of hot cells."""
    maps = torch.zeros(len(hot_cells), 2, 4, 4)
    for image, cells in zip(maps, hot_cells):
        for row, column in cells:
            image[0, row, column] = 1

    def look(read):
        look.calls += 1
        return read(SimpleNamespace(maps=maps))

    look.maps, look.calls = maps, 0
    return look


SIX = [(0, 0)], [(3, 3)], [(0, 1), (3, 1)], [], [(0, 0), (3, 3)], [(0, 0), (0, 3), (3, 0)]


def test_boxes_begin_as_the_whole_image_or_the_fixed_one():
    for box, expected in ((None, WHOLE), (SMALL, SMALL)):
        boxes = started(box=box).boxes_of(torch.tensor([4, 0]))
        assert torch.equal(boxes, torch.tensor(expected).expand(2, 4))


def test_boxes_change_after_the_scheduled_epochs_only_and_belong_to_their_images():
    sampler, look = started(), look_at(*SIX)
    for epoch in range(1, 11):
        before, calls = sampler.boxes.clone(), look.calls
        told = sampler.after_epoch(epoch, look)
        assert bool(told) == (look.calls > calls) == (epoch in {2, 4, 6, 8})
        assert torch.equal(sampler.boxes, before) == (epoch != 2)  # later updates find the same boxes again
    index = torch.tensor([3, 1, 1])
    assert (sampler.boxes_of(index) * 32).tolist() == [[0, 0, 31, 31], [21, 21, 31, 31], [21, 21, 31, 31]]


def test_the_threshold_and_the_size_of_the_views_reach_the_boxes():
    for threshold, last in ((0.1, 10), (0.5, 7)):
        sampler = started(images=1, threshold=threshold)
        sampler.after_epoch(2, look_at([(0, 0)]))
        assert (sampler.boxes_of(torch.tensor([0])) * 32).tolist() == [[0, 0, last, last]]


def test_what_is_told_of_the_boxes_equals_what_a_hand_computes():
    sampler, look = started(), look_at(*SIX)
    told = sampler.after_epoch(2, look)
    # Last less first pixel: two corners, a column, three wholes.
    areas = [10 * 10, 10 * 10, 31 * 13, 31 * 31, 31 * 31, 31 * 31]
    assert told == pytest.approx({"box_area": sum(areas) / 32**2 / 6, "box_whole": 0.5})


def test_boxes_that_all_stay_in_a_corner_are_not_the_whole_image():
    assert started().after_epoch(2, look_at(*[[(0, 0)]] * 6))["box_whole"] == 0


@pytest.mark.parametrize("settings", [{"box": SMALL}, {"warmup": 1.0}])
def test_a_fixed_box_and_random_cropping_throughout_never_look(settings):
    sampler, look = started(**settings), look_at(*SIX)
    before = sampler.boxes.clone()
    assert [sampler.after_epoch(epoch, look) for epoch in range(1, 11)] == [{}] * 10
    assert look.calls == 0 and torch.equal(sampler.boxes, before)


def test_several_regions_take_turns_over_the_epochs_and_are_never_missing():
    sampler, look = started(region="components"), look_at(*SIX)
    sampler.after_epoch(2, look)
    regions = localisation.boxes(look.maps, 32, 0.1, "components")
    seen = []
    for epoch in range(3, 15):
        sampler.before_epoch(epoch)
        seen.append(sampler.boxes_of(torch.arange(6)))
    seen = torch.stack(seen, 1)  # (image, epoch, 4)
    assert seen.isfinite().all()
    for image, count in enumerate([1, 1, 2, 1, 2, 3]):
        own = regions[image, :count]
        assert regions[image, count:].isnan().all() and {*map(tuple, seen[image].tolist())} == {
            *map(tuple, own.tolist())
        }
        for some in seen[image].split(count):  # each region once before any comes again
            assert len(some.unique(dim=0)) == count


def test_a_pair_shares_its_region_and_images_do_not_keep_step():
    sampler = started(images=4, region="components")
    sampler.after_epoch(2, look_at(*[[(0, 0), (3, 3)]] * 4))
    sampler.before_epoch(3)
    assert len(sampler.boxes_of(torch.arange(4)).unique(dim=0)) == 2
    assert torch.equal(
        sampler.boxes_of(torch.tensor([2, 2])), sampler.boxes_of(torch.tensor([2])).expand(2, 4)
    )


@pytest.mark.parametrize("region", ["closure", "components"])
def test_a_restored_sampler_goes_on_as_the_saved_one(region, tmp_path):
    saved, restored = started(region=region), started(region=region)
    saved.after_epoch(4, look_at(*SIX))
    torch.save(saved.state_dict(), tmp_path / "state.pt")
    restored.load_state_dict(torch.load(tmp_path / "state.pt"))
    fresh, index = started(region=region), torch.arange(6)
    for epoch in (5, 6, 7):
        for sampler in (saved, restored):
            sampler.before_epoch(epoch)
        assert torch.equal(restored.boxes_of(index), saved.boxes_of(index))
        assert not torch.equal(restored.boxes_of(index), fresh.boxes_of(index))


def test_what_a_captured_graph_reads_is_changed_in_place():
    sampler = started()
    held = sampler.boxes, sampler.on, sampler.turn
    sampler.before_epoch(5)
    sampler.after_epoch(6, look_at(*SIX))
    sampler.load_state_dict({"boxes": sampler.boxes + 0})
    assert all(now is then for now, then in zip((sampler.boxes, sampler.on, sampler.turn), held))
    assert sampler.on and sampler.turn == 5 and sampler.boxes.unique().numel() > 2
