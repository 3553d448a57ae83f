"""How alike crops of one image are: local with local, local with global, global with global; and crops of two
images.
"""

import torch
from torch import Tensor

from partwhole.evaluation.crop_vectors import CropVectors, crop_vectors, pooled, views_with_locals
from partwhole.evaluation.subject import Subject

IMAGES = 2000  # test images that `measure` looks at


def cosines(vectors: CropVectors) -> dict[str, Tensor]:
    """Cosines of every image's crops: local_local and global_global (N,), local_global (4 N,), local_other
    (N,).

    local_other: a local crop with one of the image N / 2 places further, two images that have nothing in
    common.
    """
    (one, two), (first, second) = vectors.locals, vectors.globals
    mixed = [(local * whole).sum(1) for local in (one, two) for whole in (first, second)]
    return {
        "local_local": (one * two).sum(1),
        "local_global": torch.cat(mixed),
        "global_global": (first * second).sum(1),
        "local_other": (one * two.roll(len(two) // 2, 0)).sum(1),
    }


def measure(subject: Subject) -> dict:
    """Mean cosines of a method's projected vectors; in details, of the encoder's own too, and how they are
    spread.
    """
    part = subject.test.subset(torch.arange(min(IMAGES, len(subject.test))))
    views = views_with_locals(subject.recipe.views)
    of_projected = cosines(crop_vectors(subject.network, part, views=views))
    of_encoder = cosines(crop_vectors(subject.network, part, views=views, embed=pooled))
    edges = torch.linspace(-1, 1, 41)
    histograms = {
        name: torch.histogram(values.cpu().clamp(-1, 1), edges).hist.tolist()
        for name, values in of_projected.items()
    }
    return {
        **{f"cosine_{name}": values.mean().item() for name, values in of_projected.items()},
        "details": {
            "encoder": {name: values.mean().item() for name, values in of_encoder.items()},
            "edges": edges.tolist(), "histograms": histograms,
        },
    }  # fmt: skip
