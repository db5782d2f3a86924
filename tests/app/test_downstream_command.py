"""``samewhere evaluate downstream``: what it prints and writes, and what it refuses."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from app.cli import app
from app.downstream_tables import as_markdown, put_between
from data.errors import HeadError, QueryError, SamewhereError
from data.land import sample_land
from model.downstream import Problem
from model.published import Published
from model.tables import Row

NAN = float("nan")
QUICK = ["evaluate", "downstream", "--points", "600", "--seeds", "2"]
CHEAP = ["--encoder", "blue-marble-l40", "--encoder", "cartesian", "--task", "temperature", "--task", "koppen"]


def run(*words: str):
    result = CliRunner().invoke(app, [*QUICK, *words], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result


def cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_four_files_say_the_same(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- begin: downstream -->old<!-- end: downstream -->\nafter\n")
    words = [*CHEAP, "--split", "random", "--split", "few", "--out", str(tmp_path / "t"), "--into", str(page)]
    printed = run(*words, "--head", "knn").stdout
    assert (tmp_path / "t" / "downstream.md").read_text() == printed
    assert page.read_text() == (
        f"before\n<!-- begin: downstream -->\n\n{printed.rstrip()}\n\n<!-- end: downstream -->\nafter\n"
    )
    found = json.loads((tmp_path / "t" / "downstream.json").read_text())
    assert found["about"]["places"] == {"temperature": 600, "koppen": 600} and found["about"]["seeds"] == 2
    with (tmp_path / "t" / "downstream.csv").open() as file:
        lines = list(csv.DictReader(file))
    assert [{k: v if v is None else str(v) for k, v in row.items()} for row in found["rows"]] == [
        {k: v or None for k, v in line.items()} for line in lines
    ]
    whole = {(r["encoder"], r["split"], r["task"]): r for r in found["rows"] if r["part"] == "all"}
    first = printed.split("\n\n")[1].splitlines()
    assert cells(first[0]) == ["", "Air temperature", "Köppen–Geiger class"]
    for line in first[2:]:
        name, *values = cells(line)
        for task, value in zip(("temperature", "koppen"), values, strict=True):
            row = whole[name, "random", task]
            assert value.strip("*") == f"{row['main']:.3f} ± {row['main_sd']:.3f}"
            best = max(whole[other, "random", task]["main"] for other in ("blue-marble-l40", "cartesian"))
            assert value.startswith("**") == (row["main"] == best)
    with Image.open(tmp_path / "t" / "downstream.png") as picture:
        assert np.asarray(picture.convert("L")).std() > 10


def test_json_is_json_with_nulls() -> None:
    words = ["--encoder", "cartesian", "--task", "country", "--split", "continent", "--head", "knn", "--json"]
    found = json.loads(run(*words).stdout)
    assert found["rows"] and all(row["main"] is None for row in found["rows"]) and found["verdicts"] == []


def test_tables_by_hand() -> None:
    places = sample_land(3, rng=np.random.default_rng(0))
    problems = [
        Problem("a", "A", "regression", places, np.zeros(3)),
        Problem("b", "B", "classification", places, np.array(["x", "y", "z"])),
    ]
    rows = [
        Row("own", "ridge", "a", "random", "all", 3, 2, 0.9, 0.01, 0.1, 0.02),
        Row("own", "ridge", "b", "random", "all", 3, 2, 0.4, 0.0, 0.3, 0.0),
        Row("x", "ridge", "a", "random", "all", 3, 2, 0.8, 0.01, 0.2, 0.02),
        Row("x", "ridge", "b", "random", "all", 3, 2, 0.5, 0.0, NAN, NAN),
    ]
    published = [Published("a", "CSP", "random", "mse", 0.25, NAN, "Table 9")]
    text = as_markdown(rows, problems, own={"own"}, published=published)
    assert text == "\n\n".join(
        [
            "**Random folds (5): R², or accuracy of classes, mean ± sd over 2 seeds**",
            "| | A | B |\n|---|---|---|\n| own | **0.900 ± 0.010** | 0.400 ± 0.000 |\n"
            "| x | 0.800 ± 0.010 | **0.500 ± 0.000** |",
            "**Random folds (5): standardised MSE, or macro-F1 of classes, mean ± sd over 2 seeds**",
            "| | A | B |\n|---|---|---|\n| own | **0.100 ± 0.020** | **0.300 ± 0.000** |\n| x | 0.200 ± 0.020 | – |\n"
            "| *CSP, published (Table 9)* | 0.250 | – |",
            "**Better than every baseline**",
            "| | tasks | where not |\n|---|---|---|\n| Random folds (5) | 1 of 2 | B (0.400; x, ridge 0.500) |",
        ]
    )


def test_the_papers_sets_come_from_a_folder(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    rows = "\n".join(f"{lon},{lat},{30 - abs(lat) / 2}" for lon, lat in sample_land(300, rng=rng))
    (tmp_path / "stationDataAll.csv").write_text("Lon,Lat,meanT\n" + rows)
    (tmp_path / "published.csv").write_text(
        "task,encoder,split,metric,mean,sd,source\npaper-air-temperature,CSP,random,mse,0.5,0.25,an example\n"
    )
    result = run("--encoder", "cartesian", "--split", "random", "--paper", str(tmp_path))
    assert "Not in" in result.stderr and "paper-biome" in result.stderr and "paper-air" not in result.stderr
    line = next(line for line in result.stdout.splitlines() if "CSP" in line)
    assert "0.500 ± 0.250" in line and "published (an example)" in line


@pytest.mark.parametrize(
    ("words", "error", "said"),
    [
        (["--task", "humidity"], QueryError, r"no task 'humidity'.*temperature"),
        (["--task", "paper-biome"], HeadError, r"say where its files are, with --paper DIR"),
        (["--encoder", "nothing-like-it"], SamewhereError, r"nothing-like-it"),
        (["--encoder", "blue-marble-l40:rough"], SamewhereError, r"rough"),
    ],
)
def test_refusals(words: list[str], error: type[Exception], said: str) -> None:
    with pytest.raises(error, match=said):
        CliRunner().invoke(app, [*QUICK, *words], catch_exceptions=False)


def test_an_empty_folder_and_pages_without_marks(tmp_path: Path) -> None:
    with pytest.raises(HeadError, match=r"none of the paper's data sets; their files are .*stationDataAll\.csv"):
        CliRunner().invoke(app, [*QUICK, "--paper", str(tmp_path)], catch_exceptions=False)
    with pytest.raises(HeadError, match="cannot be read"):
        put_between(tmp_path / "none.md", "x", "y")
    (tmp_path / "page.md").write_text("<!-- end: x --><!-- begin: x -->")
    with pytest.raises(HeadError, match="each once"):
        put_between(tmp_path / "page.md", "x", "y")


def test_the_page_of_the_tables_has_its_marks() -> None:
    page = (Path(__file__).parents[2] / "docs" / "evaluation.md").read_text(encoding="utf-8")
    for name in ("downstream", "retrieval"):
        assert page.count(f"<!-- begin: {name} -->") == page.count(f"<!-- end: {name} -->") == 1
