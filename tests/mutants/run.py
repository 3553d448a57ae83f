"""Mutations: small faults that a named fast test must catch.

`make mutants` plants each in a copy of the sources and runs that test.

    python tests/mutants/run.py                 all of mutations.yaml; exit code 1 where one survives
    python tests/mutants/run.py training views  those of these rooms

A mutation is one line of a source file, what it becomes, and the test that guards it. A line that is no
longer there, or is there
twice, is an error: the list must follow the code.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import yaml

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
SECONDS = 240  # that one test may take


@dataclass(frozen=True)
class Mutation:
    """file: under src/partwhole.  old, new: texts, of which `old` stands there once.  test: a node id under
    tests.
    """

    file: str
    old: str
    new: str
    test: str

    @property
    def name(self) -> str:
        return f"{self.file}: {self.new.strip().splitlines()[0][:70] if self.new.strip() else 'left out: ' + self.old.strip()[:60]}"


def mutations() -> list[Mutation]:
    return [
        Mutation(**entry) for entry in yaml.safe_load((HERE / "mutations.yaml").read_text(encoding="utf-8"))
    ]


def mutated(mutation: Mutation, source: Path) -> str:
    """The text of the file with its fault.

    ValueError unless the line that it changes stands there exactly once.
    """
    text = (source / mutation.file).read_text(encoding="utf-8")
    if text.count(mutation.old) != 1:
        raise ValueError(
            f"{mutation.file}: {mutation.old!r} stands there {text.count(mutation.old)} times, expected once"
        )
    return text.replace(mutation.old, mutation.new)


def run_tests(tests: list[str], copy: Path, seconds: float) -> subprocess.CompletedProcess:
    """pytest on a copy of the repository, which imports that copy's sources."""
    environment = os.environ | {
        "PYTHONPATH": str(copy / "src"),
        "OMP_NUM_THREADS": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-x",
        "-p",
        "no:cacheprovider",
        *(f"tests/{test}" for test in tests),
    ]
    return subprocess.run(
        command, cwd=copy, env=environment, capture_output=True, text=True, timeout=seconds, check=False
    )


def caught(mutation: Mutation, copy: Path) -> bool:
    """Whether the test fails on the copy with the fault planted. The copy is as before when it returns."""
    file = copy / "src" / "partwhole" / mutation.file
    before = file.read_text(encoding="utf-8")
    file.write_text(mutated(mutation, copy / "src" / "partwhole"), encoding="utf-8")
    try:
        run = run_tests([mutation.test], copy, SECONDS)
    except subprocess.TimeoutExpired:
        return True
    finally:
        file.write_text(before, encoding="utf-8")
    if run.returncode not in (0, 1):  # no such test, or it could not be collected, which says nothing
        raise ValueError(f"{mutation.test}: pytest ended with {run.returncode}: {run.stdout.strip()[-200:]}")
    return run.returncode == 1


def main(rooms: list[str]) -> int:
    chosen = [mutation for mutation in mutations() if not rooms or mutation.file.split("/")[0] in rooms]
    survivors, errors = [], []
    with tempfile.TemporaryDirectory() as scratch:
        copy = Path(scratch) / "clone"
        ignored = shutil.ignore_patterns(".venv", ".git", "_build", "outputs", "__pycache__", "*.ipynb")
        shutil.copytree(ROOT, copy, ignore=ignored)
        clean = run_tests(sorted({mutation.test for mutation in chosen}), copy, 3600)
        if clean.returncode:
            print(f"the tests fail without any fault, which says nothing:\n{clean.stdout[-1500:]}")
            return 1
        for number, mutation in enumerate(chosen, 1):
            started = time.monotonic()
            try:
                verdict = "caught" if caught(mutation, copy) else "SURVIVED"
            except ValueError as error:
                verdict = f"ERROR: {error}"
                errors.append(mutation)
            if verdict == "SURVIVED":
                survivors.append(mutation)
            print(
                f"{number:3}/{len(chosen)} {verdict:8} {time.monotonic() - started:4.0f} s  {mutation.name}",
                flush=True,
            )
    print(f"{len(chosen) - len(survivors) - len(errors)} of {len(chosen)} mutations caught")
    return 1 if survivors or errors else 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
