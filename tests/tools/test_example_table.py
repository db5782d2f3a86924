"""The table of ``docs/predict.md`` is what its tool makes, and can be fitted on."""

from pathlib import Path

from data.table import read_points, take_sample
from tools.example_table import OUT, rows

DOCS = Path(__file__).parents[2] / "docs"


def test_the_committed_table_is_what_the_tool_makes():
    assert OUT == DOCS / "example-sites.csv"
    assert OUT.read_text(encoding="utf-8") == "\n".join(rows()) + "\n"


def test_both_targets_can_be_taken():
    points = read_points(OUT)
    assert take_sample(points, "warmest_c").kind == "regression"
    assert take_sample(points, "climate").kind == "classification"
    assert take_sample(points, "climate").notes == ()
