"""A training that diverges says so in one line, keeps its last finite checkpoint, and is a result."""

import pytest
import torch
import yaml

from partwhole.cli import main
from partwhole.errors import Diverged
from partwhole.experiments import records, reproduce, run
from partwhole.experiments.run import train
from partwhole.experiments.tables import Cell
from partwhole.methods import Lewel
from partwhole.recipes.files import dump
from partwhole.training.loop import Loop
from support.few_scenes import few_scenes
from support.tiny_recipes import contrastive, lewel, tiny

HUGE = 1e30
IN_EPOCH_1 = (
    "simclr on scenes/plain diverged in epoch 1: pooled, loss are not finite; "
    "make training.lr smaller than 1e+30"
)


@pytest.fixture(autouse=True)
def few():
    with few_scenes():
        yield


def after_epoch(monkeypatch, number: int, change) -> None:
    """Change a loop when so many epochs are done, before the next one or before anybody looks at it."""
    epoch = Loop.epoch

    def changed(self, *arguments):
        figures = epoch(self, *arguments)
        if self.epochs_done == number:
            change(self)
        return figures

    monkeypatch.setattr(Loop, "epoch", changed)


def test_a_huge_learning_rate_diverges_in_one_line_and_leaves_a_record_but_no_checkpoint(base, tmp_path):
    with pytest.raises(
        Diverged, match=rf"^{base} on scenes/plain diverged in epoch 1: .* not finite; make"
    ) as caught:
        train(tiny(base, lr=HUGE), "mine", tmp_path, device="cpu", progress=False)
    assert "\n" not in str(caught.value)
    record = records.read(tmp_path / "record.json")
    assert (
        record["diverged"] is True and record["metrics"]["loss"] is None and record["metrics"]["knn"] is None
    )
    assert record["epochs"] == 1 and record["correct"] == {}
    assert not (tmp_path / "checkpoint.pt").exists(), "nothing finite was there to keep"


def test_a_sampler_of_learned_boxes_diverges_in_one_line_too(tmp_path):
    with pytest.raises(Diverged) as caught:
        train(contrastive("simclr", lr=HUGE), "mine", tmp_path, device="cpu", progress=False)
    assert "\n" not in str(caught.value) and records.read(tmp_path / "record.json")["diverged"]


def test_the_last_finite_checkpoint_stays_and_the_same_call_goes_on_from_it(tmp_path, monkeypatch):
    recipe = tiny("simclr", epochs=3)
    with monkeypatch.context() as patched:
        after_epoch(patched, 1, lambda loop: loop.rates.fill_(HUGE))
        with pytest.raises(
            Diverged, match=r"in epoch 2: pooled, loss are not finite; make training\.lr smaller than 0\.1 or"
        ):
            train(recipe, "mine", tmp_path, device="cpu", progress=False)
    state = torch.load(tmp_path / "checkpoint.pt", weights_only=True)
    assert state["loop"]["epochs_done"] == 1 and len(state["history"]) == 1
    assert all(tensor.isfinite().all() for tensor in state["loop"]["method"].values())
    assert records.read(tmp_path / "record.json")["epochs"] == 2
    _, record = train(recipe, "mine", tmp_path, device="cpu", progress=False)
    assert record["epochs"] == 3 and record["diverged"] is False
    assert records.read(tmp_path / "record.json")["metrics"]["knn"] is not None


@pytest.mark.parametrize("name", ["encoder.conv1.weight", "encoder.bn1.running_var"])
def test_weights_that_are_not_finite_although_the_loss_was_are_noticed(name, tmp_path, monkeypatch):
    """The last step's update is in no loss."""

    def spoil(loop):
        dict([*loop.method.base.named_parameters(), *loop.method.base.named_buffers()])[name].data[0] = float(
            "inf"
        )

    after_epoch(monkeypatch, 2, spoil)
    with pytest.raises(
        Diverged, match=r"^simclr on scenes/plain diverged in epoch 2: the weights are not finite; make"
    ):
        train(tiny("simclr"), "mine", tmp_path, device="cpu", progress=False)
    assert torch.load(tmp_path / "checkpoint.pt", weights_only=True)["loop"]["epochs_done"] == 1
    record = records.read(tmp_path / "record.json")
    assert (
        record["diverged"] is True
        and record["metrics"]["loss"] is not None
        and record["metrics"]["knn"] is None
    )


def test_a_measure_that_is_not_finite_is_noticed_after_the_checkpoint(tmp_path, monkeypatch):
    monkeypatch.setattr(
        Lewel, "report", lambda self, features: torch.full((len(features.pooled), 2), float("nan"))
    )
    with pytest.raises(Diverged, match=r"diverged in epoch 1: map_kl, map_peak are not finite; make"):
        train(lewel(), "mine", tmp_path, device="cpu", progress=False)
    assert torch.load(tmp_path / "checkpoint.pt", weights_only=True)["loop"]["epochs_done"] == 1
    record = records.read(tmp_path / "record.json")
    assert record["metrics"]["map_kl"] is None and record["diverged"] is True


def test_the_command_line_says_one_line_and_ends_with_code_1(tmp_path, capsys):
    file = tmp_path / "mine.yaml"
    file.write_text(yaml.safe_dump(dump(tiny("simclr", lr=HUGE))))
    assert main(["train", str(file), "--out", str(tmp_path / "run"), "--device", "cpu", "--quiet"]) == 1
    err = capsys.readouterr().err
    assert err == f"partwhole: {IN_EPOCH_1} or the warm-up longer\n"


@pytest.fixture
def cell(folders):
    return Cell("foundations/bases", "smoke", "simclr", 0, "scenes/simclr", tiny("simclr", lr=HUGE))


def test_a_tables_cell_that_diverged_is_done_and_shown_as_diverged(cell, capsys):
    assert reproduce.run_cell(cell, "cpu") == cell.path
    assert capsys.readouterr().err.splitlines()[-1].startswith(IN_EPOCH_1)
    record = cell.record()
    assert record["diverged"] is True and (record["table"], record["row"]) == ("foundations/bases", "simclr")
    assert cell.state() == "done"
    minutes = f"{record['train_seconds'] / 60:.1f}"
    assert reproduce.ended(cell, 0) == f"simclr-smoke-s0: diverged, {minutes} min"


def test_reproduce_counts_a_diverged_cell_as_done(cell, capsys):
    def start(cell, threads, device):
        reproduce.run_cell(cell, "cpu")
        return type("Ended", (), {"poll": lambda self: 0, "returncode": 0})()

    assert reproduce.run([cell], start=start, wait=0) == 0
    assert reproduce.run([cell], start=None, wait=0) == 0
    out = capsys.readouterr().out
    assert "simclr-smoke-s0: diverged, " in out and "1 cells: 1 done, 0 to run" in out


def test_figures_and_weights_that_are_finite_pass_and_words_are_no_figures():
    loop = run.assemble(tiny("simclr"))
    row = {"epoch": 1, "loss": 3.5, "knn": 0.0, "knn_correct": "AAAA"}
    run.refuse_divergence(loop, row)
    assert "diverged" not in row
    for value in (float("nan"), float("inf"), -float("inf")):
        with pytest.raises(Diverged, match="knn is not finite"):
            run.refuse_divergence(loop, row | {"knn": value})
