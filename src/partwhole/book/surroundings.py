"""The environment of the kernels that run chapters: the reader's shell and settings must not change a book.

A variable such as MPLBACKEND=Agg, a profile of IPython or a matplotlibrc would change or drop the pictures; a
relative path would be looked up from the chapter's folder, in which its kernel runs.
"""

import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

# MPLBACKEND: the kernel sets its own, inline. JUPYTER_PATH: may name another Python's kernel python3.
# The others change what Python runs at the start, or leave assertions out.
DROPPED = ("MPLBACKEND", "JUPYTER_PATH", "PYTHONSTARTUP", "PYTHONOPTIMIZE", "PYTHONWARNINGS")
FOLDERS = ("PARTWHOLE_DATA", "MPLCONFIGDIR")  # relative to where the command was given


def kernel_environment(given: Mapping[str, str], ipython: Path) -> dict[str, str]:
    """The variables for a kernel, from those `given`. ipython: an empty folder in place of the reader's."""
    environment = {name: value for name, value in given.items() if name not in DROPPED}
    for name in FOLDERS:
        if environment.get(name):
            environment[name] = str(Path(environment[name]).expanduser().absolute())
    matplotlib = find_spec("matplotlib")
    if matplotlib and matplotlib.origin:  # its own settings, before any that lie in the reader's folders
        environment["MATPLOTLIBRC"] = str(Path(matplotlib.origin).parent / "mpl-data" / "matplotlibrc")
    return environment | {"IPYTHONDIR": str(ipython), "JUPYTER_PREFER_ENV_PATH": "1"}


@contextmanager
def kernel_surroundings() -> Iterator[None]:
    """Within it whatever this process starts inherits kernel_environment(); afterwards all is as before."""
    before = dict(os.environ)
    with tempfile.TemporaryDirectory(prefix="partwhole-", ignore_cleanup_errors=True) as ipython:
        _set(kernel_environment(before, Path(ipython)))
        try:
            yield
        finally:
            _set(before)


def _set(wanted: Mapping[str, str]) -> None:
    """Make the environment of this process exactly `wanted`."""
    for name in set(os.environ) - set(wanted):
        del os.environ[name]
    os.environ.update(wanted)
