"""The baseline without a network: against scikit-learn, and only because the mean image is taken off."""

import numpy as np
import pytest
import torch
from sklearn.neighbors import KNeighborsClassifier

from partwhole.data.image_set import ImageSet
from partwhole.errors import BadInput
from partwhole.evaluation.raw_pixels import raw_pixels


def shades(count, seed):
    """Class 1 is the bright image, whatever the noise around a common background."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(count) % 2
    images = 100 + 40 * labels[:, None, None, None] + torch.randint(20, (count, 4, 4, 3), generator=generator)
    return ImageSet(images.to(torch.uint8), labels, classes=["dark", "bright"])


def test_raw_pixels_equal_scikit_learn_on_centred_pixels():
    train, test = shades(40, seed=0), shades(20, seed=1)
    test.labels = test.labels.roll(
        3
    ).clone()  # some labels are wrong, so that the percentage is not a round one
    flat = [split.images.flatten(1).double().numpy() for split in (train, test)]
    theirs = KNeighborsClassifier(15, metric="cosine", weights=lambda distance: np.exp((1 - distance) / 0.1))
    theirs.fit(flat[0] - flat[0].mean(0), train.labels.numpy())
    expected = 100 * theirs.score(flat[1] - flat[0].mean(0), test.labels.numpy())
    assert raw_pixels(train, test, k=15) == pytest.approx(expected)


def test_raw_pixels_see_brightness_only_because_the_mean_image_is_taken_off():
    train, test = shades(40, seed=0), shades(20, seed=1)
    assert raw_pixels(train, test, k=15) == 100.0


def test_raw_pixels_without_labels_are_refused():
    train = shades(4, seed=0)
    with pytest.raises(BadInput, match="needs labels"):
        raw_pixels(train, ImageSet(train.images), k=2)
