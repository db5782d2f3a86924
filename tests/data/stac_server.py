"""A STAC catalogue on the loopback device: rustac serves the items, and a file server the rasters, with its faults."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import sysconfig
import threading
import time
import urllib.request
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


class FileServer:
    """Serves ``content`` by path, in ranges. The first part of a path may be a fault: a status, "stall", or
    "flaky" and "stuck", which answer 503 and stall but once.

    Attributes:
        content: by path without the fault.
        sent: bytes by path.
        asked: requests by path.
    """

    def __init__(self) -> None:
        self.content: dict[str, bytes] = {}
        self.sent: Counter[str] = Counter()
        self.asked: Counter[str] = Counter()
        self.closing = threading.Event()
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_HEAD(self) -> None:
                server.answer(self)

            def do_GET(self) -> None:
                server.answer(self)

            def do_POST(self) -> None:
                server.answer(self)

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()

    def close(self) -> None:
        self.closing.set()
        self.server.shutdown()
        self.server.server_close()

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        path = request.path.partition("?")[0].lstrip("/")
        fault, _, rest = path.partition("/")
        self.asked[path] += 1
        if fault == "stall" or (fault == "stuck" and self.asked[path] == 1):
            self.closing.wait(20)
            request.close_connection = True
            return
        status = int(fault) if fault.isdecimal() else 503 if fault == "flaky" and self.asked[path] == 1 else None
        body = self.content.get(rest if fault in ("flaky", "stuck") or fault.isdecimal() else path)
        if status or body is None:
            request.send_response(status or 404)
            request.send_header("Content-Length", "0")
            request.end_headers()
            return
        start, stop, ranged = 0, len(body), request.headers.get("Range")
        if ranged:
            first, _, last = ranged.removeprefix("bytes=").partition("-")
            start, stop = int(first), min(int(last) + 1, len(body)) if last else len(body)
        request.send_response(206 if ranged else 200)
        request.send_header("Accept-Ranges", "bytes")
        request.send_header("Content-Length", str(stop - start))
        if ranged:
            request.send_header("Content-Range", f"bytes {start}-{stop - 1}/{len(body)}")
        request.end_headers()
        if request.command != "HEAD":
            self.sent[path] += stop - start
            request.wfile.write(body[start:stop])


class Catalogue:
    """``rustac serve`` over one collection and some items."""

    def __init__(self, folder: Path, collection: str, items: list[dict]) -> None:
        extent = {
            "spatial": {"bbox": [[-180, -90, 180, 90]]},
            "temporal": {"interval": [["2015-01-01T00:00:00Z", None]]},
        }
        described = {
            "type": "Collection",
            "stac_version": "1.0.0",
            "id": collection,
            "description": "written by a test",
            "license": "other",
            "extent": extent,
            "links": [],
        }
        files = [folder / "collection.json", folder / "items.json"]
        files[0].write_text(json.dumps(described))
        files[1].write_text(json.dumps({"type": "FeatureCollection", "features": items}))
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            address = f"127.0.0.1:{probe.getsockname()[1]}"
        self.url = f"http://{address}"
        program = shutil.which("rustac", path=sysconfig.get_path("scripts")) or "rustac"
        with (folder / "log").open("wb") as log:
            self.process = subprocess.Popen(
                [program, "serve", *map(str, files), "--addr", address], stdout=log, stderr=log
            )
        for _ in range(200):
            try:
                urllib.request.urlopen(self.url, timeout=1).close()
                return
            except OSError:
                time.sleep(0.05)
        self.close()
        raise RuntimeError((folder / "log").read_text())

    def close(self) -> None:
        self.process.terminate()
        self.process.wait(10)
