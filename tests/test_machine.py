"""The machine: memory that is used again, and what a record says where the system does not tell."""

import json
import platform
import subprocess
import sys

import pytest
import torch

from partwhole import machine
from partwhole.experiments.run import train
from support.few_scenes import few_scenes
from support.tiny_recipes import tiny

ON_GLIBC = platform.system() == "Linux" and platform.libc_ver()[0] == "glibc"
FAULTS = """
import resource, sys
from partwhole import machine
done = machine.reuse_memory() if sys.argv[1] == "with" else None
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(50):
    block = b"x" * 2**26
    del block
print(done, resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults(how: str) -> tuple[str, int]:
    """What reuse_memory said, and the minor page faults of 50 blocks of 64 MiB, filled and freed."""
    command = [sys.executable, "-c", FAULTS, how]
    done, count = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    return done, int(count)


@pytest.mark.skipif(not ON_GLIBC, reason="only glibc has these settings")
def test_freed_blocks_are_used_again():
    (_, without), (done, reused) = faults("without"), faults("with")
    assert done == "True"
    assert without >= 10 * reused, f"{without} page faults without, {reused} with"


class Allocator:
    """Stands in for the C library: takes sizes up to a largest one, and remembers what it was asked."""

    def __init__(self, largest):
        self.largest, self.asked = largest, []

    def __call__(self, _):
        return self

    def mallopt(self, parameter, size):
        self.asked.append((parameter, size))
        return int(size <= self.largest)


@pytest.fixture
def allocator(monkeypatch):
    def pretended(system="Linux", library="glibc", largest=2**40):
        stand_in = Allocator(largest)
        monkeypatch.setattr(machine.platform, "system", lambda: system)
        monkeypatch.setattr(machine.platform, "libc_ver", lambda: (library, "2.38" if library else ""))
        monkeypatch.setattr(machine.ctypes, "CDLL", stand_in)
        return stand_in

    return pretended


@pytest.mark.parametrize(
    ("system", "library"), [("Darwin", ""), ("Windows", ""), ("Linux", ""), ("Linux", "musl")]
)
def test_elsewhere_nothing_is_called(allocator, system, library):
    stand_in = allocator(system, library)
    assert machine.reuse_memory() is False and stand_in.asked == []


def test_both_thresholds_are_set_to_the_largest_size_that_is_taken(allocator):
    newer = allocator()
    assert machine.reuse_memory() is True and newer.asked == [(-3, 2**30), (-1, 2**30)]
    older = allocator(largest=2**25)
    assert machine.reuse_memory() is True and older.asked == [(-3, 2**30), (-3, 2**25), (-1, 2**25)]
    refusing = allocator(largest=0)
    assert machine.reuse_memory() is False and len(refusing.asked) == 2


def test_a_c_library_without_the_call_is_no_error(monkeypatch, allocator):
    allocator()
    monkeypatch.setattr(machine.ctypes, "CDLL", lambda _: object())
    assert machine.reuse_memory() is False


def test_every_run_asks_for_it_before_it_trains(monkeypatch):
    order = []
    monkeypatch.setattr(machine, "reuse_memory", lambda: order.append("memory"))
    monkeypatch.setattr(
        torch, "manual_seed", lambda seed, call=torch.manual_seed: order.append("seed") or call(seed)
    )
    with few_scenes():
        train(tiny("simclr", epochs=1), "mine", device="cpu", progress=False)
    assert order[0] == "memory" and order.count("memory") == 1


def test_where_the_system_does_not_tell_peak_memory_is_none_and_the_record_holds_null(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "resource", None)  # as on Windows, which has no such module
    assert machine.peak_memory(torch.device("cpu")) is None
    with few_scenes():
        _, record = train(tiny("simclr", epochs=1), "mine", tmp_path, device="cpu", progress=False)
    assert record["peak_memory_bytes"] is None
    assert json.loads((tmp_path / "record.json").read_text())["peak_memory_bytes"] is None


@pytest.mark.parametrize(("system", "unit"), [("Linux", 1024), ("Darwin", 1)])
def test_peak_memory_is_in_bytes(monkeypatch, system, unit):
    resource = pytest.importorskip("resource")
    monkeypatch.setattr(machine.platform, "system", lambda: system)
    at_most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
    assert 0.9 * at_most <= machine.peak_memory(torch.device("cpu")) <= 1.1 * at_most
