"""Index directories, heads and checkpoints that strangers changed: refused in words, or they mean what they meant."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from safetensors.numpy import load as load_tensors
from safetensors.numpy import save as save_tensors

from app import jobs
from data.errors import CheckpointError, HeadError, IndexStoreError, SamewhereError
from data.files import durable
from indexer.build import build_index
from indexer.job import JOB, LEDGER, STATE, Job, Ledger, only_writer, read_state
from indexer.local import LocalStore
from indexer.shard import Made
from indexer.snapshot import BUILDING, MANIFEST, Manifest, current_snapshot, index_status
from indexer.sources import BuildParameters
from indexer.verify import find_damage
from model import load
from model.checkpoint import save
from model.head_file import load_head, save_head
from model.pair import PairNetwork
from tests.app.standin import StandInPair
from tests.fuzz.strategies import anything, changed, examples, texts

OWN = {"checkpoint": "mine", "fingerprint": "a" * 64}
MADE = [Made(f"cells-{n:05d}.parquet", "cells", 10, 0.5, [("x", "no patch")] if n % 2 else []) for n in range(5)]


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small index; each example changes it and puts it right again."""
    path = tmp_path_factory.mktemp("fuzz") / "index"
    build_index(path, pair=StandInPair(), cell_resolution=1, tile_resolution=0)
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("fuzz-files")


@examples(150)
@given(cut=st.integers(0, 2000), junk=st.binary(max_size=80) | texts.map(lambda text: text.encode("utf-8", "replace")))
def test_a_ledger_with_any_end_keeps_what_was_whole(folder: Path, cut: int, junk: bytes) -> None:
    work = folder / "ledger"
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir()
    ledger = Ledger(work)
    for made in MADE:
        ledger.record(made)
    content = (work / LEDGER).read_bytes()
    kept = content[: cut % (len(content) + 1)]
    (work / LEDGER).write_bytes(kept + junk)
    seen = Ledger(work)
    whole = {made.shard for made in MADE if json.dumps(vars(made)).encode() + b"\n" in kept}
    assert whole <= set(seen.lines) <= {made.shard for made in MADE}
    assert seen.failed == sum(len(seen.lines[made.shard]["failed"]) for made in MADE if made.shard in seen.lines)
    for made in MADE:  # the job goes on: each shard counts once, whatever stood there
        if made.shard not in seen.lines:
            seen.record(made)
    again = Ledger(work)
    assert {shard: line["failed"] for shard, line in again.lines.items()} == {
        made.shard: [list(pair) for pair in made.failed] for made in MADE
    }


@examples(200)
@given(lines=st.lists(anything | changed(dict(vars(MADE[1]), failed=[["x", "y"]])), max_size=4))
def test_a_ledger_of_any_lines_is_read(folder: Path, lines: list[Any]) -> None:
    work = folder / "lines"
    work.mkdir(exist_ok=True)
    (work / LEDGER).write_text("\n".join(map(json.dumps, lines)) + "\n" + "[" * 5000)
    ledger = Ledger(work)
    assert ledger.failed >= 0
    assert all(isinstance(why, str) for line in ledger.lines.values() for _, why in line["failed"])


JOB_FILE = {
    "format": 2,
    "checkpoint": {"name": "x", "fingerprint": "0" * 64, "dim": 8},
    "parameters": vars(BuildParameters(1, 0, False, 237.0)),
    "plan": "a" * 64,
    "shards": 3,
    "base": None,
    "name": None,
}
STATE_FILE = {
    **{"done": 3, "made": 3, "total": 9, "stage": "cells", "elapsed_s": 1.0, "remaining_s": None, "fraction": 0.3},
    **{"rate": 3.0, "failed": 0, "at": "2026-01-01T00:00:00+00:00"},
}


@examples(200)
@given(job=anything | changed(JOB_FILE), state=anything | changed(STATE_FILE))
def test_unfinished_jobs_of_any_json_are_shown(index: Path, job: Any, state: Any) -> None:
    work = index / BUILDING
    work.mkdir(exist_ok=True)
    try:
        (work / JOB).write_text(json.dumps(job))
        (work / STATE).write_text(json.dumps(state))
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(jobs, "index_path", lambda _: index)
            shown = jobs.view(None)
        assert 0 <= shown.fraction <= 1
        assert shown.counts
        with suppress(IndexStoreError):
            read = Job.read(index)
            assert isinstance(read.parameters.cell_resolution, int)
            assert isinstance(read.shards, int)
    finally:
        shutil.rmtree(work)
    assert read_state(index) is None


