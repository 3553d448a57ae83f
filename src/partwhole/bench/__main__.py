"""All benchmarks in one run, shown and written as a record: `python -m partwhole.bench [--device cuda]`, or
`make bench`.
"""

import argparse
import sys

from partwhole import places
from partwhole.bench import co_ssl, crops, lewel, train, views
from partwhole.data import catalogue
from partwhole.errors import BadInput
from partwhole.experiments import records
from partwhole.training import precision

PARTS = {"train": train, "views": views, "crops": crops, "lewel": lewel, "co_ssl": co_ssl}


def main() -> int:
    """The command line of all benchmarks; the exit status."""
    parser = argparse.ArgumentParser(prog="python -m partwhole.bench", description=__doc__.splitlines()[0])
    parser.add_argument("--device", help="cpu or cuda, for training (default: a GPU if there is one)")
    parser.add_argument(
        "--rounds", type=int, default=5, help="interleaved rounds; their median counts (default 5)"
    )
    parser.add_argument(
        "--only", choices=PARTS, help="run this part alone and leave the others in the record as they are"
    )
    given = parser.parse_args()
    present = any(row.name == "cifar10" and row.where != "absent" for row in catalogue.available())
    place = {"data": "cifar10" if present else "scenes/plain", "device": given.device}
    results = {}
    try:
        file = places.results_folder() / "bench" / f"{precision.device(given.device).type}.json"
        for name in [given.only] if given.only else PARTS:
            results[name] = PARTS[name].compare(rounds=given.rounds, **({} if name == "views" else place))
            PARTS[name].show(results[name])
    except BadInput as error:
        print(f"bench: {error}", file=sys.stderr)
        return 2
    before = records.read(file) if given.only and file.is_file() else {}
    where = records.write({**before, "kind": "bench", **results}, file)
    print(f"record: {where}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
