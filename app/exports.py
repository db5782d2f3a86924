"""A result as files for other programs: GeoParquet, and a ZIP with everything that belongs to it.

Owns the contents of the ZIP: hits in three formats, the query as ``query.json`` (``samewhere search --query`` asks the
same), the map as a picture, and the thumbnails. Names within it are numbers and fixed words, never a user's text.
"""

from __future__ import annotations

import base64
import io
import json
import zipfile
from collections.abc import Sequence
from dataclasses import asdict, fields

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import shapely
from PIL import Image, ImageDraw

from app.answer import Answer
from app.field_image import MERCATOR_LAT_DEG
from data.rows import geo_metadata
from indexer.hits import Hit, hits_to_csv, hits_to_geojson

MAP_PX = 1600
MARK_PX = 11
README = """A search of Samewhere.

hits.csv, hits.geojson, hits.parquet: the hits, best first. Scores are cosine similarities (1 is the same);
of a search with votes, probabilities.
query.json: the search. `samewhere search --query query.json` gives the same hits on the same index.
map.png: the similarity of all land to the query, in Web Mercator; hits are numbered.
thumbnails/: one picture for each hit, by its rank.

Imagery: NASA Blue Marble Next Generation (public domain). Outlines: Natural Earth.
"""


def geoparquet(hits: Sequence[Hit]) -> bytes:
    """Hits as GeoParquet 1.1 points."""
    columns = {field.name: [getattr(hit, field.name) for hit in hits] for field in fields(Hit)}
    types = {"rank": pa.int32(), "lon": pa.float64(), "lat": pa.float64(), "score": pa.float32(), "km": pa.float64()}
    table = pa.table({name: pa.array(values, types.get(name, pa.string())) for name, values in columns.items()})
    points = shapely.to_wkb(shapely.points([(hit.lon, hit.lat) for hit in hits] or np.empty((0, 2))))
    table = table.append_column("geometry", pa.array(points, type=pa.binary()))
    example = pa.table({"geometry": pa.array([shapely.to_wkb(shapely.Point(0, 0))])})
    out = io.BytesIO()
    pq.write_table(table.replace_schema_metadata(geo_metadata(example)), out, compression="zstd")
    return out.getvalue()


def query_json(answer: Answer) -> str:
    """The search as a document."""
    return json.dumps(answer.request.to_json() if answer.request else {}, indent=2)


def zipped(answer: Answer, base: bytes) -> bytes:
    """Everything in one file.

    Args:
        answer: the result.
        base: the base picture, a JPEG in Web Mercator.
    """
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("README.txt", README)
        archive.writestr("hits.csv", hits_to_csv(answer.hits))
        archive.writestr("hits.geojson", json.dumps(hits_to_geojson(answer.hits)))
        archive.writestr("hits.parquet", geoparquet(answer.hits))
        archive.writestr("hits.json", json.dumps([asdict(hit) for hit in answer.hits], indent=2))
        archive.writestr("query.json", query_json(answer))
        archive.writestr("map.png", map_picture(answer, base))
        for hit, picture in zip(answer.hits, answer.thumbnails, strict=True):
            if picture:
                archive.writestr(f"thumbnails/{hit.rank:03d}.jpg", _content(picture))
    return out.getvalue()


def map_picture(answer: Answer, base: bytes) -> bytes:
    """The map as a PNG: base, field, hits with their ranks, pins."""
    size = (MAP_PX, MAP_PX)
    picture = Image.open(io.BytesIO(base)).convert("RGBA").resize(size)
    if answer.field:
        field = Image.open(io.BytesIO(_content(answer.field))).convert("RGBA").resize(size)
        picture = Image.alpha_composite(picture, field)
    draw = ImageDraw.Draw(picture)
    for pin in answer.pins:
        x, y = _pixel(*pin.lonlat)
        colour = (92, 200, 255) if pin.like else (255, 159, 67)
        draw.ellipse((x - MARK_PX, y - MARK_PX, x + MARK_PX, y + MARK_PX), outline=colour, width=3)
    for hit in reversed(answer.hits):
        x, y = _pixel(hit.lon, hit.lat)
        box = (x - MARK_PX, y - MARK_PX, x + MARK_PX, y + MARK_PX)
        draw.ellipse(box, fill=(255, 255, 255), outline=(11, 26, 43), width=2)
        draw.text((x, y), str(hit.rank), fill=(11, 26, 43), anchor="mm", font_size=12)
    out = io.BytesIO()
    picture.convert("RGB").save(out, "PNG")
    return out.getvalue()


def _pixel(lon: float, lat: float) -> tuple[float, float]:
    """Where a place lies on the picture.

    Source:
        Snyder 1987, Map Projections: A Working Manual, eq 7-2 (sphere).
    """
    north = np.radians(np.clip(lat, -MERCATOR_LAT_DEG, MERCATOR_LAT_DEG))
    y = 0.5 - np.arcsinh(np.tan(north)) / (2 * np.pi)
    return (lon + 180) / 360 * MAP_PX, float(y) * MAP_PX


def _content(url: str) -> bytes:
    return base64.b64decode(url.partition(",")[2])
