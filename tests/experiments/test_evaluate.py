"""evaluate: the record of a checkpoint, each figure its function's, on images that the recipe describes."""

import json
from dataclasses import replace

import pytest
import torch

from partwhole.data import catalogue
from partwhole.data.packs import write_pack
from partwhole.data.scenes import scenes
from partwhole.errors import BadInput
from partwhole.evaluation import EVALUATIONS, background
from partwhole.evaluation.features import features
from partwhole.evaluation.knn import knn_accuracy
from partwhole.evaluation.linear import linear_probe
from partwhole.evaluation.subject import Subject
from partwhole.experiments import records
from partwhole.experiments.evaluate import evaluate
from partwhole.experiments.export import export
from partwhole.experiments.run import train
from partwhole.models.resnet import Encoder
from partwhole.recipes.files import digest
from partwhole.recipes.schema import Views
from support.few_scenes import few_scenes
from support.tiny_recipes import tiny

PLAIN = ("knn", "raw_pixels", "linear_cached", "linear")
PROBE = {"epochs": 2, "batch": 30, "lr": 0.5}


@pytest.fixture(scope="module")
def few():
    """60 training and 40 test scenes in the catalogue, whatever their controls."""
    with few_scenes():
        yield


@pytest.fixture(scope="module")
def run(few, tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    recipe = tiny("simclr").model_copy(update={"views": Views(size=32)})
    loop, record = train(recipe, "tiny", folder, device="cpu", progress=False)
    return folder, recipe, loop, record


@pytest.fixture(scope="module")
def record(run):
    return evaluate(run[0], PLAIN, name="tiny", device="cpu", probe=PROBE)


def test_training_and_test_images_are_others(few):
    """What these tests, and all figures, stand on: without it, kNN would find each query itself."""
    train_set, test_set = (catalogue.load("scenes/plain", split) for split in ("train", "test"))
    assert (len(train_set), len(test_set)) == (60, 40)
    distances = torch.cdist(*(part.images.flatten(1).float() for part in (test_set, train_set)))
    assert distances.min() > 0


def test_knn_is_that_of_the_runs_last_epoch(run, record):
    assert record["metrics"]["knn"] == pytest.approx(run[3]["metrics"]["knn"])
    assert record["metrics"]["knn"] > 0


def test_each_figure_is_its_functions(run, record):
    train_set, test_set = (catalogue.load("scenes/plain", split) for split in ("train", "test"))
    probed = linear_probe(run[2].method.encoder, train_set, test_set, size=32, **PROBE)
    assert record["metrics"]["linear"] == probed["test_accuracy"]
    assert record["metrics"]["linear_train"] == probed["train_accuracy"]
    assert record["linear"]["by_epoch"] == probed["by_epoch"] and record["linear"]["protocol"] == PROBE
    assert set(record["metrics"]) == {figure for name in PLAIN for figure in EVALUATIONS[name].figures}
    assert tuple(record["seconds"]) == PLAIN


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


def test_missing_damaged_and_foreign_files_are_refused_in_one_line(run, tmp_path):
    whole = (run[0] / "checkpoint.pt").read_bytes()
    (tmp_path / "half.pt").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "text.pt").write_text("not a checkpoint")
    torch.save({"weights": torch.ones(2)}, tmp_path / "foreign.pt")
    refusals = {
        "absent.pt": "no such",
        "half.pt": "damaged",
        "text.pt": "damaged",
        "foreign.pt": "not a checkpoint",
    }
    for name, says in refusals.items():
        with pytest.raises(BadInput, match=says) as refused:
            evaluate(tmp_path / name, device="cpu")
        assert "\n" not in str(refused.value) and name in str(refused.value)


def test_a_network_that_is_not_finite_is_refused_in_one_line(run, tmp_path):
    state = torch.load(run[0] / "checkpoint.pt", weights_only=True)
    state["loop"]["method"]["base.encoder.conv1.weight"][0, 0, 0, 0] = float("nan")
    torch.save(state, tmp_path / "checkpoint.pt")
    line = (
        r"1 tensors are not finite, base\.encoder\.conv1\.weight first: the training diverged; train again$"
    )
    with pytest.raises(BadInput, match=line) as refused:
        evaluate(tmp_path, ["knn"], device="cpu")
    assert "\n" not in str(refused.value) and str(tmp_path) in str(refused.value)
    with pytest.raises(BadInput, match=line):
        export(tmp_path, tmp_path / "encoder.safetensors")
    assert not (tmp_path / "encoder.safetensors").exists()


def test_unknown_kind_is_refused_before_anything_is_read(tmp_path):
    with pytest.raises(BadInput, match=r"^unknown evaluation 'linaer'; did you mean linear\?$"):
        evaluate(tmp_path / "absent.pt", ["knn", "linaer"])


