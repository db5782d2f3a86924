"""The ``samewhere`` command line: exit codes, one-line messages, tables, JSON and GeoJSON."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from app import cli
from data import atlas
from data.geo import cell_lonlat, great_circle_km
from data.land import land_cells
from indexer import Query, SearchIndex, build_index
from indexer.snapshot import current_snapshot
from tests.indexer.standin import StandInPair

ROOT = Path(__file__).parents[2]
Run = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module", autouse=True)
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``SAMEWHERE_HOME`` with a small index in it, and the stand-in wherever a checkpoint is asked for."""
    path = tmp_path_factory.mktemp("home")
    build_index(path / "index", pair=StandInPair(), cell_resolution=2, tile_resolution=1)
    return path


@pytest.fixture(autouse=True)
def surroundings(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let commands find the index and the stand-in."""
    monkeypatch.setenv("SAMEWHERE_HOME", str(home))
    monkeypatch.setenv("COLUMNS", "120")
    for module in ("indexer.encoder", "indexer.search"):
        monkeypatch.setattr(f"{module}.load_encoder", lambda name, part, device="cpu": StandInPair(name))


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run the command line in this process: exit code, standard output, standard error."""

    def run(*words: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["samewhere", *words])
        with pytest.raises(SystemExit) as end:
            cli.main()
        said = capsys.readouterr()
        return int(end.value.code or 0), said.out, said.err

    return run


def test_search_by_a_southern_place_prints_what_the_library_finds(run: Run, home: Path) -> None:
    words = "search --place -70.6,-33.4 -k 7 --min-km 500 --spacing-km 300 --bbox -180,-60,180,75 --json"
    code, out, _ = run(*words.split())
    assert code == 0
    answer = json.loads(out)
    assert answer["query"]["lonlat"] == [-70.6, -33.4]
    index = SearchIndex.open(home / "index", pair=StandInPair())
    expected = index.search(Query.place(-70.6, -33.4), k=7, min_km=500, spacing_km=300)
    assert [(hit["id"], hit["score"]) for hit in answer["hits"]] == [(hit.id, hit.score) for hit in expected]
    assert all(great_circle_km((-70.6, -33.4), (hit["lon"], hit["lat"])) >= 500 for hit in answer["hits"])


def test_the_table_shows_every_hit(run: Run) -> None:
    code, out, _ = run("search", "--place", "12.49,41.89", "-k", "5", "--country", "ITA", "--country", "france")
    assert code == 0
    rows = [line.split() for line in out.splitlines() if re.match(r"\s+\d+\s", line)]
    assert [row[0] for row in rows] == ["1", "2", "3", "4", "5"]
    assert {row[5] for row in rows} <= {"ITA", "FRA"}
    assert re.fullmatch("[0-9a-f]{15}", rows[0][6])


def test_geojson_is_what_rfc_7946_asks_for(run: Run) -> None:
    code, out, _ = run("search", "--place", "178,-18", "--bbox", "170,-60,-170,75", "--geojson", "--target", "tiles")
    assert code == 0
    collection = json.loads(out)
    assert collection["type"] == "FeatureCollection"
    assert collection["features"]
    for rank, feature in enumerate(collection["features"], start=1):
        assert set(feature) == {"type", "id", "geometry", "properties"}
        assert (feature["type"], feature["geometry"]["type"]) == ("Feature", "Point")
        lon, lat = feature["geometry"]["coordinates"]
        assert 170 <= abs(lon) <= 180
        assert -60 <= lat <= 75
        assert feature["properties"]["rank"] == rank


def test_search_by_image_and_by_tile(run: Run, home: Path, tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (32, 32, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "patch.png")
    code, out, err = run("search", "--image", str(tmp_path / "patch.png"), "--json", "--target", "tiles")
    assert code == 0, err
    assert [hit["km"] for hit in json.loads(out)["hits"]] == [None] * 10
    tile = json.loads(out)["hits"][0]["id"]
    code, out, err = run("search", "--tile", tile, "--json", "--target", "tiles")
    assert code == 0, err
    assert tile not in {hit["id"] for hit in json.loads(out)["hits"]}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("search --place 12.49,91", "latitude 91 is outside"),
        ("search --place 41.89,112.49", "swapped"),
        ("search --place nan,0", "finite"),
        ("search --place Rome", "expected longitude,latitude"),
        ("search --place 0,0 --bbox 1,2,3", "four numbers west,south,east,north"),
        ("search --place 0,0 --bbox 0,50,10,40", "lies above north"),
        ("search --place 0,0 -k 0", "k is 0"),
        ("search --place 0,0 --country Itlay", "Did you mean Italy"),
        ("search --place 0,0 --view dull", "view 'dull' is unknown"),
        ("search --tile nonsense", "has no tile nonsense"),
        ("search --tile 8075fffffffffff", "no tile"),
        ("search --image absent.tif", "absent.tif"),
        ("search --place 0,0 --index elsewhere", "elsewhere does not exist. Run `samewhere index build --path"),
        ("index verify --path elsewhere", "elsewhere does not exist"),
    ],
)
def test_wrong_input_is_one_line_and_exit_2(run: Run, words: str, message: str) -> None:
    code, out, err = run(*words.split())
    assert (code, out) == (2, "")
    assert err.startswith("samewhere: ")
    assert err.count("\n") == 1
    assert message in err


