"""Commands, their options and their help. A mistake raises BadInput instead of argparse's several lines."""

import argparse
from collections.abc import Callable

from partwhole import __version__
from partwhole.book.presets import MEANING, PRESETS
from partwhole.cli import commands
from partwhole.errors import BadInput, choice
from partwhole.evaluation import EVALUATIONS, GROUPS
from partwhole.experiments import SCALES

START = """\
Parts and Wholes: where self-supervised vision models look. The book's chapters and the library under them.

first steps
  partwhole chapters                                 what there is to read and run
  partwhole run foundations/1_start_here             run a chapter in seconds, on generated images
  partwhole train scenes/simclr                      train an encoder; nothing to download
  partwhole data get cifar10                         fetch photographs
  partwhole train cifar10/narrow_simclr              train on them, in minutes on two cores
  partwhole reproduce foundations/bases              run a table as far as it is not done; stop, go on later
  partwhole results foundations/bases                the paper's numbers, ours, and the gap

`partwhole COMMAND --help` says more, with examples."""


class Parser(argparse.ArgumentParser):
    """An argparse parser whose mistakes are one line, as everywhere else in the package."""

    def __init__(self, **options):
        super().__init__(formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False, **options)

    def error(self, message: str):
        raise BadInput(message if ";" in message else f"{message}; see {self.prog} --help")


def parse(argv: list[str]) -> argparse.Namespace:
    """The parsed arguments; `run` is the function of the command."""
    parser = Parser(prog="partwhole", description=START, usage="partwhole COMMAND ...", add_help=True)
    parser.add_argument("--version", action="version", version=f"partwhole {__version__}")
    parser.set_defaults(run=lambda arguments: parser.print_help())
    known = parser.add_subparsers(title="commands", metavar="", prog="partwhole")
    for add in (chapters, run, recipes, train, evaluate, reproduce, results, data, export):
        add(known)
    refuse_unknown(argv, "command", known)
    if argv[:1] == ["data"]:
        refuse_unknown(argv[1:], "data command", known.choices["data"].inner)
    return parser.parse_args(argv)


def refuse_unknown(argv: list[str], what: str, known) -> None:
    """Say which command was meant, which argparse does not."""
    if argv and not argv[0].startswith("-") and argv[0] not in known.choices:
        raise choice(what, argv[0], list(known.choices))


def command(known, name: str, act: Callable, text: str, more: str) -> Parser:
    """Add a command: its function, its line in the list, and what its help says below the options."""
    subparser = known.add_parser(name, help=text, description=f"{text[0].upper()}{text[1:]}.", epilog=more)
    subparser.set_defaults(run=act)
    return subparser


def one_of(what: str, allowed) -> Callable[[str], str]:
    """A check that what was given is allowed, and says which is meant where it is not."""

    def check(given: str) -> str:
        if given not in allowed:
            raise argparse.ArgumentTypeError(str(choice(what, given, list(allowed))))
        return given

    return check


def positive(kind: type) -> Callable[[str], float]:
    """A check that what was given is a number above 0, of this kind."""

    def check(given: str) -> float:
        try:
            number = kind(given)
        except ValueError:
            number = 0
        if not 0 < number < float("inf"):
            noun = "whole number" if kind is int else "number"
            raise argparse.ArgumentTypeError(f"{given!r} is not a {noun} above 0")
        return number

    return check


def device(parser: Parser) -> None:
    parser.add_argument(
        "--device", metavar="D", help="cpu, cuda or cuda:N; by default the GPU if there is one"
    )


def overrides(parser: Parser) -> None:
    parser.add_argument(
        "-o",
        "--override",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="another value for one key of the recipe; repeatable",
    )


def chapters(known) -> None:
    meaning = "\n".join(f"  {preset:<7}{MEANING[preset]}" for preset in PRESETS)
    command(
        known, "chapters", commands.chapters, "list the chapters and what each costs to run",
        f"presets\n{meaning}\n\nnext\n  partwhole run CHAPTER --preset teach",
    )  # fmt: skip


