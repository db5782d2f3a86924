"""The registry and the way from the hub to a loaded pair, against a real HTTP server on the loopback device."""

import dataclasses
import hashlib
import os
import subprocess
import sys
from pathlib import Path

import huggingface_hub.constants
import numpy as np
import pytest
import torch

from data.errors import CheckpointError
from model import hub, load
from model.checkpoint import save
from model.satclip import SatCLIPConfig, SatCLIPNetwork
from tests.model.hub_server import Hub
from tests.model.official_files import location_oracle, official

ROOT = Path(__file__).parents[2]
NAME = "microsoft/SatCLIP-ViT16-L10"
FILE = "satclip-vit16-l10.ckpt"
SMALL = SatCLIPConfig(
    embed_dim=8,
    image_resolution=64,
    vision_layers=1,
    vision_width=64,
    vision_patch_size=32,
    capacity=16,
    legendre_polys=4,
)


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    """An empty home, an empty cache, and no way to the real hub."""
    monkeypatch.setenv("SAMEWHERE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    return tmp_path / "home"


@pytest.fixture
def server(monkeypatch):
    """A hub that has one small official file, under a registry that believes small sizes."""
    small = {name: dataclasses.replace(model, size_mb=(0, 200)) for name, model in hub.OFFICIAL.items()}
    for module in ("model.hub", "model.checkpoint"):
        monkeypatch.setattr(f"{module}.OFFICIAL", small)
    made = Hub()
    monkeypatch.setenv("HF_ENDPOINT", made.url)
    made.content[f"{NAME}/{FILE}"] = small_file()
    yield made
    made.close()


def small_file():
    torch.manual_seed(0)
    from model.official import write_official

    return write_official(SatCLIPNetwork(SMALL))


def test_the_six_official_names():
    assert list(hub.OFFICIAL) == [
        f"microsoft/SatCLIP-{trunk}-L{degrees}" for trunk in ("ResNet18", "ResNet50", "ViT16") for degrees in (10, 40)
    ]
    for name, model in hub.OFFICIAL.items():
        assert model.file == name.split("/")[1].lower() + ".ckpt"
        assert model.patch_px == (224 if "ViT" in name else 256)
        assert (model.license, model.degrees) == ("MIT", int(name[-2:]))


def test_load_by_name_downloads_verifies_and_keeps(server, monkeypatch):
    pair = load(NAME)
    content = server.content[f"{NAME}/{FILE}"]
    assert (pair.name, pair.license, pair.dim) == (NAME, "MIT", 8)
    assert pair.card["sha256"] == pair.fingerprint == hashlib.sha256(content).hexdigest()
    assert "S2-100K" in pair.source
    asked = len(server.requests)
    part = load(NAME, part="location")  # from the cache: the network is not asked again
    assert len(server.requests) == asked
    assert part.fingerprint == pair.fingerprint
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    assert load(NAME).encode_location([(1, 2)]).shape == (1, 8)


def test_a_broken_connection_is_taken_up_where_it_broke(server):
    server.content[f"{NAME}/{FILE}"] = np.random.default_rng(0).bytes(30_000_000)
    server.break_after = 25_000_000
    path = hub.pull(NAME)
    assert path.read_bytes() == server.content[f"{NAME}/{FILE}"]
    ranges = [asked for method, _, asked in server.requests if method == "GET"]
    assert ranges[0] is None
    begun = int(ranges[1].removeprefix("bytes=").rstrip("-"))  # huggingface_hub keeps whole chunks of some megabytes
    assert 5_000_000 < begun <= 25_000_000
    assert len(ranges) == 2


def test_a_wrong_hash_is_refused_and_removed(server, tmp_path):
    server.promised = "0" * 64
    with pytest.raises(CheckpointError, match=r"not what the hub promised \(SHA-256 .* removed"):
        load(NAME)
    assert hub.find(NAME) is None
    server.promised = None
    assert load(NAME).dim == 8


def test_a_file_that_rots_in_the_cache(server):
    path = hub.pull(NAME)
    blob = path.resolve()
    data = bytearray(blob.read_bytes())
    data[-1] ^= 1
    blob.write_bytes(data)
    with pytest.raises(CheckpointError, match="not what the hub promised"):
        load(NAME)
    assert load(NAME).dim == 8


def test_a_download_that_is_cut_short(server):
    server.short = 1000
    with pytest.raises(CheckpointError, match=rf"{FILE} was cut short .*models pull {NAME}` again"):
        load(NAME)
    assert hub.find(NAME) is None


def test_a_hub_without_the_file_or_in_trouble(server, home):
    server.content.clear()
    with pytest.raises(CheckpointError, match=rf"The hub has no file {FILE} in {NAME}.*put it into {home / 'models'}"):
        load(NAME)
    server.status = 403
    with pytest.raises(CheckpointError, match=rf"The hub refused {FILE}"):
        load(NAME)


def test_no_network_says_what_to_fetch_and_where_to_put_it(home):
    with pytest.raises(CheckpointError) as refused:
        load("microsoft/SatCLIP-ResNet50-L40")
    text = str(refused.value)
    assert "huggingface.co/microsoft/SatCLIP-ResNet50-L40 file satclip-resnet50-l40.ckpt" in text
    assert str(home / "models") in text
    assert "\n" not in text


def test_offline_by_request(monkeypatch):
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(CheckpointError, match="by hand and put it into"):
        load(NAME)


def test_a_file_put_there_by_hand(home):
    folder = home / "models"
    folder.mkdir(parents=True)
    content = official("moco_resnet18", 10)
    torch.save(content, folder / "satclip-resnet18-l10.ckpt")
    pair = load("microsoft/SatCLIP-ResNet18-L10", dtype="float64", part="location")
    where = np.array([[12.5, 41.9], [-70.6, -33.4], [180.0, -90.0]])
    found = pair.encode_location(where, normalize=False)
    np.testing.assert_allclose(found, location_oracle(content, where), rtol=0, atol=1e-9)
    (folder / "satclip-resnet18-l40.ckpt").write_bytes(b"version https://git-lfs.github.com/spec/v1\n")
    with pytest.raises(
        CheckpointError, match=r"has 0\.000 MB; satclip-resnet18-l40\.ckpt has 40 to 100.*fetch it again"
    ):
        load("microsoft/SatCLIP-ResNet18-L40")


def test_own_files_in_the_home_are_known_by_name(home):
    network = SatCLIPNetwork(SMALL)
    save(network, home / "models" / "mine.safetensors", card={"license": "MIT"})
    save(network, home / "models" / "theirs.ckpt", card={})
    assert [path.name for path in hub.own_files()] == ["mine.safetensors", "theirs.ckpt"]
    for name in ("mine", "mine.safetensors", "theirs", "theirs.ckpt"):
        assert load(name).dim == 8
    with pytest.raises(CheckpointError, match=r"no checkpoint '\.\./models/mine'"):
        load("../models/mine")


def test_pull_takes_official_names_alone():
    with pytest.raises(CheckpointError, match=r"'blue-marble-l40' cannot be pulled; official checkpoints are micro"):
        hub.pull("blue-marble-l40")


def test_the_command_line_pulls_a_file_of_real_size(tmp_path):
    """In a process of its own, with nothing but the environment: HF_ENDPOINT, HF_HOME, SAMEWHERE_HOME."""
    server = Hub()
    torch.save(official("moco_resnet18", 10), tmp_path / "real.ckpt")
    content = (tmp_path / "real.ckpt").read_bytes()
    server.content["microsoft/SatCLIP-ResNet18-L10/satclip-resnet18-l10.ckpt"] = content
    home = {"HF_HOME": str(tmp_path / "hf"), "SAMEWHERE_HOME": str(tmp_path / "home"), "NO_PROXY": "127.0.0.1"}
    environment = os.environ | home | {"HF_ENDPOINT": server.url, "PYTHONPATH": str(ROOT), "TQDM_POSITION": "-1"}
    command = [sys.executable, "-m", "app.cli", "models", "pull", "microsoft/SatCLIP-ResNet18-L10"]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    server.close()
    assert done.returncode == 0, done.stderr
    assert hashlib.sha256(content).hexdigest() in done.stdout
    assert "satclip-resnet18-l10.ckpt" in done.stderr, "no progress bar"
    assert list((tmp_path / "hf").rglob("satclip-resnet18-l10.ckpt"))
    again = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert (again.returncode, again.stdout) == (0, done.stdout)  # the server is gone: the cache answers
