import pytest
import torch
from torch import nn
from torchvision.transforms.v2.functional import normalize, resize

from partwhole.data.image_set import ImageSet
from partwhole.errors import BadInput
from partwhole.evaluation.features import features, frozen, normalised, whole
from partwhole.models.resnet import Encoder, Features

MEAN, STD = (0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010)


def images(count, size=16, seed=0):
    return torch.randint(
        256, (count, size, size, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(seed)
    )


def image_set(pixels, **more):
    return ImageSet(pixels, **{"mean": MEAN, "std": STD, **more})


@pytest.fixture
def encoder():
    torch.manual_seed(0)
    net = Encoder(blocks=(1, 1, 1, 1), width=4).train()
    net(torch.randn(8, 3, 16, 16))  # running statistics that differ from a batch's
    return net


class Colour(nn.Module):
    """Each channel's mean, so that a feature can be computed by hand."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(()))

    def forward(self, pixels):
        assert pixels.is_contiguous(memory_format=torch.channels_last)
        return Features(pixels, self.weight * pixels.mean((2, 3)))


def test_features_are_those_of_normalised_whole_images_in_order(encoder):
    pixels = images(7)
    expected = encoder.eval()(normalize(pixels.permute(0, 3, 1, 2) / 255, MEAN, STD)).pooled.detach()
    encoder.train()
    for batch in (2, 7, 512):
        torch.testing.assert_close(
            features(encoder, image_set(pixels), batch=batch), expected, rtol=1e-4, atol=1e-5
        )


def test_features_of_one_colour_by_hand():
    pixels = torch.tensor([51, 102, 204], dtype=torch.uint8).expand(3, 4, 4, 3)
    vectors = features(Colour(), image_set(pixels, mean=(0.2, 0.2, 0.5), std=(0.1, 0.2, 0.3)), batch=2)
    torch.testing.assert_close(vectors, torch.tensor([[0.0, 1.0, 1.0]]).expand(3, 3), rtol=1e-5, atol=1e-6)


def test_features_leave_the_encoder_and_the_random_numbers_alone(encoder):
    encoder.layer1.eval()  # a module with a mode of its own keeps it
    modes = [module.training for module in encoder.modules()]
    state = {name: value.clone() for name, value in encoder.state_dict().items()}
    random = torch.random.get_rng_state()
    vectors = features(encoder, image_set(images(5)))
    assert [module.training for module in encoder.modules()] == modes and True in modes and False in modes
    assert all(torch.equal(value, state[name]) for name, value in encoder.state_dict().items())
    assert torch.equal(torch.random.get_rng_state(), random)
    assert not vectors.requires_grad and not vectors.is_inference()


def test_modes_come_back_after_an_error(encoder):
    def fail():
        with frozen(encoder):
            assert not encoder.training
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        fail()
    assert encoder.training


def test_features_ignore_an_outer_autocast(encoder):
    pixels = images(4)
    plain = features(encoder, image_set(pixels))
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(features(encoder, image_set(pixels)), plain)


def test_images_are_resized_whole_to_the_size_asked_for():
    pixels = images(3, size=24).permute(0, 3, 1, 2)
    expected = resize(pixels, [16, 16], antialias=True) / 255
    vectors = whole(images(3, size=24), 16, None)
    torch.testing.assert_close(vectors, expected, rtol=0, atol=1.01 / 255)
    assert torch.equal(whole(images(3, size=16), 16, None), images(3, size=16).permute(0, 3, 1, 2) / 255)


def test_padding_is_never_seen():
    padded = images(2, size=20)
    sizes = torch.tensor([[16, 16], [12, 18]], dtype=torch.int32)
    alone = [
        features(Colour(), image_set(padded[i : i + 1, :h, :w]), size=16)
        for i, (h, w) in enumerate(sizes.tolist())
    ]
    together = features(Colour(), image_set(padded, sizes=sizes), size=16)
    torch.testing.assert_close(together, torch.cat(alone), rtol=1e-4, atol=1e-5)
    with pytest.raises(BadInput, match="need a size"):
        features(Colour(), image_set(padded, sizes=sizes))


def test_normalised_equals_torchvision():
    pixels = torch.rand(2, 3, 5, 5, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(normalised(pixels, MEAN, STD), normalize(pixels, MEAN, STD))
