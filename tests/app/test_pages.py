"""Every page without a browser: it draws, what is asked of it is answered, what is wrong is said."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

from app import jobs, resources, worker
from app.facts import number_text
from app.ingredients import Ingredient, Vote
from data import atlas
from data.geo import BBox
from indexer import Query, SearchIndex, build_index
from tests.app.files import table_of
from tests.app.standin import StandInPair
from tests.app.test_page import MAIN, answer, link, open_page, sound

PLACES = "31,30.8;12.49,41.89;-93.5,42"


def open_view(name: str, **params: str) -> AppTest:
    """A new visitor's page beside the first one."""
    page = AppTest.from_file(str(MAIN), default_timeout=60).run()
    page.switch_page(f"views/{name}.py")
    for key, value in params.items():
        page.query_params[key] = value
    return sound(page.run())


def text_of(page: AppTest) -> str:
    """All that stands on a page."""
    parts = [*page.markdown, *page.caption, *page.info, *page.error, *page.warning, *page.success]
    return " ".join(str(one.value) for one in parts)


def index_at(home: Path) -> SearchIndex:
    return SearchIndex.open(home / "index", pair=StandInPair())


# ---- search ----


def test_a_name_is_a_place(home: Path) -> None:
    page = open_page()
    page.text_input(key="place_text").set_value("Rome").run()
    assert answer(sound(page)).lonlat == pytest.approx((12.5, 41.9), abs=0.05)
    assert "Rome, Italy" in text_of(page)
    assert link(page)["place"].startswith("12.5")


def test_likes_and_unlikes_weigh_as_the_index_weighs_them(home: Path) -> None:
    page = open_page(place="12.49,41.89", also="0.5*place:31,30.8;-1*place:100,62", min_km="0", view="smooth")
    mix = Query.mix([(1, Query.place(12.49, 41.89)), (0.5, Query.place(31, 30.8)), (-1, Query.place(100, 62))])
    assert list(answer(page).hits) == index_at(home).search(mix, k=10, spacing_km=500, view="smooth")
    assert [pin.like for pin in answer(page).pins] == [True, True, False]
    before = answer(page).hits
    page.segmented_control(key="sign_1").set_value("like").run()
    assert answer(sound(page)).hits != before
    assert link(page)["also"] == "0.5*place:31,30.8;1*place:100,62"
    page.number_input(key="size_0").set_value(2.0).run()
    assert link(page)["also"].startswith("2*place:31,30.8")
    page.button(key="remove_1").click().run()
    assert link(sound(page))["also"] == "2*place:31,30.8"


def test_a_place_is_added_by_name_and_a_wrong_one_is_said(home: Path) -> None:
    page = open_page(place="12.49,41.89")
    page.text_input(key="add_place").set_value("Cairo").run()
    assert "Cairo" in str(page.session_state["also"][0].label)
    page.text_input(key="add_place").set_value("Nowherebridge").run()
    assert "No city" in text_of(sound(page))
    assert len(page.session_state["also"]) == 1


def test_votes_rank_anew_and_tell_what_they_are_worth(home: Path) -> None:
    page = open_page(place="12.49,41.89")
    first = answer(page).hits
    page.session_state["likes"] = (Vote("cells", first[0].id), Vote("cells", first[1].id))
    page.session_state["unlikes"] = (Vote("cells", first[-1].id),)
    sound(page.run())
    found = answer(page)
    assert found.hits != first
    assert found.check is not None
    assert (found.check.positives, found.check.negatives) == (3, 1)
    assert "3 liked and 1 unliked example" in text_of(page)
    assert "Held out" in text_of(page)
    link_ = link(page)
    assert link_["like"] == f"c:{first[0].id};c:{first[1].id}"
    assert answer(open_page(**link_)).hits == found.hits
    next(button for button in page.button if "Forget the votes" in button.label).click().run()
    assert answer(sound(page)).hits == first