def signed(content: dict[str, Any]) -> bytes:
    """A manifest with the fingerprint that a stranger would compute."""
    plain = json.loads(json.dumps({"format": 2} | content))
    with suppress(TypeError):
        manifest = Manifest(**plain)
        with suppress(TypeError, AttributeError):
            plain["fingerprint"] = manifest.digest()
    return json.dumps(plain).encode()


@examples(250)
@given(data=st.data())
def test_manifests_of_any_json(index: Path, data: st.DataObject) -> None:
    path = current_snapshot(index) / MANIFEST
    good = path.read_bytes()
    document = data.draw(anything | changed(json.loads(good)))
    content = signed(document) if isinstance(document, dict) else json.dumps(document).encode()
    try:
        path.write_bytes(content)
        assert index_status(index)["state"] in ("ready", "damaged", "missing")
        with suppress(SamewhereError):
            store = LocalStore(index)
            assert len(store.table("cells")) == store.manifest.counts["cells"]
            store.close()
        with suppress(SamewhereError):
            find_damage(index)
    finally:
        path.write_bytes(good)


@pytest.mark.parametrize(
    "name", ["../../etc/passwd", "/etc/passwd", "a/b", "..", "cells.parquet\0", "", "x" * 400, "a\nb", "\\\\host\\x"]
)
def test_a_manifest_names_no_file_elsewhere(index: Path, name: str) -> None:
    path = current_snapshot(index) / MANIFEST
    good = path.read_bytes()
    content = json.loads(good)
    content["files"][name] = {"size": Path("/etc/passwd").stat().st_size, "sha256": "0" * 64}
    try:
        path.write_bytes(signed(content))
        for read in (LocalStore, find_damage):
            with pytest.raises(IndexStoreError, match="no file of a snapshot"):
                read(index)
    finally:
        path.write_bytes(good)


@pytest.mark.parametrize("text", ["snap-../../x", "../snap-1", "/etc", "snap-\0", "snap-1\nsnap-2", "snap-" + "9" * 99])
def test_a_pointer_names_no_folder_elsewhere(index: Path, text: str) -> None:
    pointer = index / "current"
    good = pointer.read_bytes()
    try:
        pointer.write_text(text)
        with pytest.raises(IndexStoreError):
            current_snapshot(index)
        assert index_status(index)["state"] == "missing"
    finally:
        pointer.write_bytes(good)


def test_links_in_an_index_are_not_followed(index: Path, tmp_path: Path) -> None:
    copy, precious = tmp_path / "copy", tmp_path / "precious"
    shutil.copytree(index, copy)
    precious.write_text("precious")
    snapshot = current_snapshot(copy)
    (snapshot / "cells.arrow").rename(tmp_path / "cells.arrow")
    (snapshot / "cells.arrow").symlink_to(tmp_path / "cells.arrow")
    with pytest.raises(IndexStoreError, match="is a link"):
        LocalStore(copy)
    for name in ("build.lock", "build.owner", "current", f"{BUILDING}/{LEDGER}", f"{BUILDING}/shards/x.parquet"):
        spoiled = tmp_path / name.replace("/", "-")
        shutil.copytree(index, spoiled)
        (spoiled / name).parent.mkdir(parents=True, exist_ok=True)
        (spoiled / name).unlink(missing_ok=True)
        (spoiled / name).symlink_to(precious)
        with pytest.raises(IndexStoreError, match="link"), only_writer(spoiled):
            pass
        index_status(spoiled)
        assert precious.read_text() == "precious"


