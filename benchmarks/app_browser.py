"""How soon a query is on the map: from the click or Enter to the frame that shows its colours and hits.

    python -m benchmarks.app_browser [--rounds 1]

A real server of the app and a real Chromium at 1440 × 900. Twenty queries of different kinds are asked as a visitor
asks them. A query is shown when the map's frame says that it has drawn it (``data-drawn`` of ``#map``, set after
deck.gl's rendering once the new pictures are decoded) and two further frames have passed. Chromium draws in software
here (SwiftShader), which is slower than any graphics card. Wanted are 1,500 ms.
"""

from __future__ import annotations

import json
import re
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from playwright.sync_api import FrameLocator, Locator, Page, sync_playwright

from benchmarks.timing import Result, Row, main
from benchmarks.visitor import DELTA, blue_marble_patch, serving
from tools.screenshots import FLAGS

QUICK = {"rounds": 1}
SIZE = {"width": 1440, "height": 900}
PATIENCE_MS = 60_000
CLICKS = ((-55.0, -10.0), (25.0, 8.0), (100.0, 62.0), (135.0, -25.0), (-100.0, 45.0), (10.0, 48.0), (78.0, 20.0))
ASIDE_PX = 30
"""A click nearer than this to a hit would choose the hit, so it is made beside."""
NAMES = ("Rome", "Lima", "Nairobi", "Oslo", "12.5, 67.9")
SAMPLES = ("Amazon forest", "Himalaya", "Greenland ice edge")
# When the visitor acted, when the answer's data reached the map, and when it was drawn; all on the browser's one clock.
WATCH = """
() => {
  const times = (window.samewhereTimes = {});
  const now = () => performance.timeOrigin + performance.now();
  const top = window.parent;
  for (const [on, name] of [[top, "pointerdown"], [top, "keydown"], [window, "pointerdown"], [window, "keydown"],
                            [top, "change"]])
    on.addEventListener(name, (event) => {
      if (name !== "keydown" || event.key === "Enter") times.acted = now();
    }, true);
  const box = document.getElementById("map");
  const drawn = () => { times.drawn = now(); times.token = box.dataset.drawn; };
  new MutationObserver((records) => {
    for (const { attributeName } of records) {
      if (attributeName === "data-hits") times.came = now();
      if (attributeName === "data-drawn") requestAnimationFrame(() => requestAnimationFrame(drawn));
    }
  }).observe(box, { attributes: true });
}
"""


@dataclass(frozen=True)
class Shown:
    """One query: milliseconds until its data reached the map, and until it was drawn."""

    kind: str
    came_ms: float
    drawn_ms: float


def measure(page: Page, url: str) -> list[Shown]:
    """Ask twenty queries."""
    page.goto(url + "/")
    frame = page.frame_locator('iframe[title="World map"]')
    box = frame.locator("#map")
    box.wait_for(timeout=PATIENCE_MS)
    page.wait_for_timeout(8000)  # the model is loaded meanwhile, the outlines are fetched
    box.evaluate(WATCH)
    shown: list[Shown] = []

    def asked(kind: str, act: Callable[[], object]) -> None:
        before = box.evaluate("() => { const t = window.samewhereTimes; t.drawn = t.came = 0; return t.token ?? ''; }")
        act()
        box.page.wait_for_timeout(50)
        done = f"() => window.samewhereTimes.drawn && window.samewhereTimes.token !== {json.dumps(before)}"
        handle = box.element_handle()
        inside = handle.owner_frame() if handle else None
        content = inside or page.main_frame
        content.wait_for_function(done, timeout=PATIENCE_MS)
        times = box.evaluate("() => window.samewhereTimes")
        shown.append(Shown(kind, times["came"] - times["acted"], times["drawn"] - times["acted"]))
        page.wait_for_timeout(1500)

    for place in CLICKS:
        asked("click on the map", lambda place=place: _click(frame, box, place))  # type: ignore[misc]
    for name in NAMES:
        field = page.get_by_role("textbox", name=re.compile("^Place name"))
        asked("place typed", lambda name=name, field=field: (field.fill(name), field.press("Enter")))  # type: ignore[misc]
    for word in ("More like this: 2,", "Less like this: 1,"):
        asked("vote", lambda word=word: page.get_by_role("button", name=re.compile(word)).click())  # type: ignore[misc]
    for scale in ("Rank", "Score"):
        asked("other colours", lambda scale=scale: page.get_by_text(scale, exact=True).first.click())  # type: ignore[misc]
    page.get_by_text("An image", exact=True).click()
    page.wait_for_timeout(2500)
    for text in SAMPLES:
        asked("sample image", lambda text=text: page.get_by_text(text, exact=True).first.click())  # type: ignore[misc]
    file = {"name": "nile.tif", "mimeType": "image/tiff", "buffer": blue_marble_patch(*DELTA)}
    asked("upload", lambda: page.locator('input[type="file"]').first.set_input_files(file))  # type: ignore[arg-type]
    return shown


def _click(frame: FrameLocator, box: Locator, place: tuple[float, float]) -> None:
    frame.locator("#world").click()
    box.page.wait_for_timeout(1500)
    x, y = box.evaluate("(_, point) => window.samewhereMap.project(...point)", list(place))
    marks = box.evaluate("node => node.dataset.hits.split(' ').filter(Boolean).map(window.samewhereMap.where)")
    while any(np.hypot(x - a, y - b) < ASIDE_PX for a, b in marks):
        y += ASIDE_PX
    box.click(position={"x": x, "y": y})


def run(rounds: int = 1) -> Result:
    """Serve, and ask the twenty in so many pages, one after the other."""
    shown: list[Shown] = []
    with tempfile.TemporaryDirectory() as folder, serving(Path(folder) / "log") as server, sync_playwright() as play:
        browser = play.chromium.launch(executable_path=shutil.which("chromium"), args=FLAGS)
        for _ in range(rounds):
            context = browser.new_context(viewport=SIZE)  # type: ignore[arg-type]
            shown += measure(context.new_page(), server.url)
            context.close()
        version = browser.version
        browser.close()
    kinds = {kind: [one for one in shown if one.kind == kind] for kind in dict.fromkeys(one.kind for one in shown)}
    title = (
        f"From the click to the drawn map at 1440 × 900, Chromium {version}, WebGL in software; wanted are 1,500 ms."
    )
    return Result(title, tuple(_row(kind, some) for kind, some in {**kinds, "all": shown}.items()))


def _row(kind: str, shown: list[Shown]) -> Row:
    came, drawn = ([getattr(one, name) for one in shown] for name in ("came_ms", "drawn_ms"))
    middle, high = np.quantile(drawn, (0.5, 0.95)).tolist()
    more: dict[str, float | str] = {
        "95 % within, ms": high,
        "its data are there after, ms": float(np.median(came)),
        "queries": len(shown),
    }
    return Row(kind, middle, "ms", part="query", more=more)


if __name__ == "__main__":
    main(run, QUICK)
