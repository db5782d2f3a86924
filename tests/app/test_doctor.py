"""``samewhere doctor``: real broken states, each told with its remedy; and that a sound home has nothing wrong."""

from __future__ import annotations

import importlib.metadata
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import model.hub
from app import cli, doctor, environment
from app.worker import write_worker
from data.errors import SamewhereError
from indexer.build import build_index
from indexer.encoder import load_encoder
from indexer.job import JOB, JobPaused
from indexer.progress import Progress
from indexer.snapshot import BUILDING, MANIFEST, current_snapshot
from tests.indexer.standin import StandInPair

ROOT = Path(__file__).parents[2]
NAME = "blue-marble-l40"
CHILD = """
import socket, sys
def refuse(*_, **__):
    raise AssertionError("the network was touched")
socket.socket.connect = socket.getaddrinfo = refuse
for name in {hidden!r}:
    sys.modules[name] = None
from app.cli import main
sys.argv = ["samewhere", "doctor", "--json"]
main()
"""


@pytest.fixture(scope="module")
def fingerprint() -> str:
    """Of the checkpoint that ships, from the library."""
    return load_encoder(NAME, "location").fingerprint


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory, fingerprint: str) -> Path:
    """A home with a small index that says it is of the checkpoint that ships; never changed."""
    home = tmp_path_factory.mktemp("sound")
    build_index(home / "index", pair=StandInPair(NAME, fingerprint), cell_resolution=1, tile_resolution=0)
    return home


