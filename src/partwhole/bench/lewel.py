"""What LEWEL's aligned level costs: a step of LEWEL beside a step of BYOL, same network, heads, images and
views, in one run.

    python -m partwhole.bench.lewel --rounds 5

Two networks: ResNet-18 with heads of 1024 and 128, and the narrow one of the book's CPU runs. Memory is what
autograd keeps for the backward pass, and on a GPU the peak too.
"""

import argparse
import statistics
from functools import partial

import torch
from torch import Tensor

from partwhole import machine
from partwhole.bench.timing import kept, seconds, tell
from partwhole.bench.train import Ours
from partwhole.data import catalogue
from partwhole.recipes import files
from partwhole.training import precision

GOAL = 0.25  # of a step: what the aligned level may add with ResNet-18
# Recipe, batch on a CPU.
NETWORKS = {"ResNet-18": ("cifar10/byol_lewel", 64), "narrow": ("cifar10/narrow_byol_lewel", 256)}
BATCH = 256  # on a GPU


def kept_bytes(ours: Ours) -> int:
    """Bytes that autograd keeps between the forward and the backward pass of one step."""
    loop = ours.loop

    def forward() -> Tensor:
        with loop.precision.autocast():
            return loop.stages[0].terms(loop.method.encode(ours.views, loop.stages[0].phase))["loss"]

    return kept(forward, loop.method)[0]


def peak_bytes(ours: Ours) -> int | None:
    """The most memory that a step takes on a GPU; None elsewhere."""
    if ours.loop.ranks.device.type != "cuda":
        return None
    torch.cuda.reset_peak_memory_stats()
    ours.steps(1)
    return torch.cuda.max_memory_allocated()


def beside(
    recipe_name: str, batch: int, data: str, rounds: int, device: torch.device, extra: list[str] = ()
) -> dict:
    """Seconds a step of BYOL and of LEWEL, in turn: every round, the medians, what LEWEL adds, and memory."""
    always = [f"data.name={data}", f"training.batch_size={batch}", "training.epochs=1000", *extra]
    contenders = {
        "BYOL": Ours(files.load(recipe_name, [*always, "method.objective=pooled"]), device),
        "LEWEL": Ours(files.load(recipe_name, always), device),
    }
    for ours in contenders.values():
        ours.steps(2)
    taken = {name: [] for name in contenders}
    for _ in range(rounds):
        for name, ours in contenders.items():
            taken[name].append(seconds(partial(ours.steps, 1), 1.0, device))
    added = [two / one - 1 for one, two in zip(taken["BYOL"], taken["LEWEL"])]
    method = contenders["LEWEL"].loop.method
    trained = {name: ours.loop.stages[0].parameters for name, ours in contenders.items()}
    return {
        "recipe": recipe_name,
        "batch": batch,
        "channels": method.encoder.channels,
        "seconds": taken,
        "median": {name: statistics.median(values) for name, values in taken.items()},
        "added": statistics.median(added),
        "kept_bytes": {name: kept_bytes(ours) for name, ours in contenders.items()},
        "peak_bytes": {name: peak_bytes(ours) for name, ours in contenders.items()},
        "parameters": {name: sum(p.numel() for p in own) for name, own in trained.items()},
        "precision": contenders["LEWEL"].loop.precision.name,
    }


def compare(
    *,
    data: str = "cifar10",
    batch: int | None = None,
    rounds: int = 5,
    device: str | None = None,
    extra: list[str] = (),
) -> dict:
    """`beside` for every network. batch: images a step, else as NETWORKS says on a CPU and 256 on a GPU."""
    place = precision.device(device)
    results = {
        name: beside(recipe, batch or (few if place.type == "cpu" else BATCH), data, rounds, place, extra)
        for name, (recipe, few) in NETWORKS.items()
    }
    return {
        "what": "seconds a training step, two views each", "data": data, "goal": GOAL, "networks": results,
        "threads": torch.get_num_threads(), "machine": machine.describe(place.type),
    }  # fmt: skip


def show(result: dict) -> None:
    """Print what the aligned level adds, for people."""
    print(f"{result['what']}, {result['data']}")
    for name, results in result["networks"].items():
        print(
            f"{name}, batch {results['batch']}, {results['precision']}: "
            f"LEWEL adds {results['added']:.1%} to a step"
        )
        for method, taken in results["median"].items():
            print(
                f"  {method:6} {taken:8.3f} s, {results['kept_bytes'][method] / 2**20:6.0f} MiB kept for "
                "the backward pass"
            )


def main() -> None:
    """The command line of this benchmark alone."""
    parser = argparse.ArgumentParser(
        prog="python -m partwhole.bench.lewel", description=__doc__.splitlines()[0]
    )
    parser.add_argument(
        "--rounds", type=int, default=5, help="interleaved rounds; their median counts (default 5)"
    )
    parser.add_argument(
        "--data", default="cifar10", help="cifar10, or scenes/plain where no download is wanted"
    )
    parser.add_argument("--device", help="cpu or cuda (default: a GPU if there is one)")
    parser.add_argument("--batch", type=int, help="images a step, of both networks")
    parser.add_argument("--json", action="store_true", help="print everything as JSON")
    given = parser.parse_args()
    if given.data not in catalogue.SCENES:
        catalogue.check(given.data)
    tell(
        compare(data=given.data, rounds=given.rounds, device=given.device, batch=given.batch),
        show,
        given.json,
    )


if __name__ == "__main__":
    main()
