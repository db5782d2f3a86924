"""The real page in a real browser: upload a patch, see hits, click the map, see hits change.

A Streamlit server of its own on a free port, the shipped checkpoint, a small index, Chromium without a network.
"""

from __future__ import annotations

import contextlib
import csv
import io
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from playwright.sync_api import Browser, ConsoleMessage, FrameLocator, Locator, Page, Request, expect, sync_playwright
from playwright.sync_api import TimeoutError as TimeoutError_

from app import resources
from indexer.build import build_index
from tests.app.conftest import CELL_RESOLUTION, TILE_RESOLUTION
from tests.app.files import bad_files, blue_marble_patch, table_of
from tools.screenshots import FLAGS

pytestmark = pytest.mark.browser

ROOT = Path(__file__).parents[2]
NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
SLOW_MS = 30_000


def chromium() -> str:
    """Path of a Chromium. There must be one: this test is never skipped."""
    found = shutil.which("/usr/bin/chromium") or next(filter(None, map(shutil.which, NAMES)), None)
    if not found:
        pytest.fail("No Chromium found. Install one: apt-get install chromium")
    return found


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A ``SAMEWHERE_HOME`` with a small index of the shipped checkpoint, and heads that were fitted on few places."""
    import model.predict
    from model import load

    home = tmp_path_factory.mktemp("browser-home")
    pair = load()
    build_index(home / "index", pair=pair, cell_resolution=CELL_RESOLUTION, tile_resolution=TILE_RESOLUTION)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SAMEWHERE_HOME", str(home))
        patch.setattr(model.predict, "PLACES", 1200)
        patch.setattr(model.predict, "HELD_OUT", 300)
        for cache in (model.predict._places.cache_clear, model.predict._encoded.clear):
            cache()
        for name in resources.PREDICTED:
            model.predict.load_predictor(name, pair)
        for cache in (model.predict._places.cache_clear, model.predict._encoded.clear):
            cache()
    return home


@pytest.fixture(scope="module")
def server(home: Path) -> Iterator[str]:
    """URL of a running server."""
    with serving(home) as url:
        yield url


@contextlib.contextmanager
def serving(home: Path, port: int | None = None, start: Sequence[str] = ()) -> Iterator[str]:
    """A server until the block ends, then it is gone; ``start`` is another way of starting it than Streamlit's."""
    if port is None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
    options = [f"--server.port={port}", "--server.address=127.0.0.1", "--server.headless=true"]
    own = ["-m", "streamlit", "run", str(ROOT / "app" / "main.py"), *options]
    log = home / "server.log"
    with log.open("wb") as out:
        process = subprocess.Popen(
            [sys.executable, *([*start, "--port", str(port)] if start else own)],
            cwd=ROOT,
            env={**os.environ, "SAMEWHERE_HOME": str(home)},
            stdout=out,
            stderr=subprocess.STDOUT,
        )
    url = f"http://127.0.0.1:{port}"
    try:
        for _ in range(300):
            if process.poll() is not None:
                pytest.fail(f"The server ended: {log.read_text()}")
            try:
                urllib.request.urlopen(f"{url}/_stcore/health", timeout=1).close()
                break
            except (urllib.error.URLError, OSError):
                time.sleep(0.1)
        else:
            pytest.fail(f"The server did not answer: {log.read_text()}")
        yield url
        assert "Traceback" not in log.read_text()
    finally:
        process.terminate()
        process.wait(10)


