"""The page's logic, without a browser: what is asked is answered, what is wrong is said, and the session goes on."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from streamlit.testing.v1 import AppTest

import indexer.build
import model.checkpoint
from app import resources
from app.answer import Answer
from data.errors import CheckpointError
from data.geo import great_circle_km
from indexer import Query, SearchIndex
from indexer.progress import Progress
from model.checkpoint import save
from model.satclip import SatCLIPConfig, SatCLIPNetwork
from tests.app.conftest import CELL_RESOLUTION, TILE_RESOLUTION
from tests.app.files import bad_files, blue_marble_patch
from tests.app.standin import StandInPair

MAIN = Path(__file__).parents[2] / "app" / "main.py"


def open_page(**params: str) -> AppTest:
    """A new visitor's page, by a link."""
    page = AppTest.from_file(str(MAIN), default_timeout=30)
    for name, value in params.items():
        page.query_params[name] = value
    return sound(page.run())


def sound(page: AppTest) -> AppTest:
    """A page without a traceback."""
    assert not page.exception
    return page


def link(page: AppTest) -> dict[str, str]:
    """The page's URL parameters; AppTest gives them as lists until a script has set them."""
    return {name: text if isinstance(text, str) else text[0] for name, text in page.query_params.items()}


def answer(page: AppTest) -> Answer:
    found: Answer = page.session_state["answer"]
    return found


def has_answer(page: AppTest) -> bool:
    return "answer" in page.session_state


def test_a_first_visit_asks_for_nothing_and_says_how(home: Path) -> None:
    page = open_page()
    assert not has_answer(page)
    assert not page.error
    assert any("Click a place on the map" in text.value for text in page.markdown)


def test_a_link_is_answered_as_the_index_answers(home: Path) -> None:
    page = open_page(place="12.49,41.89", k="7", min_km="800", spacing_km="300", countries="USA,CHN,AUS")
    index = SearchIndex.open(home / "index", pair=StandInPair())
    hits = index.search(
        Query.place(12.49, 41.89), k=7, min_km=800, spacing_km=300, countries=["USA", "CHN", "AUS"], view="both"
    )
    assert list(answer(page).hits) == hits
    assert len(hits) == 7
    assert {hit.country for hit in hits} <= {"USA", "CHN", "AUS"}
    assert all(picture.startswith("data:image/jpeg") for picture in answer(page).thumbnails)


def test_the_url_follows_the_widgets_and_reproduces_them(home: Path) -> None:
    page = open_page()
    page.text_input(key="place_text").set_value("31, 30.8").run()
    page.slider(key="k").set_value(4).run()
    page.number_input(key="min_km_place").set_value(700).run()
    page.text_input(key="bbox_text").set_value("-20,-40,60,40").run()
    params = link(sound(page))
    assert params == {"place": "31,30.8", "k": "4", "min_km": "700", "bbox": "-20,-40,60,40"}
    assert answer(open_page(**params)).hits == answer(page).hits


def test_the_back_button_brings_the_older_query(home: Path) -> None:
    page = open_page(place="31,30.8")
    first = answer(page).hits
    page.text_input(key="place_text").set_value("-62.5, -5.5").run()
    assert answer(page).hits != first
    page.query_params["place"] = "31,30.8"
    assert answer(sound(page.run())).hits == first
    assert page.text_input(key="place_text").value == "31, 30.8"


def test_a_link_with_nonsense_is_answered_as_far_as_it_goes(home: Path) -> None:
    page = open_page(place="12.49,41.89", k="9999", countries="XX")
    assert len(answer(page).hits) == 10
    assert "k:" in page.warning[0].value
    assert "countries:" in page.warning[0].value
    page.text_input(key="place_text").set_value("31, 30.8").run()
    assert not page.warning


