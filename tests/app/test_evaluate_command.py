"""``samewhere evaluate``: which tables a checkpoint gets, and which it cannot have."""

import json

import pytest
import torch
from typer.testing import CliRunner

from app.cli import app
from data.errors import CheckpointError
from model import evaluate
from model.checkpoint import save
from model.evaluate import Likeness, Retrieval
from model.satclip import SatCLIPConfig, SatCLIPNetwork

LIKE = {"both": Likeness(0.5, 2.0, 100.0, 300.0)}


def tables(*words):
    result = CliRunner().invoke(
        app, ["evaluate", "retrieval", "--json", "--baseline", "none", *words], catch_exceptions=False
    )
    assert result.exit_code == 0
    return json.loads(result.stdout), result.stderr


@pytest.fixture(autouse=True)
def quick_likeness(monkeypatch):
    monkeypatch.setattr(evaluate, "evaluate_likeness", lambda pair, baselines: LIKE)


def test_a_satclip_pair_has_no_images_of_the_blue_marble(tmp_path):
    torch.manual_seed(0)
    config = SatCLIPConfig(
        embed_dim=8, image_resolution=64, vision_layers=1, vision_width=64, vision_patch_size=32, capacity=16
    )
    save(SatCLIPNetwork(config), tmp_path / "small.ckpt", card={})
    found, said = tables("--checkpoint", str(tmp_path / "small.ckpt"))
    assert list(found) == ["Places like this, ten best at 500 km or more"]
    assert "the images are the Blue Marble's, which" in said and "small.ckpt cannot see" in said


def test_blocks_that_were_trained_on_cost_only_their_own_table(monkeypatch):
    def trained_on_them(pair):
        raise CheckpointError(f"{pair.name} was trained on the held-out blocks too.")

    monkeypatch.setattr(evaluate, "evaluate_retrieval", lambda pair: {"both": Retrieval(0.5, 0.9, 10.0, 1.0)})
    monkeypatch.setattr(evaluate, "evaluate_blocks", trained_on_them)
    found, said = tables()
    assert [title.split(",")[0] for title in found] == ["Image to place", "Places like this"]
    assert "Without the blocks: blue-marble-l40 was trained" in said


def test_baselines_stand_beside_the_pair_or_are_left_out_aloud(monkeypatch):
    asked = []
    monkeypatch.setattr(evaluate, "evaluate_retrieval", lambda pair: {"both": Retrieval(0.5, 0.9, 10.0, 1.0)})
    monkeypatch.setattr(evaluate, "evaluate_blocks", lambda pair: {"both": Retrieval(0.5, 0.9, 10.0, 1.0)})
    monkeypatch.setattr(evaluate, "evaluate_likeness", lambda pair, baselines: asked.append(baselines) or LIKE)
    monkeypatch.setattr("model.baselines.BASELINES", ("cartesian", "absent"))
    result = CliRunner().invoke(app, ["evaluate", "retrieval"], catch_exceptions=False)
    assert [entry.name for entry in asked[0]] == ["cartesian"] and "Without absent: " in result.stderr
