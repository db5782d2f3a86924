"""Pictures of the app for the README, from a server that is already running.

Example: python tools/screenshots.py http://127.0.0.1:8501 docs/images
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from playwright.sync_api import sync_playwright

FLAGS = [
    "--headless=new",
    "--no-sandbox",
    "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader",
    "--ignore-gpu-blocklist",
    "--disable-background-networking",
]
SHOTS = {
    "place": ("/?place=12.49,41.89", (1400, 900), "light"),
    "image": ("/?sample=himalaya", (1400, 900), "dark"),
}
"""Name, link, (width, height) in pixels, colour scheme."""
DRAWING_MS = 8000
"""Long enough for software rendering to end."""


def main(url: str, folder: Path) -> None:
    """Take every picture."""
    folder.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=FLAGS)
        for name, (link, (width, height), scheme) in SHOTS.items():
            context = browser.new_context(
                viewport={"width": width, "height": height},
                color_scheme="dark" if scheme == "dark" else "light",
                reduced_motion="reduce",
            )
            page = context.new_page()
            page.goto(url + link)
            page.locator("button.card").first.wait_for(timeout=60_000)
            page.wait_for_timeout(DRAWING_MS)
            page.screenshot(path=folder / f"{name}.png")
            context.close()
        browser.close()


if __name__ == "__main__":
    main(sys.argv[1].rstrip("/"), Path(sys.argv[2]))
