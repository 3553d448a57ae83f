"""Training images a second: our SimCLR step against lightly's SimCLR loop, same network, batch and views, on
all cores, in one run.

    python -m partwhole.bench.train --rounds 5

lightly runs as its users write it: its transform on PIL images in a DataLoader, its projection head and
NT-Xent, torch's SGD. "as shipped" is fp32, channels first; "matched" has our precision and memory order too.
Workers: the best of none and one a core.
Before any timing the run checks that both do the same work: equal parameters, and equal loss on equal
embeddings.
"""

import argparse
import os
import statistics
from collections.abc import Callable, Iterator
from functools import partial

import torch
from torch import nn

from partwhole import machine
from partwhole.bench import timing
from partwhole.data import catalogue
from partwhole.experiments.run import assemble
from partwhole.recipes import files
from partwhole.training import precision
from partwhole.training.ranks import Ranks

OURS, OURS_FP32, MATCHED, SHIPPED = "partwhole", "partwhole, fp32", "lightly, matched", "lightly, as shipped"


def recipe_for(data: str, batch: int, chosen: str, extra: list[str]):
    """cifar10/simclr_lightly's views and loss on the narrow network, at the given batch and precision."""
    size = {"model.blocks": [1, 1, 1, 1], "model.width": 16, "method.projector": [128, 128]}
    fixed = {
        "data.name": data,
        "training.batch_size": batch,
        "training.precision": chosen,
        "training.epochs": 1000,
        **size,
    }
    return files.load("cifar10/simclr_lightly", [f"{key}={value}" for key, value in fixed.items()] + extra)


class Lightly:
    """lightly's SimCLR on the same images: `steps(n)` trains n batches."""

    def __init__(self, recipe, image_set, *, matched: bool, workers: int, device: torch.device):
        from lightly.loss import NTXentLoss
        from lightly.models.modules import SimCLRProjectionHead
        from lightly.transforms import SimCLRTransform
        from torch.utils.data import DataLoader

        from partwhole.models.resnet import encoder

        views, method, training = recipe.views, recipe.method, recipe.training
        mean, std = catalogue.normalisation(recipe.data.name)
        transform = SimCLRTransform(
            input_size=views.size,
            cj_prob=views.jitter.probability,
            cj_strength=1.0,
            cj_bright=views.jitter.brightness,
            cj_contrast=views.jitter.contrast,
            cj_sat=views.jitter.saturation,
            cj_hue=views.jitter.hue,
            min_scale=views.scale[0],
            random_gray_scale=views.grayscale,
            gaussian_blur=views.blur.probability[0],
            hf_prob=views.flip,
            normalize={"mean": list(mean), "std": list(std)},
        )
        self.encoder = encoder(recipe.model)
        self.head = SimCLRProjectionHead(
            self.encoder.channels, *method.projector, num_layers=2, batch_norm=True
        )
        self.model = nn.ModuleList([self.encoder, self.head]).to(device).train()
        if matched:
            self.model.to(memory_format=torch.channels_last)
        self.criterion = NTXentLoss(method.temperature)
        self.optimiser = torch.optim.SGD(
            self.model.parameters(),
            lr=training.lr,
            momentum=training.momentum,
            weight_decay=training.weight_decay,
        )
        self.precision = precision.choose("auto" if matched else "fp32", device)
        self.matched, self.device = matched, device
        self.loader = DataLoader(
            Pictures(image_set, transform),
            batch_size=training.batch_size,
            shuffle=True,
            drop_last=True,
            num_workers=workers,
            persistent_workers=workers > 0,
            pin_memory=device.type == "cuda",
        )
        self.batches = self._endless()

    def _endless(self) -> Iterator:
        while True:
            yield from self.loader

    def close(self) -> None:
        """End the workers."""
        self.batches.close()
        self.loader._iterator = None

    def steps(self, count: int) -> int:
        for _ in range(count):
            views = [view.to(self.device, non_blocking=True) for view in next(self.batches)[0]]
            if self.matched:
                views = [view.contiguous(memory_format=torch.channels_last) for view in views]
            with self.precision.autocast():
                z0, z1 = (self.head(self.encoder(view).pooled) for view in views)
            self.criterion(z0.float(), z1.float()).backward()
            self.optimiser.step()
            self.optimiser.zero_grad()
        return count


class Pictures(torch.utils.data.Dataset):
    """Images as PIL pictures through a transform, as torchvision's data sets give them."""

    def __init__(self, image_set, transform):
        self.arrays, self.transform = image_set.images.numpy(), transform

    def __len__(self) -> int:
        return len(self.arrays)

    def __getitem__(self, place: int):
        from PIL import Image

        return self.transform(Image.fromarray(self.arrays[place])), 0


class Ours:
    """Our loop: `steps(n)` trains n batches; `model(n)` runs only the network, loss and backward pass, on
    views made before.
    """

    def __init__(self, recipe, device: torch.device):
        self.loop = assemble(recipe, Ranks(0, device))
        self.loop.method.train()
        self.batches, self.taken = self._endless(), 0
        index, images, _ = next(self.batches)
        self.views = self.loop.augment(
            images, self.loop.ranks.draw(len(index), self.loop.augment.uniforms), index
        )

    def _endless(self) -> Iterator:
        while True:
            yield from self.loop.batches.epoch()

    def steps(self, count: int) -> int:
        for _ in range(count):
            self.loop.step(self.taken, *next(self.batches))
            self.taken += 1
        return count

    def model(self, count: int) -> int:
        loop = self.loop
        for _ in range(count):
            with loop.precision.autocast():
                terms = loop.stages[0].terms(loop.method.encode(self.views, loop.stages[0].phase))
            terms["loss"].backward(inputs=loop.stages[0].parameters)
            loop.stages[0].optimiser.zero_grad()
        return count