def test_a_link_in_the_place_of_a_temporary_file_is_not_followed(tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.write_text("precious")
    (tmp_path / "current.part").symlink_to(precious)
    with durable(tmp_path / "current") as file:
        file.write(b"mine")
    assert precious.read_text() == "precious"
    assert not (tmp_path / "current").is_symlink()
    assert (tmp_path / "current").read_bytes() == b"mine"


@pytest.fixture(scope="module")
def head(folder: Path) -> Path:
    from tests.model.test_head_file import make

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SAMEWHERE_HOME", str(folder / "home"))
        return save_head(make("ridge", "regression"), **OWN)


TENSORS: list[Callable[[np.ndarray], np.ndarray]] = [
    lambda a: a.astype(np.float16),
    lambda a: a.astype(np.int64),
    lambda a: a * np.float32("nan"),
    lambda a: a[..., :0],
    lambda a: a[None],
    lambda a: a.ravel(),
    lambda a: np.zeros((0, *a.shape), a.dtype),
]


@examples(200)
@given(data=st.data())
def test_heads_of_any_card_and_tensors(head: Path, folder: Path, data: st.DataObject) -> None:
    card, content = json.loads(head.with_suffix(".json").read_bytes()), head.read_bytes()
    path = folder / "changed.safetensors"
    if data.draw(st.booleans()):
        tensors = load_tensors(content)
        name = data.draw(st.sampled_from(sorted(tensors)))
        tensors[name] = np.ascontiguousarray(data.draw(st.sampled_from(TENSORS))(tensors[name]))
        content = save_tensors(tensors)
    else:
        at = data.draw(st.integers(0, len(content) - 1))
        content = content[:at] + data.draw(st.binary(max_size=12)) + content[at + data.draw(st.integers(0, 12)) :]
    document = data.draw(st.sampled_from([card]) | changed(card))
    document |= {"sha256": hashlib.sha256(content).hexdigest()}
    path.write_bytes(content)
    path.with_suffix(".json").write_text(json.dumps(document))
    with suppress(HeadError):
        read = load_head(str(path), **OWN)
        found = read.head.predict(np.zeros((3, 5), np.float32))
        assert len(found) == 3


@pytest.fixture(scope="module")
def checkpoint(folder: Path) -> Path:
    import torch

    from tests.model.test_networks import SMALL

    torch.manual_seed(1)
    path = folder / "mine.safetensors"
    save(PairNetwork(SMALL), path, card={"license": "MIT"})
    return path


@examples(60)
@given(data=st.data())
def test_checkpoints_of_any_card(checkpoint: Path, folder: Path, data: st.DataObject) -> None:
    card, content = json.loads(checkpoint.with_suffix(".json").read_bytes()), checkpoint.read_bytes()
    path = folder / "other.safetensors"
    document = data.draw(
        changed(card) | changed(card["config"]).map(lambda config: card | {"config": config}) | anything
    )
    path.write_bytes(content)
    path.with_suffix(".json").write_text(json.dumps(document))
    with suppress(CheckpointError):
        pair = load(str(path))
        assert pair.encode_location([[0.0, 0.0]]).shape == (1, pair.dim)


@examples(60)
@given(at=st.integers(0, 100_000), put=st.binary(max_size=16))
def test_checkpoints_of_any_bytes(checkpoint: Path, folder: Path, at: int, put: bytes) -> None:
    card, content = json.loads(checkpoint.with_suffix(".json").read_bytes()), checkpoint.read_bytes()
    at %= 2000 if at % 2 else len(content)  # the header is what has structure
    content = content[:at] + put + content[at + len(put) :]
    assume(content != checkpoint.read_bytes())
    path = folder / "bytes.safetensors"
    path.write_bytes(content)
    path.with_suffix(".json").write_text(json.dumps(card | {"sha256": hashlib.sha256(content).hexdigest()}))
    with suppress(CheckpointError):
        assert load(str(path), part="location").dim == load(str(checkpoint), part="location").dim


@pytest.mark.parametrize(
    "size", [("hidden", 10**9), ("hidden", -4), ("layers", 10**7), ("degrees", 10**6), ("dim", 8192), ("trunk", 99)]
)
def test_a_checkpoint_that_claims_to_be_huge_is_refused_at_once(checkpoint: Path, folder: Path, size: Any) -> None:
    card = json.loads(checkpoint.with_suffix(".json").read_bytes())
    name = next(iter(card["config"]["branches"]))
    card["config"]["branches"][name][size[0]] = size[1]
    path = folder / "huge.safetensors"
    path.write_bytes(checkpoint.read_bytes())
    path.with_suffix(".json").write_text(json.dumps(card))
    with pytest.raises(CheckpointError):
        load(str(path))
