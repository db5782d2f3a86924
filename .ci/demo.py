"""What a stranger does first, with an installed wheel and no checkout: run by ``.ci/minimum`` outside of it.

Each step is the ``samewhere`` beside this Python, in a home of its own. Uses the standard library alone.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

SAMEWHERE = str(Path(sys.executable).with_name("samewhere"))
STATIC = ("/app/static/icon.png", "/app/static/map/map.html", "/app/static/map/deck.gl.min.js")
START_S = 90.0


def run(*words: str, code: int = 0) -> str:
    """Run a command; ends the demo where it leaves with another code."""
    print("$ samewhere", *words, flush=True)
    done = subprocess.run([SAMEWHERE, *words], capture_output=True, text=True, check=False)
    if done.returncode != code:
        sys.exit(f"exit code {done.returncode} instead of {code}\n{done.stdout}\n{done.stderr}")
    return done.stdout


def get(url: str) -> bytes:
    """What is at an address of this machine."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(url, timeout=10) as answer:
        content: bytes = answer.read()
    return content


def serve() -> None:
    """Start the app, wait for it, and fetch the page and what it needs."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    words = ["app", "--port", str(port), "--host", "127.0.0.1", "--no-browser"]
    print("$ samewhere", *words, flush=True)
    process = subprocess.Popen([SAMEWHERE, *words], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        url, until = f"http://127.0.0.1:{port}", time.monotonic() + START_S
        while True:
            try:
                get(f"{url}/_stcore/health")
                break
            except OSError:
                if process.poll() is not None or time.monotonic() > until:
                    process.terminate()
                    sys.exit(f"the app did not start:\n{process.communicate()[0]}")
                time.sleep(0.2)
        if b"<title>" not in get(url):
            sys.exit("the page is none")
        for path in STATIC:  # served only under the settings that are installed with the app
            if len(get(url + path)) < 500:
                sys.exit(f"{path} is empty")
    finally:
        process.terminate()
        process.wait(20)


def main() -> None:
    """All steps."""
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        os.environ["SAMEWHERE_HOME"] = str(Path(folder) / "home")
        os.environ.pop("PYTHONPATH", None)
        before = json.loads(run("doctor", "--json", code=1))["problems"]
        if len(before) != 1 or "There is no index" not in before[0]:
            sys.exit(f"the doctor finds more than a missing index: {before}")
        run("index", "build", "--cell-resolution", "1", "--tile-resolution", "0")
        print(run("doctor"), flush=True)
        hits = json.loads(run("search", "--place", "12.49,41.89", "-k", "5", "--min-km", "500", "--json"))["hits"]
        scores = [hit["score"] for hit in hits]
        if len(hits) != 5 or scores != sorted(scores, reverse=True) or min(hit["km"] for hit in hits) < 500:
            sys.exit(f"these are no answers: {hits}")
        serve()
    print("The demo is done.")


if __name__ == "__main__":
    main()
