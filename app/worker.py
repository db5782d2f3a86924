"""The process that does a job: ``python -m app.worker INDEX``. It outlives the browser's tab and the server.

Owns the course of one job and ``worker.json`` in the index's folder, which says what was asked, who works on it and how
it ended. All else that it does is :mod:`indexer.build`'s. Started by :mod:`app.jobs`, and by nothing else.
"""

from __future__ import annotations

import json
import os
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from data.errors import SamewhereError
from data.geo import BBox
from indexer.files import durable
from indexer.snapshot import BUILDING

WORKER = "worker.json"
LOG = "worker.log"


def read_worker(index: Path) -> dict[str, Any] | None:
    """What ``worker.json`` says, or None."""
    try:
        content = json.loads((index / WORKER).read_bytes())
    except (OSError, ValueError):
        return None
    return content if isinstance(content, dict) and isinstance(content.get("asked"), dict) else None


def write_worker(index: Path, **changes: Any) -> None:
    """Change some of ``worker.json``; the file is whole at every moment."""
    content = (read_worker(index) or {}) | changes
    with durable(index / WORKER) as file:
        file.write(json.dumps(content, indent=2).encode())


def work(index: Path) -> str:
    """Do the job that is asked for, or go on with it.

    Returns:
        How it ended: ``done``, ``paused`` or ``failed``.
    """
    from indexer.build import build_index, resume_job
    from indexer.encoder import load_encoder
    from indexer.job import JOB, JobPaused

    told = read_worker(index)
    asked = told["asked"] if told else {}
    now = datetime.now(UTC).isoformat(timespec="seconds")
    write_worker(index, state="starting", pid=os.getpid(), started=now, error=None)  # until it holds the lock
    try:
        if (index / BUILDING / JOB).is_file():
            resume_job(index)
        else:
            build_index(
                index,
                pair=load_encoder(asked["checkpoint"], "pair"),
                sources=tuple(asked["sources"]),
                cell_resolution=asked["cell_resolution"],
                tile_resolution=asked["tile_resolution"],
                bbox=BBox(*asked["bbox"]) if asked["bbox"] else None,
            )
    except JobPaused:
        write_worker(index, state="paused")
        return "paused"
    except SamewhereError as error:
        write_worker(index, state="failed", error=str(error))
        return "failed"
    except Exception as error:
        write_worker(index, state="failed", error=f"A bug of Samewhere: {type(error).__name__}. {LOG} says more.")
        raise
    write_worker(index, state="done")
    return "done"


if __name__ == "__main__":
    sys.exit(0 if work(Path(sys.argv[1])) != "failed" else 1)
