"""Packs: what is written comes back, whole or not at all; damage is one line."""

import json

import numpy as np
import pytest
import torch

from partwhole.data import packs, staging
from partwhole.data.image_set import ImageSet
from partwhole.data.packs import read_pack, splits, write_pack
from partwhole.errors import BadInput

PARTS = ("images", "labels", "boxes", "sizes")


def small_set(count=12, classes=("cat", "dog"), name="pets", seed=0):
    generator = torch.Generator().manual_seed(seed)
    return ImageSet(
        torch.randint(0, 256, (count, 16, 12, 3), generator=generator, dtype=torch.uint8),
        torch.randint(0, len(classes), (count,), generator=generator),
        torch.rand(count, 2, 4, generator=generator),
        torch.randint(1, 12, (count, 2), generator=generator, dtype=torch.int32),
        list(classes),
        name,
    )


@pytest.mark.parametrize("mmap", [False, True])
def test_a_pack_comes_back_as_it_was_written(tmp_path, mmap):
    train, test = small_set(12), small_set(5, seed=1)
    test.boxes[2, 1] = float("nan")
    write_pack(tmp_path, "pets", "train", train)
    write_pack(tmp_path, "pets", "test", test)
    for split, written in (("train", train), ("test", test)):
        found = read_pack(tmp_path, "pets", split, mmap=mmap)
        for part in PARTS:
            torch.testing.assert_close(
                getattr(found, part), getattr(written, part), rtol=0, atol=0, equal_nan=True
            )
        assert (found.classes, found.name) == (["cat", "dog"], "pets")


def test_absent_parts_stay_absent(tmp_path):
    write_pack(tmp_path, "bare", "train", ImageSet(torch.zeros(3, 8, 8, 3, dtype=torch.uint8)))
    found = read_pack(tmp_path, "bare", "train")
    assert found.labels is found.boxes is found.sizes is None


def test_a_memory_mapped_pack_reads_from_disk_and_never_writes_to_it(tmp_path):
    write_pack(tmp_path, "pets", "train", small_set())
    path = tmp_path / "pets" / "train" / "images.npy"
    before = path.read_bytes()
    found = read_pack(tmp_path, "pets", "train", mmap=True)
    on_disk = np.load(path, mmap_mode="r+")
    on_disk[0] = 7  # seen through the map: nothing was copied to memory on reading
    on_disk.flush()
    assert (found.images[0] == 7).all()
    found.images[1] = 9
    del found
    on_disk[0] = small_set().images[0].numpy()
    on_disk.flush()
    assert path.read_bytes() == before


def test_the_files_are_plain_npy(tmp_path):
    folder = write_pack(tmp_path, "pets", "train", small_set())
    assert sorted(str(path.relative_to(folder)) for path in folder.rglob("*.*")) == [
        "classes.json", "train/boxes.npy", "train/images.npy", "train/labels.npy", "train/sizes.npy",
    ]  # fmt: skip
    assert np.load(folder / "train" / "images.npy").dtype == np.uint8
    assert json.loads((folder / "classes.json").read_text()) == ["cat", "dog"]


@pytest.mark.parametrize(
    "failure", [OSError(28, "No space left on device"), KeyboardInterrupt(), MemoryError()]
)
@pytest.mark.parametrize("at", [1, 2, 4])
def test_an_interrupted_write_leaves_nothing(tmp_path, monkeypatch, failure, at):
    save, calls = np.save, []

    def failing(path, array):
        calls.append(path)
        if len(calls) == at:
            path.write_bytes(b"half")
            raise failure
        save(path, array)

    monkeypatch.setattr(packs.np, "save", failing)
    with pytest.raises((BadInput, KeyboardInterrupt, MemoryError)):
        write_pack(tmp_path, "pets", "train", small_set())
    assert list(tmp_path.iterdir()) == []


def test_an_interrupted_rewrite_leaves_the_old_split(tmp_path, monkeypatch):
    write_pack(tmp_path, "pets", "train", small_set(12))

    def failing(path, array):
        raise KeyboardInterrupt

    monkeypatch.setattr(packs.np, "save", failing)
    with pytest.raises(KeyboardInterrupt):
        write_pack(tmp_path, "pets", "train", small_set(5, seed=1))
    assert torch.equal(read_pack(tmp_path, "pets", "train").images, small_set(12).images)
    assert [path.name for path in tmp_path.iterdir()] == ["pets"]


def test_a_failed_swap_puts_the_old_split_back(tmp_path, monkeypatch):
    write_pack(tmp_path, "pets", "train", small_set(12))
    rename = staging.os.rename

    def failing(source, target):
        if ".partial" in str(source):
            raise OSError(5, "Input/output error")
        rename(source, target)

    monkeypatch.setattr(staging.os, "rename", failing)
    with pytest.raises(BadInput, match="Input/output error"):
        write_pack(tmp_path, "pets", "train", small_set(5, seed=1))
    assert len(read_pack(tmp_path, "pets", "train")) == 12
    assert [path.name for path in tmp_path.iterdir()] == ["pets"]


def test_rewriting_a_split_replaces_it(tmp_path):
    write_pack(tmp_path, "pets", "train", small_set(12))
    write_pack(tmp_path, "pets", "train", small_set(5, seed=1))
    assert len(read_pack(tmp_path, "pets", "train")) == 5


