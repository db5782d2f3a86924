"""What is shipped: the sdist, the wheel, their types, and the versions that they ask for."""

from __future__ import annotations

import email
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tools.pins import EXTRAS, LOCK, MINIMUM, UNTESTED, lower_bound, pins, requirements

ROOT = Path(__file__).parents[1]
PACKAGES = ("app", "data", "indexer", "model")
SHIPPED = (
    "app/.streamlit/config.toml",
    "app/frontend/map_bridge.js",
    "app/main.py",
    "app/static/countries.geojson",
    "app/static/map/deck.gl.LICENSE.txt",
    "app/static/map/deck.gl.min.js",
    "data/atlas/ATTRIBUTION.md",
    "data/atlas/koppen.tif",
    "data/atlas/places.tsv.gz",
    "model/weights/blue-marble-l40.json",
    "model/weights/blue-marble-l40.safetensors",
)
JUNK = (
    "shared/s2/patch.tif",
    "model/__pycache__/load.cpython-311.pyc",
    "data/atlas/__pycache__/x.pyc",
    "runs/x/log.csv",
)
"""Put into the tree before it is built; none of it may be shipped."""
STRANGER = """
import sys

import numpy as np
from numpy.typing import NDArray

from data import read_patch
from indexer import Query, SearchIndex
from model import load


def ask(file: str, folder: str) -> list[tuple[float, float, float, float | None, str]]:
    patch = read_patch(file)
    pair = load("blue-marble-l40")
    places: NDArray[np.float64] = np.array([[12.49, 41.89], [-70.6, -33.4]])
    vectors: NDArray[np.float32] = pair.encode_location(places)
    pictures: NDArray[np.float32] = pair.encode_image([patch, patch])
    raw: NDArray[np.float32] = load("blue-marble-l40", part="location").encode_location(places, normalize=False)
    assert vectors.shape == pictures.shape == raw.shape == (2, 256)
    assert vectors.dtype == pictures.dtype == np.float32
    index = SearchIndex.open(folder)
    hits = index.search(Query.image(patch), k=10, target="tiles")
    hits += index.search(Query.place(12.49, 41.89), k=10, min_km=500)
    field: NDArray[np.float32] = index.field(Query.image(patch))
    assert field.shape == (index.cells().num_rows,)
    return [(hit.lon, hit.lat, hit.score, hit.km, hit.id) for hit in hits]


if __name__ == "__main__":
    print(len(ask(sys.argv[1], sys.argv[2])), "streamlit" in sys.modules)
"""
RUN_S = 240


def built(source: Path, out: Path, kind: str) -> Path:
    """Build a tree with the setuptools at hand; fetches nothing."""
    command = [sys.executable, "-m", "build", "--no-isolation", "--skip-dependency-check", f"--{kind}", "-o", str(out)]
    done = subprocess.run([*command, str(source)], capture_output=True, text=True, check=False, timeout=RUN_S)
    assert done.returncode == 0, done.stdout + done.stderr
    (made,) = (path for path in out.iterdir() if path.suffix == {"wheel": ".whl", "sdist": ".gz"}[kind])
    return made


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of what is committed, with what lies about in a folder that is worked in."""
    copy = tmp_path_factory.mktemp("tree") / "samewhere"
    copy.mkdir()
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=True,
    )
    for name in filter(None, listed.stdout.decode().split("\0")):
        if (ROOT / name).is_file() and not name.startswith(("docs/", "tests/model/")):
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, copy / name)
    for name in JUNK:
        (copy / name).parent.mkdir(parents=True, exist_ok=True)
        (copy / name).write_bytes(b"junk")
    return copy


@pytest.fixture(scope="module")
def sdist(tree: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sdist of the tree."""
    return built(tree, tmp_path_factory.mktemp("sdist"), "sdist")


