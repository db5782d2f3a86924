"""Run the benchmarks, each in a process of its own, and keep what they found; or put the tables into the pages.

    python -m benchmarks                       # all but the long ones, 40 minutes on two cores
    python -m benchmarks search_peers heads    # some
    python -m benchmarks --long                # all, in full size; hours
    python -m benchmarks --quick --out tried   # whether each works
    python -m benchmarks --list
    python -m benchmarks render                # from benchmarks/results/*.json into README and docs

A benchmark that fails is named at the end, and the exit code is 1; the others' results are kept.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.machine import describe
from benchmarks.snapshots import FOLDER
from benchmarks.tables import RESULTS, ROOT, as_page, pages, render
from benchmarks.timing import write_json

NAMES = (
    "open_to_first_answer",
    "filtered_search",
    "filtered_lists",
    "search_peers",
    "engine_rate",
    "location_encoding",
    "encoding_peers",
    "heads",
    "reading",
    "milvus_store",
    "app_queries",
    "app_browser",
    "app_load",
    "approximate_search",
)
LONG_ONLY = ("scaling", "catalogue", "training_step")


def run_one(name: str, out: Path, words: list[str]) -> tuple[str, float]:
    """Run one in a fresh process, show its tables, keep them as JSON.

    Returns:
        What went wrong, or "", and the seconds it took.
    """
    made, begun = describe(), time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "result.json"
        quick = "--quick" in words
        command = [sys.executable, "-m", f"benchmarks.{name}", *words, "--json", str(file)]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
        took = time.perf_counter() - begun
        if done.returncode or not file.exists():
            said = (done.stderr or done.stdout).strip()[-2000:]
            return f"{name} failed with exit code {done.returncode}: {said or 'it said nothing'}", took
        result = json.loads(file.read_bytes())
    command_line = " ".join(["python -m benchmarks", name, *words])
    kept = {"name": name, "command": command_line, "quick": quick, "made": made | {"took_s": took}} | result
    write_json(out / f"{name}.json", kept)
    print(f"\n## {name} ({took:.0f} s)\n\n{as_page(json.loads((out / f'{name}.json').read_bytes()))}", flush=True)
    return "", took


def main() -> int:
    """Run, or render."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help="which; or render")
    parser.add_argument("--list", action="store_true", help="tell what there is")
    parser.add_argument("--quick", action="store_true", help="small sizes: whether they work, not how fast")
    parser.add_argument("--long", action="store_true", help="the long ones too, all in large sizes")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder for the JSON files")
    given = parser.parse_args()
    if given.list:
        for name in (*NAMES, *LONG_ONLY):
            about = (importlib.import_module(f"benchmarks.{name}").__doc__ or "").splitlines()[0]
            print(f"{name:<22}{'--long: ' if name in LONG_ONLY else ''}{about}")
        return 0
    if given.names == ["render"]:
        return render_all(given.out)
    unknown = sorted(set(given.names) - {*NAMES, *LONG_ONLY})
    if unknown:
        parser.error(f"there is no benchmark {unknown[0]}; there are: {', '.join((*NAMES, *LONG_ONLY))}, and render")
    everything: tuple[str, ...] = (*NAMES, *LONG_ONLY) if given.long or given.quick else NAMES
    words = ["--quick"] if given.quick else ["--long"] if given.long else []
    given.out.mkdir(parents=True, exist_ok=True)
    failures, begun = [], time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="samewhere-benchmarks-") as scratch:
        os.environ.setdefault(FOLDER, scratch)
        for name in given.names or everything:
            failure, took = run_one(name, given.out, words)
            if failure:
                failures.append(name)
                print(f"\n## {name} ({took:.0f} s)\n\n{failure}", flush=True)
    print(f"\n{time.perf_counter() - begun:.0f} s in all.", end=" ")
    print(f"Failed: {', '.join(failures)}." if failures else f"Results are in {given.out}.")
    return 1 if failures else 0


def render_all(results: Path) -> int:
    """Put every table into its place, and draw the curves."""
    from benchmarks.plots import draw_all

    for path in pages():
        print(f"{path.relative_to(ROOT)}: {', '.join(render(path, results))}")
    for picture in draw_all(results):
        print(picture.relative_to(ROOT))
    return 0


if __name__ == "__main__":
    sys.exit(main())
