"""Cached gradients: the same loss and gradients as the whole batch at once, one chunk in memory."""

import math

import pytest
import torch
from torch import nn

from model.gradcache import encode_cached, freeze_batch_norm
from model.loss import contrastive_loss

SCALE = torch.tensor(math.log(1 / 0.07), dtype=torch.float64)


@pytest.fixture
def setting():
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(6, 32), nn.Tanh(), nn.Dropout(0.5), nn.Linear(32, 5)).double()
    return network, torch.randn(24, 6, dtype=torch.float64), torch.randn(24, 5, dtype=torch.float64)


def gradients(network):
    out = torch.cat([p.grad.flatten() for p in network.parameters()])
    network.zero_grad()
    return out


def cached(network, x, again=None):
    rows = torch.arange(len(x))
    return torch.cat([encode_cached(network, r, x[r], again=again) for r in rows.split(5)])


def two_passes(network, x, places):
    """The paper's own procedure, written out."""
    states, kept = [], []
    for part in x.split(5):
        states.append(torch.get_rng_state())
        with torch.no_grad():
            kept.append(network(part))
    vectors = torch.cat(kept).requires_grad_()
    loss = contrastive_loss(vectors, places, SCALE)
    loss.backward()
    for part, state, gradient in zip(x.split(5), states, vectors.grad.split(5), strict=True):
        torch.set_rng_state(state)
        network(part).backward(gradient)
    return loss


def test_it_is_the_two_passes_of_the_paper_with_dropout(setting):
    network, x, places = setting
    torch.manual_seed(7)
    expected_loss = two_passes(network, x, places)
    expected = gradients(network)
    torch.manual_seed(7)
    loss = contrastive_loss(cached(network, x), places, SCALE)
    loss.backward()
    assert loss.item() == pytest.approx(expected_loss.item(), abs=1e-14)
    assert torch.allclose(gradients(network), expected, atol=1e-13, rtol=0)


def test_chunks_are_negatives_of_each_other(setting):
    network, x, places = setting
    network.eval()
    contrastive_loss(network(x), places, SCALE).backward()
    whole = gradients(network)
    contrastive_loss(cached(network, x), places, SCALE).backward()
    assert torch.allclose(gradients(network), whole, atol=1e-13, rtol=0)
    parts = zip(x.split(5), places.split(5), strict=True)
    sum(contrastive_loss(network(a), b, SCALE) for a, b in parts).backward()
    assert not torch.allclose(gradients(network), whole, atol=1e-3, rtol=0)  # mere accumulation is something else


def test_inputs_can_be_read_again(setting):
    network, x, places = setting
    torch.manual_seed(7)
    contrastive_loss(cached(network, x), places, SCALE).backward()
    expected, asked = gradients(network), []

    def again(rows):
        asked.append(rows.tolist())
        return x[rows]

    torch.manual_seed(7)
    vectors = cached(network, x, again)
    assert not asked
    contrastive_loss(vectors, places, SCALE).backward()
    assert sorted(row for rows in asked for row in rows) == list(range(24))
    assert torch.equal(gradients(network), expected)


def test_the_first_pass_keeps_vectors_alone(setting):
    network, x, _ = setting
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t.shape) or t, lambda t: t):
        vectors = network(x)
    whole = sum(math.prod(shape) for shape in kept)
    assert whole > 24 * 32  # the hidden layer
    seen = []
    hook = network[0].register_forward_hook(lambda *_: seen.append(torch.is_grad_enabled()))
    encoded = cached(network, x, lambda rows: x[rows])
    assert len(seen) == 5
    encoded.backward(vectors.detach())
    assert len(seen) == 10  # each chunk once more on the way back
    hook.remove()


def test_frozen_batch_norm_does_not_see_the_chunk():
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.LazyLinear(5)).double()
    x, places = torch.randn(24, 3, 6, 6, dtype=torch.float64), torch.randn(24, 5, dtype=torch.float64)
    network(x)
    before = network[1].running_mean.clone()
    freeze_batch_norm(network)
    contrastive_loss(network(x), places, SCALE).backward()
    whole = gradients(network)
    contrastive_loss(cached(network, x), places, SCALE).backward()
    assert torch.allclose(gradients(network), whole, atol=1e-13, rtol=0)
    assert torch.equal(network[1].running_mean, before)
    assert network[1].weight.requires_grad
