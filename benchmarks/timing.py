"""How every benchmark measures and what it gives: turns in one process, medians with spread, rows of named numbers.

Owns the protocol. A benchmark is a module with ``run(**settings) -> Result`` whose settings all have defaults, with
``QUICK``, the settings of a smoke test, and with ``LONG``, those of a run without haste, or None where it is short
anyway. Refuses to compare what did not take turns in one run: ratios are made here alone.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import gc
import importlib
import inspect
import json
import statistics
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from data.files import durable

Work = Callable[[], object]


@dataclass(frozen=True)
class Times:
    """Seconds of one candidate, a number each round, in order."""

    seconds: tuple[float, ...]

    @property
    def median(self) -> float:
        """Median of the rounds."""
        return statistics.median(self.seconds)

    def rate(self, count: float) -> tuple[float, float, float]:
        """So many things a second: median, lower and upper quartile."""
        low, high = self.quartiles()
        return count / self.median, count / high, count / low

    def spent(self, unit: str = "ms") -> tuple[float, float, float]:
        """Time: median, lower and upper quartile, in ``s`` or ``ms``."""
        scale = {"s": 1.0, "ms": 1e3}[unit]
        low, high = self.quartiles()
        return scale * self.median, scale * low, scale * high

    def quartiles(self) -> tuple[float, float]:
        """Lower and upper quartile of the rounds."""
        low, high = np.quantile(self.seconds, (0.25, 0.75)).tolist()
        return low, high


@dataclass(frozen=True)
class Row:
    """One line of a table.

    Attributes:
        name: what was measured.
        value: median.
        unit: of the value.
        low: lower quartile of the rounds; None where it was measured once.
        high: upper quartile.
        peer: name of the row beside which ``ratio`` is.
        ratio: speed of this row over the peer's: above 1 this one is faster.
        memory_mb: most that it took beside what was held before.
        part: heading of the table in which the row stands.
        more: further figures by name.
    """

    name: str
    value: float
    unit: str
    low: float | None = None
    high: float | None = None
    peer: str = ""
    ratio: float | None = None
    memory_mb: float | None = None
    part: str = ""
    more: Mapping[str, float | str] = field(default_factory=dict)


@dataclass(frozen=True)
class Result:
    """What a benchmark found.

    Attributes:
        title: a sentence: what, how many, beside what.
        rows: in the order of the tables.
        notes: what a reader must know beside the rows, a sentence each: libraries that are not there, errors.
    """

    title: str
    rows: tuple[Row, ...]
    notes: tuple[str, ...] = ()

    def row(self, name: str, part: str | None = None) -> Row:
        """The row of a name.

        Raises:
            KeyError: there is none.
        """
        found = [row for row in self.rows if row.name == name and part in (None, row.part)]
        if not found:
            raise KeyError(name)
        return found[0]


def seconds(work: Work) -> float:
    """How long a call takes."""
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


def in_turns(candidates: Mapping[str, Work], *, rounds: int, warm: bool = True) -> dict[str, Times]:
    """Have all work in turns: A B A B, so that what else the machine does hits all alike.

    Args:
        candidates: by name.
        rounds: how many turns of each count.
        warm: whether each has one turn before that does not count.
    """
    taken: dict[str, list[float]] = {name: [] for name in candidates}
    for turn in range(rounds + warm):
        for name, work in candidates.items():
            took = seconds(work)
            if turn >= warm:
                taken[name].append(took)
    return {name: Times(tuple(took)) for name, took in taken.items()}


def timed_row(
    name: str,
    times: Mapping[str, Times],
    *,
    peer: str = "",
    count: float = 1.0,
    peer_count: float | None = None,
    unit: str = "ms",
    memory_mb: float | None = None,
    part: str = "",
    more: Mapping[str, float | str] | None = None,
) -> Row:
    """A row of times that were taken in turns.

    Args:
        name: of the candidate.
        times: of all.
        peer: name of the one to compare with.
        count: things that the candidate does in a call.
        peer_count: things that the peer does in a call; as many by default.
        unit: ``ms`` or ``s`` a call, or anything else for ``count`` a second.
        memory_mb: peak.
        part: heading.
        more: further figures.
    """
    mine = times[name]
    value, low, high = mine.spent(unit) if unit in ("s", "ms") else mine.rate(count)
    ratio = None
    if peer and peer != name:
        ratio = (times[peer].median / (peer_count or count)) / (mine.median / count)
    return Row(name, value, unit, low, high, peer if ratio else "", ratio, memory_mb, part, dict(more or {}))


def resident(field_name: str = "VmRSS") -> int:
    """Bytes of this process on Linux, 0 elsewhere: VmRSS is held now, VmHWM was the most."""
    try:
        status = Path("/proc/self/status").read_text(encoding="utf-8")
        return int(status.split(f"{field_name}:")[1].split()[0]) * 1024
    except (OSError, IndexError):
        return 0


def give_back() -> None:
    """Give the system what was freed: else a second structure lies in memory of the first, and seems to take none."""
    gc.collect()
    with contextlib.suppress(OSError, AttributeError):  # glibc alone has it
        ctypes.CDLL(None).malloc_trim(0)


def peak_mb(work: Work) -> float:
    """Megabytes (2²⁰) of resident memory that a call needs at its peak, beside what is held before it."""
    give_back()
    try:
        Path("/proc/self/clear_refs").write_text("5", encoding="utf-8")  # Linux begins anew to note the peak
    except OSError:
        return float("nan")
    before = resident()
    work()
    return max(0, resident("VmHWM") - before) / 2**20


def find_peer(module: str, missing: list[str]) -> Any:
    """Another library, or None where it is not installed; then a sentence is added to ``missing``."""
    try:
        return importlib.import_module(module)
    except ImportError:
        missing.append(f"{module.split('.')[0]} is not installed, so its rows are left out.")
        return None


def write_json(path: Path, content: Any) -> None:
    """Write JSON, whole or not at all. What is not a number is null."""
    with durable(path) as file:
        file.write(json.dumps(_plain(content), indent=1, ensure_ascii=False, allow_nan=False).encode() + b"\n")


def _plain(value: Any) -> Any:
    """Numbers of five digits; NaN, which JSON has not, as None."""
    if isinstance(value, dict):
        return {str(name): _plain(one) for name, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(one) for one in value]
    if isinstance(value, (float, np.floating)):
        return float(f"{value:.5g}") if np.isfinite(value) else None
    return int(value) if isinstance(value, np.integer) else value


def main(run: Callable[..., Result], quick: Mapping[str, Any], long: Mapping[str, Any] | None = None) -> None:
    """The command line of one benchmark: every setting of ``run`` is an option; prints the tables.

    Args:
        run: the benchmark.
        quick: settings of ``--quick``.
        long: settings of ``--long``.
    """
    from benchmarks.tables import as_markdown

    about = (sys.modules[run.__module__].__doc__ or "").strip()
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="small sizes: whether it works, not how fast")
    parser.add_argument("--long", action="store_true", help="large sizes")
    parser.add_argument("--json", type=Path, help="write the rows there too")
    settings = inspect.signature(run).parameters
    for name, parameter in settings.items():
        kind = type(parameter.default)
        parser.add_argument(f"--{name.replace('_', '-')}", type=kind, help=f"by default {parameter.default}")
    given = vars(parser.parse_args())
    chosen = dict(quick) if given["quick"] else dict(long or {}) if given["long"] else {}
    chosen |= {name: given[name] for name in settings if given[name] is not None}
    result = run(**chosen)
    print(as_markdown(asdict(result)))
    if given["json"]:
        write_json(given["json"], asdict(result))
