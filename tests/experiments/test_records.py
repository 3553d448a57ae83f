"""Records: written whole or not at all, read back equal, refused where damaged; what the machine is; values
for the book.
"""

import json
import math

import pytest

from partwhole import machine, places
from partwhole.errors import BadInput
from partwhole.experiments import records


def test_a_record_comes_back_as_it_was_written(tmp_path):
    record = {"name": "scenes/simclr", "metrics": {"knn": 43.25}, "history": [{"epoch": 1, "loss": 4.5}]}
    path = records.write(record, tmp_path / "deep" / "run.json")
    assert records.read(path) == {"format": 1} | record
    assert [file.name for file in path.parent.iterdir()] == ["run.json"]


def test_a_number_that_json_cannot_hold_becomes_null_at_any_depth(tmp_path):
    path = records.write({"a": [1.5, math.nan], "b": {"c": math.inf}}, tmp_path / "run.json")
    assert json.loads(path.read_text()) == {"format": 1, "a": [1.5, None], "b": {"c": None}}


def test_a_write_that_fails_leaves_the_old_record(tmp_path):
    path = records.write({"name": "old"}, tmp_path / "run.json")
    with pytest.raises(TypeError):
        records.write({"name": object()}, path)
    assert records.read(path)["name"] == "old"


def test_an_unwritable_place_is_one_line(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(BadInput, match=r"run.json: cannot be written \(.*\); choose another folder$"):
        records.write({}, tmp_path / "file" / "run.json")


@pytest.mark.parametrize(
    ("content", "line"),
    [
        (None, "cannot be read (No such file or directory); expected a run's record"),
        ("{", "damaged, not JSON; delete it and run again"),
        ("[1]", "not a record of format 1; delete it and run again"),
        ('{"format": 99}', "not a record of format 1; delete it and run again"),
    ],
)
def test_a_missing_or_damaged_record_is_one_line(tmp_path, content, line):
    path = tmp_path / "run.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(BadInput) as caught:
        records.read(path)
    assert str(caught.value) == f"{path}: {line}"


def test_all_records_under_a_folder_come_in_the_order_of_their_paths(folders):
    assert records.read_all() == []
    for name in ("b/x", "a/z", "a/y"):
        records.write({"name": name}, places.results_folder() / f"{name}.json")
    assert [record["name"] for record in records.read_all()] == ["a/y", "a/z", "b/x"]


def test_the_machine_names_what_a_number_depends_on():
    import torch

    described = machine.describe()
    assert described["device"] == "cpu" and described["model"] and described["cores"] >= 1
    assert torch.__version__.startswith(described["torch"].split("+")[0])
    assert described["date"].endswith("Z") and isinstance(described["amx"], bool)


@pytest.mark.parametrize(
    ("flags", "amx", "bf16"),
    [("sse avx2", False, False), ("avx512_bf16", False, True), ("amx_bf16 avx512_bf16", True, True)],
)
def test_amx_is_read_from_the_processors_flags(tmp_path, monkeypatch, flags, amx, bf16):
    info = tmp_path / "cpuinfo"
    info.write_text(
        f"processor\t: 0\nmodel name\t: Some CPU\nflags\t\t: {flags}\n\nprocessor\t: 1\nmodel name\t: "
        "Some CPU\n"
    )
    assert machine.processor(info) == ("Some CPU", set(flags.split()))
    monkeypatch.setattr(machine, "processor", lambda: ("Some CPU", set(flags.split())))
    described = machine.describe()
    assert (described["amx"], described["avx512_bf16"]) == (amx, bf16)


def test_a_system_that_does_not_tell_has_no_flags(tmp_path):
    model, flags = machine.processor(tmp_path / "nothing")
    assert flags == set() and isinstance(model, str)


def test_glue_stores_a_value_unseen_in_the_form_that_the_book_reads(monkeypatch):
    IPython = pytest.importorskip("IPython")
    shell = IPython.core.interactiveshell.InteractiveShell()
    seen = []
    monkeypatch.setattr(IPython, "get_ipython", lambda: shell)
    monkeypatch.setattr(IPython.display, "display", lambda data, **how: seen.append((data, how)))
    records.glue("knn", 43.25)
    [(data, how)] = seen
    assert data == {"application/papermill.record/text/plain": "43.25"} and how["raw"] is True
    assert how["metadata"]["scrapbook"] == {"name": "knn", "mime_prefix": "application/papermill.record/"}


def test_glue_outside_a_notebook_does_nothing(capsys):
    records.glue("knn", 43.25)
    assert capsys.readouterr().out == ""
