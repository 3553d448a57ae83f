import numpy as np
import pytest
import torch
from PIL import Image

from partwhole.errors import BadInput
from partwhole.views.crops import RandomResizedCrop
from partwhole.views.resample import filters, resample

# Height, width, output, images.
SIZES = [(32, 32, 32, 200), (32, 32, 16, 200), (64, 64, 48, 60), (375, 500, 224, 5)]


def photographs(count, height, width, seed=0):
    """Images with detail at every scale, as photographs have it (random spectrum falling as 1 / frequency),
    uint8.
    """
    numbers = np.random.default_rng(seed)
    down, across = np.fft.fftfreq(height)[:, None], np.fft.fftfreq(width)
    fall = 1 / np.maximum(np.hypot(down, across), 1 / max(height, width))
    waves = np.fft.ifft2(np.fft.fft2(numbers.standard_normal((count, 3, height, width))) * fall).real
    waves /= waves.std((2, 3), keepdims=True)
    return torch.from_numpy((128 + 64 * waves).clip(0, 255).astype(np.uint8)).permute(0, 2, 3, 1).contiguous()


def noise(count, height, width, seed=0):
    return torch.randint(
        0, 256, (count, height, width, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(seed)
    )


def boxes(count, sizes, seed=0, scale=(0.08, 1.0)):
    generator = torch.Generator().manual_seed(seed)
    crops = RandomResizedCrop(scale)(
        sizes, None, torch.rand(count, RandomResizedCrop.uniforms, generator=generator)
    )
    return *crops, torch.rand(count, generator=generator) < 0.5


def with_pil(images, crops, size, interpolation="bilinear"):
    """Crop, resize and mirror each image with PIL, in grey levels: int64 (B, 3, size, size)."""
    made = []
    for image, top, left, height, width, flipped in zip(images.numpy(), *(value.tolist() for value in crops)):
        cut = Image.fromarray(image).crop((left, top, left + width, top + height))
        cut = cut.resize((size, size), Image.Resampling[interpolation.upper()])
        made.append(np.asarray(cut.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if flipped else cut))
    return torch.from_numpy(np.stack(made)).permute(0, 3, 1, 2).long()


def levels(pixels):
    return (pixels * 255).round().long()


@pytest.mark.parametrize("kind", [photographs, noise])
@pytest.mark.parametrize(("height", "width", "size", "count"), SIZES)
def test_bilinear_is_within_one_grey_level_of_pil(height, width, size, count, kind):
    images = kind(count, height, width)
    crops = boxes(count, torch.tensor([[height, width]]).expand(count, 2))
    difference = (levels(resample(images, *crops, size)) - with_pil(images, crops, size)).abs()
    assert difference.max() <= 1
    assert difference.double().mean() < 0.35


@pytest.mark.parametrize(("height", "width", "size", "count"), SIZES)
def test_bicubic_is_pils_but_for_its_clipping_between_passes(height, width, size, count):
    images = photographs(count, height, width) // 2 + 64  # no overshoot leaves [0, 255]: nothing is clipped
    crops = boxes(count, torch.tensor([[height, width]]).expand(count, 2))
    difference = (
        levels(resample(images, *crops, size, interpolation="bicubic"))
        - with_pil(images, crops, size, "bicubic")
    ).abs()
    assert difference.max() <= 2 and difference.double().mean() < 0.35
    images = photographs(count, height, width)  # with full range, it is clipped twice in PIL
    difference = (
        levels(resample(images, *crops, size, interpolation="bicubic"))
        - with_pil(images, crops, size, "bicubic")
    ).abs()
    assert difference.double().mean() < 0.5


def test_padded_images_show_only_their_valid_part():
    sizes = torch.tensor([[40, 60], [64, 30], [17, 64], [64, 64]]).repeat(10, 1)
    images = noise(40, 64, 64)
    crops = boxes(40, sizes)
    seen = resample(images, *crops, 32)
    for image, (height, width) in zip(images, sizes.tolist()):
        image[height:], image[:, width:] = 255, 255
    assert torch.equal(seen, resample(images, *crops, 32))
    assert (levels(seen) - with_pil(images, crops, 32)).abs().max() <= 1


def test_nothing_outside_the_box_is_seen():
    images, blank = noise(1, 32, 32), torch.zeros(1, 32, 32, 3, dtype=torch.uint8)
    blank[:, 5:25, 3:13] = images[:, 5:25, 3:13]
    box = [torch.tensor([value]) for value in (5, 3, 20, 10)]
    for interpolation in ("bilinear", "bicubic"):
        a, b = (
            resample(x, *box, torch.tensor([False]), 16, interpolation=interpolation) for x in (images, blank)
        )
        assert torch.equal(a, b)


def test_a_whole_image_at_its_own_size_comes_back_and_mirrored_where_flipped():
    images = noise(2, 32, 32)
    zero, full = torch.zeros(2, dtype=torch.long), torch.full((2,), 32)
    pixels = resample(images, zero, zero, full, full, torch.tensor([False, True]), 32)
    plain = images.permute(0, 3, 1, 2) / 255
    torch.testing.assert_close(pixels, torch.stack([plain[0], plain[1].flip(-1)]), rtol=0, atol=1e-6)


def test_one_crop_by_hand():
    ramp = torch.arange(0, 80, 10, dtype=torch.uint8)[None, None, :, None].expand(1, 8, 8, 3)
    numbers = [torch.tensor([value]) for value in (0, 2, 8, 4)]  # columns 20 30 40 50
    row = resample(ramp, *numbers, torch.tensor([False]), 8)[0, 0, 0] * 255
    torch.testing.assert_close(row, torch.tensor([20, 22.5, 27.5, 32.5, 37.5, 42.5, 47.5, 50]))
    # Triangles of radius 2, cut at the ends.
    row = resample(ramp, *numbers, torch.tensor([True]), 2)[0, 0, 0] * 255
    torch.testing.assert_close(row, torch.tensor([(50 * 3 + 40 * 3 + 30) / 7, (20 * 3 + 30 * 3 + 40) / 7]))


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
def test_every_row_of_a_filter_sums_to_one_inside_its_stretch(interpolation):
    start, length = torch.tensor([0, 3, 31, 10]), torch.tensor([32, 1, 1, 20])
    weights = filters(start, length, 16, 32, interpolation)
    torch.testing.assert_close(weights.sum(-1), torch.ones(4, 16))
    place = torch.arange(32)
    outside = (place < start[:, None]) | (place >= (start + length)[:, None])
    assert (weights * outside[:, None]).abs().max() == 0


def test_many_views_of_each_image_equal_one_at_a_time():
    images = noise(5, 32, 32)
    views = [boxes(5, torch.tensor([[32, 32]]).expand(5, 2), seed) for seed in range(3)]
    together = resample(images, *map(torch.stack, zip(*views)), 16)
    assert together.shape == (3, 5, 3, 16, 16)
    torch.testing.assert_close(
        together, torch.stack([resample(images, *view, 16) for view in views]), rtol=0, atol=1e-6
    )


def test_wrong_images_and_interpolation_are_refused_in_one_line():
    images = noise(2, 8, 8)
    crops = boxes(2, torch.tensor([[8, 8], [8, 8]]))
    with pytest.raises(
        BadInput, match=r"images are torch.float32 \(2, 8, 8, 3\); expected torch.uint8 \(B, H, W, 3\)"
    ):
        resample(images.float(), *crops, 8)
    with pytest.raises(BadInput, match=r"images are torch.uint8 \(2, 3, 8, 8\)"):
        resample(images.permute(0, 3, 1, 2), *crops, 8)
    with pytest.raises(BadInput, match=r"unknown interpolation 'bilinaer'; did you mean bilinear\?"):
        resample(images, *crops, 8, interpolation="bilinaer")
