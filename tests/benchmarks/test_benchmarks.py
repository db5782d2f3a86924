"""The benchmarks: the arithmetic of their tables, whether each runs, and whether the pages show what was measured."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks.__main__ import LONG_ONLY, NAMES
from benchmarks.hnsw import PEERS, Graph, least_ef
from benchmarks.tables import RESULTS, ROOT, as_markdown, number, pages, render
from benchmarks.timing import Result, Row, Times, in_turns, timed_row, write_json

SMOKE = ("search_peers", "engine_rate", "reading", "app_load", "approximate_search", "filtered_lists", "scaling")


def test_ratios_and_spread_by_hand() -> None:
    times = {"ours": Times((1.0, 2.0, 4.0)), "theirs": Times((8.0, 8.0, 8.0))}
    row = timed_row("ours", times, peer="theirs", count=10, peer_count=20, unit="rows a second")
    assert (row.value, row.low, row.high) == (5.0, 10 / 3, 10 / 1.5)
    assert row.ratio == pytest.approx((8 / 20) / (2 / 10))
    assert timed_row("theirs", times, peer="theirs").ratio is None


def test_turns_are_taken_a_b_a_b() -> None:
    order: list[str] = []
    in_turns({"a": lambda: order.append("a"), "b": lambda: order.append("b")}, rounds=2)
    assert "".join(order) == "ababab"


def test_a_table_by_hand() -> None:
    rows = (
        Row("ours", 0.012345, "s", 0.01, 0.02, "theirs", 12.34, 1234.5, "small", {"recall@10": 0.995}),
        Row("theirs", 0.15, "s", part="small"),
    )
    lines = as_markdown({"rows": [vars(row) for row in rows], "notes": ["x is not installed."]}).splitlines()
    assert lines[0] == "| small | s | speed beside theirs | memory, MB | recall@10 |"
    assert lines[2] == "| ours | 0.0123 (0.0100 … 0.0200) | 12.3 × | 1,234 | 0.995 |"
    assert lines[3] == "| theirs | 0.150 | – | – | – |"
    assert lines[-1] == "x is not installed."
    assert Result("", rows).row("theirs").value == 0.15


@pytest.mark.parametrize(("value", "text"), [(None, "–"), (0, "0"), (1234567, "1,234,567"), (0.00012345, "0.000123")])
def test_numbers_have_three_digits(value: float | None, text: str) -> None:
    assert number(value) == text


@pytest.mark.parametrize("peer", sorted(PEERS))
def test_a_graph_answers_by_the_rows_own_numbers(peer: str) -> None:
    pytest.importorskip(peer, reason=f"{peer} is not installed: extra bench")
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(400, 16)).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    ask, size = PEERS[peer](rows, Graph(16, 100))
    truth = np.argsort(-(rows[:30] @ rows.T), axis=1)[:, :10]
    scores = np.take_along_axis(rows[:30] @ rows.T, truth, axis=1)
    ef = least_ef(ask, rows[:30], (truth, scores))
    found, products = ask(rows[:30], ef)
    assert (found[:, 0] == np.arange(30)).all()
    np.testing.assert_allclose(products, (rows[:30, None] * rows[found]).sum(-1), atol=1e-5)
    assert size > 16 * 4


def test_every_quick_run_leaves_a_result(tmp_path: Path) -> None:
    words = [sys.executable, "-m", "benchmarks", *SMOKE, "--quick", "--out", str(tmp_path)]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, env=os.environ | {"OMP_NUM_THREADS": "1"})
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    for name in SMOKE:
        found = json.loads((tmp_path / f"{name}.json").read_bytes())
        assert found["rows"] and all(row["value"] > 0 for row in found["rows"])
        assert found["made"]["versions"]["numpy"] == np.__version__
        assert as_markdown(found)


def test_an_unknown_name_is_refused() -> None:
    words = [sys.executable, "-m", "benchmarks", "nothing"]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 2 and "there is no benchmark nothing" in done.stderr


def test_all_are_listed_and_there() -> None:
    for name in (*NAMES, *LONG_ONLY):
        text = (ROOT / "benchmarks" / f"{name}.py").read_text()
        assert f"python -m benchmarks.{name}" in text
        assert "def run(" in text


def test_a_page_may_show_one_part(tmp_path: Path) -> None:
    rows = [vars(Row(name, 1.0, "s", part=f"{name}, all")) for name in ("one", "two", "twelve")]
    made = {"cpu": "x", "threads": 2, "date": "today", "commit": "c"}
    result = {"name": "x", "command": "run x", "title": "A title.", "rows": rows, "notes": [], "made": made}
    write_json(tmp_path / "x.json", result)
    page = tmp_path / "page.md"
    page.write_text("<!-- begin: bench x: tw -->\n<!-- end: bench x: tw -->\n")
    with pytest.raises(ValueError, match="2 parts of x begin with 'tw'"):
        render(page, tmp_path)
    page.write_text("<!-- begin: bench x: two -->\n<!-- end: bench x: two -->\n")
    assert render(page, tmp_path) == ["x"]
    assert "| two | 1.00 |" in page.read_text()
    assert "one" not in page.read_text()


def test_the_pages_show_what_was_measured(tmp_path: Path) -> None:
    shown = pages()
    assert ROOT / "docs" / "benchmarks.md" in shown
    for path in shown:
        copy = tmp_path / path.name
        copy.write_text(path.read_text(encoding="utf-8"), encoding="utf-8")
        assert render(copy, RESULTS)
        assert copy.read_text() == path.read_text(), f"{path.name} is stale: python -m benchmarks render"
