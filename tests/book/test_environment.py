import re
import tomllib
from importlib.metadata import version

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from partwhole.places import home

ROOT = home()
CORE = ("jupyter-book", "torch", "torchvision", "matplotlib", "papermill", "nbval")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
DIRECT = [
    Requirement(line) for line in sum(PROJECT["optional-dependencies"].values(), PROJECT["dependencies"])
]
LOCK = (ROOT / "requirements.lock").read_text(encoding="utf-8")
CONDA = yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))


def locked(name: str, python: str) -> Version:
    """The version that requirements.lock gives a package on this Python."""
    lines = [Requirement(line.rstrip(" \\")) for line in LOCK.splitlines() if re.match(r"\S+==", line)]
    here = {"python_version": python, "python_full_version": f"{python}.0", "sys_platform": "linux"}
    fit = [line for line in lines if canonicalize_name(line.name) == canonicalize_name(name)]
    fit = [line for line in fit if line.marker is None or line.marker.evaluate(here)]
    assert len(fit) == 1, f"{name} on Python {python}: {len(fit)} versions in requirements.lock (make lock)"
    return Version(next(iter(fit[0].specifier)).version)


@pytest.mark.parametrize("requirement", DIRECT, ids=lambda requirement: requirement.name)
@pytest.mark.parametrize("python", ["3.11", "3.12", "3.13"])
def test_the_lock_satisfies_pyproject_on_every_python(requirement, python):
    assert locked(requirement.name, python) in requirement.specifier


def test_every_locked_package_has_hashes_and_no_address():
    pins = re.split(r"(?m)^(?=\S+==)", LOCK)[1:]
    assert all("--hash=sha256:" in pin for pin in pins)
    assert "://" not in LOCK


def test_conda_environment_pins_what_the_lock_pins():
    python = next(line.split("=")[-1] for line in CONDA["dependencies"] if str(line).startswith("python="))
    pins = [line for part in CONDA["dependencies"] if isinstance(part, dict) for line in part["pip"]]
    assert pins.pop() == "-e ."
    assert {Requirement(pin).name for pin in pins} == {requirement.name for requirement in DIRECT}
    for pin in map(Requirement, pins):
        assert (
            pin.specifier == f"=={locked(pin.name, python)}"
            or str(pin.specifier) == f"=={locked(pin.name, python)}"
        )


@pytest.mark.parametrize("name", CORE)
def test_core_package_is_named_everywhere(name):
    assert name in {requirement.name for requirement in DIRECT}
    assert any(
        str(line).startswith(f"{name}==")
        for part in CONDA["dependencies"]
        if isinstance(part, dict)
        for line in part["pip"]
    )
    assert re.search(rf"(?m)^{name}==", LOCK)


def test_jupyter_book_is_version_1_since_version_2_does_not_read_config_yml():
    assert Version(version("jupyter-book")).major == 1
    assert not next(
        requirement for requirement in DIRECT if requirement.name == "jupyter-book"
    ).specifier.contains("2.0")


def test_torch_has_no_upper_bound_so_that_colab_keeps_its_own():
    for name in ("torch", "torchvision", "numpy"):
        bounds = next(requirement for requirement in DIRECT if requirement.name == name).specifier
        assert all(bound.operator == ">=" for bound in bounds), name
