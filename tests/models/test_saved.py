"""Encoder files: written whole, read back as they were; the committed ones give their record's figure."""

import json
from pathlib import Path

import pytest
import torch
import torchvision

from partwhole.data import catalogue
from partwhole.errors import BadInput
from partwhole.methods import build
from partwhole.models.resnet import encoder
from partwhole.models.saved import load_encoder, load_projector, save_encoder
from partwhole.recipes.schema import Model
from partwhole.training.ranks import Ranks
from support.tiny_recipes import lewel

ROOT = Path(__file__).parents[2]
COMMITTED = sorted((ROOT / "data" / "encoders").glob("*.safetensors"))
NARROW = Model(blocks=(1, 1, 1, 1), width=4)


def test_an_encoder_comes_back_as_it_was_with_its_header(tmp_path):
    network = encoder(NARROW).eval()
    save_encoder(network, tmp_path / "e.safetensors", NARROW, data="cifar10")
    again, about = load_encoder(tmp_path / "e.safetensors")
    pixels = torch.randn(2, 3, 32, 32)
    torch.testing.assert_close(again(pixels).pooled, network(pixels).pooled, rtol=0, atol=0)
    assert about["data"] == "cifar10" and Model(**about["model"]) == NARROW


def test_torchvision_loads_the_file_by_its_own_names(tmp_path):
    from safetensors.torch import load_file

    model = Model(stem="imagenet")
    save_encoder(encoder(model), tmp_path / "e.safetensors", model)
    missing, unexpected = torchvision.models.resnet18().load_state_dict(
        load_file(tmp_path / "e.safetensors"), strict=False
    )
    assert set(missing) == {"fc.weight", "fc.bias"} and unexpected == []


# With a norm and no bias, neither norm nor lack of bias, two norms.
@pytest.mark.parametrize("base", ["byol", "simclr", "simsiam"])
def test_a_projector_comes_back_with_its_encoder(base, tmp_path):
    method = build(lewel(base, method={"output_bias": base != "byol"}), Ranks(0))
    method.train()
    # Running statistics that are not those of the start.
    method.embed(method.encoder(torch.randn(8, 3, 16, 16)), "online")
    method.eval()
    projector = method.levels["pooled"].projector
    save_encoder(method.encoder, tmp_path / "e.safetensors", NARROW, projector=projector)
    network, _ = load_encoder(tmp_path / "e.safetensors")
    features = network(torch.randn(4, 3, 32, 32))
    torch.testing.assert_close(
        load_projector(tmp_path / "e.safetensors")(features.pooled), projector(features.pooled)
    )
    save_encoder(method.encoder, tmp_path / "alone.safetensors", NARROW)
    with pytest.raises(
        BadInput, match="holds no projector; write it again with partwhole export --projector"
    ):
        load_projector(tmp_path / "alone.safetensors")


@pytest.mark.parametrize("content", [None, b"", b"not safetensors at all"])
def test_a_missing_or_damaged_file_is_one_line(tmp_path, content):
    file = tmp_path / "e.safetensors"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(BadInput, match=r"no such file|not a readable safetensors file") as caught:
        load_encoder(file)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("file", COMMITTED, ids=lambda file: file.stem)
def test_a_committed_encoder_is_small_and_names_its_data(file):
    network, about = load_encoder(file)
    assert file.stat().st_size < 1_000_000
    assert about["data"] in ("cifar10", "scenes/plain") and network.channels == 128


@pytest.mark.real
def test_the_committed_simclr_encoder_gives_its_records_knn():
    from partwhole.evaluation.features import features
    from partwhole.evaluation.knn import knn_accuracy

    if not (catalogue.root() / "cifar10").is_dir():
        pytest.skip("cifar10 is not under PARTWHOLE_DATA")
    record = json.loads((ROOT / "data/results/foundations/bases/simclr-study-s0.json").read_text())
    network, _ = load_encoder(ROOT / "data/encoders/cifar10_narrow_simclr.safetensors")
    bank, test = (
        catalogue.load("cifar10", "train", images=record["images"]),
        catalogue.load("cifar10", "test"),
    )
    vectors = [features(network, part) for part in (bank, test)]
    assert knn_accuracy(vectors[0], bank.labels, vectors[1], test.labels, classes=10) == pytest.approx(
        record["metrics"]["knn"], abs=0.5
    )