@pytest.fixture
def home(sound: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy that a test may spoil."""
    path = tmp_path / "home"
    shutil.copytree(sound, path)
    monkeypatch.setenv("SAMEWHERE_HOME", str(path))
    return path


@pytest.fixture
def known(monkeypatch: pytest.MonkeyPatch) -> None:
    """The checkpoint that ships is the stand-in, which loads at once; and its name is all that is known of it."""
    monkeypatch.setattr("indexer.encoder.load_encoder", lambda name, part: StandInPair(name))


def problems() -> list[str]:
    """What is wrong with what Samewhere made; the environment has tests of its own."""
    found: dict[str, str] = {}
    sections = [doctor.look_at_home(), doctor.look_at_checkpoints(found), doctor.look_at_indexes(found)]
    return doctor.Report(tuple(sections)).problems


def run_child(home: Path, *hidden: str) -> tuple[int, dict[str, object]]:
    """The command in a process of its own, without a network and without some modules: exit code and JSON."""
    done = subprocess.run(
        [sys.executable, "-c", CHILD.format(hidden=hidden)],
        cwd=ROOT,
        env={**os.environ, "SAMEWHERE_HOME": str(home), "HF_HOME": str(home / "hf")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "Traceback" not in done.stderr, done.stderr
    return done.returncode, json.loads(done.stdout)


def test_a_sound_home_has_nothing_wrong_and_no_network_is_asked(sound: Path, fingerprint: str) -> None:
    before = sorted(sound.rglob("*"))
    code, said = run_child(sound)
    mine = [text for text in said["problems"] if "pip install" not in text]  # versions are this environment's affair
    assert mine == []
    assert code == (1 if said["problems"] else 0)
    assert said["well"] is (code == 0)
    facts = said["facts"]
    assert set(facts) == {"Machine", "Packages", "Devices", "Home", "Checkpoint", "Indexes and jobs"}
    assert facts["Packages"]["numpy"].split()[0] == importlib.metadata.version("numpy")
    assert facts["Devices"]["FAISS"].startswith(importlib.metadata.version("faiss-cpu"))
    assert fingerprint[:12] in facts["Checkpoint"][NAME]
    assert fingerprint[:12] in facts["Indexes and jobs"]["embedded"]
    size = sum(path.stat().st_size for path in (sound / "index").rglob("*") if path.is_file())
    assert facts["Home"]["index/"].startswith(f"{size / 1e6:,.1f} MB")
    assert sorted(sound.rglob("*")) == before


def test_faiss_that_cannot_be_imported_is_told_once_with_its_remedy(sound: Path) -> None:
    code, said = run_child(sound, "faiss")
    assert code == 1
    assert said["facts"]["Devices"]["FAISS"] == "cannot be imported"
    told = [text for text in said["problems"] if "FAISS" in text]
    assert len(told) == 1
    assert "pip install faiss-cpu" in told[0]


def test_everything_else_is_told_where_pyarrow_or_torch_is_missing(sound: Path) -> None:
    code, said = run_child(sound, "torch", "pyarrow")
    assert code == 1
    text = " ".join(said["problems"])
    assert "PyTorch cannot be imported" in text
    assert "could not be looked at" in text
    assert said["facts"]["Machine"]["Python"].startswith(".".join(map(str, sys.version_info[:3])))


def test_a_missing_index(home: Path, known: None) -> None:
    shutil.rmtree(home / "index")
    assert [text for text in problems() if "index" in text] == [
        f"There is no index at {home / 'index'}. Run `samewhere index build`, or start the app, which builds it."
    ]


def test_an_index_of_another_model(home: Path, fingerprint: str, monkeypatch: pytest.MonkeyPatch) -> None:
    other = "ab" * 32
    monkeypatch.setattr("indexer.encoder.load_encoder", lambda name, part: StandInPair(name, other))
    (told,) = problems()
    assert f"({fingerprint[:12]}) than the one that is here ({other[:12]})" in told
    assert "samewhere index build --force" in told


@pytest.mark.parametrize(
    ("name", "remedy"),
    [("microsoft/SatCLIP-ViT16-L40", "samewhere models pull microsoft/SatCLIP-ViT16-L40"), ("mine", "put its file")],
)
def test_an_index_whose_model_is_not_here(
    home: Path, name: str, remedy: str, monkeypatch: pytest.MonkeyPatch, known: None
) -> None:
    path = home / "indexes" / "other"
    build_index(path, pair=StandInPair(name, "cd" * 32), cell_resolution=0, tile_resolution=0)
    told = [text for text in problems() if "not on this machine" in text]
    assert len(told) == 1
    assert str(path) in told[0]
    assert remedy in told[0]


@pytest.mark.parametrize("file", [MANIFEST, "cells.arrow", "tiles.faiss", "cells.parquet"])
def test_a_damaged_snapshot(home: Path, file: str, known: None) -> None:
    path = current_snapshot(home / "index") / file
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    told = [text for text in problems() if str(path) in text]
    assert len(told) == 1
    assert "samewhere index build" in told[0]


def test_a_pointer_to_nowhere(home: Path, known: None) -> None:
    shutil.rmtree(current_snapshot(home / "index"))
    assert [text for text in problems() if "half written" in text and "samewhere index build" in text]


@pytest.mark.parametrize("named", [False, True])
def test_a_stale_job(home: Path, named: bool, known: None) -> None:
    path = home / "indexes" / "alps" if named else home / "index"

    def stop(now: Progress) -> None:
        raise JobPaused("enough")

    with pytest.raises(JobPaused):
        build_index(path, pair=StandInPair("other", "ef" * 32), cell_resolution=1, tile_resolution=0, progress=stop)
    told = [text for text in problems() if "stands unfinished" in text]
    assert len(told) == 1
    at = f" --path {path}" if named else ""
    assert re.search(rf"\d+ of \d+ shards\) and nobody works on it. Run `samewhere index resume{at}`", told[0])
    assert f"samewhere index gc{at} --unfinished" in told[0]
    (path / BUILDING / JOB).write_text('{"cut sho')
    assert [text for text in problems() if str(path / BUILDING / JOB) in text]


def test_a_job_of_the_page_that_failed(home: Path, known: None) -> None:
    path = home / "indexes" / "alps"
    path.mkdir(parents=True)
    write_worker(path, asked={"checkpoint": NAME}, state="failed", error="The disk is full.")
    assert [text for text in problems() if "The disk is full." in text and str(path) in text]


@pytest.fixture
def unprivileged() -> Iterator[Path]:
    """A folder that everybody may enter, for a user who may do no more than that."""
    root = Path(tempfile.mkdtemp(prefix="samewhere-doctor-"))
    root.chmod(0o755)
    mine = os.geteuid()
    try:
        if mine == 0:
            os.seteuid(65534)
        else:
            root.chmod(0o555)
        yield root
    finally:
        os.seteuid(mine)
        shutil.rmtree(root)


@pytest.mark.parametrize("made", [True, False])
def test_a_read_only_home(made: bool, unprivileged: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SAMEWHERE_HOME", str(unprivileged if made else unprivileged / "home"))
    (told,) = doctor.look_at_home().problems
    assert told.startswith(f"{unprivileged} may not be written to (Permission denied)")
    assert "SAMEWHERE_HOME" in told


def test_a_home_that_is_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("SAMEWHERE_HOME", str(tmp_path / "file" / "home"))
    (told,) = doctor.look_at_home().problems
    assert f"{tmp_path / 'file'} is a file" in told


def test_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SAMEWHERE_HOME", str(tmp_path))
    monkeypatch.setattr(doctor, "NEEDED_MB", 1e12)
    (told,) = doctor.look_at_home().problems
    assert "of free disk" in told


@pytest.mark.parametrize("damage", ["flipped", "cut", "card", "none"])
def test_corrupted_weights(damage: str, tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "weights"
    shutil.copytree(model.hub.WEIGHTS, folder)
    weights, card = folder / f"{NAME}.safetensors", folder / f"{NAME}.json"
    content = bytearray(weights.read_bytes())
    if damage == "flipped":
        content[len(content) // 2] ^= 1
        weights.write_bytes(content)
    elif damage == "cut":
        weights.write_bytes(content[:1000])
    elif damage == "card":
        card.unlink()
    else:
        weights.unlink()
    monkeypatch.setattr(model.hub, "WEIGHTS", folder)
    told = [text for text in problems() if "nstall" in text]
    assert len(told) == 1
    assert str(folder) in told[0]
    assert len(problems()) == (2 if damage == "none" else 1)  # without any weights the index's model is gone too


def test_an_official_file_that_is_a_page(home: Path, known: None) -> None:
    path = home / "models" / "satclip-vit16-l40.ckpt"
    path.parent.mkdir()
    path.write_text("<html>not found</html>")
    assert [text for text in problems() if str(path) in text and "fetch it again" in text]


def metadata(folder: Path, *requires: str) -> None:
    """An installed distribution that asks for these."""
    info = folder / "askew-1.dist-info"
    info.mkdir()
    lines = ["Metadata-Version: 2.1", "Name: askew", "Version: 1", "Requires-Python: >=3.9"]
    (info / "METADATA").write_text("\n".join([*lines, *(f"Requires-Dist: {one}" for one in requires)]) + "\n")


def test_versions_are_compared_as_numbers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    metadata(
        tmp_path,
        "numpy<1.0",
        "h3>=4.0",
        "no-such-thing>=3",
        "pandas>=999; sys_platform == 'none'",
        "ray>=999; extra == 'ray'",
        "s3fs>=1; extra == 's3'",
        "never-there; extra == 'milvus'",
    )
    section = environment.packages("askew")
    numpy, ray = importlib.metadata.version("numpy"), importlib.metadata.version("ray")
    assert section.problems == [
        f'numpy {numpy} is installed, but Samewhere needs numpy<1.0. Run: pip install "numpy<1.0"',
        'no-such-thing is not installed; no-such-thing>=3 is needed. Run: pip install "no-such-thing>=3"',
        f'ray {ray} is installed, but the extra ray needs ray>=999. Run: pip install "ray>=999"',
    ]
    assert section.facts["h3"] == f"{importlib.metadata.version('h3')} (>=4.0)"
    assert section.facts["extra s3"] == f"s3fs {importlib.metadata.version('s3fs')}"
    assert section.facts["extra milvus"].startswith("not there")
    assert "pandas" not in section.facts


def test_an_environment_without_samewhere() -> None:
    (told,) = environment.packages("no-such-distribution").problems
    assert "not installed" in told


def test_a_check_that_fails_ends_none(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails() -> environment.Section:
        raise ZeroDivisionError("of all things")

    def refuses() -> environment.Section:
        raise SamewhereError("A sentence.")

    monkeypatch.setattr(environment, "machine", fails)
    monkeypatch.setattr(environment, "packages", refuses)
    monkeypatch.setattr(doctor, "look_at_checkpoints", lambda loaded: environment.Section("Checkpoint"))
    monkeypatch.setattr(doctor, "look_at_indexes", lambda loaded: environment.Section("Indexes and jobs", {"a": "b"}))
    report = doctor.examine()
    assert "Machine could not be looked at (ZeroDivisionError: of all things)" in report.problems[0]
    assert report.problems[1] == "A sentence."
    assert "  a                    b" in report.lines()


@pytest.mark.parametrize("wrong", [[], ["The roof leaks. Mend it."]])
def test_what_is_wrong_is_listed_and_the_exit_code_says_so(
    wrong: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    report = doctor.Report((environment.Section("Machine", {"cores": "2"}, wrong),))
    monkeypatch.setattr(doctor, "examine", lambda: report)
    run: Callable[[], None] = cli.main
    monkeypatch.setattr(sys, "argv", ["samewhere", "doctor"])
    with pytest.raises(SystemExit) as end:
        run()
    assert int(end.value.code or 0) == len(wrong)
    said = capsys.readouterr().out.splitlines()
    assert said[0] == "Machine"
    assert said[-1] == ("  * The roof leaks. Mend it." if wrong else "Nothing is wrong.")
