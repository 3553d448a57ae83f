"""The papers' linear probe: how much of the classes can one linear layer, trained on augmented images, read
off a frozen encoder?

It reports the last state of the classifier, never the best on the test set.
"""

import sys

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from tqdm import tqdm

from partwhole.data.image_set import ImageSet
from partwhole.errors import BadInput
from partwhole.evaluation.features import encoder_of, features, frozen, normalised
from partwhole.evaluation.logistic import accuracy
from partwhole.evaluation.subject import Subject
from partwhole.views.crops import RandomResizedCrop
from partwhole.views.resample import resample


def linear_probe(
    encoder: nn.Module,
    train: ImageSet,
    test: ImageSet,
    *,
    size: int | None = None,
    epochs: int = 100,
    batch: int = 512,
    lr: float = 10.0,
    momentum: float = 0.9,
    weight_decay: float = 0.0,
    milestones: tuple[int, ...] = (60, 80),
    scale: tuple[float, float] = (0.08, 1.0),
    device: torch.device | str | None = None,
    seed: int = 0,
    progress: bool = False,
) -> dict:
    """The papers' linear evaluation, with ContrastiveCrop's values for small images as defaults (its Sec. 4.2
    and configs).

    The encoder is frozen and in evaluation mode, also while the classifier learns; features are pooled and
    not normalised.
    Training images: random resized crop of `scale` to `size`, flip.  Test images: whole.  One linear layer,
    weights N(0, 0.01^2), bias 0; SGD; the learning rate falls to a tenth after each of `milestones` epochs.
    LEWEL on ImageNet: lr
    0.4, 50 epochs, batch 256, milestones (30, 40). The last batch of an epoch may be smaller: that is our
    choice.
    size: the images' own where it is not given.  progress: a bar with time left.

    Returns train_accuracy and test_accuracy in percent after the last epoch (training's is a running mean
    over that epoch's augmented images), by_epoch: a list of {epoch, lr, loss, train_accuracy, test_accuracy},
    and `probe`, the linear layer.
    """
    check(train, test)
    if size is None and (train.sizes is not None or train.images.shape[1] != train.images.shape[2]):
        raise BadInput(
            "images that are not square, or of unequal size, need a size to be evaluated at; pass size"
        )
    size = size or train.images.shape[1]
    device = torch.device(device or next(encoder.parameters()).device)
    generator = torch.Generator(device=device).manual_seed(seed)
    unseen = features(encoder, test, device=device, size=size)
    labels, test_labels = train.labels.to(device), test.labels.to(device)
    classifier = nn.Linear(unseen.shape[1], len(train.classes) or int(labels.max()) + 1, device=device)
    nn.init.normal_(classifier.weight, std=0.01, generator=generator)
    nn.init.zeros_(classifier.bias)
    optimiser = torch.optim.SGD(classifier.parameters(), lr=lr, momentum=momentum, weight_decay=weight_decay)
    steps = torch.optim.lr_scheduler.MultiStepLR(optimiser, list(milestones), gamma=0.1)
    crop, by_epoch = RandomResizedCrop(scale), []
    bar = tqdm(
        total=epochs * len(train),
        unit="img",
        unit_scale=True,
        desc="linear probe",
        disable=not progress,
        file=sys.stderr,
    )
    with bar:
        for epoch in range(1, epochs + 1):
            loss_sum, hits = torch.zeros((), device=device), torch.zeros((), device=device)
            order = torch.rand(len(train), generator=generator, device=device).argsort()
            for index in order.split(batch):
                pixels = augmented(train, index, size, crop, generator)
                with frozen(encoder), torch.autocast(device.type, enabled=False):
                    vectors = encoder(normalised(pixels, train.mean, train.std)).pooled.float()
                scores = classifier(vectors)
                loss = F.cross_entropy(scores, labels[index])
                optimiser.zero_grad()
                loss.backward()
                optimiser.step()
                loss_sum += loss.detach() * len(index)
                hits += (scores.argmax(1) == labels[index]).sum()
                bar.update(len(index))
            with torch.no_grad():
                reached = accuracy(classifier(unseen), test_labels)
            row = {
                "epoch": epoch,
                "lr": optimiser.param_groups[0]["lr"],
                "loss": loss_sum.item() / len(train),
            }
            by_epoch.append(
                {**row, "train_accuracy": 100 * hits.item() / len(train), "test_accuracy": reached}
            )
            bar.set_postfix(test=f"{reached:.1f}%", refresh=False)
            steps.step()
    last = by_epoch[-1]
    reached = {"train_accuracy": last["train_accuracy"], "test_accuracy": last["test_accuracy"]}
    return {**reached, "by_epoch": by_epoch, "probe": classifier.requires_grad_(False)}


def augmented(
    train: ImageSet, index: Tensor, size: int, crop: RandomResizedCrop, generator: torch.Generator
) -> Tensor:
    """Randomly cropped, resized and flipped images at `index`: float32 (B, 3, size, size) in [0, 1]."""
    images = train.images[index.to(train.images.device)].to(index.device)
    if train.sizes is None:
        sizes = torch.tensor(images.shape[1:3], device=index.device).expand(len(index), 2)
    else:
        sizes = train.sizes.to(index.device)[index].long()
    u = torch.rand(len(index), crop.uniforms + 1, generator=generator, device=index.device)
    return resample(images, *crop(sizes, None, u[:, 1:]), u[:, 0] < 0.5, size)


def check(train: ImageSet, test: ImageSet) -> None:
    """BadInput where either set has no labels."""
    for split, name in ((train, "training"), (test, "test")):
        if split.labels is None:
            raise BadInput(
                f"the linear probe needs labels, and the {name} images have none; choose a labelled data set"
            )


def measure(subject: Subject) -> dict:
    encoder = encoder_of(subject.network)
    fitted = linear_probe(
        encoder,
        subject.train,
        subject.test,
        size=subject.size,
        device=subject.device,
        progress=subject.progress,
        **subject.probe,
    )
    details = {"protocol": dict(subject.probe), "by_epoch": fitted["by_epoch"]}
    return {"linear": fitted["test_accuracy"], "linear_train": fitted["train_accuracy"], "details": details}
