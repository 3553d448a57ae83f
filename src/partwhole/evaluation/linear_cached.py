"""The fast linear probe: logistic regression on one set of features, in seconds.

Our own yardstick, not the papers' protocol.
"""

from partwhole.evaluation.logistic import linear_probe_cached
from partwhole.evaluation.subject import Subject

__all__ = ["linear_probe_cached", "measure"]


def measure(subject: Subject) -> dict:
    fitted = subject.fitted
    return {"linear_cached": fitted["test_accuracy"], "linear_cached_train": fitted["train_accuracy"]}
