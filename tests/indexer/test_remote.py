"""Indexes in object stores: a real S3 server on loopback, memory and a disk; races, damage, cut-off copies."""

from __future__ import annotations

import hashlib
import json
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from uuid import uuid4

import boto3
import fsspec
import numpy as np
import pytest
from moto.server import ThreadedMotoServer

from data.errors import IndexStoreError, MissingDependencyError
from indexer import object_store
from indexer.object_store import ObjectStore
from indexer.remote import fetch, push

SECRET = "a-very-secret-key"


def make_snapshot(folder: Path, seed: int, *, size: int = 1000) -> Path:
    """A directory with a manifest, as far as this module looks into one."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(seed)
    files = {}
    for name in ("cells.parquet", "cells.faiss", "tiles.parquet"):
        content = rng.bytes(size)
        (folder / name).write_bytes(content)
        files[name] = {"size": size, "sha256": hashlib.sha256(content).hexdigest()}
    fingerprint = hashlib.sha256(json.dumps(files, sort_keys=True).encode()).hexdigest()
    manifest = {"files": files, "fingerprint": fingerprint, "created": "2026-01-01"}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture(scope="module")
def s3() -> Iterator[str]:
    """Address of an S3 server."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def bucket(s3: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """An empty bucket's name, and the environment that leads to it."""
    for name, value in {
        "AWS_ENDPOINT_URL": s3,
        "AWS_ACCESS_KEY_ID": "someone",
        "AWS_SECRET_ACCESS_KEY": SECRET,
        "AWS_DEFAULT_REGION": "us-east-1",
    }.items():
        monkeypatch.setenv(name, value)
    name = f"bucket-{uuid4().hex[:12]}"
    boto3.client("s3", endpoint_url=s3).create_bucket(Bucket=name)
    return name


