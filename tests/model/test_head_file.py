"""Heads on disk: what is read back predicts the same; what is not one's own, or not whole, is refused."""

import hashlib
import json

import numpy as np
import pytest
from safetensors.numpy import load, save

from data.errors import HeadError
from model import mlp_head
from model.head_file import Saved, head_names, heads_path, load_head, save_head
from model.heads import fit_head
from model.validate import cross_validate

OWN = {"checkpoint": "mine", "fingerprint": "a" * 64}


def data(kind):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(60, 5)).astype(np.float32)
    y = x[:, 0].astype(float)
    return x, np.where(y > 0, "dry", "wet") if kind == "classification" else y


def make(method, kind, name="soil"):
    x, y = data(kind)
    lonlat = np.arange(120.0).reshape(60, 2) / 2
    fold = np.arange(60) % 2
    check = cross_validate(x, y, lonlat, fold, heads=["knn"], kind=kind, split="random")["knn"]
    return Saved(name, "Soil", "g/kg", fit_head(x, y, head=method, kind=kind), (check,), {"features": []})


@pytest.fixture(autouse=True)
def surroundings(tmp_path, monkeypatch):
    monkeypatch.setenv("SAMEWHERE_HOME", str(tmp_path))
    monkeypatch.setattr(mlp_head, "EPOCHS", 2)


@pytest.mark.parametrize("kind", ["regression", "classification"])
@pytest.mark.parametrize("method", ["ridge", "knn", "mlp"])
def test_what_is_read_predicts_what_was_written(method, kind):
    saved = make(method, kind)
    path = save_head(saved, **OWN)
    assert path == heads_path("a" * 64) / "soil.safetensors"
    assert head_names("a" * 64) == ["soil"]
    read = load_head("soil", **OWN)
    fresh = np.random.default_rng(1).normal(size=(40, 5)).astype(np.float32)
    before, after = saved.head.estimate(fresh), read.head.estimate(fresh)
    for name, value in vars(before).items():
        if value is None:
            assert getattr(after, name) is None
        else:
            np.testing.assert_array_equal(getattr(after, name), value)
    np.testing.assert_array_equal(read.head.predict(fresh), saved.head.predict(fresh))
    assert (read.title, read.unit, read.head.facts) == ("Soil", "g/kg", saved.head.facts)
    np.testing.assert_array_equal(read.checks[0].truth, saved.checks[0].truth)
    assert read.checks[0].coverage == saved.checks[0].coverage


def test_whole_numbers_stay_whole_numbers():
    x, y = data("regression")
    saved = Saved("n", "n", "", fit_head(x, (y > 0) + 3, head="knn", kind="classification"), (), {})
    save_head(saved, **OWN)
    assert load_head("n", **OWN).head.classes == (3, 4)


def test_the_head_of_another_checkpoint_is_refused_by_name_and_by_file():
    path = save_head(make("ridge", "regression"), **OWN)
    for name in ("soil", str(path)):
        with pytest.raises(HeadError, match="embedding of the checkpoint mine, which is not the other in use"):
            load_head(name, checkpoint="other", fingerprint="b" * 64)


def test_an_absent_head_lists_those_there_are():
    save_head(make("ridge", "regression"), **OWN)
    with pytest.raises(HeadError, match=r"no fitted variable 'sand' for mine; there is soil"):
        load_head("sand", **OWN)


@pytest.mark.parametrize("name", ["", "../soil", "a/b", ".hidden", "x" * 65])
def test_a_name_cannot_leave_the_folder(name):
    with pytest.raises(HeadError, match="cannot be a variable's name"):
        load_head(name, **OWN)


def spoil(path, *, card=None, tensors=None):
    """Change a saved head as an attacker could: the hash is made to fit."""
    beside = path.with_suffix(".json")
    content = json.loads(beside.read_text())
    if tensors:
        arrays = load(path.read_bytes())
        tensors(arrays)
        path.write_bytes(save(arrays))
        content["sha256"] = hashlib.sha256(path.read_bytes()).hexdigest()
    if card:
        card(content)
    beside.write_text(json.dumps(content))


@pytest.mark.parametrize(
    "change",
    [
        {"card": lambda c: c.update(format=9)},
        {"card": lambda c: c.update(classes=["a", "b"])},
        {"card": lambda c: c.update(method="pickle")},
        {"card": lambda c: c.update(kind="clustering")},
        {"card": lambda c: c.update(core={"k": 10**9, "by_distance": True})},
        {"card": lambda c: c.update(core={"k": 0, "by_distance": True})},
        {"card": lambda c: c.update(core=None)},
        {"card": lambda c: c.update(checks=[{"split": "random"}])},
        {"card": lambda c: c.update(checkpoint=7)},
        {"card": lambda c: c.pop("limit")},
        {"card": lambda c: c.update(about=[1])},
        {"card": lambda c: c.update(about={"features": ["a"]})},
        {"card": lambda c: c.update(about={"features": ["a"], "feature_mean": [0], "feature_spread": [0]})},
        {"card": lambda c: c.update(about={"features": [["a"]], "feature_mean": [0], "feature_spread": [1]})},
        {"card": lambda c: c.update(limit=float("nan"))},
        {"card": lambda c: c.update(name="../../evil")},
        {"tensors": lambda t: t.update(places=t["places"][:0])},
        {"tensors": lambda t: t.pop("places")},
        {"tensors": lambda t: t.update(places=t["places"][:, :3].astype(np.float64))},
        {"tensors": lambda t: t.update({"core.targets": t["core.targets"][:5]})},
        {"tensors": lambda t: t.update({"core.targets": np.full(60, np.nan)})},
        {"tensors": lambda t: t.update({"calibration.errors": t["calibration.errors"][:5]})},
    ],
)
def test_a_hostile_file_is_a_sentence(change):
    path = save_head(make("knn", "regression"), **OWN)
    spoil(path, **change)
    with pytest.raises(HeadError):
        load_head("soil", **OWN)


def test_a_class_number_beyond_the_classes_is_refused():
    path = save_head(make("knn", "classification"), **OWN)
    spoil(path, tensors=lambda t: t.update({"core.targets": np.full(60, 7.0)}))
    with pytest.raises(HeadError, match="none of the classes"):
        load_head("soil", **OWN)


def test_a_flipped_byte_and_a_lost_card_are_told():
    path = save_head(make("ridge", "regression"), **OWN)
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(HeadError, match="not those that the card beside them describes"):
        load_head("soil", **OWN)
    path.with_suffix(".json").write_text("[" * 100_000)
    with pytest.raises(HeadError, match="card beside the head cannot be read"):
        load_head("soil", **OWN)
    path.with_suffix(".json").unlink()
    with pytest.raises(HeadError, match="card beside the head cannot be read"):
        load_head("soil", **OWN)
