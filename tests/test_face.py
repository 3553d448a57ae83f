"""The public face: every name is there, lazily, and asking for none of them loads nothing heavy."""

import subprocess
import sys
import types

import pytest

import partwhole


@pytest.mark.parametrize("name", sorted(partwhole.FACE))
def test_every_public_name_is_what_it_says(name):
    value = getattr(partwhole, name)
    module, _, attribute = partwhole.FACE[name].partition(":")
    if attribute:
        assert value.__module__ == module and value.__name__ == attribute
    else:
        assert isinstance(value, types.ModuleType) and value.__name__ == module
    assert name in dir(partwhole)


def test_an_unknown_name_is_refused_as_by_any_module():
    with pytest.raises(AttributeError, match=r"no attribute 'trian'; its public names are"):
        _ = partwhole.trian
    with pytest.raises(ImportError, match="cannot import name"):
        exec("from partwhole import trian")


def test_importing_the_package_or_asking_for_help_loads_no_torch():
    code = "import sys, partwhole, partwhole.cli.parser; sys.exit('torch' in sys.modules or 'numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
