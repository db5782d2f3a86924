"""The networks of official files against closed forms in numpy, and the names of their parameters."""

import numpy as np
import pytest
import torch

from data.errors import CheckpointError
from model.networks import PE_TYPES, Siren, build_network

INPUTS, OUTPUTS, HIDDEN = 7, 5, 6
SIZES = {"outputs": OUTPUTS, "hidden": HIDDEN}


def relu(x):
    return np.maximum(x, 0)


def closed_form(pe_type, weights, x, layers):
    """From the tensors by their names in an official file, one matrix product after the other."""

    def linear(name, values):
        return values @ weights[f"{name}weight"].T + weights.get(f"{name}bias", 0.0)

    if pe_type == "linear":
        return linear("", x)
    if pe_type == "mlp":
        x = relu(linear("features.0.", x))
        for _ in range(layers):
            x = relu(linear("features.2.", x))
        return linear(f"features.{2 + 2 * layers}.", x)
    if pe_type == "siren":
        for index in range(layers):
            x = np.sin((30.0 if index == 0 else 1.0) * linear(f"layers.{index}.", x))
        return linear("last_layer.", x)
    x = relu(linear("feats.0.", x))
    for index in (2, 3, 4, 5):
        x = x + relu(linear(f"feats.{index}.w2.", relu(linear(f"feats.{index}.w1.", x))))
    return linear("class_emb.", x)


def names(pe_type, layers):
    if pe_type == "linear":
        return {"weight", "bias"}
    if pe_type == "fcnet":
        within = [f"feats.{index}.{part}" for index in (2, 3, 4, 5) for part in ("w1", "w2")]
        return {f"{name}.{kind}" for name in ["feats.0", *within] for kind in ("weight", "bias")} | {"class_emb.weight"}
    modules = [f"features.{2 * index}" for index in range(layers + 2)]
    if pe_type == "siren":
        modules = [*(f"layers.{index}" for index in range(layers)), "last_layer"]
    return {f"{name}.{kind}" for name in modules for kind in ("weight", "bias")}


@pytest.mark.parametrize("layers", [1, 2, 3])
@pytest.mark.parametrize("pe_type", PE_TYPES)
def test_network_is_its_formula_after_a_round_trip_through_a_state_dict(pe_type, layers):
    torch.manual_seed(0)
    saved = build_network(pe_type, INPUTS, layers=layers, **SIZES).double().state_dict()
    assert set(saved) == names(pe_type, layers)
    with torch.device("meta"):
        network = build_network(pe_type, INPUTS, layers=layers, **SIZES)
    network.load_state_dict(saved, assign=True)
    x = np.random.default_rng(0).normal(size=(20, INPUTS))
    with torch.no_grad():
        found = network.eval()(torch.from_numpy(x)).numpy()
    expected = closed_form(pe_type, {key: value.numpy() for key, value in saved.items()}, x, layers)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12)


def test_hidden_layers_of_the_mlp_are_one():
    network = build_network("mlp", INPUTS, layers=3, **SIZES)
    assert network.features[2] is network.features[4] is network.features[6]
    assert sum(p.numel() for p in network.parameters()) == (INPUTS + 1) * HIDDEN + (HIDDEN + 1) * (HIDDEN + OUTPUTS)


def test_dropout_stands_before_the_sine():
    """What is dropped before a sine is 0 and what is kept is doubled, so each unit takes one of two values."""
    torch.manual_seed(0)
    network = Siren(3, 4, hidden=4, layers=1, w0=30.0, dropout=0.5).double().train()
    with torch.no_grad():
        network.last_layer.weight.copy_(torch.eye(4))
        network.last_layer.bias.zero_()
        x = torch.randn(1, 3, dtype=torch.float64)
        before = network.layers[0](x)
        found = network(x.expand(200, 3))
    kept = torch.isclose(found, torch.sin(30.0 * 2 * before))
    assert bool((kept | (found == 0)).all())
    assert 0.4 < kept.double().mean() < 0.6


def test_siren_is_drawn_as_sitzmann_says():
    torch.manual_seed(0)
    network = build_network("siren", 100, hidden=400, outputs=50)
    bounds = {"layers.0": 1 / 100, "layers.1": (6 / 400) ** 0.5, "last_layer": (6 / 400) ** 0.5}
    for name, bound in bounds.items():
        weight = network.get_submodule(name).weight.detach()
        assert weight.abs().max() <= bound
        assert weight.std().item() == pytest.approx(bound / 3**0.5, rel=0.02)


@pytest.mark.parametrize(
    ("pe_type", "sizes", "words"),
    [
        ("resnet", {}, "pe_type='resnet' is unknown; choose one of linear, mlp, siren, fcnet"),
        ("siren", {"layers": 0}, "at least 1 hidden layers"),
        ("mlp", {"layers": -1}, "-1 hidden layers"),
        ("fcnet", {"hidden": 0}, "0 wide"),
    ],
)
def test_what_cannot_be_built_is_refused_in_a_sentence(pe_type, sizes, words):
    with pytest.raises(CheckpointError, match=words):
        build_network(pe_type, INPUTS, **sizes)
