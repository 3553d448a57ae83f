"""Boxes and crops against true objects: overlap by hand and by torchvision, coverage by counting pixels."""

import pytest
import torch
from torchvision.ops import box_iou

from partwhole.data.scenes import scenes
from partwhole.evaluation.localisation import around, boxes_against_truth, full, intersection, iou, pairs
from partwhole.views.crops import RandomResizedCrop
from partwhole.views.geometry import Crops

NAN = [float("nan")] * 4


def boxes(count: int, seed: int = 0) -> torch.Tensor:
    ends = torch.rand(count, 2, 2, generator=torch.Generator().manual_seed(seed)).sort(1).values
    return torch.cat([ends[:, 0], ends[:, 1]], 1)


def test_iou_equals_torchvisions():
    one, two = boxes(50), boxes(50, seed=1)
    wide = [b[:, [1, 0, 3, 2]] for b in (one, two)]  # torchvision says x first
    torch.testing.assert_close(iou(one, two), box_iou(*wide).diagonal())
    assert iou(one, two).min() == 0 < iou(one, two).max() < 1
    assert (
        intersection(torch.tensor([0.0, 0.0, 0.5, 0.5]), torch.tensor([0.25, 0.25, 1.0, 1.0])).item()
        == 1 / 16
    )


def test_the_box_around_all_objects_leaves_out_those_that_are_not_there():
    objects = torch.tensor([[[0.1, 0.2, 0.3, 0.4], [0.5, 0.1, 0.6, 0.2]], [[0.1, 0.2, 0.3, 0.4], NAN]])
    assert around(objects).tolist() == torch.tensor([[0.1, 0.1, 0.6, 0.4], [0.1, 0.2, 0.3, 0.4]]).tolist()


def test_true_boxes_found_exactly_score_one_and_whole_images_their_area():
    objects = scenes(200, objects=(1, 2), object_size=(0.2, 0.3)).boxes
    last = around(objects) - torch.tensor([0, 0, 1 / 32, 1 / 32])  # as learned boxes are kept
    torch.testing.assert_close(full(last, 32), around(objects))
    assert boxes_against_truth(last[:, None], objects, 32)["box_iou"] == pytest.approx(1)
    whole = torch.tensor([0, 0, 31 / 32, 31 / 32]).expand(200, 1, 4)
    area = around(objects).unflatten(1, (2, 2)).diff(dim=1).prod(2).mean().item()
    assert boxes_against_truth(whole, objects, 32)["box_iou"] == pytest.approx(area, abs=1e-5)


def test_each_object_is_scored_with_the_region_that_meets_it_best():
    objects = torch.tensor([[[0.0, 0.0, 0.25, 0.25], [0.5, 0.5, 1.0, 1.0]]])
    regions = torch.tensor([[[0.5, 0.5, 31 / 32, 31 / 32], [0.0, 0.0, 7 / 32, 7 / 32], NAN]])
    scores = boxes_against_truth(regions, objects, 32)
    assert scores["object_iou"] == pytest.approx(1) and scores["box_iou"] == pytest.approx(1)
    assert boxes_against_truth(regions[:, :1], objects, 32)["object_iou"] == pytest.approx(0.5)


def test_coverage_and_false_positives_by_counting_pixels():
    image_set = scenes(60, objects=(1, 3), object_size=(0.2, 0.4))
    sizes, u = torch.full((60, 2), 32), torch.rand(2, 60, 22, generator=torch.Generator().manual_seed(0))
    crop = RandomResizedCrop((0.1, 0.5))
    parts = [torch.stack(values) for values in zip(*(crop(sizes, None, view) for view in u))]
    crops = Crops(*parts, flipped=torch.zeros(2, 60, dtype=torch.bool))
    measured = pairs(crops, image_set.boxes, sizes, seen=0.25)
    for place in range(60):
        inside = torch.zeros(2, 32, 32, dtype=torch.bool)
        for view in range(2):
            top, left, height, width = (part[view, place] for part in parts)
            inside[view, top : top + height, left : left + width] = True
        overlap = (inside[0] & inside[1]).sum() / (inside[0] | inside[1]).sum()
        assert measured.overlap[place].item() == pytest.approx(overlap.item(), abs=1e-5)
        shown = False
        for number, box in enumerate(image_set.boxes[place]):
            if box.isnan().any():
                continue
            top, left, bottom, right = (32 * box).round().long()
            shares = [inside[view, top:bottom, left:right].float().mean().item() for view in range(2)]
            assert measured.coverage[:, place, number].tolist() == pytest.approx(shares, abs=1e-5)
            shown |= min(shares) >= 0.25 - 1e-6
        assert measured.false_positive[place].item() == (not shown)
    assert 0.1 < measured.false_positive.float().mean() < 0.9
