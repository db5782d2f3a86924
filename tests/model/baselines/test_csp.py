"""CSP's encoder against its formula in NumPy, its losses written out pair by pair, its files, and that it learns."""

import math

import numpy as np
import pytest
import torch
from scipy.special import erf

from data.errors import CheckpointError
from model.baselines import load_baseline
from model.baselines.csp import CSPConfig, CSPNetwork
from model.baselines.csp_train import (
    RECIPES,
    CSPTraining,
    fit_csp,
    in_batch_loss,
    negative_place_loss,
    random_places,
    simcse_loss,
)
from model.baselines.store import save_baseline

RNG = np.random.default_rng(8)
POINTS = np.array([(12.49, 41.89), (-180, 0), (179.5, -60), (0, 90), (10, -90), (-70.25, -33)], dtype=float)
ACTIVATIONS = {
    "leakyrelu": lambda x: np.where(x > 0, x, 0.2 * x),
    "gelu": lambda x: 0.5 * x * (1 + erf(x / math.sqrt(2))),
}


def published_file(path, *, activation="leakyrelu", width=512, **params):
    """A file of the authors' layout with random weights; returns those weights."""
    generator = torch.Generator().manual_seed(3)

    def draw(*shape):
        return torch.randn(*shape, generator=generator) / math.sqrt(shape[-1])

    ffn = {
        "layers.0.linear.weight": draw(width, 128),
        "layers.0.linear.bias": draw(width),
        "layers.0.layernorm.weight": 1 + draw(width),
        "layers.0.layernorm.bias": draw(width),
        "layers.1.linear.weight": draw(256, width),
        "layers.1.linear.bias": draw(256),
    }
    state = {f"{prefix}spa_enc.ffn.{key}": value for prefix in ("loc_enc.", "") for key, value in ffn.items()}
    for prefix in ("loc_enc.", ""):
        state |= {f"{prefix}class_emb.weight": draw(62, 256), f"{prefix}user_emb.weight": draw(1, 256)}
    state |= {"img_dec.weight": draw(256, 2048), "img_dec.bias": draw(256)}
    settings = {
        "spa_enc_type": "gridcell",
        "frequency_num": 32,
        "min_radius": 0.1,
        "max_radius": 360.0,
        "num_hidden_layer": 1,
        "hidden_dim": width,
        "num_filts": 256,
        "spa_f_act": activation,
        "freq_init": "geometric",
        "dropout": 0.5,
        "use_layn": True,
        "skip_connection": True,
        "num_classes": np.int64(62),  # NumPy's scalars come with settings that were counted
        "lr": 0.001,
        "device": "cuda:0",
        "rbf_anchor_pt_ids": None,
    }
    torch.save({"epoch": 30, "params": settings | params, "state_dict": state, "optimizer": {}}, path)
    return {key: value.double().numpy() for key, value in ffn.items()}


def published_formula(weights, activation, lon, lat):
    """Degrees over 32 scales from 0.1 to 360; linear, activation, normalisation; linear, activation."""
    features = []
    for x in (lon, lat):
        for s in range(32):
            scale = 0.1 * (360 / 0.1) ** (s / 31)
            features += [math.sin(x / scale), math.cos(x / scale)]
    act = ACTIVATIONS[activation]
    h = act(weights["layers.0.linear.weight"] @ features + weights["layers.0.linear.bias"])
    h = (h - h.mean()) / np.sqrt(h.var() + 1e-5)
    h = h * weights["layers.0.layernorm.weight"] + weights["layers.0.layernorm.bias"]
    return act(weights["layers.1.linear.weight"] @ h + weights["layers.1.linear.bias"])


@pytest.mark.parametrize(("name", "activation"), [("csp-inat", "leakyrelu"), ("csp-fmow", "gelu")])
@pytest.mark.parametrize("zipped", [True, False])
def test_published_file(tmp_path, name, activation, zipped, monkeypatch):
    path = tmp_path / "model.pth.tar"
    if not zipped:  # as torch before 1.6 wrote it
        save = torch.save
        monkeypatch.setattr(torch, "save", lambda *a: save(*a, _use_new_zipfile_serialization=False))
    weights = published_file(path, activation=activation)
    encoder = load_baseline(f"{name}={path}")
    rows = encoder.encode_location(POINTS)
    assert (encoder.name, encoder.dim) == (name, 256)
    np.testing.assert_allclose(
        rows, [published_formula(weights, activation, *point) for point in POINTS], rtol=0, atol=2e-5
    )


def test_scaled_coordinates():
    torch.manual_seed(0)
    plain = CSPNetwork(CSPConfig()).eval()
    scaled = CSPNetwork(CSPConfig(scaled=True)).eval()
    scaled.load_state_dict(plain.state_dict())
    points = torch.from_numpy(POINTS)
    torch.testing.assert_close(scaled(points), plain(points / torch.tensor([180.0, 90.0])))


def test_losses_written_out():
    def unit(*shape):
        vectors = RNG.normal(size=shape)
        return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)

    places, images, again, negatives = unit(5, 8), unit(5, 8), unit(5, 8), unit(3, 5, 8)

    def cross_entropy(cosines, right, temperature):
        logits = [c / temperature for c in cosines]
        return math.log(sum(map(math.exp, logits))) - logits[right]

    def mean_over(rows):
        return sum(rows) / 5

    p, i, a, n = map(torch.from_numpy, (places, images, again, negatives))
    expected = mean_over(cross_entropy([places[r] @ images[c] for c in range(5)], r, 0.5) for r in range(5))
    assert in_batch_loss(p, i, 0.5).item() == pytest.approx(expected)
    expected = mean_over(cross_entropy([places[r] @ again[c] for c in range(5)], r, 2.0) for r in range(5))
    assert simcse_loss(p, a, 2.0).item() == pytest.approx(expected)
    expected = mean_over(
        cross_entropy([places[r] @ images[r], *(negatives[k, r] @ images[r] for k in range(3))], 0, 0.7)
        for r in range(5)
    )
    assert negative_place_loss(p, i, n, 0.7).item() == pytest.approx(expected)


