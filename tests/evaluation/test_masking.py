"""Masks before pooling: slow loops, counts, and the limit of equal positions."""

import pytest
import torch

from partwhole.errors import BadInput
from partwhole.evaluation.classifier import Classifier
from partwhole.evaluation.masking import MASKS, masked_accuracy, outside_block, surviving, without_units
from partwhole.models.resnet import encoder
from partwhole.recipes.schema import Model
from support.linear_networks import Blocks, images, probe


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def indicator(height, width, batch=200):
    """Channel p is 1 at position p alone: a masked mean tells how much each position counts."""
    eye = torch.eye(height * width).unflatten(1, (height, width))
    return eye.expand(batch, -1, -1, -1)


@pytest.mark.parametrize("variant", MASKS)
def test_a_share_of_nothing_leaves_the_mean(variant):
    maps = torch.rand(6, 8, 4, 4)
    torch.testing.assert_close(MASKS[variant](maps, 0.0, seeded()), maps.mean((2, 3)))


@pytest.mark.parametrize(("share", "left"), [(0.25, 12), (0.5, 8), (0.75, 4), (0.9, 2), (0.99, 1)])
def test_positions_that_survive_are_so_many_and_count_alike(share, left):
    weights = surviving(indicator(4, 4), share, seeded())
    assert ((weights > 0).sum(1) == left).all()
    torch.testing.assert_close(weights[weights > 0], torch.full((200 * left,), 1 / left))
    assert (weights > 0).float().mean(0).sub(left / 16).abs().max() < 0.15  # any position, in turn
    assert len(weights.unique(dim=0)) > 10


@pytest.mark.parametrize(
    ("shape", "share", "area"),
    [
        ((4, 4), 0.25, 4),
        ((4, 4), 0.5, 8),
        ((4, 4), 0.9, 12),
        ((8, 8), 0.5, 32),
        ((7, 7), 0.75, 36),
        ((2, 3), 0.5, 3),
        ((1, 1), 0.9, 0),
    ],
)
def test_a_block_is_one_rectangle_of_the_nearest_area_anywhere(shape, share, area):
    weights = outside_block(indicator(*shape), share, seeded()).unflatten(1, shape)
    hidden = weights == 0
    assert (hidden.sum((1, 2)) == area).all()
    for one in hidden[:50]:
        rows, columns = one.any(1), one.any(0)
        assert torch.equal(one, rows[:, None] & columns) and rows.sum() * columns.sum() == area
        for line in (rows, columns):
            places = line.nonzero()[:, 0]
            assert len(places) == 0 or places[-1] - places[0] + 1 == len(places)
    if area:
        assert hidden.any(0).all()


def test_hidden_units_are_a_share_of_all_values_and_the_mean_is_right_on_average():
    maps = torch.ones(400, 8, 4, 4)
    found = without_units(maps, 0.75, seeded())
    assert found.mean().item() == pytest.approx(1, abs=0.02) and found.std() > 0.1
    torch.testing.assert_close((found * 16 * 0.25).round(), found * 16 * 0.25)


@pytest.mark.parametrize("variant", ["positions", "block"])
def test_where_all_positions_are_equal_hiding_some_changes_nothing(variant):
    vectors = torch.rand(6, 8)
    maps = vectors[:, :, None, None].expand(-1, -1, 4, 4)
    for share in (0.25, 0.5, 0.9):
        torch.testing.assert_close(MASKS[variant](maps, share, seeded()), vectors)


def test_accuracies_are_those_of_masked_means_through_head_and_probe():
    """On an encoder with a head after its pooling: the mask comes before it."""
    torch.manual_seed(0)
    image_set = images(24)
    network = encoder(Model(width=4, blocks=(1, 1, 1, 1), head=2)).eval()
    pixels, layer = image_set.images.permute(0, 3, 1, 2).float() / 255, probe(channels=32)
    with torch.no_grad():  # labels are what the probe says through the head, and it says several things
        vectors = network(pixels).pooled
        layer.bias.copy_(-layer.weight @ vectors.mean(0))
        image_set.labels[:] = layer(vectors).argmax(1)
    assert len(image_set.labels.unique()) > 1
    found = masked_accuracy(
        Classifier(network, layer, image_set), image_set, shares=(0.0, 0.5), batch=24, seed=2
    )
    with torch.no_grad():
        maps, pooled = network(pixels)
        generator, expected = seeded(2), {}
        for variant, mask in MASKS.items():
            for share in (0.0, 0.5):
                scores = layer(network.head(mask(maps, share, generator)))
                expected.setdefault(variant, []).append(
                    100 * (scores.argmax(1) == image_set.labels).double().mean().item()
                )
        clean = 100 * (layer(pooled).argmax(1) == image_set.labels).double().mean().item()
    assert found["clean"] == pytest.approx(clean) and all(
        found[v] == pytest.approx(expected[v]) for v in MASKS
    )
    assert found["clean"] == 100 and all(found[variant][0] == 100 for variant in MASKS)


@pytest.mark.parametrize("share", [-0.1, 1.0])
def test_a_share_that_leaves_nothing_is_refused_in_one_line(share):
    image_set = images(4)
    with pytest.raises(BadInput, match="at least 0 and below 1"):
        masked_accuracy(Classifier(Blocks(), probe(), image_set), image_set, shares=(share,))
