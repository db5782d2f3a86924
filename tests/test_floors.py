"""The house rules that a reader of imports can check."""

import ast
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FLOORS = {"data": 0, "model": 1, "indexer": 2, "app": 3}
BANNED = {"torchvision", "timm", "torchgeo", "pickle", "dill", "joblib"}


def imports(path):
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            yield (node.module or "").split(".")[0]


@pytest.mark.parametrize("package", FLOORS)
def test_imports_go_down_only(package):
    files = list((ROOT / package).rglob("*.py"))
    assert files
    for path in files:
        above = {name for name in imports(path) if FLOORS.get(name, -1) > FLOORS[package]}
        assert not above, f"{path.relative_to(ROOT)} imports {above} from above"
        assert not BANNED & set(imports(path)), path


def test_data_does_without_torch():
    for path in (ROOT / "data").rglob("*.py"):
        assert not {"torch", "lightning", "safetensors"} & set(imports(path)), path


def test_only_geo_calls_h3():
    callers = {path.name for package in FLOORS for path in (ROOT / package).rglob("*.py") if "h3" in set(imports(path))}
    assert callers == {"geo.py"}


def test_app_hides_no_package():
    names = {path.stem for path in (ROOT / "app").glob("*.py")}
    assert not names & set(FLOORS), "streamlit puts app/ first on sys.path"


def test_no_pickle_by_the_back_door():
    for package in FLOORS:
        for path in (ROOT / package).rglob("*.py"):
            text = path.read_text(encoding="utf-8")
            assert "allow_pickle=True" not in text and "weights_only=False" not in text, path


def test_importing_a_package_is_cheap():
    import subprocess

    code = "import data, model, indexer, sys; sys.exit('torch' in sys.modules or 'streamlit' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0
