"""What every evaluation measures: a trained network, the images it was trained on, test images, and what
several measures share.
"""

from dataclasses import dataclass, field
from functools import cached_property

import torch
from torch import Tensor, nn

from partwhole.data.image_set import ImageSet
from partwhole.errors import BadInput
from partwhole.evaluation.classifier import Classifier
from partwhole.evaluation.features import features
from partwhole.evaluation.logistic import linear_probe_cached
from partwhole.recipes.schema import Recipe


@dataclass
class Subject:
    """A network and its images.

    network: a method or an encoder, on `device`.  train: the images that it was trained on, the bank of kNN
    and the probes' training images.  test: all test images.  recipe: how it was trained; its size, k and
    temperature are used.
    probe: values that replace those of the papers' linear probe.  progress: show bars.
    """

    network: nn.Module
    recipe: Recipe
    train: ImageSet
    test: ImageSet
    device: torch.device
    probe: dict = field(default_factory=dict)
    progress: bool = False

    def __post_init__(self):
        if self.train.labels is None or self.test.labels is None:
            raise BadInput(
                f"{self.recipe.data.name} has no labels, so nothing can be evaluated on it; choose a "
                "labelled data set"
            )

    @property
    def size(self) -> int:
        """The height and width at which whole images are seen."""
        return self.recipe.views.size

    @property
    def classes(self) -> int:
        return len(self.train.classes)

    @property
    def vote(self) -> dict:
        """kNN's k and temperature, and the number of classes."""
        settings = self.recipe.evaluation
        return {"k": settings.knn_k, "temperature": settings.knn_temperature, "classes": self.classes}

    @cached_property
    def vectors(self) -> tuple[Tensor, Tensor]:
        """Pooled vectors of training and test images, each float32 (N, C): computed once for all measures
        that ask.
        """
        bank, queries = (
            features(self.network, images, device=self.device, size=self.size)
            for images in (self.train, self.test)
        )
        return bank, queries

    @cached_property
    def fitted(self) -> dict:
        """The fast linear probe on these vectors (logistic.linear_probe_cached): trained once for all
        measures that need one.
        """
        bank, queries = self.vectors
        return linear_probe_cached(bank, self.train.labels, queries, self.test.labels, classes=self.classes)

    @cached_property
    def classifier(self) -> Classifier:
        """The network and that probe as one, from pixels to scores."""
        return Classifier(self.network, self.fitted["probe"], self.test)
