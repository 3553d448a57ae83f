from dataclasses import replace

import pytest
import torch
from torch import nn

from partwhole.data.image_set import ImageSet
from partwhole.errors import BadInput
from partwhole.evaluation.features import features
from partwhole.evaluation.linear import augmented, linear_probe
from partwhole.models.resnet import Encoder, Features
from partwhole.views.crops import RandomResizedCrop

MEAN, STD = (0.5, 0.5, 0.5), (0.25, 0.25, 0.25)


class Colour(nn.Module):
    """Each channel's mean and its square: a linear layer can tell colours apart. Counts what it is shown."""

    def __init__(self):
        super().__init__()
        self.norm = nn.BatchNorm2d(3)
        self.shown = []

    def forward(self, pixels):
        assert not self.training, "the encoder must stay in evaluation mode"
        self.shown.append(tuple(pixels.shape))
        pooled = self.norm(pixels).mean((2, 3))
        return Features(pixels, torch.cat([pooled, pooled.square()], 1))


def colours(count, size=8, seed=0):
    """Three classes by colour, with noise and a few wrong labels."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(count) % 3
    images = 90 + torch.randint(60, (count, size, size, 3), generator=generator)
    images[torch.arange(count), :, :, labels] += 25
    wrong = torch.rand(count, generator=generator) < 0.1
    labels = torch.where(wrong, (labels + 1) % 3, labels)
    return ImageSet(images.to(torch.uint8), labels, classes=["red", "green", "blue"], mean=MEAN, std=STD)


def test_probe_reads_colours_and_reports_the_last_epoch():
    encoder = Colour().train()
    out = linear_probe(
        encoder, colours(90), colours(60, seed=1), epochs=12, batch=32, milestones=(6, 9), lr=1.0
    )
    assert [row["epoch"] for row in out["by_epoch"]] == list(range(1, 13))
    assert [round(row["lr"], 6) for row in out["by_epoch"]] == [1.0] * 6 + [0.1] * 3 + [0.01] * 3
    assert out["test_accuracy"] == out["by_epoch"][-1]["test_accuracy"] > 80
    assert out["train_accuracy"] == out["by_epoch"][-1]["train_accuracy"] > 70
    assert out["by_epoch"][-1]["loss"] < out["by_epoch"][0]["loss"]
    assert encoder.training, "its mode comes back"
    assert set(encoder.shown) == {(60, 3, 8, 8), (32, 3, 8, 8), (26, 3, 8, 8)}


def test_the_layer_that_is_returned_classifies_as_reported_and_takes_no_gradient():
    encoder, test = Colour(), colours(60, seed=1)
    out = linear_probe(encoder, colours(90), test, epochs=3, batch=32, lr=1.0)
    scores = out["probe"](features(encoder, test))
    assert 100 * (scores.argmax(1) == test.labels).float().mean().item() == pytest.approx(
        out["test_accuracy"]
    )
    assert not scores.requires_grad


def test_each_split_is_normalised_by_its_statistics():
    """Images darker by half with statistics darker by half are the same; with others they are not."""
    train, test = colours(60), colours(30, seed=1)
    whole = {"epochs": 12, "batch": 30, "lr": 1.0, "milestones": (6, 9)}
    halved = replace(test, images=test.images // 2, mean=(0.25,) * 3, std=(0.125,) * 3)
    tinted = replace(test, mean=(0.1, 0.5, 0.9))
    reached, same, other = (
        linear_probe(Colour(), train, each, **whole)["test_accuracy"] for each in (test, halved, tinted)
    )
    assert reached == pytest.approx(same, abs=4) and other < reached - 20


def test_probe_leaves_the_encoder_as_it_was():
    torch.manual_seed(0)
    encoder = Encoder(blocks=(1, 1, 1, 1), width=4).train()
    state = {name: value.clone() for name, value in encoder.state_dict().items()}
    linear_probe(encoder, colours(30), colours(15, seed=1), epochs=2, batch=16, lr=0.1)
    assert all(torch.equal(value, state[name]) for name, value in encoder.state_dict().items())
    assert all(parameter.grad is None for parameter in encoder.parameters())


def test_probe_is_its_seeds():
    train, test = colours(60), colours(30, seed=1)
    one, same, other = (
        linear_probe(Colour(), train, test, epochs=2, lr=0.1, seed=seed) for seed in (0, 0, 1)
    )
    assert torch.equal(one.pop("probe").weight, same.pop("probe").weight) and one == same
    assert one["by_epoch"] != other["by_epoch"]


def test_probe_trains_as_a_plain_loop_does():
    """Whole images, one batch an epoch, features that a flip leaves alone: only the start is random."""
    train, test = colours(30), colours(20, seed=1)
    whole = {
        "scale": (1.0, 1.0),
        "epochs": 3,
        "batch": 30,
        "lr": 0.5,
        "weight_decay": 0.01,
        "milestones": (2,),
    }
    out = linear_probe(Colour(), train, test, **whole)
    encoder = Colour().eval()
    rows = encoder((train.images.permute(0, 3, 1, 2) / 255 - 0.5) / 0.25).pooled.detach()
    generator = torch.Generator().manual_seed(0)
    weight, bias = torch.empty(3, 6).normal_(std=0.01, generator=generator), torch.zeros(3)
    speed = [torch.zeros(3, 6), torch.zeros(3)]
    for epoch in range(3):
        scores = (rows @ weight.T + bias).requires_grad_(False)
        losses = -(scores.log_softmax(1)[torch.arange(30), train.labels]).mean()
        assert out["by_epoch"][epoch]["loss"] == pytest.approx(losses.item(), abs=1e-4)
        slope = (scores.softmax(1) - torch.eye(3)[train.labels]) / 30
        speed[0] = 0.9 * speed[0] + slope.T @ rows + 0.01 * weight
        speed[1] = 0.9 * speed[1] + slope.sum(0) + 0.01 * bias
        lr = 0.5 if epoch < 2 else 0.05
        weight, bias = weight - lr * speed[0], bias - lr * speed[1]
    rows_of_test = encoder((test.images.permute(0, 3, 1, 2) / 255 - 0.5) / 0.25).pooled
    assert out["test_accuracy"] == pytest.approx(
        100 * ((rows_of_test @ weight.T + bias).argmax(1) == test.labels).float().mean().item()
    )


def test_training_crops_vary_and_stay_inside_padded_images():
    images = torch.full((4, 12, 12, 3), 255, dtype=torch.uint8)
    images[:, :8, :10] = 0
    images[:, :8, :5] = 100
    padded = ImageSet(
        images, torch.zeros(4, dtype=torch.int64), sizes=torch.tensor([[8, 10]] * 4, dtype=torch.int32)
    )
    views = augmented(
        padded, torch.tensor([3, 1, 2, 0]), 6, RandomResizedCrop((0.2, 1.0)), torch.Generator().manual_seed(0)
    )
    assert views.shape == (4, 3, 6, 6)
    assert views.max() <= 100.5 / 255, "white is padding"
    assert len({tuple(row.tolist()) for row in views.flatten(1)}) == 4


def test_half_of_the_training_images_are_mirrored():
    ramp = (torch.arange(8, dtype=torch.uint8) * 30)[None, None, :, None].expand(200, 8, 8, 3).contiguous()
    ramps = ImageSet(ramp, torch.zeros(200, dtype=torch.int64))
    views = augmented(
        ramps, torch.arange(200), 8, RandomResizedCrop((1.0, 1.0)), torch.Generator().manual_seed(0)
    )
    falling = views[:, 0, 0, 0] > views[:, 0, 0, -1]
    assert 75 < falling.sum() < 125
    torch.testing.assert_close(views[falling], (ramp[falling].permute(0, 3, 1, 2) / 255).flip(3))


def test_loss_counts_every_image_once_when_the_last_batch_is_smaller():
    still = {"scale": (1.0, 1.0), "epochs": 1, "lr": 1e-9}
    whole, parts = (
        linear_probe(Colour(), colours(30), colours(20), batch=batch, **still) for batch in (30, 7)
    )
    assert parts["by_epoch"][0]["loss"] == pytest.approx(whole["by_epoch"][0]["loss"], rel=1e-5)


def test_unlabelled_or_unequal_images_are_refused_in_one_line():
    labelled, bare = colours(6), ImageSet(colours(6).images)
    with pytest.raises(
        BadInput, match=r"^the linear probe needs labels, and the test images have none; choose"
    ):
        linear_probe(Colour(), labelled, bare)
    unequal = ImageSet(labelled.images, labelled.labels, sizes=torch.full((6, 2), 7, dtype=torch.int32))
    with pytest.raises(BadInput, match=r"pass size$"):
        linear_probe(Colour(), unequal, labelled)
