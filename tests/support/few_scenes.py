"""Scenes in so small a number that a test can train on them and be evaluated on others."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from partwhole.data import catalogue


@contextmanager
def few_scenes(train: int = 60, test: int = 40) -> Iterator[None]:
    """Inside, the catalogue's scenes have so many images; names, splits and controls keep their meaning."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(catalogue.SCENE_COUNTS, "train", train)
        patch.setitem(catalogue.SCENE_COUNTS, "test", test)
        yield
