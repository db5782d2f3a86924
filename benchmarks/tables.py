"""Results as Markdown, and their places in the pages: between marks that name the benchmark.

Owns how a table looks and where it stands; measures nothing. A page asks for the tables of ``NAME`` by the marks
``<!-- begin: bench NAME -->`` and ``<!-- end: bench NAME -->``, so a page and the JSON never differ unnoticed. One part
alone is ``bench NAME: PART``, of which a beginning that no other part shares is enough.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from app.downstream_tables import put_between

ROOT = Path(__file__).parents[1]
RESULTS = Path(__file__).with_name("results")
MARK = re.compile(r"<!-- begin: (bench ([a-z0-9_]+)(?:: ([^>]+))?) -->")
NONE = "–"


def as_markdown(result: Mapping[str, Any]) -> str:
    """The tables of one result, one for each of its parts, then the notes."""
    rows = result["rows"]
    parts = dict.fromkeys(row["part"] for row in rows)
    texts = [_table(part, [row for row in rows if row["part"] == part]) for part in parts]
    return "\n\n".join([*texts, *result["notes"]])


def as_page(result: Mapping[str, Any], part: str = "") -> str:
    """The same for a page: title, tables, and how they came about.

    Args:
        result: a benchmark's.
        part: how the name of the only part that is wanted begins; every part by default.

    Raises:
        ValueError: no part begins so, or several do.
    """
    if part:
        named = {row["part"] for row in result["rows"] if row["part"].startswith(part)}
        if len(named) != 1:
            raise ValueError(f"{len(named)} parts of {result['name']} begin with {part!r}; name one.")
        result = {**result, "rows": [row for row in result["rows"] if row["part"] in named]}
    made = result["made"]
    note = (
        f"`{result['command']}` · {made['cpu']}, {made['threads']} threads · {made['date']} · commit {made['commit']}"
    )
    return f"{result['title']}\n\n{as_markdown(result)}\n\n{note}"


def pages(root: Path = ROOT) -> list[Path]:
    """Every page that asks for a table."""
    candidates = [root / "README.md", *sorted((root / "docs").rglob("*.md"))]
    return [path for path in candidates if MARK.search(path.read_text(encoding="utf-8"))]


def render(path: Path, results: Path = RESULTS) -> list[str]:
    """Put the tables into a page; names of the results that were used.

    Raises:
        HeadError: a mark has no end.
        FileNotFoundError: there is no such result.
        ValueError: there is no such part.
    """
    marks = MARK.findall(path.read_text(encoding="utf-8"))
    for mark, name, part in marks:
        result = json.loads((results / f"{name}.json").read_bytes())
        put_between(path, mark, as_page(result, part))
    return [name for _, name, _ in marks]


def _table(part: str, rows: Sequence[Mapping[str, Any]]) -> str:
    """One table. A column that would be empty is left out; one unit for all stands in the head."""
    units = {row["unit"] for row in rows}
    unit = units.pop() if len(units) == 1 else ""
    columns: dict[str, list[str]] = {unit or "median": [_value(row, "" if unit else f" {row['unit']}") for row in rows]}
    peers = {row["peer"] for row in rows if row["ratio"] is not None}
    if len(peers) == 1:
        columns[f"speed beside {peers.pop()}"] = [_ratio(row["ratio"], "") for row in rows]
    elif peers:
        columns["speed beside"] = [_ratio(row["ratio"], f" {row['peer']}") for row in rows]
    if any(row["memory_mb"] is not None for row in rows):
        columns["memory, MB"] = [number(row["memory_mb"]) for row in rows]
    for name in dict.fromkeys(name for row in rows for name in row["more"]):
        columns[name] = [number(row["more"].get(name)) for row in rows]
    lines = [f"| {part} | " + " | ".join(columns) + " |", "|---" * (len(columns) + 1) + "|"]
    for at, row in enumerate(rows):
        lines.append(f"| {row['name']} | " + " | ".join(values[at] for values in columns.values()) + " |")
    return "\n".join(lines)


def _value(row: Mapping[str, Any], unit: str) -> str:
    spread = "" if row["low"] is None else f" ({number(row['low'])} … {number(row['high'])})"
    return f"{number(row['value'])}{unit}{spread}"


def _ratio(ratio: float | None, peer: str) -> str:
    return NONE if ratio is None else f"{number(ratio)} ×{peer}"


def number(value: Any) -> str:
    """Three digits that count, thousands apart; text as it is."""
    if value is None:
        return NONE
    if isinstance(value, str) or value == 0:
        return str(value)
    if isinstance(value, int) or abs(value) >= 100:
        return f"{value:,.0f}"
    rounded = float(f"{value:.3g}")
    return f"{rounded:g}" if abs(rounded) < 1e-4 else f"{rounded:.{_digits(abs(rounded))}f}"


def _digits(size: float) -> int:
    """Digits behind the point so that three count."""
    places = 2
    while size < 1 and places < 6:
        size, places = size * 10, places + 1
    return places - 1 if size >= 10 else places
