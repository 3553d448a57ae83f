"""Records as runs would leave them, without the runs."""

from partwhole.recipes import files


def made_up(cell, minutes: float = 2.0, **metrics: float) -> dict:
    """A record as a run of this cell would leave it."""
    machine = {"device": "cpu", "model": "a processor", "cores": 2}
    return {
        "kind": "train", "digest": files.digest(cell.recipe), "seed": cell.seed, "images_seen": 199_680,
        "train_seconds": 60 * minutes, "metrics": metrics, "machine": machine,
    }  # fmt: skip
