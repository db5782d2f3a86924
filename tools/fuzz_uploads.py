"""Broken uploads by the hundred thousand, read as the app reads them, and what comes of it.

Owns the running: each kind of file is read by a process of its own, with a bound on its memory and on the time for one
input. A finding is whatever is no answer: the end of the process, an error that is no :class:`SamewhereError`, too much
memory, too much time, or a patch that breaks its own promises. Input number ``n`` of a seed is the same on every run:
a finding is told by its kind, seed and number. Refuses to stop at a finding: the next process goes on behind it.

Example: python -m tools.fuzz_uploads --inputs 100000 --seed 1 --out findings.json
One again: python -m tools.fuzz_uploads --kinds tiff --seed 1 --only 4711
"""

from __future__ import annotations

import argparse
import base64
import contextlib
import json
import logging
import multiprocessing
import os
import random
import resource
import signal
import sys
import tempfile
import time
import traceback
import warnings
import zlib
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np

from data.errors import SamewhereError
from tools.mutations import KINDS, mutate

ROOT = Path(__file__).parents[1]
MEMORY_BYTES = 3 << 30
"""Beyond what the process holds before its first input: twice what the largest patch that is allowed takes."""
INPUT_S = 20.0
BUSY = 300_000
"""Values of a patch that is also drawn and made ready for the encoders, one in four; more would cost most of a run."""


@dataclass
class Finding:
    """One kind of failure.

    Attributes:
        kind: of the file.
        what: the error's class, or how the process ended.
        where: the innermost line of this project, and the error's message.
        numbers: of the first inputs that did it.
        count: of all that did.
        content: the first input, base64, where it is short.
    """

    kind: str
    what: str
    where: str
    numbers: list[int] = field(default_factory=list)
    count: int = 0
    content: str = ""


@dataclass
class Tally:
    """What was run of one kind."""

    inputs: int = 0
    accepted: int = 0
    refused: int = 0
    seconds: float = 0.0
    slowest_s: float = 0.0
    slowest: int = -1


def fuzz(
    kind: str,
    *,
    seed: int,
    inputs: int,
    first: int = 0,
    input_s: float = INPUT_S,
    make: Callable[[str, Path], Callable[[bytes], Any]] | None = None,
) -> tuple[Tally, list[Finding]]:
    """Run the inputs of one kind.

    Args:
        kind: one of :data:`tools.mutations.KINDS`.
        seed: of the inputs.
        inputs: how many.
        first: number of the first.
        input_s: seconds that one input may take.
        make: gives what reads a kind; :func:`reader` by default.

    Returns:
        Counts, and the findings, alike ones together.
    """
    tally, found, at, end = Tally(), dict[tuple[str, str], Finding](), first, first + inputs
    begun = time.monotonic()
    while at < end:
        here, there = multiprocessing.get_context("spawn").Pipe(duplex=False)
        given = (there, kind, seed, at, end, make or reader)
        process = multiprocessing.get_context("spawn").Process(target=_work, args=given)
        process.start()
        there.close()
        ended = ""
        with here:
            while at < end:
                if not here.poll(input_s if tally.inputs or at > first else 60 + input_s):
                    process.kill()
                    ended = f"no answer in {input_s:g} s"
                    break
                try:
                    after, accepted, refused, slow, problems = here.recv()
                except EOFError:
                    break
                tally.inputs, at = tally.inputs + after - at, after
                tally.accepted += accepted
                tally.refused += refused
                tally.slowest_s, tally.slowest = max((tally.slowest_s, tally.slowest), slow)
                for number, what, where in problems:
                    _note(found, kind, seed, number, what, where)
        process.join()
        if at < end:  # the process died; the batch is gone through one by one to find at which input
            code = process.exitcode or 0
            ended = ended or (f"died of {signal.Signals(-code).name}" if code < 0 else f"exit {code}")
            _note(found, kind, seed, at, ended, "the process")
            tally.inputs, at = tally.inputs + 1, at + 1
    tally.seconds = round(time.monotonic() - begun, 2)
    return tally, list(found.values())


def _work(
    out: Connection, kind: str, seed: int, first: int, end: int, make: Callable[[str, Path], Callable[[bytes], Any]]
) -> None:
    """In the process: read one input after the other, and tell of each before the next is begun, in a pipe."""
    warnings.simplefilter("ignore")
    logging.disable(logging.CRITICAL)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # libraries in C complain of every broken file
    os.environ.update(GDAL_NUM_THREADS="1", OMP_NUM_THREADS="1", CPL_LOG=os.devnull)
    with tempfile.TemporaryDirectory() as folder:
        read = make(kind, Path(folder))
        mutate(kind, random.Random(0))
        held = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (held + MEMORY_BYTES, held + MEMORY_BYTES))
        for number in range(first, end):
            content = mutate(kind, generator(kind, seed, number))
            begun = time.perf_counter()
            accepted, problems = judge(read, content)
            slow = round(time.perf_counter() - begun, 3), number
            out.send((number + 1, accepted, not accepted and not problems, slow, [(number, *one) for one in problems]))


