"""What ContrastiveCrop costs: batched crops and boxes against the released code's loops over images, and
their share of a step.

    python -m partwhole.bench.crops --rounds 5

Three questions, in one run on one machine. How much faster is a batch of crops in one call than one image at
a time? What does a new box for every image cost, in forward passes? And what is left of both beside a
training step of the narrow SimCLR?
Before any timing the run checks that loop and batch do the same work: equal crops from equal numbers, equal
boxes from equal maps.
"""

import argparse
import itertools
import math
import statistics
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from partwhole import machine
from partwhole.bench.timing import seconds, tell
from partwhole.evaluation.features import read_features
from partwhole.experiments.run import assemble
from partwhole.models.resnet import Features
from partwhole.recipes import files
from partwhole.training import precision
from partwhole.training.ranks import Ranks
from partwhole.views import localisation
from partwhole.views.contrastive_crop import BELOW_ONE, Beta, ContrastiveCrop
from partwhole.views.crops import ATTEMPTS, RandomResizedCrop

GOAL = 0.01  # of a training step: what the crops may cost more than random ones
UPDATES, EPOCHS = 4, 500  # of the paper's runs on small images
LOOP, LOOP_DRAWS, BATCHED, RANDOM = (
    "a loop, numbers given",
    "a loop, as released",
    "partwhole",
    "partwhole, random crops",
)
FORWARD, BOXES, BOX_LOOP = "forward alone", "forward, our boxes", "forward, a loop"
BOXES_ALONE, BOX_LOOP_ALONE = "our boxes alone", "the loop alone"


class Drawn:
    """Random numbers as the released sampler draws them: one tensor of one number at a time, from torch's own
    generator.
    """

    def __init__(self, alpha: float):
        self.law = torch.distributions.Beta(alpha, alpha)

    def uniform(self, low: float, high: float) -> float:
        return torch.empty(1).uniform_(low, high).item()

    def beta(self) -> float:
        return self.law.sample().item()


class Given:
    """The same requests answered from numbers that were drawn before: areas and ratios u (20,) in [0, 1), two
    Beta numbers.
    """

    def __init__(self, u: list[float], places: list[float]):
        both = zip(u[:ATTEMPTS], u[ATTEMPTS : 2 * ATTEMPTS])  # our order: all areas, then all ratios
        self.left, self.places = iter([value for pair in both for value in pair]), iter(places)

    def uniform(self, low: float, high: float) -> float:
        return low + (high - low) * next(self.left)

    def beta(self) -> float:
        return next(self.places)


def one_crop(
    size: tuple[int, int], box: list[float], scale: tuple, ratio: tuple, numbers
) -> tuple[int, int, int, int]:
    """Top, left, height and width of one crop: the released sampler's rule, which tries until a crop fits.

    size: height and width.  box: top, left, bottom, right as shares.  numbers: Drawn or Given.
    """
    tall, wide = size
    low, high = math.log(ratio[0]), math.log(ratio[1])
    for _ in range(ATTEMPTS):
        area = tall * wide * numbers.uniform(*scale)
        shape = math.exp(numbers.uniform(low, high))
        width, height = round(math.sqrt(area * shape)), round(math.sqrt(area / shape))
        if 0 < width <= wide and 0 < height <= tall:
            ends = ((tall, height, box[0], box[2]), (wide, width, box[1], box[3]))
            top, left = (
                place(room, extent, first, last, numbers.beta()) for room, extent, first, last in ends
            )
            return top, left, height, width
    width = round(tall * ratio[1]) if wide / tall > ratio[1] else wide
    height = round(wide / ratio[0]) if wide / tall < ratio[0] else tall
    return (tall - height) // 2, (wide - width) // 2, height, width


