"""Every chapter x preset x CIFAR-10 present or absent: the choice of images ends well or in one line."""

import json
import sys
from pathlib import Path

import pytest
import torch

from partwhole.book import presets
from partwhole.book.chapters import chapters
from partwhole.data import catalogue, packs
from partwhole.data.image_set import ImageSet
from partwhole.errors import BadInput

CHAPTERS = {chapter.name: chapter.path for chapter in chapters()}
NEEDS_NONE = "contrastive_crop/4_reproduction", "teach"  # it shows records and trains nothing
SIZES = {"train": 2000, "test": 1000}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """A folder of packs that holds a small CIFAR-10, and an empty one: {is it present: folder}."""
    folders = {present: tmp_path_factory.mktemp(f"data-{present}") for present in (True, False)}
    write_cifar10(folders[True])
    return folders


def write_cifar10(folder: Path) -> Path:
    for split, count in SIZES.items():
        images = torch.zeros(count, 32, 32, 3, dtype=torch.uint8)
        labels = torch.arange(count) % 10
        image_set = ImageSet(
            images, labels, classes=[f"class {number}" for number in range(10)], name="cifar10"
        )
        packs.write_pack(folder, "cifar10", split, image_set)
    return folder / "cifar10"


def images_chosen(path: Path, preset: str) -> dict:
    """The variables of a chapter after the cell that chooses its images; the set-up cell is left out."""
    notebook = json.loads(path.read_text(encoding="utf-8"))
    cells = ["".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == "code"][1:]
    last = max(
        n for n, text in enumerate(cells) if "presets.image_set_name(" in text or "presets.ensure_" in text
    )
    variables: dict = {}
    for text in [cells[0], f"preset = {preset!r}", *cells[1 : last + 1]]:
        exec(text, variables)
    return variables


@pytest.mark.parametrize("present", [True, False], ids=["present", "absent"])
@pytest.mark.parametrize("preset", presets.PRESETS)
@pytest.mark.parametrize("name", CHAPTERS)
def test_images_are_those_of_the_preset_or_refused_in_one_line(name, preset, present, data, monkeypatch):
    monkeypatch.setenv("PARTWHOLE_DATA", str(data[present]))
    if present or preset == "smoke" or (name, preset) == NEEDS_NONE:
        variables = images_chosen(CHAPTERS[name], preset)
        expected = "scenes/plain" if preset == "smoke" else "cifar10"
        assert variables.get("photographs", variables.get("name", expected)) == expected
        for image_set in (value for value in variables.values() if isinstance(value, ImageSet)):
            assert (image_set.boxes is None) == (expected == "cifar10")
    else:
        with pytest.raises(BadInput) as refused:
            images_chosen(CHAPTERS[name], preset)
        said = str(refused.value)
        assert said.startswith(f"cifar10 is not under {data[False]}") and "\n" not in said
        assert "partwhole data get cifar10" in said and "set PARTWHOLE_DATA" in said


def test_absent_photographs_are_fetched_on_colab_once(tmp_path, monkeypatch):
    (tmp_path / "google" / "colab").mkdir(parents=True)
    (tmp_path / "google" / "colab" / "__init__.py").touch()
    (tmp_path / "google" / "__init__.py").touch()
    fetched = []

    def download(root, name, progress):
        fetched.append(name)
        return write_cifar10(root)

    monkeypatch.setattr("partwhole.data.cifar.download", download)
    monkeypatch.setenv("PARTWHOLE_DATA", str(tmp_path / "data"))
    with pytest.raises(BadInput, match="partwhole data get cifar10"):
        presets.image_set_name("teach")
    for module in [module for module in sys.modules if module.partition(".")[0] == "google"]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.syspath_prepend(tmp_path)
    try:
        assert presets.image_set_name("smoke") == "scenes/plain" and fetched == []
        assert [presets.image_set_name(preset) for preset in ("teach", "full")] == ["cifar10", "cifar10"]
    finally:
        for module in [module for module in sys.modules if module.partition(".")[0] == "google"]:
            del sys.modules[module]
    assert fetched == ["cifar10"] and len(catalogue.load("cifar10", "test")) == SIZES["test"]
