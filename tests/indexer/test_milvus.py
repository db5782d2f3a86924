"""Milvus against the snapshot that was pushed to it: the same rows, bits and order, whatever is asked."""

from __future__ import annotations

import base64
import hashlib
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from milvus_lite.adapter.grpc.server import start_server_in_thread
from milvus_lite.db import MilvusLite

from data.errors import IndexStoreError, MissingDependencyError
from data.geo import BBox
from indexer import Compare, Query, SearchIndex, Where
from indexer import milvus as milvus_module
from indexer.commit import commit
from indexer.local import LocalStore
from indexer.manage import remove_rows
from indexer.merge import Input
from indexer.milvus import MilvusStore, milvus_status
from indexer.milvus_address import TOKEN, Address
from indexer.milvus_client import Milvus
from indexer.milvus_filter import plain_expression
from indexer.milvus_layout import current_name, files_name, pointers, rows_name
from indexer.rows import make_rows, schema
from indexer.snapshot import Manifest, current_snapshot
from tests.indexer.conftest import push_quickly
from tests.indexer.standin import StandInPair
from tests.indexer.test_select import EXTRA, filters, random_tiles

DIM = 8
EVERYTHING = Where()


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cache of this test's own, and no pauses."""
    monkeypatch.setenv("SAMEWHERE_HOME", str(tmp_path / "home"))
    monkeypatch.delenv(TOKEN, raising=False)


def make_index(folder: Path, table: pa.Table, vectors: np.ndarray, *, seed: int = 0) -> Path:
    """An index of some tiles, with vectors of its own."""
    (folder / "index").mkdir(parents=True, exist_ok=True)
    rows = table.drop_columns(["embedding"])
    flat = pa.array(np.ascontiguousarray(vectors, dtype=np.float32).reshape(-1))
    layout = schema("tiles", vectors.shape[1], EXTRA)
    rows = rows.append_column("embedding", pa.FixedSizeListArray.from_arrays(flat, type=layout.field("embedding").type))
    pq.write_table(rows.select(layout.names).cast(layout), folder / "rows.parquet")
    checkpoint = {"name": "made", "fingerprint": f"{seed:064x}", "dim": vectors.shape[1]}
    inputs = {"cells": [], "tiles": [Input(folder / "rows.parquet")]}
    commit(folder / "index", folder / "work", inputs, checkpoint=checkpoint, parameters={}, plan="")
    return folder / "index"


def clustered(count: int, *, kinds: int = 400, seed: int = 0) -> np.ndarray:
    """(count, DIM) unit vectors of few different values, so that many scores are equal and many almost."""
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(kinds, DIM))
    centres[1::3] = centres[::3][: len(centres[1::3])] * (1 + 1e-7)
    rows = centres[rng.integers(0, kinds, count)]
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[LocalStore, MilvusStore]]:
    """6,000 tiles with gaps in their columns and doubled vectors, on disk and in Milvus."""
    folder = tmp_path_factory.mktemp("both")
    index = make_index(folder, random_tiles(0, 6000), clustered(6000))
    store = MilvusStore(push_quickly(index, f"milvus://{folder}/both.db"), cache=folder / "cache")
    yield LocalStore(index), store
    store.close()


queries = st.builds(
    lambda seed, count, length: (np.random.default_rng(seed).normal(size=(count, DIM)) * length).astype(np.float32),
    st.integers(0, 1000),
    st.integers(1, 3),
    st.sampled_from([1e-3, 1.0, 40.0]),
)
run = settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])


def assert_same(both: tuple[LocalStore, MilvusStore], asked: np.ndarray, k: int, where: Where) -> tuple[str, ...]:
    """Both stores give the same rows with the same bits; returns how Milvus found them."""
    local, there = (store.search("tiles", asked, k, where=where, view="both") for store in both)
    np.testing.assert_array_equal(there.rows, local.rows)
    np.testing.assert_array_equal(there.scores, local.scores)
    return there.plan


@st.composite
def one_or_two(draw: st.DrawFn) -> Where:
    """Filters of one or two conditions: of all at once hardly a row passes."""
    whole = draw(filters)
    names = draw(st.sets(st.sampled_from(sorted(Where.__dataclass_fields__)), min_size=1, max_size=2))
    return Where(**{name: getattr(whole, name) for name in names})


