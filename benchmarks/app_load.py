"""Many visitors at once: answer times, errors, memory, and whether anybody sees what is another's.

    python -m benchmarks.app_load [--sessions 1,10,50] [--seconds 60] [--pause 20]

A real server of the app on loopback, and sessions that speak Streamlit's own protocol to it (:mod:`benchmarks.visitor`;
no browser, so nothing is drawn). Each session does what a visitor does, in random order with pauses: places by click
and by name, filters, votes, clicks that predict, Explore, Compare, other pages, a GeoTIFF. Tells 50 % and 95 % of the
time from sending an action to the end of the run that it causes, by kind and number of sessions; errors; and the
server's memory when all sessions have warmed up and at the end. In full each number of sessions has ten minutes.

Every session carries a mark of its own: the places that it asks for are its alone. After each action the map's pins,
the address and the votes that came back must be the session's own, else the action counts as an error.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import parse_qs

import numpy as np

from benchmarks.timing import Result, Row, main
from benchmarks.visitor import DELTA, Server, Visitor, blue_marble_patch, serving
from data.land import sample_land

QUICK = {"sessions": "2", "seconds": 4.0, "pause": 0.5}
LONG = {"seconds": 600.0}
PAUSE_S = 20.0
"""Mean time that a visitor looks at an answer before the next action (exponential)."""
NAMES = ("Rome", "Lima", "Nairobi", "Ulaanbaatar", "Perth", "Denver", "Oslo", "Kano")
FILTERS = ("climates=C,D&limits=elevation:200:", "continents=AF,SA", "countries=BRA,USA,IND", "bbox=-20,-35,55,38")
PAGES = ("compare", "jobs", "models", "explore", "predict")
REGIONS = (4, 5, 6, 7, 8)
WARM_UP = ("place, clicked", "image uploaded")


@dataclass
class Tally:
    """What was measured at one number of sessions."""

    seconds: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    errors: Counter[str] = field(default_factory=Counter)
    received: int = 0

    def count(self, kind: str, seconds: float) -> None:
        """One action."""
        self.seconds[kind].append(seconds)

    def forget(self) -> None:
        """Begin anew, after the warm-up; errors stay."""
        self.seconds.clear()
        self.received = 0


@dataclass(frozen=True)
class Level:
    """What one number of sessions gave: rows by kind of action, the server's row, errors as sentences."""

    rows: list[Row]
    server: Row
    errors: list[str]


