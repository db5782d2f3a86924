"""``samewhere train``: from a recipe's file to a checkpoint, and what is wrong in a sentence."""

import re
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from app.cli import app
from data.catalogue import dataset_path
from data.dataset_patches import open_patches
from data.errors import CheckpointError, PatchError
from data.ingest import ingest
from data.sources import open_source
from model.config_files import as_yaml
from tests.model.folders import make_folder, tiny


@pytest.fixture
def recipe(tmp_path):
    path = tmp_path / "recipe.yaml"
    path.write_text(as_yaml(tiny(epochs=1)) + "run: {accelerator: cpu, precision: fp32}\n")
    return str(path)


def run(*arguments):
    return CliRunner().invoke(app, ["train", *map(str, arguments)], catch_exceptions=True)


def test_a_recipe_and_a_folder_make_a_checkpoint(recipe, tmp_path):
    data, out = make_folder(tmp_path / "data", 40), tmp_path / "runs" / "x"
    result = run("--config", recipe, "--data", data, "--out", out, "--set", "batch=8", "--seed", 4)
    assert result.exit_code == 0, result.output
    assert f"Wrote {out / 'tiny.ckpt'}" in result.output
    assert {"tiny.ckpt", "tiny.safetensors", "tiny.json", "config.yaml"} <= {path.name for path in out.iterdir()}
    assert "batch: 8\n" in (out / "config.yaml").read_text() and "seed: 4\n" in (out / "config.yaml").read_text()


def test_a_dataset_trains_like_the_folder_it_came_from(recipe, tmp_path, monkeypatch):
    monkeypatch.setenv("SAMEWHERE_HOME", str(tmp_path / "home"))
    folder = make_folder(tmp_path / "data", 40)
    for name, copy in (("left", False), ("kept", True)):
        source = open_source(folder)
        ingest(source, dataset_path(name), keep_pixels=copy, root=folder)
    weights = []
    for name in ("left", "kept"):
        out = tmp_path / "runs" / name
        result = run("--config", recipe, "--data", name, "--out", out, "--set", "run.workers=2")
        assert result.exit_code == 0, result.output
        weights.append((out / "tiny.ckpt").read_bytes())
    assert weights[0] == weights[1]
    patches = open_patches("kept")
    of_folder = open_patches(folder)
    row = of_folder.names.index(Path(patches.rows[patches.names[3]]["address"]).name)
    assert np.array_equal(patches.read(3, 24), of_folder.read(row, 24))
    assert np.allclose(patches.lonlat[3], of_folder.lonlat[row])


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        (["--preset", "red-marble"], CheckpointError, "no preset 'red-marble'; choose one of blue-marble"),
        (["--set", "batch=8"], CheckpointError, "give --config"),
        (["--config", "RECIPE"], CheckpointError, "needs --data"),
        (["--config", "RECIPE", "--preset", "blue-marble"], CheckpointError, "two recipes"),
        (["--config", "RECIPE", "--places", "2000"], CheckpointError, "--places is the Blue Marble's"),
        (["--config", "RECIPE", "--data", "nowhere"], PatchError, r"index\.csv: cannot be read"),
        (["--config", "RECIPE", "--set", "bach=3"], CheckpointError, "key bach: there is no such key"),
    ],
)
def test_what_is_wrong_is_said(recipe, arguments, error, words):
    result = run(*(recipe if part == "RECIPE" else part for part in arguments))
    assert isinstance(result.exception, error)
    with pytest.raises(error, match=words):
        raise result.exception


def test_a_baseline_trains_and_is_found_by_its_name(tmp_path, monkeypatch):
    """Trained by the command, loaded by name, and the same bytes a second time elsewhere."""
    from model.baselines import load_baseline

    monkeypatch.setenv("SAMEWHERE_HOME", str(tmp_path))
    options = ["--baseline", "gps2vec-tag", "--places", "1000", "--epochs", "1"]
    result = run(*options)
    assert result.exit_code == 0, result.output
    first = tmp_path / "baselines" / "gps2vec-tag.safetensors"
    assert str(first) in result.output
    encoder = load_baseline("gps2vec-tag")
    rows = encoder.encode_location([(25, -2), (10, 50)])
    assert encoder.dim == 200
    np.testing.assert_allclose(rows.sum(axis=1), encoder.covers([(25, -2), (10, 50)]), atol=1e-4)
    again = tmp_path / "again.safetensors"
    assert run(*options, "--out", again).exit_code == 0
    assert again.read_bytes() == first.read_bytes()


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--baseline", "csp"], "no baseline 'csp'; choose one of"),
        (["--baseline", "raw"], "raw is not trained; those that are: csp-inat"),
        (["--baseline", "csp-inat", "--preset", "blue-marble"], "recipe of its own; leave --preset out"),
        (["--baseline", "csp-inat", "--out", "folder"], "ends in .safetensors"),
    ],
)
def test_wrong_baselines(options, sentence):
    result = run(*options)
    assert isinstance(result.exception, CheckpointError)
    assert re.search(sentence, str(result.exception))
