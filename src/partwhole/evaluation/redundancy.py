"""Redundancy: how alike are the local vectors of an image, and what does one of them know?

The paper compares cosines; its exact measure is not accessible, so this one is ours. ReLU features have no
negative values, so every network's look alike, and a collapsed network's look perfect: hence the same after
the mean local vector is taken away, between images, and the rank of all local vectors.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from partwhole.arithmetic import full_precision
from partwhole.data.image_set import ImageSet
from partwhole.errors import BadInput
from partwhole.evaluation.classifier import bar
from partwhole.evaluation.features import encoder_of, frozen, normalised, pixel_batches
from partwhole.evaluation.logistic import linear_probe_cached
from partwhole.evaluation.subject import Subject
from partwhole.methods.method import Method

TRAINING_IMAGES = 10_000  # that the probes on a few positions are trained on, at most


class Alikeness:
    """Mean cosines within and between images, from vectors (B, N, C) given batch by batch.

    Within: rho = (|sum_i u_i|^2 - N) / (N (N - 1)) of an image's unit vectors, averaged;
    R^2 = 1/N + (1 - 1/N) rho is the squared length of their mean.
    Between: all pairs of vectors of different images, exactly, from sums.
    """

    def __init__(self):
        self.images, self.count, self.within, self.squares, self.total = 0, 0, 0.0, 0.0, 0.0

    def add(self, vectors: Tensor) -> None:
        unit = F.normalize(vectors.double(), dim=-1)
        sums = unit.sum(1)
        self.images, self.count = self.images + len(unit), unit.shape[1]
        self.within = self.within + (sums.square().sum(1) - unit.square().sum((1, 2))).sum()
        self.squares, self.total = self.squares + sums.square().sum(), self.total + sums.sum(0)

    def figures(self) -> tuple[float, float]:
        """Within an image (1 where it has one vector), and between images (0 where there is one image)."""
        within, count, images = float(self.within), self.count, self.images
        between = float(self.total.square().sum() - self.squares)
        return (
            within / (images * count * (count - 1)) if count > 1 else 1.0,
            between / (count**2 * images * (images - 1)) if images > 1 else 0.0,
        )


def redundancy(
    network: nn.Module,
    image_set: ImageSet,
    *,
    size: int | None = None,
    batch: int = 512,
    progress: bool = False,
) -> dict:
    """Cosines of local vectors within and between images, raw and centred, and the rank of all of them.

    network: a method, an encoder of ours or a torchvision ResNet.  centred: less the mean of all local
    vectors of the set.  local_rank: exp of the entropy of the eigenvalues' shares of their covariance.
    by_distance: centred and raw cosine by the distance of two positions on the map, rounded.
    predicted: the raw cosine after the local heads of a method (its pooled ones where it has no others), None
    for an encoder.
    """
    device = next(network.parameters()).device
    encoder, raw, centred, predicted = encoder_of(network), Alikeness(), Alikeness(), Alikeness()
    heads = None
    if isinstance(network, Method):
        heads = network.levels["local" if "local" in network.levels else "pooled"]
    total = second = 0.0
    tables: list[Tensor] = []

    def vectors():
        for _, pixels in pixel_batches(image_set, device=device, batch=batch, size=size):
            yield encoder(normalised(pixels, image_set.mean, image_set.std)).positions.float()
            shown.update(len(pixels))

    shown = bar("redundancy", 2 * len(image_set), progress)
    with shown, frozen(network), full_precision(device):
        for local in vectors():
            raw.add(local)
            flat = local.flatten(0, 1).double()
            total, second = total + flat.sum(0), second + flat.T @ flat
            if heads is not None:
                predicted.add(heads.predict(heads.project(local, "online")))
        rows = raw.images * raw.count
        mean = total / rows
        for local in vectors():
            centred.add(local - mean.float())
            units = (F.normalize(local, dim=-1), F.normalize(local - mean.float(), dim=-1))
            tables.append(torch.stack([torch.einsum("bnc,bmc->nm", unit, unit) for unit in units]))
    side = encoder_side(encoder, image_set, size, device)
    within, between = raw.figures()
    within_centred, between_centred = centred.figures()
    return {
        "redundancy": within, "redundancy_centred": within_centred, "redundancy_between": between,
        "redundancy_between_centred": between_centred,
        "local_rank": rank(second / rows - torch.outer(mean, mean)),
        "by_distance": by_distance(sum(tables) / raw.images, side),
        "predicted": predicted.figures()[0] if heads else None,
    }  # fmt: skip


def encoder_side(
    encoder: nn.Module, image_set: ImageSet, size: int | None, device: torch.device
) -> tuple[int, int]:
    """Height and width of the map."""
    with frozen(encoder):
        _, pixels = next(pixel_batches(image_set, device=device, batch=1, size=size))
        return tuple(encoder(normalised(pixels, image_set.mean, image_set.std)).maps.shape[2:])


def rank(covariance: Tensor) -> float:
    """exp(entropy) of a covariance's eigenvalues as shares: between 1 and C."""
    values = torch.linalg.eigvalsh(covariance).clamp(min=0)
    shares = values / values.sum().clamp(min=1e-30)
    return torch.special.entr(shares).sum().exp().item()