def run(known) -> None:
    parser = command(
        known,
        "run",
        commands.run,
        "run one chapter, from its first cell to its last",
        "examples\n  partwhole run foundations/1_start_here\n  partwhole run foundations/2_four_bases "
        "--preset teach"
        "\n  partwhole run foundations/1_start_here -p preset=smoke\n\nThe executed notebook is written "
        "under outputs/.",
    )
    parser.add_argument("chapter", metavar="CHAPTER", help="PAPER/N_name; partwhole chapters lists them")
    parser.add_argument(
        "--preset",
        type=one_of("preset", PRESETS),
        help="smoke, teach or full; PARTWHOLE_PRESET or smoke if not given",
    )
    parser.add_argument(
        "-p",
        "--parameter",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="a value for the chapter's parameters cell",
    )
    parser.add_argument("--quiet", action="store_true", help="no progress bar")


def recipes(known) -> None:
    parser = command(
        known,
        "recipes",
        commands.recipes,
        "list the recipes, or show one with all its values",
        "examples\n  partwhole recipes\n  partwhole recipes cifar10/simclr"
        "\n  partwhole recipes cifar10/simclr -o training.epochs=50 > mine.yaml"
        "\n\nA name is DATA/NAME. cifar10/simclr and its like are ContrastiveCrop's settings, _solo and "
        "_lightly"
        "\nthose of these two libraries, narrow_ the book's own for two CPU cores.",
    )
    parser.add_argument(
        "recipe", nargs="?", metavar="RECIPE", help="a name from the list, or a YAML file of your own"
    )
    overrides(parser)


def train(known) -> None:
    parser = command(
        known,
        "train",
        commands.train,
        "pre-train an encoder by a recipe; the same command again goes on where it was stopped",
        "examples\n  partwhole train scenes/simclr\n  partwhole train cifar10/narrow_byol -o "
        "training.epochs=10 -o training.seed=1"
        "\n  partwhole train mine.yaml --out outputs/mine\n  torchrun --nproc-per-node 4 -m partwhole "
        "train cifar10/simclr"
        "\n\nThe folder gets checkpoint.pt after every epoch and record.json at the end.\n\nnext\n  "
        "partwhole evaluate FOLDER",
    )
    parser.add_argument(
        "recipe", metavar="RECIPE", help="DATA/NAME (partwhole recipes lists them) or a YAML file"
    )
    overrides(parser)
    parser.add_argument(
        "--out",
        metavar="FOLDER",
        help="where checkpoint and record go; by default a folder under outputs/runs",
    )
    device(parser)
    parser.add_argument("--quiet", action="store_true", help="no progress bar")


def evaluate(known) -> None:
    groups = ", ".join(f"{name} ({', '.join(members)})" for name, members in GROUPS.items())
    measures = "\n".join(f"  {name:<17}{evaluation.about}" for name, evaluation in EVALUATIONS.items())
    parser = command(
        known,
        "evaluate",
        commands.evaluate,
        "measure a trained encoder: kNN, linear probe, and raw pixels beside them",
        "examples\n  partwhole evaluate outputs/runs/scenes/simclr-1b5f9d31-s0\n  partwhole evaluate "
        "FOLDER --what knn"
        f"\n\nwhat can be measured\n{measures}"
        "\n\nLast epoch, all test images; the record is written beside the checkpoint as evaluation.json.",
    )
    parser.add_argument("checkpoint", metavar="CHECKPOINT", help="a run's folder or its checkpoint.pt")
    parser.add_argument(
        "--what",
        action="extend",
        nargs="+",
        type=one_of("measure", [*EVALUATIONS, *GROUPS]),
        metavar="M",
        help=f"one of {', '.join(EVALUATIONS)}, or {groups}; repeatable; "
        f"{', '.join(commands.USUAL)} if not given",
    )
    parser.add_argument("--out", metavar="FILE", help="where the record goes")
    device(parser)
    parser.add_argument("--quiet", action="store_true", help="no progress bar")


