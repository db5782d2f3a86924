"""How many processors this process may use: fewer than the machine has under a batch system, a container, taskset."""

from __future__ import annotations

import os


def cores() -> int:
    """Processors that work may be spread over, at least 1."""
    if hasattr(os, "sched_getaffinity"):  # Linux
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
