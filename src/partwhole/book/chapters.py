"""The book's chapters: which there are, running one or all through papermill, and renewing committed outputs.

    python -m partwhole.book.chapters outputs [CHAPTER ...]     run with teach, renew committed outputs

Importing this file loads nothing heavy; papermill comes in when a chapter runs.
"""

import json
import os
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from partwhole.book import presets
from partwhole.book.outputs import figures
from partwhole.book.surroundings import kernel_surroundings
from partwhole.errors import BadInput, choice
from partwhole.machine import cores
from partwhole.places import home


@dataclass(frozen=True)
class Chapter:
    """One notebook of the book. name: `PAPER/N_name`; cost: preset -> what it costs, in words."""

    name: str
    path: Path
    title: str
    cost: dict[str, str] = field(default_factory=dict)


class ChapterFailed(RuntimeError):
    """A cell of a chapter raised. One line: which cell, what it said, where the run is kept."""


def chapters() -> list[Chapter]:
    """Every notebook that `book/_toc.yml` lists, in the order of the book."""
    import yaml

    root = home()
    table = yaml.safe_load((root / "book" / "_toc.yml").read_text(encoding="utf-8"))
    return [_read(root / f"{page}.ipynb") for page in _pages(table) if page.startswith("notebooks/")]


def find(name: str) -> Chapter:
    """The chapter of this name; `PAPER/N_name`, or its file's path. BadInput for any other."""
    known = {chapter.name: chapter for chapter in chapters()}
    short = name.removeprefix("notebooks/").removesuffix(".ipynb")
    if short not in known:
        raise choice("chapter", name, sorted(known))
    return known[short]


def run_chapter(
    name: str, *, preset: str | None = None, parameters: dict | None = None, quiet: bool = False
) -> Path:
    """Run one chapter through papermill into `outputs/` and return the executed notebook's path.

    preset: None asks PARTWHOLE_PRESET, else smoke.  parameters: values for names in its parameters cell.
    The executed notebook appears under its name only when every cell has run.
    What surrounds the command (a matplotlib backend, a relative PARTWHOLE_DATA) does not change the run.
    Raises BadInput for an unknown chapter, preset or parameter, a value of another type than the default's,
    or an input that a cell refuses; ChapterFailed when a cell raises anything else, or when the run made no
    figure although the chapter's committed outputs have some.
    """
    chapter = find(name)
    parameters = dict(parameters or {})
    parameters["preset"] = presets.choose(parameters.get("preset", preset))
    _check(chapter, parameters)

    import papermill
    from nbclient.exceptions import CellExecutionError, DeadKernelError

    done = home() / "outputs" / f"{chapter.name}.ipynb"
    running = done.with_name(f"{done.stem}.running.ipynb")
    failed = done.with_name(f"{done.stem}.failed.ipynb")
    try:
        done.parent.mkdir(parents=True, exist_ok=True)
        with kernel_surroundings():
            papermill.execute_notebook(
                str(chapter.path),
                str(running),
                parameters,
                kernel_name="python3",
                cwd=str(chapter.path.parent),
                progress_bar=not quiet,
                autosave_cell_every=0,
                # the kernel's note on transport encryption is not the reader's concern
                extra_arguments=["--IPKernelApp.log_level=ERROR"],
            )
    except OSError as error:
        raise BadInput(
            f"{done.parent} cannot be written ({error.strerror}); make room or change its rights"
        ) from None
    except papermill.PapermillExecutionError as error:
        if error.ename == "BadInput":
            running.unlink(missing_ok=True)
            raise BadInput(f"{chapter.name}: {error.evalue}") from None
        running.replace(failed)
        said = f"{error.ename}: {error.evalue}".splitlines()[0]
        raise ChapterFailed(f"{chapter.name}: cell {error.exec_count} raised {said}; see {failed}") from None
    except (CellExecutionError, DeadKernelError) as error:
        said = str(error).splitlines()[0]
        raise ChapterFailed(f"{chapter.name}: the kernel died ({said}); out of memory?") from None
    if (committed := figures(chapter.path)) and not figures(running):
        running.replace(failed)
        raise ChapterFailed(
            f"{chapter.name}: the run made no figure, its committed outputs have {committed}; see {failed}"
        )
    running.replace(done)
    failed.unlink(missing_ok=True)
    return done


