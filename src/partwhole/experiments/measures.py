"""Measures in words: figures' names, units and meanings, and how their values are written."""

from typing import NamedTuple

from partwhole.evaluation import is_percentage

MINUS = "\u2212"


class Measure(NamedTuple):
    """A figure in words. unit: empty for a number without one."""

    name: str
    unit: str
    meaning: str


MEASURES = {
    "knn": Measure("kNN accuracy", "%", "test images whose class their 200 nearest training images name"),
    "linear": Measure("linear accuracy", "%", "test images that a linear layer on the frozen network names"),
    "knn_shifted": Measure("kNN accuracy, shifted", "%", "the same on backgrounds drawn anew"),
    "background_share": Measure("background's share", "", "what moves a vector: background (1), object (0)"),
    "loss": Measure("loss", "", "training loss of the last epoch; lower need not be better"),
    "consistency": Measure("consistency", "", "correlation of a map with itself in the other view"),
    "map_kl": Measure("maps from even", "nats", "mean KL divergence of alignment maps from the even map"),
    "box_iou": Measure("box IoU", "", "overlap of a computed box with the true one, 0 to 1"),
    "object_iou": Measure("object IoU", "", "overlap of each object with its best box, 0 to 1"),
    "box_area": Measure("box area", "", "area of computed boxes as a share of the image's"),
    "box_whole": Measure("whole boxes", "", "share of computed boxes that are as large as the image"),
    "false_pairs": Measure("false pairs", "", "share of pairs of which only one shows the object"),
    "linear_cached": Measure(
        "linear accuracy, fast", "%", "test images that logistic regression on fixed vectors names"
    ),
    "redundancy": Measure("redundancy", "", "mean cosine of two local vectors of an image"),
    "redundancy_centred": Measure(
        "redundancy, centred", "", "the same less the mean local vector of all images"
    ),
    "noise": Measure(
        "accuracy under noise", "%", "linear, mean over ImageNet-C's three kinds and five severities"
    ),
    "noise_retained": Measure("kept under noise", "", "the same over the accuracy on clean images"),
    "masking": Measure(
        "accuracy under masking", "%", "linear, mean over shares of hidden positions, a quarter to 0.9"
    ),
    "masking_retained": Measure("kept under masking", "", "the same over the accuracy without a mask"),
    "attack": Measure("accuracy under attack", "%", "linear, mean over PGD radii of 0.25 to 2 of 255"),
    "attack_retained": Measure("kept under attack", "", "the same over the accuracy without an attack"),
    "crops": Measure("accuracy on crops", "%", "linear, mean over test crops of 0.08 to 0.8 of the area"),
    "effective_side": Measure(
        "effective field", "px", "side of a square that holds 95 % of a position's gradient"
    ),
    "pair_iou": Measure("pair IoU", "", "overlap of a pair's crops, 0 to 1"),
}


def measure(metric: str) -> Measure:
    """A figure's name, unit and meaning; its own name where no words are known."""
    return MEASURES.get(
        metric,
        Measure(metric.replace("_", " "), "%" if is_percentage(metric) else "", "see the table's file"),
    )


def number(value: float, metric: str) -> str:
    """A value: an accuracy with one digit, all else with three that count."""
    return (f"{value:.1f}" if is_percentage(metric) else f"{value:.3g}").replace("-", MINUS)


def interval(mean: float, half: float | None, metric: str, signed: bool = False) -> str:
    """A mean and its 95 % interval, which one number does not have."""
    middle = ("+" if signed and mean > 0 else "") + number(mean, metric)
    if half is None:
        return middle
    return f"{middle} ({number(mean - half, metric)} to {number(mean + half, metric)})"


def with_unit(metric: str) -> str:
    name, unit, _ = measure(metric)
    return f"{name} ({unit})" if unit else name
