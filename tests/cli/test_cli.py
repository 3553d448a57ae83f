"""The command line: help teaches, a mistake is one line and exit code 2, and neither imports torch."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest

from partwhole import __version__
from partwhole.cli import commands, main

COMMANDS = ("chapters", "run", "recipes", "train", "evaluate", "reproduce", "results", "data", "export")

REFUSED = [
    (["trian"], "unknown command 'trian'; did you mean train?"),
    (["train"], "the following arguments are required: RECIPE; see partwhole train --help"),
    (["train", "scnes/simclr"], "unknown recipe 'scnes/simclr'; did you mean scenes/simclr?"),
    (
        ["train", "scenes/simclr", "-o", "training.epoch=2"],
        "scenes/simclr: unknown key training.epoch; did you mean training.epochs?",
    ),
    (
        ["train", "scenes/simclr", "-o", "training.epochs=0"],
        "training.epochs is 0; Input should be greater than or equal to 1",
    ),
    (
        ["train", "scenes/simclr", "-o", "data.name=scenes/plane"],
        "unknown data set 'scenes/plane'; did you mean scenes/plain?",
    ),
    (["train", "cifar10/simclr"], "fetch it with: partwhole data get cifar10"),
    (
        ["train", "scenes/simclr", "--device", "cuda"],
        "device cuda was asked for but there is no CUDA GPU here; use cpu",
    ),
    (["train", "scenes/simclr", "--device", "gpu"], "unknown device 'gpu'; use cpu, cuda or cuda:0"),
    (["train", "scenes/simclr", "--out", "IN_THE_WAY"], "cannot be written; choose another place"),
    (["train", "scenes/simclr", "--epochs", "3"], "unrecognized arguments: --epochs 3; see partwhole --help"),
    (["run", "foundations/0_nowhere"], "unknown chapter 'foundations/0_nowhere'"),
    (["run", "foundations/1_start_here", "--preset", "tech"], "unknown preset 'tech'; did you mean teach?"),
    (["recipes", "cifar10/simcrl"], "unknown recipe 'cifar10/simcrl'; did you mean cifar10/simclr?"),
    (["recipes", "-o", "training.epochs=5"], "-o needs a recipe to change"),
    (["evaluate", "nowhere"], "nowhere: no such checkpoint; partwhole train RECIPE --out FOLDER writes one"),
    (["evaluate", "x", "--what", "knm"], "unknown measure 'knm'; did you mean knn?"),
    (["export", "nowhere", "x.safetensors"], "nowhere: no such checkpoint"),
    (["reproduce", "foundation/bases"], "unknown table 'foundation/bases'; did you mean foundations/bases?"),
    (
        ["reproduce", "scenes/settings", "--scale", "full"],
        "scenes/settings has no scale full; it has smoke, study",
    ),
    (["reproduce", "scenes/settings", "--scale", "sudy"], "unknown scale 'sudy'; did you mean study?"),
    (["reproduce", "scenes/settings", "--budget", "-3"], "'-3' is not a number above 0"),
    (["reproduce", "scenes/settings", "--jobs", "1.5"], "'1.5' is not a whole number above 0"),
    (["results", "foundations/base"], "unknown table 'foundations/base'; did you mean foundations/bases?"),
    (["data", "gte"], "unknown data command 'gte'; did you mean get?"),
    (["data", "get", "cifar11"], "unknown data set to download 'cifar11'; did you mean cifar10?"),
    (["data", "pack", "nowhere", "mine"], "nowhere is not a folder"),
    (["data", "pack", ".", "mine", "--size", "0"], "'0' is not a whole number above 0"),
    (
        ["data", "pack", ".", "mine", "--classes", "nowhere.txt"],
        "nowhere.txt: cannot be read (No such file or directory)",
    ),
]

ANSWERED = [
    ["--help"],
    ["--version"],
    [],
    ["recipes"],
    ["recipes", "cifar10/byol"],
    ["reproduce"],
    ["data", "list"],
] + [[name, "--help"] for name in COMMANDS]

ONE_BY_ONE = """
import contextlib, io, json, sys, time
started = time.perf_counter()
from partwhole.cli import main
answers = []
for argv in json.loads(sys.stdin.read()):
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            code = main(argv)
        except SystemExit as stop:
            code = stop.code
    heavy = sorted({"torch", "torchvision", "matplotlib"} & set(sys.modules))
    answers.append([argv, code, out.getvalue(), err.getvalue(), heavy, time.perf_counter() - started])
    started = time.perf_counter()
