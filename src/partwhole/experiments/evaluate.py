"""What a checkpoint's encoder is worth: kNN, linear probes, the raw-pixel baseline, maps and background, as one record."""

import time
from collections.abc import Sequence
from pathlib import Path

import torch

from partwhole import machine
from partwhole.data import catalogue
from partwhole.errors import BadInput, choice
from partwhole.evaluation.diagnostics import background_share, map_figures
from partwhole.evaluation.features import features
from partwhole.evaluation.knn import knn_accuracy, raw_pixels
from partwhole.evaluation.linear import linear_probe, linear_probe_cached
from partwhole.experiments.export import load_method
from partwhole.experiments.run import training_images
from partwhole.recipes.files import digest, dump
from partwhole.training import checkpoint, precision

KINDS = {  # every evaluation, and the figures that it gives
    "knn": ("knn",),
    "raw_pixels": ("raw_pixels",),
    "linear_cached": ("linear_cached", "linear_cached_train"),
    "linear": ("linear", "linear_train"),
    "maps": ("map_kl", "map_entropy", "map_peak", "pointing", "pointing_chance", "pointing_best", "pointing_fixed",
             "map_inside", "map_inside_even", "consistency", "consistency_shuffled"),
    "background": ("knn_shifted", "background_share"),
}  # fmt: skip
MAPPED = 500  # test images whose maps are measured


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
    arguments of `linear_probe`: epochs, batch, lr, ...).  "maps": the alignment maps of the first test images and of two views of
    each (diagnostics.map_figures).  "background", of scenes: kNN where backgrounds were drawn anew, whatever the class, and the
    background's share in pooled vectors (diagnostics.background_share).
    The bank and the probes' training images are those that the checkpoint was trained on, the queries all test images, both at the
    size it was trained on.  Its `metrics` hold the figures that KINDS names, accuracies in per cent; `seconds` what each took;
    `linear` the probe's values and epochs.
    BadInput for an unknown kind, a missing or damaged checkpoint, an absent data set or device.
    """
    for kind in what:
        if kind not in KINDS:
            raise choice("evaluation", kind, list(KINDS))
    place, probe = precision.device(device), probe or {}
    state = checkpoint.read(source)
    method, recipe = load_method(source)
    if "background" in what and recipe.data.name not in catalogue.SCENES:
        raise BadInput(
            f"the backgrounds of {recipe.data.name} cannot be swapped; evaluate background on {', '.join(catalogue.SCENES)}"
        )
    encoder = method.encoder.to(place)
    train, test = training_images(recipe, place), catalogue.load(recipe.data.name, "test", controls=recipe.data.controls)
    if train.labels is None or test.labels is None:
        raise BadInput(f"{recipe.data.name} has no labels, so nothing can be evaluated on it; choose a labelled data set")
    mean, std = catalogue.normalisation(recipe.data.name)
    size, classes = recipe.views.size, len(train.classes)
    vote = {"k": recipe.evaluation.knn_k, "temperature": recipe.evaluation.knn_temperature}
    metrics, seconds, more = {}, {}, {}

    if {"knn", "linear_cached", "background"} & set(what):
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
        elif kind == "maps":
            some = test.subset(torch.arange(min(MAPPED, len(test))))
            metrics |= map_figures(method.to(place), some, mean, std, views=recipe.views, size=size)
        elif kind == "background":
            metrics |= background(encoder, recipe, bank, train.labels, classes=classes, **vote)
        else:
            fitted = linear_probe(encoder, train, test, mean, std, size=size, device=place, progress=progress, **probe)
            metrics |= {kind: fitted["test_accuracy"], f"{kind}_train": fitted["train_accuracy"]}
            more["linear"] = {"protocol": dict(probe), "by_epoch": fitted["by_epoch"]}
        seconds[kind] = time.perf_counter() - started
    return {
        "kind": "evaluate", "name": name or recipe.method.base, "recipe": dump(recipe), "digest": digest(recipe),
        "seed": recipe.training.seed, "data": recipe.data.name, "images": len(train), "test_images": len(test),
        "images_seen": state["history"][-1]["images_seen"], "epochs": state["loop"]["epochs_done"],
        "metrics": metrics, **more, "seconds": seconds, "machine": machine.describe(place.type),
    }  # fmt: skip


def background(encoder, recipe, bank: torch.Tensor, labels: torch.Tensor, **vote) -> dict[str, float]:
    """kNN of a bank of features (N, C) on test scenes whose backgrounds say nothing of the class, and the background's share."""
    controls = {**recipe.data.controls, "background_correlation": 0.0}
    mean, std = catalogue.normalisation(recipe.data.name)
    shifted = catalogue.load(recipe.data.name, "test", controls=controls)
    seen = features(encoder, shifted.images, mean, std)
    setting = recipe.data.name.removeprefix("scenes/")
    return {
        "knn_shifted": knn_accuracy(bank, labels, seen, shifted.labels, **vote),
        "background_share": background_share(encoder, mean, std, setting=setting, **controls),
    }
