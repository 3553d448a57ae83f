"""Receptive fields by recursion, by gradients and by changing pixels; RF-ResNets; strided 1x1 convolutions on
a CPU.
"""

import subprocess
import sys

import pytest
import torch
import torchvision
from torch import nn

from partwhole.errors import BadInput
from partwhole.models.receptive_field import NETWORKS, ReceptiveField, measured, receptive_field, visible
from partwhole.models.resnet import Encoder, Pointwise, encoder, from_torchvision
from partwhole.models.saved import load_encoder, save_encoder, torchvision_gap
from partwhole.recipes import files
from partwhole.recipes.schema import Model

DEEP = {"block": "bottleneck", "blocks": (3, 4, 6, 3), "stem": "imagenet"}
TABLE = [  # keep, other settings, receptive field, stride, million parameters: facts page, 1.5
    (None, DEEP, 427, 32, 23.508),
    ((3, 4, 6, 3), DEEP, 427, 32, 23.508),
    ((2, 2, 1, 1), DEEP, 99, 32, 16.397),
    ((3, 4, 0, 0), DEEP, 91, 32, 14.071),
    ((1, 1, 1, 1), DEEP, 75, 32, 16.234),
    (None, {}, 109, 8, 11.17),
    ((4, 4, 4, 4), {}, 109, 8, 11.17),
    ((2, 2, 2, 2), {}, 49, 8, 5.60),
    ((4, 2, 1, 1), {}, 29, 8, 3.04),
    ((2, 3, 1, 1), {}, 29, 8, 3.11),
    ((4, 4, 1, 0), {}, 29, 8, 2.26),
    ((2, 2, 1, 1), {}, 25, 8, 2.98),
    ((1, 1, 1, 1), {}, 19, 8, 2.81),
    ((0, 1, 1, 1), {}, 17, 8, 2.78),
    ((2, 1, 1, 0), {}, 13, 8, 1.80),
    ((2, 1, 1, 1), {"last_stride": 1}, 21, 4, 2.85),
    ((2, 2, 1, 0), {"last_stride": 1}, 17, 4, 1.93),
    ((2, 1, 1, 0), {"last_stride": 1}, 13, 4, 1.80),
    ((0, 1, 1, 0), {"last_stride": 1}, 9, 4, 1.73),
]


@pytest.mark.parametrize(("keep", "others", "size", "stride", "millions"), TABLE)
def test_every_row_of_the_facts_pages_table(keep, others, size, stride, millions):
    model = Model(keep=keep, **others)
    network = encoder(model)
    assert receptive_field(network) == ReceptiveField(size, stride)
    assert model.stride == stride and model.channels == network.channels
    count = sum(parameter.numel() for parameter in network.parameters()) / 1e6
    assert count == pytest.approx(millions, abs=0.0051 if millions < 12 else 0.00051)
    assert network.eval()(torch.rand(1, 3, 2 * stride, 2 * stride)).maps.shape[1:] == (model.channels, 2, 2)


