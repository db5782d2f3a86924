"""The rules by which pages are executed and compared, on pages made up here."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.docs.pages import blocks_of, missing_lines, run_block, surroundings

PAGE = """
```bash
echo one
```

```text
one
```

<!-- not run: needs a moon -->
```python
print(2)
```
"""


def test_blocks_know_their_output_and_their_reason() -> None:
    first, second = blocks_of(PAGE)
    assert (first.line, first.language, first.content, first.shown, first.reason) == (
        2,
        "bash",
        "echo one\n",
        "one\n",
        None,
    )
    assert (second.language, second.shown, second.reason) == ("python", None, "needs a moon")


@pytest.mark.parametrize(
    ("page", "reason"),
    [
        ("```bash\nls\n", "not closed"),
        ("```ruby\np 1\n```\n", "ruby here is neither run nor shown"),
        ("```\nls\n```\n", "no language"),
        ("```text\nls\n```\n", "neither run nor shown"),
        ("<!-- not run: rain -->\nWords.\n", "followed by no block"),
    ],
)
def test_pages_from_which_something_would_escape(page: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        blocks_of(page)


def test_what_counts_as_the_same_output() -> None:
    output = "noise\n   1    0.612     13.042   ITA    3082ff62\nat 0…1, 45 rows\nmoved to /tmp/x/models.\n"
    assert missing_lines("1  0.62  13.05 ITA …\n45", output) == ["45"]
    assert missing_lines("…\n1 0.612 13.042 ITA …\nat 0…1, 45 rows\nmoved to …/models.\n", output) == []
    assert missing_lines("at 0…1, 44 rows", output) == ["at 0…1, 44 rows"]  # whole numbers are exact
    assert missing_lines("at 0…1, 4 rows", output) == ["at 0…1, 4 rows"]
    assert missing_lines("1 0.65 13.042 ITA …", output) == ["1 0.65 13.042 ITA …"]  # 0.038 beside 0.612
    assert missing_lines("1 -0.612 13.042 ITA …", output) == ["1 -0.612 13.042 ITA …"]
    assert missing_lines("at 0…1, 45 rows\nnoise", output) == ["noise"]  # in another order
    assert missing_lines("noise\nnoise", output) == ["noise"]


def test_blocks_run_as_a_reader_would(tmp_path: Path) -> None:
    environment = surroundings(tmp_path / "home")
    failing = blocks_of("```bash\nfalse | true\necho on\n```\n")[0]
    assert run_block(failing, tmp_path, environment) == (1, "")
    here = blocks_of("```python\nimport os, data\nprint(os.environ['SAMEWHERE_HOME'], os.getcwd())\n```\n")[0]
    assert run_block(here, tmp_path, environment) == (0, f"{tmp_path / 'home'} {tmp_path}\n")
