"""What each command does. Names, values and files are checked before anything heavy is imported."""

import os
import sys
from argparse import Namespace
from pathlib import Path

from partwhole.errors import BadInput
from partwhole.evaluation import is_percentage

USUAL = ("knn", "raw_pixels", "linear")


def chapters(arguments: Namespace) -> None:
    """List the chapters and what each preset costs."""
    from partwhole.book.chapters import chapters as found

    rows = [
        (chapter.name, chapter.title, "; ".join(f"{p}: {cost}" for p, cost in chapter.cost.items()))
        for chapter in found()
    ]
    print(columns(rows))
    print("\nRun one: partwhole run CHAPTER [--preset smoke|teach|full]")


def run(arguments: Namespace) -> int:
    """Run a chapter into `outputs/`; the exit status is 1 where a cell fails."""
    import yaml

    from partwhole.book.chapters import ChapterFailed, find, run_chapter

    find(arguments.chapter)
    parameters = {}
    for given in arguments.parameter:
        name, equals, value = given.partition("=")
        if not equals or not name:
            raise BadInput(f"parameter {given!r} has no value; expected NAME=VALUE, such as -p preset=teach")
        try:
            parameters[name] = yaml.safe_load(value)
        except yaml.YAMLError:
            raise BadInput(
                f"parameter {given!r}: its value is not valid YAML; a list is written [1, 2]"
            ) from None
    try:
        print(
            shown(
                run_chapter(
                    arguments.chapter, preset=arguments.preset, parameters=parameters, quiet=arguments.quiet
                )
            )
        )
    except ChapterFailed as error:
        print(f"partwhole: {error}", file=sys.stderr)
        return 1
    return 0


def recipes(arguments: Namespace) -> None:
    """List the recipes, or print one whole, overrides applied."""
    from partwhole.recipes import files

    if arguments.recipe is None:
        if arguments.override:
            raise BadInput(
                "-o needs a recipe to change; say which, such as partwhole recipes scenes/simclr -o "
                "training.epochs=5"
            )
        print(columns([(name, files.about(name)) for name in files.names()]))
        print("\nTrain one: partwhole train RECIPE [-o key=value]. All its values: partwhole recipes RECIPE")
        return
    import yaml

    print(
        yaml.safe_dump(
            files.dump(files.load(arguments.recipe, arguments.override)),
            sort_keys=False,
            default_flow_style=None,
            width=120,
        ),
        end="",
    )


def train(arguments: Namespace) -> None:
    """Pre-train by a recipe, or go on from its checkpoint; writes checkpoint and record."""
    from partwhole import places
    from partwhole.recipes import files

    recipe = files.load(arguments.recipe, arguments.override)
    from partwhole.data import catalogue  # brings numpy

    catalogue.check(recipe.data.name)
    refuse_absent(arguments.device)
    name = (
        Path(arguments.recipe).with_suffix("").name
        if arguments.recipe.endswith((".yaml", ".yml"))
        else arguments.recipe
    )
    folder = places.outputs_folder() / "runs" / f"{name}-{files.digest(recipe)[:8]}-s{recipe.training.seed}"
    out = Path(arguments.out) if arguments.out else folder
    refuse_unwritable(out / "record.json")
    first = os.environ.get("RANK", "0") == "0"
    if first:
        state = (
            "going on from its checkpoint"
            if (out / "checkpoint.pt").exists()
            else f"{recipe.training.epochs} epochs"
        )
        print(f"{name}: {state}, into {shown(out)}", flush=True)
    try:
        from partwhole.experiments.run import train as pre_train

        _, record = pre_train(recipe, name, out, device=arguments.device, progress=not arguments.quiet)
    except RuntimeError as error:
        if type(error).__name__ != "OutOfMemoryError":
            raise
        raise BadInput(
            "the GPU's memory ran out; make training.batch_size smaller, or use a larger GPU"
        ) from None
    if first:
        print(summary(record))
        print(f"record: {shown(out / 'record.json')}\nnext:   partwhole evaluate {shown(out)}")


def evaluate(arguments: Namespace) -> None:
    """Measure a checkpoint and write the record of it."""
    from partwhole.experiments import records

    source = existing(arguments.checkpoint)
    folder = source if source.is_dir() else source.parent
    out = Path(arguments.out) if arguments.out else folder / "evaluation.json"
    refuse_unwritable(out)
    refuse_absent(arguments.device)
    name = records.read(folder / "record.json")["name"] if (folder / "record.json").is_file() else None
    from partwhole.experiments.evaluate import evaluate as measure

    what = tuple(arguments.what or USUAL)
    record = measure(source, what, name=name, device=arguments.device, progress=not arguments.quiet)
    records.write(record, out)

    figures = {name: value for name, value in record["metrics"].items() if isinstance(value, float)}
    print(
        columns(
            [
                (name, f"{value:.2f} %" if is_percentage(name) else f"{value:.4f}")
                for name, value in figures.items()
            ]
        )
    )
    print(f"record: {shown(out)}")


def reproduce(arguments: Namespace) -> int:
    """List the tables, list a table's cells, or run them as far as they are not done."""
    from partwhole.experiments import tables

    if arguments.table is None:
        print(columns([(name, tables.grid(name).title) for name in tables.names()]))
        print("\nRun one: partwhole reproduce TABLE [--scale smoke|study|full] [--budget MINUTES]")
        return 0
    cells = tables.cells(arguments.table, arguments.scale)
    refuse_absent(arguments.device)
    if arguments.list:
        print(columns([(cell.name, cell.recipe_name, cell.state()) for cell in cells]))
        return 0
    from partwhole.data import catalogue

    for name in {cell.recipe.data.name for cell in cells}:
        catalogue.check(name)
    from partwhole.experiments import reproduce as table

    jobs = arguments.jobs or default_jobs(arguments.device)
    return table.run(cells, budget=arguments.budget, jobs=jobs, device=arguments.device)