print(json.dumps(answers))
"""


@pytest.fixture(scope="module")
def answers(tmp_path_factory):
    """What a fresh process answers to each line above: code, stdout, stderr, heavy imports, seconds."""
    folder = tmp_path_factory.mktemp("empty")
    (folder / "IN_THE_WAY").write_text("a file")
    lines = [argv for argv, _ in REFUSED] + ANSWERED
    environment = {key: value for key, value in os.environ.items() if key != "RANK"} | {
        "PARTWHOLE_DATA": str(folder)
    }
    process = subprocess.run(
        [sys.executable, "-c", ONE_BY_ONE],
        input=json.dumps(lines),
        capture_output=True,
        text=True,
        cwd=folder,
        env=environment,
    )
    assert process.returncode == 0, process.stderr
    return {tuple(argv): rest for argv, *rest in json.loads(process.stdout)}


@pytest.mark.parametrize(("argv", "line"), REFUSED, ids=[" ".join(argv) for argv, _ in REFUSED])
def test_refused_input_is_one_line_and_exit_code_2(answers, argv, line):
    code, out, err, heavy, seconds = answers[tuple(argv)]
    assert code == 2 and out == "" and err.startswith("partwhole: ") and err.count("\n") == 1
    assert line in err
    assert not heavy and seconds < 5  # under a second on a quiet machine; what makes it slow is an import


@pytest.mark.parametrize("argv", ANSWERED, ids=" ".join)
def test_help_and_lists_answer_without_heavy_imports(answers, argv):
    code, out, err, heavy, seconds = answers[tuple(argv)]
    assert code == 0 and out and not err and not heavy and seconds < 5


@pytest.mark.parametrize("name", COMMANDS)
def test_every_commands_help_shows_an_example_and_the_first_help_names_the_command(answers, name):
    assert f"partwhole {name}" in answers[name, "--help"][1]
    assert f"    {name}" in answers["--help",][1]


def test_the_version(answers):
    assert answers["--version",][1] == f"partwhole {__version__}\n"


def test_the_list_of_recipes_has_a_line_for_each_and_one_shown_can_be_loaded_again(answers, tmp_path):
    from partwhole.recipes import files

    listed = answers["recipes",][1]
    assert all(f"{name} " in listed for name in files.names())
    copy = tmp_path / "copy.yaml"
    copy.write_text(answers["recipes", "cifar10/byol"][1])
    assert files.load(copy) == files.load("cifar10/byol")


def test_refusal_from_the_shell_has_the_exit_code(tmp_path):
    process = subprocess.run(
        [sys.executable, "-m", "partwhole", "trian"], capture_output=True, text=True, cwd=tmp_path
    )
    assert process.returncode == 2 and process.stdout == ""
    assert process.stderr == "partwhole: unknown command 'trian'; did you mean train?\n"


def interrupted(_):
    raise KeyboardInterrupt


@pytest.mark.parametrize(
    ("argv", "line"),
    [
        (["train", "scenes/simclr"], "partwhole: stopped; the same command goes on where it was\n"),
        (["reproduce", "scenes/settings"], "partwhole: stopped; the same command goes on where it was\n"),
        (["evaluate", "x"], "partwhole: stopped\n"),
    ],
)
def test_ctrl_c_is_one_line_and_exit_code_130(monkeypatch, capsys, argv, line):
    monkeypatch.setattr(commands, argv[0], interrupted)
    assert main(argv) == 130
    assert capsys.readouterr().err == line


def test_a_scheduler_s_sigterm_stops_as_ctrl_c_does(monkeypatch, capsys):
    before = signal.getsignal(signal.SIGTERM)
    monkeypatch.setattr(commands, "train", lambda _: os.kill(os.getpid(), signal.SIGTERM) or time.sleep(5))
    assert main(["train", "scenes/simclr"]) == 130
    assert capsys.readouterr().err == "partwhole: stopped; the same command goes on where it was\n"
    signal.signal(signal.SIGTERM, before)


def test_of_several_processes_only_the_first_speaks(monkeypatch, capsys):
    monkeypatch.setenv("RANK", "1")
    assert main(["trian"]) == 2
    assert capsys.readouterr().err == ""


def test_train_hands_the_validated_recipe_to_the_engine_and_names_a_folder_by_recipe_and_seed(
    monkeypatch, capsys, tmp_path
):
    from partwhole import places
    from partwhole.experiments import run

    handed = {}

    def fake(recipe, name, out, *, device, progress):
        handed.update(recipe=recipe, name=name, out=out, device=device, progress=progress)
        machine = {"device": "cpu", "model": "a processor", "cores": 2}
        return None, {
            "name": name, "metrics": {"knn": 43.21, "loss": 4.0}, "images_seen": 200_000,
            "train_seconds": 90.0,
            "images_per_second": 2222.2, "precision": "fp32", "machine": machine,
        }  # fmt: skip

    monkeypatch.setattr(run, "train", fake)
    monkeypatch.setattr(places, "outputs_folder", lambda: tmp_path)
    assert main(["train", "scenes/byol", "-o", "training.seed=3", "--device", "cpu", "--quiet"]) == 0
    assert handed["recipe"].training.seed == 3 and handed["device"] == "cpu" and handed["progress"] is False
    assert handed["out"].parent == tmp_path / "runs" / "scenes"
    assert handed["out"].name.startswith("byol-") and handed["out"].name.endswith("-s3")
    out = capsys.readouterr().out
    assert (
        "scenes/byol: kNN 43.2 % after 200,000 images in 1 min 30 s "
        "(2,222 images/s, fp32, a processor, 2 cores)" in out
    )
    assert "partwhole evaluate" in out


def test_a_training_that_diverges_is_one_line_and_exit_code_1(monkeypatch, capsys, tmp_path):
    from partwhole.errors import Diverged
    from partwhole.experiments import run

    def diverging(*_, **__):
        raise Diverged(
            "byol on scenes/plain diverged in epoch 3: loss is not finite;\nmake training.lr smaller"
        )

    monkeypatch.setattr(run, "train", diverging)
    assert main(["train", "scenes/byol", "--out", str(tmp_path)]) == 1
    line = (
        "partwhole: byol on scenes/plain diverged in epoch 3: loss is not finite; make training.lr smaller\n"
    )
    assert capsys.readouterr().err == line


def test_a_gpu_that_runs_out_of_memory_is_one_line(monkeypatch, capsys, tmp_path):
    import torch

    from partwhole.experiments import run

    def full(*_, **__):
        raise torch.OutOfMemoryError("CUDA out of memory.\nTried to allocate")

    monkeypatch.setattr(run, "train", full)
    assert main(["train", "scenes/byol", "--out", str(tmp_path)]) == 2
    assert (
        capsys.readouterr().err
        == "partwhole: the GPU's memory ran out; make training.batch_size smaller, or use a larger GPU\n"
    )
