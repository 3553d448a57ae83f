"""Do two source trees train alike, bit for bit? Three steps of every configuration, a process for each tree.

    python tests/references/compare.py OLD_SRC NEW_SRC  # such as ../old/src src; exit code 1 if any differ

Both run on this machine, one after the other, on one thread, so that equal code gives equal bits.
"""

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

STEPS = Path(__file__).with_name("steps.py")


def digests(source: Path) -> dict[str, dict[str, list[str]]]:
    """Digests of a source tree, by configuration and part; the package imported must be that tree's."""
    environment = os.environ | {"PYTHONPATH": str(source), "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    command = [sys.executable, str(STEPS), "--fingerprints"]
    process = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=False)
    if process.returncode:
        raise SystemExit(f"{source}: the steps failed with code {process.returncode}; their error is above")
    output = json.loads(process.stdout)
    if Path(output["source"]) != source:
        raise SystemExit(f"{source}: expected partwhole there, but it was imported from {output['source']}")
    return output["digests"]


def differences(old: dict[str, list[str]], new: dict[str, list[str]]) -> list[str]:
    """Each part in which two digests of a configuration differ, in words."""
    return [
        f"{(Counter(old[part]) - Counter(new[part])).total()} of {len(old[part])} {part}"
        + (f" (now {len(new[part])})" if len(new[part]) != len(old[part]) else "")
        for part in old
        if old[part] != new[part]
    ]


def main(arguments: list[str]) -> int:
    if len(arguments) != 2:
        raise SystemExit("expected two folders that hold the package partwhole: compare.py OLD_SRC NEW_SRC")
    old, new = (digests(Path(argument).resolve()) for argument in arguments)
    unequal = {name: differences(old[name], new[name]) for name in old if old[name] != new[name]}
    for name in old:
        print(f"{name}: " + (f"DIFFERENT in {', '.join(unequal[name])}" if name in unequal else "equal"))
    print(f"{len(old) - len(unequal)} of {len(old)} configurations are equal bit for bit")
    return 1 if unequal else 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
