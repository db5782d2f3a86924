"""``samewhere data pull``, against a hub on the loopback device."""

import hashlib
import json
import re
from pathlib import Path

import huggingface_hub.constants
import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from app.commands.data_pull import EPILOG, parse_shards, pull
from data.errors import SourceError
from data.patch import read_patch
from data.sources.s2_100k import open_s2_100k
from tests.data.geotiffs import stack_bytes, write_tar
from tests.model.hub_server import COMMIT, Hub

REPOSITORY = "datasets/torchgeo/s2-100k"


class DatasetHub(Hub):
    """The hub with its listing of a dataset: sizes, and the hashes of what is large."""

    def answer(self, request):
        if not request.path.startswith("/api/"):
            super().answer(request)
            return
        self.requests.append((request.command, request.path, None))
        files = [
            {"rfilename": path.removeprefix(f"{REPOSITORY}/"), "size": len(body), "blobId": "0" * 40}
            | ({"lfs": lfs(self.promised, body)} if path.endswith(".tar") else {})
            for path, body in self.content.items()
        ]
        body = json.dumps({"id": "torchgeo/s2-100k", "sha": COMMIT, "siblings": files}).encode()
        request.send_response(self.status or 200)
        request.send_header("Content-Type", "application/json")
        request.send_header("Content-Length", str(len(body)))
        request.end_headers()
        request.wfile.write(body)


def lfs(promised, body):
    return {"sha256": promised or hashlib.sha256(body).hexdigest(), "size": len(body), "pointerSize": 130}


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """Twelve shards of one patch each."""
    monkeypatch.setenv("SAMEWHERE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    made = DatasetHub()
    monkeypatch.setenv("HF_ENDPOINT", made.url)
    lon, lat = read_patch(stack_bytes()).lonlat
    rows = "".join(f"patch_{n}.tif,{lon},{lat}\n" for n in range(12))
    made.content[f"{REPOSITORY}/index.csv"] = f"fn,lon,lat\n{rows}".encode()
    for n in range(12):
        path = write_tar(tmp_path / "shard.tar", {f"patch_{n}.tif": stack_bytes(seed=n)})
        made.content[f"{REPOSITORY}/data/shard-{n:05d}.tar"] = path.read_bytes()
    yield made
    made.close()


@pytest.fixture
def run():
    app = typer.Typer()
    app.command(epilog=EPILOG)(pull)

    def run(*words):
        done = CliRunner().invoke(app, words)
        if isinstance(done.exception, Exception):
            raise done.exception
        return done

    return run


def gets(hub):
    return [path for method, path, _ in hub.requests if method == "GET" and "/resolve/" in path]


def test_some_shards_and_what_they_hold(hub, run):
    done = run("s2-100k", "--shards", "1-3,10", "--json")
    assert done.exit_code == 0
    said = json.loads(done.stdout)
    assert (said["files"], said["damaged"]) == (5, [])
    source = open_s2_100k(Path(said["path"]))
    assert list(source.addresses) == [f"data/shard-{n:05d}.tar#patch_{n}.tif" for n in (1, 2, 3, 10)]
    np.testing.assert_array_equal(
        source.read(source.addresses[-1]).patch.pixels, read_patch(stack_bytes(seed=10)).pixels
    )
    assert len(gets(hub)) == 5
    assert run("s2-100k", "--shards", "0-3").exit_code == 0  # fetches shard 0 alone
    assert len(gets(hub)) == 6
    assert run("s2-100k").exit_code == 0
    assert len(gets(hub)) == 13


def test_a_broken_connection_is_taken_up_where_it_broke(hub, run):
    name = f"{REPOSITORY}/data/shard-00000.tar"
    hub.content[name] = np.random.default_rng(0).bytes(30_000_000)
    hub.content[f"{REPOSITORY}/index.csv"] = b"fn,lon,lat\n"
    run("s2-100k", "--shards", "11")
    hub.break_after = 25_000_000
    assert run("s2-100k", "--shards", "0").exit_code == 0
    ranges = [asked for method, path, asked in hub.requests if method == "GET" and path.endswith("00000.tar")]
    assert len(ranges) == 2 and int(re.sub(r"\D", "", ranges[1])) > 5_000_000


def test_a_shard_that_is_not_what_was_promised_is_removed_and_the_others_go_on(hub, run, monkeypatch, tmp_path):
    rotten = f"{REPOSITORY}/data/shard-00001.tar"
    whole = hub.content[rotten]
    run("s2-100k", "--shards", "1")
    (link,) = (tmp_path / "cache").rglob("shard-00001.tar")
    data = bytearray(whole)
    data[-1] ^= 1
    link.resolve().write_bytes(data)
    done = run("s2-100k", "--shards", "0-2")
    assert done.exit_code == 1
    assert "3/4 data/shard-00001.tar DAMAGED" in done.stderr and "4/4 data/shard-00002.tar verified" in done.stderr
    assert "removed: data/shard-00001.tar. Run the command again" in done.stderr
    assert not link.exists()
    assert run("s2-100k", "--shards", "0-2").exit_code == 0
    assert link.read_bytes() == whole


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("s2-1m",), "'s2-1m' cannot be pulled; there is s2-100k"),
        (("s2-100k", "--shards", "9-0"), "such as 0-9 or 0,4,7-9, got '9-0'"),
        (("s2-100k", "--shards", "all"), "got 'all'"),
        (("s2-100k", "--shards", "5-12"), "no shard 12; there are 0 to 11"),
    ],
)
def test_wrong_input(hub, run, words, message):
    with pytest.raises(SourceError, match=re.escape(message)):
        run(*words)
    assert not gets(hub)


@pytest.mark.parametrize("status", [403, 404, 500])
def test_a_hub_in_trouble(hub, run, status):
    hub.status = status
    with pytest.raises(SourceError, match=r"torchgeo/s2-100k: could not be fetched .*Run the command again"):
        run("s2-100k")


def test_no_hub_at_all(hub, run, monkeypatch):
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(SourceError, match="could not be fetched"):
        run("s2-100k")


def test_ranges():
    assert parse_shards("0-9") == [(0, 9)]
    assert parse_shards("4, 7-9,0") == [(4, 4), (7, 9), (0, 0)]
