"""A whole run: a recipe in, a trained network, a checkpoint and a record out.

The same call again goes on where it was stopped.
"""

import contextlib
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor
from tqdm import tqdm

from partwhole import machine
from partwhole.data import catalogue
from partwhole.data.image_set import ImageSet
from partwhole.errors import BadInput, Diverged
from partwhole.evaluation.features import features, read_features
from partwhole.evaluation.knn import knn_predict
from partwhole.evaluation.localisation import boxes_against_truth, pair_figures
from partwhole.experiments import records
from partwhole.experiments.statistics import pack
from partwhole.methods import build
from partwhole.recipes.files import digest, dump
from partwhole.recipes.schema import Recipe
from partwhole.training import checkpoint, distributed, precision
from partwhole.training.batches import Batches
from partwhole.training.loop import Loop
from partwhole.training.ranks import Ranks
from partwhole.views.augment import Augment

BOX_FIGURES = ("box_area", "box_whole", "box_iou", "object_iou")  # what a sampler's boxes are like
PASS_FIGURES = ("encoder_passes", "encoder_pixels")  # what an epoch encoded, by training image
REPORT_IMAGES = 500  # test images on which an objective reports after every epoch
SHARE_OF_DEVICE = 0.5  # a data set larger than this share of the device's memory stays memory-mapped


