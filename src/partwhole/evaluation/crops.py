"""Sensitivity to crop size: test images seen through random crops, by a probe of whole images. Ours."""

import torch
import torch.nn.functional as F

from partwhole.arithmetic import full_precision
from partwhole.data.image_set import ImageSet
from partwhole.errors import BadInput
from partwhole.evaluation.classifier import Classifier, bar
from partwhole.evaluation.features import frozen
from partwhole.evaluation.subject import Subject
from partwhole.views.crops import RandomResizedCrop
from partwhole.views.resample import resample

SHARES = (0.08, 0.2, 0.4, 0.6, 0.8, 1.0)


def crop_accuracy(
    classifier: Classifier, image_set: ImageSet, *, size: int, shares: tuple[float, ...] = SHARES,
    batch: int = 512, seed: int = 0, progress: bool = False,
) -> dict:  # fmt: skip
    """By share of the image's area: `accuracy` in per cent, and `cosine` of vectors of crop and whole image.

    One crop an image and share, of an aspect ratio of 3/4 to 4/3, resized to `size`. A share of 1 is the
    whole image.
    """
    if not all(0 < share <= 1 for share in shares):
        raise BadInput(f"shares are {list(shares)}; each must be above 0 and at most 1")
    device, count = classifier.device, len(image_set)
    labels, generator = image_set.labels.to(device), torch.Generator(device).manual_seed(seed)
    hits = torch.zeros(len(shares), dtype=torch.int64, device=device)
    cosines = torch.zeros(len(shares), device=device)
    shown = bar("crops", count * len(shares), progress)
    with shown, frozen(classifier), full_precision(device):
        for start in range(0, count, batch):
            rows = slice(start, start + batch)
            images = image_set.images[rows].to(device)
            if image_set.sizes is None:
                sizes = torch.tensor(images.shape[1:3], device=device).expand(len(images), 2)
            else:
                sizes = image_set.sizes[rows].to(device).long()
            corner = torch.zeros(len(images), dtype=torch.int64, device=device)
            unflipped = corner.bool()
            pooled = []
            for share in (1.0, *shares):
                crop = (corner, corner, *sizes.unbind(1))
                if share < 1:
                    sampler = RandomResizedCrop((share, share))
                    u = torch.rand(len(images), sampler.uniforms, generator=generator, device=device)
                    crop = sampler(sizes, None, u)
                pooled.append(classifier.features(resample(images, *crop, unflipped, size)).pooled.float())
            for place, vectors in enumerate(pooled[1:]):
                hits[place] += (classifier.probe(vectors).argmax(1) == labels[rows]).sum()
                cosines[place] += F.cosine_similarity(vectors, pooled[0]).sum()
            shown.update(len(images) * len(shares))
    return {"accuracy": (100 * hits.double() / count).tolist(), "cosine": (cosines / count).tolist()}


def measure(subject: Subject) -> dict:
    """Means over shares below 1.  crops_retained: over the accuracy on whole images.  crops_cosine: of
    vectors.
    """
    curves = crop_accuracy(subject.classifier, subject.test, size=subject.size, progress=subject.progress)
    *cropped, whole = curves["accuracy"]
    mean = sum(cropped) / len(cropped)
    return {
        "crops": mean, "crops_retained": mean / max(whole, 1e-9),
        "crops_cosine": sum(curves["cosine"][:-1]) / len(cropped),
        "details": {"shares": list(SHARES), **curves},
    }  # fmt: skip
