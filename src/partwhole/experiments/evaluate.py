"""What a checkpoint's network is worth, by the register of evaluations, as one record."""

import time
from collections.abc import Sequence
from pathlib import Path

from partwhole import machine
from partwhole.data import catalogue
from partwhole.evaluation import EVALUATIONS, named
from partwhole.evaluation.subject import Subject
from partwhole.experiments.export import load_method
from partwhole.experiments.run import training_images
from partwhole.recipes.files import digest, dump
from partwhole.training import checkpoint, precision


def evaluate(
    source: Path,
    what: Sequence[str] = ("knn", "linear"),
    *,
    name: str | None = None,
    device: str | None = None,
    probe: dict | None = None,
    test_images: int | None = None,
    progress: bool = False,
) -> dict:
    """The record of one checkpoint's evaluation; nothing is printed or written here.

    source: a checkpoint or a run's folder.  what: names of EVALUATIONS or GROUPS.  probe: values that replace
    those of the papers' linear probe (arguments of `linear_probe`: epochs, batch, lr, ...).  test_images:
    only
    so many, balanced. The bank and the probes' training images are those that the checkpoint was trained on,
    the queries all test images, both at the size it was trained on.  Its `metrics` hold the figures that the
    register names; `seconds` what each took. BadInput for an unknown evaluation, a missing or damaged
    checkpoint, an absent data set or device.
    """
    what = named(what)
    place = precision.device(device)
    state = checkpoint.read(source)
    method, recipe = load_method(source)
    test = catalogue.load(recipe.data.name, "test", images=test_images, controls=recipe.data.controls)
    subject = Subject(
        method.to(place),
        recipe,
        training_images(recipe, place),
        test,
        place,
        probe=probe or {},
        progress=progress,
    )
    metrics, seconds, details = {}, {}, {}
    for kind in what:
        started = time.perf_counter()
        figures = EVALUATIONS[kind].measure(subject)
        if "details" in figures:
            details[kind] = figures.pop("details")
        metrics |= figures
        seconds[kind] = time.perf_counter() - started
    return {
        "kind": "evaluate",
        "name": name or recipe.method.base,
        "recipe": dump(recipe),
        "digest": digest(recipe),
        "seed": recipe.training.seed,
        "data": recipe.data.name,
        "images": len(subject.train),
        "test_images": len(test),
        "images_seen": state["history"][-1]["images_seen"],
        "epochs": state["loop"]["epochs_done"],
        "metrics": metrics,
        **details,
        "seconds": seconds,
        "machine": machine.describe(place.type),
    }