def run_all(preset: str | None = None) -> None:
    """Run every chapter, as many side by side as there are cores, a line of progress for each that ends.

    With several side by side each keeps to its share of the cores. Raises ChapterFailed, after all have had
    their turn, if any failed.
    """
    names = [chapter.name for chapter in chapters()]
    preset = presets.choose(preset)
    workers = max(1, min(cores(), len(names)))
    for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ.setdefault(variable, str(max(1, cores() // workers)))
    print(f"Running {len(names)} chapters with preset {preset}, {workers} at a time", flush=True)
    started, failures = time.monotonic(), []
    spent = 0.0
    for ended, (name, seconds, failure) in enumerate(_side_by_side(names, preset, workers), 1):
        spent += seconds
        left = spent / ended * (len(names) - ended) / workers
        state = f"{seconds:4.0f} s" if failure is None else "FAILED"
        after = (
            f"about {clock(left)} left"
            if ended < len(names)
            else f"all in {clock(time.monotonic() - started)}"
        )
        print(f"  {ended:2d}/{len(names)}  {name:<36} {state}   {after}", flush=True)
        failures += [failure] if failure else []
    if failures:
        raise ChapterFailed("\n".join(failures))


def _side_by_side(names: list[str], preset: str, workers: int) -> Iterator[tuple[str, float, str | None]]:
    """(name, seconds, what went wrong or None) of each chapter as it ends.

    Each has a process of its own, since papermill changes the working folder.
    """
    import multiprocessing
    from concurrent.futures import ProcessPoolExecutor, as_completed
    from concurrent.futures.process import BrokenProcessPool

    with ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn")) as pool:
        jobs = [pool.submit(_timed, name, preset) for name in names]
        try:
            for job in as_completed(jobs):
                yield job.result()
        except BrokenProcessPool:
            raise ChapterFailed(
                "the process of a chapter was killed; out of memory? Run the chapters singly"
            ) from None
        except KeyboardInterrupt:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _timed(name: str, preset: str) -> tuple[str, float, str | None]:
    started = time.monotonic()
    try:
        run_chapter(name, preset=preset, quiet=True)
    except (BadInput, ChapterFailed) as error:
        return name, time.monotonic() - started, str(error)
    return name, time.monotonic() - started, None


def regenerate(name: str, *, preset: str = "teach", quiet: bool = False) -> Path:
    """Run a chapter, put its outputs, normalised, into the committed notebook and return that one's path."""
    from partwhole.book.outputs import made_with, normalised, with_outputs, with_small_pictures, write

    chapter = find(name)
    executed = json.loads(run_chapter(name, preset=preset, quiet=quiet).read_text(encoding="utf-8"))
    notebook = with_small_pictures(
        normalised(with_outputs(json.loads(chapter.path.read_text(encoding="utf-8")), executed), home())
    )
    notebook["metadata"].setdefault("partwhole", {})["made_with"] = made_with(preset)
    write(notebook, chapter.path)
    return chapter.path


def clock(seconds: float) -> str:
    """Seconds in words: `45 s`, `3 min 10 s`, `2 h 5 min`."""
    seconds = round(seconds)
    if seconds < 60:
        return f"{seconds} s"
    return (
        f"{seconds // 60} min {seconds % 60} s"
        if seconds < 3600
        else f"{seconds // 3600} h {seconds % 3600 // 60} min"
    )


def _pages(entry: object) -> Iterator[str]:
    """Every `file:` and `root:` of a table of contents, depth first, in order."""
    if isinstance(entry, dict):
        for key, value in entry.items():
            if key in ("root", "file"):
                yield value
            else:
                yield from _pages(value)
    elif isinstance(entry, list):
        for item in entry:
            yield from _pages(item)


def _read(path: Path) -> Chapter:
    """A chapter from its notebook: the title is the first heading, the cost stands in the metadata."""
    name = path.relative_to(path.parents[1]).with_suffix("").as_posix()
    try:
        notebook = json.loads(path.read_text(encoding="utf-8"))
        first = "".join(notebook["cells"][0]["source"])
        title = next(line.removeprefix("# ") for line in first.splitlines() if line.startswith("# "))
    except FileNotFoundError:
        raise BadInput(
            f"book/_toc.yml names notebooks/{name}, which is not there; add it or take the line out"
        ) from None
    except (ValueError, KeyError, IndexError, StopIteration):
        raise BadInput(
            f"notebooks/{name}.ipynb has no `# title` in its first cell, or is damaged; restore it"
        ) from None
    return Chapter(name, path, title, notebook["metadata"].get("partwhole", {}).get("cost", {}))


def _check(chapter: Chapter, parameters: dict) -> None:
    """BadInput for a parameter that the chapter does not have or whose type is not its default's."""
    import ast

    from papermill import inspect_notebook

    known = inspect_notebook(str(chapter.path))
    for name, value in parameters.items():
        if name not in known:
            raise choice(f"parameter of {chapter.name}", name, sorted(known))
        try:
            default = ast.literal_eval(known[name]["default"])
        except (ValueError, SyntaxError):
            continue
        fits = type(value) is type(default) or (type(default) is float and type(value) is int)
        if default is not None and value is not None and not fits:
            expected = type(default).__name__
            raise BadInput(f"{chapter.name}: {name} is {value!r}; expected {expected}, such as {default!r}")


def main(arguments: list[str]) -> int:
    """Renew the committed outputs of the named chapters, or of all."""
    if not arguments or arguments[0] != "outputs":
        print("python -m partwhole.book.chapters outputs [CHAPTER ...]")
        return 0
    try:
        for chapter in [find(name) for name in arguments[1:]] or chapters():
            started = time.monotonic()
            print(
                f"{chapter.name}: running with teach ({chapter.cost.get('teach', 'cost unknown')})",
                flush=True,
            )
            path = regenerate(chapter.name)
            print(
                f"{chapter.name}: {path.stat().st_size // 1024} KB after {clock(time.monotonic() - started)}",
                flush=True,
            )
    except (BadInput, ChapterFailed) as error:
        print(error, file=sys.stderr)
        return 2 if isinstance(error, BadInput) else 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
