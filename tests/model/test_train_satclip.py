"""Training on a folder of patches: it learns, resumes within an epoch, and leaves files that load."""

import json
import math
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.ndimage import correlate1d

from data.errors import CheckpointError, PatchError
from data.patch_folder import open_folder
from model import load
from model.folder_data import PatchSet, channels
from model.run import RunOptions
from model.satclip import SatCLIPNetwork
from model.train_satclip import SatCLIPModule, learning_rate_factor, train_satclip
from model.trunks import TRUNKS
from tests.model.folders import NETWORK, TINY, make_folder, tiny

OPTIONS = RunOptions(accelerator="cpu", precision="fp32", save_every_steps=1)

KILLED_WITHIN_AN_EPOCH = """
import os, signal, sys
from pathlib import Path
from model import train_satclip
from tests.model.test_train_satclip import OPTIONS, TINY

start = train_satclip.SatCLIPModule.encode

def kill(module, batch, index):
    if module.current_epoch == 1 and index == 5:  # the second batch's last chunk
        os.kill(os.getpid(), signal.SIGKILL)
    return start(module, batch, index)

train_satclip.SatCLIPModule.encode = kill
train_satclip.train_satclip(TINY, Path(sys.argv[1]), Path(sys.argv[2]), options=OPTIONS)
"""


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = make_folder(tmp_path_factory.mktemp("patches") / "data", 66)
    (folder / "patch_7.tif").write_bytes(b"II*\0" + b"\0" * 20_000)
    return folder


@pytest.fixture(scope="module")
def unbroken(data, tmp_path_factory):
    return train_satclip(TINY, data, tmp_path_factory.mktemp("unbroken"), options=OPTIONS)


def test_a_run_leaves_its_papers_and_files_that_load(unbroken, data):
    folder = unbroken.parent
    table = pd.read_csv(folder / "metrics.csv")
    assert table["epoch"].tolist() == [0, 1]
    assert {"loss_pair", "recall1_random", "recall10_random", "recall10_blocks"} <= set(table)
    assert (folder / "curves.png").read_bytes()[:4] == b"\x89PNG"
    assert pd.read_csv(folder / "skipped.csv")["fn"].tolist() == ["patch_7.tif"]
    assert len(json.loads((folder / "run.json").read_text())["git_commit"]) in (40, 41)
    assert list(folder.glob("logs/tensorboard/*/events*"))
    steps = pd.read_csv(next(folder.glob("logs/csv/*/metrics.csv")))
    assert "recall10_random" in steps
    official, own = load(str(unbroken)), load(str(unbroken.with_suffix(".safetensors")))
    assert own.card["recipe"]["batch"] == 12 and own.card["training_data"].endswith("patches of data")
    places = [(12.5, 41.9), (180, -90)]
    assert np.array_equal(official.encode_location(places), own.encode_location(places))