def results(arguments: Namespace) -> None:
    """Print tables of records beside the published values."""
    from partwhole.experiments import report, report_page
    from partwhole.experiments.results import tables

    names = [arguments.table] if arguments.table else tables()
    if not names:
        raise BadInput("there are no records yet; make some with partwhole reproduce TABLE")
    show = report_page.markdown if arguments.markdown else report.text
    print("\n\n".join(show(name, arguments.scale) for name in names))


def data_list(arguments: Namespace) -> None:
    """List the data sets and where each is."""
    from partwhole.data import catalogue

    print(columns([(row.name, row.what, row.where) for row in catalogue.available()]))
    print(
        f"\nPacks lie under {catalogue.root()} (PARTWHOLE_DATA names another folder). Fetch: partwhole "
        "data get NAME"
    )


def data_get(arguments: Namespace) -> None:
    """Fetch a data set."""
    from partwhole.data import catalogue

    print(f"{arguments.name} is in {catalogue.get(arguments.name)}")


def data_pack(arguments: Namespace) -> None:
    """Make a pack of a folder of images."""
    from partwhole.data import catalogue
    from partwhole.data.folder import pack_folder

    classes = None
    if arguments.classes:
        try:
            lines = Path(arguments.classes).read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise BadInput(
                f"{arguments.classes}: cannot be read ({getattr(error, 'strerror', 'not text')})"
            ) from None
        classes = [line.split()[0] for line in lines if line.strip()]
        if not classes:
            raise BadInput(f"{arguments.classes}: names no class; expected one class folder a line")
    source, root, name, size = Path(arguments.folder), catalogue.root(), arguments.name, arguments.size
    pack = pack_folder(source, root, name, size, classes, progress=print, replace=arguments.replace)
    print(f"{arguments.name} is in {pack}; recipes reach it by -o data.name={arguments.name}")


def export(arguments: Namespace) -> None:
    """Write a checkpoint's encoder as a safetensors file."""
    source, file = existing(arguments.checkpoint), Path(arguments.file)
    if file.suffix != ".safetensors":
        raise BadInput(f"{file}: expected a name that ends in .safetensors")
    refuse_unwritable(file)
    from partwhole.experiments.export import export as write

    print(shown(write(source, file, half=arguments.half, projector=arguments.projector)))
    from partwhole.models.saved import read, torchvision_gap
    from partwhole.recipes.schema import Model

    if gap := torchvision_gap(Model(**read(file)[1]["model"])):
        print(gap)


def existing(checkpoint: str) -> Path:
    """A checkpoint's file, or a folder that holds one."""
    source = Path(checkpoint)
    file = source / "checkpoint.pt" if source.is_dir() else source
    if not file.is_file():
        raise BadInput(f"{file}: no such checkpoint; partwhole train RECIPE --out FOLDER writes one")
    return source


def refuse_unwritable(file: Path) -> None:
    """Refuse, before any work, a file that could not be written in the end."""
    place = next(folder for folder in file.absolute().parents if folder.exists())
    if file.is_dir() or not place.is_dir() or not os.access(place, os.W_OK):
        raise BadInput(f"{file}: cannot be written; choose another place")


def refuse_absent(device: str | None) -> None:
    """Refuse a device that is not here, as far as that can be told without torch."""
    if device is None or device == "cpu":
        return
    kind, colon, number = device.partition(":")
    if kind != "cuda" or (colon and not number.isdecimal()):
        raise BadInput(f"unknown device {device!r}; use cpu, cuda or cuda:0")
    if gpus() == 0:
        raise BadInput(
            f"device {device} was asked for but there is no CUDA GPU here; use cpu, or leave --device out"
        )


def gpus() -> int:
    """How many CUDA GPUs the driver sees; none where there is no driver."""
    import ctypes

    try:
        driver = ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")
    except OSError:
        return 0
    count = ctypes.c_int()
    return count.value if driver.cuInit(0) == 0 and driver.cuDeviceGetCount(ctypes.byref(count)) == 0 else 0


def default_jobs(device: str | None) -> int:
    """Two cells of one thread side by side beat one of two threads on a CPU; a GPU takes one."""
    from partwhole.machine import cores

    on_gpu = device != "cpu" and gpus() > 0
    return 1 if on_gpu else max(1, min(2, cores()))


def summary(record: dict) -> str:
    """A run in one line: accuracy, work, time, machine."""
    from partwhole.book.chapters import clock

    machine = record["machine"]
    knn = record["metrics"].get("knn")
    accuracy = f"kNN {knn:.1f} %" if knn is not None else f"loss {record['metrics']['loss']:.3f}"
    where = f"{machine['model']}" + (f", {machine['cores']} cores" if machine["device"] == "cpu" else "")
    return (
        f"{record['name']}: {accuracy} after {record['images_seen']:,} images in "
        f"{clock(record['train_seconds'])} "
        f"({record['images_per_second']:,.0f} images/s, {record['precision']}, {where})"
    )


def columns(rows: list[tuple[str, ...]]) -> str:
    """Rows of texts, each column as wide as its widest."""
    widths = [max(len(row[place]) for row in rows) for place in range(len(rows[0]))] if rows else []
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip() for row in rows
    )


def shown(path: Path) -> str:
    """A path as seen from the working folder."""
    path = Path(path)
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)
