"""Noise: how much accuracy survives ImageNet-C's three kinds of it (Hendrycks & Dietterich, ICLR 2019)?

Formulas and constants are those of the released code, whose tables differ by image size; the paper's own
noise test and its scale are not accessible, so this choice is ours. Noise acts on pixels in [0, 1] before
normalisation and is clipped there. Unlike the published files, images are not rounded to 256 levels or packed
as JPEG afterwards.
"""

import math

import torch
from torch import Tensor

from partwhole.arithmetic import full_precision
from partwhole.data.image_set import ImageSet
from partwhole.errors import BadInput, choice
from partwhole.evaluation.classifier import Classifier, bar
from partwhole.evaluation.features import frozen, pixel_batches
from partwhole.evaluation.subject import Subject

# By image side, then kind: severities 1 to 5.
# Gaussian: deviation; shot: photons at full brightness; impulse: share of values.
STRENGTHS = {
    32: {
        "gaussian": (0.04, 0.06, 0.08, 0.09, 0.10),
        "shot": (500, 250, 100, 75, 50),
        "impulse": (0.01, 0.02, 0.03, 0.05, 0.07),
    },
    64: {
        "gaussian": (0.04, 0.08, 0.12, 0.15, 0.18),
        "shot": (250, 100, 50, 30, 15),
        "impulse": (0.01, 0.02, 0.05, 0.08, 0.14),
    },
    224: {
        "gaussian": (0.08, 0.12, 0.18, 0.26, 0.38),
        "shot": (60, 25, 12, 5, 3),
        "impulse": (0.03, 0.06, 0.09, 0.17, 0.27),
    },
}
KINDS = ("gaussian", "shot", "impulse")
SEVERITIES = (1, 2, 3, 4, 5)


def strength(kind: str, severity: int, side: int) -> float:
    """The published strength of the nearest published side, in ratio; BadInput for an unknown kind."""
    if kind not in KINDS:
        raise choice("noise", kind, list(KINDS))
    if severity not in SEVERITIES:
        raise BadInput(f"severity is {severity}; it goes from 1 to 5")
    nearest = min(STRENGTHS, key=lambda known: abs(math.log(side / known)))
    return STRENGTHS[nearest][kind][severity - 1]


def corrupted(pixels: Tensor, kind: str, strength: float, generator: torch.Generator) -> Tensor:
    """pixels (B, 3, S, S) in [0, 1] with noise, clipped to [0, 1]; a new tensor.

    gaussian: x + strength n, n standard normal.  shot: Poisson(strength x) / strength.  impulse: this share
    of values, each channel by itself, becomes 0 or 1 with even chances.
    """
    if kind == "gaussian":
        noisy = pixels + strength * torch.randn(pixels.shape, generator=generator, device=pixels.device)
    elif kind == "shot":
        noisy = torch.poisson(pixels * strength, generator=generator) / strength
    else:
        hit, salt = torch.rand(2, *pixels.shape, generator=generator, device=pixels.device)
        noisy = torch.where(hit < strength, (salt < 0.5).to(pixels.dtype), pixels)
    return noisy.clamp(0, 1)


def noise_accuracy(
    classifier: Classifier, image_set: ImageSet, *, size: int | None = None, kinds: tuple[str, ...] = KINDS,
    severities: tuple[int, ...] = SEVERITIES, batch: int = 512, seed: int = 0, progress: bool = False,
) -> dict:  # fmt: skip
    """Accuracy in per cent on clean images, `clean`, and by kind of noise a list over severities."""
    device, count = classifier.device, len(image_set)
    labels = image_set.labels.to(device)
    generator = torch.Generator(device).manual_seed(seed)
    hits = torch.zeros(1 + len(kinds) * len(severities), dtype=torch.int64, device=device)
    shown = bar("noise", count * len(hits), progress)
    with shown, frozen(classifier), full_precision(device):
        for rows, pixels in pixel_batches(image_set, device=device, batch=batch, size=size):
            side = pixels.shape[-1]
            noisy = (
                corrupted(pixels, kind, strength(kind, severity, side), generator)
                for kind in kinds
                for severity in severities
            )
            for place, seen in enumerate((pixels, *noisy)):
                hits[place] += classifier.correct(seen, labels[rows])
            shown.update(len(pixels) * len(hits))
    clean, *found = (100 * hits.double() / count).tolist()
    curves = {kind: found[place * len(severities) :][: len(severities)] for place, kind in enumerate(kinds)}
    return {"clean": clean, **curves}


def measure(subject: Subject) -> dict:
    """noise: mean accuracy over kinds and severities, and of each kind.  noise_retained: over the
    clean one.
    """
    curves = noise_accuracy(subject.classifier, subject.test, size=subject.size, progress=subject.progress)
    by_kind = {f"noise_{kind}": sum(curves[kind]) / len(curves[kind]) for kind in KINDS}
    mean = sum(by_kind.values()) / len(by_kind)
    return {"noise": mean, **by_kind, "noise_retained": mean / max(curves["clean"], 1e-9), "details": curves}
