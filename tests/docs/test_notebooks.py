"""Every notebook runs without an error in a home of its own, and still says what its committed outputs say."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import nbformat
import pytest

from tests.docs.pages import missing_lines
from tools.run_notebooks import NOTEBOOKS, execute

ALL = sorted(NOTEBOOKS.glob("*.ipynb"))
MOST_PICTURE_BYTES = 150_000


def printed(cell: Any) -> str:
    return "".join(output["text"] for output in cell.get("outputs", ()) if output["output_type"] == "stream")


def pictures(cell: Any) -> list[bytes]:
    found = (output.get("data", {}).get("image/png") for output in cell.get("outputs", ()))
    return [base64.b64decode(text) for text in found if text]


@pytest.mark.parametrize("path", ALL, ids=lambda path: path.stem)
def test_notebook(path: Path) -> None:
    committed = nbformat.read(path, as_version=4)
    assert sum(len(picture) for cell in committed.cells for picture in pictures(cell)) < MOST_PICTURE_BYTES
    fresh = execute(path)  # raises where a cell fails, as where a claim that it asserts does not hold
    for shown, cell in zip(committed.cells, fresh.cells, strict=True):
        assert len(pictures(shown)) == len(pictures(cell)), shown.source
        assert all(output.get("name") != "stderr" for output in cell.get("outputs", ())), printed(cell)
        assert not missing_lines(printed(shown), printed(cell)), printed(cell)


def test_there_are_three() -> None:
    assert [path.stem for path in ALL] == ["01-retrieval", "02-downstream", "03-custom-index"]
