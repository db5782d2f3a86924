"""What sessions share: loaded once, out of the garbage collector's way, and gone once it is dropped."""

from __future__ import annotations

import gc
import weakref
from pathlib import Path

from app import resources


class Cycle:
    """Something that refers to itself."""

    def __init__(self) -> None:
        self.me = self


def test_what_is_loaded_is_not_looked_through_but_what_sessions_drop_is_collected(home: Path) -> None:
    resources.get_ready()
    held = gc.get_freeze_count()
    assert held > 10_000
    assert len(gc.get_objects()) < held / 4
    dropped = weakref.ref(Cycle())
    gc.collect(2)
    assert dropped() is None


def test_an_index_that_is_dropped_is_gone(home: Path) -> None:
    index = weakref.ref(resources.get_ready().index)
    assert index() is not None
    resources.forget()
    gc.collect(2)
    assert index() is None
    assert gc.get_freeze_count() == 0
