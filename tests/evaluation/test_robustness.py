"""The suite on every kind of network: methods of all objectives, committed encoders, torchvision's ResNets;
and crops.
"""

from pathlib import Path

import pytest
import torch
import torchvision

from partwhole.data.scenes import scenes
from partwhole.errors import BadInput
from partwhole.evaluation import EVALUATIONS, GROUPS, named
from partwhole.evaluation.attack import attack_accuracy
from partwhole.evaluation.classifier import Classifier
from partwhole.evaluation.crops import crop_accuracy
from partwhole.evaluation.features import features
from partwhole.evaluation.masking import masked_accuracy
from partwhole.evaluation.noise import noise_accuracy
from partwhole.evaluation.receptive_field import gradient_map
from partwhole.evaluation.redundancy import redundancy
from partwhole.evaluation.subject import Subject
from partwhole.methods import OBJECTIVES, build
from partwhole.models.resnet import encoder
from partwhole.models.saved import load_encoder
from partwhole.recipes.schema import Model, Recipe
from partwhole.training.ranks import Ranks
from support.linear_networks import Blocks, images, probe
from support.tiny_recipes import tiny

SUITE = ("redundancy", "receptive_field", "noise", "masking", "attack", "crops")
COMMITTED = sorted((Path(__file__).parents[2] / "data" / "encoders").glob("*.safetensors"))


def subject_of(network, size=16):
    recipe = tiny("byol")
    recipe = recipe.model_copy(update={"views": recipe.views.model_copy(update={"size": size})})
    return Subject(network, recipe, scenes(40), scenes(20, seed=1), torch.device("cpu"))


def method_of(objective):
    values = tiny("byol").model_dump()
    values["method"] |= {"objective": objective}
    if objective == "logo":
        values["views"] |= {"local": {"count": 2, "size": 16, "scale": (0.05, 0.2)}}
    return build(Recipe(**values), Ranks(0))


def measured(subject):
    found = {}
    for name in SUITE:
        figures = EVALUATIONS[name].measure(subject)
        figures.pop("details")
        assert tuple(figures) == EVALUATIONS[name].figures
        found |= figures
    assert all(isinstance(value, float) and value == value for value in found.values())
    return found


@pytest.mark.parametrize("objective", sorted(OBJECTIVES))
def test_it_measures_methods_of_every_objective_and_leaves_them_as_they_were(objective):
    method = method_of(objective).train()
    before = {name: value.clone() for name, value in method.state_dict().items()}
    measured(subject_of(method))
    assert all(torch.equal(value, before[name]) for name, value in method.state_dict().items())
    assert all(parameter.grad is None for parameter in method.parameters())


@pytest.mark.parametrize("file", COMMITTED[:3], ids=lambda file: file.stem)
def test_it_measures_committed_encoders(file):
    assert measured(subject_of(load_encoder(file)[0], 32))["receptive_field"] == 49


def test_it_measures_torchvisions_resnets_which_give_the_same_vectors():
    torch.manual_seed(0)
    network = torchvision.models.resnet18().eval()
    assert measured(subject_of(network, 64))["receptive_field"] == 435
    few = scenes(10)
    found = features(network, few, size=64)
    network.fc = torch.nn.Identity()
    from partwhole.evaluation.features import normalised, pixel_batches

    _, pixels = next(pixel_batches(few, device="cpu", size=64))
    with torch.no_grad():
        torch.testing.assert_close(found, network(normalised(pixels, few.mean, few.std)))


def test_an_rf_resnet_is_measured_through_its_head():
    torch.manual_seed(0)
    model = Model(width=4, blocks=(1, 1, 1, 1), keep=(2, 2, 1, 0), last_stride=1, head=2)
    assert measured(subject_of(encoder(model), 32))["receptive_field"] == 17


def test_the_probe_is_trained_once_for_all(monkeypatch):
    from partwhole.evaluation import subject as module

    calls, original = [], module.linear_probe_cached
    monkeypatch.setattr(module, "linear_probe_cached", lambda *a, **k: calls.append(1) or original(*a, **k))
    subject = subject_of(encoder(Model(width=4, blocks=(1, 1, 1, 1))))
    for name in ("linear_cached", "noise", "masking", "attack", "crops"):
        EVALUATIONS[name].measure(subject)
    assert calls == [1]


