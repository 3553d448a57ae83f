"""Catalogue: where sets are looked for, what is listed, what a wrong name gets."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from partwhole import places
from partwhole.data import catalogue
from partwhole.data.image_set import ImageSet, channel_statistics
from partwhole.data.packs import write_pack
from partwhole.errors import BadInput


@pytest.fixture
def packs_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("PARTWHOLE_DATA", str(tmp_path))
    return tmp_path


def pack(root, name, split="train", count=8):
    labels = torch.arange(count) % 2
    write_pack(
        root,
        name,
        split,
        ImageSet(torch.full((count, 8, 8, 3), 3, dtype=torch.uint8), labels, classes=["a", "b"]),
    )


def refusal(function, *arguments, **options):
    with pytest.raises(BadInput) as error:
        function(*arguments, **options)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_root_is_the_environment_then_the_clone_then_the_cache(monkeypatch, tmp_path):
    monkeypatch.setenv("PARTWHOLE_DATA", "~/sets")
    assert catalogue.root() == Path.home() / "sets"
    monkeypatch.delenv("PARTWHOLE_DATA")
    monkeypatch.setattr(places, "root", lambda: tmp_path)
    assert catalogue.root() == tmp_path / "data"
    monkeypatch.setattr(places, "root", lambda: None)
    assert catalogue.root() == Path.home() / ".cache" / "partwhole"


def test_the_list_shows_scenes_downloads_and_packs(packs_folder):
    pack(packs_folder, "pets")
    pack(packs_folder, "pets", "val")
    pack(packs_folder, "cifar100")
    (packs_folder / "results").mkdir()  # no pack
    rows = {row.name: (row.what, row.where) for row in catalogue.available()}
    assert rows["scenes/plain"][1] == rows["scenes/nuisance"][1] == "generated"
    assert rows["cifar10"][1] == "absent"
    assert rows["cifar100"][1] == str(packs_folder / "cifar100")
    assert rows["pets"] == ("pack, 2 classes, train and val", str(packs_folder / "pets"))
    assert "results" not in rows


def test_a_damaged_pack_does_not_hide_the_others_from_the_list(packs_folder):
    pack(packs_folder, "pets")
    pack(packs_folder, "wild")
    (packs_folder / "pets" / "classes.json").write_text("{")
    rows = {row.name: row.what for row in catalogue.available()}
    assert rows["pets"] == "damaged pack"
    assert rows["wild"] == "pack, 2 classes, train"


def test_listing_and_refusing_import_no_torch(packs_folder):
    code = (
        "import sys; from partwhole.data import catalogue; from partwhole.errors import BadInput\n"
        "catalogue.available()\n"
        "for refused in (lambda: catalogue.load('cifr10', 'train'),\n"
        "                lambda: catalogue.load('cifar10', 'train'),\n"
        "                lambda: catalogue.get('scenes/plain')):\n"
        "    try: refused()\n"
        "    except BadInput: pass\n"
        "    else: raise SystemExit('not refused')\n"
        "assert not {'torch', 'torchvision', 'matplotlib'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_test_falls_back_to_val(packs_folder):
    pack(packs_folder, "pets", "train")
    pack(packs_folder, "pets", "val", count=4)
    assert len(catalogue.load("pets", "test")) == 4
    pack(packs_folder, "pets", "test", count=6)
    assert len(catalogue.load("pets", "test")) == 6


def test_a_part_is_balanced(packs_folder):
    pack(packs_folder, "pets")
    assert catalogue.load("pets", "train", images=4).labels.bincount().tolist() == [2, 2]
    assert refusal(catalogue.load, "pets", "train", images=10) == (
        "10 images need 5 of each class, but pets has 4 of class a; ask for fewer"
    )


def test_a_part_of_the_scenes_is_their_beginning():
    part = catalogue.load("scenes/plain", "train", images=40)
    assert torch.equal(part.images[:20], catalogue.load("scenes/plain", "train", images=20).images)
    assert part.labels.bincount().tolist() == [4] * 10
    assert not torch.equal(part.images, catalogue.load("scenes/plain", "test", images=40).images)
    assert refusal(catalogue.load, "scenes/plain", "test", images=2010) == (
        "2010 images of scenes/plain/test were asked for; it has 2000, "
        "and a balanced part is a multiple of 10"
    )


def test_controls_change_scenes_and_nothing_else(packs_folder):
    pack(packs_folder, "pets")
    small = catalogue.load("scenes/plain", "train", images=40, controls={"object_size": (0.2, 0.2)})
    sides = (small.boxes[:, 0, 2:] - small.boxes[:, 0, :2]).amax(1)
    assert sides.max() < 0.3 < catalogue.load("scenes/plain", "train", images=40).boxes[:, 0, 2].max()
    assert refusal(catalogue.load, "scenes/plain", "train", controls={"colour": 1}).startswith(
        "unknown control of scenes 'colour'"
    )
    assert refusal(catalogue.load, "pets", "train", controls={"spread": 1.0}) == (
        "controls are given (spread), but pets is no scene; leave data.controls out"
    )


def test_wrong_names_are_one_line(packs_folder):
    pack(packs_folder, "pets")
    assert refusal(catalogue.load, "cifar11", "train") == "unknown data set 'cifar11'; did you mean cifar10?"
    assert refusal(catalogue.load, "zzz", "train") == (
        "unknown data set 'zzz'; known: scenes/plain, scenes/nuisance, cifar10, cifar100, pets"
    )
    assert (
        refusal(catalogue.load, "scenes/plane", "train")
        == "unknown data set 'scenes/plane'; did you mean scenes/plain?"
    )
    assert refusal(catalogue.load, "pets", "validation") == "unknown split 'validation'; known: train, test"
    assert refusal(catalogue.load, "../pets", "train").startswith("unknown data set '../pets'")
    assert refusal(catalogue.load, "cifar10", "train") == (
        f"cifar10 is not under {packs_folder}; fetch it with: partwhole data get cifar10, "
        "or set PARTWHOLE_DATA to the folder that holds it"
    )
    assert refusal(catalogue.get, "pets") == "unknown data set to download 'pets'; known: cifar10, cifar100"
    assert refusal(catalogue.get, "scenes/plain") == (
        "scenes/plain is generated when it is used; there is nothing to download"
    )


def test_a_pack_without_the_split_is_one_line(packs_folder):
    pack(packs_folder, "pets", "val")
    assert refusal(catalogue.load, "pets", "train") == (
        f"pack pets under {packs_folder} has no split train (it has: val); "
        "make it anew with: partwhole data pack FOLDER pets --replace"
    )


def test_folders_that_are_no_packs_are_unknown_names_and_damaged_packs_say_how(packs_folder):
    (packs_folder / "results").mkdir()
    (packs_folder / "thesis").mkdir()
    (packs_folder / "cifar10").mkdir()
    for name in ("results", "thesis", "..", ".", ""):
        assert refusal(catalogue.load, name, "train").startswith(f"unknown data set {name!r}; ")
    assert refusal(catalogue.load, "cifar10", "train").startswith(
        f"cifar10 is not under {packs_folder}; fetch it with"
    )
    pack(packs_folder, "pets")
    (packs_folder / "pets" / "classes.json").unlink()
    assert refusal(catalogue.load, "pets", "train").startswith(
        f"{packs_folder / 'pets' / 'classes.json'} is missing; "
    )


def test_a_download_onto_a_folder_that_is_no_pack_is_refused_before_it_begins(packs_folder, monkeypatch):
    photo = packs_folder / "cifar10" / "train" / "photo.jpg"
    photo.parent.mkdir(parents=True)
    photo.write_text("mine")
    monkeypatch.setattr(
        "partwhole.data.cifar.read", lambda *arguments, **options: pytest.fail("the download began")
    )
    assert refusal(catalogue.get, "cifar10", progress=pytest.fail) == (
        f"{packs_folder / 'cifar10'} is a folder but no pack (it holds 'train/photo.jpg'); "
        "move it away or take another name"
    )
    assert photo.read_text() == "mine"
    (packs_folder / "cifar100").symlink_to(packs_folder / "nowhere")
    assert "cifar100 is a symbolic link, not a folder" in refusal(
        catalogue.get, "cifar100", progress=pytest.fail
    )


def test_a_pack_without_labels_loads_and_is_listed(packs_folder):
    write_pack(packs_folder, "bare", "train", ImageSet(torch.zeros(6, 8, 8, 3, dtype=torch.uint8)))
    assert catalogue.load("bare", "train").labels is None
    assert catalogue.load("bare", "train", mmap=True).subset(torch.tensor([0, 2])).labels is None
    assert {row.name: row.what for row in catalogue.available()}["bare"] == "pack, no classes, train"
    assert refusal(catalogue.load, "bare", "train", images=4) == (
        "bare has no labels, so 4 images of it cannot be balanced; take all its images, or a set with labels"
    )


@pytest.mark.parametrize("name", ["scenes/plain", "scenes/nuisance", "cifar10", "cifar100", "pets"])
def test_what_is_loaded_carries_its_published_normalisation(packs_folder, name):
    if not name.startswith("scenes/"):
        pack(packs_folder, name)
    part = catalogue.load(name, "train", images=20 if name.startswith("scenes/") else 4)
    assert (part.mean, part.std) == catalogue.normalisation(name)
    assert (part.subset(torch.arange(2)).mean, part.to("cpu").std) == catalogue.normalisation(name)


@pytest.mark.parametrize("name", ["scenes/plain", "scenes/nuisance"])
def test_the_scenes_are_normalised_by_their_own_statistics(name):
    mean, deviation = channel_statistics(catalogue.load(name, "train", images=2000))
    expected_mean, expected_deviation = catalogue.normalisation(name)
    assert mean == pytest.approx(expected_mean, abs=0.01)
    assert deviation == pytest.approx(expected_deviation, abs=0.01)


def test_other_packs_are_normalised_by_imagenet_and_cifar_as_published():
    assert catalogue.normalisation("pets") == ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    assert catalogue.normalisation("cifar10") == ((0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010))
    assert catalogue.normalisation("cifar100") == ((0.5071, 0.4867, 0.4408), (0.2675, 0.2565, 0.2761))


def real(name):
    if not catalogue.packs.is_pack(catalogue.root() / name):
        pytest.skip(f"{name} is not under PARTWHOLE_DATA")
    return catalogue.load(name, "train"), catalogue.load(name, "test")


@pytest.mark.real
def test_real_cifar10_has_its_known_statistics():
    train, test = real("cifar10")
    mean, deviation = channel_statistics(train)
    assert mean == pytest.approx((0.491400, 0.482158, 0.446531), abs=5e-7)
    assert deviation == pytest.approx((0.247030, 0.243484, 0.261587), abs=5e-7)
    assert train.labels.bincount().tolist() == [5000] * 10
    assert test.labels.bincount().tolist() == [1000] * 10
    assert train.classes[0] == "airplane" and train.classes[-1] == "truck"


@pytest.mark.real
def test_real_cifar100_is_balanced_and_normalised_as_published():
    train, test = real("cifar100")
    mean, deviation = channel_statistics(train)
    expected_mean, expected_deviation = catalogue.normalisation("cifar100")
    assert mean == pytest.approx(expected_mean, abs=2e-4)  # the published digits are not all of the data
    assert deviation == pytest.approx(expected_deviation, abs=2e-4)
    assert train.labels.bincount().tolist() == [500] * 100
    assert test.labels.bincount().tolist() == [100] * 100


@pytest.mark.real
def test_real_boxes_lie_inside_their_images():
    train, test = real("tiny_imagenet_subset")
    for found in (train, test):
        boxes = found.boxes[~found.boxes.isnan().any(2)]
        assert len(boxes) > 0.99 * len(found)
        assert (boxes[:, :2] < boxes[:, 2:]).all() and boxes.min() >= 0 and boxes.max() <= 1


@pytest.mark.real
def test_a_real_balanced_part_is_the_study_set():
    train, _ = real("cifar10")
    part = train.balanced(10_000)
    assert part.labels.bincount().tolist() == [1000] * 10