@pytest.fixture(scope="module")
def wheel(tree: Path, sdist: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of the tree; after the sdist, as leftovers of one may get into the other."""
    return built(tree, tmp_path_factory.mktemp("wheel"), "wheel")


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel's files in a folder of their own, without the checkout."""
    folder = tmp_path_factory.mktemp("installed")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
    return folder


def contents(wheel: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(wheel) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def test_the_wheel_holds_every_module_and_file_of_the_packages_and_nothing_else(wheel: Path, tree: Path) -> None:
    held = contents(wheel)
    info = next(name.split("/")[0] for name in held if name.endswith("/METADATA"))
    committed = {
        str(path.relative_to(tree)) for package in PACKAGES for path in (tree / package).rglob("*") if path.is_file()
    }
    assert {name for name in held if not name.startswith(info)} == {n for n in committed if "__pycache__" not in n}
    assert set(SHIPPED) <= set(held)
    assert {f"{package}/py.typed" for package in PACKAGES} <= set(held)
    assert held[f"{info}/licenses/LICENSE"] == (ROOT / "LICENSE").read_bytes()
    assert held["model/weights/blue-marble-l40.safetensors"] == (
        (ROOT / "model/weights/blue-marble-l40.safetensors").read_bytes()
    )
    assert "samewhere = app.cli:main" in held[f"{info}/entry_points.txt"].decode()


def test_the_sdist_holds_what_builds_and_no_tests_data_or_leavings(sdist: Path, wheel: Path) -> None:
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {*SHIPPED, "pyproject.toml", "README.md", "LICENSE", "CHANGELOG.md", "configs/blue-marble.yaml"} <= names
    tops = {name.split("/")[0] for name in names if "/" in name}
    assert tops == {*PACKAGES, "configs", "samewhere.egg-info"}
    assert not [name for name in names if "__pycache__" in name or name in JUNK]


def test_the_wheel_of_the_sdist_is_the_wheel_of_the_tree(sdist: Path, wheel: Path, tmp_path: Path) -> None:
    with tarfile.open(sdist) as archive:
        archive.extractall(tmp_path, filter="data")
    (source,) = tmp_path.iterdir()
    assert contents(built(source, tmp_path / "out", "wheel")) == contents(wheel)


def test_the_metadata_says_what_pyproject_says(wheel: Path) -> None:
    held = contents(wheel)
    metadata = email.message_from_bytes(next(text for name, text in held.items() if name.endswith("/METADATA")))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    assert metadata["Requires-Python"] == project["requires-python"]
    asked = [Requirement(text) for text in metadata.get_all("Requires-Dist", [])]
    base = {str(need) for need in asked if need.marker is None}
    assert base == {str(Requirement(text)) for text in project["dependencies"]}
    assert set(metadata.get_all("Provides-Extra", [])) == set(project["optional-dependencies"])


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a stranger writes."""
    path = tmp_path_factory.mktemp("stranger") / "stranger.py"
    path.write_text(STRANGER)
    return path


def test_a_strangers_program_is_well_typed_against_the_wheel(installed: Path, program: Path, tmp_path: Path) -> None:
    """As in their environment: the wheel in site-packages, found by its ``py.typed`` alone."""
    venv = tmp_path / "venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(venv)], check=True)
    site = venv / "lib" / f"python{sys.version_info.major}.{sys.version_info.minor}" / "site-packages"
    shutil.copytree(installed, site, dirs_exist_ok=True)
    (site / "rest.pth").write_text(sysconfig.get_path("purelib") + "\n")
    ini = tmp_path / "mypy.ini"
    ini.write_text("[mypy]\nstrict = true\n[mypy-torch.*]\nfollow_imports = skip\n")  # a minute; it is in no signature
    told = tmp_path / "wrong.py"
    told.write_text(
        "from indexer import Query, SearchIndex\nfrom model import load\n\n"
        "reveal_type(load())\nreveal_type(SearchIndex.open().search(Query.place(0, 0))[0].km)\nload(part=7)\n"
    )

    def check(file: Path) -> subprocess.CompletedProcess[str]:
        options = ["--config-file", str(ini), "--python-executable", str(venv / "bin" / "python")]
        command = [sys.executable, "-m", "mypy", *options, "--cache-dir", str(tmp_path / "cache"), str(file)]
        clean = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "MYPYPATH")}
        return subprocess.run(
            command, cwd=tmp_path, env=clean, capture_output=True, text=True, check=False, timeout=RUN_S
        )

    done = check(program)
    assert done.returncode == 0, done.stdout + done.stderr
    done = check(told)  # the types are there, and not Any
    assert 'Revealed type is "model.encoder.EncoderPair"' in done.stdout
    assert re.search(r'Revealed type is "(float \| None|builtins\.float \| None|Union\[.*float, None\])"', done.stdout)
    assert 'incompatible type "int"; expected "str"' in done.stdout


def test_a_strangers_program_runs_from_the_wheel_without_streamlit(
    installed: Path, program: Path, tmp_path: Path
) -> None:
    from PIL import Image

    Image.effect_noise((64, 64), 60).convert("RGB").save(tmp_path / "patch.png")
    build = "from indexer import build_index as b; from model import load; import sys;"
    build += "b(sys.argv[1], pair=load(), cell_resolution=1, tile_resolution=0)"
    env = {**os.environ, "PYTHONPATH": str(installed), "SAMEWHERE_HOME": str(tmp_path / "home")}
    index = str(tmp_path / "index")

    def run(*words: str) -> str:
        done = subprocess.run(
            [sys.executable, *words], cwd=tmp_path, env=env, capture_output=True, text=True, check=False, timeout=RUN_S
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    run("-c", build, index)
    assert run(str(program), str(tmp_path / "patch.png"), index).split() == ["20", "False"]


def test_the_lock_has_every_direct_requirement_and_hashes_of_every_file() -> None:
    text = LOCK.read_text("utf-8")
    locked = pins(text)
    for need in requirements(("cpu",)):
        found = locked.get(canonicalize_name(need.name))
        assert found is not None, f"{need} is not in {LOCK.name}: run python -m tools.pins"
        assert found in need.specifier, f"{LOCK.name} has {found}, pyproject asks for {need}: run python -m tools.pins"
    blocks = re.split(r"^(?=[A-Za-z0-9])", text, flags=re.MULTILINE)[1:]
    assert len(blocks) == len({block.split(" ")[0] for block in blocks}) >= len(locked)
    for block in blocks:
        assert re.fullmatch(r"[\w.-]+(\[[\w,-]+\])?==[\w.!+]+( ; [^\\]+)? \\", block.splitlines()[0]), block
        assert re.search(r"--hash=sha256:[0-9a-f]{64}\b", block), block
    assert_of_no_machine(text)


def assert_of_no_machine(text: str) -> None:
    for line in text.splitlines():
        assert not re.search(r"://|--(extra-)?index-url|--find-links|--trusted|\s/|file:| @ ", line), line


def test_the_oldest_versions_are_those_that_pyproject_promises() -> None:
    text = MINIMUM.read_text("utf-8")
    oldest = pins(text)
    for need in requirements(EXTRAS):
        name = canonicalize_name(need.name)
        if not UNTESTED.fullmatch(name):
            assert oldest.get(name) == lower_bound(need), f"{need}: run python -m tools.pins"
    assert not [name for name in oldest if UNTESTED.fullmatch(name)]
    assert_of_no_machine(text)
