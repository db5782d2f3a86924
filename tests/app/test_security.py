"""What strangers send cannot harm: uploads are bounded, nothing from a link is a path or SQL, no text becomes HTML."""

from __future__ import annotations

import ast
import io
import re
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from rasterio.io import MemoryFile

from app import jobs, mapped, resources
from app.url_state import PageQuery, read_query
from data.errors import PatchError, QueryError, SamewhereError, TableError
from data.patch import MAX_BYTES, read_patch
from tests.app.files import geotiff
from tests.app.test_page import open_page, sound

ROOT = Path(__file__).parents[2]
NAMES = ["../../etc/passwd", "/etc/passwd", "..", ".", "a/b", "a\\b", "C:evil", "\0", "x" * 65, "", "-rf"]


def packed_tiff(count: int, height: int, width: int) -> bytes:
    """A GeoTIFF of zeros that is small however large it says it is."""
    with MemoryFile() as file:
        profile = {"driver": "GTiff", "count": count, "height": height, "width": width, "dtype": "uint16"}
        with file.open(**profile, compress="deflate", sparse_ok=True, tiled=True) as dataset:
            dataset.write(np.zeros((16, 16), np.uint16), 1, window=((0, 16), (0, 16)))
        return bytes(file.read())


def bombs() -> dict[str, tuple[bytes, str]]:
    picture = io.BytesIO()
    Image.new("L", (6000, 6000)).save(picture, "PNG", compress_level=9)
    long = io.BytesIO()
    Image.new("L", (30_000, 16)).save(long, "PNG")
    zeros, packed = io.BytesIO(), io.BytesIO()
    np.save(zeros, np.zeros((3, 4000, 4000), np.float32))
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("pixels.npy", zeros.getvalue())
    many = io.BytesIO()
    with zipfile.ZipFile(many, "w") as archive:
        for number in range(40):
            archive.writestr(f"{number}.npy", b"")
    return {
        "bytes": (b"II*\0" + bytes(MAX_BYTES), "32 MB"),
        "ratio of a GeoTIFF": (packed_tiff(12, 1900, 1900), "times as many"),
        "values": (packed_tiff(13, 3000, 3000), "times as many|million"),
        "bands": (packed_tiff(100, 64, 64), "bands"),
        "side of a picture": (long.getvalue(), "pixels a side"),
        "values of a picture": (picture.getvalue(), "million"),
        "ratio of an archive": (packed.getvalue(), "times as many"),
        "members of an archive": (many.getvalue(), "40 arrays"),
    }


@pytest.mark.parametrize("what", sorted(bombs()))
def test_uploads_are_bounded_before_they_are_decoded(what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    import rasterio

    content, reason = bombs()[what]
    monkeypatch.setattr(rasterio.io.DatasetReader, "read", None)  # whoever decodes it all the same fails
    monkeypatch.setattr(np, "load", None)
    with pytest.raises(PatchError, match=reason):
        read_patch(content, name="upload")


@pytest.mark.parametrize(
    "content",
    [
        b'<VRTDataset rasterXSize="9" rasterYSize="9"><VRTRasterBand><SourceFilename>/etc/passwd</SourceFilename>'
        b"</VRTRasterBand></VRTDataset>",
        b"/vsicurl/http://127.0.0.1/x.tif",
        b"GIF89a" + bytes(100),
        b"\x89HDF\r\n\x1a\n" + bytes(100),
        b"%PDF-1.7" + bytes(100),
        b"",
    ],
)
def test_only_three_kinds_of_picture_are_ever_opened(content: bytes) -> None:
    with pytest.raises(PatchError, match="not a GeoTIFF, PNG, JPEG"):
        read_patch(content, name="upload.tif")


@pytest.mark.parametrize("name", ["/etc/passwd", "../../escape.tif", "/vsicurl/http://127.0.0.1/x.tif", "<b>x</b>.tif"])
def test_a_files_name_is_never_a_path(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    patch = read_patch(geotiff(np.full((3, 32, 32), 90, np.uint8)), name=name)
    assert patch.pixels.shape == (3, 32, 32)
    assert list(tmp_path.rglob("*")) == []


@pytest.mark.parametrize("name", NAMES)
def test_no_name_of_an_index_leads_out_of_its_folder(home: Path, name: str) -> None:
    before = sorted(home.rglob("*"))
    with pytest.raises(SamewhereError):
        resources.index_path(name)
    for act in (jobs.resume, jobs.pause, jobs.delete):
        with pytest.raises(SamewhereError):
            act(name)
    with pytest.raises(QueryError):
        jobs.start(name, jobs.Order("blue-marble-l40", ("blue-marble",)))
    assert sorted(home.rglob("*")) == before


SQL = "'; DROP TABLE cells; --"
BAD_LINK = {
    "place": SQL,
    "sample": "../../etc/passwd",
    "hit": SQL,
    "countries": SQL,
    "continents": "EU' OR '1'='1",
    "climates": "Cfb); DROP",
    "limits": "id:1:2,elevation) OR 1=1:0:1",
    "also": "1*file:/etc/passwd",
    "like": f"t:{SQL}",
    "area": "1,2;import os",
    "index": "../secret",
    "k": "__import__('os')",
    "after": SQL,
    "view": "both' --",
}


def test_nothing_of_a_link_is_used_that_was_not_parsed() -> None:
    parsed = read_query(BAD_LINK, samples={"nile": 1}, countries={"ITA": "Italy"}, layers=("elevation",))
    assert parsed.query == PageQuery(hit=SQL)  # an id is a text that is only ever compared
    assert len(parsed.complaints) == len(BAD_LINK) - 1


def test_a_hostile_link_is_answered_in_words(home: Path) -> None:
    page = open_page(**BAD_LINK | {"place": "12.49,41.89"})
    assert not sound(page).exception
    text = " ".join(one.value for one in [*page.warning, *page.error])
    assert "Left out of the link" in text
    assert "Traceback" not in text


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (bytes(33 << 20), "32 MB"),
        (b"PAR1" + bytes(50), "Parquet"),
        (b"lon,lat,x\n0,95,1\n", "95"),
        (b"\xff\xfe\x00", "table"),
        (b"", ""),
    ],
)
def test_tables_are_bounded_and_refused_in_words(content: bytes, reason: str) -> None:
    with pytest.raises(SamewhereError, match=reason):
        mapped.read_upload(content)