def test_what_survives_nothing_is_the_probes_accuracy():
    subject = subject_of(encoder(Model(width=4, blocks=(1, 1, 1, 1))))
    clean = EVALUATIONS["linear_cached"].measure(subject)["linear_cached"]
    details = [EVALUATIONS[name].measure(subject)["details"] for name in ("noise", "masking", "attack")]
    assert [part["clean"] for part in details] == pytest.approx([clean] * 3)
    assert EVALUATIONS["crops"].measure(subject)["details"]["accuracy"][-1] == pytest.approx(clean)
    assert details[1]["positions"][0] == pytest.approx(clean)


@pytest.mark.parametrize("batch", [7, 64])
def test_curves_without_random_numbers_do_not_depend_on_the_batch(batch):
    image_set, network = images(30), encoder(Model(width=4, blocks=(1, 1, 1, 1)))
    classifier = Classifier(network, probe(channels=32), image_set)
    assert masked_accuracy(classifier, image_set, shares=(0.0,), batch=batch)["positions"] == pytest.approx(
        [noise_accuracy(classifier, image_set, severities=(), batch=30)["clean"]]
    )
    assert attack_accuracy(classifier, image_set, radii=(0.0,), batch=batch)["attacked"] == pytest.approx(
        [attack_accuracy(classifier, image_set, radii=(0.0,))["clean"]]
    )
    torch.testing.assert_close(
        gradient_map(network, image_set, batch=batch), gradient_map(network, image_set)
    )
    one, two = (redundancy(network, image_set, batch=size)["redundancy_centred"] for size in (batch, 30))
    assert one == pytest.approx(two, abs=1e-5)


def test_crops_are_of_the_area_asked_for_and_a_whole_one_is_the_image(monkeypatch):
    from partwhole.evaluation import crops as module

    areas, resample = [], module.resample
    monkeypatch.setattr(
        module, "resample", lambda i, t, left, h, w, *a: areas.append(h * w) or resample(i, t, left, h, w, *a)
    )
    image_set = images(50, side=40)
    found = crop_accuracy(
        Classifier(Blocks(4), probe(), image_set), image_set, size=16, shares=(0.1, 0.5, 1.0)
    )
    whole, tenth, half, again = (area.float().mean().item() / 1600 for area in areas)
    assert (
        (whole, again) == (1, 1)
        and tenth == pytest.approx(0.1, abs=0.01)
        and half == pytest.approx(0.5, abs=0.02)
    )
    assert found["cosine"][-1] == pytest.approx(1) and found["cosine"][0] < found["cosine"][1] < 1


def test_a_vector_that_is_the_same_everywhere_does_not_care_for_crops():
    image_set = images(20)
    image_set.images[:] = image_set.images[:, :1, :1]
    found = crop_accuracy(Classifier(Blocks(4), probe(), image_set), image_set, size=16)
    assert found["cosine"] == pytest.approx([1.0] * 6) and len(set(found["accuracy"])) == 1


def test_groups_stand_for_their_members_each_once():
    assert named(["robustness", "noise", "knn"]) == ["noise", "masking", "attack", "knn"]
    assert all(member in EVALUATIONS for members in GROUPS.values() for member in members) and not set(
        GROUPS
    ) & set(EVALUATIONS)
    with pytest.raises(BadInput, match=r"unknown evaluation 'robustnes'; did you mean robustness\?"):
        named(["robustnes"])


def test_without_a_probe_that_fits_it_is_one_line():
    image_set = images(4)
    for layer, line in (
        (None, "none was given; train one by linear_probe_cached"),
        (probe(channels=5), "takes 5 features"),
    ):
        with pytest.raises(BadInput, match=line) as refused:
            Classifier(Blocks(), layer, image_set)
        assert "\n" not in str(refused.value)
    with pytest.raises(BadInput, match="each must be above 0 and at most 1"):
        crop_accuracy(Classifier(Blocks(), probe(), image_set), image_set, size=16, shares=(0.0,))
