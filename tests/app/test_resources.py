"""What sessions share: loaded once, out of the garbage collector's way, and gone once it is dropped."""

from __future__ import annotations

import gc
import os
import shutil
import weakref
from pathlib import Path

import pytest

from app import resources
from model.head_file import heads_path
from model.hub import embedded_names


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


def test_a_head_that_was_fitted_again_is_read_again(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ready = resources.get_ready()
    fingerprint = ready.index.manifest.checkpoint["fingerprint"]
    path = heads_path(fingerprint) / "soil.safetensors"
    path.parent.mkdir(parents=True, exist_ok=True)
    monkeypatch.setattr("model.predict.load_predictor", lambda *_, **__: object())
    for time in (1, 2):
        path.write_bytes(b"a head")
        os.utime(path, (time, time))
        first = resources.predictor(ready, "soil")
        assert resources.predictor(ready, "soil") is first
        assert resources.made_at(ready, "soil") == time * 10**9
    monkeypatch.setattr(resources, "OPEN_PREDICTORS", 2)
    for number in range(2):
        resources.predictor(ready, f"soil-{number}")
    assert resources.predictor(ready, "soil") is not first
    path.unlink()


def test_indexes_whose_path_has_a_space_stay_open_side_by_side(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "Application Support"
    shutil.copytree(home / "index", folder / "index")
    shutil.copytree(home / "index", folder / "indexes" / "alps")
    monkeypatch.setenv("SAMEWHERE_HOME", str(folder))
    resources.forget()
    one, other = resources.get_ready(), resources.get_ready("alps")
    assert resources.ready_now() is one and resources.ready_now("alps") is other
    resources.forget()


def test_only_the_pages_own_index_is_built_again(home: Path) -> None:
    assert not resources.is_ours("alps")
    made_by = resources.manifest_at(home / "index")
    assert made_by is not None
    assert resources.is_ours(None) == (made_by.checkpoint["name"] in embedded_names())
    (home / "index" / "current").write_text("snap-99999\n")
    assert resources.is_ours(None)


def test_an_index_that_is_dropped_is_gone(home: Path) -> None:
    index = weakref.ref(resources.get_ready().index)
    assert index() is not None
    resources.forget()
    gc.collect(2)
    assert index() is None
    assert gc.get_freeze_count() == 0
