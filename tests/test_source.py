"""What the source may not hold: code that runs what a file says, a shell, and secrets."""

from __future__ import annotations

import ast
import re
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FOLDERS = ("app", "data", "indexer", "model", "tools", "benchmarks")
BANNED_MODULES = {
    "pickle",
    "cPickle",
    "dill",
    "cloudpickle",
    "joblib",
    "marshal",
    "shelve",
    "xml.dom",
    "xml.sax",
    "telnetlib",
}
BANNED_CALLS = {
    "eval", "exec", "compile", "__import__", "os.system", "os.popen", "yaml.load", "yaml.unsafe_load", "yaml.full_load",
    "pd.read_pickle", "pandas.read_pickle", "tarfile.extractall", "tempfile.mktemp", "torch.hub.load", "torch.jit.load",
}  # fmt: skip
SECRETS = re.compile(
    r"AKIA[0-9A-Z]{16}|ghp_[0-9A-Za-z]{36}|github_pat_\w{40}|hf_[A-Za-z]{30}|sk-[A-Za-z0-9]{40}|xox[bp]-\d{9}"
    r"|-----BEGIN (?:[A-Z]+ )?PRIVATE KEY-----|eyJhbGciOi[\w-]{30}|://[^/\s:@{}<>]{2,}:[^/\s@{}<>]{8,}@[a-z]"
)


def sources() -> list[Path]:
    return [path for folder in FOLDERS for path in sorted((ROOT / folder).rglob("*.py"))]


def name_of(node: ast.expr) -> str:
    """``a.b.c`` of an expression, or the last names that are known."""
    if isinstance(node, ast.Attribute):
        return f"{name_of(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else "?"


def keyword(call: ast.Call, name: str) -> object:
    """The constant that a call gives a keyword, or None."""
    return next((k.value.value for k in call.keywords if k.arg == name and isinstance(k.value, ast.Constant)), None)


def faults(text: str) -> Iterator[str]:
    """What a module's text does that none of ours may."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import | ast.ImportFrom):
            modules = [alias.name for alias in node.names] if isinstance(node, ast.Import) else [node.module or ""]
            yield from (f"imports {module}" for module in modules if module in BANNED_MODULES)
        if not isinstance(node, ast.Call):
            continue
        called = name_of(node.func)
        if called in BANNED_CALLS or called.endswith((".extractall", ".read_pickle", ".load_module")):
            yield f"calls {called}"
        if called == "torch.load" and keyword(node, "weights_only") is not True:
            yield "calls torch.load without weights_only=True"
        if called in ("np.load", "numpy.load") and keyword(node, "allow_pickle") is not False:
            yield "calls np.load without allow_pickle=False"
        if called.startswith("subprocess.") and any(k.arg == "shell" for k in node.keywords):
            yield "gives subprocess a shell"
        if called.startswith(("os.exec", "os.spawn")):
            yield f"calls {called}"
        if called == "rasterio.open" and keyword(node, "driver") is None:
            yield "opens a raster with whatever driver fits"
        if called in ("requests.get", "requests.post", "httpx.get") and keyword(node, "verify") is False:
            yield "checks no certificate"


def test_no_module_runs_what_a_file_says() -> None:
    found = {f"{path.relative_to(ROOT)}: {fault}" for path in sources() for fault in faults(path.read_text("utf-8"))}
    assert not {one for one in found if "whatever driver" not in one}
    rasters = {one.split(":")[0] for one in found if "whatever driver" in one}
    assert rasters <= RASTERS, rasters


RASTERS = {"data/atlas.py", "data/stac_cogs.py", "tools/build_atlas.py", "tools/mutations.py", "app/predictions.py"}
"""These open files of our own, write them, or name their drivers in other words."""


@pytest.mark.parametrize(
    "text",
    [
        "import pickle", "from marshal import loads", "eval('1')", "import torch\ntorch.load(f)", "np.load(f)",
        "torch.load(f, weights_only=False)", "subprocess.run('x', shell=True)", "os.system('x')", "yaml.load(f)",
        "tar.extractall(p)", "np.load(f, allow_pickle=True)",
    ],
)  # fmt: skip
def test_the_check_itself_sees(text: str) -> None:
    assert list(faults(text))


def test_no_secret_lies_in_the_tree() -> None:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=False).stdout
    names = [name for name in listed.decode().split("\0") if name] or [
        path.relative_to(ROOT).as_posix()
        for folder in (*FOLDERS, "docs", "tests")
        for path in (ROOT / folder).rglob("*.*")
    ]
    assert len(names) > 200
    for name in names:
        path = ROOT / name
        assert path.suffix not in (".pem", ".key", ".p12", ".pfx"), name
        assert path.name not in (".env", "secrets.toml", "credentials", ".netrc", ".pypirc"), name
        if path.is_file() and path.stat().st_size < 1 << 20 and path != Path(__file__) and path.suffix not in (".tif",):
            assert not SECRETS.search(path.read_text("utf-8", errors="replace")), name


@pytest.mark.parametrize("text", ["AKIA" + "A" * 16, "s3://me:secretword@bucket", "-----BEGIN PRIVATE KEY-----"])
def test_the_patterns_of_secrets_find(text: str) -> None:
    assert SECRETS.search(text)


def test_the_servers_settings_are_those_of_the_threat_model() -> None:
    server = tomllib.loads((ROOT / "app" / ".streamlit" / "config.toml").read_text("utf-8"))["server"]
    assert server["enableXsrfProtection"] is True
    assert server["enableCORS"] is True
    assert server["address"] == "localhost"
    assert set(server["allowedHosts"]) == {"localhost", "127.0.0.1", "::1"}
    assert server["maxUploadSize"] == 32


def test_the_pages_limits_are_those_of_the_code() -> None:
    """Every row of the table of limits in docs/security.md names a constant and its value."""
    import importlib

    text = (ROOT / "docs" / "security.md").read_text("utf-8")
    rows = re.findall(r"^\|[^|]+\| ([\d,.]+) [^|]*\| `([a-z_.]+)\.([A-Z_]+)`", text, re.M)
    assert len(rows) >= 15
    for written, module, constant in rows:
        value = getattr(importlib.import_module(module), constant)
        seen = float(written.replace(",", ""))
        assert value in (seen, seen * 1024, seen * 1024 * 1024, seen * 2**30), (
            f"{module}.{constant} is {value}, not {written}"
        )


def test_no_text_stands_alone_in_a_page() -> None:
    """Streamlit's magic would put it on the page; that is switched off for ours, not for who runs a page otherwise."""
    for path in [ROOT / "app" / "main.py", *(ROOT / "app" / "views").glob("*.py")]:
        alone = [node for node in ast.parse(path.read_text("utf-8")).body if isinstance(node, ast.Expr)]
        texts = [node.lineno for node in alone[1:] if isinstance(node.value, ast.Constant)]
        assert not texts, f"{path}, lines {texts}"
    settings = tomllib.loads((ROOT / "app" / ".streamlit" / "config.toml").read_text("utf-8"))
    assert settings["runner"]["magicEnabled"] is False