def test_a_run_killed_within_an_epoch_ends_like_an_unbroken_one(unbroken, data, tmp_path):
    process = subprocess.run(
        [sys.executable, "-c", KILLED_WITHIN_AN_EPOCH, str(data), str(tmp_path)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd=Path(__file__).parents[2],
        check=False,
    )
    assert process.returncode == -signal.SIGKILL
    state = torch.load(tmp_path / "last.ckpt", weights_only=True)
    assert state["loops"]["fit_loop"]["state_dict"]["combined_loader"] == [{"epoch": 1, "done": 3}]
    assert train_satclip(TINY, data, tmp_path, options=OPTIONS).read_bytes() == unbroken.read_bytes()
    assert (tmp_path / "metrics.csv").read_text() == (unbroken.parent / "metrics.csv").read_text()


def test_chunks_change_nothing_but_the_memory(data, tmp_path, in_float64):
    recipe = tiny(network=replace(NETWORK, pe_type="mlp"), epochs=1)  # without dropout, which draws anew in each chunk
    weights = []
    for name, chunk, kept_gb in (("whole", None, 1.0), ("chunks", 4, 1.0), ("read-again", 4, 0.0)):
        options = replace(OPTIONS, keep_pixels_gb=kept_gb)
        path = train_satclip(replace(recipe, chunk=chunk), data, tmp_path / name, options=options)
        weights.append(torch.load(path, weights_only=True)["state_dict"])
    for other in weights[1:]:
        assert max((other[key] - weights[0][key]).abs().max().item() for key in other) < 1e-10
    assert all(torch.equal(weights[1][key], weights[2][key]) for key in weights[1])


def test_it_learns_where_images_tell_places(tmp_path):
    recipe = tiny(epochs=12, batch=48, chunk=None, validation_share=0.0, block_share=0.0, augment=False)
    train_satclip(recipe, make_folder(tmp_path / "data", 96), tmp_path / "run", options=OPTIONS)
    loss = pd.read_csv(tmp_path / "run" / "metrics.csv")["loss_pair"]
    assert loss.iloc[-1] < loss.iloc[0] - 0.15


def test_compilation_is_asked_of_the_image_encoder(data, tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(torch.nn.Module, "compile", lambda module: asked.append(type(module).__name__))
    train_satclip(tiny(epochs=1), data, tmp_path, options=replace(OPTIONS, compile=True))
    assert asked == ["ClipVisionTransformer"]


def test_accumulation_averages_batches(data, tmp_path):
    recipe = tiny(accumulate=2, epochs=1)
    path = train_satclip(recipe, data, tmp_path, options=OPTIONS)
    assert path.exists()
    steps = torch.load(tmp_path / "last.ckpt", weights_only=True)["global_step"]
    assert steps == 2  # three batches: two, and the one that is left at the epoch's end


@pytest.mark.parametrize("layers", ["moco_resnet18", "moco_vit16"])
def test_of_a_frozen_trunk_the_last_layer_learns(layers):
    module = SatCLIPModule(tiny(network=replace(NETWORK, vision_layers=layers), freeze_trunk=True))
    learns = [name for name, parameter in module.visual.named_parameters() if parameter.requires_grad]
    head = "fc" if "resnet" in layers else "head"
    assert learns == [f"{head}.weight", f"{head}.bias"]
    assert not any(layer.training for layer in module.visual.modules())
    assert module.network.location.training


def test_learning_rate():
    recipe = tiny(warmup_steps=4, schedule="cosine")
    factors = [learning_rate_factor(step, 24, recipe) for step in range(25)]
    assert factors[:5] == [0.25, 0.5, 0.75, 1.0, 1.0]
    assert factors[14] == pytest.approx(0.5) and factors[24] == pytest.approx(0)
    assert factors[9] == pytest.approx((1 + math.cos(math.pi / 4)) / 2)
    assert {learning_rate_factor(step, 24, tiny(warmup_steps=0, schedule="constant")) for step in range(30)} == {1.0}


def test_matrices_alone_decay_and_frozen_weights_are_left_out():
    from model.contrastive import parameter_groups

    module = SatCLIPModule(tiny(network=replace(NETWORK, vision_layers="moco_resnet18"), freeze_trunk=True))
    groups = parameter_groups(module.network, weight_decay=0.01)
    shapes = {group["weight_decay"]: sorted(p.ndim for p in group["params"]) for group in groups}
    assert shapes[0.01] == [2] * 4  # fc and three layers of the location network
    assert shapes[0.0] == [0] + [1] * 4  # the scale and their biases


def test_channels_and_blur():
    rng = np.random.default_rng(0)
    pixels = torch.from_numpy(rng.integers(0, 9000, (2, 12, 9, 9)).astype(np.int16))
    out = channels(pixels, torch.tensor([0.0, 0.8]))
    assert out.shape == (2, 13, 9, 9) and not out[:, 10].any()
    bands = [*range(10), 11, 12]
    assert np.allclose(channels(pixels, torch.zeros(2))[:, bands], pixels / 10_000)
    kernel = np.exp(-0.5 * np.arange(-1, 2) ** 2 / 0.8**2)
    kernel /= kernel.sum()
    expected = pixels[1].numpy() / 10_000
    for axis in (1, 2):
        expected = correlate1d(expected, kernel, axis=axis, mode="mirror")
    assert np.allclose(out[1, bands], expected, atol=1e-6)
    assert np.allclose(out[0, bands], pixels[0] / 10_000, atol=1e-6)


def test_samples_depend_on_seed_epoch_and_row_alone(data):
    patches = open_folder(data)
    rows = np.arange(20, 30)
    training = PatchSet(patches, rows, TINY, training=True)
    both, one = training[[3, 4]], training[[4]]
    assert all(torch.equal(a[1:], b) for a, b in zip(both, one, strict=True))
    training.epoch = 1
    assert not torch.equal(training[[4]][1], one[1])
    plain, _, sigma, _ = PatchSet(patches, rows, TINY, training=False)[[3, 4]]
    assert not sigma.any() and np.array_equal(plain[1], patches.read(24, 24))
    assert torch.equal(one[0].sum(dim=(2, 3)), plain[1:].sum(dim=(2, 3)))  # flipped at most


@pytest.mark.parametrize(
    ("batch", "words"),
    [(100, "66 patches to train on are fewer than a batch of 100"), (60, "are fewer than a batch of 60")],
)
def test_too_few_patches(data, tmp_path, batch, words):
    with pytest.raises(PatchError, match=words):
        train_satclip(tiny(batch=batch), data, tmp_path, options=OPTIONS)


def test_another_recipe_is_not_resumed(unbroken, data):
    with pytest.raises(CheckpointError, match="another recipe"):
        train_satclip(tiny(jitter_km=2.0), data, unbroken.parent, options=OPTIONS)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"batch": 1}, "batch is 1; it must be at least 2"),
        ({"chunk": 0}, "chunk is 0"),
        ({"block_share": 1.0}, "block_share is 1"),
        ({"freeze_batch_norm": False}, "would not see the batch"),
        ({"network": replace(NETWORK, in_channels=3)}, "in_channels is 3"),
    ],
)
def test_numbers_that_no_run_can_have(changes, words):
    with pytest.raises(CheckpointError, match=words):
        tiny(**changes)


