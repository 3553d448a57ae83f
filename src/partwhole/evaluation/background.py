"""The background's part in a network's vectors, on scenes: objects stay, backgrounds are swapped or drawn
anew.
"""

from dataclasses import replace

from torch import nn

from partwhole.data import catalogue
from partwhole.data.scenes import scenes
from partwhole.errors import BadInput
from partwhole.evaluation import maps
from partwhole.evaluation.features import features
from partwhole.evaluation.knn import knn_accuracy
from partwhole.evaluation.subject import Subject

# Backgrounds are swapped with those of images so many places further; no multiple of the number of classes.
SHIFTS = (1, 3, 7)


def background_share(
    network: nn.Module,
    mean,
    std,
    *,
    count: int = 1000,
    seen_at: int | None = None,
    setting: str = "plain",
    **controls,
) -> float:
    """The background's part in a network's pooled vectors, 0..1, on scenes whose objects and backgrounds are
    swapped (maps.moved).

    network: a method, an encoder, or any module from pixels to Features.  count: a multiple of 100.  seen_at:
    the size to which scenes are resized before the network sees them.  controls: of the scenes.
    """
    shown = (scenes(count, setting=setting, seed=1, swap=swap, **controls) for swap in (0, *SHIFTS))
    swapped = [features(network, replace(image_set, mean=mean, std=std), size=seen_at) for image_set in shown]
    # (100, blocks, C): shifts go round in a block.
    blocks = [part.unflatten(0, (-1, 100)).transpose(0, 1) for part in swapped]
    return sum(maps.moved(blocks[0], part, shift) for shift, part in zip(SHIFTS, blocks[1:])) / len(SHIFTS)


def measure(subject: Subject) -> dict:
    """knn_shifted: kNN on test scenes whose backgrounds say nothing of the class.  background_share: as
    above.
    """
    data = subject.recipe.data
    if data.name not in catalogue.SCENES:
        raise BadInput(
            f"the backgrounds of {data.name} cannot be swapped; evaluate background on "
            f"{', '.join(catalogue.SCENES)}"
        )
    controls = {**data.controls, "background_correlation": 0.0}
    shifted = catalogue.load(data.name, "test", controls=controls)
    bank, _ = subject.vectors
    queries = features(subject.network, shifted, device=subject.device, size=subject.size)
    share = background_share(
        subject.network, subject.train.mean, subject.train.std, seen_at=subject.size,
        setting=data.name.removeprefix("scenes/"), **controls,
    )  # fmt: skip
    accuracy = knn_accuracy(bank, subject.train.labels, queries, shifted.labels, **subject.vote)
    return {"knn_shifted": accuracy, "background_share": share}
