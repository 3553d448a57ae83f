"""PGD against a linear model's closed form; its bounds; accuracy that falls with radius and steps."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from partwhole.errors import BadInput
from partwhole.evaluation.attack import attack_accuracy, attacked
from partwhole.evaluation.classifier import Classifier
from partwhole.models.resnet import encoder
from partwhole.recipes.schema import Model
from support.linear_networks import Blocks, images, probe


class Flat(nn.Module):
    """A linear classifier of all pixels."""

    def __init__(self, classes=3, side=4):
        super().__init__()
        self.linear = nn.Linear(3 * side * side, classes).double()

    def forward(self, pixels):
        return self.linear(pixels.flatten(1))


@pytest.fixture
def flat():
    torch.manual_seed(0)
    return Flat(), torch.rand(5, 3, 4, 4, dtype=torch.float64), torch.tensor([0, 1, 2, 0, 1])


@pytest.fixture
def convolutional():
    """A small ResNet in evaluation mode and a probe, as one."""
    torch.manual_seed(0)
    return Classifier(encoder(Model(width=4, blocks=(1, 1, 1, 1))), probe(channels=32), images(40))


def test_one_step_on_a_linear_model_is_its_closed_form(flat):
    """d cost / dx = W^T (softmax(Wx + b) - onehot(y)); the step is its sign, projected to the cube and to [0,
    1].
    """
    model, pixels, labels = flat
    radius = 8 / 255
    with torch.no_grad():
        slope = (model(pixels).softmax(1) - F.one_hot(labels, 3)) @ model.linear.weight
        expected = (pixels + (0.4 * radius * slope.sign()).unflatten(1, (3, 4, 4))).clamp(0, 1)
    found = attacked(model, pixels, labels, radius=radius, steps=1, step=0.4 * radius)
    torch.testing.assert_close(found, expected, rtol=0, atol=0)


def test_with_two_classes_it_ends_in_the_corner_of_the_cube_that_costs_most():
    torch.manual_seed(1)
    model = Flat(classes=2)
    pixels, labels = torch.rand(4, 3, 4, 4, dtype=torch.float64), torch.tensor([0, 1, 1, 0])
    weight = model.linear.weight.detach()
    towards = (
        torch.where(labels[:, None] == 0, weight[1] - weight[0], weight[0] - weight[1])
        .sign()
        .unflatten(1, (3, 4, 4))
    )
    start = 2 * torch.rand(pixels.shape, dtype=torch.float64) - 1
    for begin in (None, start):
        found = attacked(model, pixels, labels, radius=0.02, steps=20, start=begin)
        torch.testing.assert_close(found, (pixels + 0.02 * towards).clamp(0, 1))


@pytest.mark.parametrize("radius", [0.0, 0.25 / 255, 8 / 255, 0.6])
def test_it_stays_in_the_cube_and_in_the_range_of_pixels_and_costs_no_less(convolutional, radius):
    pixels, labels = images(8).images.permute(0, 3, 1, 2).float() / 255, images(8).labels
    start = 2 * torch.rand(pixels.shape, generator=torch.Generator().manual_seed(0)) - 1
    found = attacked(convolutional, pixels, labels, radius=radius, start=start)
    assert (found - pixels).abs().max() <= radius + 1e-7 and found.min() >= 0 and found.max() <= 1
    before, after = (F.cross_entropy(convolutional(seen), labels) for seen in (pixels, found))
    assert after >= before and (torch.equal(found, pixels) if radius == 0 else after > before)
    assert not found.requires_grad and all(p.grad is None for p in convolutional.parameters())


def test_an_images_attack_knows_no_other_image(convolutional):
    pixels, labels = images(8).images.permute(0, 3, 1, 2).float() / 255, images(8).labels
    together = attacked(convolutional, pixels, labels, radius=2 / 255, steps=3)
    alone = attacked(convolutional, pixels[:2], labels[:2], radius=2 / 255, steps=3)
    assert (
        together[:2] == alone
    ).float().mean() > 0.99  # but for signs of gradients that are zero up to rounding


def test_accuracy_does_not_rise_with_the_radius_or_the_steps_and_a_large_radius_leaves_nothing(convolutional):
    image_set = images(40)
    pixels = image_set.images.permute(0, 3, 1, 2).float() / 255
    image_set.labels[:] = convolutional(pixels).argmax(1)  # all named rightly without an attack
    found = attack_accuracy(convolutional, image_set, radii=(0.25, 2.0, 8.0, 64.0))
    assert found["clean"] == 100 and sorted(found["attacked"], reverse=True) == found["attacked"]
    assert found["attacked"][-1] == 0
    by_steps = [
        attack_accuracy(convolutional, image_set, radii=(4.0,), steps=steps)["attacked"][0]
        for steps in (0, 1, 20)
    ]
    assert sorted(by_steps, reverse=True) == by_steps and by_steps[0] > by_steps[-1]


def test_a_radius_below_zero_is_refused_in_one_line():
    image_set = images(4)
    classifier = Classifier(Blocks(), probe(), image_set)
    with pytest.raises(
        BadInput, match=r"^the radius of the attack is -0.00392157; it must be at least 0"
    ) as refused:
        attack_accuracy(classifier, image_set, radii=(-1.0,))
    assert "\n" not in str(refused.value)