def refusal(function, *arguments):
    with pytest.raises(BadInput) as error:
        function(*arguments)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_a_second_split_with_other_classes_is_refused(tmp_path):
    write_pack(tmp_path, "pets", "train", small_set())
    assert refusal(write_pack, tmp_path, "pets", "test", small_set(classes=("cat", "dog", "fish"))) == (
        f"{tmp_path / 'pets'} has other classes (2: cat, dog) than those given (3: cat, dog, fish); "
        "take another name, or remove that folder first"
    )
    assert splits(tmp_path, "pets") == ["train"]


def test_an_unwritable_root_is_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    assert refusal(write_pack, tmp_path / "file" / "root", "pets", "train", small_set()) == (
        f"cannot write under {tmp_path / 'file' / 'root'}: Not a directory; "
        "free some space or set PARTWHOLE_DATA to a folder you own"
    )


MAKE = "make it with: partwhole data pack FOLDER pets"
AGAIN = "make it anew with: partwhole data pack FOLDER pets --replace"


def test_a_missing_pack_or_split_says_what_to_do(tmp_path):
    assert refusal(read_pack, tmp_path, "pets", "train") == (
        f"no pack pets under {tmp_path}; set PARTWHOLE_DATA to the folder that holds it, or {MAKE}"
    )
    write_pack(tmp_path, "pets", "train", small_set())
    assert refusal(read_pack, tmp_path, "pets", "test") == (
        f"pack pets under {tmp_path} has no split test (it has: train); {AGAIN}"
    )
    assert refusal(read_pack, tmp_path, "pets", "tset") == "unknown split 'tset'; did you mean test?"
    assert refusal(read_pack, tmp_path, "cifar10", "test").endswith(
        "make it with: partwhole data get cifar10"
    )
    (tmp_path / "pets" / "classes.json").unlink()
    assert refusal(read_pack, tmp_path, "pets", "train") == (
        f"{tmp_path / 'pets' / 'classes.json'} is missing; move {tmp_path / 'pets'} away and "
        "make it anew with: partwhole data pack FOLDER pets"
    ), "what --replace would refuse is not advised"


def test_a_damaged_download_is_to_be_moved_away_since_get_finds_it_there(tmp_path):
    folder = write_pack(tmp_path, "cifar10", "train", small_set())
    (folder / "train" / "images.npy").write_bytes(b"")
    assert refusal(read_pack, tmp_path, "cifar10", "train").endswith(
        f"; move {folder} away and make it anew with: partwhole data get cifar10"
    )


@pytest.mark.parametrize("mmap", [False, True])
@pytest.mark.parametrize("keep", [0, 4, 60, 200, 3000])
def test_truncated_images_are_one_line(tmp_path, keep, mmap):
    path = write_pack(tmp_path, "pets", "train", small_set()) / "train" / "images.npy"
    path.write_bytes(path.read_bytes()[:keep])
    text = refusal(read_pack, tmp_path, "pets", "train", mmap)
    assert text.startswith(f"{path} is damaged (") and text.endswith(AGAIN)


def test_pickled_objects_are_not_loaded(tmp_path):
    folder = write_pack(tmp_path, "pets", "train", small_set())
    np.save(folder / "train" / "labels.npy", np.array([{}], dtype=object), allow_pickle=True)
    assert refusal(read_pack, tmp_path, "pets", "train").startswith(
        f"{folder / 'train' / 'labels.npy'} is damaged ("
    )


@pytest.mark.parametrize(
    ("part", "array", "text"),
    [
        ("labels", np.zeros(11, np.int64), "is damaged: 11 labels for 12 images"),
        ("labels", np.zeros(12, np.int32), "holds int32; expected int64"),
        (
            "labels",
            np.full(12, 2),
            "is damaged: labels run from 2 to 2; with 2 classes they must lie in 0..1",
        ),
        (
            "boxes",
            np.zeros((12, 4), np.float32),
            "is damaged: boxes are float32 (12, 4); expected float32 (N, M, 4)",
        ),
        (
            "images",
            np.zeros((12, 8, 8), np.uint8),
            "is damaged: images are uint8 (12, 8, 8); expected uint8 (N, H, W, 3)",
        ),
        ("images", np.zeros((12, 8, 8, 3)), "holds float64; expected uint8"),
    ],
)
def test_parts_that_do_not_fit_are_one_line(tmp_path, part, array, text):
    folder = write_pack(tmp_path, "pets", "train", small_set())
    np.save(folder / "train" / f"{part}.npy", array)
    path = folder / "train" / (f"{part}.npy" if text.startswith("holds") else "")
    assert refusal(read_pack, tmp_path, "pets", "train") == f"{path} {text}; {AGAIN}"


@pytest.mark.parametrize("content", ["", "{", '{"cat": 0}', "[1, 2]"])
def test_damaged_classes_are_one_line(tmp_path, content):
    folder = write_pack(tmp_path, "pets", "train", small_set())
    (folder / "classes.json").write_text(content)
    assert refusal(read_pack, tmp_path, "pets", "train") == (
        f"{folder / 'classes.json'} is damaged (no JSON list of names); {AGAIN}"
    )
