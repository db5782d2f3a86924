"""``samewhere data``: from a folder to a dataset and a map, exit codes, and what is wrong in a sentence."""

import csv
import io
import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from app import cli
from data.catalogue import Catalogue
from data.geo import great_circle_km
from tests.model.folders import make_folder

SHARED = Path(__file__).parents[3] / "shared" / "s2"


@pytest.fixture
def run(monkeypatch, capsys, tmp_path):
    monkeypatch.setenv("SAMEWHERE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("COLUMNS", "120")

    def run(*words):
        monkeypatch.setattr(sys, "argv", ["samewhere", "data", *map(str, words)])
        with pytest.raises(SystemExit) as end:
            cli.main()
        said = capsys.readouterr()
        return int(end.value.code or 0), said.out, said.err

    return run


def test_a_folder_becomes_a_dataset_and_a_map(run, tmp_path):
    folder = make_folder(tmp_path / "patches", 12)
    code, out, _ = run("add", folder, "--name", "mine")
    assert (code, out) == (0, "mine: 12 read, 12 of them new; 12 patches now.\n")
    code, out, _ = run("add", folder, "--name", "mine")
    assert out == "mine: 12 read, 0 of them new; 12 patches now.\n"
    assert json.loads(run("ls", "--json")[1])[0]["count"] == 12
    rows = json.loads(run("ls", "mine", "--bbox=-180,-90,180,0", "--json")[1])
    with (folder / "index.csv").open() as file:
        south = {row["fn"] for row in csv.DictReader(file) if float(row["lat"]) <= 0}
    assert {Path(row["address"]).name for row in rows} == south
    assert json.loads(run("describe", "mine", "--json")[1])["count"] == 12
    assert "count                  12" in run("describe", "mine")[1]
    picture = tmp_path / "map.png"
    assert run("map", "mine", "--out", picture)[0] == 0
    pixels = np.asarray(Image.open(io.BytesIO(picture.read_bytes())).convert("RGB")).astype(int)
    code, _, err = run("map", "mine", "--out", tmp_path / "no-such-folder" / "map.png")
    assert code == 2 and "No such file or directory" in err and len(err.strip().splitlines()) == 1
    yellow = (abs(pixels - (255, 204, 51)) < 12).all(axis=2)
    assert yellow.sum() > 12 * 20  # a disc for each


def test_failures_are_listed_and_the_exit_code_is_1(run, tmp_path):
    folder = make_folder(tmp_path / "patches", 6)
    victim = next(folder.rglob("patch_3.tif"))
    victim.write_bytes(victim.read_bytes()[:11_000])
    code, out, err = run("add", folder, "--name", "mine")
    assert code == 1
    assert "5 read, 5 of them new" in out
    assert "patch_3.tif" in err and "damaged or cut short" in err
    report = json.loads((tmp_path / "home" / "data" / "mine" / "report.json").read_text())
    assert len(report["failed"]) == 1


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["add", "nowhere", "--name", "x"], "there is no such file or folder"),
        (["add", ".", "--name", "a/b"], "cannot be a dataset's name"),
        (["describe", "x"], "There is no dataset at"),
        (["map", "x"], "There is no dataset at"),
        (["ls", "x"], "samewhere data add"),
    ],
)
def test_what_is_wrong_is_one_sentence(run, words, message):
    code, _, err = run(*words)
    assert code == 2 and message in err and len(err.strip().splitlines()) == 1


@pytest.mark.shared
@pytest.mark.skipif(not SHARED.is_dir(), reason="needs the real Sentinel-2 patches beside the checkout")
@pytest.mark.parametrize("with_index", [True, False])
def test_real_patches_lie_where_their_index_says(run, tmp_path, with_index):
    folder = SHARED
    if not with_index:  # then the place comes from the georeference alone, and the index is an oracle
        folder = tmp_path / "tiffs"
        shutil.copytree(SHARED, folder, ignore=shutil.ignore_patterns("index.csv"))
    assert run("add", folder, "--name", "s2-sample")[0] == 0
    table = Catalogue.open("s2-sample").query()
    places = {row["address"]: (row["lon"], row["lat"]) for row in table.to_pylist()}
    with (SHARED / "index.csv").open() as file:
        for row in csv.DictReader(file):
            assert great_circle_km(places[row["fn"]], (float(row["lon"]), float(row["lat"]))) < 0.1
    assert len(places) == 10
    assert run("map", "s2-sample", "--out", tmp_path / "map.png")[0] == 0
