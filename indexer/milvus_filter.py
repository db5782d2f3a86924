"""What Milvus can say of a filter: an expression that lets through at least the rows that pass.

Owns the words of Milvus's filters. An expression only ever spares work: whatever else it lets through is dropped by the
filter that acts on the light columns. So it is left out where anything about it could be wrong.
"""

from __future__ import annotations

import json
import math
import re
from datetime import UTC, datetime, timedelta

import pyarrow as pa

from indexer.milvus_layout import fields_of
from indexer.where import Compare, Operator, Where

_WORD = re.compile(r"[A-Za-z0-9 _.-]{0,100}")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_SIDES: tuple[Operator, Operator] = (">=", "<=")


def plain_expression(where: Where, layout: pa.Schema) -> str:
    """What Milvus can express of a filter: never less than the rows that pass, often more; '' for all rows.

    Text goes into an expression only where it is letters, digits and spaces; bounds of numbers are a little wider than
    they were given, because columns of single precision round.

    Args:
        where: the filter.
        layout: of the light table.
    """
    fields = fields_of(layout)
    parts = []
    for column, wanted in (("country", where.countries), ("continent", where.continents), ("source", where.sources)):
        if wanted is not None and column in fields and all(_WORD.fullmatch(text) for text in wanted):
            parts.append(f"{column} in {json.dumps(wanted)}")
    bounds = [(where.bbox.south, where.bbox.north)] if where.bbox is not None else []
    if where.polygon is not None:
        bounds.append((where.polygon.bounds[1], where.polygon.bounds[3]))
    compared = [Compare("lat", sign, value) for pair in bounds for sign, value in zip(_SIDES, pair, strict=True)]
    if where.max_cloud_percent is not None:
        compared.append(Compare("cloud_percent", "<=", float(where.max_cloud_percent)))
    compared += [one for one in where.compare if not isinstance(one.value, str)]
    for one in compared:
        kind = fields.get(one.column, {}).get("datatype", "VARCHAR")
        if kind != "VARCHAR" and not pa.types.is_timestamp(layout.field(one.column).type):
            parts += _bounds(one.column, one.operator, float(one.value), whole=kind.startswith("INT"))
    for moment, sign in ((where.after, ">="), (where.before, "<=")):
        if moment is not None and "acquired" in fields:
            aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
            parts.append(f"acquired {sign} {(aware - _EPOCH) // timedelta(microseconds=1)}")
    return " and ".join(parts)


def _bounds(column: str, operator: str, value: float, *, whole: bool) -> list[str]:
    """Bounds that hold for whatever fulfils a condition on numbers."""
    if operator == "!=" or not abs(value) < 1e12:
        return []
    spare = 1e-6 + 1e-6 * abs(value)
    low, high = value - spare, value + spare
    texts = (str(math.floor(low)), str(math.ceil(high))) if whole else (f"{low:.9f}", f"{high:.9f}")
    least, most = f"{column} >= {texts[0]}", f"{column} <= {texts[1]}"
    return [least, most] if operator == "=" else [least] if operator in (">", ">=") else [most]
