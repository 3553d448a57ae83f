"""Small attacks: projected gradient descent through encoder and probe (Madry et al., ICLR 2018).

The paper attacks by PGD; its norm, radii and steps are not accessible. Ours: L-infinity, radii 0.25 to 2 of
255, 20 steps of 2.5 radii in all, a random start, pixels in [0, 1] before normalisation, the first 1,000 test
images.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from partwhole.arithmetic import full_precision
from partwhole.data.image_set import ImageSet
from partwhole.errors import BadInput
from partwhole.evaluation.classifier import Classifier, bar
from partwhole.evaluation.features import frozen, pixel_batches
from partwhole.evaluation.subject import Subject

RADII = (0.25, 0.5, 1.0, 2.0)  # of 255
STEPS = 20
IMAGES = 1000


def attacked(
    classifier: torch.nn.Module, pixels: Tensor, labels: Tensor, *, radius: float, steps: int = STEPS,
    step: float | None = None, start: Tensor | None = None,
) -> Tensor:  # fmt: skip
    """Pixels (B, 3, S, S) in [0, 1], each moved by at most `radius`, so that the true labels cost more.

    x <- project(x + step sign(d cross-entropy / dx)), `steps` times.  step: 2.5 radius / steps where not
    given.
    start: where to begin, uniform numbers in [-1, 1] as shares of the radius; the image itself where not
    given. BadInput where the radius is below 0.
    """
    if radius < 0:
        raise BadInput(
            f"the radius of the attack is {radius:g}; it must be at least 0; a grey level is {1 / 255:.4f}"
        )
    step = 2.5 * radius / max(1, steps) if step is None else step
    low, high = (pixels - radius).clamp(min=0), (pixels + radius).clamp(max=1)
    moved = pixels.clone() if start is None else torch.clamp(pixels + radius * start, low, high)
    for _ in range(steps):
        with torch.enable_grad():
            moved.requires_grad_()
            # Summed, so that an image's gradient knows no other image.
            cost = F.cross_entropy(classifier(moved), labels, reduction="sum")
            (gradient,) = torch.autograd.grad(cost, moved)
        moved = torch.clamp(moved.detach() + step * gradient.sign(), low, high)
    return moved


def attack_accuracy(
    classifier: Classifier, image_set: ImageSet, *, size: int | None = None, radii: tuple[float, ...] = RADII,
    steps: int = STEPS, batch: int = 250, seed: int = 0, progress: bool = False,
) -> dict:  # fmt: skip
    """Accuracy in per cent without an attack, `clean`, and `attacked`, a list over radii in units
    of 1 / 255.
    """
    device, count = classifier.device, len(image_set)
    labels, generator = image_set.labels.to(device), torch.Generator(device).manual_seed(seed)
    hits = torch.zeros(1 + len(radii), dtype=torch.int64, device=device)
    shown = bar("attack", count * len(radii), progress)
    with shown, frozen(classifier), full_precision(device):
        for rows, pixels in pixel_batches(image_set, device=device, batch=batch, size=size):
            hits[0] += classifier.correct(pixels, labels[rows])
            for place, radius in enumerate(radii, 1):
                start = 2 * torch.rand(pixels.shape, generator=generator, device=device) - 1
                moved = attacked(
                    classifier, pixels, labels[rows], radius=radius / 255, steps=steps, start=start
                )
                hits[place] += classifier.correct(moved, labels[rows])
                shown.update(len(pixels))
    clean, *found = (100 * hits.double() / count).tolist()
    return {"clean": clean, "attacked": found}


def measure(subject: Subject) -> dict:
    """attack: mean accuracy over the radii.  attack_retained: the same over that without an attack."""
    part = subject.test.part(0, min(IMAGES, len(subject.test)))
    curve = attack_accuracy(subject.classifier, part, size=subject.size, progress=subject.progress)
    mean = sum(curve["attacked"]) / len(RADII)
    details = {"radii": list(RADII), "steps": STEPS, "images": len(part), **curve}
    return {"attack": mean, "attack_retained": mean / max(curve["clean"], 1e-9), "details": details}
