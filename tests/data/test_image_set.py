"""ImageSet: what it refuses, balanced draws, exact channel statistics."""

from dataclasses import fields, replace

import pytest
import torch

from partwhole.data.image_set import ImageSet, channel_statistics
from partwhole.errors import BadInput


def random_set(count=60, classes=3, side=8, seed=0, **parts):
    generator = torch.Generator().manual_seed(seed)
    images = torch.randint(0, 256, (count, side, side, 3), generator=generator, dtype=torch.uint8)
    labels = torch.randint(0, classes, (count,), generator=generator)
    return ImageSet(images, labels, classes=[f"class {c}" for c in range(classes)], name="random", **parts)


def test_subset_keeps_every_part_of_an_image_together():
    count = 6
    boxes = torch.arange(count * 8, dtype=torch.float32).reshape(count, 2, 4)
    sizes = torch.arange(count * 2, dtype=torch.int32).reshape(count, 2)
    whole = random_set(count, boxes=boxes, sizes=sizes)
    part = whole.subset(torch.tensor([4, 1]))
    for name in ("images", "labels", "boxes", "sizes"):
        assert torch.equal(getattr(part, name), getattr(whole, name)[[4, 1]])
    assert (part.classes, part.name, len(part)) == (whole.classes, "random", 2)


def test_balanced_takes_the_same_number_of_each_class_in_their_order():
    whole = random_set(300)
    whole.images[:, 0, 0, 0] = torch.arange(300).to(torch.uint8)  # a trace of the order, modulo 256
    part = whole.balanced(150)
    assert part.labels.bincount().tolist() == [50, 50, 50]
    assert torch.equal(part.images, whole.balanced(150).images)
    assert not torch.equal(part.images, whole.balanced(150, seed=1).images)
    places = (whole.images.flatten(1)[:, None] == part.images.flatten(1)[None]).all(2).int().argmax(0)
    assert (places.diff() > 0).all()


def test_a_smaller_balanced_draw_is_part_of_a_larger_one():
    whole = random_set(300)
    small, large = whole.balanced(60), whole.balanced(240)
    assert (small.images.flatten(1)[:, None] == large.images.flatten(1)[None]).all(2).any(1).all()


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (100, "100 images cannot be shared equally by 3 classes; take a multiple of 3, such as 99"),
        (0, "0 images cannot be shared equally by 3 classes; take a multiple of 3, such as 3"),
        (240, "240 images need 80 of each class, but random has 20 of class class 0; ask for fewer"),
    ],
)
def test_balanced_refuses_what_is_impossible_in_one_line(count, text):
    whole = random_set(60)
    whole.labels = torch.arange(60) % 3
    with pytest.raises(BadInput) as error:
        whole.balanced(count)
    assert str(error.value) == text


def test_balanced_refuses_a_set_without_labels():
    text = "^bare has no labels, so 10 images of it cannot be balanced; take all its images"
    text += ", or a set with labels$"
    with pytest.raises(BadInput, match=text):
        ImageSet(torch.zeros(20, 8, 8, 3, dtype=torch.uint8), name="bare").balanced(10)


@pytest.mark.parametrize(
    ("parts", "text"),
    [
        ({"images": torch.zeros(2, 8, 8, 3)}, "images are float32 (2, 8, 8, 3); expected uint8 (N, H, W, 3)"),
        (
            {"images": torch.zeros(2, 3, 8, 8, dtype=torch.uint8)},
            "images are uint8 (2, 3, 8, 8); expected uint8 (N, H, W, 3)",
        ),
        ({"labels": torch.zeros(3, dtype=torch.int64)}, "3 labels for 2 images"),
        ({"labels": torch.tensor([0, 2])}, "labels run from 0 to 2; with 2 classes they must lie in 0..1"),
        ({"boxes": torch.zeros(2, 4)}, "boxes are float32 (2, 4); expected float32 (N, M, 4)"),
        ({"sizes": torch.zeros(2, 2)}, "sizes are float32 (2, 2); expected int32 (N, 2)"),
    ],
)
def test_a_wrong_part_is_refused_in_one_line(parts, text):
    with pytest.raises(BadInput) as error:
        ImageSet(
            **{"images": torch.zeros(2, 8, 8, 3, dtype=torch.uint8), "classes": ["a", "b"], "name": "odd"}
            | parts
        )
    assert str(error.value) == f"odd: {text}"