class Session:
    """One visitor's habits, places and mark."""

    def __init__(self, number: int, visitor: Visitor, tally: Tally, file: bytes) -> None:
        self.visitor, self.tally, self.file = visitor, tally, file
        self.rng = np.random.default_rng(1000 + number)
        # The thousandths of a degree say whose place it is, up to a thousand sessions.
        self.mark = number
        self.kinds: dict[str, tuple[float, Callable[[], Awaitable[float]]]] = {
            "place, clicked": (5, self.click),
            "place, by name": (2, self.name),
            "filters": (3, self.filters),
            "votes": (3, self.votes),
            "image uploaded": (1, self.upload),
            "prediction": (2, self.predict),
            "explore": (1, self.explore),
            "other page": (2, self.pages),
        }

    def place(self) -> tuple[float, float]:
        """A place on land; its thousandths of a degree are the session's mark."""
        lon, lat = sample_land(1, rng=self.rng)[0]
        return round(np.trunc(float(lon)) + self.mark / 1000 * np.sign(lon), 3), round(float(lat), 3)

    async def act(self, kind: str | None = None) -> None:
        """One action, timed; whatever is wrong with it is counted."""
        if kind is None:
            names = list(self.kinds)
            weights = np.array([self.kinds[name][0] for name in names])
            kind = str(self.rng.choice(names, p=weights / weights.sum()))
        self.visitor.received = 0
        try:
            seconds = await self.kinds[kind][1]()
        except (LookupError, OSError, TimeoutError, RuntimeError) as error:
            self.tally.errors[f"{kind}: {type(error).__name__}: {error}"[:300]] += 1
            return
        self.tally.count(kind, seconds)
        self.tally.received += self.visitor.received
        for trouble in self.visitor.troubles():
            self.tally.errors[f"{kind}: {trouble}"[:300]] += 1

    def check(self, *, wanted: bool, what: str) -> None:
        """Count what is not this session's own."""
        if not wanted:
            self.tally.errors[f"another's state: {what}"] += 1

    async def on_search(self) -> None:
        """Go to the search page, if the visitor is elsewhere; not timed."""
        if self.visitor.page != self.visitor.pages.get(""):
            await self.visitor.open(page="")

    async def ask(self, place: tuple[float, float]) -> float:
        """Click the map."""
        seconds = await self.visitor.tell("flat_map", "picked", {"lon": place[0], "lat": place[1]})
        pins = [(pin["lon"], pin["lat"]) for pin in self.visitor.data("flat_map")["pins"]]
        self.check(wanted=pins == [place], what="pins of the map")
        linked = parse_qs(self.visitor.query).get("place", [""])[0]
        self.check(wanted=linked == f"{place[0]:g},{place[1]:g}", what="the address")
        return seconds

    async def click(self) -> float:
        """A place, on the map."""
        await self.on_search()
        return await self.ask(self.place())

    async def name(self) -> float:
        """A place by its name. Nothing is timed if it is the name that stands there already."""
        await self.on_search()
        await self.ask(self.place())
        return await self.visitor.set("place_text", string_value=str(self.rng.choice(NAMES)))

    async def filters(self) -> float:
        """A link with filters."""
        lon, lat = self.place()
        seconds = await self.visitor.open(f"place={lon},{lat}&{self.rng.choice(FILTERS)}", page="")
        pins = [(pin["lon"], pin["lat"]) for pin in self.visitor.data("flat_map")["pins"]]
        self.check(wanted=pins == [(lon, lat)], what="pins of the map")
        return seconds

    async def votes(self) -> float:
        """More like the second hit, less like the best of what then comes; the second vote is timed."""
        await self.on_search()
        place = self.place()
        await self.ask(place)
        liked = self.visitor.data("flat_map")["hits"][1]["id"]
        await self.visitor.tell("gallery", "voted", {"id": liked, "vote": 1})
        unliked = next(hit["id"] for hit in self.visitor.data("flat_map")["hits"] if hit["id"] != liked)
        seconds = await self.visitor.tell("gallery", "voted", {"id": unliked, "vote": -1})
        shown = self.visitor.data("gallery")["votes"]
        self.check(wanted=shown == {liked: 1, unliked: -1}, what="votes")
        pins = [(pin["lon"], pin["lat"]) for pin in self.visitor.data("flat_map")["pins"]]
        self.check(wanted=place in pins, what="pins of the map")
        return seconds

    async def upload(self) -> float:
        """A GeoTIFF."""
        await self.on_search()
        if not any(name for name in self.uploaders()):
            await self.visitor.set("kind", string_array_value={"data": ["An image"]})
        key = next(iter(self.uploaders()))
        seconds = await self.visitor.upload(key, f"visitor-{self.mark}.tif", self.file)
        self.check(wanted=len(self.visitor.data("flat_map")["hits"]) > 0, what="no hits for an image")
        return seconds

    def uploaders(self) -> list[str]:
        """Keys of the page's first uploader, which is there once one asks with an image."""
        found = (
            element.file_uploader.id.rpartition("-")[2]
            for element in self.visitor.elements.values()
            if element.WhichOneof("type") == "file_uploader"
        )
        return [key for key in found if key.startswith("upload_")]

    async def predict(self) -> float:
        """A click that predicts; going to the page is not timed."""
        if self.visitor.page != self.visitor.pages.get("predict"):
            await self.visitor.open(page="predict")
        lon, lat = self.place()
        seconds = await self.visitor.tell("predict_map", "picked", {"lon": lon, "lat": lat})
        pins = [(pin["lon"], pin["lat"]) for pin in self.visitor.data("predict_map")["pins"]]
        self.check(wanted=pins == [(lon, lat)], what="pins of the map of predictions")
        return seconds

    async def explore(self) -> float:
        """Regions, of another number."""
        await self.visitor.open(page="explore")
        await self.visitor.set("explore", string_array_value={"data": ["Regions"]})
        return await self.visitor.set("explore_k", double_array_value={"data": [float(self.rng.choice(REGIONS))]})

    async def pages(self) -> float:
        """Another page."""
        return await self.visitor.open(page=str(self.rng.choice(PAGES)))


async def visit(
    server: Server, number: int, tally: Tally, file: bytes, *, pause_s: float, warm: asyncio.Event, until: list[float]
) -> None:
    """One visitor: what fills a session's memory (the first visitor does everything), then at random to the end."""
    async with Visitor(server.url) as visitor:
        await visitor.open()
        session = Session(number, visitor, tally, file)
        for kind in session.kinds if number == 1 else WARM_UP:
            await session.act(kind)
        await asyncio.wait_for(warm.wait(), 3600)
        while True:
            pause = float(session.rng.exponential(pause_s)) if pause_s else 0.0
            if time.monotonic() + pause >= until[0]:
                return
            await asyncio.sleep(pause)
            await session.act()


