"""What CO-SSL's local heads cost: a step of CO-BYOL beside one of BYOL, same network, images and views.

    python -m partwhole.bench.co_ssl --rounds 5

Two networks: ResNet-18 with heads of 4096 and 256, and the narrow one of the book's CPU runs. Beside all 16
positions, 4 drawn ones: the heads' cost goes with their number. Memory is what autograd keeps for the
backward pass, and on a GPU the peak too.
"""

import argparse
import statistics
from functools import partial

import torch

from partwhole import machine
from partwhole.bench.lewel import kept_bytes, peak_bytes
from partwhole.bench.timing import seconds, tell
from partwhole.bench.train import Ours
from partwhole.data import catalogue
from partwhole.recipes import files
from partwhole.training import precision

GOAL = 0.25  # of a step: what the local heads may add with ResNet-18 at 32 px
NETWORKS = {  # recipe, batch on a CPU
    "ResNet-18": ("cifar10/byol_co_ssl", 64),
    "narrow": ("cifar10/narrow_byol_co_ssl", 256),
}
BATCH = 256  # on a GPU
CONTENDERS = {
    "BYOL": ["method.objective=pooled"],
    "CO-BYOL": [],
    "4 positions": ["method.co_ssl.positions=4"],
}


def beside(
    recipe_name: str, batch: int, data: str, rounds: int, device: torch.device, extra: list[str] = ()
) -> dict:
    """Seconds a step of each contender, in turn: every round, medians, what each adds, and memory."""
    always = [f"data.name={data}", f"training.batch_size={batch}", "training.epochs=1000", *extra]
    contenders = {
        name: Ours(files.load(recipe_name, [*always, *own]), device) for name, own in CONTENDERS.items()
    }
    for ours in contenders.values():
        ours.steps(2)
    taken = {name: [] for name in contenders}
    for _ in range(rounds):
        for name, ours in contenders.items():
            taken[name].append(seconds(partial(ours.steps, 1), 1.0, device))
    ratios = {
        name: [time / plain for plain, time in zip(taken["BYOL"], times)] for name, times in taken.items()
    }
    loop = contenders["CO-BYOL"].loop
    trained = {name: ours.loop.stages[0].parameters for name, ours in contenders.items()}
    return {
        "recipe": recipe_name, "batch": batch, "channels": loop.method.encoder.channels, "seconds": taken,
        "median": {name: statistics.median(times) for name, times in taken.items()},
        "added": {name: statistics.median(values) - 1 for name, values in ratios.items() if name != "BYOL"},
        "kept_bytes": {name: kept_bytes(ours) for name, ours in contenders.items()},
        "peak_bytes": {name: peak_bytes(ours) for name, ours in contenders.items()},
        "parameters": {name: sum(p.numel() for p in own) for name, own in trained.items()},
        "precision": loop.precision.name,
    }  # fmt: skip


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
    networks = {
        name: beside(recipe, batch or (few if place.type == "cpu" else BATCH), data, rounds, place, extra)
        for name, (recipe, few) in NETWORKS.items()
    }
    return {
        "what": "seconds a training step, two views each",
        "data": data,
        "goal": GOAL,
        "networks": networks,
        "threads": torch.get_num_threads(),
        "machine": machine.describe(place.type),
    }


def show(result: dict) -> None:
    """Print what the local heads add, for people."""
    print(f"{result['what']}, {result['data']}")
    for name, measured in result["networks"].items():
        added = measured["added"]["CO-BYOL"]
        print(
            f"{name}, batch {measured['batch']}, {measured['precision']}: CO-BYOL adds {added:.1%} to a step"
        )
        for method, taken in measured["median"].items():
            held = measured["kept_bytes"][method] / 2**20
            print(f"  {method:12} {taken:8.3f} s, {held:6.0f} MiB kept for the backward pass")


def main() -> None:
    """The command line of this benchmark alone."""
    parser = argparse.ArgumentParser(
        prog="python -m partwhole.bench.co_ssl", description=__doc__.splitlines()[0]
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
