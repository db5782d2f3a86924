"""Which engine the options of ``samewhere index`` name, and where it embeds."""

from __future__ import annotations

import functools
import sys
from pathlib import Path

import pytest
import torch
import typer

from app import cli
from app.commands.index_engine import EngineName, make_engine, own_device
from indexer.encoder import load_encoder
from indexer.engines import Inline, Pool, Ray
from tests.indexer.standin import StandInPair


def make(chosen: EngineName, **given: object) -> Inline | Pool | Ray:
    options = {"workers": None, "address": None, "gpus": None, "device": "cpu"} | given
    return make_engine(chosen, StandInPair(), **options)  # type: ignore[arg-type, return-value]


def test_workers_load_the_encoders_where_they_embed() -> None:
    pool, ray = (make(name, workers=3, device="cuda:1") for name in (EngineName.pool, EngineName.ray))
    for engine in (pool, ray):
        assert isinstance(engine, Pool | Ray)
        assert isinstance(engine.load, functools.partial)
        assert engine.load.func is load_encoder
        assert engine.load.args == (StandInPair().name, "pair", "cuda:1")
        assert engine.workers == 3
    assert own_device(EngineName.ray, "cuda:1") == "cpu"
    assert own_device(EngineName.inline, "cuda:1") == "cuda:1"


def test_a_task_of_ray_can_have_a_share_of_a_gpu() -> None:
    engine = make(EngineName.ray, gpus=0.25, address="ray://head:10001", device="cuda")
    assert isinstance(engine, Ray)
    assert (engine.gpus, engine.address) == (0.25, "ray://head:10001")


@pytest.mark.parametrize(
    ("engine", "given", "message"),
    [
        (EngineName.inline, {"workers": 2}, "--workers needs --engine pool or ray"),
        (EngineName.inline, {"gpus": 1.0}, "--gpus needs --engine ray"),
        (EngineName.pool, {"gpus": 1.0}, "--gpus needs --engine ray"),
        (EngineName.pool, {"address": "ray://head:10001"}, "--address needs --engine ray"),
    ],
)
def test_an_option_of_another_engine_is_refused(engine: EngineName, given: dict[str, object], message: str) -> None:
    with pytest.raises(typer.BadParameter, match=message):
        make(engine, **given)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device here")
def test_a_device_that_is_not_there_is_a_sentence_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["samewhere", "index", "build", "--path", str(tmp_path / "world"), "--device", "cuda"]
    monkeypatch.setattr(sys, "argv", words)
    with pytest.raises(SystemExit) as end:
        cli.main()
    assert end.value.code == 2
    assert "There is no cuda device here; choose cpu" in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "world").exists()
