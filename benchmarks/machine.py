"""What a measurement was taken on: processor, memory, versions, commit."""

from __future__ import annotations

import os
import platform
import subprocess
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from data.cores import cores

PACKAGES = (
    "numpy",
    "scipy",
    "torch",
    "faiss-cpu",
    "duckdb",
    "pyarrow",
    "rasterio",
    "ray",
    "scikit-learn",
    "hnswlib",
    "usearch",
    "lancedb",
    "geoclip",
    "rangegeo",
    "milvus-lite",
    "h3",
    "streamlit",
)


def describe() -> dict[str, Any]:
    """Machine, versions, commit and time, for a result file."""
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "commit": commit(),
        "cpu": processor(),
        "threads": cores(),
        "memory_gb": memory_gb(),
        "load_before": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "versions": {name: found for name in PACKAGES if (found := installed(name))},
    }


def commit() -> str:
    """Short hash of the commit, with a plus sign where code differs from it; "unknown" outside a checkout."""
    git = ["git", "-C", str(Path(__file__).parents[1])]
    try:
        found = subprocess.run([*git, "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=True)
        code = ["*.py", "pyproject.toml"]
        changed = subprocess.run([*git, "diff", "--quiet", "HEAD", "--", *code], capture_output=True).returncode
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return found.stdout.strip() + ("+" if changed else "")


def processor() -> str:
    """Name of the processor."""
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.split(":")[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def memory_gb() -> float | None:
    """Memory of the machine in 10⁹ bytes."""
    if not hasattr(os, "sysconf"):
        return None
    return round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9, 1)


def installed(package: str) -> str | None:
    """A package's version, or None."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None
