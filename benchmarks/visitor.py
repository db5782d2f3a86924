"""A visitor of a Streamlit server without a browser: Streamlit's own protocol, protobuf messages over a websocket.

Owns the protocol: a visit is one session of the server, with the widgets' values that a browser would keep. An action
sends the whole state as the browser does and waits until the script has run to its end. Owns the server of a benchmark,
too: a process of its own on a free port, and the file that visitors upload.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rasterio.io import MemoryFile
from rasterio.transform import from_bounds
from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.Common_pb2 import FileURLsRequest
from streamlit.proto.Element_pb2 import Element
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from streamlit.proto.WidgetStates_pb2 import WidgetState
from websockets.asyncio.client import ClientConnection, connect

from data.blue_marble import BlueMarble

ROOT = Path(__file__).parents[1]
PATIENCE_S = 180.0
DELTA = (31.0, 30.8)
"""Longitude and latitude of the Nile's, the place of the uploaded file."""
EVENTS = "$$STREAMLIT_INTERNAL_KEY_{}__events"


@dataclass(frozen=True)
class Server:
    """A running server: its address, and the process that it is."""

    url: str
    pid: int
    log: Path

    def resident_mb(self) -> float:
        """Memory that the process holds."""
        return _status(self.pid, "VmRSS") / 1024

    def threads(self) -> int:
        """Its threads."""
        return int(_status(self.pid, "Threads"))