@pytest.mark.parametrize("text", ["12.49, 91", "nan, 4", "Nowherebridge", "41.89"])
def test_a_wrong_place_is_said_in_place_and_the_session_goes_on(home: Path, text: str) -> None:
    page = open_page()
    page.text_input(key="place_text").set_value(text).run()
    assert len(sound(page).error) == 1
    assert not has_answer(page)
    page.text_input(key="place_text").set_value("12.49, 41.89").run()
    assert not page.error
    assert answer(page).hits


def test_swapped_coordinates_are_seen(home: Path) -> None:
    page = open_page()
    page.text_input(key="place_text").set_value("35.68, 139.69").run()
    assert "swapped" in page.error[0].value


def test_an_upload_finds_its_place(home: Path) -> None:
    tiles = SearchIndex.open(home / "index", pair=StandInPair()).tiles()
    tile = {name: tiles[name][200].as_py() for name in ("id", "lon", "lat")}
    page = open_page(**{"from": "image"})
    page.number_input(key="spacing_km").set_value(0).run()
    page.segmented_control(key="target").set_value("tiles").run()
    content = blue_marble_patch(tile["lon"], tile["lat"])
    page.file_uploader[0].set_value(("here.tif", content, "image/tiff")).run()
    best = answer(sound(page)).hits[0]
    assert best.id == tile["id"]
    assert best.score == pytest.approx(1, abs=1e-5)
    assert best.km == pytest.approx(0, abs=1)
    assert link(page) == {"from": "image", "spacing_km": "0", "target": "tiles"}


@pytest.mark.parametrize("what", sorted(bad_files()))
def test_a_bad_upload_is_one_sentence_and_a_good_one_follows(home: Path, what: str) -> None:
    name, content = bad_files()[what]
    page = open_page(**{"from": "image"})
    page.file_uploader[0].set_value((name, content, "image/tiff")).run()
    (error,) = sound(page).error
    assert error.value.startswith(name)
    assert "\n" not in error.value
    assert "Traceback" not in error.value
    assert not has_answer(page)
    page.file_uploader[0].set_value(("nile.tif", blue_marble_patch(31.0, 30.8), "image/tiff")).run()
    assert not sound(page).error
    assert answer(page).hits


def test_a_sample_replaces_an_upload_and_stands_in_the_link(home: Path) -> None:
    page = open_page(**{"from": "image"})
    page.file_uploader[0].set_value(("amazon.tif", blue_marble_patch(-62.5, -5.5), "image/tiff")).run()
    page.button_group(key="sample").set_value("nile").run()
    assert link(sound(page)) == {"sample": "nile"}
    assert answer(page).lonlat == (31.0, 30.8)
    assert answer(open_page(sample="nile")).hits == answer(page).hits


def test_a_place_in_the_sea_is_answered_with_a_warning(home: Path) -> None:
    page = open_page(place="-30,0")
    assert answer(page).hits
    assert "not on land" in answer(page).notes[0]


def test_filters_that_leave_nothing_are_said(home: Path) -> None:
    page = open_page(place="12.49,41.89", bbox="-30,-10,-20,0")
    assert not answer(page).hits
    assert "Nothing passes" in answer(page).notes[0]


def test_the_globe_is_pydeck_and_keeps_the_hits(home: Path) -> None:
    page = open_page(place="12.49,41.89", map="globe")
    (chart,) = page.get("deck_gl_json_chart")
    assert all(hit.id in chart.proto.json for hit in answer(page).hits)