MEAN, STD = (0.1, 0.2, 0.3), (0.4, 0.5, 0.6)


def test_a_set_keeps_its_normalisation_in_every_part_of_it():
    whole = random_set(60, mean=MEAN, std=STD)
    whole.labels = torch.arange(60) % 3
    for part in (
        whole,
        whole.subset(torch.arange(5)),
        whole.to("cpu"),
        whole.balanced(30),
        replace(whole, name="other"),
    ):
        assert (part.mean, part.std) == (MEAN, STD)
    plain = random_set(6)
    assert (plain.mean, plain.std) == ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


def test_fields_given_by_position_are_where_they_were():
    names = ["images", "labels", "boxes", "sizes", "classes", "name", "mean", "std"]
    assert [field.name for field in fields(ImageSet)] == names


@pytest.mark.parametrize("given", [[0.1, 0.2, 0.3], torch.tensor([0.1, 0.2, 0.3], dtype=torch.float64)])
def test_normalisation_becomes_a_tuple_of_floats(given):
    assert random_set(6, mean=given).mean == (0.1, 0.2, 0.3)


@pytest.mark.parametrize(
    ("part", "given", "text"),
    [
        ("mean", (0.1, 0.2), "mean is (0.1, 0.2); expected three numbers in 0..1"),
        ("mean", 0.5, "mean is 0.5; expected three numbers in 0..1"),
        ("mean", None, "mean is None; expected three numbers in 0..1"),
        ("mean", (125, 123, 114), "mean is (125, 123, 114); expected three numbers in 0..1"),
        ("mean", (float("nan"), 0, 0), "mean is (nan, 0, 0); expected three numbers in 0..1"),
        ("std", (0.2, 0.0, 0.2), "std is (0.2, 0.0, 0.2); expected three numbers above 0 and at most 1"),
        ("std", (0.2, -0.1, 0.2), "std is (0.2, -0.1, 0.2); expected three numbers above 0 and at most 1"),
        ("std", ("a", "b", "c"), "std is ('a', 'b', 'c'); expected three numbers above 0 and at most 1"),
    ],
)
def test_a_wrong_normalisation_is_refused_in_one_line(part, given, text):
    with pytest.raises(BadInput) as error:
        random_set(6, **{part: given})
    assert str(error.value) == f"random: {text}"


def test_channel_statistics_are_those_of_all_pixels():
    whole = random_set(50)
    pixels = whole.images.double().flatten(0, 2) / 255
    mean, deviation = channel_statistics(whole, batch=7)
    torch.testing.assert_close(torch.tensor(mean, dtype=torch.float64), pixels.mean(0))
    torch.testing.assert_close(torch.tensor(deviation, dtype=torch.float64), pixels.std(0, correction=0))


def test_channel_statistics_leave_the_padding_out():
    padded = random_set(4, sizes=torch.tensor([[8, 8], [3, 5], [8, 1], [2, 2]], dtype=torch.int32))
    pixels = torch.cat(
        [image[:h, :w].reshape(-1, 3) for image, (h, w) in zip(padded.images, padded.sizes.tolist())]
    )
    mean, deviation = channel_statistics(padded)
    torch.testing.assert_close(torch.tensor(mean, dtype=torch.float64), (pixels.double() / 255).mean(0))
    torch.testing.assert_close(
        torch.tensor(deviation, dtype=torch.float64), (pixels.double() / 255).std(0, correction=0)
    )
