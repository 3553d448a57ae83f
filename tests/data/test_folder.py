"""Folders: an ImageFolder tree becomes the pack that torchvision and PIL would make of it."""

import numpy as np
import pytest
from PIL import Image
from torchvision.datasets import ImageFolder
from torchvision.transforms import functional

from partwhole.cli import main
from partwhole.data import catalogue
from partwhole.data.folder import pack_folder, squared
from partwhole.data.packs import read_pack
from partwhole.errors import BadInput

CLASSES = ["apple", "bread", "cake"]


@pytest.fixture
def tree(tmp_path):
    """train and val, three classes, images of several sizes, kinds and endings."""
    generator = np.random.default_rng(0)
    for split, count in (("train", 4), ("val", 2)):
        for name in CLASSES:
            folder = tmp_path / "tree" / split / name
            folder.mkdir(parents=True)
            for place in range(count):
                height, width = generator.integers(20, 60, 2)
                smooth = Image.fromarray(generator.integers(0, 256, (6, 6, 3), dtype=np.uint8)).resize(
                    (width, height)
                )
                if place == 1:
                    smooth.convert("L").save(folder / f"{place}.png")
                else:
                    smooth.save(folder / f"{place}.{'JPEG' if place else 'jpg'}", "JPEG")
    return tmp_path / "tree"


def test_order_labels_and_classes_are_imagefolders(tree, tmp_path):
    pack_folder(tree, tmp_path / "packs", "food", 24)
    for split in ("train", "val"):
        theirs, found = ImageFolder(tree / split), read_pack(tmp_path / "packs", "food", split)
        assert found.classes == theirs.classes == CLASSES
        assert found.labels.tolist() == theirs.targets
        for ours, (path, _) in zip(found.images, theirs.samples):
            assert np.array_equal(ours.numpy(), squared(path, 24))


@pytest.mark.parametrize("size", [16, 24, 31, 70])
def test_an_image_is_resized_and_cropped_as_torchvision_does(tree, size):
    for path, _ in ImageFolder(tree / "train").samples:
        theirs = functional.center_crop(functional.resize(Image.open(path).convert("RGB"), size), size)
        assert np.array_equal(squared(path, size), np.asarray(theirs))


