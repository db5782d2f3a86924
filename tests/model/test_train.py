"""Training: a real run learns, and a killed one ends where an unbroken one does."""

import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from torch.utils.data import Dataset

from data.errors import CheckpointError
from model import load
from model.augment import AugmentConfig
from model.batches import EpochBatches, ResumableLoader
from model.contrastive import recall
from model.image import ImageConfig
from model.location import BranchConfig
from model.presets import PRESETS
from model.run import RunOptions
from model.train import PairModule, make_card, train

TINY = replace(
    PRESETS["blue-marble"],
    name="tiny",
    pair=replace(
        PRESETS["blue-marble"].pair,
        branches={
            "smooth": BranchConfig(
                degrees=6, hidden=32, layers=2, w0=5.0, dim=16, view="smooth", weight=0.8, trunk=1, orders=3
            ),
            "sharp": BranchConfig(degrees=10, hidden=32, layers=2, w0=5.0, dim=16, view="sharp", weight=0.6),
        },
        trunks=(ImageConfig(widths=(8, 8, 16, 16), squeeze=16, features=32),) * 2,
    ),
    augments=(AugmentConfig(turn_deg=20.0, zoom=0.7, paint=0.3), AugmentConfig()),
    read_out=0.5,
    places=1200,
    validation_places=200,
    batch=100,
    epochs=3,
)

KILLED_IN_THE_LAST_EPOCH = """
import os, signal, sys
from pathlib import Path
from model import train
from tests.model.test_train import TINY

start = train.PairModule.on_train_epoch_start

def kill(module):
    if module.current_epoch == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    start(module)

train.PairModule.on_train_epoch_start = kill
train.train(TINY, Path(sys.argv[1]))
"""


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory):
    folder = tmp_path_factory.mktemp("unbroken")
    return train(TINY, folder)


def test_a_run_learns_and_leaves_its_papers(unbroken):
    table = pd.read_csv(unbroken.parent / "metrics.csv")
    assert table["epoch"].tolist() == [0, 1, 2]
    assert table["loss_sharp"].iloc[-1] < table["loss_sharp"].iloc[0]
    assert table["recall10_sharp"].iloc[-1] > 3 * 10 / 200 / 2  # chance is 10 of 200
    assert (unbroken.parent / "curves.png").read_bytes()[:4] == b"\x89PNG"
    pair = load(str(unbroken))
    assert pair.card["seed"] == TINY.seed
    assert pair.card["recipe"]["places"] == 1200
    assert np.isfinite(pair.encode_location([(12, 41)])).all()


def test_a_killed_run_ends_like_an_unbroken_one(unbroken, tmp_path):
    process = subprocess.run(
        [sys.executable, "-c", KILLED_IN_THE_LAST_EPOCH, str(tmp_path)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd=Path(__file__).parents[2],
        check=False,
    )
    assert process.returncode == -signal.SIGKILL
    assert (tmp_path / "last.ckpt").exists() and not (tmp_path / "tiny.safetensors").exists()
    assert train(TINY, tmp_path).read_bytes() == unbroken.read_bytes()
    assert pd.read_csv(tmp_path / "metrics.csv")["epoch"].tolist() == [0, 1, 2]  # the curve is whole


def test_a_run_broken_off_within_an_epoch_ends_like_an_unbroken_one(unbroken, tmp_path, monkeypatch):
    encode = PairModule.encode

    def stop(module, batch, index):
        if module.current_epoch == 1 and index == 6:
            raise InterruptedError
        return encode(module, batch, index)

    options = RunOptions(save_every_steps=4)
    with monkeypatch.context() as patch:
        patch.setattr(PairModule, "encode", stop)
        with pytest.raises(InterruptedError):
            train(TINY, tmp_path, options=options)
    assert train(TINY, tmp_path, options=options).read_bytes() == unbroken.read_bytes()
    assert (tmp_path / "metrics.csv").read_text() == (unbroken.parent / "metrics.csv").read_text()


def test_another_recipe_is_not_resumed(unbroken):
    with pytest.raises(CheckpointError, match="another recipe"):
        train(replace(TINY, batch=50), unbroken.parent)


def test_batches_depend_on_seed_and_epoch_alone():
    a, b = EpochBatches(95, batch=10, seed=1), EpochBatches(95, batch=10, seed=1)
    first = list(a)
    assert first == list(b) and len(first) == 9
    assert len({row for batch in first for row in batch}) == 90
    b.set_epoch(1)
    assert list(b) != first


def test_processes_share_the_batches_and_chunks_split_them():
    whole = list(EpochBatches(50, batch=12, seed=1))
    shares = [EpochBatches(50, batch=12, seed=1, chunk=4, rank=rank, world=2) for rank in (0, 1)]
    assert [len(share) for share in shares] == [8, 8] and shares[0].chunks == 2
    first, second = ([*share] for share in shares)
    assert [len(chunk) for chunk in first] == [4, 2] * 4
    for number, batch in enumerate(whole):
        parts = [chunk for part in (first, second) for chunk in part[2 * number : 2 * number + 2]]
        assert [row for chunk in parts for row in chunk] == batch


def test_batches_go_on_behind_those_that_were_seen():
    unbroken, broken = (EpochBatches(50, batch=12, seed=1, chunk=5) for _ in range(2))
    broken.start = 4
    assert list(broken) == list(unbroken)[4:]
    assert list(broken) == list(unbroken)  # the next epoch is whole again


class Epochs(Dataset):
    """Every sample is the epoch in which it is read."""

    epoch = 0

    def __getitem__(self, rows):
        return torch.full((len(rows),), self.epoch)


@pytest.mark.parametrize("workers", [0, 2])
def test_samples_know_their_epoch(workers):
    loader = ResumableLoader(Epochs(), EpochBatches(8, batch=4, seed=0), workers=workers)
    for epoch in range(3):
        loader.batches.set_epoch(epoch)
        assert [batch.tolist() for batch in loader] == [[epoch] * 4] * 2


def test_vectors_that_say_nothing_find_nothing():
    alike, nothing = torch.ones(20, 3), torch.full((20, 3), torch.nan)
    for vectors in (alike, nothing):
        found = recall(vectors, vectors, ks=(1, 10))
        assert found[1] == found[10] == 0
    assert recall(torch.eye(20), torch.eye(20), ks=(1,))[1] == 1


def test_no_atlas_in_training():
    import ast

    import model.train

    folder = Path(model.train.__file__).parent
    for name in (
        "train",
        "contrastive",
        "run",
        "augment",
        "cutting",
        "looks",
        "loss",
        "pair",
        "presets",
        "location",
        "image",
    ):
        tree = ast.parse((folder / f"{name}.py").read_text())
        imported = {alias.name for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) for alias in node.names}
        assert "atlas" not in imported, name


def test_card_names_its_command():
    card = make_card(TINY, "samewhere train")
    assert card["command"] == "samewhere train"
    assert "10° blocks" in card["held_out"]
