import math
from types import SimpleNamespace

import pytest
import torch
from scipy.stats import ks_2samp
from torchvision.transforms import RandomResizedCrop as Theirs
from torchvision.transforms import transforms as torchvision_transforms

from partwhole.errors import BadInput
from partwhole.views.crops import ATTEMPTS, RandomResizedCrop

SHAPES = [(32, 32), (96, 128), (375, 500), (200, 8), (8, 200), (3, 2), (1, 1)]


def uniforms(rows, seed=0):
    return torch.rand(rows, RandomResizedCrop.uniforms, generator=torch.Generator().manual_seed(seed))


def sizes(shape, rows):
    return torch.tensor([shape]).expand(rows, 2)


def theirs_with_our_numbers(monkeypatch, shape, numbers, scale, ratio):
    """torchvision's get_params, with the uniform numbers that one of our crops takes in place of its random
    ones.
    """
    numbers = numbers.double().tolist()
    areas, ratios, places = numbers[:ATTEMPTS], numbers[ATTEMPTS:-2], numbers[-2:]
    attempts = [number for pair in zip(areas, ratios) for number in pair]

    class Drawn:
        def uniform_(self, low, high):
            return torch.tensor(
                [float(low) + (float(high) - float(low)) * attempts.pop(0)], dtype=torch.float64
            )

    fake = SimpleNamespace(
        empty=lambda *_: Drawn(),
        randint=lambda low, high, size: torch.tensor([low + math.floor((high - low) * places.pop(0))]),
        exp=torch.exp,
        log=lambda values: values.double().log(),
        tensor=lambda values: torch.tensor(values, dtype=torch.float64),
    )
    with monkeypatch.context() as patch:
        patch.setattr(torchvision_transforms, "torch", fake)
        return Theirs.get_params(torch.empty(3, *shape), scale, ratio)


@pytest.mark.parametrize("shape", SHAPES)
def test_boxes_equal_torchvisions_when_given_the_same_numbers(monkeypatch, shape):
    scale, ratio, rows = (0.08, 1.0), (3 / 4, 4 / 3), 60
    u = uniforms(rows)
    ours = torch.stack(RandomResizedCrop(scale, ratio)(sizes(shape, rows), None, u), 1).tolist()
    theirs = [list(theirs_with_our_numbers(monkeypatch, shape, row, scale, ratio)) for row in u]
    assert ours == theirs


@pytest.mark.parametrize(("shape", "scale"), [((97, 131), (0.08, 1.0)), ((64, 64), (0.2, 1.0))])
def test_area_aspect_top_and_left_are_distributed_as_torchvisions(shape, scale):
    rows, ratio = 3000, (3 / 4, 4 / 3)
    torch.manual_seed(0)
    blank = torch.empty(3, *shape)
    theirs = torch.tensor([Theirs.get_params(blank, scale, ratio) for _ in range(rows)]).double()
    ours = torch.stack(RandomResizedCrop(scale, ratio)(sizes(shape, rows), None, uniforms(rows)), 1).double()
    for name, value in {
        "area": lambda box: box[:, 2] * box[:, 3],
        "aspect": lambda box: box[:, 3] / box[:, 2],
        "top": lambda box: box[:, 0],
        "left": lambda box: box[:, 1],
    }.items():
        test = ks_2samp(value(ours), value(theirs))
        assert test.pvalue > 0.01, f"{name} differs: {test}"


@pytest.mark.parametrize("shape", SHAPES)
def test_boxes_lie_inside_the_image(shape):
    top, left, height, width = RandomResizedCrop()(sizes(shape, 500), None, uniforms(500))
    assert (height >= 1).all() and (width >= 1).all() and (top >= 0).all() and (left >= 0).all()
    assert (top + height <= shape[0]).all() and (left + width <= shape[1]).all()


def test_the_largest_numbers_stay_inside():
    almost_one = torch.full((1, RandomResizedCrop.uniforms), 1 - 2**-24)
    almost_one[:, :ATTEMPTS] = 0  # a small box, placed at the far corner
    almost_one[:, ATTEMPTS:-2] = 0.5
    top, left, height, width = RandomResizedCrop()(sizes((500, 500), 1), None, almost_one)
    assert (top + height).item() == 500 and (left + width).item() == 500


def test_where_no_box_fits_the_largest_central_one_is_used():
    top, left, height, width = RandomResizedCrop()(
        torch.tensor([[100, 8], [8, 100]]), None, torch.full((2, 22), 0.999)
    )
    assert height.tolist() == [11, 8] and width.tolist() == [8, 11]
    assert top.tolist() == [44, 0] and left.tolist() == [0, 44]


def test_each_image_has_its_own_size():
    both = torch.tensor([[32, 48], [20, 10]])
    u = uniforms(2)
    together = RandomResizedCrop()(both, None, u)
    alone = [RandomResizedCrop()(both[i : i + 1], None, u[i : i + 1]) for i in range(2)]
    assert [value.tolist() for value in together] == [torch.cat(pair).tolist() for pair in zip(*alone)]


def test_wrong_numbers_and_settings_are_refused_in_one_line():
    with pytest.raises(BadInput, match=r"u has shape \(4, 3\); a crop of 4 images takes \(4, 22\)"):
        RandomResizedCrop()(sizes((32, 32), 4), None, torch.rand(4, 3))
    with pytest.raises(
        BadInput, match=r"scale is \(0, 1\); expected two positive numbers, the smaller first"
    ):
        RandomResizedCrop(scale=(0, 1))
    with pytest.raises(BadInput, match=r"ratio is \(2, 1\)"):
        RandomResizedCrop(ratio=(2, 1))