def test_long_tables_are_refused_before_they_are_unpacked(monkeypatch: pytest.MonkeyPatch) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    out = io.BytesIO()
    zeros = np.zeros(mapped.MAX_ROWS + 1)
    pq.write_table(pa.table({"lon": zeros, "lat": zeros, "x": zeros}), out)
    monkeypatch.setattr(pq, "read_table", None)
    with pytest.raises(TableError, match="rows"):
        mapped.read_upload(out.getvalue())


def test_html_is_never_built_of_a_readers_text() -> None:
    """Every st.html of the app gets a constant or a call of a function whose f-strings hold our own names alone."""
    allowed = {"STYLE", "HEADER"}
    calls = {"legend_html", "_legend"}
    ours = {
        "bar",
        "ends",
        "words",
        "colours",
        "low",
        "high",
        "head",
        "rows",
        "text",
        "below",
        "strength",
        "letter",
        "cells",
        "spots",
        "colour",
        "share",
        "name",
        "fact",
        "regions",
        "_unbroken",
        "class_name",
        "predictor",
        "climate_name",
        "letters",
    }
    for path in sorted((ROOT / "app").rglob("*.py")):
        tree = ast.parse(path.read_text("utf-8"))
        for node in ast.walk(tree):
            if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "html"):
                continue
            (given,) = node.args
            if isinstance(given, ast.Name):
                assert given.id in allowed, f"{path.name}:{node.lineno}"
            elif isinstance(given, ast.Call):
                assert isinstance(given.func, ast.Name) and given.func.id in calls, f"{path.name}:{node.lineno}"
            else:
                names = {one.id for one in ast.walk(given) if isinstance(one, ast.Name)}
                assert names <= ours | {"join", "str"}, f"{path.name}:{node.lineno}: {names - ours}"
        assert "unsafe_allow_html" not in path.read_text("utf-8"), path.name
    for script in (ROOT / "app" / "frontend").glob("*.js"):
        assert not re.search(r"innerHTML|insertAdjacentHTML|document\.write", script.read_text("utf-8")), script.name
    map_script = (ROOT / "app" / "static" / "map" / "map.js").read_text("utf-8")
    assert not re.search(r"innerHTML|insertAdjacentHTML|document\.write|\beval\b", map_script)


def test_markup_in_a_name_stays_text(home: Path) -> None:
    from app.ingredients import Ingredient

    page = open_page(place="12.49,41.89", also="1*tile:" + "%3Cimg%20src%3Dx%20onerror%3Dalert(1)%3E")
    assert not page.exception
    assert all("<img" not in one.value for one in page.get("html") if hasattr(one, "value"))
    assert Ingredient("tile", id="<b>").id == "<b>"
