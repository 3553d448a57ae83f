"""Noise against torchvision's, a slow loop and moments; strengths against Hendrycks' published constants."""

import pytest
import torch
from torchvision.transforms.v2 import functional

from partwhole.errors import BadInput
from partwhole.evaluation.classifier import Classifier
from partwhole.evaluation.noise import KINDS, corrupted, noise_accuracy, strength
from support.linear_networks import Blocks, images, probe

PUBLISHED = {  # hendrycks/robustness: make_cifar_c.py, make_tinyimagenet_c.py, make_imagenet_c.py
    (32, "gaussian"): [0.04, 0.06, 0.08, 0.09, 0.10], (32, "shot"): [500, 250, 100, 75, 50],
    (32, "impulse"): [0.01, 0.02, 0.03, 0.05, 0.07],
    (64, "gaussian"): [0.04, 0.08, 0.12, 0.15, 0.18], (64, "shot"): [250, 100, 50, 30, 15],
    (64, "impulse"): [0.01, 0.02, 0.05, 0.08, 0.14],
    (224, "gaussian"): [0.08, 0.12, 0.18, 0.26, 0.38], (224, "shot"): [60, 25, 12, 5, 3],
    (224, "impulse"): [0.03, 0.06, 0.09, 0.17, 0.27],
}  # fmt: skip


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize(("side", "kind"), PUBLISHED)
def test_strengths_are_the_published_ones(side, kind):
    assert [strength(kind, severity, side) for severity in range(1, 6)] == PUBLISHED[side, kind]


def test_other_sides_take_those_of_the_nearest_published_side():
    for side, nearest in ((16, 32), (40, 32), (48, 64), (112, 64), (128, 224), (256, 224)):
        assert strength("gaussian", 3, side) == PUBLISHED[nearest, "gaussian"][2]


def test_gaussian_noise_is_torchvisions():
    pixels = torch.rand(4, 3, 8, 8)
    torch.manual_seed(5)
    theirs = functional.gaussian_noise(pixels, mean=0.0, sigma=0.18, clip=True)
    torch.testing.assert_close(corrupted(pixels, "gaussian", 0.18, seeded(5)), theirs, rtol=0, atol=0)


def test_shot_noise_counts_photons():
    """Poisson(x c) / c before the clip: mean x, variance x / c, and every value a multiple of 1 / c."""
    for level, photons in ((0.2, 60), (0.5, 500)):
        noisy = corrupted(torch.full((4, 3, 200, 200), level), "shot", photons, seeded())
        assert noisy.mean().item() == pytest.approx(level, abs=3e-3)
        assert noisy.var().item() == pytest.approx(level / photons, rel=0.03)
        torch.testing.assert_close((noisy * photons).round(), noisy * photons, atol=1e-3, rtol=0)


def test_impulse_noise_sets_a_share_of_values_to_black_or_white_each_channel_by_itself():
    pixels = torch.full((4, 3, 100, 100), 0.5)
    noisy = corrupted(pixels, "impulse", 0.17, seeded())
    hit = noisy != 0.5
    assert hit.double().mean().item() == pytest.approx(0.17, abs=0.005)
    assert noisy[hit].unique().tolist() == [0, 1] and noisy[hit].mean().item() == pytest.approx(0.5, abs=0.02)
    assert (hit[:, 0] & hit[:, 1]).double().mean().item() == pytest.approx(0.17**2, abs=0.005)


@pytest.mark.parametrize("kind", KINDS)
def test_noise_stays_in_range_leaves_its_input_alone_and_follows_its_seed(kind):
    pixels = torch.rand(4, 3, 16, 16)
    before = pixels.clone()
    noisy = corrupted(pixels, kind, strength(kind, 5, 224), seeded())
    assert (
        noisy.min() >= 0
        and noisy.max() <= 1
        and torch.equal(pixels, before)
        and not torch.equal(noisy, pixels)
    )
    assert torch.equal(noisy, corrupted(pixels, kind, strength(kind, 5, 224), seeded()))


def test_accuracies_are_a_slow_loops_and_clean_ones_are_without_noise():
    image_set, network = images(30), Blocks()
    classifier = Classifier(network, probe(), image_set)
    found = noise_accuracy(classifier, image_set, severities=(1, 5), batch=30, seed=3)
    pixels, generator = image_set.images.permute(0, 3, 1, 2).float() / 255, seeded(3)

    def accuracy(seen):
        scores = probe()(network(seen).pooled)
        return 100 * (scores.argmax(1) == image_set.labels).double().mean().item()

    assert found["clean"] == pytest.approx(accuracy(pixels))
    for kind in KINDS:
        expected = [
            accuracy(corrupted(pixels, kind, strength(kind, severity, 16), generator)) for severity in (1, 5)
        ]
        assert found[kind] == pytest.approx(expected)


@pytest.mark.parametrize(
    ("kind", "severity", "line"), [("gauss", 1, "unknown noise 'gauss'"), ("shot", 6, "from 1 to 5")]
)
def test_an_unknown_kind_or_severity_is_refused_in_one_line(kind, severity, line):
    with pytest.raises(BadInput, match=line) as refused:
        strength(kind, severity, 32)
    assert "\n" not in str(refused.value)