def test_the_first_start_builds_the_index(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SAMEWHERE_HOME", str(home / "fresh"))
    seen: list[float] = []

    def build(path: Path, *, progress: Callable[[Progress], None], **options: Any) -> object:
        def report(now: Progress) -> None:
            seen.append(now.fraction)
            progress(now)

        return small(path, progress=report, **options)

    small = partial(indexer.build.build_index, cell_resolution=CELL_RESOLUTION, tile_resolution=TILE_RESOLUTION)
    monkeypatch.setattr(indexer.build, "build_index", build)
    page = open_page(place="12.49,41.89")
    assert answer(page).hits
    assert (home / "fresh" / "index" / "current").is_file()
    assert seen[-1] == 1.0
    assert all(0 <= fraction <= 1 for fraction in seen)


def test_an_index_of_another_checkpoint_is_offered_to_be_rebuilt(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Other(StandInPair):
        fingerprint = "1" * 64

    monkeypatch.setattr(model.checkpoint, "load", lambda *_, **__: Other())
    monkeypatch.setattr("model.hub.embedded_names", lambda: ["stand-in"])
    small = partial(indexer.build.build_index, cell_resolution=CELL_RESOLUTION, tile_resolution=TILE_RESOLUTION)
    monkeypatch.setattr(indexer.build, "build_index", small)
    page = open_page(place="12.49,41.89")
    (error,) = page.error
    assert "checkpoint" in error.value
    (button,) = [button for button in page.button if "again" in button.label]
    sound(button.click().run())
    assert not page.error
    assert answer(page).hits
    assert SearchIndex.open(home / "index").manifest.checkpoint["fingerprint"] == "1" * 64


def test_an_index_of_a_model_of_ones_own_is_not_built_over(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def gone(*_: object, **__: object) -> None:
        raise CheckpointError("There is no checkpoint 'stand-in'.")

    monkeypatch.setattr(model.checkpoint, "load", gone)
    page = open_page(place="12.49,41.89")
    assert [error.value for error in page.error] == ["There is no checkpoint 'stand-in'."]
    assert [button.label for button in page.button if "gain" in button.label] == ["Try again"]
    monkeypatch.setattr(model.checkpoint, "load", lambda *_, **__: StandInPair())
    next(button for button in page.button if button.label == "Try again").click().run()
    assert answer(sound(page)).hits and not page.error


def test_a_half_written_index_is_said_and_left_alone(home: Path) -> None:
    (manifest,) = home.glob("index/*/manifest.json")
    manifest.unlink()
    before = sorted(path.relative_to(home) for path in home.rglob("*"))
    page = open_page(place="12.49,41.89")
    (error,) = page.error
    assert "half written" in error.value
    assert [button for button in page.button if "again" in button.label]
    assert sorted(path.relative_to(home) for path in home.rglob("*")) == before


def test_distances_between_hits_are_kept(home: Path) -> None:
    hits = answer(open_page(place="12.49,41.89", spacing_km="1500", min_km="1000")).hits
    points = [(hit.lon, hit.lat) for hit in hits]
    apart = [great_circle_km(a, b) for n, a in enumerate(points) for b in points[:n]]
    assert min(apart) >= 1500
    assert min(hit.km or 0 for hit in hits) >= 1000


def test_a_model_that_cannot_see_the_blue_marble_has_its_own_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resources, "PAUSES", 1)
    resources.forget()
    torch.manual_seed(0)
    config = SatCLIPConfig(
        embed_dim=16, capacity=32, vision_layers=1, vision_width=64, vision_patch_size=32, image_resolution=64
    )
    save(SatCLIPNetwork(config), tmp_path / "tiny.ckpt", card={})
    pair = model.checkpoint.load(str(tmp_path / "tiny.ckpt"))
    indexer.build.build_index(tmp_path / "index", pair=pair, cell_resolution=2)
    monkeypatch.setenv("SAMEWHERE_HOME", str(tmp_path))
    page = open_page(place="12.49,41.89", view="smooth")
    assert not page.error
    assert len(answer(page).hits) == 10
    assert all(picture.startswith("data:image/jpeg") for picture in answer(page).thumbnails)
    assert any("one way only" in note for note in answer(page).notes)
    assert {box.label for box in page.selectbox} == set()
    assert not any("Blue Marble at 7.4 km" in caption.value for caption in page.caption)
    page = open_page(place="12.49,41.89", target="tiles")
    assert "holds no tiles" in page.error[0].value
    page.segmented_control(key="target").set_value("cells").run()
    assert not sound(page).error
    page = open_page(sample="himalaya")  # a picture of the Blue Marble
    assert "B01" in page.error[0].value
