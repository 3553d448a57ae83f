"""What a checkpoint's encoder is worth: kNN, linear probes and the raw-pixel baseline, as one record."""

import time
from collections.abc import Sequence
from pathlib import Path

from partwhole import records
from partwhole.data import catalogue
from partwhole.errors import BadInput, choice
from partwhole.evaluation.features import features
from partwhole.evaluation.knn import knn_accuracy, raw_pixels
from partwhole.evaluation.linear import linear_probe, linear_probe_cached
from partwhole.recipes.files import digest, dump
from partwhole.training import checkpoint, precision
from partwhole.training.export import load_method
from partwhole.training.run import training_images

KINDS = ("knn", "raw_pixels", "linear_cached", "linear")


def evaluate(
    source: Path,
    what: Sequence[str] = ("knn", "linear"),
    *,
    name: str | None = None,
    device: str | None = None,
    probe: dict | None = None,
    progress: bool = False,
) -> dict:
    """The record of one checkpoint's evaluation; nothing is printed or written here.

    source: a checkpoint or a run's folder.  what: some of KINDS: "knn" by the recipe's k and temperature, "raw_pixels" the same
    without the network, "linear_cached" the fast probe, "linear" the papers' protocol, whose values `probe` overrides (the
    arguments of `linear_probe`: epochs, batch, lr, ...).  The bank and the probes' training images are those that the
    checkpoint was trained on, the queries all test images, both at the size it was trained on.
    Its `metrics` hold percentages under the names in `what`; `seconds` what each took; `linear` the probe's values and epochs.
    BadInput for an unknown kind, a missing or damaged checkpoint, an absent data set or device.
    """
    for kind in what:
        if kind not in KINDS:
            raise choice("evaluation", kind, list(KINDS))
    place, probe = precision.device(device), probe or {}
    state = checkpoint.read(source)
    method, recipe = load_method(source)
    encoder = method.encoder.to(place)
    train, test = training_images(recipe, place), catalogue.load(recipe.data.name, "test", controls=recipe.data.controls)
    if train.labels is None or test.labels is None:
        raise BadInput(f"{recipe.data.name} has no labels, so nothing can be evaluated on it; choose a labelled data set")
    mean, std = catalogue.normalisation(recipe.data.name)
    size, classes = recipe.views.size, len(train.classes)
    vote = {"k": recipe.evaluation.knn_k, "temperature": recipe.evaluation.knn_temperature}
    metrics, seconds, more = {}, {}, {}

    if {"knn", "linear_cached"} & set(what):
        started = time.perf_counter()
        bank, queries = (
            features(encoder, part.images, mean, std, device=place, size=size, sizes=part.sizes) for part in (train, test)
        )
        seconds["features"] = time.perf_counter() - started
    for kind in what:
        started = time.perf_counter()
        if kind == "knn":
            metrics[kind] = knn_accuracy(bank, train.labels, queries, test.labels, classes=classes, **vote)
        elif kind == "raw_pixels":
            metrics[kind] = raw_pixels(train, test.to(train.images.device), **vote)
        elif kind == "linear_cached":
            fitted = linear_probe_cached(bank, train.labels, queries, test.labels, classes=classes)
            metrics |= {kind: fitted["test_accuracy"], f"{kind}_train": fitted["train_accuracy"]}
        else:
            fitted = linear_probe(encoder, train, test, mean, std, size=size, device=place, progress=progress, **probe)
            metrics |= {kind: fitted["test_accuracy"], f"{kind}_train": fitted["train_accuracy"]}
            more["linear"] = {"protocol": dict(probe), "by_epoch": fitted["by_epoch"]}
        seconds[kind] = time.perf_counter() - started
    return {
        "kind": "evaluate", "name": name or recipe.method.base, "recipe": dump(recipe), "digest": digest(recipe),
        "seed": recipe.training.seed, "data": recipe.data.name, "images": len(train), "test_images": len(test),
        "images_seen": state["history"][-1]["images_seen"], "epochs": state["loop"]["epochs_done"],
        "metrics": metrics, **more, "seconds": seconds, "machine": records.machine(place.type),
    }  # fmt: skip
