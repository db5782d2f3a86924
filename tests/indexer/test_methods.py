"""Snapshots that are searched by lists: built, added to, compacted and verified, with answers as exact as promised."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from data.errors import IndexStoreError
from data.geo import BBox
from indexer import Query, SearchIndex, Where, ann_build, build_index
from indexer.commit import weightings_of
from indexer.manage import compact, remove_rows
from indexer.snapshot import Manifest, current_snapshot
from indexer.verify import find_damage, recall_of
from tests.indexer.standin import StandInPair

RESOLUTION = 3
METHOD = "ivf-flat"


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Directory of an index of some ten thousand cells that is searched by lists."""
    path = tmp_path_factory.mktemp("methods") / "world"
    build_index(path, pair=StandInPair(), cell_resolution=RESOLUTION, tile_resolution=0, method=METHOD)
    return path


@pytest.fixture(scope="module", autouse=True)
def _stand_in_by_name() -> object:
    """What loads a checkpoint by name loads the stand-in."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("indexer.manage.load_encoder", lambda name, part: StandInPair())
        yield


def test_the_manifest_says_how_rows_are_searched(path: Path) -> None:
    settings = Manifest.read(current_snapshot(path), index=path).search["cells"]
    assert settings["method"] == METHOD and settings["nlist"] == 256
    assert set(settings["views"]) == {"smooth", "sharp", "both"}
    assert all(view["recall"] >= ann_build.TARGET for view in settings["views"].values())
    assert (current_snapshot(path) / "cells.ann").stat().st_size / settings["bytes"] == pytest.approx(
        len(SearchIndex.open(path, pair=StandInPair()).cells()), rel=0.01
    )


def test_answers_are_those_of_brute_force_and_explained(path: Path) -> None:
    index = SearchIndex.open(path, pair=StandInPair())
    lonlat = np.stack([index.cells()["lon"].to_numpy(), index.cells()["lat"].to_numpy()], axis=1)
    ids = [f"{cell:x}" for cell in index.cells()["id"].to_pylist()]
    box = BBox(-20.0, -40.0, 150.0, 70.0)
    inside = box.contains(lonlat)
    ways: dict[str, int] = {}
    hits = total = 0
    rng = np.random.default_rng(0)
    for row in rng.integers(0, len(ids), 20):  # places on land, beside the centres that stand in the index
        lon, lat = np.clip(lonlat[row] + rng.uniform(-0.3, 0.3, 2), (-180, -90), (180, 90)).tolist()
        query = Query.place(lon, lat)
        scores = index.field(query)
        for where, allowed in ((None, np.ones(len(ids), dtype=bool)), (Where(bbox=box), inside)):
            found, reasons = index.explain(query, where=where)
            best = np.sort(scores[allowed])[-10]
            assert all(allowed[ids.index(hit.id)] for hit in found)
            hits += sum(hit.score >= best - 1e-6 for hit in found)
            total += 10
            way = "lists" if any("would rank" in reason for reason in reasons) else "exact"
            ways[way] = ways.get(way, 0) + 1
    assert hits / total >= ann_build.TARGET
    assert ways["lists"] >= 20, ways


def test_a_build_of_the_same_method_finds_nothing_to_do_and_another_embeds_nothing(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = current_snapshot(path)
    options = {"cell_resolution": RESOLUTION, "tile_resolution": 0}
    build_index(path, pair=StandInPair(), method=METHOD, **options)
    assert current_snapshot(path) == before
    exact = {hit.id for hit in SearchIndex.open(path, pair=StandInPair()).search(Query.place(12.5, 41.9))}

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("nothing may be embedded again")

    monkeypatch.setattr(StandInPair, "encode_location", refuse)
    monkeypatch.setattr(StandInPair, "encode_image", refuse)
    build_index(path, pair=StandInPair(), **options)
    manifest = Manifest.read(current_snapshot(path), index=path)
    assert manifest.search["cells"] == {"method": "flat"} and "cells.ann" not in manifest.files
    compact(path, method=METHOD)
    assert Manifest.read(current_snapshot(path), index=path).search["cells"]["method"] == METHOD
    monkeypatch.undo()
    assert {hit.id for hit in SearchIndex.open(path, pair=StandInPair()).search(Query.place(12.5, 41.9))} == exact


def test_compacting_keeps_every_row_and_removing_keeps_the_method(tmp_path: Path) -> None:
    path = tmp_path / "world"
    first = build_index(path, pair=StandInPair(), cell_resolution=2, tile_resolution=0)
    after = compact(path)
    assert (after.plan, after.counts, after.files) == (first.plan, first.counts, first.files)
    compact(path, method="ivf-flat")
    kept = remove_rows(path, Where(bbox=BBox(-30.0, 30.0, 60.0, 75.0)), kinds=("cells",))
    assert kept.search["cells"]["method"] == "ivf-flat" and 0 < kept.counts["cells"] < first.counts["cells"]
    assert find_damage(path) == []
    with pytest.raises(IndexStoreError, match="no search method 'hnsw'"):
        compact(path, method="hnsw")


def test_verify_measures_recall_and_names_a_flipped_bit(path: Path, tmp_path: Path) -> None:
    measured = recall_of(path, lambda: weightings_of(StandInPair()))["cells"]
    assert measured and all(recall.rows >= ann_build.TARGET - 0.005 for recall in measured.values())
    assert find_damage(path) == []
    file = current_snapshot(path) / "cells.ann"
    whole = file.read_bytes()
    try:
        file.write_bytes(whole[:5000] + bytes([whole[5000] ^ 1]) + whole[5001:])
        assert [line for line in find_damage(path) if "cells.ann was changed" in line]
    finally:
        file.write_bytes(whole)


def test_a_build_that_finds_too_few_fails_and_keeps_its_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "world"
    perfect, poor = ann_build.Recall(1.0, 1.0), ann_build.Recall(0.98, 1.0)
    monkeypatch.setattr(ann_build, "compare", lambda found, _: poor if len(found[0]) > 500 else perfect)
    options = {"pair": StandInPair(), "cell_resolution": RESOLUTION, "tile_resolution": 0}
    with pytest.raises(IndexStoreError, match=r"finds 0\.9800 of the true 10 in view '\w+' .* --method"):
        build_index(path, method=METHOD, **options)
    shards = {p.name: p.stat().st_mtime_ns for p in (path / "building" / "shards").iterdir()}
    assert shards and not (path / "current").exists()
    seen: list[int] = []
    build_index(path, method="flat", progress=lambda now: seen.append(now.done), **options)
    assert seen[0] == seen[-1] > 0  # every row was there when this run began
    assert Manifest.read(current_snapshot(path), index=path).search["cells"] == {"method": "flat"}


def test_a_job_says_its_method_to_whoever_resumes_it(tmp_path: Path) -> None:
    from indexer.job import Job
    from indexer.sources import BuildParameters

    job = Job({"name": "x", "fingerprint": "a" * 64, "dim": 4}, BuildParameters(2, 0, True, None), "p", 1)
    work = job.open(tmp_path)
    (work / "shards" / "x").write_bytes(b"1")
    other = dataclasses.replace(job, parameters=dataclasses.replace(job.parameters, method="flat"))
    other.open(tmp_path)
    assert (work / "shards" / "x").exists() and Job.read(tmp_path).parameters.method == "flat"
    dataclasses.replace(job, plan="q").open(tmp_path)
    assert not (work / "shards" / "x").exists()
