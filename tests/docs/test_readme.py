"""The README's own commands: what is cheap is executed, everything else has its reason here."""

from __future__ import annotations

import shlex
import shutil
import sys
from pathlib import Path

import pytest

from app import cli
from indexer import build_index
from model import load
from tests.docs.pages import ROOT, Block, blocks_of, run_block, surroundings
from tools import example_patches

BLOCKS = blocks_of((ROOT / "README.md").read_text("utf-8"), languages=("sh", "bash", "python"))
LEFT_OUT = {
    "samewhere index build": "takes a minute; docs/how-to builds smaller ones",
    "samewhere evaluate": "takes minutes; tests/app/test_evaluate_command.py and test_downstream_command.py",
    "samewhere train": "takes hours; tests/app/test_train_command.py",
    "samewhere data stac": "needs a network; tests/data/test_stac.py",
    "samewhere data map veneto": "draws what stac brought; tests/app/test_dataset_command.py",
    "samewhere fit": "docs/how-to/map-a-variable.md",
    "samewhere predict": "docs/how-to/map-a-variable.md",
}
COMMANDS = [
    line
    for block in BLOCKS
    if block.language != "python"
    for line in block.content.splitlines()
    if line.startswith("samewhere ") and not any(line.startswith(start) for start in LEFT_OUT)
]

EXAMPLES = [block for block in BLOCKS if block.language == "python" and "microsoft/" not in block.content]
"""Official weights are fetched in docs/how-to/official-weights.md."""


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with a coarse index and a dataset, and a folder beside it where the reader stands."""
    path = tmp_path_factory.mktemp("reader")
    build_index(path / "home" / "index", pair=load("blue-marble-l40"), cell_resolution=2, tile_resolution=0)
    example_patches.main(path / "here" / "patches")
    shutil.copy(path / "here" / "patches" / "patch_03.tif", path / "here" / "patch.tif")
    return path


@pytest.fixture
def here(home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The reader's folder, with the reader in it."""
    monkeypatch.setenv("SAMEWHERE_HOME", str(home / "home"))
    monkeypatch.chdir(home / "here")
    return home / "here"


def run(command: str, monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr(sys, "argv", shlex.split(command, comments=True))
    with pytest.raises(SystemExit) as end:
        cli.main()
    return int(end.value.code or 0)


def test_every_command_of_the_readme(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert len(COMMANDS) >= 6
    first = [command for command in COMMANDS if command.startswith("samewhere data add")]  # others ask what it adds
    for command in [*first, *COMMANDS]:
        assert run(command, monkeypatch) == 0, f"{command}\n{capsys.readouterr()}"
    assert (here / "tiles.parquet").is_file()


@pytest.mark.parametrize("block", EXAMPLES, ids=lambda block: f"line {block.line}")
def test_every_example_in_python(block: Block, home: Path, here: Path) -> None:
    code, output = run_block(block, here, surroundings(home / "home"))
    assert code == 0 and output.split(), output