def judge(read: Callable[[bytes], Any], content: bytes) -> tuple[bool, list[tuple[str, str]]]:
    """Whether an input was accepted, and what is wrong with the way in which it was answered."""
    try:
        read(content)
    except SamewhereError as error:
        text = str(error)
        return False, [] if text and len(text) < 2000 else [("a message without measure", f"{len(text)} characters")]
    except BaseException as error:
        frames = [one for one in traceback.extract_tb(error.__traceback__) if one.filename.startswith(str(ROOT))]
        at = f"{Path(frames[-1].filename).relative_to(ROOT)}:{frames[-1].name}" if frames else "?"
        return False, [(type(error).__name__, f"{at}: {str(error)[:200]}")]
    return True, []


def generator(kind: str, seed: int, number: int) -> random.Random:
    """What draws input ``number``."""
    return random.Random(f"{kind} {seed} {number}")


def reader(kind: str, folder: Path) -> Callable[[bytes], Any]:
    """How the app reads a kind of file; ``folder`` is for kinds that are read from a disk."""
    if kind == "table":
        from app.mapped import read_upload

        return read_upload
    if kind == "safe":
        return lambda content: _read_safe(content, folder)
    return _read_patch


def _read_patch(content: bytes) -> None:
    from app.preview import caption
    from data.bridge import to_blue_marble
    from data.display import picture
    from data.patch import MAX_BANDS, MAX_SIDE_PX, MAX_VALUES, read_patch
    from data.sentinel import sentinel_stack

    patch = read_patch(content, name="upload")
    if patch.pixels.size > MAX_VALUES or len(patch.bands) > MAX_BANDS or max(patch.pixels.shape) > MAX_SIDE_PX:
        raise AssertionError(f"shape {patch.pixels.shape}")
    if patch.lonlat is not None and not (abs(patch.lonlat[0]) <= 180 and abs(patch.lonlat[1]) <= 90):
        raise AssertionError(f"place {patch.lonlat}")
    if patch.gsd_m is not None and not 0 < patch.gsd_m < float("inf"):
        raise AssertionError(f"{patch.gsd_m} m a pixel")
    if patch.footprint is not None and not np.isfinite(patch.footprint).all():
        raise AssertionError("an outline that is not finite")
    if patch.pixels.size <= BUSY and zlib.crc32(content) % 4 == 0:
        caption(patch)
        picture(patch)
        tile, side_km = to_blue_marble(patch)
        if not (np.isfinite(tile).all() and side_km > 0):
            raise AssertionError(f"what the encoder is given is not finite, {side_km} km")
        with contextlib.suppress(SamewhereError):
            sentinel_stack(patch, 32)


def _read_safe(content: bytes, folder: Path) -> None:
    from data.sources.safe import open_safe

    path = folder / "product.zip"
    path.write_bytes(content)
    source = open_safe(path, patch_px=32)
    for address in list(source.addresses)[:2]:
        source.read(address)


def _note(found: dict[tuple[str, str], Finding], kind: str, seed: int, number: int, what: str, where: str) -> None:
    key = (what, where.split(":")[0] + where[:60])
    one = found.setdefault(key, Finding(kind, what, where))
    if not one.count:
        content = mutate(kind, generator(kind, seed, number))
        one.content = base64.b64encode(content).decode() if len(content) < 20_000 else ""
    one.count += 1
    one.numbers = [*one.numbers, number][:5]


def main(given: Iterable[str] | None = None) -> int:
    """Run it; exit 1 where something was found."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--kinds", default=",".join(KINDS), help="of files, separated by commas")
    parser.add_argument("--inputs", type=int, default=1000, help="of each kind")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", type=int, help="number of a single input, read in this process")
    parser.add_argument("--out", type=Path, help="where the report goes, as JSON")
    chosen = parser.parse_args(None if given is None else list(given))
    kinds = chosen.kinds.split(",")
    if unknown := set(kinds) - set(KINDS):
        parser.error(f"no such kind of file: {', '.join(sorted(unknown))}; there are {', '.join(KINDS)}")
    if chosen.only is not None:
        with tempfile.TemporaryDirectory() as folder:
            reader(kinds[0], Path(folder))(mutate(kinds[0], generator(kinds[0], chosen.seed, chosen.only)))
        return 0
    report: dict[str, Any] = {"seed": chosen.seed, "kinds": {}, "findings": []}
    for kind in kinds:
        tally, findings = fuzz(kind, seed=chosen.seed, inputs=chosen.inputs)
        report["kinds"][kind] = asdict(tally) | {"inputs_per_s": round(tally.inputs / max(tally.seconds, 1e-9), 1)}
        report["findings"] += [asdict(one) for one in findings]
        text = json.dumps(report, indent=2)
        if chosen.out:
            chosen.out.write_text(text + "\n", encoding="utf-8")
    sys.stdout.write(text + "\n")
    return 1 if report["findings"] else 0


if __name__ == "__main__":
    raise SystemExit(main())
