"""Scores of an evaluation in a file that grows, so that one that was ended goes on where it stopped.

Owns the file: a line of JSON for each encoder, head, split and seed, on the disk before the next is begun. A line
counts again only for the same places and targets and for vectors that are the same to four digits, so a new checkpoint
under an old name is measured anew. Lines that are torn or of another form are passed over.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from data.errors import HeadError
from data.files import append_line, disk_errors

if TYPE_CHECKING:
    from model.downstream import Problem, Score
    from model.encoder import Vectors

SKETCHED = 16
"""Rows of which a number each is kept, to know the vectors again."""
CLOSE = 1e-4
Step = tuple[str, str, str, int, str]
"""Encoder, head, split, seed, and :func:`digest` of the problems."""


@dataclass(frozen=True)
class Kept:
    """One line of the file: the vectors' sketch, and the scores."""

    sketch: NDArray[np.float64]
    scores: list[Score]


class ScoreLog:
    """The finished steps of an evaluation."""

    def __init__(self, path: Path) -> None:
        """Read what is there; nothing is written yet."""
        self.path = path
        self._kept: dict[Step, Kept] = {}
        if path.exists():
            for line in path.read_bytes().splitlines():
                self._take(line)

    def _take(self, line: bytes) -> None:
        from model.downstream import Score

        try:
            found = json.loads(line)
            encoder, head, split, seed, problems = found["step"]
            kept = Kept(np.array(found["sketch"], dtype=np.float64), [Score(**score) for score in found["scores"]])
        except (ValueError, TypeError, KeyError):
            return
        self._kept[encoder, head, split, seed, problems] = kept

    def find(self, step: Step, vectors: Vectors) -> list[Score] | None:
        """The scores of a step that was done with these vectors, or None."""
        kept = self._kept.get(step)
        now = sketch(vectors)
        if kept is None or kept.sketch.shape != now.shape or not np.allclose(kept.sketch, now, rtol=CLOSE, atol=CLOSE):
            return None
        return kept.scores

    def add(self, step: Step, vectors: Vectors, scores: Sequence[Score]) -> None:
        """Put a finished step on the disk.

        Raises:
            HeadError: the file cannot be written.
        """
        kept = Kept(sketch(vectors), list(scores))
        line = {"step": step, "sketch": kept.sketch.tolist(), "scores": [asdict(score) for score in kept.scores]}
        words = {"full": "Make room and run it again.", "denied": "Choose another folder with --out."}
        with disk_errors(self.path, "Writing", kind=HeadError, **words):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            append_line(self.path, json.dumps(line).encode())
        self._kept[step] = kept


def sketch(vectors: Vectors) -> NDArray[np.float64]:
    """(N, D) vectors to a few numbers by which they are known again."""
    rows = np.linspace(0, len(vectors) - 1, min(SKETCHED, len(vectors))).astype(int)
    return np.asarray(vectors[rows].astype(np.float64) @ np.cos(np.arange(vectors.shape[1])))


def digest(problems: Sequence[Problem]) -> str:
    """SHA-256 of names, places and targets: 64 hex digits."""
    found = hashlib.sha256()
    for problem in problems:
        for part in (
            problem.name.encode(),
            problem.kind.encode(),
            problem.lonlat.tobytes(),
            repr(problem.target.tolist()).encode(),
        ):
            found.update(len(part).to_bytes(8, "little") + part)
    return found.hexdigest()