def test_pretrained_trunks(tmp_path, monkeypatch):
    monkeypatch.setenv("SAMEWHERE_HOME", str(tmp_path))
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "cache"))
    recipe = tiny(network=replace(NETWORK, vision_layers="moco_resnet18"), trunk="moco", freeze_trunk=True)
    file = TRUNKS["moco_resnet18"][1]
    (tmp_path / "models").mkdir()
    torch.manual_seed(5)
    trunk = SatCLIPNetwork(recipe.network).visual.state_dict()
    saved = {key: value for key, value in trunk.items() if not key.startswith("fc.")}

    def put(state, *, promised=True):
        path = tmp_path / "models" / file
        path.unlink(missing_ok=True)
        torch.save(state, path)
        import hashlib

        digits = hashlib.sha256(path.read_bytes()).hexdigest()[:8] if promised else "00000000"
        monkeypatch.setitem(TRUNKS, "moco_resnet18", ("torchgeo/x", f"x-{digits}.pth"))
        path.rename(tmp_path / "models" / f"x-{digits}.pth")

    put(saved)
    module = SatCLIPModule(recipe)
    assert all(torch.equal(module.visual.state_dict()[key], value) for key, value in saved.items())
    put({key: value for key, value in saved.items() if key != "conv1.weight"} | {"extra": torch.zeros(1)})
    with pytest.raises(CheckpointError, match=r"missing weights: conv1\.weight; unknown weights: extra"):
        SatCLIPModule(recipe)
    put(saved, promised=False)
    with pytest.raises(CheckpointError, match="not what its name promises"):
        SatCLIPModule(recipe)
    put({"weights": Path("a pickle")})
    with pytest.raises(CheckpointError, match="no weights of moco_resnet18"):
        SatCLIPModule(recipe)
    with pytest.raises(CheckpointError, match="no pre-trained weights for vision_layers 1"):
        SatCLIPModule(tiny(trunk="moco"))


def test_without_network_a_sentence_names_the_file_and_its_place(tmp_path, monkeypatch):
    import huggingface_hub

    def unreachable(*_args, **_kwargs):
        raise ConnectionError("no route to host")

    monkeypatch.setenv("SAMEWHERE_HOME", str(tmp_path))
    monkeypatch.setattr(huggingface_hub, "try_to_load_from_cache", lambda *_: None)
    monkeypatch.setattr(huggingface_hub, "get_hf_file_metadata", unreachable)
    with pytest.raises(CheckpointError) as error:
        SatCLIPModule(tiny(network=replace(NETWORK, vision_layers="moco_vit16"), trunk="moco"))
    words = "vit_small_patch16_224_sentinel2_all_moco-67c9032d.pth", "no route to host", str(tmp_path / "models")
    assert all(word in str(error.value) for word in words)
