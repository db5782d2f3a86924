"""A hub on the loopback device: the routes that huggingface_hub asks for one file, and the ways in which they fail."""

from __future__ import annotations

import hashlib
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

COMMIT = "0123456789abcdef0123456789abcdef01234567"


class Hub:
    """Serves ``/REPO/resolve/REVISION/FILE``; change the attributes to make it fail.

    Attributes:
        content: by path, "REPO/FILE".
        promised: SHA-256 that the hub claims where it is not that of the content.
        break_after: the next GET ends the connection after so many bytes.
        short: bytes that every GET lacks.
        status: answer everything with this.
        requests: method, path and Range of what was asked.
    """

    def __init__(self) -> None:
        """Start listening on a free port."""
        self.content: dict[str, bytes] = {}
        self.promised: str | None = None
        self.break_after: int | None = None
        self.short = 0
        self.status: int | None = None
        self.requests: list[tuple[str, str, str | None]] = []
        hub = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_HEAD(self) -> None:
                hub.answer(self)

            def do_GET(self) -> None:
                hub.answer(self)

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()

    @property
    def url(self) -> str:
        """What ``HF_ENDPOINT`` should say."""
        return f"http://127.0.0.1:{self.server.server_address[1]}"

    def close(self) -> None:
        """Stop listening."""
        self.server.shutdown()
        self.server.server_close()

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        """One request."""
        asked = request.headers.get("Range")
        self.requests.append((request.command, request.path, asked))
        repository, _, rest = request.path.lstrip("/").partition("/resolve/")
        body = self.content.get(f"{repository}/{rest.partition('/')[2]}")
        if self.status is not None or body is None:
            request.send_response(self.status or 404)
            request.send_header("X-Error-Code", "RepoNotFound" if self.status is None else "")
            request.send_header("Content-Length", "0")
            request.end_headers()
            return
        start = int(asked.removeprefix("bytes=").rstrip("-")) if asked else 0
        sent = body[start : len(body) - (self.short if request.command == "GET" else 0)]
        request.send_response(206 if asked else 200)
        request.send_header("ETag", '"git-id"')
        request.send_header("X-Linked-Etag", f'"{self.promised or hashlib.sha256(body).hexdigest()}"')
        request.send_header("X-Linked-Size", str(len(body)))
        request.send_header("X-Repo-Commit", COMMIT)
        request.send_header("Accept-Ranges", "bytes")
        if asked:
            request.send_header("Content-Range", f"bytes {start}-{start + len(sent) - 1}/{len(body)}")
        request.send_header("Content-Length", str(len(sent)))
        request.end_headers()
        if request.command == "HEAD":
            return
        if self.break_after is not None:
            sent, self.break_after = sent[: self.break_after], None
            request.close_connection = True
        request.wfile.write(sent)
