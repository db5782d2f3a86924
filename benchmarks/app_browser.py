"""How soon a query is on the map: from the click or Enter to the frame that shows its colours and hits.

Example: python -m benchmarks.app_browser

A real server of the app and a real Chromium at 1440 × 900. Twenty queries of different kinds are asked as a visitor
asks them. A query is shown when the map's frame says that it has drawn it (``data-drawn`` of ``#map``, set after
deck.gl's rendering once the new pictures are decoded) and two further frames have passed. Chromium draws in software
here (SwiftShader), which is slower than any graphics card.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from playwright.sync_api import FrameLocator, Locator, Page, sync_playwright

from benchmarks.app_load import _geotiff
from benchmarks.visitor import serving
from data.blue_marble import BlueMarble
from tools.screenshots import FLAGS

SIZE = {"width": 1440, "height": 900}
PATIENCE_MS = 60_000
BAR_MS = 1500
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
    file = {"name": "nile.tif", "mimeType": "image/tiff", "buffer": _geotiff(BlueMarble.open().cut([[31.0, 30.8]])[0])}
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


def table(shown: list[Shown]) -> str:
    """The measurement in lines of text."""
    lines = [f"{'kind':<18}{'n':>4}{'data ms':>9}{'drawn ms':>10}"]
    for kind in [*dict.fromkeys(one.kind for one in shown), "all"]:
        mine = [one for one in shown if kind in ("all", one.kind)]
        came, drawn = (np.median([getattr(one, name) for one in mine]) for name in ("came_ms", "drawn_ms"))
        lines.append(f"{kind:<18}{len(mine):>4}{came:>9.0f}{drawn:>10.0f}")
    high = np.quantile([one.drawn_ms for one in shown], 0.95)
    lines.append(f"95 % are drawn within {high:.0f} ms; the bar is {BAR_MS} ms. WebGL in software (SwiftShader).")
    return "\n".join(lines)


def main() -> None:
    """Serve, ask, print a table, and write JSON if asked."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--json", type=Path, help="file to write")
    given = parser.parse_args()
    log = Path(os.environ.get("TMPDIR", "/tmp")) / f"samewhere-browser-{os.getpid()}.log"
    with serving(log) as server, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=FLAGS)
        page = browser.new_context(viewport=SIZE).new_page()  # type: ignore[arg-type]
        shown = measure(page, server.url)
        version = browser.version
        browser.close()
    print(table(shown))
    drawn = [one.drawn_ms for one in shown]
    out = {
        "chromium": version,
        "machine": platform.machine(),
        "webgl": "software (SwiftShader)",
        "queries": [vars(one) for one in shown],
        "median_ms": round(float(np.median(drawn))),
        "p95_ms": round(float(np.quantile(drawn, 0.95))),
        "bar_ms": BAR_MS,
    }
    if given.json:
        given.json.parent.mkdir(parents=True, exist_ok=True)
        given.json.write_text(json.dumps(out, indent=2) + "\n", "utf-8")
    log.unlink()


if __name__ == "__main__":
    main()
