from itertools import permutations

import pytest
import torch
from torchvision.transforms.v2 import functional as theirs

from partwhole.views import photometric as ours

CLOSE = {"rtol": 0, "atol": 1e-5}
ORDERS = torch.tensor(list(permutations(range(4))))  # all 24


def random(*shape, seed=0):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


def images(count=48, height=20, width=24):
    """Random pixels, with the cases where branches of a colour conversion meet: greys, black, white, two
    equal channels.
    """
    pixels = random(count, 3, height, width)
    pixels[:, :, 0] = pixels[:, :1, 0]
    pixels[:, 1, 1] = pixels[:, 0, 1]
    pixels[:, 2, 2] = pixels[:, 1, 2]
    pixels[:, 0, 3] = pixels[:, 2, 3]
    pixels[:, :, 4], pixels[:, :, 5] = 0, 1
    pixels[:, :, 6] = pixels[:, :, 6].round()  # the corners of the colour cube
    pixels[:, :, 7] = pixels[:, :, 7] * 1e-4
    return pixels


def each(operation, pixels, *parameters):
    """torchvision's operation on one image after another."""
    return torch.stack(
        [operation(image, *(value.item() for value in row)) for image, *row in zip(pixels, *parameters)]
    )


FACTORS = {"brightness": (0, 2), "contrast": (0, 2), "saturation": (0, 2), "hue": (-0.5, 0.5)}


@pytest.mark.parametrize("name", FACTORS)
def test_each_adjustment_equals_torchvisions(name):
    low, high = FACTORS[name]
    pixels, factor = images(), low + (high - low) * random(48, seed=1)
    factor[0], factor[1] = low, high
    torch.testing.assert_close(
        getattr(ours, f"adjust_{name}")(pixels, factor),
        each(getattr(theirs, f"adjust_{name}"), pixels, factor),
        **CLOSE,
    )


def test_hue_by_hand():
    red = torch.tensor([1.0, 0.0, 0.0]).view(1, 3, 1, 1).expand(6, 3, 1, 1)
    turned = ours.adjust_hue(red, torch.arange(6) / 6 - 1 / 3).view(6, 3)
    # From blue over red and green to cyan.
    circle = [[0, 0, 1], [1, 0, 1], [1, 0, 0], [1, 1, 0], [0, 1, 0], [0, 1, 1]]
    torch.testing.assert_close(turned, torch.tensor(circle).float(), **CLOSE)


def test_turning_the_hue_there_and_back_changes_nothing():
    pixels, shift = images(), random(48, seed=1) - 0.5
    torch.testing.assert_close(ours.adjust_hue(ours.adjust_hue(pixels, shift), -shift), pixels, **CLOSE)


