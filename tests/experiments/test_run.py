"""A run: killed and resumed it ends the same, bit for bit; it never waits for the device."""

import math
import multiprocessing
import os
import time
from dataclasses import replace

import pytest
import torch

from partwhole.data import catalogue
from partwhole.data.packs import write_pack
from partwhole.data.scenes import scenes
from partwhole.errors import BadInput
from partwhole.evaluation.features import features
from partwhole.evaluation.knn import knn_predict
from partwhole.experiments import records, run
from partwhole.experiments.run import assemble, train
from partwhole.experiments.statistics import unpack
from partwhole.recipes.schema import Recipe
from partwhole.training.ranks import Ranks
from support.few_scenes import few_scenes
from support.no_waiting import NoWaiting
from support.tiny_recipes import contrastive, lewel, tiny


@pytest.fixture(autouse=True)
def few():
    """60 training and 50 test scenes."""
    with few_scenes(test=50):
        yield


def weights(loop) -> dict:
    return loop.method.state_dict()


def equal(one: dict, other: dict) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


class Killed(Exception):
    pass


def test_killed_in_the_second_epoch_and_resumed_it_ends_bit_identical(base, tmp_path, monkeypatch):
    recipe = tiny(base, epochs=3, momentum=0.9)
    whole, record = train(recipe, base, device="cpu", progress=False)
    from partwhole.training import loop as module

    step, steps = module.Loop.step, []

    def dying(self, *arguments):
        steps.append(1)
        if len(steps) == 2 + self.batches.steps:
            raise Killed
        return step(self, *arguments)

    monkeypatch.setattr(module.Loop, "step", dying)
    with pytest.raises(Killed):
        train(recipe, base, tmp_path, device="cpu", progress=False)
    monkeypatch.undo()
    resumed, again = train(recipe, base, tmp_path, device="cpu", progress=False)
    assert equal(weights(whole), weights(resumed))
    assert without_times(record) == without_times(again)


def without_times(record: dict) -> dict:
    """What a record says but for what took how long and when."""
    said = {
        name: record[name]
        for name in ("digest", "epochs", "images_seen", "metrics", "correct", "test_images")
    }
    timed = ("seconds", "images_per_second")
    rows = [{key: value for key, value in row.items() if key not in timed} for row in record["history"]]
    return said | {"history": rows}


def count_epochs(monkeypatch) -> list[int]:
    """The epochs that are trained from now on."""
    from partwhole.training import loop as module

    epoch, epochs = module.Loop.epoch, []

    def counted(self, *arguments):
        epochs.append(self.epochs_done + 1)
        return epoch(self, *arguments)

    monkeypatch.setattr(module.Loop, "epoch", counted)
    return epochs