def test_random_places_fill_the_ellipse():
    points = random_places(20_000, torch.Generator().manual_seed(1)).numpy() / [180, 90]
    square = (points**2).sum(axis=1)
    assert square.max() <= 1
    # The radius is √(1 − u²) with u uniform, so its square has the mean 2/3 and the variance 4/45.
    assert square.mean() == pytest.approx(2 / 3, abs=4 * math.sqrt(4 / 45 / 20_000))


def test_training_pulls_a_place_to_its_image_and_repeats():
    lonlat = RNG.uniform((-180, -60), (180, 70), (400, 2))
    features = np.stack([np.sin(np.radians(lonlat[:, 0])), np.sin(np.radians(2 * lonlat[:, 1]))], axis=1)
    features = np.concatenate([features, features**2], axis=1).astype(np.float32)
    config = CSPTraining(
        encoder=CSPConfig(hidden_dim=64, num_filts=16, dropout=0.1), in_batch_temperature=0.1, epochs=20, batch=100
    )
    losses = []
    network = fit_csp(config, lonlat, features, report=losses.append)
    first, last = (float(line.rsplit(" ", 1)[1]) for line in (losses[0], losses[-1]))
    assert last < first - 0.5
    before = torch.get_rng_state()
    again = fit_csp(config, lonlat, features)
    assert torch.equal(torch.get_rng_state(), before), "training leaves the caller's random numbers alone"
    assert all(torch.equal(a, b) for a, b in zip(network.parameters(), again.parameters(), strict=True))


def test_recipes_are_the_published_ones():
    """The numbers in the names of the authors' files."""
    inat, fmow = RECIPES["csp-inat"], RECIPES["csp-fmow"]
    assert (inat.lr, inat.negative_weight, inat.negatives, inat.simcse_weight) == (0.0005, 1, 1, 1)
    assert (inat.in_batch_temperature, inat.negative_temperature, inat.simcse_temperature) == (20, 1, 1)
    assert (fmow.lr, fmow.negative_weight, fmow.negatives, fmow.simcse_weight) == (0.00005, 1, 1, 0.1)
    assert (fmow.in_batch_temperature, fmow.negative_temperature, fmow.simcse_temperature) == (1, 1, 1)
    assert (inat.encoder.spa_f_act, fmow.encoder.spa_f_act) == ("leakyrelu", "gelu")


def test_trained_file_comes_back(tmp_path, monkeypatch):
    monkeypatch.setenv("SAMEWHERE_HOME", str(tmp_path))
    with pytest.raises(CheckpointError, match="samewhere train --baseline csp-inat"):
        load_baseline("csp-inat")
    torch.manual_seed(2)
    network = CSPNetwork(CSPConfig(hidden_dim=32)).eval()
    path = tmp_path / "baselines" / "csp-inat.safetensors"
    card = {"kind": "csp", "config": {"hidden_dim": 32}}
    save_baseline(path, network.state_dict(), card=card)
    rows = load_baseline("csp-inat").encode_location(POINTS)
    np.testing.assert_allclose(rows, network(torch.from_numpy(POINTS)).detach().numpy(), atol=1e-6)

    save_baseline(path, network.state_dict(), card=card | {"kind": "gps2vec"})
    with pytest.raises(CheckpointError, match="of the kind 'gps2vec'; expected 'csp'"):
        load_baseline("csp-inat")
    save_baseline(path, network.state_dict(), card=card | {"config": {"hidden_dim": 64}})
    with pytest.raises(CheckpointError, match="another architecture"):
        load_baseline("csp-inat")
    path.write_bytes(path.read_bytes()[:-4] + b"oops")
    with pytest.raises(CheckpointError, match="not those that the card"):
        load_baseline("csp-inat")
    path.write_bytes(b"")
    with pytest.raises(CheckpointError, match="damaged baseline"):
        load_baseline("csp-inat")


class Evil:
    def __reduce__(self):
        return (print, ("run",))


def test_wrong_files(tmp_path):
    path = tmp_path / "x.pth.tar"
    with pytest.raises(CheckpointError, match="no such file"):
        load_baseline("csp-fmow", weights=path)
    torch.save({"params": {}, "state_dict": {}, "evil": Evil()}, path)
    with pytest.raises(CheckpointError, match="refused: reading it would call"):
        load_baseline("csp-fmow", weights=path)
    torch.save({"state_dict": {}}, path)
    with pytest.raises(CheckpointError, match="holds state_dict; expected params and state_dict"):
        load_baseline("csp-fmow", weights=path)
    torch.save({"params": {}, "state_dict": {"feats.0.weight": torch.zeros(2)}}, path)
    with pytest.raises(CheckpointError, match=r"no loc_enc\.spa_enc\.ffn\.\* in its state_dict, only feats"):
        load_baseline("csp-fmow", weights=path)
    published_file(path, spa_enc_type="rbf")
    with pytest.raises(CheckpointError, match="spa_enc_type is 'rbf'"):
        load_baseline("csp-fmow", weights=path)
    published_file(path, spa_f_act="swish")
    with pytest.raises(CheckpointError, match="no encoder can be built"):
        load_baseline("csp-fmow", weights=path)
    published_file(path, hidden_dim=256)
    with pytest.raises(CheckpointError, match="another architecture"):
        load_baseline("csp-fmow", weights=path)
