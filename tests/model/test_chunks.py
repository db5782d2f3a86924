"""Blocks: the same bits however the points are cut, threads and settings left as they were, mistakes named."""

import itertools
import multiprocessing
import threading

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from model.chunks import ACCELERATOR_BLOCK, BLOCK, encode_chunks
from model.harmonics import spherical_harmonics
from model.networks import Siren

DIM = 24


def drawn_points(n):
    rng = np.random.default_rng(1)
    drawn = np.stack([rng.uniform(-180, 180, n), rng.uniform(-90, 90, n)], axis=1)
    drawn[:3] = [(0, 90), (180, 0), (-180, -90)]
    return torch.from_numpy(drawn)


def encoder(*, degrees, hidden, dtype):
    torch.manual_seed(0)
    network = Siren(degrees**2, DIM, hidden=hidden, layers=2).eval().to(dtype)
    return lambda points: network(spherical_harmonics(points, degrees, dtype=dtype))


@pytest.fixture(scope="module")
def points():
    return drawn_points(1500)


@pytest.fixture(scope="module", params=[torch.float32, torch.float64], ids=["float32", "float64"])
def small(request, points):
    encode = encoder(degrees=12, hidden=72, dtype=request.param)
    return encode, encode_chunks(encode, points, dim=DIM, dtype=request.param)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(0, 1500), max_size=6), st.integers(0, 1499))
def test_cutting_changes_no_bit(small, points, cuts, row):
    encode, whole = small
    edges = [0, *sorted(cuts), len(points)]
    parts = [encode_chunks(encode, points[a:b], dim=DIM, dtype=whole.dtype) for a, b in itertools.pairwise(edges)]
    assert torch.equal(torch.cat(parts), whole)
    assert torch.equal(encode_chunks(encode, points[row : row + 1], dim=DIM, dtype=whole.dtype)[0], whole[row])


@pytest.mark.parametrize("chunk", [1, 127, BLOCK, BLOCK + 1, 1024])
def test_cutting_changes_no_bit_at_full_size(points, chunk):
    encode = encoder(degrees=40, hidden=512, dtype=torch.float32)
    whole = encode_chunks(encode, points, dim=DIM)
    seen = points[: 40 * chunk]
    parts = torch.cat([encode_chunks(encode, part, dim=DIM) for part in torch.split(seen, chunk)])
    assert torch.equal(parts, whole[: len(seen)])


def test_same_function_as_without_blocks(small, points):
    encode, whole = small
    with torch.no_grad():
        torch.testing.assert_close(whole, encode(points), rtol=0, atol=1e-5 if whole.dtype == torch.float32 else 1e-13)


def test_float32_stays_near_float64(points):
    rows = [
        encode_chunks(encoder(degrees=40, hidden=512, dtype=dtype), points, dim=DIM, dtype=torch.float64)
        for dtype in (torch.float32, torch.float64)
    ]
    # The initial weights are the same numbers; w0 = 30 amplifies the rounding of 1,600 products.
    assert (rows[0] - rows[1]).abs().max() < 1e-5


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_threads_change_no_bit_and_are_left_as_they_were(small, points, threads):
    encode, whole = small
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(threads)
        assert torch.equal(encode_chunks(encode, points, dim=DIM, dtype=whole.dtype), whole)
        assert torch.get_num_threads() == threads
        seen = []
        thread = threading.Thread(target=lambda: seen.append(torch.get_num_threads()))
        thread.start()
        thread.join()
        assert seen == [threads]
    finally:
        torch.set_num_threads(before)


@pytest.fixture
def three_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("three_threads")
def test_encoder_sees_one_block_and_has_one_thread(points):
    shapes, threads = set(), set()

    def encode(block):
        shapes.add(tuple(block.shape))
        threads.add(torch.get_num_threads())
        return block

    assert torch.equal(encode_chunks(encode, points, dim=2, dtype=torch.float64), points)
    assert shapes == {(BLOCK, 2)} and threads == {1}


def test_accelerators_take_larger_blocks(points):
    """Apple's GPU is given its points on the CPU, which is how this path runs without one."""
    shapes = []

    def encode(block):
        shapes.append(tuple(block.shape))
        return block

    several = points.repeat(6, 1)
    assert torch.equal(encode_chunks(encode, several, dim=2, dtype=torch.float64, device="mps"), several)
    assert shapes == [(ACCELERATOR_BLOCK, 2)] * 2


def test_writes_into_a_mapped_file(small, points, tmp_path):
    encode, whole = small
    dtype = whole.numpy().dtype
    mapped = np.memmap(tmp_path / "rows", dtype=dtype, mode="w+", shape=(len(points), DIM))
    encode_chunks(encode, points, dim=DIM, out=torch.from_numpy(mapped))
    mapped.flush()
    np.testing.assert_array_equal(np.fromfile(tmp_path / "rows", dtype=dtype).reshape(-1, DIM), whole.numpy())


def test_no_points(small):
    encode, _ = small
    assert encode_chunks(encode, torch.empty(0, 2, dtype=torch.float64), dim=DIM).shape == (0, DIM)


def test_carries_no_gradient(small, points):
    assert not small[1].requires_grad


def _encode_in_a_child(queue, points):
    queue.put(encode_chunks(lambda block: block * 2, points, dim=2, dtype=torch.float64).sum().item())


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_forked_process_has_threads_of_its_own(points):
    encode_chunks(lambda block: block * 2, points, dim=2)
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    child = context.Process(target=_encode_in_a_child, args=(queue, points))
    child.start()
    try:
        assert queue.get(timeout=30) == pytest.approx(2 * points.sum().item())
    finally:
        child.terminate()
        child.join()


def test_a_wrong_width_is_named(points):
    with pytest.raises(ValueError, match=rf"gave \({BLOCK}, 1\), not \({BLOCK}, 2\)"):
        encode_chunks(lambda block: block[:, :1], points, dim=2)


def test_a_wrong_out_is_named(points):
    with pytest.raises(ValueError, match="out must have the shape"):
        encode_chunks(lambda block: block, points, dim=2, out=torch.empty(3, 2))


def test_the_first_error_comes_out(points):
    def encode(block):
        raise RuntimeError("broken encoder")

    with pytest.raises(RuntimeError, match="broken encoder"):
        encode_chunks(encode, points, dim=2)