def assemble(recipe: Recipe, ranks: Ranks | None = None, *, image_set: ImageSet | None = None) -> Loop:
    """Everything that trains, freshly initialised from the recipe's seed, on the ranks' device.

    ranks: one process with the recipe's seed, on the GPU if there is one, where not given.  image_set: in
    place of the recipe's.
    """
    if ranks is None:
        ranks = Ranks(recipe.training.seed, precision.device())
    if recipe.training.batch_size % ranks.world:
        raise BadInput(
            f"training.batch_size is {recipe.training.batch_size}; it must be a multiple of the "
            f"{ranks.world} processes"
        )
    image_set = image_set if image_set is not None else training_images(recipe, ranks.device)
    if len(image_set) < recipe.training.batch_size:
        raise BadInput(
            f"training.batch_size is {recipe.training.batch_size}, but {recipe.data.name} gives "
            f"{len(image_set)} "
            "images; make it smaller"
        )
    if image_set.labels is not None and recipe.evaluation.knn_k > len(image_set):
        raise BadInput(
            f"evaluation.knn_k is {recipe.evaluation.knn_k}, but the bank has {len(image_set)} images; "
            "make it smaller"
        )
    torch.manual_seed(recipe.training.seed)
    method = build(recipe, ranks).to(memory_format=torch.channels_last)
    augment = Augment(recipe.views, image_set.mean, image_set.std)
    if recipe.training.compile:
        method.encoder.compile()
        augment.compile()
    chosen = precision.choose(recipe.training.precision, ranks.device)
    batches = Batches(image_set, recipe.training.batch_size // ranks.world, ranks)
    return Loop(recipe, method, batches, augment, ranks, chosen)


def training_images(recipe: Recipe, device: torch.device) -> ImageSet:
    """The recipe's training images: on the device if they fit there, else memory-mapped."""
    data = recipe.data
    mapped = catalogue.load(data.name, "train", images=data.images, mmap=True, controls=data.controls)
    if device.type == "cuda":
        memory = torch.cuda.get_device_properties(device).total_memory
        if mapped.images.numel() > SHARE_OF_DEVICE * memory:
            return mapped
    return mapped.to(device)


def train(
    recipe: Recipe, name: str, out: Path | None = None, *, device: str | None = None, progress: bool = True,
    record: bool = True, say: Callable[[str], None] = lambda line: print(line, file=sys.stderr),
) -> tuple[Loop, dict]:  # fmt: skip
    """Pre-train by a recipe: the loop with its trained method, and the record (also written to
    out/record.json).

    out: a folder for the checkpoint and the record; nothing is written where it is None.  progress: a bar
    with
    images/s and time left.  say: takes a line about what the run leaves out. The checkpoint is written before
    an epoch is evaluated, so that a failing evaluation costs nothing but itself. Raises BadInput for a recipe
    that cannot run here or a folder that holds another recipe's checkpoint; Diverged where
    the loss, a weight or a measure is no longer finite: the checkpoint of the last finite epoch stays.
    """
    machine.reuse_memory()
    with distributed.ranks(precision.device(device), recipe.training.seed) as ranks:
        first, file = ranks.rank == 0, None if out is None else Path(out) / "checkpoint.pt"
        resumed = None if file is None else checkpoint.matching(file, recipe)
        if file is not None:
            writable(file.parent)
        loop = assemble(recipe, ranks)
        history = []
        if resumed is not None:
            loop.load_state_dict(resumed["loop"])
            history = resumed["history"]
        test = None
        if first:
            test = catalogue.load(recipe.data.name, "test", controls=recipe.data.controls).to(ranks.device)
            if not labelled(loop, test):
                say(f"{recipe.data.name} has no labels: it is trained on, but kNN is skipped")

        def save() -> None:
            if first and file is not None:
                checkpoint.save(file, {"loop": loop.state_dict(), "history": history}, recipe)

        try:
            with bar(loop, progress and first) as shown:
                while loop.epochs_done < recipe.training.epochs or pending(loop, history, test):
                    if not pending(loop, history, test):
                        history.append(one_epoch(loop, shown))
                        refuse_divergence(loop, history[-1])
                        save()
                    if pending(loop, history, test):
                        history[-1] |= evaluate_epoch(loop, test)
                        refuse_divergence(loop, history[-1])
                        save()
                    shown.set_postfix(shown_figures(history[-1]), refresh=False)
        except Diverged:
            if record and first and out is not None:
                records.write(make_record(loop, name, history), Path(out) / "record.json")
            raise
        document = make_record(loop, name, history)
        if record and first and out is not None:
            records.write(document, Path(out) / "record.json")
        return loop, document


def one_epoch(loop: Loop, shown: tqdm) -> dict:
    """Train one epoch: its row of the history."""
    images = loop.batches.steps * loop.recipe.training.batch_size
    loop.method.base.passes.clear()
    started = time.perf_counter()
    row = {"epoch": loop.epochs_done + 1, **loop.epoch(lambda: shown.update(loop.recipe.training.batch_size))}
    seconds = time.perf_counter() - started
    truth = loop.batches.image_set.boxes
    if "box_area" in row and truth is not None:
        row |= boxes_against_truth(loop.sampler.boxes, truth, loop.recipe.views.size)
    return row | encoded_by_image(loop) | {
        "images_seen": images * loop.epochs_done, "seconds": seconds, "images_per_second": images / seconds,
    }  # fmt: skip


def encoded_by_image(loop: Loop) -> dict[str, float]:
    """What the last epoch encoded of each image: passes of online and target encoder, and the
    pixels in them.
    """
    rows = loop.batches.steps * loop.batches.rows
    passes = loop.method.base.passes
    pixels = sum(side**2 * count for (_, side), count in passes.items())
    return {"encoder_passes": sum(passes.values()) / rows, "encoder_pixels": pixels / rows}


def labelled(loop: Loop, test: ImageSet) -> bool:
    """Whether kNN has a bank and queries with labels."""
    return loop.batches.image_set.labels is not None and test.labels is not None


def pending(loop: Loop, history: list[dict], test: ImageSet | None) -> bool:
    """Whether the last epoch of the history still has to be evaluated, on this rank."""
    if test is None or not history:
        return False
    row, every = history[-1], loop.recipe.evaluation.knn_every
    due = labelled(loop, test) and (
        row["epoch"] == loop.recipe.training.epochs or (every > 0 and row["epoch"] % every == 0)
    )
    return (due and "knn" not in row) or any(figure not in row for figure in loop.method.reports)


def evaluate_epoch(loop: Loop, test: ImageSet) -> dict:
    """What the objective reports, and kNN where it is due; after the last epoch which test images kNN got
    right, too.
    """
    row = report(loop, test)
    every, last = loop.recipe.evaluation.knn_every, loop.epochs_done == loop.recipe.training.epochs
    if labelled(loop, test) and (last or (every and loop.epochs_done % every == 0)):
        correct = knn_correct(loop, test)
        row["knn"] = 100 * correct.double().mean().item()
        if last:
            row |= {"knn_correct": pack(correct.tolist()), "test_images": len(correct)}
    return row


def report(loop: Loop, test: ImageSet) -> dict[str, float]:
    """What the objective says of itself on the first test images, whole; means over them."""
    if not loop.method.reports:
        return {}
    part = test.subset(torch.arange(min(REPORT_IMAGES, len(test))))
    figures = read_features(loop.method, part, loop.method.report, size=loop.recipe.views.size)
    return dict(zip(loop.method.reports, figures.mean(0).tolist()))


def knn_correct(loop: Loop, test: ImageSet) -> Tensor:
    """Which test images kNN names rightly, bool (N,): the training images used are the bank, all test images
    queries.
    """
    bank, settings = loop.batches.image_set, loop.recipe.evaluation
    vectors, queries = (
        features(loop.method.encoder, part, size=loop.recipe.views.size, device=loop.ranks.device)
        for part in (bank, test)
    )
    predicted = knn_predict(
        vectors,
        bank.labels,
        queries,
        classes=len(bank.classes),
        k=settings.knn_k,
        temperature=settings.knn_temperature,
    )
    return predicted == test.labels.to(predicted.device)


def refuse_divergence(loop: Loop, row: dict) -> None:
    """Raise Diverged where a figure of this epoch or a weight is not finite."""
    figures = [
        name for name, value in row.items() if isinstance(value, float) and not -torch.inf < value < torch.inf
    ]
    tensors = [tensor for tensor in loop.method.state_dict().values() if tensor.is_floating_point()]
    if not figures and torch.stack([tensor.isfinite().all() for tensor in tensors]).all():
        return
    row["diverged"] = True
    what = f"{', '.join(figures)} {'is' if len(figures) == 1 else 'are'}" if figures else "the weights are"
    raise Diverged(
        f"{loop.recipe.method.base} on {loop.recipe.data.name} diverged in epoch {row['epoch']}: {what} "
        "not finite; "
        f"make training.lr smaller than {loop.recipe.training.lr:g} or the warm-up longer"
    )


def make_record(loop: Loop, name: str, history: list[dict]) -> dict:
    """What a reader needs to judge and repeat the run.

    Figures that are not finite become null when it is written.
    """
    last, seconds = history[-1], sum(row["seconds"] for row in history)
    kept_figures = (*BOX_FIGURES, *PASS_FIGURES, *loop.method.reports)
    figures = {key: value for row in history for key, value in row.items() if key in kept_figures}
    metrics = {key: last[key] for key in ("loss", "knn") if key in last} | figures
    metrics |= pair_figures(loop.sampler, loop.batches.image_set)
    diverged = bool(last.get("diverged"))
    if diverged:
        metrics |= {"knn": None}
    correct = {"knn": last["knn_correct"]} if "knn_correct" in last else {}
    test_images = {"test_images": last["test_images"]} if "test_images" in last else {}
    return {
        "kind": "train",
        "name": name,
        "recipe": dump(loop.recipe),
        "digest": digest(loop.recipe),
        "seed": loop.recipe.training.seed,
        "data": loop.recipe.data.name,
        "images": len(loop.batches.image_set),
        "images_seen": last["images_seen"],
        "epochs": last["epoch"],
        "diverged": diverged,
        "metrics": metrics,
        "correct": correct,
        **test_images,
        "history": [{key: value for key, value in row.items() if key != "knn_correct"} for row in history],
        "train_seconds": seconds,
        "images_per_second": last["images_seen"] / seconds,
        "peak_memory_bytes": machine.peak_memory(loop.ranks.device),
        "precision": loop.precision.name,
        "numerics": records.NUMERICS,
        "processes": loop.ranks.world,
        "threads": torch.get_num_threads(),
        "machine": machine.describe(loop.ranks.device.type),
    }


def bar(loop: Loop, wanted: bool) -> tqdm:
    """A progress bar over all images of the run: throughput and time left."""
    per_epoch = loop.batches.steps * loop.recipe.training.batch_size
    return tqdm(
        total=per_epoch * loop.recipe.training.epochs,
        initial=per_epoch * loop.epochs_done,
        unit="img",
        unit_scale=True,
        desc=f"{loop.recipe.method.base} on {loop.recipe.data.name}",
        disable=not wanted,
        file=sys.stderr,
        mininterval=1.0,
    )


def shown_figures(row: dict) -> dict[str, str]:
    """What the bar shows of an epoch."""
    return {"loss": f"{row['loss']:.3f}"} | ({"kNN": f"{row['knn']:.1f}%"} if "knn" in row else {})


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
