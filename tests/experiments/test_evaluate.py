import json

import pytest
import torch

from partwhole.data import catalogue
from partwhole.errors import BadInput
from partwhole.evaluation.features import features
from partwhole.evaluation.linear import linear_probe
from partwhole.experiments import records
from partwhole.experiments.evaluate import KINDS, evaluate
from partwhole.experiments.run import train
from partwhole.recipes.files import digest
from partwhole.recipes.schema import Views
from support.tiny_recipes import tiny

PLAIN = ("knn", "raw_pixels", "linear_cached", "linear")
PROBE = {"epochs": 2, "batch": 30, "lr": 0.5}


@pytest.fixture(scope="module")
def few():
    """A data set small enough for a test: 60 training and 40 test scenes, whatever is asked for."""
    patch, original = pytest.MonkeyPatch(), catalogue.load
    patch.setattr(catalogue, "load", lambda name, split, **_: original(name, split, images=60 if split == "train" else 40))
    yield
    patch.undo()


@pytest.fixture(scope="module")
def run(few, tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    recipe = tiny("simclr").model_copy(update={"views": Views(size=32)})
    loop, record = train(recipe, "tiny", folder, device="cpu", progress=False)
    return folder, recipe, loop, record


@pytest.fixture(scope="module")
def record(run):
    return evaluate(run[0], PLAIN, name="tiny", device="cpu", probe=PROBE)


def test_knn_is_that_of_the_runs_last_epoch(run, record):
    assert record["metrics"]["knn"] == pytest.approx(run[3]["metrics"]["knn"])
    assert record["metrics"]["knn"] > 0


def test_each_figure_is_its_functions(run, record):
    train_set, test_set = (catalogue.load("scenes/plain", split) for split in ("train", "test"))
    probed = linear_probe(run[2].method.encoder, train_set, test_set, *catalogue.normalisation("scenes/plain"), size=32, **PROBE)
    assert record["metrics"]["linear"] == probed["test_accuracy"]
    assert record["linear"]["by_epoch"] == probed["by_epoch"] and record["linear"]["protocol"] == PROBE
    assert set(record["metrics"]) == {"knn", "raw_pixels", "linear", "linear_train", "linear_cached", "linear_cached_train"}
    assert record["seconds"].keys() == {"features", *PLAIN}


def test_record_names_its_run_and_can_be_written(run, record, tmp_path):
    assert record["digest"] == digest(run[1]) and record["images"] == 60 and record["test_images"] == 40
    assert record["epochs"] == 2 and record["images_seen"] == run[3]["images_seen"]
    again = records.read(records.write(record, tmp_path / "evaluation.json"))
    assert again["metrics"] == json.loads(json.dumps(record["metrics"]))


def test_nothing_is_printed_and_no_file_appears(run, capsys):
    before = sorted(run[0].rglob("*"))
    evaluate(run[0] / "checkpoint.pt", ["linear"], device="cpu", probe=PROBE)
    assert sorted(run[0].rglob("*")) == before
    assert capsys.readouterr() == ("", "")


def test_images_are_evaluated_at_the_size_they_were_trained_on(run, monkeypatch):
    from partwhole.experiments import evaluate as module

    sizes = []

    def watched(*arguments, **options):
        sizes.append(options["size"])
        return features(*arguments, **options)

    monkeypatch.setattr(module, "features", watched)
    evaluate(run[0], ["knn"], device="cpu")
    assert sizes == [run[1].views.size] * 2


def test_missing_damaged_and_foreign_files_are_refused_in_one_line(run, tmp_path):
    whole = (run[0] / "checkpoint.pt").read_bytes()
    (tmp_path / "half.pt").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "text.pt").write_text("not a checkpoint")
    torch.save({"weights": torch.ones(2)}, tmp_path / "foreign.pt")
    refusals = {"absent.pt": "no such", "half.pt": "damaged", "text.pt": "damaged", "foreign.pt": "not a checkpoint"}
    for name, says in refusals.items():
        with pytest.raises(BadInput, match=says) as refused:
            evaluate(tmp_path / name, device="cpu")
        assert "\n" not in str(refused.value) and name in str(refused.value)


def test_unknown_kind_is_refused_before_anything_is_read(tmp_path):
    with pytest.raises(BadInput, match=r"^unknown evaluation 'linaer'; did you mean linear\?$"):
        evaluate(tmp_path / "absent.pt", ["knn", "linaer"])


def test_maps_and_background_are_measured_of_any_run(run):
    found = evaluate(run[0], ["maps", "background"], device="cpu")["metrics"]
    assert set(found) == {*KINDS["maps"], *KINDS["background"]}
    assert 0 < found["background_share"] < 1 and 0 < found["map_kl"] < 0.3
    assert found["pointing_chance"] == pytest.approx(found["map_inside_even"], abs=0.15)
    # plain scenes tie no background to a class, so drawing it anew changes nothing
    assert found["knn_shifted"] == pytest.approx(run[3]["metrics"]["knn"])


def test_every_kind_gives_what_it_is_said_to_give(record):
    assert set(record["metrics"]) == {figure for kind in PLAIN for figure in KINDS[kind]}


def test_backgrounds_of_photographs_are_refused(run, tmp_path):
    state = torch.load(run[0] / "checkpoint.pt", weights_only=False)
    state["recipe"]["data"]["name"] = "photographs"
    torch.save(state, tmp_path / "checkpoint.pt")
    with pytest.raises(BadInput, match="backgrounds of photographs cannot be swapped"):
        evaluate(tmp_path / "checkpoint.pt", ["background"], device="cpu")