@contextlib.contextmanager
def serving(log: Path, *, env: dict[str, str] | None = None) -> Iterator[Server]:
    """A server of the app until the block ends.

    Args:
        log: where what it prints goes.
        env: changes of its environment.

    Raises:
        RuntimeError: it does not answer within 60 s.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    options = [f"--server.port={port}", "--server.address=127.0.0.1", "--server.headless=true"]
    with log.open("wb") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", "streamlit", "run", str(ROOT / "app" / "main.py"), *options],
            cwd=ROOT,
            env={**os.environ, **(env or {})},
            stdout=out,
            stderr=subprocess.STDOUT,
        )
    url = f"http://127.0.0.1:{port}"
    try:
        for _ in range(600):
            with contextlib.suppress(urllib.error.URLError, OSError):
                urllib.request.urlopen(f"{url}/_stcore/health", timeout=1).close()
                break
            time.sleep(0.1)
        else:
            raise RuntimeError(f"The server does not answer; it printed: {log.read_text()[-2000:]}")
        yield Server(url, process.pid, log)
    finally:
        process.terminate()
        process.wait(20)


@dataclass
class Visitor:
    """One session. ``async with Visitor(url) as visitor``."""

    url: str
    elements: dict[tuple[int, ...], Element] = field(default_factory=dict)
    pages: dict[str, str] = field(default_factory=dict)
    page: str = ""
    query: str = ""
    received: int = 0
    _values: dict[str, WidgetState] = field(default_factory=dict)
    _socket: ClientConnection | None = None
    _session: str = ""
    _files: dict[str, Any] = field(default_factory=dict)

    async def __aenter__(self) -> Visitor:
        self._socket = await connect(
            self.url.replace("http", "ws", 1) + "/_stcore/stream",
            subprotocols=["streamlit"],  # type: ignore[list-item]
            max_size=None,
            open_timeout=PATIENCE_S,
            ping_interval=None,
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._socket:
            await self._socket.close()

    async def open(self, query: str = "", *, page: str = "") -> float:
        """Follow a link of a page, as the address bar does; returns seconds until the script has ended."""
        self.query = query
        return await self._rerun({}, page=page)

    async def set(self, key: str, **value: Any) -> float:
        """Set the widget of a key, as ``set("place_text", string_value="Rome")``.

        Raises:
            LookupError: the page shows no such widget.
        """
        one = WidgetState(id=self.id_of(key), **value)
        return await self._rerun({one.id: one})

    async def press(self, key: str) -> float:
        """Press the button of a key."""
        return await self.set(key, trigger_value=True)

    async def tell(self, component: str, event: str, value: Any) -> float:
        """An event of one of the components of our own, by its key."""
        name = EVENTS.format(self.id_of(component))
        return await self._rerun(
            {name: WidgetState(id=name, json_trigger_value=json.dumps([{"event": event, "value": value}]))}
        )

    async def upload(self, key: str, name: str, content: bytes) -> float:
        """Hand a file to an uploader: ask where to put it, put it there, say so."""
        began = time.perf_counter()
        request = FileURLsRequest(request_id=uuid.uuid4().hex, file_names=[name], session_id=self._session)
        await self._send(BackMsg(file_urls_request=request))
        while request.request_id not in self._files:
            await self._receive()
        urls = self._files.pop(request.request_id).file_urls[0]
        await asyncio.to_thread(_put, self.url + urls.upload_url, name, content)
        one = WidgetState(id=self.id_of(key))
        info = one.file_uploader_state_value.uploaded_file_info.add()
        info.file_id, info.name, info.size = urls.file_id, name, len(content)
        info.file_urls.CopyFrom(urls)
        await self._rerun({one.id: one})
        return time.perf_counter() - began

    def id_of(self, key: str) -> str:
        """Id of the widget or component of a key.

        Raises:
            LookupError: the page shows none.
        """
        for element in self.elements.values():
            name = str(getattr(_content(element), "id", ""))
            if name.endswith(f"-{key}"):
                return name
        raise LookupError(f"The page shows no {key}; it says: {' | '.join(self.texts())[:500]}")

    def data(self, component: str) -> dict[str, Any]:
        """What a component of our own was given, by its key."""
        wanted = self.id_of(component)
        for element in self.elements.values():
            if element.WhichOneof("type") == "bidi_component" and element.bidi_component.id == wanted:
                own = element.bidi_component
                found: dict[str, Any] = json.loads(own.mixed.json if own.WhichOneof("data") == "mixed" else own.json)
                return found
        return {}

    def texts(self) -> list[str]:
        """What the page says in words."""
        return [
            str(text)
            for element in self.elements.values()
            if (text := getattr(_content(element), "body", "") or getattr(_content(element), "label", ""))
        ]

    def troubles(self) -> list[str]:
        """Errors and exceptions that the page shows."""
        found = []
        for element in self.elements.values():
            if element.WhichOneof("type") == "exception":
                found.append(f"{element.exception.type}: {element.exception.message}")
            elif element.WhichOneof("type") == "alert" and element.alert.format == element.alert.ERROR:
                found.append(element.alert.body)
        return found

    async def _rerun(self, changes: dict[str, WidgetState], *, page: str | None = None) -> float:
        if page is not None:
            self.page = self.pages.get(page, "") if page else ""
        there = {str(getattr(_content(element), "id", "")) for element in self.elements.values()}
        self._values = {name: value for name, value in self._values.items() if name in there}
        message = BackMsg()
        message.rerun_script.query_string = self.query
        message.rerun_script.page_script_hash = self.page
        message.rerun_script.widget_states.widgets.extend((self._values | changes).values())
        began = time.perf_counter()
        await self._send(message)
        while not await self._receive():
            pass
        seconds = time.perf_counter() - began
        lasting = {
            name: one for name, one in changes.items() if not str(one.WhichOneof("value")).endswith("trigger_value")
        }
        self._values |= lasting
        for element in self.elements.values():
            content = _content(element)
            if getattr(content, "set_value", False):  # the server chose; a browser takes that over
                self._values.pop(content.id, None)
        return seconds

    async def _send(self, message: BackMsg) -> None:
        if self._socket is None:
            raise RuntimeError("The visit has not begun.")
        await self._socket.send(message.SerializeToString())

    async def _receive(self) -> bool:
        """Take one message in; True if it ends a run."""
        if self._socket is None:
            raise RuntimeError("The visit has not begun.")
        raw = await asyncio.wait_for(self._socket.recv(), PATIENCE_S)
        self.received += len(raw)
        message = ForwardMsg.FromString(raw if isinstance(raw, bytes) else raw.encode())
        kind = message.WhichOneof("type")
        if kind == "new_session":
            self.elements.clear()
            self._session = message.new_session.initialize.session_id or self._session
        elif kind == "navigation":
            self.pages = {page.url_pathname: page.page_script_hash for page in message.navigation.app_pages}
            self.page = message.navigation.page_script_hash
        elif kind == "delta" and message.delta.WhichOneof("type") == "new_element":
            self.elements[tuple(message.metadata.delta_path)] = message.delta.new_element
        elif kind == "page_info_changed":
            self.query = message.page_info_changed.query_string
        elif kind == "file_urls_response":
            self._files[message.file_urls_response.response_id] = message.file_urls_response
        elif kind == "script_finished":
            return bool(message.script_finished == ForwardMsg.FINISHED_SUCCESSFULLY)
        return False


def _content(element: Element) -> Any:
    return getattr(element, element.WhichOneof("type") or "empty")


def _put(url: str, name: str, content: bytes) -> None:
    """Upload as a browser does, with the token against forged requests."""
    base = url.partition("/_stcore")[0]
    with urllib.request.urlopen(f"{base}/_stcore/health", timeout=PATIENCE_S) as health:
        cookie = next(
            one.partition(";")[0]
            for one in health.headers.get_all("Set-Cookie", [])
            if one.startswith("_streamlit_xsrf=")
        )
    edge = uuid.uuid4().hex
    head = f'--{edge}\r\nContent-Disposition: form-data; name="file"; filename="{name}"\r\n\r\n'
    request = urllib.request.Request(
        url,
        data=head.encode() + content + f"\r\n--{edge}--\r\n".encode(),
        method="PUT",
        headers={
            "Content-Type": f"multipart/form-data; boundary={edge}",
            "Cookie": cookie,
            "X-Xsrftoken": cookie.partition("=")[2],
        },
    )
    urllib.request.urlopen(request, timeout=PATIENCE_S).close()


def _status(pid: int, name: str) -> float:
    """A number of ``/proc/PID/status``, kB where it is memory; NaN where there is no such file."""
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text("utf-8").splitlines():
            if line.startswith(f"{name}:"):
                return float(line.split()[1])
    return float("nan")


def geotiff(pixels: NDArray[np.generic], *, centre: tuple[float, float] = (31.0, 30.8), side_deg: float = 2.0) -> bytes:
    """A GeoTIFF of (C, H, W) pixels around a place."""
    lon, lat = centre
    count, height, width = pixels.shape
    edges = (lon - side_deg / 2, lat - side_deg / 2, lon + side_deg / 2, lat + side_deg / 2)
    profile = {"driver": "GTiff", "count": count, "height": height, "width": width, "dtype": pixels.dtype}
    with MemoryFile() as file:
        with file.open(**profile, crs="EPSG:4326", transform=from_bounds(*edges, width, height)) as dataset:
            dataset.write(pixels)
        return bytes(file.read())


def blue_marble_patch(lon: float, lat: float) -> bytes:
    """The Blue Marble around a place as a GeoTIFF of red, green and blue bytes."""
    return geotiff(BlueMarble.open().cut([[lon, lat]])[0], centre=(lon, lat))