def test_filters_leave_only_what_passes(home: Path) -> None:
    page = open_page(
        place="12.49,41.89", min_km="0", spacing_km="0", climates="C,Aw", limits="elevation:200:1200", k="30"
    )
    hits = answer(page).hits
    assert hits
    places = np.array([(hit.lon, hit.lat) for hit in hits])
    height = atlas.sample("elevation", places)
    assert ((height >= 200) & (height <= 1200)).all()
    assert {code[:1] if code != "Aw" else code for code in atlas.koppen(places).tolist()} <= {"C", "Aw"}
    page.multiselect(key="continents").set_value(["SA"]).run()
    assert set(atlas.continent_of(np.array([(hit.lon, hit.lat) for hit in answer(sound(page)).hits]))) <= {"SA"}
    assert "elevation 200 to 1200 m" in text_of(page)


def test_an_area_filters_or_is_asked_with(home: Path) -> None:
    page = open_page(place="12.49,41.89", min_km="0")
    page.session_state["drawn"] = ((60.0, 0.0), (120.0, 0.0), (120.0, 60.0), (60.0, 60.0))
    sound(page.run())
    page.button(key="area_inside").click().run()
    assert all(60 <= hit.lon <= 120 and 0 <= hit.lat <= 60 for hit in answer(sound(page)).hits)
    assert link(page)["area"] == "60,0,120,0,120,60,60,60"
    page.session_state["drawn"] = ((0.0, 40.0), (20.0, 40.0), (20.0, 50.0))
    page.run()
    page.button(key="area_like").click().run()
    assert page.session_state["also"] == (Ingredient("area", 1.0, area=((0.0, 40.0), (20.0, 40.0), (20.0, 50.0))),)
    assert not sound(page).error


def test_colours_by_rank_have_another_legend(home: Path) -> None:
    page = open_page(place="12.49,41.89", scale="rank")
    legend = answer(page).legend
    field = index_at(home).field(Query.place(12.49, 41.89), view="both")
    assert legend.by_rank
    assert legend.middle == pytest.approx(float(np.median(field)), abs=1e-5)


def test_a_page_that_is_come_back_to_shows_what_it_showed(home: Path) -> None:
    page = open_page(place="12.49,41.89", k="4")
    hits = answer(page).hits
    page.switch_page("views/models.py").run()
    page.query_params.clear()
    page.switch_page("views/search.py").run()
    assert answer(sound(page)).hits == hits
    assert page.text_input(key="place_text").value == "12.49, 41.89"
    assert link(page) == {"place": "12.49,41.89", "k": "4"}


def test_two_visitors_share_the_index_and_nothing_else(home: Path) -> None:
    one, other = open_page(place="12.49,41.89"), open_page(place="100,62")
    assert answer(one).hits != answer(other).hits
    one.text_input(key="place_text").set_value("31, 30.8").run()
    assert answer(other.run()).lonlat == (100.0, 62.0)
    assert len(resources._kept) == 1


# ---- compare ----


def test_places_are_compared_side_by_side(home: Path) -> None:
    page = open_view("compare", places=PLACES)
    assert not page.error
    table = page.dataframe[0].value
    assert list(table.columns)[1:] == ["A", "B", "C"]
    climate = atlas.koppen(np.array([[31, 30.8]]))[0]
    assert f"({climate})" in table["A"][0]
    page.text_input(key="compare_place").set_value("Nowherebridge").run()
    assert "No city" in text_of(sound(page))
    page.text_input(key="compare_place").set_value("Tokyo").run()
    assert len(page.session_state["compared"]) == 4
    page.button(key="compare_drop_0").click().run()
    assert link(sound(page))["places"].startswith("12.49,41.89;")


def test_an_empty_comparison_teaches(home: Path) -> None:
    page = open_view("compare")
    assert "Choose two to six places" in text_of(page)
    next(button for button in page.button if "Nile" in button.label).click().run()
    assert len(page.session_state["compared"]) == 3
    assert len(sound(page).dataframe) == 2


# ---- predict ----


