"""ContrastiveCrop in a run, on every base: boxes from the online encoder, kept with the run, looked up by
image.
"""

from dataclasses import replace

import pytest
import torch
from torch.nn.functional import interpolate

from partwhole.data.scenes import scenes
from partwhole.evaluation.localisation import boxes_against_truth
from partwhole.experiments.run import assemble, train
from partwhole.training.loop import Loop
from partwhole.training.ranks import Ranks
from support.tiny_recipes import contrastive


def test_at_least_two_updates_and_a_tenth_of_the_boxes_smaller_than_the_image(base, tmp_path):
    loop, record = train(contrastive(base), base, tmp_path, device="cpu", progress=False)
    updates = [row for row in record["history"] if "box_area" in row]
    assert [row["epoch"] for row in updates] == [1, 2, 3, 4]
    assert all(row["box_whole"] <= 0.9 and 0 < row["box_area"] < 0.9 for row in updates)
    reached = boxes_against_truth(loop.sampler.boxes, loop.batches.image_set.boxes, 16)
    assert reached["box_iou"] == pytest.approx(updates[-1]["box_iou"])
    assert record["metrics"]["box_area"] == updates[-1]["box_area"]


def test_killed_after_an_update_and_resumed_it_ends_bit_identical(base, tmp_path, monkeypatch):
    recipe = contrastive(base, momentum=0.9)
    whole, _ = train(recipe, base, device="cpu", progress=False)
    epoch = Loop.epoch

    def dying(self, *arguments):
        if self.epochs_done == 3:
            raise KeyboardInterrupt
        return epoch(self, *arguments)

    monkeypatch.setattr(Loop, "epoch", dying)
    with pytest.raises(KeyboardInterrupt):
        train(recipe, base, tmp_path, device="cpu", progress=False)
    monkeypatch.undo()
    resumed, _ = train(recipe, base, tmp_path, device="cpu", progress=False)
    assert torch.equal(whole.sampler.boxes, resumed.sampler.boxes)
    one, other = whole.method.state_dict(), resumed.method.state_dict()
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_boxes_are_those_of_the_online_encoder_on_whole_images(base):
    """Against the released code's steps, image by image: sum, min-max, enlarge, threshold, first and last
    active row and column.
    """
    loop = assemble(contrastive(base, momentum=0.5), Ranks(0))
    loop.epoch()
    encoder, image_set = loop.method.encoder.eval(), loop.batches.image_set
    mean, std = (torch.tensor(values)[:, None, None] for values in (loop.augment.mean, loop.augment.std))
    for place in range(20):
        pixels = interpolate(
            image_set.images[place].permute(2, 0, 1)[None] / 255, (16, 16), mode="bilinear", antialias=True
        )
        with torch.no_grad():
            heat = encoder((pixels - mean) / std).maps.sum(1, keepdim=True)
        heat = heat - heat.min()
        active = interpolate(heat / heat.max(), (16, 16), mode="bilinear")[0, 0] > 0.5
        rows, columns = (active.any(axis).nonzero()[:, 0] for axis in (1, 0))
        wanted = torch.stack([rows[0], columns[0], rows[-1], columns[-1]]) / 16
        assert (loop.sampler.boxes[place, 0] - wanted).abs().max() <= 1 / 16 + 1e-6


def test_the_first_epochs_crop_at_random_and_the_later_ones_by_the_boxes():
    recipe = contrastive("simclr")
    loop, plain = (
        assemble(recipe, Ranks(0)),
        assemble(
            recipe.model_copy(
                update={"views": recipe.views.model_copy(update={"sampler": "random_resized_crop"})}
            ),
            Ranks(0),
        ),
    )
    first = [loop.epoch(), plain.epoch()]
    assert first[0]["loss"] == first[1]["loss"]
    assert loop.epoch()["loss"] != plain.epoch()["loss"]


def test_each_image_is_cropped_by_its_own_box():
    """Boxes at one end of half the images and at the other end of the rest: small crops lie there and nowhere
    else.
    """
    recipe = contrastive("simclr")
    recipe = recipe.model_copy(update={"views": recipe.views.model_copy(update={"scale": (0.2, 0.2)})})
    loop = assemble(recipe, Ranks(0), image_set=scenes(60))
    loop.sampler.before_epoch(2)
    low = torch.arange(60) % 2 == 0
    loop.sampler.boxes[low] = torch.tensor([0.2, 0.2, 0.2, 0.2])
    loop.sampler.boxes[~low] = torch.tensor([0.8, 0.8, 0.8, 0.8])
    seen = []
    augment = loop.augment.make
    loop.augment.make = lambda *arguments: seen.append(augment(*arguments)) or seen[-1]
    for index, images, sizes in loop.batches.epoch():
        loop.step(0, index, images, sizes)
    for views in seen:
        crops = views.globals.crops
        centre = (crops.top + crops.height // 2) / 32
        assert (
            torch.equal((centre < 0.5).all(0), views.images % 2 == 0)
            and (centre[0] == centre[1]).float().mean() > 0.2
        )


def test_padded_images_of_unequal_size_get_boxes_and_crops_of_their_valid_part(monkeypatch):
    """The right third of every other image is padding: the box pass must not see it, nor any crop
    reach it.
    """
    image_set = scenes(60)
    sizes = torch.full((60, 2), 32, dtype=torch.int32)
    sizes[::2, 1] = 21
    images = image_set.images.clone()
    images[::2, :, 21:] = 255
    other = images.clone()
    other[::2, :, 21:] = 0
    boxes, right = [], []
    for pixels in (images, other):
        loop = assemble(
            contrastive("simclr"), Ranks(0), image_set=replace(image_set, images=pixels, sizes=sizes)
        )
        make = loop.augment.make
        monkeypatch.setattr(loop.augment, "make", lambda *a, make=make: right.append(make(*a)) or right[-1])
        loop.epoch()
        boxes.append(loop.sampler.boxes.clone())
        loop.epoch()
    assert torch.equal(*boxes)
    for views in right:
        ends = (views.globals.crops.left + views.globals.crops.width).amax(0)
        assert (ends <= sizes[views.images, 1]).all() and ends.max() == 32
