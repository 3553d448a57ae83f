"""Evaluation: what a trained network is worth. One measure a file, on a network and images; this register
names them all.

A module that measures has a function `measure(subject) -> dict`, which gives exactly the figures that are
listed here. Help, command line and tables derive from the register what can be measured. Importing it loads
nothing heavy.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING

from partwhole.errors import choice

if TYPE_CHECKING:
    from partwhole.evaluation.subject import Subject


@dataclass(frozen=True)
class Evaluation:
    """One measure. module: where its `measure` is.  figures: their names.  about: for help.

    percent: which of them are accuracies in per cent: all, none, or those named.
    """

    module: str
    figures: tuple[str, ...]
    about: str
    percent: bool | tuple[str, ...] = False

    @property
    def percentages(self) -> tuple[str, ...]:
        """The figures that are accuracies in per cent."""
        return (self.figures if self.percent else ()) if isinstance(self.percent, bool) else self.percent

    def measure(self, subject: "Subject") -> dict:
        """The figures by name; `details` may come beside them, for the record."""
        return import_module(f"partwhole.evaluation.{self.module}").measure(subject)


EVALUATIONS = {
    "knn": Evaluation("knn", ("knn",), "k 200, temperature 0.1, cosine", percent=True),
    "raw_pixels": Evaluation("raw_pixels", ("raw_pixels",), "the same without a network", percent=True),
    "linear_cached": Evaluation(
        "linear_cached",
        ("linear_cached", "linear_cached_train"),
        "a fast probe on fixed features",
        percent=True,
    ),
    "linear": Evaluation(
        "linear",
        ("linear", "linear_train"),
        "the papers' probe, trained on augmented crops for 100 epochs",
        percent=True,
    ),
    "maps": Evaluation(
        "map_figures",
        (
            "map_kl",
            "map_entropy",
            "map_peak",
            "pointing",
            "pointing_chance",
            "pointing_best",
            "pointing_fixed",
            "map_inside",
            "map_inside_even",
            "consistency",
            "consistency_shuffled",
        ),
        "how even alignment maps are, where they point, whether views agree",
    ),
    "background": Evaluation(
        "background",
        ("knn_shifted", "background_share"),
        "of scenes: kNN on backgrounds drawn anew, their share in the vectors",
        percent=("knn_shifted",),
    ),
    "redundancy": Evaluation(
        "redundancy",
        (
            "redundancy",
            "redundancy_centred",
            "redundancy_between",
            "redundancy_between_centred",
            "local_rank",
            "probe_one",
            "probe_all",
        ),
        "how alike an image's local vectors are, and what one of them knows",
        percent=("probe_one", "probe_all"),
    ),
    "receptive_field": Evaluation(
        "receptive_field",
        ("receptive_field", "effective_area", "effective_side"),
        "the central position's: in theory, and the part that holds 95 % of its gradient",
    ),
    "noise": Evaluation(
        "noise",
        ("noise", "noise_gaussian", "noise_shot", "noise_impulse", "noise_retained"),
        "ImageNet-C's three kinds of noise, five severities, by a probe of clean images",
        percent=("noise", "noise_gaussian", "noise_shot", "noise_impulse"),
    ),
    "masking": Evaluation(
        "masking",
        ("masking", "masking_units", "masking_block", "masking_retained"),
        "parts of the last map masked before pooling, by the same probe",
        percent=("masking", "masking_units", "masking_block"),
    ),
    "attack": Evaluation(
        "attack",
        ("attack", "attack_retained"),
        "PGD through encoder and probe, L-infinity, up to 2 / 255; 1,000 images",
        percent=("attack",),
    ),
    "crops": Evaluation(
        "crops",
        ("crops", "crops_retained", "crops_cosine"),
        "test images seen through crops of 0.08 to 0.8 of their area",
        percent=("crops",),
    ),
    "affinity": Evaluation(
        "affinity",
        (
            "affinity_same",
            "affinity_different",
            "affinity_accuracy",
            "affinity_auc",
            "affinity_hits",
            "cosine_hits",
        ),
        "whether LoGo's critic, elsewhere the cosine, tells local crops of one image from those of two",
    ),
    "local_cosines": Evaluation(
        "local_cosines",
        ("cosine_local_local", "cosine_local_global", "cosine_global_global", "cosine_local_other"),
        "how alike local and global crops of an image are, and local crops of two images",
    ),
    "local_objects": Evaluation(
        "local_objects",
        ("objects_same", "objects_different", "objects_gap", "objects_auc", "objects_share"),
        "of sets with boxes: cosines of local crops that show the same object, and of those that do not",
    ),
    "effective_rank": Evaluation(
        "effective_rank",
        ("effective_rank",),
        "over how many directions pooled vectors are spread",
    ),
}
GROUPS = {"robustness": ("noise", "masking", "attack")}  # names for several evaluations at once


def named(what: Sequence[str]) -> list[str]:
    """Evaluations by their names and those of groups, each once, in the order given; BadInput for any other
    name.
    """
    for name in what:
        if name not in EVALUATIONS and name not in GROUPS:
            raise choice("evaluation", name, [*EVALUATIONS, *GROUPS])
    return list(dict.fromkeys(member for name in what for member in GROUPS.get(name, (name,))))


def evaluations_of(figures: set[str]) -> list[str]:
    """The evaluations that give any of these figures, in the register's order."""
    return [name for name, evaluation in EVALUATIONS.items() if figures & set(evaluation.figures)]


def is_percentage(figure: str) -> bool:
    """Whether a figure is an accuracy in per cent."""
    return any(figure in evaluation.percentages for evaluation in EVALUATIONS.values())
