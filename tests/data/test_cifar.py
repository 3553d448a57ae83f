"""CIFAR: torchvision's download and reading, on small archives made here and served by this machine."""

import functools
import hashlib
import http.server
import pickle
import tarfile
import threading

import numpy as np
import pytest
import torch
import torchvision

from partwhole.data import cifar
from partwhole.data.packs import read_pack
from partwhole.errors import BadInput

LAYOUT = {  # folder in the archive, batches of each split, the file of names, its key, the labels' key
    "cifar10": ("cifar-10-batches-py", {"train": 5, "test": 1}, "batches.meta", "label_names", "labels"),
    "cifar100": ("cifar-100-python", {"train": 1, "test": 1}, "meta", "fine_label_names", "fine_labels"),
}


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *arguments):
        pass


def md5(path):
    return hashlib.md5(path.read_bytes()).hexdigest()


@pytest.fixture
def server(tmp_path):
    """The address at which this machine serves the test's own folder."""
    handler = functools.partial(Quiet, directory=tmp_path)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{running.server_port}"
        running.shutdown()


@pytest.fixture(params=["cifar10", "cifar100"])
def served(request, tmp_path, server, monkeypatch):
    """An archive of 20 images a batch in CIFAR's own format, where torchvision looks for the real one."""
    monkeypatch.setenv("no_proxy", "*")
    name = request.param
    inner, batches, meta, names_key, labels_key = LAYOUT[name]
    classes = int(name.removeprefix("cifar"))
    source = tmp_path / "source" / inner
    source.mkdir(parents=True)
    generator, lists, truth = np.random.default_rng(0), {}, {}
    for split, count in batches.items():
        files, images, labels = [], [], []
        for batch in range(count):
            file = f"{split}_{batch}"
            data = generator.integers(0, 256, (20, 3072), dtype=np.uint8)
            label = generator.integers(0, classes, 20).tolist()
            (source / file).write_bytes(pickle.dumps({"data": data, labels_key: label}))
            files.append([file, md5(source / file)])
            images.append(data.reshape(20, 3, 32, 32).transpose(0, 2, 3, 1))
            labels += label
        lists[split], truth[split] = files, (np.concatenate(images), labels)
    (source / meta).write_bytes(pickle.dumps({names_key: [f"class {c}" for c in range(classes)]}))
    archive = tmp_path / "archive.tar.gz"
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(source, arcname=inner)
    theirs = getattr(torchvision.datasets, cifar.SETS[name])
    changes = {
        "url": f"{server}/{archive.name}",
        "filename": archive.name,
        "tgz_md5": md5(archive),
        "train_list": lists["train"],
        "test_list": lists["test"],
        "meta": {"filename": meta, "key": names_key, "md5": md5(source / meta)},
    }
    for attribute, value in changes.items():
        monkeypatch.setattr(theirs, attribute, value)
    return name, theirs, truth, archive


def test_a_download_becomes_a_pack_equal_to_torchvisions_own_reading(served, tmp_path):
    name, theirs, truth, _ = served
    root, said = tmp_path / "packs", []
    assert cifar.download(root, name, said.append) == root / name
    for split in ("train", "test"):
        found = read_pack(root, name, split)
        reference = theirs(tmp_path / "theirs", train=split == "train", download=True)
        assert torch.equal(found.images, torch.from_numpy(reference.data))
        assert found.labels.tolist() == reference.targets
        assert found.classes == reference.classes
        assert np.array_equal(found.images.numpy(), truth[split][0])
    assert sorted(path.name for path in root.iterdir()) == [name], "the archive is not kept"
    assert sorted(path.name for path in (root / name).iterdir()) == ["classes.json", "test", "train"]
    assert said == [f"{name}: downloading about 170 MB", f"{name}: packed in {root / name}"]


def test_a_download_onto_anything_is_refused_before_it_begins(served, tmp_path, monkeypatch):
    name, root = served[0], tmp_path / "packs"
    monkeypatch.setattr(cifar, "read", lambda *arguments, **options: pytest.fail("the download began"))
    (root / name).mkdir(parents=True)
    (root / name / "photo.jpg").write_text("mine")
    with pytest.raises(BadInput, match=r"is a folder but no pack \(it holds 'photo.jpg'\)"):
        cifar.download(root, name, pytest.fail)
    assert (root / name / "photo.jpg").read_text() == "mine"


def refused_download(root, name):
    with pytest.raises(BadInput) as error:
        cifar.download(root, name, lambda line: None)
    assert list(root.iterdir()) == [], "nothing half-written"
    return str(error.value)


def test_no_network_is_one_line_and_leaves_nothing(served, tmp_path, monkeypatch):
    name, theirs, _, _ = served
    monkeypatch.setattr(theirs, "url", "http://127.0.0.1:9/nothing.tar.gz")
    text = refused_download(tmp_path / "packs", name)
    assert text == (
        f"{name} could not be downloaded (<urlopen error [Errno 111] Connection refused>); "
        "check the network and the free space, or set PARTWHOLE_DATA to a folder that holds the pack"
    )


def test_a_damaged_archive_is_one_line_and_leaves_nothing(served, tmp_path):
    name, _, _, archive = served
    archive.write_bytes(archive.read_bytes()[:-100])
    text = refused_download(tmp_path / "packs", name)
    assert text.startswith(f"{name} could not be downloaded (File not found or corrupted.)")
    assert "\n" not in text


def test_a_batch_that_is_no_pickle_is_one_line_and_leaves_nothing(served, tmp_path, monkeypatch):
    name, theirs, _, archive = served
    inner = LAYOUT[name][0]
    source = archive.parent / "source" / inner
    (source / "test_0").write_bytes(b"not a pickle")
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(source, arcname=inner)
    monkeypatch.setattr(theirs, "tgz_md5", md5(archive))
    monkeypatch.setattr(theirs, "test_list", [["test_0", md5(source / "test_0")]])
    assert "\n" not in refused_download(tmp_path / "packs", name)


def test_an_interrupted_download_leaves_nothing(served, tmp_path, monkeypatch):
    name = served[0]

    def interrupted(*arguments, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr(cifar, "read", interrupted)
    with pytest.raises(KeyboardInterrupt):
        cifar.download(tmp_path / "packs", name, lambda line: None)
    assert list((tmp_path / "packs").iterdir()) == []
