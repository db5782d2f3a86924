"""Queries as JSON and back, so that they can be kept, sent, and asked again.

Owns the form. Each query is an object with its ``kind`` and nothing beside what that kind needs; an image carries its
pixels as a NumPy archive (float32, compressed, no pickle) in base64. What comes in is not trusted: bounded to 32 MB,
64 ingredients and 4 levels, and whatever is malformed is refused with the place of it in the document.
"""

from __future__ import annotations

import base64
import io
import json
import math
import zipfile
import zlib
from collections.abc import Callable
from datetime import datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data.errors import QueryError, SamewhereError
from data.npy import read_array, read_header
from data.patch import MAX_BYTES, MAX_VALUES, Patch
from indexer.query import DEFAULT_BACKGROUND, MAX_DEPTH, MAX_INGREDIENTS, Query

MAX_BANDS = 64
MAX_TEXT = 1000
KEYS = {  # of each kind: what must be there, what may
    "place": ({"lonlat"}, set()),
    "image": ({"npz", "bands"}, {"lonlat", "gsd_m", "acquired", "source", "footprint"}),
    "tile": ({"id"}, set()),
    "cell": ({"id"}, set()),
    "vector": ({"vector"}, {"fingerprint"}),
    "mix": ({"parts"}, set()),
    "any_of": ({"queries"}, set()),
    "examples": ({"positives"}, {"negatives", "background", "seed"}),
}


def write_query(query: Query) -> dict[str, Any]:
    """The query as plain data."""
    out: dict[str, Any] = {"kind": query.kind}
    match query.kind:
        case "place":
            out["lonlat"] = list(query.lonlat or ())
        case "image" if query.patch is not None:
            out |= _write_patch(query.patch)
        case "tile" | "cell":
            out["id"] = query.id
        case "vector":
            out["vector"] = list(query.vector or ())
            if query.fingerprint is not None:
                out["fingerprint"] = query.fingerprint
        case "mix":
            out["parts"] = [{"weight": weight, "query": write_query(part)} for weight, part in query.parts]
        case "any_of":
            out["queries"] = [write_query(part) for _, part in query.parts]
        case "examples":
            out["positives"] = [write_query(part) for weight, part in query.parts if weight > 0]
            out["negatives"] = [write_query(part) for weight, part in query.parts if weight < 0]
            out |= {"background": query.background, "seed": query.seed}
    return out


def read_query(given: Any) -> Query:
    """The query that plain data or a JSON text stands for.

    Raises:
        QueryError: it is no query, or more than is allowed.
    """
    if isinstance(given, str | bytes | bytearray):
        if len(given) > MAX_BYTES:
            raise QueryError(f"The query is {len(given):,} bytes long; at most {MAX_BYTES >> 20} MB are allowed.")
        try:
            given = json.loads(given)
        except (ValueError, RecursionError) as error:
            raise QueryError(f"The query is not JSON ({error}). Write one with Query.to_json.") from error
    return _read(given, "query", 1)


def _read(given: Any, where: str, depth: int) -> Query:
    if depth > MAX_DEPTH:
        raise QueryError(f"{where} lies more than {MAX_DEPTH} levels deep; put its ingredients side by side.")
    kind = _typed(given, dict, where, "an object").get("kind")
    if not isinstance(kind, str) or kind not in KEYS:
        raise QueryError(f"{where}: its kind is {_seen(kind)}; expected one of {', '.join(KEYS)}.")
    needed, optional = KEYS[kind]
    missing, unknown = needed - given.keys(), given.keys() - needed - optional - {"kind"}
    if missing:
        raise QueryError(f"{where}: a query of kind {kind} needs {', '.join(sorted(missing))}.")
    if unknown:
        names = ", ".join(_seen(name) for name in list(unknown)[:3])
        raise QueryError(f"{where}: a query of kind {kind} has no {names}; remove it.")
    try:
        return READERS[kind](given, where, depth)
    except SamewhereError as error:
        if isinstance(error, QueryError) and str(error).startswith(where):  # it tells its place already
            raise
        raise QueryError(f"{where}: {error}") from error