def test_maps_and_background_are_measured_of_any_run(run):
    metrics = evaluate(run[0], ["maps", "background"], device="cpu")["metrics"]
    assert set(metrics) == {*EVALUATIONS["maps"].figures, *EVALUATIONS["background"].figures}
    assert 0 < metrics["background_share"] < 1 and 0 < metrics["map_kl"] < 0.3
    assert metrics["pointing_chance"] == pytest.approx(metrics["map_inside_even"], abs=0.15)
    # plain scenes tie no background to a class, so drawing it anew changes nothing
    assert metrics["knn_shifted"] == pytest.approx(run[3]["metrics"]["knn"])


@pytest.mark.parametrize(
    ("setting", "size", "controls"),
    [
        ("plain", 16, {"clutter": 1.0, "background_correlation": 1.0, "object_size": (0.2, 0.3)}),
        ("nuisance", 32, {"object_size": (0.7, 0.8), "spread": 0.0}),
    ],
)
def test_background_is_measured_on_the_recipes_scenes(few, monkeypatch, setting, size, controls):
    """On a network that has learned nothing, with controls that change every scene: both figures by hand."""
    monkeypatch.setattr(background, "scenes", lambda count, **more: scenes(100, **more))
    recipe = tiny("simclr").model_copy(update={"views": Views(size=size)})
    data = recipe.data.model_copy(update={"name": f"scenes/{setting}", "controls": controls})
    recipe = recipe.model_copy(update={"data": data})
    train_set, test_set = (catalogue.load(data.name, split, controls=controls) for split in ("train", "test"))
    torch.manual_seed(0)
    network = Encoder(blocks=(1, 1, 1, 1), width=4).eval()
    subject = Subject(network, recipe, train_set, test_set, torch.device("cpu"))
    figures = background.measure(subject)

    untied = controls | {"background_correlation": 0.0}
    shifted = scenes(40, setting=setting, seed=1, **untied)
    assert torch.equal(shifted.images, test_set.images) == ("background_correlation" not in controls)
    bank, queries = (features(network, part, size=size) for part in (train_set, shifted))
    by_hand = knn_accuracy(bank, train_set.labels, queries, shifted.labels, **subject.vote)
    assert figures["knn_shifted"] == by_hand

    parts = [scenes(100, setting=setting, seed=1, swap=swap, **untied) for swap in (0, 1, 3, 7)]
    unit = [torch.nn.functional.normalize(features(network, part, size=size)) for part in parts]
    shares = []
    for shift, swapped in zip((1, 3, 7), unit[1:]):
        of_background = (unit[0] - swapped).square().sum(1).mean()
        of_object = (unit[0].roll(-shift, 0) - swapped).square().sum(1).mean()
        shares.append((of_background / (of_background + of_object)).item())
    assert figures["background_share"] == pytest.approx(sum(shares) / 3, rel=1e-5)
    plain = background.background_share(network, train_set.mean, train_set.std)
    assert abs(plain - figures["background_share"]) > 0.01, "the controls must matter"


def test_backgrounds_of_photographs_are_refused(run, tmp_path, monkeypatch):
    """On a pack that is there and can be evaluated otherwise."""
    monkeypatch.setenv("PARTWHOLE_DATA", str(tmp_path))
    for split, seed in (("train", 0), ("test", 1)):
        write_pack(tmp_path, "photographs", split, scenes(60, seed=seed))
    state = torch.load(run[0] / "checkpoint.pt", weights_only=True)
    state["recipe"]["data"]["name"] = "photographs"
    torch.save(state, tmp_path / "checkpoint.pt")
    with pytest.raises(
        BadInput, match=r"^the backgrounds of photographs cannot be swapped; evaluate background on scenes/pl"
    ):
        evaluate(tmp_path / "checkpoint.pt", ["background"], device="cpu")
    assert evaluate(tmp_path / "checkpoint.pt", ["knn"], device="cpu")["metrics"]["knn"] > 0


def test_without_labels_a_checkpoint_is_refused_in_one_line(run, tmp_path, monkeypatch):
    monkeypatch.setenv("PARTWHOLE_DATA", str(tmp_path))
    for split, seed in (("train", 0), ("test", 1)):
        write_pack(tmp_path, "bare", split, replace(scenes(60, seed=seed), labels=None, classes=[]))
    state = torch.load(run[0] / "checkpoint.pt", weights_only=True)
    state["recipe"]["data"] = {"name": "bare"}
    torch.save(state, tmp_path / "checkpoint.pt")
    with pytest.raises(
        BadInput, match=r"^bare has no labels, so nothing can be evaluated on it; choose a labelled data set$"
    ):
        evaluate(tmp_path / "checkpoint.pt", ["knn"], device="cpu")


def test_so_many_test_images_are_used_and_groups_are_spelled_out(run):
    found = evaluate(run[0], ["robustness", "knn"], device="cpu", test_images=20)
    assert found["test_images"] == 20 and list(found["seconds"]) == ["noise", "masking", "attack", "knn"]
    assert found["attack"]["images"] == 20 and found["metrics"]["attack_retained"] >= 0