@pytest.mark.parametrize("knn_every", [0, 1])
@pytest.mark.parametrize("recipe_of", [tiny, lewel])
def test_an_evaluation_that_fails_costs_nothing_but_itself(recipe_of, knn_every, tmp_path, monkeypatch):
    """Its epoch's checkpoint is there; the same call evaluates and goes on without training it again."""
    recipe = recipe_of("simclr")
    recipe = recipe.model_copy(
        update={"evaluation": recipe.evaluation.model_copy(update={"knn_every": knn_every})}
    )
    whole, record = train(recipe, "mine", device="cpu", progress=False)
    assert whole.epochs_done == 2 and sum("knn" in row for row in record["history"]) == 1 + knn_every
    assert all(figure in row for row in record["history"] for figure in whole.method.reports)

    failing = 1 if knn_every else 2  # the epoch after which kNN is asked first
    epochs = count_epochs(monkeypatch)
    with monkeypatch.context() as patched:
        patched.setattr(run, "knn_predict", lambda *_, **__: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            train(recipe, "mine", tmp_path, device="cpu", progress=False)
    state = torch.load(tmp_path / "checkpoint.pt", weights_only=True)
    assert state["loop"]["epochs_done"] == len(state["history"]) == failing
    assert "knn" not in state["history"][-1] and not (tmp_path / "record.json").exists()

    resumed, again = train(recipe, "mine", tmp_path, device="cpu", progress=False)
    assert epochs == [1, 2], "each epoch is trained once over both calls"
    assert equal(weights(whole), weights(resumed)) and without_times(record) == without_times(again)
    assert without_times(records.read(tmp_path / "record.json")) == without_times(record)


def test_a_finished_run_called_again_trains_nothing_and_keeps_its_record(tmp_path, monkeypatch):
    recipe = tiny("simclr")
    _, record = train(recipe, "mine", tmp_path, device="cpu", progress=False)
    epochs = count_epochs(monkeypatch)
    monkeypatch.setattr(run, "knn_predict", lambda *_, **__: 1 / 0)
    _, again = train(recipe, "mine", tmp_path, device="cpu", progress=False)
    assert epochs == [] and without_times(again) == without_times(record)


def test_the_record_says_which_test_images_knn_got_right():
    loop, record = train(tiny("simclr"), "mine", device="cpu", progress=False)
    test = catalogue.load("scenes/plain", "test")
    correct = unpack(record["correct"]["knn"], len(test))
    assert record["test_images"] == len(test) == len(correct)
    assert 100 * correct.mean() == pytest.approx(record["metrics"]["knn"], abs=1e-9)
    bank, queries = (features(loop.method.encoder, part, size=16) for part in (loop.batches.image_set, test))
    predicted = knn_predict(bank, loop.batches.image_set.labels, queries, classes=10, k=5)
    assert correct.tolist() == (predicted == test.labels).tolist()
    assert record["numerics"] == records.NUMERICS and "knn_correct" not in record["history"][-1]


@pytest.mark.parametrize("bare", [("train", "test"), ("test",), ("train",)])
def test_a_pack_without_labels_is_trained_on_without_knn_which_is_said_once(
    bare, tmp_path, monkeypatch, capsys
):
    monkeypatch.setenv("PARTWHOLE_DATA", str(tmp_path))
    for split, seed in (("train", 0), ("test", 1)):
        drawn = scenes(60, seed=seed)
        write_pack(tmp_path, "bare", split, replace(drawn, labels=None) if split in bare else drawn)
    recipe = tiny("byol", epochs=3)
    data = recipe.data.model_copy(update={"name": "bare", "images": None})
    evaluation = recipe.evaluation.model_copy(update={"knn_every": 1})
    recipe = recipe.model_copy(update={"data": data, "evaluation": evaluation})
    said = []
    _, record = train(recipe, "mine", tmp_path / "run", device="cpu", progress=False, say=said.append)
    assert said == ["bare has no labels: it is trained on, but kNN is skipped"]
    assert record["epochs"] == 3 and "knn" not in record["metrics"] and record["correct"] == {}
    assert math.isfinite(record["metrics"]["loss"]) and not any("knn" in row for row in record["history"])
    train(recipe, "mine", None, device="cpu", progress=False)
    assert capsys.readouterr().err == said[0] + "\n"


def _train_slowly(recipe, folder):
    torch.set_num_threads(1)
    train(recipe, "simclr", folder, device="cpu", progress=False)


def test_killed_by_a_signal_at_any_moment_the_checkpoint_is_whole(tmp_path):
    recipe = tiny("simclr", epochs=400)
    child = multiprocessing.get_context("spawn").Process(target=_train_slowly, args=(recipe, tmp_path))
    child.start()
    deadline = time.monotonic() + 120
    while not (tmp_path / "checkpoint.pt").exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    time.sleep(0.3)
    os.kill(child.pid, 9)
    child.join()
    state = torch.load(tmp_path / "checkpoint.pt", weights_only=True)
    assert 1 <= state["loop"]["epochs_done"] < 400


def test_another_recipe_in_the_same_folder_is_refused_by_name(tmp_path):
    train(tiny("simclr", epochs=1), "simclr", tmp_path, device="cpu", progress=False)
    with pytest.raises(
        BadInput, match=r"belongs to another recipe \(differs in training.epochs, training.lr\)"
    ):
        train(tiny("simclr", epochs=2, lr=0.2), "simclr", tmp_path, device="cpu", progress=False)


@pytest.mark.parametrize("content", [b"", b"PK not a checkpoint", "truncated"])
def test_a_damaged_checkpoint_is_refused_in_one_line(tmp_path, content):
    recipe = tiny("simclr", epochs=1)
    if content == "truncated":
        train(recipe, "simclr", tmp_path, device="cpu", progress=False)
        content = (tmp_path / "checkpoint.pt").read_bytes()[:5000]
    (tmp_path / "checkpoint.pt").write_bytes(content)
    with pytest.raises(BadInput, match="damaged or not a checkpoint") as caught:
        train(recipe, "simclr", tmp_path, device="cpu", progress=False)
    assert "\n" not in str(caught.value)


def test_a_batch_larger_than_the_data_is_refused():
    with pytest.raises(
        BadInput, match=r"training.batch_size is 64, but scenes/plain gives 60 images; make it smaller"
    ):
        train(tiny("simclr", batch_size=64), "simclr", device="cpu", progress=False)


def test_a_folder_that_cannot_be_written_is_refused_before_any_work(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(BadInput, match="cannot be written"):
        train(tiny("simclr"), "simclr", tmp_path / "file" / "run", device="cpu", progress=False)


@pytest.mark.parametrize("optimiser", ["sgd", "lars"])
@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
def test_a_step_never_waits_for_the_device(base, precision, optimiser):
    loop = assemble(tiny(base, precision=precision, optimiser=optimiser), Ranks(0))
    loop.method.train()
    index, images, _ = next(iter(loop.batches.epoch()))
    with NoWaiting():
        for step in range(2):
            terms = loop.step(step, index, images)
    assert terms["loss"].isfinite()


@pytest.mark.parametrize("region", ["closure", "components"])
def test_nor_does_one_that_crops_by_boxes(region):
    recipe = contrastive("simclr")
    own = recipe.views.contrastive_crop.model_copy(update={"region": region})
    loop = assemble(
        recipe.model_copy(update={"views": recipe.views.model_copy(update={"contrastive_crop": own})}),
        Ranks(0),
    )
    loop.epoch()
    index, images, _ = next(iter(loop.batches.epoch()))
    loop.sampler.before_epoch(2)
    with NoWaiting():
        terms = loop.step(0, index, images)
    assert terms["loss"].isfinite()


def test_the_no_waiting_check_can_fail():
    with pytest.raises(AssertionError, match=r"_local_scalar_dense"), NoWaiting():
        torch.ones(()).item()
    with pytest.raises(AssertionError, match=r"nonzero|mask"), NoWaiting():
        torch.ones(3)[torch.tensor([True, False, True])]


def test_the_record_says_what_was_run(tmp_path):
    recipe = tiny("simclr")
    _, record = train(recipe, "mine", tmp_path, device="cpu", progress=False)
    assert record["images_seen"] == 2 * 48 and record["epochs"] == 2 and record["images"] == 60
    assert Recipe(**record["recipe"]) == recipe
    assert math.isfinite(record["metrics"]["loss"]) and 0 <= record["metrics"]["knn"] <= 100
    assert len(record["history"]) == 2 and record["images_per_second"] > 0


def test_a_memory_mapped_set_trains_to_the_same_weights_as_a_resident_one():
    recipe = tiny("simclr")
    whole = assemble(recipe, Ranks(0))
    mapped = assemble(recipe, Ranks(0))
    mapped.batches.resident = False
    for loop in (whole, mapped):
        loop.epoch()
    assert equal(weights(whole), weights(mapped))