@pytest.fixture
def few_places(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Built-in heads of few places, so that they are fitted in a second."""
    import model.predict

    monkeypatch.setattr(model.predict, "PLACES", 1500)
    monkeypatch.setattr(model.predict, "HELD_OUT", 300)
    for clear in (model.predict._places.cache_clear, model.predict._encoded.clear):
        clear()
    yield
    for clear in (model.predict._places.cache_clear, model.predict._encoded.clear):
        clear()


def test_a_variable_is_predicted_with_its_interval(home: Path, few_places: None) -> None:
    page = open_view("predict", variable="temperature", at="12.49,41.89")
    assert not page.error
    values = {metric.label: metric.value for metric in page.metric}
    predictor = resources.predictor(resources.get_ready(), "temperature")
    found = predictor.predict(np.array([[12.49, 41.89]]))
    value, low, high = (number_text(float(end[0]), "°C") for end in (found.values, found.low, found.high))
    assert values["Air temperature"] == value
    assert f"between {low} and {high}" in text_of(page)
    assert values["R², random places"] == f"{predictor.random.score:.3f}"
    page.segmented_control(key="predict_what").set_value("uncertainty").run()
    assert not sound(page).error
    page.selectbox(key="predict_variable").set_value("koppen").run()
    assert any("Accuracy" in metric.label for metric in sound(page).metric)
    assert link(page)["variable"] == "koppen"


def test_a_table_becomes_a_variable(home: Path, few_places: None) -> None:
    page = open_view("predict", variable="temperature")
    page.file_uploader(key="fit_file").set_value(("../../x.csv", table_of(200), "text/csv")).run()
    assert "200 places" in text_of(sound(page))
    page.text_input(key="fit_name").set_value("my-warmth").run()
    page.text_input(key="fit_unit").set_value("°C").run()
    next(button for button in page.button if button.label == "Fit").click().run()
    assert not sound(page).error
    assert "my-warmth is fitted" in text_of(page)
    assert page.selectbox(key="predict_variable").value == "my-warmth"
    page.text_input(key="fit_name").set_value("my-warmth").run()
    next(button for button in page.button if button.label == "Fit").click().run()
    assert "already" in text_of(sound(page))


@pytest.mark.parametrize("content", [b"not,a,table", b"lon,lat,x\n1,2,3\n", b"lon,lat\n1,95\n"])
def test_a_bad_table_is_said_in_place(home: Path, few_places: None, content: bytes) -> None:
    page = open_view("predict", variable="temperature")
    page.file_uploader(key="fit_file").set_value(("x.csv", content, "text/csv")).run()
    buttons = [button for button in page.button if button.label == "Fit"]
    if buttons:
        buttons[0].click().run()
    assert sound(page).error


# ---- from page to page ----


def test_a_search_is_as_it_was_after_pages_that_were_left_half_drawn(home: Path) -> None:
    page = open_page(place="12.49,41.89", k="7")
    before = answer(page).hits
    page.switch_page("views/jobs.py").run()
    for name in ("kind", "k", "place_text", "countries"):  # as Streamlit drops widgets that a page does not draw
        if name in page.session_state:
            del page.session_state[name]
    page.switch_page("views/search.py")
    page.query_params["place"], page.query_params["k"] = "12.49,41.89", "7"
    assert answer(sound(page.run())).hits == before
    assert len(before) == 7


# ---- explore ----


@pytest.mark.parametrize("what", ["colours", "regions", "neighbours", "coverage"])
def test_the_embedding_is_explored(home: Path, what: str) -> None:
    page = open_view("explore")
    page.segmented_control(key="explore").set_value(what).run()
    assert not sound(page).error
    if what == "regions":
        page.slider(key="explore_k").set_value(4).run()
        assert len(sound(page).dataframe[0].value) == 4
    if what == "coverage":
        values = {metric.label: metric.value for metric in page.metric}
        assert values["Places"] == f"{len(index_at(home).cells()):,}"


def test_a_link_opens_a_view_of_explore_and_the_address_follows(home: Path) -> None:
    page = open_view("explore", show="regions", k="4")
    assert page.segmented_control(key="explore").value == "regions"
    assert len(sound(page).dataframe[0].value) == 4
    page.slider(key="explore_k").set_value(5).run()
    assert link(page) == {"show": "regions", "k": "5"}
    page.switch_page("views/jobs.py").run()
    page.query_params.clear()
    page.switch_page("views/explore.py").run()
    assert link(sound(page)) == {"show": "regions", "k": "5"}  # as it was left
    page.query_params.clear()
    page.query_params["show"], page.query_params["at"] = "neighbours", "31,30.8"
    assert "30." in text_of(sound(page.run()))
    assert link(page) == {"show": "neighbours", "at": "31,30.8"}
    page.query_params.clear()  # the browser's back button
    assert sound(page.run()).segmented_control(key="explore").value == "colours"


@pytest.mark.parametrize(
    ("name", "value"), [("show", "../../etc"), ("k", "900"), ("k", "-1"), ("k", "9" * 5000), ("at", "nowhere at all")]
)
def test_what_a_link_to_explore_gets_wrong_is_said(home: Path, name: str, value: str) -> None:
    page = open_view("explore", **{name: value})
    assert "Left out of the link" in text_of(page)
    assert not page.error


def test_a_small_index_has_no_far_neighbours_and_says_so(home: Path) -> None:
    build_index(
        home / "indexes" / "alps", pair=StandInPair(), cell_resolution=2, tile_resolution=0, bbox=BBox(5, 43, 17, 48)
    )
    page = open_view("explore", show="neighbours", index="alps")
    assert "No cell of this index lies 1,000 km from the one chosen" in text_of(page)
    assert link(page)["index"] == "alps"
    page.switch_page("views/predict.py")
    page.query_params.clear()
    assert page.run().session_state["index"] == "alps"


def test_an_index_chosen_before_the_first_search_stays_chosen(home: Path) -> None:
    shutil.copytree(home / "index", home / "indexes" / "alps")
    page = AppTest.from_file(str(MAIN), default_timeout=60)
    page.session_state["index"] = "alps"  # as "Ask it" on the page Jobs sets it
    assert link(sound(page.run()))["index"] == "alps"


def test_a_link_to_a_variable_that_is_not_here_says_so(home: Path, few_places: None) -> None:
    page = open_view("predict", variable="soil-ph", at="12.49,41.89")
    assert "there is no variable 'soil-ph'" in text_of(page)


# ---- jobs ----


def test_a_job_is_started_from_the_page_and_asked(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import indexer.encoder

    spawned: list[Path] = []
    monkeypatch.setattr(jobs, "_spawn", spawned.append)
    monkeypatch.setattr(indexer.encoder, "load_encoder", lambda *_: StandInPair())
    page = open_view("jobs")
    start = next(button for button in page.button if button.label == "Start")
    start.click().run()
    assert "cannot be a name" in text_of(sound(page))
    page.text_input(key="job_name").set_value("europe")
    page.text_input(key="job_bbox").set_value("-12,34,42,72")
    page.select_slider(key="job_cells").set_value(2)
    next(button for button in page.button if button.label == "Start").click().run()
    assert not sound(page).error
    assert [path.name for path in spawned] == ["europe"]
    assert worker.work(spawned[0]) == "done"
    page.run()
    page.button(key="ask_europe").click().run()
    assert page.session_state["index"] == "europe"
    page.switch_page("views/search.py").run()
    page.text_input(key="place_text").set_value("12.49, 41.89").run()
    hits = answer(sound(page)).hits
    assert hits
    assert all(-12 <= hit.lon <= 42 and 34 <= hit.lat <= 72 for hit in hits)
    assert link(page)["index"] == "europe"
    other = open_page(place="12.49,41.89")
    assert "index" not in link(other)  # the choice is one visitor's


def test_an_index_that_is_not_there_is_said(home: Path) -> None:
    page = open_page(place="12.49,41.89", index="atlantis")
    assert "no index 'atlantis'" in text_of(page)


# ---- models & data ----


def test_models_and_attributions_are_listed(home: Path) -> None:
    page = open_view("models")
    assert not page.error
    text = text_of(page)
    assert "blue-marble-l40" in text
    assert "microsoft/SatCLIP-ViT16-L40" in text
    assert "No dataset yet" in text
    tables: list[Any] = [frame.value for frame in page.dataframe]
    assert any("Licence" in table.columns and len(table) > 8 for table in tables)


def test_a_model_that_cannot_be_fetched_is_said(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from data.errors import CheckpointError
    from model import hub

    def out_of_reach(name: str, **_: Any) -> Path:
        raise CheckpointError(f"{name} cannot be fetched: no network.")

    monkeypatch.setattr(hub, "pull", out_of_reach)
    page = open_view("models")
    page.button(key="pull_microsoft/SatCLIP-ViT16-L40").click().run()
    assert "no network" in text_of(sound(page))