def same_work(ours: Ours, theirs: Lightly) -> dict:
    """Raises AssertionError unless both train the same number of parameters on the same loss."""
    from partwhole.methods.simclr import SimCLR

    counts = [sum(p.numel() for p in part.parameters()) for part in (ours.loop.method, theirs.model)]
    assert counts[0] == counts[1], f"parameters differ: ours {counts[0]}, lightly's {counts[1]}"
    assert isinstance(ours.loop.method.base, SimCLR)
    a, b = torch.randn(2, 64, 16, device=theirs.device).unbind(0)
    level = ours.loop.method.levels["pooled"]
    a, b = a[:, None], b[:, None]
    loss = (level.compare(a, b, frozen=False).mean() + level.compare(b, a, frozen=False).mean()) / 2
    torch.testing.assert_close(loss, theirs.criterion(a[:, 0], b[:, 0]), atol=1e-5, rtol=1e-5)
    return {"parameters": counts[0], "loss_equal_to": 1e-5}


def share_not_model(ours: Ours, pairs: int, device: torch.device) -> float:
    """What of our step is not the network, its loss and its backward pass: whole steps and bare ones in turn,
    so that both see the
    same state of the machine; medians."""
    seconds = [
        [timing.seconds(partial(work, 1), 0, device) for work in (ours.steps, ours.model)]
        for _ in range(pairs)
    ]
    step, model = (statistics.median(column) for column in zip(*seconds))
    return 1 - model / step


def compare(
    *,
    data: str = "cifar10",
    batch: int = 256,
    rounds: int = 5,
    seconds: float = 6.0,
    device: str | None = None,
    extra: list[str] = (),
) -> dict:
    """Median images a second of every contender over interleaved rounds, our gains, and what of our step is
    not the model.
    """
    device, cores = precision.device(device), os.cpu_count()
    recipes = {name: recipe_for(data, batch, name, list(extra)) for name in ("auto", "fp32")}
    image_set = catalogue.load(data, "train", images=recipes["auto"].data.images)
    ours, plain = Ours(recipes["auto"], device), Ours(recipes["fp32"], device)
    contenders: dict[str, Callable[[int], int]] = {OURS: ours.steps, OURS_FP32: plain.steps}
    workers = {}
    for name, matched in ((MATCHED, True), (SHIPPED, False)):
        work = {"matched": matched, "device": device}
        rivals = {count: Lightly(recipes["auto"], image_set, workers=count, **work) for count in (0, cores)}
        checked = same_work(ours, rivals[0])
        for rival in rivals.values():
            rival.steps(2)
        taken = {
            count: timing.seconds(partial(rival.steps, 1), seconds, device) for count, rival in rivals.items()
        }
        workers[name] = min(taken, key=taken.get)
        contenders[name] = rivals[workers[name]].steps
        for count in rivals.keys() - {workers[name]}:
            rivals[count].close()
    rates: dict[str, list[float]] = {name: [] for name in contenders}
    for work in (*contenders.values(), ours.model):
        work(3)
    for _ in range(rounds):
        for name, work in contenders.items():
            rates[name].append(batch / timing.seconds(partial(work, 1), seconds, device))
    median = {name: statistics.median(values) for name, values in rates.items()}
    return {
        "what": "training images a second, two views each",
        "data": data,
        "batch": batch,
        "rounds": rates,
        "median": median,
        "workers": workers,
        "precision": ours.loop.precision.name,
        "same_work": checked,
        "machine": machine.describe(device.type),
        "gain_matched": median[OURS] / median[MATCHED],
        "gain_as_shipped": median[OURS] / median[SHIPPED],
        "gain_fp32": median[OURS_FP32] / median[SHIPPED],
        "share_not_model": share_not_model(ours, 4 * rounds, device),
    }


def show(result: dict) -> None:
    """Print rates and ratios, for people."""
    print(f"{result['what']}, {result['data']}, batch {result['batch']}, {result['precision']}")
    for name, value in result["median"].items():
        print(f"{name:26} {value:10,.0f}")
    print(
        f"against lightly matched {result['gain_matched']:.2f} x, as shipped "
        f"{result['gain_as_shipped']:.2f} x, ",
        end="",
    )
    print(
        f"fp32 both {result['gain_fp32']:.2f} x; not the model: {result['share_not_model']:.1%} of our step"
    )


def main() -> None:
    """The command line of this benchmark alone."""
    parser = argparse.ArgumentParser(
        prog="python -m partwhole.bench.train", description=__doc__.splitlines()[0]
    )
    parser.add_argument(
        "--data", default="cifar10", help="cifar10, or scenes/plain where no download is wanted"
    )
    parser.add_argument("--batch", type=int, default=256, help="images a step (default 256)")
    parser.add_argument(
        "--rounds", type=int, default=5, help="interleaved rounds; their median counts (default 5)"
    )
    parser.add_argument("--seconds", type=float, default=6.0, help="length of a round (default 6)")
    parser.add_argument("--device", help="cpu or cuda (default: a GPU if there is one)")
    parser.add_argument(
        "--resnet18", action="store_true", help="the standard ResNet-18 instead of the narrow network"
    )
    parser.add_argument("--json", action="store_true", help="print everything as JSON")
    given = parser.parse_args()
    full = (
        ["model.blocks=[2, 2, 2, 2]", "model.width=64", "method.projector=[512, 128]"]
        if given.resnet18
        else []
    )
    result = compare(
        data=given.data,
        batch=given.batch,
        rounds=given.rounds,
        seconds=given.seconds,
        device=given.device,
        extra=full,
    )
    timing.tell(result, show, given.json)


if __name__ == "__main__":
    main()
