"""The field as a picture: the projection against PROJ, pixels against H3, colours against scores."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from rasterio.warp import transform

from app import field_image
from app.field_image import LEVELS, draw_field, draw_values, kept_pixel_rows, palette, pixel_lonlat, pixel_rows
from data.geo import Cells, cell_lonlat, cell_of, great_circle_km
from data.land import is_land, land_cells

SIDE_PX = 256


@pytest.fixture(scope="module")
def cells() -> Cells:
    return land_cells(2)


@pytest.fixture(scope="module")
def rows(cells: Cells) -> NDArray[np.int32]:
    return pixel_rows(cells, side_px=SIDE_PX)


def test_pixels_lie_where_web_mercator_says() -> None:
    lonlat = pixel_lonlat(16).reshape(-1, 2)
    half = 20037508.342789244
    step = (np.arange(16) + 0.5) / 16 * 2 * half - half
    x, y = (axis.ravel() for axis in np.meshgrid(step, -step))
    lon, lat = transform("EPSG:3857", "EPSG:4326", x, y)
    np.testing.assert_allclose(lonlat, np.stack([lon, lat], axis=1), atol=1e-9)


def test_a_pixel_shows_the_nearest_cell(cells: Cells, rows: NDArray[np.int32]) -> None:
    lonlat = pixel_lonlat(SIDE_PX)
    shown = np.argwhere(rows >= 0)
    picked = shown[np.random.default_rng(0).choice(len(shown), 200, replace=False)]
    for row, column in picked:
        km = great_circle_km(lonlat[row, column], cell_lonlat(cells))
        assert km[rows[row, column]] == pytest.approx(km.min(), abs=1e-6)


def test_which_is_the_cell_it_lies_in(cells: Cells, rows: NDArray[np.int32]) -> None:
    points = pixel_lonlat(SIDE_PX)[rows >= 0]
    own = cell_of(points, 2)
    indexed = np.isin(own, cells)
    agree = cells[rows[rows >= 0]][indexed] == own[indexed]
    assert agree.mean() > 0.97  # hexes on a sphere are Voronoi cells of their centres, but for slivers


def test_the_sea_is_empty_and_land_is_covered(rows: NDArray[np.int32]) -> None:
    land = is_land(pixel_lonlat(SIDE_PX))
    assert (rows[~land] == -1).all()
    assert (rows[land] >= 0).mean() > 0.95


def test_colours_follow_scores(cells: Cells, rows: NDArray[np.int32]) -> None:
    scores = np.random.default_rng(1).normal(size=len(cells)).astype(np.float32)
    png, legend = draw_field(scores, rows)
    picture = np.asarray(Image.open(io.BytesIO(png)).convert("RGBA"))
    assert picture.shape == (SIDE_PX, SIDE_PX, 4)
    assert (picture[rows < 0, 3] == 0).all()
    assert legend.low == pytest.approx(float(np.median(scores)))
    assert legend.high == float(scores.max())
    expected = np.rint(np.clip((scores - legend.low) / (legend.high - legend.low), 0, 1) * (LEVELS - 1)).astype(int)
    np.testing.assert_array_equal(picture[rows >= 0], palette()[expected[rows[rows >= 0]]])


def test_the_palette_grows_steadily_lighter() -> None:
    rgb = palette()[:, :3] / 255
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)  # IEC 61966-2-1
    lightness = np.cbrt(linear @ [0.2126, 0.7152, 0.0722]) * 116 - 16  # CIE 1976 L*
    steps = np.diff(lightness)
    assert (steps > 0).all()
    assert steps.max() < 3 * steps.mean()


def test_a_flat_field_is_drawn(rows: NDArray[np.int32], cells: Cells) -> None:
    png, legend = draw_field(np.full(len(cells), 0.5, dtype=np.float32), rows)
    assert legend.low < legend.high
    assert Image.open(io.BytesIO(png)).size == (SIDE_PX, SIDE_PX)


def test_rows_are_kept_and_a_spoilt_file_is_made_again(
    cells: Cells, rows: NDArray[np.int32], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "cache"
    np.testing.assert_array_equal(kept_pixel_rows(cells, folder, side_px=SIDE_PX), rows)
    (file,) = folder.iterdir()
    with monkeypatch.context() as patch:
        patch.setattr(field_image, "pixel_rows", lambda *_, **__: pytest.fail("made again"))
        np.testing.assert_array_equal(kept_pixel_rows(cells, folder, side_px=SIDE_PX), rows)
    file.write_bytes(b"cut short")
    np.testing.assert_array_equal(kept_pixel_rows(cells, folder, side_px=SIDE_PX), rows)
    np.testing.assert_array_equal(np.load(file), rows)


def test_a_disk_that_refuses_only_costs_time(cells: Cells, rows: NDArray[np.int32], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    np.testing.assert_array_equal(kept_pixel_rows(cells, tmp_path / "file" / "cache", side_px=SIDE_PX), rows)


def test_ranks_give_every_colour_as_much_land() -> None:
    scores = np.random.default_rng(1).normal(size=6400).astype(np.float32) ** 3
    rows = np.arange(6400, dtype=np.int32).reshape(80, 80)
    picture, legend = draw_field(scores, rows, by_rank=True)
    level = np.asarray(Image.open(io.BytesIO(picture)))
    counts = np.bincount(level.ravel(), minlength=LEVELS)
    assert counts[1:-1].min() >= 100 and counts.max() <= 103  # 6400 / 63, half as many at the two ends
    order = np.argsort(scores)
    assert (np.diff(level.ravel()[order].astype(int)) >= 0).all()
    assert legend.middle == pytest.approx(float(np.median(scores)))


def test_values_are_drawn_between_their_bounds_and_the_unknown_is_not() -> None:
    values = np.array([-5.0, 0.0, 5.0, 10.0, 99.0, np.nan])
    rows = np.array([[0, 1, 2], [3, 4, 5]], dtype=np.int32)
    picture, legend = draw_values(values, rows, low=0, high=10)
    shown = np.asarray(Image.open(io.BytesIO(picture)))
    assert shown.tolist() == [[0, 0, round(0.5 * (LEVELS - 1))], [LEVELS - 1, LEVELS - 1, LEVELS]]
    assert (legend.low, legend.high) == (0, 10)