def place(room: int, extent: int, first: float, last: float, x: float) -> int:
    """First row (or column) of a crop of `extent` of `room` pixels, x of the way between the ends of a box,
    clipped first.
    """
    start, end = (min(max(int(room * edge) - extent // 2, 0), room - extent) for edge in (first, last))
    return start + int((end - start) * x)


def crops_by_loop(sizes: Tensor, boxes: Tensor, sampler: ContrastiveCrop, numbers: list) -> Tensor:
    """`one_crop` for each image: int64 (4, B), top, left, height, width.  numbers: Drawn or Given for each
    image.
    """
    work = zip(sizes.tolist(), boxes.tolist(), numbers)
    return torch.tensor([one_crop(size, box, sampler.scale, sampler.ratio, own) for size, box, own in work]).T


def numbers_of(u: Tensor, alpha: float) -> list[tuple[list[float], list[float]]]:
    """Of a batch u (B, uniforms), image by image: what `Given` takes, so that the loop makes the
    same crops.
    """
    return list(zip(u.tolist(), Beta(alpha)(u[:, -2:]).clamp(max=BELOW_ONE).tolist()))


def boxes_by_loop(maps: Tensor, size: int, threshold: float) -> Tensor:
    """Boxes (B, 4) from features (B, C, h, w) as the released code makes them: a batch up to the enlarged
    map, then image by image.

    First and last active row and column come from `nonzero`, whose length the host has to wait for.
    """
    enlarged = interpolate(
        localisation.heatmap(maps)[:, None], (size, size), mode="bilinear", align_corners=False
    )[:, 0]
    boxes = []
    for heat in enlarged:
        ends = [(heat.amax(axis) > threshold).nonzero()[:, 0] for axis in (1, 0)]
        (top, bottom), (left, right) = (
            (0, size - 1) if len(line) == 0 else (line[0].item(), line[-1].item()) for line in ends
        )
        boxes.append(torch.tensor([top, left, bottom, right]) / size)
    return torch.stack(boxes).to(maps.device)


def some_boxes(count: int, size: int, generator: torch.Generator) -> Tensor:
    """Boxes as an encoder leaves them: on whole pixels, the last row and column included; float32
    (count, 4).
    """
    ends = torch.randint(0, size, (2, count, 2), generator=generator).sort(0).values
    return torch.cat([ends[0], ends[1]], 1).float() / size


def recipe_for(data: str, batch: int, extra: list[str]):
    """The narrow SimCLR with ContrastiveCrop, on the given images and in batches of the given size."""
    fixed = [
        f"data.name={data}",
        f"training.batch_size={batch}",
        "views.sampler=contrastive_crop",
        "training.epochs=1000",
    ]
    return files.load("cifar10/narrow_simclr", [*fixed, *extra])


def in_turn(
    contenders: dict[str, Callable], device: torch.device, *, rounds: int, least: float
) -> dict[str, list[float]]:
    """Seconds of a call of each contender in each round; they take turns, so that all meet the same state of
    the machine.
    """
    for work in contenders.values():
        work()  # warm-up
    results = {name: [] for name in contenders}
    for _ in range(rounds):
        for name, work in contenders.items():
            results[name].append(seconds(work, least, device))
    return results


def time_crops(
    sampler: ContrastiveCrop, alpha: float, size: int, batch: int, device: torch.device, **turns
) -> dict:
    """Seconds for a batch of crops, one an image.

    Raises AssertionError where equal numbers give the loop other crops.
    """
    generator = torch.Generator().manual_seed(0)
    sizes, boxes = torch.full((batch, 2), size), some_boxes(batch, size, generator)
    u = torch.rand(batch, sampler.uniforms, generator=generator)
    here = sizes.to(device), boxes.to(device)
    ready = numbers_of(u, alpha)
    ours = torch.stack(sampler(*here, u.to(device))).cpu()
    assert torch.equal(ours, crops_by_loop(sizes, boxes, sampler, [Given(*own) for own in ready])), (
        "loop and batch make different crops"
    )

    plain, drawn = RandomResizedCrop(sampler.scale, sampler.ratio), [Drawn(alpha)] * batch
    draw = {"device": device}
    rounds = in_turn(
        {
            LOOP_DRAWS: lambda: crops_by_loop(sizes, boxes, sampler, drawn),
            LOOP: lambda: crops_by_loop(sizes, boxes, sampler, [Given(*own) for own in ready]),
            BATCHED: lambda: sampler(*here, torch.rand(batch, sampler.uniforms, **draw)),
            RANDOM: lambda: plain(here[0], None, torch.rand(batch, plain.uniforms, **draw)),
        },
        device, **turns,
    )  # fmt: skip
    median = {name: statistics.median(values) for name, values in rounds.items()}
    return {
        "equal_crops": batch,
        "rounds": rounds,
        "seconds": median,
        "images_per_second": {k: batch / v for k, v in median.items()},
        "gain": median[LOOP_DRAWS] / median[BATCHED],
        "gain_numbers_given": median[LOOP] / median[BATCHED],
    }


def time_boxes(loop, sampler: ContrastiveCrop, images: int, rounds: int, device: torch.device) -> dict:
    """Seconds for the boxes of so many images. Raises AssertionError where the loop finds other boxes."""
    image_set, size = loop.batches.image_set, sampler.size

    def read_images(read: Callable[[Tensor], Tensor]) -> Tensor:
        with loop.precision.autocast():
            return read_features(
                loop.method.encoder, image_set.part(0, images), read, device=device, size=size
            )

    def ours(seen) -> Tensor:
        return sampler.locate(seen)[:, 0]

    def by_loop(seen) -> Tensor:
        return boxes_by_loop(seen.maps, size, sampler.threshold)

    assert torch.equal(read_images(ours), read_images(by_loop)), "loop and batch find different boxes"
    maps = read_images(lambda seen: seen.maps).split(512)  # the batches that `over` makes
    forwards = {FORWARD: lambda seen: seen.pooled, BOXES: ours, BOX_LOOP: by_loop}
    contenders = {name: lambda read=read: read_images(read) for name, read in forwards.items()}
    alone = {BOXES_ALONE: sampler.locate, BOX_LOOP_ALONE: by_loop}
    contenders |= {name: lambda f=f: [f(Features(part, part)) for part in maps] for name, f in alone.items()}
    results = in_turn(contenders, device, rounds=rounds, least=0)
    median = {name: statistics.median(values) for name, values in results.items()}
    passes = {
        name: statistics.median(a / b for a, b in zip(results[name], results[FORWARD])) for name in contenders
    }
    return {"equal_boxes": images, "rounds": results, "seconds": median, "forward_passes": passes}


def compare(
    *,
    data: str = "cifar10",
    batch: int = 256,
    images: int = 2048,
    rounds: int = 5,
    least: float = 0.2,
    device: str | None = None,
    extra: list[str] = (),
) -> dict:
    """Medians over interleaved rounds: seconds of a batch of crops, seconds of the boxes of `images` images,
    shares of training.

    least: seconds that a contender's turn takes with the crops.  extra: further overrides of the recipe.
    """
    device = precision.device(device)
    recipe = recipe_for(data, batch, list(extra))
    loop, settings = assemble(recipe, Ranks(0, device)), recipe.views.contrastive_crop
    images = min(images, len(loop.batches.image_set))

    loop.sampler.on.fill_(True)
    sampled = time_crops(
        loop.sampler, settings.alpha, recipe.views.size, batch, device, rounds=rounds, least=least
    )
    located = time_boxes(loop, loop.sampler, images, rounds, device)
    loop.method.train()
    taken = itertools.count()
    some = next(loop.batches.epoch())
    steps = in_turn({"step": lambda: loop.step(next(taken), *some)}, device, rounds=2 * rounds, least=0)[
        "step"
    ]
    step = statistics.median(steps)

    views, costs = loop.augment.groups[0].count, sampled["seconds"]
    more = statistics.median(
        ours - plain for ours, plain in zip(sampled["rounds"][BATCHED], sampled["rounds"][RANDOM])
    )
    update = located["seconds"][BOXES] / images / (step / batch)
    shares = {
        "step": step,
        "crops": views * costs[BATCHED] / step,
        "extra_crops": views * more / step,
        "goal_extra_crops": GOAL,
        "loop_crops": views * costs[LOOP_DRAWS] / step,
        "update_of_epoch": update,
        "updates_of_run": UPDATES * update / EPOCHS,
    }
    return {
        "what": "crops and boxes of ContrastiveCrop",
        "data": data,
        "size": recipe.views.size,
        "batch": batch,
        "images": images,
        "alpha": settings.alpha,
        "threshold": settings.threshold,
        "crops": sampled,
        "boxes": located,
        "shares": shares,
        "steps": steps,
        "precision": loop.precision.name,
        "threads": torch.get_num_threads(),
        "machine": machine.describe(device.type),
    }


def show(result: dict) -> None:
    """Print what crops and boxes cost, for people."""
    crops, boxes, shares = result["crops"], result["boxes"], result["shares"]
    print(
        f"a batch of {result['batch']} crops, {result['size']} px (same crops from the same numbers: checked)"
    )
    for name, value in crops["seconds"].items():
        print(f"  {name:26} {1000 * value:9.2f} ms {crops['images_per_second'][name]:12,.0f} images/s")
    print(
        f"  {crops['gain']:.1f} x the loop as released, {crops['gain_numbers_given']:.1f} x with its "
        "numbers given"
    )
    print(f"boxes of {result['images']:,} images (same boxes: checked)")
    for name, value in boxes["seconds"].items():
        print(f"  {name:26} {1000 * value:9.1f} ms {boxes['forward_passes'][name]:12.3f} forward passes")
    print(
        f"beside a training step of {1000 * shares['step']:.0f} ms, two views an image, {result['precision']}"
    )
    print(
        f"  crops {shares['crops']:.2%}, of that beyond random ones {shares['extra_crops']:.2%} (goal "
        f"{GOAL:.0%})"
    )
    print(f"  the loop as released, in one process: {shares['loop_crops']:.1%}")
    print(f"  an update of all boxes {shares['update_of_epoch']:.1%} of an epoch, ", end="")
    print(f"{UPDATES} in {EPOCHS} epochs {shares['updates_of_run']:.3%} of the run")


def main() -> None:
    """The command line of this benchmark alone."""
    parser = argparse.ArgumentParser(
        prog="python -m partwhole.bench.crops", description=__doc__.splitlines()[0]
    )
    parser.add_argument(
        "--data", default="cifar10", help="cifar10, or scenes/plain where no download is wanted"
    )
    parser.add_argument("--batch", type=int, default=256, help="images a step (default 256)")
    parser.add_argument(
        "--images", type=int, default=2048, help="images whose boxes are computed (default 2048)"
    )
    parser.add_argument(
        "--rounds", type=int, default=5, help="interleaved rounds; their median counts (default 5)"
    )
    parser.add_argument("--device", help="cpu or cuda (default: a GPU if there is one)")
    parser.add_argument("--json", action="store_true", help="print everything as JSON")
    given = parser.parse_args()
    result = compare(
        data=given.data, batch=given.batch, images=given.images, rounds=given.rounds, device=given.device
    )
    tell(result, show, given.json)


if __name__ == "__main__":
    main()