def test_an_image_of_the_right_size_is_kept_pixel_by_pixel(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (24, 30, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "one.png")
    assert np.array_equal(squared(tmp_path / "one.png", 24), pixels[:, 3:27])


def test_a_list_of_classes_chooses_and_orders_them(tree, tmp_path):
    pack_folder(tree, tmp_path / "packs", "two", 16, classes=["cake", "apple"])
    found = read_pack(tmp_path / "packs", "two", "train")
    assert found.classes == ["cake", "apple"]
    assert found.labels.bincount().tolist() == [4, 4]
    assert np.array_equal(found.images[0].numpy(), squared(tree / "train" / "cake" / "0.jpg", 16))


def test_a_packed_folder_loads_by_name(tree, tmp_path, monkeypatch):
    monkeypatch.setenv("PARTWHOLE_DATA", str(tmp_path / "packs"))
    pack_folder(tree, catalogue.root(), "food", 16)
    assert len(catalogue.load("food", "train")) == 12
    assert len(catalogue.load("food", "test", mmap=True)) == 6


def test_what_cannot_be_packed_is_one_line_and_leaves_nothing(tree, tmp_path):
    root = tmp_path / "packs"

    def refusal(folder=tree, size=16, classes=None, name="food"):
        with pytest.raises(BadInput) as error:
            pack_folder(folder, root, name, size, classes)
        assert "\n" not in str(error.value)
        assert not root.exists() or list(root.iterdir()) == []
        return str(error.value)

    assert refusal(folder=tmp_path / "none") == (
        f"{tmp_path / 'none'} is not a folder; expected one that holds train/CLASS/*.jpg, and test or val"
    )
    assert refusal(folder=tree / "train") == (
        f"{tree / 'train'} has no folder train; expected train/CLASS/*.jpg, and test or val beside it"
    )
    assert refusal(size=4) == "size is 4; it must lie in 8..1024 pixels"
    assert refusal(classes=["apple", "pie"]) == (
        f"{tree / 'train'} has no class folder pie; every class needs one in every split"
    )
    assert refusal(classes=["apple", "apple"]) == "class apple is listed twice; list every class once"
    assert (
        refusal(name="a/b")
        == "'a/b' cannot name a pack; use one folder name: no slash, no backslash, no dot in front"
    )
    for name in ("cifar10", "cifar100"):
        assert refusal(name=name) == (
            f"{name} names a set to download (partwhole data get {name}); take another name for the pack"
        )
    assert refusal(folder=tmp_path / "none", name="..").startswith("'..' cannot name a pack; ")
    assert refusal(name="results").endswith("; take another name for the pack")
    bad = tree / "val" / "cake" / "0.jpg"
    bad.write_bytes(bad.read_bytes()[:200])
    text = refusal()
    assert text.startswith(f"{bad} cannot be read as an image (") and text.endswith("; replace or remove it")
    for path in (tree / "val" / "cake").iterdir():
        path.unlink()
    assert refusal() == f"{tree / 'val' / 'cake'} holds no image; expected files such as .bmp, .jpeg, .jpg"


def files(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("arguments", [[], ["--replace"]])
@pytest.mark.parametrize(
    "where", ["the pack", "in the pack", "around the packs", "a link into the pack", "a link around", "split"]
)
def test_images_and_their_pack_never_lie_one_in_the_other(
    tree, tmp_path, monkeypatch, capsys, where, arguments
):
    packs = tree / "packs" if "around" in where else tmp_path / "packs"
    packs.mkdir()
    source = {"the pack": packs / "food", "in the pack": packs / "food" / "photos"}.get(where, tree)
    if where == "a link into the pack":
        tree.rename(packs / "food")
        source = tmp_path / "link"
        source.symlink_to(packs / "food")
    elif where == "a link around":
        source = tmp_path / "link"
        source.symlink_to(tree)
    elif where == "split":
        (packs / "food").mkdir()
        (tree / "train").rename(packs / "food" / "train")
        (tree / "train").symlink_to(packs / "food" / "train")
    elif source != tree:
        source.parent.mkdir(exist_ok=True)
        tree.rename(source)
    before = files(tmp_path)
    monkeypatch.setenv("PARTWHOLE_DATA", str(packs))
    assert main(["data", "pack", str(source), "food", "--size", "16", *arguments]) == 2
    error = capsys.readouterr().err
    assert " lie one in the other; pack a folder that lies elsewhere, or set PARTWHOLE_DATA" in error
    assert error.count("\n") == 1
    assert files(tmp_path) == before and len(before) == 18


def test_the_command_replaces_a_pack_only_where_asked_and_never_anything_else(
    tree, tmp_path, monkeypatch, capsys
):
    monkeypatch.setenv("PARTWHOLE_DATA", str(tmp_path / "packs"))

    def pack(name, *more):
        code = main(["data", "pack", str(tree), name, *more])
        error = capsys.readouterr().err
        assert (code, error.count("\n")) in ((0, 0), (2, 1))
        return error

    assert pack("food", "--size", "16") == ""
    assert pack("food", "--size", "24").endswith(
        "is a pack already (train and val); take another name, or replace it with --replace\n"
    )
    assert read_pack(tmp_path / "packs", "food", "train").images.shape[1] == 16
    assert pack("food", "--size", "24", "--replace") == ""
    assert read_pack(tmp_path / "packs", "food", "train").images.shape[1] == 24
    thesis = tmp_path / "packs" / "thesis" / "chapter.tex"
    thesis.parent.mkdir()
    thesis.write_text("years of work")
    before = files(tmp_path)
    for name in ("thesis", "food/train", "results", "cifar10", "..", ".", str(thesis.parent)):
        assert pack(name, "--replace") and pack(name), name
    assert files(tmp_path) == before


def test_an_unfinished_pack_leaves_the_one_it_was_to_replace(tree, tmp_path):
    root = tmp_path / "packs"
    pack_folder(tree, root, "food", 16)
    before = files(root)
    (tree / "val" / "cake" / "0.jpg").write_bytes(b"")
    with pytest.raises(BadInput, match="cannot be read as an image"):
        pack_folder(tree, root, "food", 24, replace=True)
    assert files(root) == before


def test_a_train_folder_without_classes_is_one_line(tmp_path):
    (tmp_path / "tree" / "train").mkdir(parents=True)
    with pytest.raises(BadInput) as error:
        pack_folder(tmp_path / "tree", tmp_path / "packs", "food", 16)
    assert (
        str(error.value)
        == f"{tmp_path / 'tree' / 'train'} holds no class folders; expected train/CLASS/*.jpg"
    )