@dataclass
class Visit:
    """A visitor's page, and what went wrong on it."""

    page: Page
    url: str
    errors: list[str] = field(default_factory=list)
    restarting: bool = False

    def open(self, link: str = "/", *, within_ms: int = SLOW_MS) -> FrameLocator:
        """Follow a link; returns the map's frame."""
        self.page.goto(self.url + link)
        frame = self.page.frame_locator('iframe[title="World map"]')
        expect(frame.locator("#map canvas")).to_be_visible(timeout=within_ms)
        return frame

    @property
    def cards(self) -> Locator:
        """The gallery's cards."""
        return self.page.locator("button.card")

    def hits(self) -> list[str]:
        """Ids of the gallery's hits, at one moment."""
        ids: list[str] = self.cards.evaluate_all("cards => cards.map(card => card.dataset.id)")
        return ids

    def wait_for_other_hits(self, before: list[str]) -> list[str]:
        """Wait until the gallery shows other hits than before."""
        for _ in range(SLOW_MS // 100):
            now = self.hits()
            if now and now != before:
                return now
            self.page.wait_for_timeout(100)
        pytest.fail(f"The hits stayed {before}")

    def wait_for_map(self, frame: FrameLocator, hits: list[str]) -> None:
        """Wait until the map draws these hits."""
        expect(frame.locator("#map")).to_have_attribute("data-hits", " ".join(hits), timeout=SLOW_MS)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Chromium, drawing in software."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium(), args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def visit(server: str, browser: Browser, request: pytest.FixtureRequest) -> Iterator[Visit]:
    """A fresh visitor. Any script error, console error or request that leaves the machine fails the test."""
    width, height = getattr(request, "param", (1100, 750))
    # Without motion the map arrives at once, however slowly it is drawn.
    context = browser.new_context(viewport={"width": width, "height": height}, reduced_motion="reduce")
    visit = Visit(context.new_page(), server)

    def heard(message: ConsoleMessage) -> None:
        # below a page's address Streamlit first looks for its server, does not find it there, and goes one up
        probing = "/_stcore/" in message.location.get("url", "")
        if message.type == "error" and not visit.restarting and not probing:
            visit.errors.append(f"{message.text} {message.location.get('url', '')}")

    def asked(request: Request) -> None:
        if not visit.restarting and not request.url.startswith((server, "data:", "blob:")):
            visit.errors.append(request.url)

    visit.page.on("console", heard)
    visit.page.on("pageerror", lambda error: visit.errors.append(str(error)))
    visit.page.on("request", asked)
    yield visit
    context.close()
    assert visit.errors == []


def click_map(frame: FrameLocator, across: float, down: float) -> None:
    """Click the map at a fraction of its width and height."""
    box = frame.locator("#map").bounding_box()
    assert box
    frame.locator("#map").click(position={"x": across * box["width"], "y": down * box["height"]})


def test_upload_see_hits_click_the_map_see_hits_change(visit: Visit) -> None:
    frame = visit.open()
    expect(frame.locator("#hint")).to_have_text("Click anywhere on land")
    visit.page.get_by_text("An image", exact=True).click()
    upload = visit.page.locator('input[type="file"]')
    upload.set_input_files({"name": "bad.tif", "mimeType": "image/tiff", "buffer": bad_files()["text"][1]})
    expect(visit.page.get_by_test_id("stAlert")).to_contain_text("bad.tif", timeout=SLOW_MS)
    upload.set_input_files({"name": "nile.tif", "mimeType": "image/tiff", "buffer": blue_marble_patch(31.0, 30.8)})
    first = visit.wait_for_other_hits([])
    expect(visit.page.get_by_test_id("stAlert")).to_have_count(0)
    assert len(first) == 10
    expect(frame.locator("#map")).to_have_attribute("data-field", "shown")
    visit.wait_for_map(frame, first)

    frame.locator("#map").evaluate("node => { node.dataset.sameMap = '1'; }")
    click_map(frame, 0.306, 0.608)  # Brazil, about 55° W, 10° S, on the whole world
    second = visit.wait_for_other_hits(first)
    expect(visit.page).to_have_url(re.compile(r"place=-5\d(\.\d+)?%2C-\d(\.\d+)?"))
    visit.wait_for_map(frame, second)
    expect(frame.locator("#hint")).to_be_hidden()
    expect(frame.locator("#map")).to_have_attribute("data-drawn", re.compile("^[0-9a-f]{16}$"), timeout=SLOW_MS)
    assert frame.locator("#map").get_attribute("data-same-map") == "1"  # updated, not made anew

    # The link shows the same to someone else.
    link = visit.page.url.removeprefix(visit.url)
    visit.open(link)
    assert visit.wait_for_other_hits([]) == second


def test_map_and_gallery_choose_for_each_other(visit: Visit) -> None:
    frame = visit.open("/?place=12.49,41.89&spacing_km=1500")
    hits = visit.wait_for_other_hits([])
    visit.cards.nth(3).click()
    expect(frame.locator("#map")).to_have_attribute("data-selected", hits[3])
    expect(visit.page).to_have_url(re.compile(f"hit={hits[3]}"))
    expect(visit.cards.nth(3)).to_have_attribute("aria-pressed", "true")

    frame.locator("#world").click()
    visit.page.wait_for_timeout(800)  # until it is drawn
    x, y = frame.locator("#map").evaluate("(_, id) => window.samewhereMap.where(id)", hits[0])
    frame.locator("#map").click(position={"x": x, "y": y})
    expect(visit.cards.nth(0)).to_have_attribute("aria-pressed", "true")
    expect(visit.page).to_have_url(re.compile(f"hit={hits[0]}"))
    assert visit.hits() == hits  # a click on a hit is no new query


def test_a_file_that_is_too_large_is_refused_in_words(visit: Visit, tmp_path: Path) -> None:
    visit.open("/?from=image")
    large = tmp_path / "large.tif"
    with large.open("wb") as file:
        file.truncate(33 * 1024 * 1024)
    visit.page.locator('input[type="file"]').set_input_files(large)
    alert = visit.page.get_by_text("File must be 32")
    expect(alert).to_be_visible()
    box = alert.bounding_box()
    assert box
    assert box["height"] > 10
    assert box["width"] > 100


def test_downloads_and_globe(visit: Visit) -> None:
    visit.open("/?sample=nile&k=5")
    hits = visit.wait_for_other_hits([])
    with visit.page.expect_download() as download:
        visit.page.get_by_role("button", name="GeoJSON").click()
    features = json.loads(Path(download.value.path()).read_text())["features"]
    assert [feature["id"] for feature in features] == hits
    with visit.page.expect_download() as download:
        visit.page.get_by_role("button", name="CSV").click()
    rows = list(csv.DictReader(Path(download.value.path()).read_text().splitlines()))
    assert [row["id"] for row in rows] == hits
    visit.page.get_by_text("Globe", exact=True).click()
    expect(visit.page.get_by_test_id("stDeckGlJsonChart").locator("canvas").first).to_be_visible(timeout=SLOW_MS)
    expect(visit.cards).to_have_count(5)


@pytest.mark.parametrize("visit", [(420, 900)], indirect=True)
def test_a_narrow_screen_has_everything_and_no_sideways_scrolling(visit: Visit) -> None:
    frame = visit.open("/?place=31,30.8")
    visit.wait_for_other_hits([])
    for part in (frame.locator("#map"), visit.cards.first, visit.page.get_by_role("button", name="CSV")):
        part.scroll_into_view_if_needed()
        box = part.bounding_box()
        assert box
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= 420
    assert visit.page.evaluate("document.documentElement.scrollWidth") <= 420


def same_map(frame: FrameLocator) -> None:
    """Mark the map, or tell that it is still the marked one: a rerun updates it and never makes it anew."""
    box = frame.locator("#map")
    box.evaluate("node => { node.dataset.runs = Number(node.dataset.runs ?? 0) + 1; }")


def test_votes_re_rank_and_the_back_button_takes_them_back(visit: Visit) -> None:
    frame = visit.open("/?place=12.49,41.89&min_km=0&spacing_km=300")
    first = visit.wait_for_other_hits([])
    same_map(frame)
    visit.page.get_by_role("button", name=re.compile("^More like this: 2,")).click()
    liked = visit.wait_for_other_hits(first)
    expect(visit.page.get_by_text("Ranked by a classifier")).to_be_visible()
    visit.page.get_by_role("button", name=re.compile("^Less like this: 1,")).click()
    voted = visit.wait_for_other_hits(liked)
    expect(visit.page.get_by_text("1 unliked example")).to_be_visible()
    expect(visit.page).to_have_url(re.compile(r"like=c%3A.*unlike=c%3A"))
    visit.wait_for_map(frame, voted)
    same_map(frame)
    assert frame.locator("#map").get_attribute("data-runs") == "2"
    visit.page.go_back()
    assert visit.wait_for_other_hits(voted) == liked
    visit.page.go_back()
    assert visit.wait_for_other_hits(liked) == first


def test_clicks_add_likes_and_unlikes(visit: Visit) -> None:
    frame = visit.open("/?place=12.49,41.89")
    first = visit.wait_for_other_hits([])
    visit.page.get_by_text("Adds an unlike", exact=True).click()
    click_map(frame, 0.306, 0.608)  # Brazil
    second = visit.wait_for_other_hits(first)
    visit.wait_for_map(frame, second)
    expect(frame.locator("#map")).to_have_attribute("data-pins", re.compile(r"^\+12.49,41.89 --5\d"))
    expect(visit.page.get_by_text("Ingredients", exact=True)).to_be_visible()


def test_a_drawn_area_filters(visit: Visit) -> None:
    frame = visit.open("/?place=12.49,41.89&spacing_km=0&min_km=0")
    first = visit.wait_for_other_hits([])
    frame.locator("#draw").click()
    corners = [(-70, 5), (-40, 5), (-40, -30), (-70, -30)]
    box = frame.locator("#map")
    for lon, lat in [*corners, corners[0]]:
        x, y = box.evaluate("(_, point) => window.samewhereMap.project(...point)", [lon, lat])
        box.click(position={"x": x, "y": y})
    visit.page.get_by_role("button", name="Search inside it").click(timeout=SLOW_MS)
    inside = visit.wait_for_other_hits(first)
    visit.wait_for_map(frame, inside)
    places = box.evaluate("(_, ids) => ids.map(id => window.samewhereMap.lonlat(id))", inside)
    assert all(-70.5 <= lon <= -39.5 and -30.5 <= lat <= 5.5 for lon, lat in places)
    expect(visit.page).to_have_url(re.compile("area=-"))


def test_filters_stay_open_while_one_after_the_other_is_chosen(visit: Visit) -> None:
    frame = visit.open("/?place=12.49,41.89")
    hits = visit.wait_for_other_hits([])
    visit.wait_for_map(frame, hits)
    visit.page.get_by_text("Filters", exact=True).click()
    field = visit.page.get_by_role("combobox", name="Continents")
    for continent in ("Africa", "Asia"):
        chosen = visit.page.locator(f'[data-testid="stMultiSelect"] span[title="{continent}"]')
        for _ in range(8):  # the list shuts where the page is drawn anew under it
            with contextlib.suppress(AssertionError, TimeoutError_):
                field.press_sequentially(continent, delay=30)
                visit.page.get_by_role("option", name=continent, exact=True).click(timeout=2000)
            if chosen.count():
                break
            field.press("ControlOrMeta+a")
            field.press("Delete")
        hits = visit.wait_for_other_hits(hits)
        visit.page.keyboard.press("Escape")
    expect(field).to_be_visible()


def test_a_click_predicts_and_a_table_is_fitted(visit: Visit) -> None:
    frame = visit.open("/predict?variable=temperature", within_ms=2 * SLOW_MS)
    expect(visit.page.get_by_text("Click the map, or type a place")).to_be_visible(timeout=3 * SLOW_MS)
    expect(frame.locator("#map")).to_have_attribute("data-field", "shown", timeout=SLOW_MS)
    click_map(frame, 0.306, 0.608)
    expect(visit.page.get_by_text("Nine times in ten")).to_be_visible(timeout=SLOW_MS)
    expect(visit.page).to_have_url(re.compile(r"variable=temperature&at=-\d"))
    value = visit.page.get_by_test_id("stMetricValue").first.inner_text()
    assert 15 < float(value.split()[0]) < 35  # the Amazon
    visit.page.get_by_text("Fit your own").click()
    table = {"name": "sites.csv", "mimeType": "text/csv", "buffer": table_of(150)}
    visit.page.locator('input[type="file"]').first.set_input_files(table)
    expect(visit.page.get_by_text("150 places.")).to_be_visible(timeout=SLOW_MS)
    visit.page.get_by_label("Call it").fill("warmth")
    visit.page.get_by_label("Call it").press("Enter")
    visit.page.get_by_role("button", name="Fit", exact=True).click()
    expect(visit.page.get_by_text("warmth is fitted")).to_be_visible(timeout=3 * SLOW_MS)


def test_a_job_outlives_the_server(visit: Visit, home: Path) -> None:
    """Started on a server of its own, which is then killed; another one finds the job at work, or done."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    visit.restarting = True  # a page without its server complains, and should
    with serving(home, port) as url:
        visit.page.goto(f"{url}/jobs")
        visit.page.get_by_role("textbox", name="Name of the new index").fill("africa", timeout=SLOW_MS)
        visit.page.get_by_role("textbox", name="or west, south, east, north").fill("-20,-36,52,38")
        visit.page.get_by_role("button", name="Start", exact=True).click()
        expect(visit.page.get_by_text("africa", exact=True)).to_be_visible(timeout=SLOW_MS)
        expect(visit.page.get_by_text(re.compile("Starting|Running")).first).to_be_visible(timeout=SLOW_MS)
    with serving(home, port) as url:
        visit.page.goto(f"{url}/jobs")
        expect(visit.page.get_by_text("africa", exact=True)).to_be_visible(timeout=SLOW_MS)
        running = visit.page.get_by_text(re.compile("^(Starting|Running)$"))
        pause = visit.page.get_by_role("button", name="Pause")
        ask = visit.page.get_by_role("button", name="Ask it")
        expect(running.or_(ask).first).to_be_visible(timeout=SLOW_MS)
        expect(pause.or_(ask).first).to_be_visible(timeout=3 * SLOW_MS)
        if pause.count():
            pause.click()
            resume = visit.page.get_by_role("button", name="Resume")
            expect(resume.or_(ask).first).to_be_visible(timeout=2 * SLOW_MS)
            if resume.count():
                resume.click()
        expect(ask).to_be_visible(timeout=6 * SLOW_MS)
    visit.errors.clear()


def test_everything_of_an_answer_is_downloaded(visit: Visit) -> None:
    visit.open("/?place=31,30.8&k=5")
    hits = visit.wait_for_other_hits([])
    with visit.page.expect_download() as download:
        visit.page.get_by_role("button", name="All as ZIP").click()
    with zipfile.ZipFile(io.BytesIO(Path(download.value.path()).read_bytes())) as archive:
        features = json.loads(archive.read("hits.geojson"))["features"]
        assert [feature["id"] for feature in features] == hits
        assert "query.json" in archive.namelist()


@pytest.mark.parametrize("visit", [(400, 850)], indirect=True)
def test_no_page_scrolls_sideways_on_a_phone(visit: Visit) -> None:
    for link in ("/?place=31,30.8", "/compare?places=31,30.8;12.49,41.89", "/explore", "/jobs", "/models"):
        visit.page.goto(visit.url + link)
        expect(visit.page.locator("[data-testid=stMain] [data-testid=stMarkdownContainer]").first).to_be_visible(
            timeout=SLOW_MS
        )
        visit.page.wait_for_timeout(1500)
        assert visit.page.evaluate("document.documentElement.scrollWidth") <= 400, link
        assert visit.page.evaluate("document.querySelector('[data-testid=stMain]').scrollWidth") <= 400, link


def test_the_map_is_used_by_keyboard(visit: Visit) -> None:
    frame = visit.open("/")
    box = frame.locator("#map")
    box.focus()
    for key in ("ArrowRight", "ArrowDown", "Enter"):
        box.press(key)
    assert visit.wait_for_other_hits([])
    expect(visit.page).to_have_url(re.compile("place="))
