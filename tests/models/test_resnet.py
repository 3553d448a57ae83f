"""Encoders against torchvision's own networks."""

import pytest
import torch
import torchvision

from partwhole.models.resnet import Encoder


@pytest.mark.parametrize(
    ("name", "block", "blocks"),
    [
        ("resnet18", "basic", (2, 2, 2, 2)),
        ("resnet34", "basic", (3, 4, 6, 3)),
        ("resnet50", "bottleneck", (3, 4, 6, 3)),
    ],
)
def test_with_the_imagenet_stem_it_is_torchvisions_network_parameter_by_parameter(name, block, blocks):
    theirs = getattr(torchvision.models, name)().eval()
    ours = Encoder(block, blocks, stem="imagenet").eval()
    state = {key: value for key, value in theirs.state_dict().items() if not key.startswith("fc.")}
    ours.load_state_dict(state)  # strict: the same names and shapes
    theirs.fc = torch.nn.Identity()
    pixels = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(ours(pixels).pooled, theirs(pixels))
    assert ours.channels == ours(pixels).pooled.shape[1]


def test_the_cifar_stem_keeps_32_px_until_the_stages_halve_them():
    network = Encoder(blocks=(1, 1, 1, 1), width=16)
    features = network(torch.randn(2, 3, 32, 32))
    assert features.maps.shape == (2, 128, 4, 4)
    assert network.conv1.kernel_size == (3, 3) and network.conv1.padding == (1, 1)


def test_resnet18_for_cifar_has_the_published_size():
    # Peers: 11.17 M without the classifier.
    assert sum(p.numel() for p in Encoder().parameters()) == 11_168_832


def test_pooled_is_the_mean_of_maps_over_positions():
    features = Encoder(blocks=(1, 1, 1, 1), width=4)(torch.randn(3, 3, 32, 32))
    torch.testing.assert_close(features.pooled, features.maps.mean((2, 3)))
    assert (features.maps >= 0).all()


@pytest.mark.parametrize("block", ["basic", "bottleneck"])
def test_zero_init_makes_every_residual_block_start_as_its_shortcut(block):
    network = Encoder(block, (1, 1, 1, 1), 8, zero_init_residual=True)
    last = {"basic": "bn2", "bottleneck": "bn3"}[block]
    for stage in (network.layer1, network.layer2, network.layer3, network.layer4):
        assert getattr(stage[0], last).weight.abs().max() == 0
