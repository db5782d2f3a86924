"""Pages whose blocks are executed: what is a block, how it runs, and when its output still is what the page shows.

A page is Markdown. Its fenced blocks are executed in order, in one working folder and one private home:

* ``bash`` runs as ``bash -euo pipefail``, ``python`` in a fresh interpreter; both must leave with 0;
* ``text`` is a piece of the output of the block before it;
* a block after ``<!-- not run: REASON -->`` is not executed, nor is its ``text`` compared.

A page with any other kind of block is refused, so that nothing escapes unseen.

The rule of comparison: every line of a ``text`` block must stand in the output, in the same order, others may stand
between. Blanks count as one; ``…`` stands for anything. Words must be the same, whole numbers too; a number with a
decimal point may differ by 2 % or by 0.02, because machines round differently.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
LIMIT_S = 120
_FENCE = re.compile(r"^```(.*)$")
_NOT_RUN = re.compile(r"^<!-- not run: (.+) -->$")
_DECIMAL = re.compile(r"-?\d+(?:,\d{3})*\.\d+")
_PIECE = re.compile(rf"…|\s+|{_DECIMAL.pattern}|[^\s\d…-]+|\d+|-")


@dataclass(frozen=True)
class Block:
    """One fenced block.

    Attributes:
        line: of its opening fence, from 1.
        language: as it stands there.
        content: without the fences.
        shown: what the page shows of its output, or None.
        reason: why it is not run, or None.
    """

    line: int
    language: str
    content: str
    shown: str | None = None
    reason: str | None = None


def blocks_of(text: str, *, languages: tuple[str, ...] = ("bash", "python")) -> list[Block]:
    """The executable blocks of a page.

    Raises:
        ValueError: a fence is not closed, its language is unknown, or an output belongs to no block.
    """
    found: list[Block] = []
    reason, begun = None, None
    lines: list[str] = []
    for number, line in enumerate(text.splitlines(), start=1):
        fence, mark = _FENCE.match(line), _NOT_RUN.match(line.strip())
        if begun is None and fence:
            begun, language, lines = number, fence[1].strip(), []
        elif begun is not None and fence:
            if fence[1]:
                raise ValueError(f"line {number}: a fence opens within the block of line {begun}")
            content = "\n".join(lines) + "\n"
            if language == "text" and found and found[-1].shown is None:
                last = found.pop()
                found.append(Block(last.line, last.language, last.content, content, last.reason))
            elif language in languages:
                found.append(Block(begun, language, content, reason=reason))
            else:
                raise ValueError(f"line {begun}: a block of {language or 'no language'} here is neither run nor shown")
            begun = reason = None
        elif begun is not None:
            lines.append(line)
        elif mark:
            reason = mark[1]
        elif line.strip() and reason is not None:
            raise ValueError(f"line {number}: 'not run' is followed by no block")
    if begun is not None:
        raise ValueError(f"line {begun}: the block is not closed")
    return found


def surroundings(home: Path, extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """The environment of a reader: this interpreter's commands, this checkout, a home and caches of their own."""
    kept = {key: value for key, value in os.environ.items() if key not in ("COLUMNS", "HF_ENDPOINT", "HF_HUB_OFFLINE")}
    path = os.pathsep.join([str(Path(sys.executable).parent), kept.get("PATH", "")])
    own = {"PATH": path, "PYTHONPATH": str(ROOT), "SAMEWHERE_HOME": str(home), "HF_HOME": str(home / "hub")}
    threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
    return {**kept, **threads, **own, "MPLBACKEND": "Agg", "PYTHONIOENCODING": "utf-8", **(extra or {})}


def run_block(block: Block, folder: Path, environment: Mapping[str, str]) -> tuple[int, str]:
    """Execute one block: exit code, and what it said on standard output and standard error."""
    command = ["bash", "-euo", "pipefail"] if block.language in ("bash", "sh") else [sys.executable, "-"]
    done = subprocess.run(
        command,
        input=block.content,
        cwd=folder,
        env=dict(environment),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        timeout=LIMIT_S,
    )
    return done.returncode, done.stdout


def missing_lines(shown: str, output: str) -> list[str]:
    """Lines of a page that its output does not have, or not in this order."""
    left = output.splitlines()
    missing = []
    for line in shown.splitlines():
        if not line.strip(" …"):
            continue
        at = next((row for row, given in enumerate(left) if _same(line, given)), None)
        if at is None:
            missing.append(line)
        else:
            left = left[at + 1 :]
    return missing


def _same(shown: str, given: str) -> bool:
    """Whether a line of output is what a page shows."""
    pattern, decimals = "", []
    for piece in _PIECE.findall(shown.strip()):
        if _DECIMAL.fullmatch(piece):
            decimals.append(piece)
            pattern += rf"(?<![\d.])({_DECIMAL.pattern})(?!\d)"
        elif piece == "…":
            pattern += ".*"
        else:
            pattern += r"\s+" if piece.isspace() else re.escape(piece)
    found = re.fullmatch(pattern, given.strip())
    return found is not None and all(map(_near, decimals, found.groups()))


def _near(one: str, other: str) -> bool:
    first, second = (float(text.replace(",", "")) for text in (one, other))
    return abs(first - second) <= max(0.02, 0.02 * abs(first))