@run
@given(asked=queries, k=st.integers(1, 60), where=filters | one_or_two())
def test_any_filter_and_any_queries(
    both: tuple[LocalStore, MilvusStore], asked: np.ndarray, k: int, where: Where
) -> None:
    assert_same(both, asked, k, where)


@settings(run, max_examples=12)
@given(data=st.data(), asked=queries, k=st.sampled_from([1, 7, 400, 1000, 6000]), limit=st.sampled_from([500, 1500]))
def test_however_little_a_request_may_bring(
    both: tuple[LocalStore, MilvusStore], limit: int, data: st.DataObject, asked: np.ndarray, k: int
) -> None:
    """Small limits take every way down to fetching all products."""
    name = data.draw(st.sampled_from(["bbox", "polygon", "cells", "compare", "not_ids", "after", "sources"]))
    where = Where(**{name: getattr(data.draw(filters), name)})
    with pytest.MonkeyPatch.context() as patch:
        for constant, value in {"LIMIT": limit, "FEW_ROWS": limit // 2, "MARGIN": 2}.items():
            patch.setattr(milvus_module, constant, value)
        assert_same(both, asked, k, where)
        field = both[1].scores("tiles", asked)
    length = np.linalg.norm(asked.astype(np.float64), axis=1).max()
    np.testing.assert_allclose(field, both[0].scores("tiles", asked), atol=1e-6 * length)


def test_equal_rows_keep_their_order(tmp_path: Path) -> None:
    """More equal rows than a margin or a request holds: the lowest come first."""
    vectors = np.tile(np.eye(DIM, dtype=np.float32)[0], (500, 1))
    vectors[250] = np.eye(DIM)[1]
    index = make_index(tmp_path, random_tiles(1, 500), vectors)
    store = MilvusStore(push_quickly(index, f"milvus://{tmp_path}/w.db"))
    pair = (LocalStore(index), store)
    asked = np.eye(DIM, dtype=np.float32)[:1]
    assert_same(pair, asked, 20, EVERYTHING)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(milvus_module, "LIMIT", 100)
        plan = assert_same(pair, asked, 20, EVERYTHING)
        assert "all products came, in 5 requests" in " ".join(plan)
    found = store.search("tiles", asked, 20, where=EVERYTHING, view="both")
    assert found.rows.tolist() == list(range(20))
    store.close()


def test_every_way_is_taken_and_told(both: tuple[LocalStore, MilvusStore]) -> None:
    asked = np.eye(DIM, dtype=np.float32)[:1]

    def way(where: Where) -> str:
        return " ".join(assert_same(both, asked, 10, where))

    assert "without a filter" in way(EVERYTHING)
    assert "runs of rows" in way(Where(not_ids=("t5", "t77")))
    assert "as row numbers, in 1 requests" in way(Where(compare=(Compare("cloud_percent", "<", 3.0),)))
    assert "narrows by 'source in" in way(Where(sources=("s2",)))
    assert "cannot express" in way(Where(compare=(Compare("note", "=", "a"),)))
    assert "No row passes" in way(Where(sources=("nowhere",)))
    assert way(Where(sources=("ö'\"; drop",))).count("cannot express") == 1  # never pasted


def test_rows_columns_and_pictures_are_those_of_the_snapshot(both: tuple[LocalStore, MilvusStore]) -> None:
    local, there = both
    assert there.manifest == local.manifest
    without = [table.drop_columns(["elevation_m"]) for table in (there.table("tiles"), local.table("tiles"))]  # has NaN
    assert without[0].equals(without[1])
    rows = np.random.default_rng(2).integers(0, 6000, 300)
    np.testing.assert_array_equal(there.vectors("tiles", rows), local.vectors("tiles", rows))
    assert there.vectors("tiles", []).shape == (0, DIM)
    ids = there.table("tiles")["id"].to_pylist()
    assert there.rows_of("tiles", [ids[5], "none"]) == [5, None]
    assert there.take("tiles", [7, 3])["id"].to_pylist() == [ids[7], ids[3]]
    wanted = ["row", "id", "lon", "country", "acquired", "cloud_percent", "elevation_m", "note", "orbit", "parent_3"]
    table = local.table("tiles")
    for row in there._client.query(there._names["tiles"], "row in [0, 41, 5999]", wanted):
        for name in wanted[1:]:
            value = table[name].cast(pa.int64())[row["row"]] if name == "acquired" else table[name][row["row"]]
            expected = value.as_py()
            same = row[name] == expected or (expected is not None and np.isnan(expected) and np.isnan(row[name]))
            assert same, (name, row[name], expected)


@run
@given(where=filters)
def test_an_expression_lets_through_all_that_passes(both: tuple[LocalStore, MilvusStore], where: Where) -> None:
    local, there = both
    expression = plain_expression(where, local.table("tiles").schema)
    if expression:
        rows = {row["row"] for row in there._client.query(there._names["tiles"], expression, ["row"])}
        passing = local.select("tiles", where)
        assert passing is not None and set(passing.rows().tolist()) <= rows


def test_thumbnails_come_back(in_milvus: SearchIndex, local: SearchIndex) -> None:
    for tile in local.tiles()["id"].to_pylist()[::40]:
        assert in_milvus.thumbnail(tile) == local.thumbnail(tile) != b""


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """An index of 700 tiles."""
    return make_index(tmp_path / "small", random_tiles(3, 700), clustered(700))


class CutError(Exception):
    """The line is cut."""


def cut_after(patch: pytest.MonkeyPatch, requests: int) -> list[tuple[str, int]]:
    """Let so many writing requests through, and none more; tells collection and rows of each."""
    sent: list[tuple[str, int]] = []
    real = Milvus.put

    def put(self: Milvus, name: str, rows: Any, *, anew: bool = False) -> None:
        if len(sent) == requests:
            raise CutError
        sent.append((name, len(rows)))
        real(self, name, rows, anew=anew)

    patch.setattr(Milvus, "put", put)
    return sent


def test_a_push_that_is_cut_off_is_not_seen_and_goes_on(small: Path, tmp_path: Path) -> None:
    address = f"milvus://{tmp_path}/w.db"
    with pytest.MonkeyPatch.context() as patch:
        whole = cut_after(patch, 99)
        push_quickly(small, f"milvus://{tmp_path}/whole.db")
    kinds = [name.split("_")[1] for name, _ in whole]
    assert kinds == ["tiles", "tiles", "files", "current"] and [rows for _, rows in whole[:2]] == [500, 200]
    for cut in range(len(whole)):
        with pytest.MonkeyPatch.context() as patch:
            cut_after(patch, 1 if cut else 0)
            with pytest.raises(CutError):
                push_quickly(small, address)
        assert milvus_status(address)["state"] == "missing"
        with pytest.raises(IndexStoreError, match="holds no index"):
            MilvusStore(address)
        if cut == 2:
            break
    with pytest.MonkeyPatch.context() as patch:
        rest = cut_after(patch, 99)
        push_quickly(small, address)
    assert sum(rows for _, rows in rest) < 700  # what had come was not sent again
    store = MilvusStore(address)
    assert_same((LocalStore(small), store), np.eye(DIM, dtype=np.float32)[:2], 50, EVERYTHING)
    store.close()
    with pytest.MonkeyPatch.context() as patch:
        again = cut_after(patch, 0)
        push_quickly(small, address)
    assert again == []  # nothing differs, nothing is sent


def test_of_a_batch_that_came_in_part_no_row_is_doubled(small: Path, tmp_path: Path) -> None:
    address = f"milvus://{tmp_path}/w.db"
    real = Milvus.put

    def half(self: Milvus, name: str, rows: Any, *, anew: bool = False) -> None:
        real(self, name, rows[: len(rows) // 2], anew=anew)
        raise CutError

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Milvus, "put", half)
        with pytest.raises(CutError):
            push_quickly(small, address)
    push_quickly(small, address)
    store = MilvusStore(address)
    assert_same((LocalStore(small), store), np.eye(DIM, dtype=np.float32)[:2], 700, EVERYTHING)
    store.close()


def test_a_new_snapshot_replaces_the_old_which_readers_keep(built: Path, tmp_path: Path, pair: StandInPair) -> None:
    import shutil

    index, address = tmp_path / "index", f"milvus://{tmp_path}/w.db"
    shutil.copytree(built, index)
    push_quickly(index, address)
    reader = SearchIndex.open(address, pair=pair)
    before = reader.search(Query.place(12, 41), target="tiles", k=300)
    gone = [hit.id for hit in before[:3]]
    countries = {hit.country for hit in before}
    remove_rows(index, Where(compare=tuple(Compare("id", "=", name) for name in gone[:1])))
    with pytest.MonkeyPatch.context() as patch:
        sent = cut_after(patch, 99)
        push_quickly(index, address)
    assert not any("_cells_" in name for name, _ in sent)  # they are the same
    assert reader.search(Query.place(12, 41), target="tiles", k=300) == before
    now = SearchIndex.open(address, pair=pair)
    assert [hit.id for hit in now.search(Query.place(12, 41), target="tiles", k=300)] == [h.id for h in before[1:]]
    first = reader.manifest
    remove_rows(index, Where(compare=(Compare("id", "=", gone[1]),)))
    push_quickly(index, address)
    client = Milvus(Address.parse(address))
    assert [pointer.number for pointer in pointers(client)] == [2, 3]
    assert not client.has(rows_name(client, "tiles", first)) and not client.has(files_name(client, first.fingerprint))
    assert client.has(rows_name(client, "cells", first)) and countries
    with pytest.raises(IndexStoreError, match=r"Searching milvus:.*failed"):
        reader.search(Query.place(12, 41), target="tiles")
    for one in (client, reader, now):
        one.close()


def test_two_prefixes_do_not_meet(small: Path, tmp_path: Path) -> None:
    other = make_index(tmp_path / "other", random_tiles(4, 50), clustered(50, seed=4))
    push_quickly(small, f"milvus://{tmp_path}/w.db")
    push_quickly(other, f"milvus://{tmp_path}/w.db/other")
    counts = [milvus_status(f"milvus://{tmp_path}/w.db{end}")["manifest"]["counts"] for end in ("", "/other")]
    assert counts == [{"cells": 0, "tiles": 700}, {"cells": 0, "tiles": 50}]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    """A server of Milvus's protocol on loopback: what a cluster is for a client."""
    running, database, port = start_server_in_thread(str(tmp_path / "server.db"))
    yield f"127.0.0.1:{port}"
    running.stop(grace=0)
    database.close()


def test_a_server_answers_as_a_file_does(small: Path, server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(TOKEN, "root:secret")
    address = push_quickly(small, f"http://{server}/mine")
    assert address == f"milvus://{server}/mine"
    store = MilvusStore(address)
    assert_same((LocalStore(small), store), np.eye(DIM, dtype=np.float32)[:2], 50, Where(bbox=BBox(170, -90, 10, 60)))
    assert SearchIndex(store).store.where == address
    store.close()
    with pytest.raises(IndexStoreError, match="holds no index"):
        SearchIndex.open(f"milvus://{server}/other")
    with pytest.raises(IndexStoreError, match="Leave the name out"):
        SearchIndex.open(address, name="clay")


def test_nobody_there(monkeypatch: pytest.MonkeyPatch, server: str) -> None:
    monkeypatch.setenv(TOKEN, "root:secret")
    monkeypatch.setattr("indexer.milvus_client.CONNECT_S", 1.0)
    for address in ("milvus://127.0.0.1:1", "milvus://no-such-host.invalid", f"milvus+tls://{server}"):
        with pytest.raises(IndexStoreError, match="nobody answers there") as caught:
            MilvusStore(address)
        assert "secret" not in str(caught.value)


def test_a_server_that_goes_away_is_a_sentence(small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    running, database, port = start_server_in_thread(str(tmp_path / "server.db"))
    store = MilvusStore(push_quickly(small, f"milvus://127.0.0.1:{port}"))
    running.stop(grace=0).wait()
    database.close()
    monkeypatch.setattr("indexer.milvus_client.CALL_S", 1.0)
    for ask in (lambda: store.thumbnail(3), lambda: store.scores("tiles", np.eye(DIM, dtype=np.float32)[:1])):
        with pytest.raises(IndexStoreError, match="nobody answers there"):
            ask()
    store.close()


def test_a_file_is_of_one_process_and_free_again_when_closed(small: Path, tmp_path: Path) -> None:
    address = f"milvus://{tmp_path}/w.db"
    push_quickly(small, address)
    with MilvusLite(str(tmp_path / "w.db")), pytest.raises(IndexStoreError, match="another process has it open"):
        MilvusStore(address)
    stores = [MilvusStore(address) for _ in range(2)]
    stores[0].close()
    stores[0].close()
    assert len(stores[1].vectors("tiles", [1, 2])) == 2  # the other one is still open
    stores[1].close()
    with MilvusLite(str(tmp_path / "w.db")) as database:
        assert len(database.list_collections()) == 4


@pytest.mark.parametrize(
    ("text", "uri", "again"),
    [
        ("milvus:///folder/world.db", "/folder/world.db", "milvus:///folder/world.db"),
        ("milvus://./world.db/clay", "world.db", "milvus://world.db/clay"),
        ("folder/world.db", "folder/world.db", "milvus://folder/world.db"),
        ("milvus://host", "http://host:19530", "milvus://host:19530"),
        ("milvus://my.host:8000/clay_2", "http://my.host:8000", "milvus://my.host:8000/clay_2"),
        ("milvus://[::1]:8000", "http://[::1]:8000", "milvus://[::1]:8000"),
        ("milvus+tls://host/", "https://host:19530", "milvus+tls://host:19530"),
        ("https://host:443/x", "https://host:443", "milvus+tls://host:443/x"),
        ("http://localhost:19530", "http://localhost:19530", "milvus://localhost:19530"),
    ],
)
def test_addresses(text: str, uri: str, again: str) -> None:
    found = Address.parse(text)
    assert (found.uri, found.text) == (uri, again)
    assert Address.parse(again) == found


@pytest.mark.parametrize(
    "text",
    [
        "s3://bucket/world",
        "milvus://",
        "milvus:///folder/world",
        "milvus://host:0",
        "milvus://host:99999",
        "milvus://host/a/b",
        "milvus://host/1st",
        "milvus://host/dröp",
        "milvus://-host",
        "milvus:// host",
    ],
)
def test_what_is_no_address(text: str) -> None:
    with pytest.raises(IndexStoreError, match=r"no address of Milvus\. Write milvus:///folder/world\.db"):
        Address.parse(text)


@pytest.mark.parametrize("text", ["milvus://root:secret@host", "milvus://host?token=secret", "https://host#secret"])
def test_credentials_in_an_address_are_refused_and_not_repeated(text: str) -> None:
    with pytest.raises(IndexStoreError, match=TOKEN) as caught:
        Address.parse(text)
    assert "secret" not in str(caught.value)


def test_what_is_not_there(tmp_path: Path, small: Path) -> None:
    with pytest.raises(IndexStoreError, match="does not exist"):
        SearchIndex.open(f"milvus://{tmp_path}/none.db")
    assert not (tmp_path / "none.db").exists()
    (tmp_path / "text.db").write_text("no database")
    with pytest.raises(IndexStoreError, match="cannot be opened"):
        SearchIndex.open(f"milvus://{tmp_path}/text.db")
    (current_snapshot(small) / "tiles.parquet").write_bytes(b"no rows")
    with pytest.raises(IndexStoreError, match=r"tiles\.parquet has 7 bytes"):
        push_quickly(small, f"milvus://{tmp_path}/w.db")


def test_encoders_of_another_checkpoint_are_refused(in_milvus: SearchIndex, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(IndexStoreError, match=r"not by other \(bbbb.*samewhere index push milvus:///"):
        SearchIndex(in_milvus.store, pair=StandInPair("other", "b" * 64))


@pytest.mark.parametrize("module", ["pymilvus", "milvus_lite", "faiss"])
def test_a_missing_package_is_named_with_its_extra(
    module: str, small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    address = push_quickly(small, f"milvus://{tmp_path}/w.db")
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingDependencyError, match=r'pip install -e "\.\[(milvus|cpu)\]"'):
        SearchIndex.open(address)


def test_a_text_that_milvus_does_not_take_is_named(tmp_path: Path) -> None:
    table = random_tiles(5, 3)
    notes = ["a", "b" * 70000, "c"]
    table = table.set_column(table.column_names.index("note"), "note", pa.array(notes))
    index = make_index(tmp_path, table, clustered(3))
    name = table["id"].to_pylist()[1]
    with pytest.raises(IndexStoreError, match=rf"tile {name}: its note is 70,000 bytes of text"):
        push_quickly(index, f"milvus://{tmp_path}/w.db")
    assert milvus_status(f"milvus://{tmp_path}/w.db")["state"] == "missing"


Spoil = Callable[[Milvus, Manifest], None]


def text(client: Milvus, name: str, number: int, content: str) -> None:
    client.put(name, [{"number": number, "content": content, "embedding": [0.0, 0.0]}], anew=True)


def pointer(**changes: Any) -> Spoil:
    """A pointer that says something else."""

    def spoil(client: Milvus, manifest: Manifest) -> None:
        content = json.loads(pointers(client)[-1].text())
        entry = {key: value for key, value in changes.items() if key in ("size", "sha256")}
        content["manifest"] |= entry
        content |= {key: value for key, value in changes.items() if key not in entry}
        text(client, current_name(client), 1, json.dumps(content))

    return spoil


def no_json(client: Milvus, manifest: Manifest) -> None:
    text(client, current_name(client), 1, "[" * 5000)


def files(content: bytes, table: bytes | None = None) -> Spoil:
    """A manifest that is what the pointer promises, but is none; behind it perhaps a table that is what it promises."""

    def spoil(client: Milvus, manifest: Manifest) -> None:
        from dataclasses import asdict

        name, written = files_name(client, manifest.fingerprint), content
        if table is not None:
            digest = {"size": len(table), "sha256": hashlib.sha256(table).hexdigest()}
            said = asdict(manifest) | {"files": manifest.files | {"cells.arrow": digest, "tiles.arrow": digest}}
            said |= json.loads(content)
            made = Manifest(**said)
            said["fingerprint"] = made.digest()
            written = json.dumps(said).encode()
            name = files_name(client, said["fingerprint"])
            client.make(name, milvus_texts(), dim=2)
            client.load(name)
            text(client, name, 1, base64.b64encode(table).decode())
            text(client, name, 2, base64.b64encode(table).decode())
            pointer(fingerprint=said["fingerprint"])(client, manifest)
        text(client, name, 0, base64.b64encode(written).decode())
        digest = hashlib.sha256(written).hexdigest()
        content_now = json.loads(pointers(client)[-1].text())
        content_now["manifest"] = {"size": len(written), "sha256": digest}
        text(client, current_name(client), 1, json.dumps(content_now))

    return spoil


def milvus_texts() -> dict[str, Any]:
    from indexer.milvus_layout import TEXTS

    return TEXTS


def part(content: str) -> Spoil:
    """A part of the light tables is something else."""
    return lambda client, manifest: text(client, files_name(client, manifest.fingerprint), 1, content)


def rows_gone(client: Milvus, manifest: Manifest) -> None:
    client.delete(rows_name(client, "tiles", manifest), [5, 6])


def collection_gone(client: Milvus, manifest: Manifest) -> None:
    client.drop(rows_name(client, "tiles", manifest))


def arrow(columns: dict[str, Any]) -> bytes:
    sink = pa.BufferOutputStream()
    table = pa.table(columns)
    with pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)
    return bytes(sink.getvalue().to_pybytes())


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (no_json, "no pointer to an index"),
        (pointer(fingerprint="../../../etc"), "a pointer that is none"),
        (pointer(fingerprint="c" * 64), "lacks the collection samewhere_files_cccccccccccccccc"),
        (pointer(size=1 << 40), "a pointer that is none"),
        (pointer(size=-1), "a pointer that is none"),
        (pointer(size="many"), "no pointer to an index"),
        (pointer(sha256="d" * 64), r"another manifest\.json in"),
        (pointer(collections=["someone_elses"]), "a pointer that is none"),
        (pointer(collections=None), "no pointer to an index"),
        (files(b"[]"), "cannot be read"),
        (files(b"{" * 3000), "cannot be read"),
        (files(b'{"format": 99}'), "format version 99"),
        (files(b"{}", b"no table"), "no table of cells"),
        (files(b"{}", arrow({"id": [1, 2]})), "no table of cells|other columns or rows"),
        (files(b'{"counts": {"cells": -1, "tiles": 1e9}}', b"x"), "numbers of rows are none"),
        (files(b'{"counts": {}}', b"x"), "numbers of rows are none"),
        (files(b'{"checkpoint": {"name": 5, "dim": 8, "fingerprint": "x"}}', b"x"), "its checkpoint has no name"),
        (files(b'{"checkpoint": {"name": "x", "dim": 1e12, "fingerprint": "x"}}', b"x"), "its checkpoint has no name"),
        (part("no base64!"), "lacks part 1 of"),
        (part("AAAA"), r"another cells\.arrow in"),
        (rows_gone, "has 698 rows where its manifest promises 700"),
        (collection_gone, "lacks the collection samewhere_tiles_"),
    ],
)
def test_what_a_hostile_or_damaged_server_holds_is_refused(
    spoil: Spoil, sentence: str, hostile: tuple[str, Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    address, index = hostile
    client = Milvus(Address.parse(address))
    spoil(client, Manifest.read(current_snapshot(index), index=index))
    with pytest.raises(IndexStoreError, match=sentence):
        MilvusStore(address)
    assert milvus_status(address)["state"] == "damaged"
    client.close()
    cached = tmp_path / "home" / "cache" / "milvus"
    assert list(cached.glob("*/manifest.json")) == [] or spoil in (rows_gone, collection_gone)
    assert {path.name for path in tmp_path.iterdir()} <= {"home", "w.db"}  # nothing was written elsewhere


@pytest.fixture(scope="module")
def pushed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A file of Milvus with an index of 700 tiles, to be copied and spoilt; and the index."""
    folder = tmp_path_factory.mktemp("pushed")
    index = make_index(folder / "small", random_tiles(3, 700), clustered(700))
    push_quickly(index, f"milvus://{folder}/w.db")
    return folder / "w.db", index


@pytest.fixture
def hostile(pushed: tuple[Path, Path], tmp_path: Path) -> tuple[str, Path]:
    """A copy of it."""
    import shutil

    shutil.copytree(pushed[0], tmp_path / "w.db")
    return f"milvus://{tmp_path}/w.db", pushed[1]


@pytest.mark.parametrize(
    "rows",
    [
        {"row": -3, "distance": 0.5},
        {"row": 700, "distance": 0.5},
        {"row": 5, "distance": float("nan")},
        None,
    ],
)
def test_answers_that_make_no_sense_are_refused(
    rows: dict[str, Any] | None, hostile: tuple[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    store = MilvusStore(hostile[0])
    real = store._client._client.search

    def search(*given: Any, **more: Any) -> Any:
        answers = [[{"row": hit["row"], "distance": hit["distance"]} for hit in hits] for hits in real(*given, **more)]
        answers[0] = [*answers[0][1:], rows] if rows else answers[0][:3]
        return answers

    monkeypatch.setattr(store._client._client, "search", search)
    with pytest.raises(IndexStoreError, match=r"not of this index|answers with 3 of 700 rows"):
        store.search("tiles", np.eye(DIM, dtype=np.float32)[:1], 5, where=EVERYTHING, view="both")
    monkeypatch.setattr(store._client, "query", lambda *_: [{"row": 1, "embedding": [float("inf")] * DIM}])
    with pytest.raises(IndexStoreError, match="no numbers"):
        store.vectors("tiles", [1])
    with pytest.raises(IndexStoreError, match="lacks rows"):
        store.vectors("tiles", [2])
    with pytest.raises(IndexStoreError, match="no thumbnail of row 2"):
        store.thumbnail(2)
    store.close()


def test_empty_kinds_and_tiny_indexes(tmp_path: Path) -> None:
    one = make_rows("tiles", ["only"], lonlat=np.array([[5.0, 5.0]]), vectors=np.ones((1, 1), dtype=np.float32))
    table = one.append_column("elevation_m", pa.array([None], pa.float64()))
    for name, kind in (("note", pa.string()), ("orbit", pa.int32())):
        table = table.append_column(name, pa.array([None], kind))
    index = make_index(tmp_path, table, np.eye(DIM)[:1])
    store = MilvusStore(push_quickly(index, f"milvus://{tmp_path}/w.db"))
    pair = (LocalStore(index), store)
    assert_same(pair, np.eye(DIM, dtype=np.float32)[:1], 10, EVERYTHING)
    assert store.scores("cells", np.eye(DIM, dtype=np.float32)[:1]).shape == (0,)
    assert store.rows_of("cells", ["8075fffffffffff"]) == [None]
    store.close()
