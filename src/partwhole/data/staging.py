"""How a pack takes its place: written in a scratch folder beside it, then renamed; only a pack gives way.

While NAME is written, `.NAME-TAG.partial` beside it holds the new files and a lock. During the swap the
old pack is called `.NAME-TAG.old`. The process after one that was killed puts the old pack back.
"""

import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from partwhole.data import layout
from partwhole.errors import BadInput

try:
    import fcntl
except ImportError:  # Windows
    import msvcrt

    fcntl = None

LOCK = "partwhole.lock"
MARK = "scratch folder of partwhole: the next partwhole command removes it\n"
IN_USE, LEFT_OVER, NOT_OURS = "in use", "left over", "not ours"
LEFTOVER = re.compile(r"\.(?P<name>.+)-[a-z0-9_]{8}\.(old|partial)")  # the tag is tempfile's


@contextmanager
def staged(root: Path, name: str, split: str = "", *, replace: bool = False) -> Iterator[Path]:
    """A scratch folder to write the pack NAME in, or one split of it; moved to its place when the block ends.

    What lies there is refused, before the block and again after it, unless it is a pack (or that split) and
    nothing else, and `replace` is given. If the block fails or is interrupted, what was there stays.
    """
    layout.check_name(name)
    root = Path(root)
    recover(root)
    parent, target = (root / name, root / name / split) if split else (root, root / name)
    refuse = layout.refuse_occupied_split if split else layout.refuse_occupied
    scratch = None
    try:
        refuse(target, replace)
        if not split:
            root.mkdir(parents=True, exist_ok=True)
        scratch = Path(tempfile.mkdtemp(prefix=f".{target.name}-", suffix=".partial", dir=parent))
        with (scratch / LOCK).open("x", encoding="utf-8") as lock:
            with suppress(OSError):  # no locks on this file system: nobody takes the folder for left over
                _lock(lock, wait=True)
            lock.write(MARK)
            lock.flush()
            new = scratch / target.name
            new.mkdir()
            yield new
            refuse(target, replace)
            _swap(new, target, layout.remove_split if split else layout.remove_pack)
    except OSError as error:
        todo = "free some space or set PARTWHOLE_DATA to a folder you own"
        raise BadInput(f"cannot write under {root}: {error.strerror or error}; {todo}") from error
    finally:
        if scratch and not os.path.lexists(scratch.with_suffix(".old")):
            _discard(scratch, target.name)


def _swap(new: Path, target: Path, remove: Callable[[Path], None]) -> None:
    """Put the folder `new` in the place of `target` and `remove` the old one; on failure that one stays."""
    old = new.parent.with_suffix(".old")
    try:
        if os.path.lexists(target):
            os.rename(target, old)
        os.rename(new, target)
    finally:
        if os.path.lexists(old):
            if os.path.lexists(target):
                with suppress(OSError):
                    remove(old)
            else:
                os.rename(old, target)


def _lock(file: IO[str], wait: bool) -> None:
    """Lock an open file until it is closed; OSError where another process holds it and `wait` is false."""
    if fcntl:
        fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    else:
        msvcrt.locking(file.fileno(), msvcrt.LK_LOCK if wait else msvcrt.LK_NBLCK, 1)


def _discard(scratch: Path, name: str) -> None:
    """Remove a scratch folder, its mark last, so that what a kill leaves of it is still known as ours."""
    shutil.rmtree(scratch / name, ignore_errors=True)
    with suppress(OSError):
        if [entry.name for entry in scratch.iterdir()] in ([LOCK], []):
            (scratch / LOCK).unlink(missing_ok=True)
            scratch.rmdir()


def recover(root: Path) -> None:
    """Put back what killed processes moved aside, and remove their scratch folders; those in use stay."""
    with suppress(OSError):
        _recover(Path(root), layout.is_pack, layout.remove_pack)
        for pack in Path(root).iterdir():
            if (pack / layout.CLASSES).is_file() and not pack.is_symlink():
                _recover(pack, layout.is_split, layout.remove_split)


def _recover(folder: Path, is_whole: Callable[[Path], bool], remove: Callable[[Path], None]) -> None:
    for entry in sorted(folder.iterdir()):
        match = LEFTOVER.fullmatch(entry.name)
        if not match or not entry.is_dir():
            continue
        scratch, old = entry.with_suffix(".partial"), entry.with_suffix(".old")
        target = folder / match["name"]
        if scratch.is_symlink() or old.is_symlink():
            continue
        with suppress(OSError), _claimed(scratch / LOCK) as state:
            if state == IN_USE:
                continue
            if old.is_dir() and not os.path.lexists(target) and is_whole(old):
                os.rename(old, target)
            if state == LEFT_OVER:
                if old.is_dir() and is_whole(target):
                    remove(old)
                _discard(scratch, target.name)


@contextmanager
def _claimed(lock: Path) -> Iterator[str]:
    """What a scratch folder is, by its lock: IN_USE by a process, LEFT_OVER (and locked now) or NOT_OURS."""
    try:
        file = lock.open("r+", encoding="utf-8")
    except FileNotFoundError:
        yield NOT_OURS
        return
    with file:
        try:
            _lock(file, wait=False)
        except OSError:
            yield IN_USE
        else:
            yield LEFT_OVER if file.read() == MARK else NOT_OURS
