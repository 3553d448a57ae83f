"""The baseline without a network: kNN on pixels."""

from partwhole.data.image_set import ImageSet
from partwhole.errors import BadInput
from partwhole.evaluation.knn import knn_accuracy
from partwhole.evaluation.subject import Subject


def raw_pixels(train: ImageSet, test: ImageSet, *, k: int = 200, temperature: float = 0.1) -> float:
    """kNN accuracy in per cent on pixels minus the mean training image.

    train, test: with labels, and images of one size.
    """
    if train.labels is None or test.labels is None:
        raise BadInput("the raw-pixel baseline needs labels in both splits; choose a labelled data set")
    bank, queries = (images.images.flatten(1).float() for images in (train, test))
    mean = bank.mean(0)
    return knn_accuracy(bank - mean, train.labels, queries - mean, test.labels, k=k, temperature=temperature)


def measure(subject: Subject) -> dict:
    settings = subject.recipe.evaluation
    test = subject.test.to(subject.train.images.device)
    return {
        "raw_pixels": raw_pixels(subject.train, test, k=settings.knn_k, temperature=settings.knn_temperature)
    }