def by_distance(tables: Tensor, side: tuple[int, int]) -> dict[str, list[float]]:
    """Mean cosines (2, N, N), raw and centred, by the rounded distance on a map of this height and width."""
    grid = torch.cartesian_prod(*(torch.arange(extent, dtype=torch.float64) for extent in side)).to(
        tables.device
    )
    steps = torch.cdist(grid, grid).round().long().flatten()
    counts = torch.bincount(steps)
    means = [torch.bincount(steps, table.flatten().double()) / counts for table in tables]
    distances = [place for place in range(1, len(counts)) if counts[place]]
    curves = {name: mean[distances].tolist() for name, mean in zip(("raw", "centred"), means)}
    return {"distance": distances, **curves}


def few_positions(
    network: nn.Module,
    image_set: ImageSet,
    counts: list[int],
    *,
    size: int | None = None,
    batch: int = 512,
    seed: int = 0,
) -> Tensor:
    """The pooled vector of k random positions of each image, for each k: float32 (len(counts), N, C).

    The first k of one random order of the positions are averaged, and what follows the pooling follows.
    """
    device, parts = next(network.parameters()).device, []
    encoder, generator = encoder_of(network), torch.Generator(device).manual_seed(seed)
    with frozen(network), full_precision(device):
        for _, pixels in pixel_batches(image_set, device=device, batch=batch, size=size):
            local = encoder(normalised(pixels, image_set.mean, image_set.std)).positions.float()
            places = local.shape[1]
            if max(counts) > places:
                raise BadInput(f"{max(counts)} positions were asked for, but the map has {places}")
            order = torch.rand(local.shape[:2], generator=generator, device=device).argsort(1)
            sums = local.gather(1, order[..., None].expand_as(local)).cumsum(1)
            parts.append(torch.stack([encoder.after_pooling(sums[:, k - 1] / k) for k in counts]))
    return torch.cat(parts, 1)


def measure(subject: Subject) -> dict:
    """The figures of `redundancy` on the test images, and probes on few positions.

    probe_one, probe_all: accuracy of a linear probe on one random position of each image, and on the mean of
    all; in details on 2, 4, ... too. Probes learn on 10,000 training images at most.
    """
    test, size = subject.test, subject.size
    figures = redundancy(subject.network, test, size=size, progress=subject.progress)
    network, device = encoder_of(subject.network), subject.device
    side = encoder_side(network, test, size, device)
    counts = sorted(
        {1 << power for power in range(20) if 1 << power < side[0] * side[1]} | {side[0] * side[1]}
    )
    chosen = torch.randperm(len(subject.train), generator=torch.Generator().manual_seed(0))[:TRAINING_IMAGES]
    train = subject.train.subset(chosen.sort().values)
    bank, queries = (
        few_positions(subject.network, part, counts, size=size, seed=seed)
        for seed, part in enumerate((train, test))
    )
    shown = bar("probes on positions", len(counts), subject.progress)
    accuracies = []
    with shown:
        for one, other in zip(bank, queries):
            fitted = linear_probe_cached(one, train.labels, other, test.labels, classes=subject.classes)
            accuracies.append(fitted["test_accuracy"])
            shown.update()
    details = {name: figures.pop(name) for name in ("by_distance", "predicted")}
    details |= {"positions": counts, "probe": accuracies, "training_images": len(train)}
    return {**figures, "probe_one": accuracies[0], "probe_all": accuracies[-1], "details": details}