@pytest.mark.parametrize(
    "model",
    [{"keep": (4, 2, 1, 1)}, {"keep": (2, 2, 1, 0), "last_stride": 1}, {"keep": (0, 1, 1, 0), "last_stride": 1},
     {"keep": (2, 1, 1, 0)}, {"keep": (1, 1, 1, 1), "block": "bottleneck", "blocks": (1, 2, 1, 1), "stem": "imagenet"}],
)  # fmt: skip
def test_gradients_measure_what_the_recursion_says(model):
    network = encoder(Model(width=4, **model))
    field = receptive_field(network)
    side = 64 if field.size < 40 else 224
    assert measured(network, side) == field.size
    last = side // field.stride - 1
    for row, column in ((0, 0), (last, 1), (last // 2, last)):
        top, left, bottom, right = field.window(row, column, side)
        expected = torch.zeros(side, side, dtype=torch.bool)
        expected[top:bottom, left:right] = True
        assert torch.equal(visible(network, row, column, side), expected)


def test_a_window_is_that_of_the_facts_page():
    assert ReceptiveField(13, 8).window(6, 0, 64) == (42, 0, 55, 7)  # rows 42...54


def test_pixels_outside_the_window_change_nothing_and_inside_something():
    network = encoder(Model(width=4, keep=(2, 1, 1, 0))).eval()
    top, left, bottom, right = receptive_field(network).window(3, 4, 64)
    pixels = torch.rand(1, 3, 64, 64)
    inside = torch.zeros(64, 64, dtype=torch.bool)
    inside[top:bottom, left:right] = True
    with torch.no_grad():
        before = network(pixels).maps[0, :, 3, 4]
        outside = network(torch.where(inside, pixels, torch.rand_like(pixels))).maps[0, :, 3, 4]
        within = network(torch.where(inside, torch.rand_like(pixels), pixels)).maps[0, :, 3, 4]
    assert torch.equal(outside, before) and not torch.equal(within, before)


def test_in_training_mode_batchnorm_lets_a_position_see_every_image_of_the_batch():
    shares = {}
    for mode in (True, False):
        network = encoder(Model(width=16, keep=(2, 1, 1, 0))).double().train(mode)
        pixels = torch.rand(4, 3, 96, 96, dtype=torch.float64).requires_grad_()
        (gradient,) = torch.autograd.grad(network(pixels).maps[0, :, 6, 6].square().sum(), pixels)
        seen = (gradient != 0).any(1).double().mean((1, 2))
        shares[mode] = (seen[0].item(), seen[1:].max().item())
    # 1.8 % of its own image, none of the others.
    assert shares[False] == (pytest.approx(13**2 / 96**2, abs=1e-3), 0.0)
    assert min(shares[True]) > 0.99


@pytest.mark.parametrize("block", ["basic", "bottleneck"])
def test_keeping_all_is_the_standard_network(block):
    kinds = {"block": block, "blocks": (1, 2, 1, 2), "width": 8}
    torch.manual_seed(0)
    plain = Encoder(**kinds)
    torch.manual_seed(0)
    whole = Encoder(**kinds, keep=Model(**kinds).spatial_convolutions)
    for (name, one), (other, two) in zip(plain.state_dict().items(), whole.state_dict().items(), strict=True):
        assert name == other and torch.equal(one, two)


def test_a_strided_convolution_stays_3x3_where_its_stage_keeps_any():
    for model in NETWORKS.values():
        network = encoder(model)
        for stage, count in zip(network.stages, model.keep):
            strided = [m for m in stage.modules() if isinstance(m, nn.Conv2d) and m.stride == (2, 2)]
            spatial = [conv for conv in strided if conv is not stage[0].downsample[0]]
            assert all(conv.kernel_size == (3, 3) for conv in spatial) or count == 0


def test_the_named_networks_are_those_of_the_facts_page():
    found = {name: receptive_field(encoder(model)) for name, model in NETWORKS.items()}
    assert found == {"rf99_resnet50": (99, 32), "rf29_resnet18": (29, 8), "rf17_resnet18": (17, 4)}
    deep = encoder(NETWORKS["rf99_resnet50"])
    # Not the published 23.7 M.
    assert sum(p.numel() for p in deep.parameters()) == pytest.approx(24.8e6, abs=0.05e6)
    assert not deep.pools_by_mean and encoder(Model()).pools_by_mean


def test_a_head_is_what_follows_the_mean_and_lewel_refuses_it():
    network = encoder(Model(width=4, blocks=(1, 1, 1, 1), head=2)).eval()
    features = network(torch.rand(3, 3, 32, 32))
    mean = features.maps.mean((2, 3))
    torch.testing.assert_close(features.pooled, network.head(mean))
    assert [type(layer).__name__ for layer in network.head] == ["Linear", "BatchNorm1d", "ReLU", "Linear"]
    assert features.pooled.shape == mean.shape and not torch.allclose(features.pooled, mean)


@pytest.mark.parametrize("name", ["resnet18", "resnet50"])
def test_torchvisions_networks_are_encoders_with_their_own_field(name):
    theirs = getattr(torchvision.models, name)().eval()
    ours = from_torchvision(theirs)
    pixels = torch.rand(2, 3, 64, 64)
    assert receptive_field(theirs) == receptive_field(ours) == (427 if name == "resnet50" else 435, 32)
    theirs.fc = nn.Identity()
    torch.testing.assert_close(ours(pixels).pooled, theirs(pixels))


def test_export_says_where_torchvision_has_no_such_network(tmp_path):
    assert torchvision_gap(Model()) == torchvision_gap(Model(keep=(4, 4, 4, 4))) == ""
    model = Model(width=4, keep=(4, 2, 1, 1), head=2)
    assert "8 of its 3x3 convolutions are 1x1 here" in torchvision_gap(
        model
    ) and "no head" in torchvision_gap(model)
    network = encoder(model).eval()
    save_encoder(network, tmp_path / "e.safetensors", model)
    again, about = load_encoder(tmp_path / "e.safetensors")
    pixels = torch.rand(2, 3, 32, 32)
    torch.testing.assert_close(again(pixels).pooled, network(pixels).pooled, rtol=0, atol=0)
    assert about["torchvision"] == torchvision_gap(model)
    save_encoder(encoder(Model(width=4)), tmp_path / "p.safetensors", Model(width=4))
    assert "torchvision" not in load_encoder(tmp_path / "p.safetensors")[1]


@pytest.mark.parametrize("channels", [4, 64])
def test_a_sliced_1x1_convolution_equals_torchs_strided_one(channels):
    theirs, ours = (kind(channels, 8, 1, stride=2, bias=False) for kind in (nn.Conv2d, Pointwise))
    ours.load_state_dict(theirs.state_dict())
    for side in (15, 16):
        maps = torch.randn(2, channels, side, side)
        torch.testing.assert_close(ours(maps), theirs(maps))


def test_a_narrow_network_at_64_px_leaves_the_heap_alone():
    """In a process of its own: torch's strided 1x1 convolutions (2.15, CPU) would kill it."""
    code = """
import torch
from partwhole.models.resnet import Encoder
for keep in (None, (1, 0, 0, 0)):
    network = Encoder(blocks=(1, 1, 1, 1), width=8, keep=keep).to(memory_format=torch.channels_last)
    for _ in range(6):
        pixels = torch.randn(16, 3, 64, 64).contiguous(memory_format=torch.channels_last)
        network(pixels).pooled.square().sum().backward()
print("whole")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0 and done.stdout.strip() == "whole", done.stderr[-300:]


@pytest.mark.parametrize(
    ("override", "line"),
    [("model.keep=[5, 2, 2, 2]", r"keep is \[5, 2, 2, 2\], but stage 1 has only 4 3x3 convolutions"),
     ("model.keep=[1, 1, 1, -1]", "greater than or equal to 0"), ("model.keep=[1, 1]", "model.keep"),
     ("model.last_stride=3", "model.last_stride")],
)  # fmt: skip
def test_a_network_that_cannot_be_built_is_refused_in_one_line(override, line):
    with pytest.raises(BadInput, match=line) as refused:
        files.load("cifar10/byol", [override])
    assert "\n" not in str(refused.value)


def test_an_image_smaller_than_the_field_is_refused_in_one_line():
    with pytest.raises(
        BadInput, match=r"an image of 32 px is smaller than the receptive field asked for \(49 px"
    ):
        measured(encoder(Model(width=4, keep=(2, 2, 2, 2))), 32)
    with pytest.raises(BadInput, match=r"position \(4, 0\) is not on the map"):
        visible(encoder(Model(width=4)), 4, 0, 32)
