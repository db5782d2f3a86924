"""Pictures of every page for the docs, from a server that is already running.

Example: python tools/screenshots.py http://127.0.0.1:8501 docs/images
Only some: python tools/screenshots.py http://127.0.0.1:8501 docs/images search jobs
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

FLAGS = [
    "--headless=new",
    "--no-sandbox",
    "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader",
    "--ignore-gpu-blocklist",
    "--disable-background-networking",
]
WIDE, NARROW = (1400, 950), (400, 850)
PLACES = "31,30.8;6.5,30.6;-93.5,42"
MIX = "/?place=12.49,41.89&also=1*sample:taiga;-0.5*place:-62.5,-5.5&limits=elevation:300:&spacing_km=900"
SHOTS: dict[str, tuple[str, tuple[int, int], str]] = {
    "search": ("/?place=12.49,41.89", WIDE, "light"),
    "image": ("/?sample=himalaya", WIDE, "dark"),
    "search-empty": ("/", WIDE, "light"),
    "search-mix": (MIX, WIDE, "light"),
    "search-globe": ("/?place=12.49,41.89&map=globe", WIDE, "dark"),
    "search-phone": ("/?place=12.49,41.89", NARROW, "light"),
    "compare": (f"/compare?places={PLACES}", WIDE, "light"),
    "compare-phone": (f"/compare?places={PLACES}", NARROW, "dark"),
    "predict": ("/predict?variable=temperature&at=12.49,41.89", WIDE, "light"),
    "predict-climate": ("/predict?variable=koppen&at=-62.5,-5.5", WIDE, "dark"),
    "predict-phone": ("/predict?variable=temperature&at=12.49,41.89", NARROW, "light"),
    "explore": ("/explore", WIDE, "light"),
    "explore-regions": ("/explore#Regions", WIDE, "light"),
    "explore-neighbours": ("/explore#Neighbours", WIDE, "dark"),
    "explore-coverage": ("/explore#Coverage", WIDE, "light"),
    "explore-phone": ("/explore", NARROW, "dark"),
    "jobs": ("/jobs", WIDE, "light"),
    "jobs-phone": ("/jobs", NARROW, "dark"),
    "models": ("/models", WIDE, "light"),
    "models-dark": ("/models#Models", WIDE, "dark"),
    "models-phone": ("/models", NARROW, "light"),
}
"""Name, link (with what to press on the page behind #), (width, height) in pixels, colour scheme."""
LAST = {
    "compare": "What differs most",
    "predict": "On places it had not seen",
    "explore": "Alike is coloured alike",
    "jobs": "All jobs and indexes",
    "models": "Models & data",
}
"""The heading of each page that is drawn last."""
PATIENCE_MS = 180_000
DRAWING_MS = 6000
"""Long enough for software rendering to end."""
WHOLE = ("-phone", "compare", "explore-regions")
"""Pictures that show the page down to its end rather than what a window shows."""


def main(url: str, folder: Path, names: list[str]) -> None:
    """Take the pictures."""
    folder.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=FLAGS)
        for name, (link, (width, height), scheme) in SHOTS.items():
            if names and name not in names:
                continue
            context = browser.new_context(
                viewport={"width": width, "height": height},
                color_scheme="dark" if scheme == "dark" else "light",
                reduced_motion="reduce",
            )
            page = context.new_page()
            take(page, url, link, folder / f"{name}.png", whole=any(part in name for part in WHOLE))
            context.close()
        browser.close()


def take(page: Page, url: str, link: str, path: Path, *, whole: bool) -> None:
    """One picture, once the page rests."""
    path_, _, press = link.partition("#")
    page.goto(url + path_)
    name = path_.strip("/").partition("?")[0]
    if name in LAST:
        page.get_by_role("heading", name=LAST[name]).wait_for(timeout=PATIENCE_MS)
    elif "?" in path_:
        page.locator("button.card").first.wait_for(timeout=PATIENCE_MS)
    if press:
        page.get_by_text(press, exact=True).first.click()
    page.wait_for_timeout(DRAWING_MS)
    for _ in range(60):
        if not page.get_by_test_id("stSpinner").count():
            break
        page.wait_for_timeout(500)
    page.wait_for_timeout(DRAWING_MS // 3)
    if whole:  # Streamlit scrolls within the page, so the window is made as high as that
        high = page.evaluate("document.querySelector('[data-testid=stMain]').scrollHeight")
        page.set_viewport_size({"width": page.viewport_size["width"], "height": min(int(high) + 10, 4000)})  # type: ignore[index]
        page.wait_for_timeout(DRAWING_MS // 3)
    page.screenshot(path=path)


if __name__ == "__main__":
    main(sys.argv[1].rstrip("/"), Path(sys.argv[2]), sys.argv[3:])
