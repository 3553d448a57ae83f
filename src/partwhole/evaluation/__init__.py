"""Evaluation: what a trained network is worth. One measure a file, on a network and images; this register names them all.

A module that measures has a function `measure(subject) -> dict`, which gives exactly the figures that are listed here. Help,
command line and tables derive from the register what can be measured. Importing it loads nothing heavy.
"""

from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from partwhole.evaluation.subject import Subject


@dataclass(frozen=True)
class Evaluation:
    """One measure. module: where its `measure` is.  figures: their names.  about: for help.  percent: accuracies in per cent."""

    module: str
    figures: tuple[str, ...]
    about: str
    percent: bool = False

    def measure(self, subject: "Subject") -> dict:
        """The figures by name; `details` may come beside them, for the record."""
        return import_module(f"partwhole.evaluation.{self.module}").measure(subject)


EVALUATIONS = {
    "knn": Evaluation("knn", ("knn",), "k 200, temperature 0.1, cosine", percent=True),
    "raw_pixels": Evaluation("raw_pixels", ("raw_pixels",), "the same without a network", percent=True),
    "linear_cached": Evaluation(
        "linear_cached", ("linear_cached", "linear_cached_train"), "a fast probe on fixed features", percent=True
    ),
    "linear": Evaluation(
        "linear", ("linear", "linear_train"), "the papers' probe, trained on augmented crops for 100 epochs", percent=True
    ),
    "maps": Evaluation(
        "map_figures",
        ("map_kl", "map_entropy", "map_peak", "pointing", "pointing_chance", "pointing_best", "pointing_fixed", "map_inside",
         "map_inside_even", "consistency", "consistency_shuffled"),
        "how even alignment maps are, where they point, whether views agree",
    ),
    "background": Evaluation(
        "background", ("knn_shifted", "background_share"), "of scenes: kNN on backgrounds drawn anew, their share in the vectors"
    ),
}  # fmt: skip


def evaluations_of(figures: set[str]) -> list[str]:
    """The evaluations that give any of these figures, in the register's order."""
    return [name for name, evaluation in EVALUATIONS.items() if figures & set(evaluation.figures)]


def is_percentage(figure: str) -> bool:
    """Whether a figure is an accuracy in per cent."""
    return any(evaluation.percent and figure in evaluation.figures for evaluation in EVALUATIONS.values()) or (
        figure == "knn_shifted"
    )
