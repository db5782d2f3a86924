"""Writes ``requirements.lock`` and ``constraints/minimum.txt`` anew from pyproject: ``python -m tools.pins``.

The lock holds the newest versions that pyproject takes, for every system and Python from 3.11 on, each file with its
hashes. The other holds the oldest: every direct requirement at its lower bound, and what these bring at its newest. A
lower bound that cannot be had beside the others stops the tool, so pyproject cannot promise it. torch is left out of
the oldest: on Linux its older releases are built for CUDA, 3 GB of it, so ``.ci/minimum`` takes the CPU build that pip
finds. Needs uv (the extra ``pins``) and a package index.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).parents[1]
LOCK, MINIMUM = ROOT / "requirements.lock", ROOT / "constraints" / "minimum.txt"
EXTRAS = ("baselines", "cpu", "milvus", "ray", "s3")
"""Of users; the others are for work on Samewhere itself."""
PYTHON = "3.11"
UNTESTED = re.compile(r"torch|triton|nvidia-.*|cuda-.*")
"""Left out of the oldest versions."""


def requirements(extras: tuple[str, ...]) -> list[Requirement]:
    """What pyproject asks for directly, with these extras."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    lists = [project["dependencies"], *(project["optional-dependencies"][extra] for extra in extras)]
    return [Requirement(text) for texts in lists for text in texts]


def lower_bound(requirement: Requirement) -> Version:
    """The oldest version that a requirement takes.

    Raises:
        ValueError: it names none.
    """
    for specifier in requirement.specifier:
        if specifier.operator in (">=", "=="):
            return Version(specifier.version)
    raise ValueError(f"{requirement} has no lower bound. Give it the oldest version that works.")


def pins(text: str) -> dict[str, Version]:
    """Names and versions of the lines ``name==version`` of a file."""
    found = re.findall(r"^([A-Za-z0-9][\w.-]*)==([\w.!+]+)", text, flags=re.MULTILINE)
    return {canonicalize_name(name): Version(version) for name, version in found}


def compile_pins(*options: str) -> str:
    """What uv makes of pyproject."""
    command = ["uv", "pip", "compile", "pyproject.toml", "--python-version", PYTHON, "--no-header", "--quiet", *options]
    return subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout


def main() -> None:
    """Write both files.

    Raises:
        SystemExit: a lower bound cannot be had.
    """
    how = "# Made by `python -m tools.pins` from pyproject.toml; change that and run it again.\n"
    lock = compile_pins("--extra=cpu", "--universal", "--generate-hashes")
    use = "# The base and the extra cpu: pip install --require-hashes -r requirements.lock && pip install --no-deps .\n"
    LOCK.write_text(how + use + lock, "utf-8")
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as newest:
        newest.write(f"torch=={pins(lock)['torch']}\n")
        newest.flush()
        oldest = compile_pins(
            *(f"--extra={extra}" for extra in EXTRAS),
            "--resolution=lowest-direct",
            "--no-annotate",
            f"--constraint={newest.name}",
        )
    lines = [line for line in oldest.splitlines() if not UNTESTED.fullmatch(line.split("==")[0])]
    MINIMUM.parent.mkdir(exist_ok=True)
    MINIMUM.write_text(how + "# The oldest versions that pyproject takes; `.ci/minimum` tests them.\n", "utf-8")
    with MINIMUM.open("a", encoding="utf-8") as file:
        file.write("\n".join(lines) + "\n")
    found = pins(oldest)
    for requirement in requirements(EXTRAS):
        name = canonicalize_name(requirement.name)
        if not UNTESTED.fullmatch(name) and found[name] != lower_bound(requirement):
            sys.exit(
                f"{requirement} cannot be had beside the others: {found[name]} is the oldest. Raise it in pyproject."
            )


if __name__ == "__main__":
    main()