@pytest.fixture(params=["s3", "memory", "file", "path"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty folder of each kind of store."""
    if request.param == "s3":
        return f"s3://{request.getfixturevalue('bucket')}/earth/one"
    return {
        "memory": f"memory://{uuid4().hex}/one",
        "file": (tmp_path / "store").as_uri(),
        "path": str(tmp_path / "store"),
    }[request.param]


def test_a_put_never_overwrites(url: str, tmp_path: Path) -> None:
    store = ObjectStore(url)
    (tmp_path / "given").write_bytes(b"second")
    assert store.put("a/x", b"first")
    assert not store.put("a/x", b"second")
    assert not store.put("a/x", tmp_path / "given")
    assert store.read("a/x", 0, 100) == b"first"
    assert store.read("a/x", 2, 4) == b"rs"
    assert (store.size("a/x"), store.size("a/y")) == (5, None)
    assert store.names("a") == {"x"} and store.names("nowhere") == set()


def test_of_many_writers_exactly_one_wins(url: str) -> None:
    """Each with a connection of its own, all let go at once, many rounds; what stands is the winner's."""
    stores = [ObjectStore(url) for _ in range(6)]
    for turn in range(10):
        barrier = threading.Barrier(len(stores))

        def write(number: int, turn: int = turn, barrier: threading.Barrier = barrier) -> bool:
            barrier.wait()
            return stores[number].put(f"round-{turn}", f"writer {number}".encode() * 1000)

        with ThreadPoolExecutor(len(stores)) as pool:
            won = list(pool.map(write, range(len(stores))))
        assert sum(won) == 1
        assert stores[0].read(f"round-{turn}", 0, 1 << 20) == f"writer {won.index(True)}".encode() * 1000


def test_what_was_pushed_is_fetched(url: str, tmp_path: Path) -> None:
    first, second = (make_snapshot(tmp_path / name, seed) for seed, name in enumerate("ab"))
    cache = tmp_path / "cache"
    address = push(first, url)
    assert address.startswith(url) and ObjectStore(url).names() == {address.rpartition("/")[2], "current-000001"}
    told: list[tuple[int, int]] = []
    got = fetch(url, cache, progress=lambda done, total: told.append((done, total)))
    assert contents(got) == contents(first)
    assert (cache / "current").read_text() == f"{got.name}\n"
    assert told == sorted(told) and told[-1] == (3000, 3000)

    push(first, url)  # nothing new
    assert len(ObjectStore(url).names()) == 2
    push(second, url)
    push(first, url)  # back again, which is a new turn
    assert {name for name in ObjectStore(url).names() if "current" in name} == {f"current-00000{n}" for n in (1, 2, 3)}
    told.clear()
    assert fetch(url, cache, progress=lambda done, total: told.append((done, total))) == got
    assert not told
    assert not list(cache.glob("fetch-*"))


def test_an_index_pushes_its_current_snapshot(tmp_path: Path) -> None:
    wanted = make_snapshot(tmp_path / "index" / "snap-00002", 2)
    make_snapshot(tmp_path / "index" / "snap-00001", 1)
    (tmp_path / "index" / "current").write_text("snap-00002\n")
    push(tmp_path / "index", str(tmp_path / "store"))
    assert contents(fetch(str(tmp_path / "store"), tmp_path / "cache")) == contents(wanted)


def test_pushers_at_once_are_all_kept(url: str, tmp_path: Path) -> None:
    """Each gets a number of its own, and the highest one is fetched whole."""
    snapshots = [make_snapshot(tmp_path / f"s{seed}", seed) for seed in range(4)]
    barrier = threading.Barrier(4)

    def go(snapshot: Path) -> str:
        barrier.wait()
        return push(snapshot, url)

    with ThreadPoolExecutor(4) as pool:
        addresses = list(pool.map(go, snapshots))
    names = ObjectStore(url).names()
    assert len(set(addresses)) == 4
    assert {name for name in names if "current" in name} == {f"current-00000{n}" for n in range(1, 5)}
    got = fetch(url, tmp_path / "cache")
    pointer = json.loads(ObjectStore(url).read("current-000004", 0, 1000))
    assert got.name == f"snap-{pointer['fingerprint'][:16]}"
    assert contents(got) in [contents(snapshot) for snapshot in snapshots]


def test_equal_snapshots_built_at_other_times_are_one(url: str, tmp_path: Path) -> None:
    one, other = (make_snapshot(tmp_path / name, 5) for name in "ab")
    text = (other / "manifest.json").read_text()
    (other / "manifest.json").write_text(text.replace("2026-01-01", "2026-02-02"))
    assert push(one, url) == push(other, url)
    assert len(ObjectStore(url).names()) == 2
    assert contents(fetch(url, tmp_path / "cache")) == contents(one)


class CutError(Exception):
    """The network goes away."""


def test_a_fetch_goes_on_where_it_stopped(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Cut off after every block once; nothing is read twice but pointer and manifest, and nothing half is seen."""
    snapshot = make_snapshot(tmp_path / "s", 3)
    push(snapshot, url)
    monkeypatch.setattr("indexer.remote.BLOCK_BYTES", 300)
    real, read, cuts = ObjectStore.read, dict[tuple[str, int], int](), 0

    def breaking(self: ObjectStore, name: str, start: int, end: int) -> bytes:
        if not name.endswith(("parquet", "faiss")):
            return real(self, name, start, end)
        if read.setdefault((name, start), 0) == 0 and start == 600 and not any(key == (name, 600) for key in failed):
            failed.add((name, 600))
            raise CutError
        read[name, start] += 1
        return real(self, name, start, end)

    failed: set[tuple[str, int]] = set()
    monkeypatch.setattr(ObjectStore, "read", breaking)
    while True:
        try:
            got = fetch(url, tmp_path / "cache")
            break
        except CutError:
            cuts += 1
            assert not list((tmp_path / "cache").glob("snap-*"))
    assert cuts == 3
    assert set(read.values()) == {1} and len(read) == 12
    assert contents(got) == contents(snapshot)


def test_a_spoilt_rest_of_a_fetch_is_fetched_anew(tmp_path: Path) -> None:
    snapshot, url, cache = make_snapshot(tmp_path / "s", 3), str(tmp_path / "store"), tmp_path / "cache"
    name = push(snapshot, url).rpartition("/")[2]
    staged = cache / name.replace("snap", "fetch")
    staged.mkdir(parents=True)
    (staged / "cells.faiss.part").write_bytes(bytes(400))
    (staged / "cells.parquet.part").write_bytes(bytes(4000))
    (staged / "tiles.parquet").write_bytes(bytes(1000))
    got = fetch(url, cache)
    assert contents(got) == contents(snapshot)
    (got / "cells.faiss").write_bytes(b"")
    (got / "tiles.parquet").unlink()
    assert contents(fetch(url, cache)) == contents(snapshot)


def test_a_push_goes_on_where_it_stopped(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Readers see the old snapshot until the last step; files that are there are not sent again."""
    old, new = (make_snapshot(tmp_path / name, seed) for seed, name in enumerate("ab"))
    push(old, url)
    real, sent = ObjectStore.put, list[str]()

    def breaking(self: ObjectStore, name: str, content: bytes | Path) -> bool:
        if name not in sent:  # every object's first try fails, and ends that push
            sent.append(name)
            raise CutError
        return real(self, name, content)

    with monkeypatch.context() as patch:
        patch.setattr(ObjectStore, "put", breaking)
        for count in range(5):  # three files, a manifest, a pointer
            with pytest.raises(CutError):
                push(new, url)
            assert len(sent) == count + 1
            assert contents(fetch(url, tmp_path / f"cache{count}")) == contents(old)
        assert sent[3].endswith("manifest.json") and sent[4] == "current-000002"
    push(new, url)
    assert contents(fetch(url, tmp_path / "cache")) == contents(new)


def damage(path: Path, content: bytes) -> None:
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("file", "content", "sentence"),
    [
        ("snap-*/cells.faiss", bytes(1000), "is not the file that its manifest promises"),
        ("snap-*/cells.faiss", b"short", "is not the file that its manifest promises"),
        ("snap-*/manifest.json", b"{}", "it was changed"),
        ("current-000001", b"gone", "is no pointer"),
        ("current-000001", b'{"fingerprint": "../../x", "manifest": {"size": 3, "sha256": "x"}}', "is no pointer"),
    ],
)
def test_damage_in_the_store_is_named(tmp_path: Path, file: str, content: bytes, sentence: str) -> None:
    store = tmp_path / "store"
    push(make_snapshot(tmp_path / "s", 1), str(store))
    (damaged,) = store.glob(file)
    damage(damaged, content)
    with pytest.raises(IndexStoreError, match=sentence) as caught:
        fetch(str(store), tmp_path / "cache")
    assert damaged.name in str(caught.value)
    assert not list((tmp_path / "cache").glob("snap-*"))


@pytest.mark.parametrize("name", ["../evil", "/etc/passwd", "a/b", "manifest.json", ".hidden", "x.part", "a\\b", ""])
def test_names_that_lead_out_of_the_folder_are_refused(tmp_path: Path, name: str) -> None:
    snapshot = make_snapshot(tmp_path / "s", 1)
    manifest = json.loads((snapshot / "manifest.json").read_text())
    manifest["files"][name] = manifest["files"]["cells.faiss"]
    (snapshot / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(IndexStoreError, match="no file of a snapshot"):
        push(snapshot, str(tmp_path / "store"))


def test_a_damaged_snapshot_is_not_pushed(tmp_path: Path) -> None:
    snapshot = make_snapshot(tmp_path / "s", 1)
    damage(snapshot / "cells.faiss", bytes(1000))
    with pytest.raises(IndexStoreError, match=r"cells\.faiss is missing or damaged"):
        push(snapshot, str(tmp_path / "store"))
    assert not (tmp_path / "store").exists()


def test_a_foreign_file_in_the_way_is_named_and_kept(url: str, tmp_path: Path) -> None:
    snapshot = make_snapshot(tmp_path / "s", 1)
    fingerprint = json.loads((snapshot / "manifest.json").read_text())["fingerprint"]
    name = f"snap-{fingerprint[:16]}/cells.faiss"
    ObjectStore(url).put(name, b"mine")
    with pytest.raises(IndexStoreError, match="has 4 bytes where 1,000 belong"):
        push(snapshot, url)
    assert ObjectStore(url).read(name, 0, 99) == b"mine"


def test_a_store_that_overwrites_is_found_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As an S3 store that ignores If-None-Match: nothing is made current there."""
    url = f"memory://{uuid4().hex}/one"

    def careless(self: ObjectStore, path: str, content: bytes | Path) -> bool:
        fsspec.filesystem("memory").pipe_file(path, content.read_bytes() if isinstance(content, Path) else content)
        return True

    monkeypatch.setattr(ObjectStore, "_put", careless)
    with pytest.raises(IndexStoreError, match="overwrites objects although"):
        push(make_snapshot(tmp_path / "s", 1), url)
    assert not any("current" in name for name in ObjectStore(url).names())


def test_large_files_go_in_parts_and_are_not_overwritten(bucket: str, tmp_path: Path) -> None:
    """Over s3fs's 100 MB, where one put becomes several and only the last carries the condition."""
    file = tmp_path / "large"
    with file.open("wb") as out:
        out.truncate(101 << 20)
    store = ObjectStore(f"s3://{bucket}/large")
    assert store.put("x", file)
    assert store.size("x") == 101 << 20
    assert not store.put("x", b"other")
    assert not store.put("x", file)


def no_route(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{free.getsockname()[1]}")


def test_troubles_are_sentences_without_secrets(bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    snapshot = make_snapshot(tmp_path / "s", 1)

    def sentence(call: Any, *given: Any) -> str:
        with pytest.raises(IndexStoreError) as caught:
            call(*given)
        text = f"{caught.value}"
        assert SECRET not in text and "someone" not in text and text.endswith(".")
        return text

    assert "holds no index" in sentence(fetch, f"s3://{bucket}/nothing", tmp_path / "cache")
    assert "no bucket no-such-bucket" in sentence(fetch, "s3://no-such-bucket/x", tmp_path / "cache")
    assert "no such bucket" in sentence(push, snapshot, "s3://no-such-bucket/x")
    assert "may hold a bucket and a folder only" in sentence(fetch, f"s3://someone:{SECRET}@b/x", tmp_path / "cache")
    assert "may hold a bucket and a folder only" in sentence(fetch, f"https://h/x?sig={SECRET}", tmp_path / "cache")
    assert "names no folder" in sentence(fetch, "memory://", tmp_path / "cache")
    assert "no kind of store" in sentence(fetch, "nonsense://x/y", tmp_path / "cache")
    assert "can be read but not written to" in sentence(push, snapshot, "http://127.0.0.1:9/x")
    (tmp_path / "blocked").write_text("a file")
    assert "Fetching into" in sentence(fetch, pushed(snapshot, tmp_path), tmp_path / "blocked" / "cache")
    no_route(monkeypatch)
    assert "cannot be reached" in sentence(fetch, f"s3://{bucket}/x", tmp_path / "cache")


def pushed(snapshot: Path, tmp_path: Path) -> str:
    push(snapshot, str(tmp_path / "good"))
    return str(tmp_path / "good")


@pytest.mark.parametrize(
    ("error", "sentence"), [(PermissionError("key"), "access is denied"), (TimeoutError(), "Check")]
)
def test_refusals_of_the_store_are_sentences(error: OSError, sentence: str, monkeypatch: pytest.MonkeyPatch) -> None:
    store = ObjectStore(f"memory://{uuid4().hex}/x")

    def refuse(*_: Any, **__: Any) -> None:
        raise error

    monkeypatch.setattr(store._fs, "pipe_file", refuse)
    with pytest.raises(IndexStoreError, match=sentence) as caught:
        store.put("x", b"")
    assert "key" not in str(caught.value).replace("AWS_ACCESS_KEY_ID", "")


def test_a_missing_client_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(*_: Any, **__: Any) -> None:
        raise ImportError("Install s3fs")

    monkeypatch.setattr(object_store.fsspec.core, "url_to_fs", missing)
    with pytest.raises(MissingDependencyError, match=r'pip install -e "\.\[s3\]"'):
        ObjectStore("s3://bucket/x")
