"""Run a table: every cell that has no record yet, in processes of their own, resumable at any moment.

`python -m partwhole.experiments.reproduce TABLE SCALE ROW SEED [DEVICE]` runs one cell; `run` starts it so.
"""

import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from tqdm import tqdm

from partwhole.errors import BadInput, Diverged
from partwhole.experiments import records
from partwhole.experiments.tables import Cell, cells, grid
from partwhole.machine import cores

LOG = "log.txt"
SMOKE_IMAGES = 100  # test images that a smoke cell is evaluated on: it claims nothing
BAR = "{percentage:3.0f}% |{bar:20}| {elapsed}<{remaining}{postfix}"


def run(
    todo: list[Cell],
    *,
    budget: float | None = None,
    jobs: int = 1,
    device: str | None = None,
    start: Callable[[Cell, int, str | None], subprocess.Popen] | None = None,
    wait: float = 0.5,
) -> int:
    """Run the cells that are not done, `jobs` side by side; the exit code: 0 if none failed, else 1.

    budget: minutes after which no further cell is started.  start: makes the process of a cell, given its
    share of the cores. A cell that was stopped goes on from its checkpoint. Finished cells are skipped: their
    record is there and of the same recipe.
    """
    start, begun = start or launch, time.monotonic()
    done = sum(cell.record() is not None for cell in todo)
    waiting = [cell for cell in todo if cell.record() is None]
    print(f"{len(todo)} cells: {done} done, {len(waiting)} to run, {jobs} at a time", flush=True)
    running: dict[Cell, subprocess.Popen] = {}
    failed, left, drawn = [], len(waiting), begun
    with tqdm(total=left, file=sys.stderr, bar_format=BAR, disable=not left, mininterval=0) as bar:
        try:
            while waiting or running:
                spent = (time.monotonic() - begun) / 60
                while waiting and len(running) < jobs and (budget is None or spent < budget):
                    cell = waiting.pop(0)
                    running[cell] = start(cell, max(1, cores() // jobs), device)
                if not running:
                    break
                time.sleep(wait)
                over = [cell for cell, process in running.items() if process.poll() is not None]
                for cell in over:
                    bar.write(ended(cell, running.pop(cell).returncode))
                    left -= 1
                    failed += [] if cell.record() else [cell]
                if over or time.monotonic() - drawn > (
                    0 if sys.stderr.isatty() else 60
                ):  # a log wants few lines
                    show(bar, left, list(running))
                    drawn = time.monotonic()
        finally:
            for process in running.values():
                process.terminate()
            for process in running.values():
                process.wait()
    if waiting:
        print(f"budget of {budget:g} min used up: {len(waiting)} cells are left; the same command goes on")
    elif not failed and todo:
        print(f"all done; next: partwhole results {todo[0].table}")
    return 1 if failed else 0


def show(bar: tqdm, left: int, running: list[Cell]) -> None:
    """The bar over all cells, with the share, throughput and time left of those that run."""
    parts = [(cell, *progress(cell.folder / LOG)) for cell in running]
    bar.n = bar.total - left + sum(share for _, share, _ in parts)
    bar.set_postfix_str(
        " | ".join(f"{cell.row} s{cell.seed} {share:.0%} {rate}".strip() for cell, share, rate in parts),
        refresh=True,
    )


def progress(log: Path) -> tuple[float, str]:
    """How far a cell is, from the last bar in its log: its share done, and images/s and time left
    in words.
    """
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - 2000))
            text = file.read().decode(errors="replace")
    except OSError:
        return 0.0, ""
    shares, rates = re.findall(r"(\d+)%\|", text), re.findall(r"<([\d:]+), *([\d.]+\w*)img/s", text)
    return int(
        shares[-1]
    ) / 100 if shares else 0.0, f"{rates[-1][1]} img/s, {rates[-1][0]} left" if rates else ""


def ended(cell: Cell, code: int) -> str:
    """A line about a cell that has ended: its result, or the last line it said."""
    record = cell.record()
    if record is not None:
        values = ", ".join(
            f"{name} {record['metrics'][name]:.2f}"
            for name in grid(cell.table).metrics
            if record["metrics"].get(name) is not None
        )
        if record.get("diverged"):
            values = "diverged"
        return f"{cell.name}: {values}, {record['train_seconds'] / 60:.1f} min"
    try:
        said = re.split(
            r"[\r\n]+", (cell.folder / LOG).read_text(encoding="utf-8", errors="replace").strip()
        )[-1]
    except OSError:
        said = "it said nothing"
    return f"{cell.name}: FAILED with code {code}: {said}; see {cell.folder / LOG}"


def launch(cell: Cell, threads: int, device: str | None) -> subprocess.Popen:
    """A process that runs one cell on so many threads; what it says goes to a log in the cell's folder."""
    cell.folder.mkdir(parents=True, exist_ok=True)
    command = [
        sys.executable,
        "-m",
        "partwhole.experiments.reproduce",
        cell.table,
        cell.scale,
        cell.row,
        str(cell.seed),
        *([device] if device else []),
    ]
    environment = os.environ | {"OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads)}
    with (cell.folder / LOG).open("w") as log:
        return subprocess.Popen(
            command, stdout=log, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, env=environment
        )


def run_cell(cell: Cell, device: str | None = None) -> Path:
    """Train a cell, measure what its table asks for beyond training's own metrics, and write its record."""
    from partwhole.experiments.run import train

    try:
        _, record = train(cell.recipe, cell.recipe_name, cell.folder, device=device)
    except Diverged as error:  # a result too: its record says so, and the cell is done
        print(error, file=sys.stderr)
        record = records.read(cell.folder / "record.json")
        return records.write(record | {"table": cell.table, "scale": cell.scale, "row": cell.row}, cell.path)
    missing = tuple(name for name in grid(cell.table).metrics if name not in record["metrics"])
    if missing:
        from partwhole.evaluation import EVALUATIONS, evaluations_of
        from partwhole.experiments.evaluate import evaluate

        kinds = evaluations_of(set(missing))
        unknown = set(missing) - {figure for kind in kinds for figure in EVALUATIONS[kind].figures}
        if unknown:
            raise BadInput(
                f"{cell.table}: neither training nor any evaluation gives {', '.join(sorted(unknown))}; "
                "see its metrics"
            )
        few = SMOKE_IMAGES if cell.scale == "smoke" else None
        record["metrics"] |= evaluate(cell.folder, what=kinds, device=device, test_images=few)["metrics"]
    return records.write(record | {"table": cell.table, "scale": cell.scale, "row": cell.row}, cell.path)


def main(arguments: list[str]) -> int:
    """One cell, as `launch` starts it."""
    table, scale, row, seed, *device = arguments
    try:
        [cell] = [cell for cell in cells(table, scale) if (cell.row, str(cell.seed)) == (row, seed)]
        run_cell(cell, *device)
    except BadInput as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
