"""A whole run: a recipe in, a trained network, a checkpoint and a record out. The same call again goes on where it was stopped."""

import contextlib
import resource
import sys
import time
from pathlib import Path

import torch
from tqdm import tqdm

from partwhole import machine
from partwhole.data import catalogue
from partwhole.errors import BadInput
from partwhole.evaluation.diagnostics import seen_by
from partwhole.evaluation.features import features
from partwhole.evaluation.knn import knn_accuracy
from partwhole.evaluation.localisation import found
from partwhole.experiments import records
from partwhole.methods import build
from partwhole.recipes.files import digest, dump
from partwhole.recipes.schema import Recipe
from partwhole.training import checkpoint, distributed, precision
from partwhole.training.batches import Batches
from partwhole.training.loop import Loop
from partwhole.views.augment import Augment

BOXES = ("box_area", "box_whole", "box_iou", "object_iou")  # what a sampler's boxes are like
REPORTED = 500  # test images on which an objective reports after every epoch
SHARE_OF_DEVICE = 0.5  # a data set larger than this share of the device's memory stays memory-mapped


def assemble(recipe: Recipe, ranks, *, image_set=None) -> Loop:
    """Everything that trains, freshly initialised from the recipe's seed, on the ranks' device."""
    if recipe.training.batch_size % ranks.world:
        raise BadInput(f"training.batch_size is {recipe.training.batch_size}; it must be a multiple of the {ranks.world} processes")
    image_set = image_set if image_set is not None else training_images(recipe, ranks.device)
    if len(image_set) < recipe.training.batch_size:
        raise BadInput(
            f"training.batch_size is {recipe.training.batch_size}, but {recipe.data.name} gives {len(image_set)} images; "
            "make it smaller"
        )
    if recipe.evaluation.knn_k > len(image_set):
        raise BadInput(f"evaluation.knn_k is {recipe.evaluation.knn_k}, but the bank has {len(image_set)} images; make it smaller")
    torch.manual_seed(recipe.training.seed)
    method = build(recipe, ranks).to(memory_format=torch.channels_last)
    augment = Augment(recipe.views, *catalogue.normalisation(recipe.data.name))
    if recipe.training.compile:
        method.encoder.compile()
        augment.compile()
    chosen = precision.choose(recipe.training.precision, ranks.device)
    batches = Batches(image_set, recipe.training.batch_size // ranks.world, ranks)
    return Loop(recipe, method, batches, augment, ranks, chosen)


def training_images(recipe: Recipe, device: torch.device):
    """The recipe's training images: on the device if they fit there, else memory-mapped."""
    mapped = catalogue.load(recipe.data.name, "train", images=recipe.data.images, mmap=True, controls=recipe.data.controls)
    if device.type == "cuda" and mapped.images.numel() > SHARE_OF_DEVICE * torch.cuda.get_device_properties(device).total_memory:
        return mapped
    return mapped.to(device)


def train(
    recipe: Recipe, name: str, out: Path | None = None, *, device: str | None = None, progress: bool = True, record: bool = True
) -> tuple[Loop, dict]:
    """Pre-train by a recipe: the loop with its trained method, and the record (also written to out/record.json).

    out: a folder for the checkpoint and the record; none is kept where it is None.  progress: a bar with images/s and time left.
    Raises BadInput for a recipe that cannot run here or a folder that holds another recipe's checkpoint.
    """
    with distributed.ranks(precision.device(device), recipe.training.seed) as ranks:
        file = None if out is None else Path(out) / "checkpoint.pt"
        resumed = None if file is None else checkpoint.matching(file, recipe)
        if file is not None:
            writable(file.parent)
        loop = assemble(recipe, ranks)
        history = []
        if resumed is not None:
            loop.load_state_dict(resumed["loop"])
            history = resumed["history"]
        test = catalogue.load(recipe.data.name, "test", controls=recipe.data.controls).to(ranks.device) if ranks.rank == 0 else None
        with bar(recipe, loop, progress and ranks.rank == 0) as shown:
            while loop.epochs_done < recipe.training.epochs:
                history.append(one_epoch(recipe, loop, test, shown))
                if ranks.rank == 0 and file is not None:
                    checkpoint.save(file, {"loop": loop.state_dict(), "history": history}, recipe)
        made = make_record(recipe, name, loop, history)
        if record and ranks.rank == 0 and out is not None:
            records.write(made, Path(out) / "record.json")
        return loop, made


def one_epoch(recipe: Recipe, loop: Loop, test, shown) -> dict:
    """Train one epoch, evaluate if it is due: its row of the history."""
    images = loop.batches.steps * recipe.training.batch_size
    started = time.perf_counter()
    row = {"epoch": loop.epochs_done + 1, **loop.epoch(lambda: shown.update(recipe.training.batch_size))}
    seconds = time.perf_counter() - started
    truth = loop.batches.image_set.boxes
    if "box_area" in row and truth is not None:
        row |= found(loop.sampler.boxes, truth, recipe.views.size)
    row |= {"images_seen": images * loop.epochs_done, "seconds": seconds, "images_per_second": images / seconds}
    if test is not None and loop.method.reports:
        row |= report(recipe, loop, test)
    every, last = recipe.evaluation.knn_every, loop.epochs_done == recipe.training.epochs
    if test is not None and (last or (every and loop.epochs_done % every == 0)):
        row["knn"] = knn(recipe, loop, test)
    shown.set_postfix({"loss": f"{row['loss']:.3f}"} | ({"kNN": f"{row['knn']:.1f}%"} if "knn" in row else {}), refresh=False)
    return row


def report(recipe: Recipe, loop: Loop, test) -> dict[str, float]:
    """What the objective says of itself on the first test images, whole; means over them."""
    part, (mean, std) = test.subset(torch.arange(min(REPORTED, len(test)))), catalogue.normalisation(recipe.data.name)
    seen = seen_by(loop.method, loop.method.report, part, mean, std, recipe.views.size)
    return dict(zip(loop.method.reports, seen.mean(0).tolist()))


def knn(recipe: Recipe, loop: Loop, test) -> float:
    """Accuracy in per cent of the training images used, as a bank, on all test images."""
    bank = loop.batches.image_set
    mean, std = catalogue.normalisation(recipe.data.name)
    place = {"size": recipe.views.size, "device": loop.ranks.device}
    seen = [features(loop.method.encoder, part.images, mean, std, sizes=part.sizes, **place) for part in (bank, test)]
    return knn_accuracy(
        seen[0], bank.labels, seen[1], test.labels, classes=len(bank.classes), k=recipe.evaluation.knn_k,
        temperature=recipe.evaluation.knn_temperature,
    )  # fmt: skip


def make_record(recipe: Recipe, name: str, loop: Loop, history: list[dict]) -> dict:
    """What a reader needs to judge and repeat the run."""
    seconds = sum(row["seconds"] for row in history)
    seen = history[-1]["images_seen"]
    said = {key: value for row in history for key, value in row.items() if key in (*BOXES, *loop.method.reports)}  # the last

    cuda = loop.ranks.device.type == "cuda"
    memory = torch.cuda.max_memory_allocated() if cuda else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return {
        "kind": "train", "name": name, "recipe": dump(recipe), "digest": digest(recipe), "seed": recipe.training.seed,
        "data": recipe.data.name, "images": len(loop.batches.image_set), "images_seen": seen, "epochs": loop.epochs_done,
        "metrics": {key: history[-1][key] for key in ("loss", "knn") if key in history[-1]} | said, "history": history,
        "train_seconds": seconds, "images_per_second": seen / seconds, "peak_memory_bytes": memory,
        "precision": loop.precision.name, "processes": loop.ranks.world, "threads": torch.get_num_threads(),
        "machine": machine.describe(loop.ranks.device.type),
    }  # fmt: skip


def bar(recipe: Recipe, loop: Loop, wanted: bool) -> tqdm:
    """A progress bar over all images of the run: throughput and time left."""
    per_epoch = loop.batches.steps * recipe.training.batch_size
    return tqdm(
        total=per_epoch * recipe.training.epochs, initial=per_epoch * loop.epochs_done, unit="img", unit_scale=True,
        desc=f"{recipe.method.base} on {recipe.data.name}", disable=not wanted, file=sys.stderr, mininterval=1.0,
    )  # fmt: skip


def writable(folder: Path) -> None:
    """Refuse, before any work, a folder that cannot be written."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / ".writable"
        probe.touch()
        with contextlib.suppress(FileNotFoundError):
            probe.unlink()
    except OSError as error:
        raise BadInput(f"{folder}: cannot be written ({error.strerror}); choose another with --out") from None
