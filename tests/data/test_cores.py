"""The processors that a process may use, as the system was told."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from data.cores import cores


def test_a_process_on_one_processor_counts_one() -> None:
    if not hasattr(os, "sched_setaffinity"):
        pytest.skip("only Linux binds processes to processors")
    said = subprocess.run(
        [sys.executable, "-c", "import os; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})\n"
         "from data.cores import cores; from indexer.vectors import THREADS; print(cores(), THREADS)"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert said.stdout.split() == ["1", "1"]
    assert 1 <= cores() <= (os.cpu_count() or 1)
