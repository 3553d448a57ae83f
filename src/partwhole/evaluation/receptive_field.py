"""What a position of the map really looks at: its effective receptive field (Luo et al., NeurIPS 2016)."""

import torch
from torch import Tensor, nn

from partwhole.arithmetic import full_precision
from partwhole.data.image_set import ImageSet
from partwhole.errors import BadInput
from partwhole.evaluation.classifier import bar
from partwhole.evaluation.features import encoder_of, frozen, normalised, pixel_batches
from partwhole.evaluation.subject import Subject
from partwhole.models.receptive_field import receptive_field

IMAGES = 500
MASS = 0.95  # ours: the paper's threshold is not accessible


def gradient_map(
    network: nn.Module, image_set: ImageSet, *, size: int | None = None, place: tuple[int, int] | None = None,
    batch: int = 100, progress: bool = False,
) -> Tensor:  # fmt: skip
    """Where a position's channels get their gradient: mean of |d sum_c h_c / dx| over images, colours: (S,
    S).

    place: row and column on the map; its middle, (h // 2, w // 2), where it is not given. Sums to 1.
    """
    device, total = next(network.parameters()).device, 0.0
    encoder, shown = encoder_of(network), bar("receptive field", len(image_set), progress)
    with shown, frozen(network), full_precision(device):
        for _, pixels in pixel_batches(image_set, device=device, batch=batch, size=size):
            with torch.enable_grad():
                inputs = normalised(pixels, image_set.mean, image_set.std).requires_grad_()
                maps = encoder(inputs).maps
                row, column = place or (maps.shape[2] // 2, maps.shape[3] // 2)
                if not (0 <= row < maps.shape[2] and 0 <= column < maps.shape[3]):
                    raise BadInput(
                        f"place is ({row}, {column}), but the map has "
                        f"{maps.shape[2]} x {maps.shape[3]} positions"
                    )
                (gradient,) = torch.autograd.grad(maps[:, :, row, column].sum(), inputs)
            total = total + gradient.abs().sum((0, 1))
            shown.update(len(pixels))
    return total / total.sum()


def effective_area(gradients: Tensor, mass: float = MASS) -> float:
    """The share of the image's pixels, the strongest first, that holds so much of a map (S, S)."""
    ordered = gradients.flatten().double().sort(descending=True).values.cumsum(0)
    return (int((ordered < mass * ordered[-1]).sum()) + 1) / gradients.numel()


def measure(subject: Subject) -> dict:
    """receptive_field: in px, by recursion.

    effective_area: share of the image that holds 95 % of the central position's gradient.  effective_side:
    of a square of that area, in px.
    """
    part = subject.test.part(0, min(IMAGES, len(subject.test)))
    gradients = gradient_map(subject.network, part, size=subject.size, progress=subject.progress)
    area, side = effective_area(gradients), gradients.shape[0]
    details = {
        "images": len(part),
        "gradient_map": [[round(x * side**2, 4) for x in row] for row in gradients.tolist()],
    }
    return {
        "receptive_field": float(receptive_field(encoder_of(subject.network)).size), "effective_area": area,
        "effective_side": side * area**0.5, "details": details,
    }  # fmt: skip
