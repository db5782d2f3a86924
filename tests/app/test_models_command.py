"""``samewhere models``: what it prints, what it writes, and its exit codes."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import huggingface_hub.constants
import numpy as np
import pytest
import torch

from app import cli
from model import load
from model.checkpoint import save
from model.satclip import SatCLIPConfig, SatCLIPNetwork

Run = Callable[..., tuple[int, str, str]]
VIT = "microsoft/SatCLIP-ViT16-L40"


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Run:
    """Run the command line in this process, in an empty home, without a network."""
    monkeypatch.setenv("SAMEWHERE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "cache"))

    def run(*words: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["samewhere", *words])
        with pytest.raises(SystemExit) as end:
            cli.main()
        said = capsys.readouterr()
        return int(end.value.code or 0), said.out, said.err

    return run


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """A small official-format file in the home's folder for files fetched by hand."""
    torch.manual_seed(0)
    config = SatCLIPConfig(
        embed_dim=8, image_resolution=64, vision_layers=1, vision_width=64, vision_patch_size=32, capacity=16
    )
    path = tmp_path / "home" / "models" / "small.ckpt"
    save(SatCLIPNetwork(config), path, card={})
    return path


def test_list(run: Run, small: Path) -> None:
    code, out, _ = run("models", "list")
    assert code == 0
    for words in ("blue-marble-l40 shipped", f"{VIT} not here", "small.ckpt by hand"):
        assert words in " ".join(out.split())
    code, out, _ = run("models", "list", "--json")
    rows = {row["name"]: row for row in json.loads(out)}
    assert code == 0
    assert len(rows) == 8
    assert (rows[VIT]["patch_px"], rows[VIT]["license"], rows[VIT]["path"]) == (224, "MIT", None)
    assert rows["blue-marble-l40"]["bands"] == ["R", "G", "B"]


def test_a_spoiled_file_does_not_spoil_the_list(run: Run, small: Path) -> None:
    (small.parent / "satclip-vit16-l40.ckpt").write_text("Not Found")
    (small.parent / "lonely.safetensors").write_bytes(b"")
    code, out, _ = run("models", "list", "--json")
    rows = {row["name"]: row for row in json.loads(out)}
    assert (code, rows[VIT]["where"], rows["lonely.safetensors"]["where"]) == (0, "damaged", "damaged")
    assert "fetch it again" in rows[VIT]["problem"]
    assert "card beside the weights" in rows["lonely.safetensors"]["problem"]
    for name in (VIT, "lonely.safetensors"):
        code, out, err = run("models", "show", name)
        assert (code, out) == (2, "")
        assert err.startswith("samewhere: ")


def test_show(run: Run, small: Path) -> None:
    import hashlib

    code, out, _ = run("models", "show", VIT)
    assert code == 0
    assert f"samewhere models pull {VIT}" in out
    assert "satclip-vit16-l40.ckpt" in out
    code, out, _ = run("models", "show", "small.ckpt", "--json")
    facts = json.loads(out)
    assert code == 0
    assert facts["sha256"] == hashlib.sha256(small.read_bytes()).hexdigest()
    assert facts["config"]["capacity"] == 16
    code, out, _ = run("models", "show", "blue-marble-l40")
    assert code == 0
    assert "R, G, B" in out
    assert "MIT" in out
    code, out, err = run("models", "show", "nonsense")
    assert (code, out) == (2, "")
    assert "no checkpoint 'nonsense'" in err


def test_pull_without_a_network(run: Run, tmp_path: Path) -> None:
    code, out, err = run("models", "pull", VIT)
    assert (code, out) == (2, "")
    assert err.count("\n") == 1
    assert (
        f"huggingface.co/{VIT} file satclip-vit16-l40.ckpt by hand and put it into {tmp_path / 'home' / 'models'}"
        in err
    )


def test_export_both_ways(run: Run, small: Path, tmp_path: Path) -> None:
    where = np.array([[12.5, 41.9], [180.0, -90.0]])
    expected = load("small").encode_location(where)
    for out in (tmp_path / "out.safetensors", tmp_path / "back.ckpt"):
        code, said, err = run("models", "export", "small", str(out), "--json")
        assert code == 0, err
        assert json.loads(said)["path"] == str(out)
        np.testing.assert_array_equal(load(str(out)).encode_location(where), expected)
    code, _, err = run("models", "export", "small", str(out))
    assert code == 2
    assert "is there already" in err
    assert run("models", "export", "small", str(out), "--force")[0] == 0


def test_export_of_the_pair_that_ships(run: Run, tmp_path: Path) -> None:
    code, _, err = run("models", "export", "blue-marble-l40", str(tmp_path / "x.ckpt"))
    assert code == 2
    assert "several branches" in err
    assert not list(tmp_path.glob("x*"))
    code, _, err = run("models", "export", "blue-marble-l40", str(tmp_path / "x.safetensors"))
    assert code == 0, err
    here, there = load(), load(str(tmp_path / "x.safetensors"))
    np.testing.assert_array_equal(here.encode_location([(1, 2)]), there.encode_location([(1, 2)]))
    pixels = np.random.default_rng(0).integers(0, 255, (2, 3, 32, 32), dtype=np.uint8)
    np.testing.assert_array_equal(here.encode_image(pixels), there.encode_image(pixels))


@pytest.mark.parametrize("words", ["list", "show", "pull", "export"])
def test_every_command_has_help_with_an_example(run: Run, words: str) -> None:
    code, out, _ = run("models", words, "--help")
    assert code == 0
    assert f"Example: samewhere models {words}" in " ".join(out.split())