def test_the_encoders_of_another_checkpoint_are_refused(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("indexer.search.load_encoder", lambda name, part: StandInPair(name, "b" * 64))
    code, out, err = run("search", "--place", "0,0", "--checkpoint", "other")
    assert (code, out) == (2, "")
    assert re.search(
        "built by the checkpoint stand-in .*, not by other .*rebuild the index: `samewhere index build`", err
    )


@pytest.mark.parametrize(
    "words",
    [
        "search",
        "search --place 0,0 --tile 8075fffffffffff",
        "search --place 0,0 --json --geojson",
        "search --plaice 0,0",
    ],
)
def test_wrong_usage_is_exit_2(run: Run, words: str) -> None:
    code, out, err = run(*words.split())
    assert (code, out) == (2, "")
    assert "Traceback" not in err


def test_build_status_verify_and_damage(run: Run, tmp_path: Path) -> None:
    at = ("--path", str(tmp_path / "world"))
    code, out, _ = run("index", "status", *at, "--json")
    assert (code, json.loads(out)["state"]) == (1, "missing")
    small = ("--cell-resolution", "2", "--tile-resolution", "0")
    code, out, err = run("index", "build", *at, *small, "--checkpoint", "mine", "--json")
    assert code == 0
    built = json.loads(out)
    assert built["checkpoint"]["name"] == "mine"
    assert "rows" in err
    code, out, _ = run("index", "status", *at)
    assert code == 0
    assert f"{built['counts']['cells']:,} cells" in out
    code, out, _ = run("index", "verify", *at, "--json")
    assert (code, json.loads(out)["damage"]) == (0, [])
    file = current_snapshot(tmp_path / "world") / "tiles.faiss"
    data = bytearray(file.read_bytes())
    data[-1] ^= 128
    file.write_bytes(data)
    code, out, _ = run("index", "verify", *at)
    assert (code, out.count(str(file))) == (1, 1)


def test_ctrl_c_says_how_to_go_on(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("indexer.build_index", interrupted)
    code, _, err = run("index", "build", "--path", str(tmp_path / "world"))
    assert code == 130
    assert f"`samewhere index resume --path {tmp_path / 'world'}` goes on" in err
    assert "Traceback" not in err


@pytest.mark.parametrize(
    "error",
    [
        MemoryError("Unable to allocate 7.45 GiB for an array"),
        RuntimeError("[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate memory: you"),
        RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB."),
    ],
)
def test_no_memory_is_one_line_and_exit_2(run: Run, monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    def fail(**_: object) -> None:
        raise error

    monkeypatch.setattr(cli, "app", fail)
    code, out, err = run("index", "build")
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert err.startswith(f"samewhere: There is not enough memory ({error}).")


def test_a_mistake_of_the_program_is_not_taken_for_lack_of_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(**_: object) -> None:
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

    monkeypatch.setattr(cli, "app", fail)
    with pytest.raises(RuntimeError, match="mat1"):
        cli.main()


@pytest.mark.parametrize("words", ["search", "index build", "index status", "index verify"])
def test_every_command_has_help_with_an_example(run: Run, words: str) -> None:
    code, out, _ = run(*words.split(), "--help")
    assert code == 0
    assert f"Example: samewhere {words}" in " ".join(out.split())


def test_an_index_in_milvus(run: Run, home: Path, tmp_path: Path) -> None:
    address = f"milvus://{tmp_path}/world.db"
    code, out, _ = run("index", "status", "--path", address)
    assert (code, "does not exist" in out) == (1, True)
    code, out, _ = run("index", "push", address)
    assert (code, out) == (0, f"{address}: there.\n")
    counts = SearchIndex.open(home / "index").manifest.counts
    code, out, _ = run("index", "status", "--path", address, "--json")
    status = json.loads(out)
    assert (code, status["state"], status["manifest"]["counts"]) == (0, "ready", counts)
    code, out, _ = run("index", "status", "--path", address)
    assert (code, f"{counts['cells']:,} cells, {counts['tiles']:,} tiles" in out) == (0, True)
    words = ["search", "--place", "12.49,41.89", "--country", "ITA", "--json"]
    asked = [run(*words, *more) for more in (["--index", address, "--explain"], [])]
    assert asked[0][:2] == asked[1][:2]
    assert "Milvus" in asked[0][2]
    code, _, err = run("search", "--place", "0,0", "--index", f"milvus://{tmp_path}/none.db")
    assert (code, err.partition(". ")[0]) == (2, f"samewhere: milvus://{tmp_path}/none.db does not exist")


def test_building_writes_the_same_rows_to_milvus(run: Run, tmp_path: Path) -> None:
    words = ["index", "build", "--path", str(tmp_path / "w"), "--cell-resolution", "1", "--tile-resolution", "0"]
    code, out, err = run(*words, "--store", "milvus", "--uri", str(tmp_path / "w.db"))
    assert code == 0
    assert f"milvus://{tmp_path}/w.db: there." in err and "ready" in out
    there, here = SearchIndex.open(f"milvus://{tmp_path}/w.db"), SearchIndex.open(tmp_path / "w")
    assert there.search(Query.place(12, 41), k=50) == here.search(Query.place(12, 41), k=50)
    there.close()
    for wrong in (["--store", "milvus"], ["--uri", "x.db"]):
        code, _, err = run(*words, *wrong)
        assert (code, "go together" in err) == (2, True)
    code, _, err = run(*words, "--store", "milvus", "--uri", "https://root:secret@host")
    assert (code, "SAMEWHERE_MILVUS_TOKEN" in err, "secret" in err) == (2, True, False)


def test_help_in_a_process_of_its_own_imports_nothing_heavy() -> None:
    script = (
        "import sys; sys.argv = ['samewhere', '--help']; from app import cli\n"
        "try: cli.main()\n"
        "finally: print(sorted({'torch', 'faiss', 'pyarrow', 'duckdb', 'streamlit'} & set(sys.modules)))"
    )
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    assert done.stdout.rstrip().endswith("[]")


def test_a_wrong_place_in_a_process_of_its_own() -> None:
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "app.cli", "search", "--place", "0,99"]
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert (done.returncode, done.stdout) == (2, "")
    assert re.fullmatch(r"samewhere: place: .*latitude 99 .*\n", done.stderr)


def test_an_index_of_a_country_and_of_a_box(run: Run, tmp_path: Path) -> None:
    small = ["--cell-resolution", "3", "--tile-resolution", "2", "--path"]
    code, _, _ = run("index", "build", *small, str(tmp_path / "two"), "--country", "Chile", "--country", "FJI")
    table = SearchIndex.open(tmp_path / "two", pair=StandInPair("blue-marble-l40")).cells()
    every = land_cells(3)
    there = every[np.isin(atlas.country_of(cell_lonlat(every)), ["CHL", "FJI"])]
    assert code == 0 and set(table["id"].to_pylist()) == set(there.tolist())
    assert run("index", "build", *small, str(tmp_path / "two"), "--country", "FJI", "--country", "CHL")[0] == 0
    assert current_snapshot(tmp_path / "two").name == "snap-00001"  # the same countries in another order: nothing to do
    code, _, _ = run("index", "build", *small, str(tmp_path / "box"), "--country", "CHL", "--bbox", "-75,-40,-60,-30")
    found = SearchIndex.open(tmp_path / "box", pair=StandInPair("blue-marble-l40")).cells()["id"].to_pylist()
    inside = cell_lonlat(there)[:, 1]
    assert code == 0 and set(found) == set(there[(inside >= -40) & (inside <= -30)].tolist())
    code, _, err = run("index", "build", *small, str(tmp_path / "no"), "--country", "Atlantis")
    assert code == 2 and "no country 'Atlantis'" in err and not (tmp_path / "no").exists()


def test_tables_in_a_pipe_cut_no_id(run: Run, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COLUMNS")
    index = SearchIndex.open(home / "index", pair=StandInPair())
    hits = index.search(Query.place(12.49, 41.89), target="tiles")
    _, out, _ = run("search", "--place", "12.49,41.89", "--target", "tiles")
    assert [line.split()[-1] for line in out.splitlines() if line.strip()[:1].isdigit()] == [hit.id for hit in hits]
    assert all("blue-marble" in line for line in out.splitlines() if line.strip()[:1].isdigit())