def jitter_of(count, seed=1):
    chosen = random(count, seed=seed) < 0.8
    factors = [0.2 + 1.6 * random(count, seed=seed + i) for i in range(1, 4)]
    return chosen, ORDERS.repeat(count // 24 + 1, 1)[:count], *factors, random(count, seed=seed + 4) - 0.5


def their_jitter(pixels, chosen, order, *factors):
    adjust = [getattr(theirs, f"adjust_{name}") for name in FACTORS]
    made = []
    for i, image in enumerate(pixels):
        for operation in order[i].tolist() if chosen[i] else []:
            if factors[operation] is not None:
                image = adjust[operation](image, factors[operation][i].item())
        made.append(image)
    return torch.stack(made)


def test_jitter_equals_torchvisions_operations_in_all_24_orders():
    pixels, parameters = images(), jitter_of(48)
    torch.testing.assert_close(ours.jitter(pixels, *parameters), their_jitter(pixels, *parameters), **CLOSE)


def test_jitter_without_hue_equals_torchvisions_other_operations():
    pixels, (*parameters, _) = images(), jitter_of(48)
    torch.testing.assert_close(
        ours.jitter(pixels, *parameters, None), their_jitter(pixels, *parameters, None), **CLOSE
    )


def test_jitter_depends_on_the_order():
    pixels, (_, order, *factors) = images(), jitter_of(48)
    chosen = torch.ones(48, dtype=torch.bool)
    difference = ours.jitter(pixels, chosen, order, *factors) - ours.jitter(
        pixels, chosen, order.flip(1), *factors
    )
    assert (difference.abs().amax((1, 2, 3)) > 1e-3).all()


def test_jitter_leaves_what_is_not_chosen():
    pixels, (_, *parameters) = images(), jitter_of(48)
    torch.testing.assert_close(
        ours.jitter(pixels, torch.zeros(48, dtype=torch.bool), *parameters), pixels, **CLOSE
    )


def test_grayscale_equals_torchvisions_where_chosen_and_nothing_elsewhere():
    pixels, chosen = images(), random(48, seed=1) < 0.5
    made = ours.grayscale(pixels, chosen)
    torch.testing.assert_close(
        made[chosen], each(lambda x: theirs.rgb_to_grayscale(x, 3), pixels[chosen]), **CLOSE
    )
    assert torch.equal(made[~chosen], pixels[~chosen])


@pytest.mark.parametrize("kernel", [3, 5, 23])
def test_blur_equals_torchvisions_where_chosen_and_nothing_elsewhere(kernel):
    pixels, chosen, sigma = images(), random(48, seed=1) < 0.5, 0.1 + 1.9 * random(48, seed=2)
    made = ours.blur(pixels, chosen, sigma, kernel=kernel)
    expected = each(
        lambda x, s: theirs.gaussian_blur(x, [kernel, kernel], [s, s]), pixels[chosen], sigma[chosen]
    )
    torch.testing.assert_close(made[chosen], expected, **CLOSE)
    torch.testing.assert_close(made[~chosen], pixels[~chosen], **CLOSE)


@pytest.mark.parametrize("threshold", [0.5, 0.3])
def test_solarise_equals_torchvisions_where_chosen_and_nothing_elsewhere(threshold):
    pixels, chosen = images(), random(48, seed=1) < 0.5
    pixels[:, :, 8] = threshold
    made = ours.solarise(pixels, chosen, threshold=threshold)
    assert torch.equal(made[chosen], each(lambda x: theirs.solarize(x, threshold), pixels[chosen]))
    assert torch.equal(made[~chosen], pixels[~chosen])


def test_normalise_equals_torchvisions():
    mean, std = (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)
    torch.testing.assert_close(
        ours.normalise(images(), mean, std), theirs.normalize(images(), mean, std), **CLOSE
    )


def calls(count):
    chosen, order, *factors, hue = jitter_of(count)
    return {
        "brightness": lambda x, rows: ours.adjust_brightness(x, factors[0][rows]),
        "contrast": lambda x, rows: ours.adjust_contrast(x, factors[1][rows]),
        "saturation": lambda x, rows: ours.adjust_saturation(x, factors[2][rows]),
        "hue": lambda x, rows: ours.adjust_hue(x, hue[rows]),
        "jitter": lambda x, rows: ours.jitter(
            x, chosen[rows], order[rows], *(f[rows] for f in factors), hue[rows]
        ),
        "grayscale": lambda x, rows: ours.grayscale(x, chosen[rows]),
        "blur": lambda x, rows: ours.blur(x, chosen[rows], factors[0][rows], kernel=5),
        "solarise": lambda x, rows: ours.solarise(x, chosen[rows]),
        "normalise": lambda x, rows: ours.normalise(x, (0.4, 0.5, 0.6), (0.2, 0.3, 0.4)),
    }


@pytest.mark.parametrize("name", calls(1))
def test_samples_are_independent_and_inputs_are_left_alone(name):
    pixels, call = images(), calls(48)[name]
    before, every = pixels.clone(), torch.arange(48)
    shuffled = torch.randperm(48, generator=torch.Generator().manual_seed(0))
    together = call(pixels, every)
    assert torch.equal(pixels, before), "the input changed"
    torch.testing.assert_close(call(pixels[shuffled], shuffled), together[shuffled], rtol=0, atol=1e-6)
    one = every[7:8]
    torch.testing.assert_close(call(pixels[one], one), together[one], rtol=0, atol=1e-6)
    pixels[0] = 0.5
    torch.testing.assert_close(call(pixels, every)[1:], together[1:], rtol=0, atol=1e-6)