def _read_mix(given: dict[str, Any], where: str, depth: int) -> Query:
    parts = []
    for number, part in enumerate(_list(given["parts"], f"{where}.parts", MAX_INGREDIENTS)):
        at = f"{where}.parts[{number}]"
        if _typed(part, dict, at, "an object").keys() != {"weight", "query"}:
            raise QueryError(f"{at}: expected a weight and a query, got {_seen(sorted(map(str, part)))}.")
        parts.append((_number(part["weight"], f"{at}.weight"), _read(part["query"], f"{at}.query", depth + 1)))
    return Query.mix(parts)


def _read_examples(given: dict[str, Any], where: str, depth: int) -> Query:
    return Query.examples(
        _queries(given["positives"], f"{where}.positives", depth),
        _queries(given.get("negatives", []), f"{where}.negatives", depth),
        background=given.get("background", DEFAULT_BACKGROUND),
        seed=given.get("seed", 0),
    )


def _read_image(given: dict[str, Any], where: str, depth: int) -> Query:
    bands = _list(given["bands"], f"{where}.bands", MAX_BANDS)
    names = tuple(_text(band, f"{where}.bands[{number}]") for number, band in enumerate(bands))
    known: dict[str, Any] = {"source": _text(given.get("source", ""), f"{where}.source")}
    if given.get("lonlat") is not None:
        place = Query.place(*_pair(given["lonlat"], f"{where}.lonlat"))
        known["lonlat"] = place.lonlat
    if given.get("gsd_m") is not None:
        known["gsd_m"] = _number(given["gsd_m"], f"{where}.gsd_m")
        if known["gsd_m"] <= 0:
            raise QueryError(f"{where}.gsd_m is {known['gsd_m']:g}; a pixel's size is a positive number of metres.")
    if given.get("acquired") is not None:
        text = _text(given["acquired"], f"{where}.acquired")
        try:
            known["acquired"] = datetime.fromisoformat(text)
        except ValueError as error:
            raise QueryError(f"{where}.acquired is {text!r}; write a time as 2023-06-01T10:00:00+00:00.") from error
    if given.get("footprint") is not None:
        corners = _list(given["footprint"], f"{where}.footprint", 4)
        known["footprint"] = np.array([_pair(corner, f"{where}.footprint") for corner in corners])
        if len(corners) != 4:
            raise QueryError(f"{where}.footprint has {len(corners)} corners; expected 4.")
    return Query.image(Patch(pixels=_read_pixels(given["npz"], f"{where}.npz"), bands=names, **known))


READERS: dict[str, Callable[[dict[str, Any], str, int], Query]] = {
    "place": lambda given, where, depth: Query.place(*_pair(given["lonlat"], f"{where}.lonlat")),
    "image": _read_image,
    "tile": lambda given, where, depth: Query.tile(given["id"]),
    "cell": lambda given, where, depth: Query.cell(_text(given["id"], f"{where}.id")),
    "vector": lambda given, where, depth: Query.from_vector(
        [_number(value, f"{where}.vector") for value in _typed(given["vector"], list, f"{where}.vector", "a list")],
        fingerprint=None if given.get("fingerprint") is None else _text(given["fingerprint"], f"{where}.fingerprint"),
    ),
    "mix": _read_mix,
    "any_of": lambda given, where, depth: Query.any_of(_queries(given["queries"], f"{where}.queries", depth)),
    "examples": _read_examples,
}


