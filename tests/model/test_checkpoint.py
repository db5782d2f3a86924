"""Checkpoints: round trip, and every way in which a file can be wrong."""

import json
import shutil

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file

from data.errors import CheckpointError
from model import load
from model.checkpoint import WEIGHTS, embedded_names, save
from model.pair import BlueMarblePair, PairNetwork
from tests.model.test_networks import SMALL


@pytest.fixture
def checkpoint(tmp_path):
    torch.manual_seed(1)
    network = PairNetwork(SMALL)
    save(network, tmp_path / "mine.safetensors", card={"license": "MIT"})
    return tmp_path / "mine.safetensors", network


def edit_card(path, **fields):
    card = path.with_suffix(".json")
    card.write_text(json.dumps({**json.loads(card.read_text()), **fields}))


def test_round_trip_in_half_precision(checkpoint):
    path, network = checkpoint
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.copy_(parameter.half().float())
    original = BlueMarblePair(network, name="x", fingerprint="", card={})
    loaded = load(str(path))
    points = np.random.default_rng(0).uniform(-80, 80, (9, 2))
    np.testing.assert_allclose(loaded.encode_location(points), original.encode_location(points), atol=1e-6)
    pixels = np.random.default_rng(0).integers(0, 255, (4, 3, 32, 32)).astype(np.uint8)
    np.testing.assert_allclose(loaded.encode_image(pixels), original.encode_image(pixels), atol=1e-3)
    assert sorted(entry.name for entry in path.parent.iterdir()) == ["mine.json", "mine.safetensors"]


def test_a_pair_has_a_name_under_which_it_is_found_again(checkpoint, monkeypatch, tmp_path):
    path, network = checkpoint
    assert load(load(str(path)).name).fingerprint == load(str(path)).fingerprint
    again = tmp_path / "again" / "blue-marble-l40.safetensors"  # as a training with the preset calls it
    save(network, again, card={"name": "blue-marble-l40"})
    assert load(str(again)).name == str(again.resolve())
    assert load("blue-marble-l40").name == "blue-marble-l40"
    monkeypatch.setenv("SAMEWHERE_HOME", str(tmp_path / "home"))
    save(network, tmp_path / "home" / "models" / "mine.safetensors", card={})
    assert load("mine").name == load(str(tmp_path / "home" / "models" / "mine.safetensors")).name == "mine"


def test_what_cannot_be_written_is_one_sentence(checkpoint, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(CheckpointError, match=r"^Writing .*new\.safetensors failed: "):
        save(checkpoint[1], tmp_path / "file" / "new.safetensors", card={})


def test_location_part_alone(checkpoint):
    path, _ = checkpoint
    part, whole = load(str(path), part="location"), load(str(path))
    assert part.network.image is None
    assert part.fingerprint == whole.fingerprint
    np.testing.assert_array_equal(part.encode_location([(1, 2)]), whole.encode_location([(1, 2)]))


def test_fingerprint_covers_weights_and_configuration(checkpoint):
    path, network = checkpoint
    before = load(str(path)).fingerprint
    config = json.loads(path.with_suffix(".json").read_text())["config"]
    config["branches"]["smooth"]["weight"] = 0.5
    edit_card(path, config=config)
    assert load(str(path)).fingerprint != before
    with torch.no_grad():
        network.logit_scale["smooth"] += 1
    save(network, path, card={})
    assert load(str(path)).fingerprint != before


def test_unknown_names_list_the_known():
    with pytest.raises(CheckpointError, match=r"no checkpoint 'blue-marbel'.*blue-marble-l40"):
        load("blue-marbel")
    with pytest.raises(CheckpointError, match=r"no checkpoint '\.\./blue"):
        load("../blue")
    with pytest.raises(CheckpointError, match=r'choose "pair" or "location"'):
        load(part="image")


def test_damaged_weights(checkpoint):
    path, _ = checkpoint
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(CheckpointError, match="not those that the card"):
        load(str(path))


@pytest.mark.parametrize("content", ["", "{", None])
def test_damaged_card(checkpoint, content):
    path, _ = checkpoint
    card = path.with_suffix(".json")
    card.unlink() if content is None else card.write_text(content)
    with pytest.raises(CheckpointError, match="card beside the weights cannot be read"):
        load(str(path))


def test_configuration_of_another_shape(checkpoint):
    path, _ = checkpoint
    config = json.loads(path.with_suffix(".json").read_text())["config"]
    config["branches"]["smooth"]["dim"] = 9
    edit_card(path, config=config)
    with pytest.raises(CheckpointError, match=r"size mismatch|copying a param"):
        load(str(path))


def test_missing_and_unknown_keys_are_listed(checkpoint):
    import hashlib

    path, _ = checkpoint
    tensors = load_file(path)
    tensors["surprise"] = tensors.pop("logit_scale.smooth")
    save_file(tensors, path)
    edit_card(path, sha256=hashlib.sha256(path.read_bytes()).hexdigest())
    with pytest.raises(CheckpointError, match=r"missing weights: logit_scale.smooth; unknown weights: surprise"):
        load(str(path))


def test_a_pickle_is_not_opened(tmp_path):
    torch.save({"a": 1}, tmp_path / "evil.safetensors")
    shutil.copy(WEIGHTS / "blue-marble-l40.json", tmp_path / "evil.json")
    with pytest.raises(CheckpointError, match="not those that the card"):
        load(str(tmp_path / "evil.safetensors"))


def test_what_ships():
    assert "blue-marble-l40" in embedded_names()
    assert sum(path.stat().st_size for path in WEIGHTS.glob("blue-marble-l40.*")) <= 16_000_000
    pair = load()
    for field in ("bands", "normalisation", "gsd_m", "training_data", "seed", "command", "metrics", "license"):
        assert pair.card[field], field
    assert pair.dim == 256
