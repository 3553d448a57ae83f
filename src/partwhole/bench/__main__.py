"""All benchmarks in one run, shown and written as a record: `python -m partwhole.bench [--device cuda]`, or `make bench`."""

import argparse
import sys

from partwhole import records
from partwhole.bench import crops, train, views
from partwhole.data import catalogue
from partwhole.errors import BadInput


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m partwhole.bench", description=__doc__.splitlines()[0])
    parser.add_argument("--device", help="cpu or cuda, for training (default: a GPU if there is one)")
    parser.add_argument("--rounds", type=int, default=5, help="interleaved rounds; their median counts (default 5)")
    given = parser.parse_args()
    present = any(row.name == "cifar10" and row.where != "absent" for row in catalogue.available())
    try:
        data = "cifar10" if present else "scenes/plain"
        trained = train.compare(data=data, rounds=given.rounds, device=given.device)
    except BadInput as error:
        print(f"bench: {error}", file=sys.stderr)
        return 2
    made = views.compare(rounds=given.rounds)
    placed = crops.compare(data=data, rounds=given.rounds, device=given.device)
    train.show(trained)
    views.show(made)
    crops.show(placed)
    file = records.results_folder() / "bench" / f"{trained['machine']['device']}.json"
    where = records.write({"kind": "bench", "train": trained, "views": made, "crops": placed}, file)
    print(f"record: {where}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