def _write_patch(patch: Patch) -> dict[str, Any]:
    file = io.BytesIO()
    np.savez_compressed(file, pixels=np.ascontiguousarray(patch.pixels, dtype="<f4"))
    out: dict[str, Any] = {"bands": list(patch.bands), "npz": base64.b64encode(file.getvalue()).decode("ascii")}
    known = {
        "lonlat": patch.lonlat and list(patch.lonlat),
        "gsd_m": patch.gsd_m,
        "acquired": patch.acquired and patch.acquired.isoformat(),
        "source": patch.source or None,
        "footprint": None if patch.footprint is None else patch.footprint.tolist(),
    }
    return out | {name: value for name, value in known.items() if value is not None}


def _read_pixels(given: Any, where: str) -> NDArray[np.float32]:
    """(C, H, W) of the archive, which may unfold to 50 million values and no more."""
    if not isinstance(given, str) or len(given) > MAX_BYTES:
        raise QueryError(f"{where}: expected at most {MAX_BYTES >> 20} MB of base64 text, got {_seen(given)}.")
    limit = 4 * MAX_VALUES + 4096  # the header is some 128 bytes
    try:
        packed = io.BytesIO(base64.b64decode(given, validate=True))
        with zipfile.ZipFile(packed) as archive, archive.open("pixels.npy") as file:
            if archive.getinfo("pixels.npy").compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                raise ValueError("packed in another way than NumPy does")
            content = file.read(limit + 1)  # what it says of its size need not be true
        if len(content) > limit:
            raise QueryError(f"{where}: more than {MAX_VALUES // 10**6} million values. Cut a smaller patch.")
        stream = io.BytesIO(content)
        shape, _, dtype = read_header(stream)
        if dtype != np.float32 or len(shape) != 3 or 4 * math.prod(shape) != len(content) - stream.tell():
            raise ValueError(f"an array of shape {shape} and type {dtype}")
        pixels = read_array(content)
    except (
        ValueError,
        KeyError,
        OSError,
        EOFError,
        RuntimeError,
        zipfile.BadZipFile,
        zlib.error,
    ) as error:
        raise QueryError(
            f"{where}: not a NumPy archive with float32 pixels of bands × rows × columns ({str(error)[:200]}). "
            "Write the query with Query.to_json."
        ) from error
    return np.ascontiguousarray(pixels, dtype=np.float32)


def _queries(given: Any, where: str, depth: int) -> list[Query]:
    parts = _list(given, where, MAX_INGREDIENTS)
    return [_read(part, f"{where}[{number}]", depth + 1) for number, part in enumerate(parts)]


def _pair(given: Any, where: str) -> tuple[float, float]:
    if not isinstance(given, list | tuple) or len(given) != 2:
        raise QueryError(f"{where}: expected [longitude, latitude] in degrees, got {_seen(given)}.")
    return _number(given[0], where), _number(given[1], where)


def _number(given: Any, where: str) -> float:
    try:
        if not isinstance(given, bool) and isinstance(given, int | float) and math.isfinite(given):
            return float(given)
    except OverflowError:
        pass
    raise QueryError(f"{where}: expected a finite number, got {_seen(given)}.")


def _text(given: Any, where: str) -> str:
    if not isinstance(given, str) or len(given) > MAX_TEXT:
        raise QueryError(f"{where}: expected a text of at most {MAX_TEXT} characters, got {_seen(given)}.")
    return given


def _list(given: Any, where: str, most: int) -> list[Any]:
    if len(_typed(given, list, where, "a list")) > most:
        raise QueryError(f"{where} has {len(given):,} entries; at most {most} are allowed.")
    return list(given)


def _typed(given: Any, wanted: type, where: str, called: str) -> Any:
    if not isinstance(given, wanted):
        raise QueryError(f"{where}: expected {called}, got {_seen(given)}.")
    return given


def _seen(given: Any) -> str:
    """What was found, for a sentence, however long it is."""
    if isinstance(given, list | dict):
        return f"{'a list' if isinstance(given, list) else 'an object'} of {len(given)}"
    if isinstance(given, int) and abs(given) > 10**30:
        return "a whole number of many digits"
    text = repr(given)
    return text if len(text) <= 60 else f"{text[:60]}…"