def reproduce(known) -> None:
    parser = command(
        known,
        "reproduce",
        commands.reproduce,
        "run the cells of a table that are not done yet, and keep their records",
        "examples\n  partwhole reproduce                                  the tables there are"
        "\n  partwhole reproduce foundations/bases --list         its cells and which are done"
        "\n  partwhole reproduce foundations/bases --budget 60    start no cell after an hour"
        "\n\nA cell is one row with one seed. Stop at any time: the same command goes on. Where there "
        "is no GPU,"
        "\ntwo cells run side by side on one thread each.\n\nnext\n  partwhole results TABLE",
    )
    parser.add_argument("table", nargs="?", metavar="TABLE", help="a table's name")
    parser.add_argument(
        "--scale", type=one_of("scale", SCALES), default="study",
        help="smoke (seconds, no claim), study (the default: minutes a cell on two cores), "
        "long (an hour a cell, enough to judge by)"
        " or full (the paper's setting, on a GPU)",
    )  # fmt: skip
    parser.add_argument(
        "--budget", type=positive(float), metavar="MINUTES", help="start no new cell after so long"
    )
    parser.add_argument(
        "--jobs",
        type=positive(int),
        metavar="N",
        help="cells side by side; 2 on a CPU, 1 on a GPU if not given",
    )
    parser.add_argument("--list", action="store_true", help="only list the cells")
    device(parser)


def results(known) -> None:
    parser = command(
        known, "results", commands.results, "paper, ours and gap of a table, from records only",
        "examples\n  partwhole results\n  partwhole results foundations/bases --scale study"
        "\n\nOurs: mean and standard deviation over seeds, last epoch. Blank where nothing is known.",
    )  # fmt: skip
    parser.add_argument(
        "table", nargs="?", metavar="TABLE", help="a table's name; all tables with records if not given"
    )
    parser.add_argument("--scale", type=one_of("scale", SCALES), help="only this scale")
    parser.add_argument("--markdown", action="store_true", help="as in the book")


def data(known) -> None:
    outer = command(
        known,
        "data",
        commands.data_list,
        "list, fetch and pack image sets",
        "examples\n  partwhole data list\n  partwhole data get cifar10\n  partwhole data pack "
        "photographs/ mine --size 128"
        "\n\nPacks lie under data/ of the clone, or under the folder that PARTWHOLE_DATA names.",
    )
    inner = outer.inner = outer.add_subparsers(title="commands", metavar="")
    command(inner, "list", commands.data_list, "every image set, and where it is", "")
    get = command(
        inner,
        "get",
        commands.data_get,
        "download cifar10 or cifar100",
        "example\n  partwhole data get cifar10",
    )
    get.add_argument("name", metavar="NAME", help="cifar10 or cifar100")
    pack = command(
        inner,
        "pack",
        commands.data_pack,
        "pack a folder of images (train/CLASS/*.jpg, and test or val) into arrays",
        "example\n  partwhole data pack imagenet/ imagenet100 --size 256 --classes imagenet100.txt"
        "\n\nThe pack becomes the folder NAME under data/ of the clone, or where PARTWHOLE_DATA points. "
        "A name"
        "\nunder which anything lies is refused. With --replace the new pack takes the place of an old "
        "pack, but"
        "\nnever of anything else. FOLDER is only read; it must not lie in the pack's folder, nor hold it.",
    )
    pack.add_argument(
        "folder", metavar="FOLDER", help="holds train/CLASS/*.jpg, and test or val beside train"
    )
    pack.add_argument("name", metavar="NAME", help="what recipes will call it; one folder name")
    pack.add_argument(
        "--size",
        type=positive(int),
        default=128,
        metavar="PX",
        help="height and width of the packed images; 128",
    )
    pack.add_argument(
        "--classes", metavar="FILE", help="the class folders to take, one a line; all if not given"
    )
    pack.add_argument("--replace", action="store_true", help="put it in the place of the pack of that name")


def export(known) -> None:
    parser = command(
        known,
        "export",
        commands.export,
        "write a trained encoder as safetensors, under torchvision's parameter names",
        "example\n  partwhole export outputs/runs/scenes/simclr-1b5f9d31-s0 encoder.safetensors --half",
    )
    parser.add_argument("checkpoint", metavar="CHECKPOINT", help="a run's folder or its checkpoint.pt")
    parser.add_argument("file", metavar="FILE", help="the file to write, ending in .safetensors")
    parser.add_argument("--half", action="store_true", help="in half precision, half the size")
    parser.add_argument(
        "--projector", action="store_true", help="and the projector, for alignment maps (strict=False)"
    )