async def measure(server: Server, sessions: int, *, seconds: float, settle_s: float, pause_s: float) -> Level:
    """One number of sessions: warm up, measure, tell."""
    tally = Tally()
    file = blue_marble_patch(*DELTA)
    warm, until = asyncio.Event(), [0.0]
    visits = [
        asyncio.create_task(visit(server, number, tally, file, pause_s=pause_s, warm=warm, until=until))
        for number in range(1, sessions + 1)
    ]
    first = len(Session(0, Visitor(server.url), tally, file).kinds)
    expected = first + len(WARM_UP) * (sessions - 1)
    while sum(map(len, tally.seconds.values())) + sum(tally.errors.values()) < expected:
        await asyncio.sleep(0.2)
        for task in visits:
            if task.done():
                task.result()
    until[0] = time.monotonic() + settle_s + seconds
    warm.set()
    await asyncio.sleep(settle_s)
    tally.forget()
    began, cpu, held = time.monotonic(), _cpu_s(server.pid), list[float]()
    while time.monotonic() < until[0] - 1 or not held:
        held.append(server.resident_mb())
        await asyncio.sleep(1)
    took, busy = time.monotonic() - began, _cpu_s(server.pid) - cpu
    tenth = -(-len(held) // 10)
    start, end = float(np.median(held[:tenth])), float(np.median(held[-tenth:]))
    await asyncio.gather(*visits)
    every = [one for own in tally.seconds.values() for one in own]
    kinds = {**dict(sorted(tally.seconds.items())), "all": every}
    name = "one visitor" if sessions == 1 else f"{sessions} visitors"
    rows = [_row(kind, taken, f"{name}, {took:.0f} s") for kind, taken in kinds.items() if taken]
    errors = sum(tally.errors.values())
    more: dict[str, float | str] = {
        "MB at the start": start,
        "growth, %": f"{100 * (end / start - 1):+.1f}",
        "most MB": max(held),
        "actions": len(every),
        "errors": errors,
        "processors at work": busy / took,
        "their ms an action": 1000 * busy / max(1, len(every)),
        "received an action, kB": tally.received / max(1, len(every)) / 1000,
        "threads": server.threads(),
    }
    row = Row(name, end, "MB at the end", part="the server", more=more)
    return Level(rows, row, [f"{name}: {count} times: {text}" for text, count in tally.errors.items()])


def _row(kind: str, seconds: list[float], part: str) -> Row:
    middle, high = (1000 * np.quantile(seconds, (0.5, 0.95))).tolist()
    return Row(kind, middle, "ms", part=part, more={"95 % within, ms": high, "actions": len(seconds)})


def _cpu_s(pid: int) -> float:
    """Seconds of processor time that a process has used."""
    with contextlib.suppress(OSError, IndexError, ValueError):
        parts = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return (int(parts[11]) + int(parts[12])) / os.sysconf("SC_CLK_TCK")
    return float("nan")


def run(sessions: str = "1,10,50", seconds: float = 60.0, settle: float = 0.0, pause: float = PAUSE_S) -> Result:
    """Serve, and let so many visit at once, one number after the other.

    Args:
        sessions: numbers of visitors, comma between them.
        seconds: measured, for each number.
        settle: seconds at work before that; 0: a tenth of ``seconds``.
        pause: mean seconds that a visitor looks at an answer; 0 for none.
    """
    levels = []
    with tempfile.TemporaryDirectory() as folder, serving(Path(folder) / "log") as server:
        for count in map(int, sessions.split(",")):
            settled = measure(server, count, seconds=seconds, settle_s=settle or seconds / 10, pause_s=pause)
            levels.append(asyncio.run(settled))
        log = server.log.read_text("utf-8", "replace").splitlines()
    complaints = [f"The server's log: {line}" for line in log if "Error" in line or "Traceback" in line]
    rows = [row for level in levels for row in level.rows] + [level.server for level in levels]
    notes = [note for level in levels for note in level.errors] + complaints[:20]
    title = f"Visitors of one server over loopback, each with {pause:g} s between an answer and the next action."
    return Result(title, tuple(rows), tuple(notes) or ("No error; the server's log names none.",))


if __name__ == "__main__":
    main(run, QUICK, LONG)
