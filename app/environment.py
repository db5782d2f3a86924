"""What this installation runs on: Python, the machine, packages beside what they have to be, and devices.

Owns the facts and the faults of the environment, for :mod:`app.doctor`. What a package must be is read from the
installed metadata of Samewhere, so there is one list of it, pyproject's. Asks no network, and imports nothing that is
heavy but torch and FAISS, which must be imported to be known.
"""

from __future__ import annotations

import importlib.metadata
import os
import platform
import sys
from dataclasses import dataclass, field
from typing import Any

from packaging.requirements import InvalidRequirement, Requirement
from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.version import InvalidVersion

from data.cores import cores

DISTRIBUTION = "samewhere"
SEARCHERS = ("faiss-cpu", "faiss-gpu")
"""Both bring the module ``faiss``; one of them has to be there."""
EXTRAS = {
    "milvus": "an index in Milvus",
    "ray": "shards on a cluster",
    "s3": "indexes in S3",
    "baselines": "GPS2Vec's weights",
}
"""Extras that a user may do without, and for what each is."""
GEOCLIP = "geoclip"
"""In no extra: it asks for torchvision, so it is installed by itself."""


@dataclass
class Section:
    """One part of the report.

    Attributes:
        title: of the part.
        facts: what was seen, by name, in the order in which it is told.
        problems: what is wrong, a sentence or two each, with what to do.
    """

    title: str
    facts: dict[str, str] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)


def machine() -> Section:
    """Python, the system, cores and memory."""
    section = Section("Machine")
    section.facts["Python"] = f"{platform.python_version()} ({sys.executable})"
    section.facts["system"] = platform.platform()
    there, mine = os.cpu_count() or 1, cores()
    section.facts["cores"] = f"{there}" if mine == there else f"{mine} of {there}"
    memory = _memory_gb()
    section.facts["memory"] = f"{memory:.1f} GB" if memory is not None else "not told by this system"
    return section


def packages(distribution: str = DISTRIBUTION) -> Section:
    """Versions of what Samewhere needs, beside what its metadata asks for, and the extras that are there."""
    section = Section("Packages")
    try:
        metadata = importlib.metadata.distribution(distribution)
    except importlib.metadata.PackageNotFoundError:
        section.facts[distribution] = "not installed"
        section.problems.append(
            f"{distribution} is not installed in this environment, so what it needs cannot be checked. "
            "Install it as the README says."
        )
        return section
    section.facts[distribution] = metadata.version
    asked = next(iter(metadata.metadata.get_all("Requires-Python") or ()), "")
    if asked and not _fits(asked, platform.python_version()):
        section.problems.append(
            f"Python {platform.python_version()} is too old: {asked} is needed. Make an environment with a newer one."
        )
    wanted = [_parse(text) for text in metadata.requires or ()]
    for need in wanted:
        if need is not None and (need.marker is None or need.marker.evaluate({"extra": ""})):
            _check(section, need)
    for extra, purpose in EXTRAS.items():
        needs = [need for need in wanted if need is not None and _belongs(need, extra)]
        section.facts[f"extra {extra}"] = _extra(section, extra, needs, purpose)
    section.facts[GEOCLIP] = _version(GEOCLIP) or "not there (GeoCLIP's weights: pip install --no-deps geoclip)"
    return section


def devices() -> Section:
    """What computes: PyTorch's devices, and which FAISS searches."""
    section = Section("Devices")
    try:
        import torch
    except Exception as error:  # a build for another system fails in many ways
        section.facts["PyTorch"] = "cannot be imported"
        section.problems.append(
            f"PyTorch cannot be imported ({type(error).__name__}: {_line(error)}). Nothing can be embedded without it. "
            "Install it again."
        )
    else:
        section.facts["PyTorch"] = f"{torch.__version__}, {torch.get_num_threads()} threads"
        section.facts["CUDA"] = _cuda(torch)
        section.facts["MPS"] = "there" if torch.backends.mps.is_available() else "none"
    builds = [name for name in SEARCHERS if _version(name) is not None]
    try:
        import faiss
    except Exception as error:
        section.facts["FAISS"] = "cannot be imported"
        section.problems.append(
            f"FAISS cannot be imported ({type(error).__name__}: {_line(error)}). Nothing can be built or searched "
            "without it. Run: pip install faiss-cpu (or, with an NVIDIA GPU: pip install faiss-gpu)"
        )
    else:
        gpus = faiss.get_num_gpus() if hasattr(faiss, "get_num_gpus") else 0
        build = f"GPU build, sees {gpus}" if hasattr(faiss, "StandardGpuResources") else "CPU build"
        section.facts["FAISS"] = f"{getattr(faiss, '__version__', 'of no version')} ({build})"
    if len(builds) > 1:
        section.problems.append(
            f"{' and '.join(builds)} are both installed and overwrite each other's files. "
            f"Run: pip uninstall {' '.join(builds)}, then install one of them again."
        )
    return section


def _extra(section: Section, extra: str, needs: list[Requirement], purpose: str) -> str:
    """Whether an extra is there; what is there of it has to be of the right version."""
    if not needs:
        return "unknown to what is installed here, which is older than this code"
    versions = {need.name: _version(need.name) for need in needs}
    for need in needs:
        if (found := versions[need.name]) is not None and not _fits(str(need.specifier), found):
            section.problems.append(_unfit(need, found, f"the extra {extra}"))
    if any(found is None for found in versions.values()):
        return f"not there ({purpose})"
    return ", ".join(f"{name} {found}" for name, found in versions.items())


def _check(section: Section, need: Requirement) -> None:
    """Tell a package's version, and whether it will do."""
    found, specifier = _version(need.name), str(need.specifier)
    if found is None:
        section.facts[need.name] = "missing"
        asked = f"{need.name}{specifier}"
        section.problems.append(f'{need.name} is not installed; {asked} is needed. Run: pip install "{asked}"')
        return
    section.facts[need.name] = f"{found} ({specifier})" if specifier else found
    if not _fits(specifier, found):
        section.problems.append(_unfit(need, found, "Samewhere"))


def _unfit(need: Requirement, found: str, whose: str) -> str:
    asked = f"{need.name}{need.specifier}"
    return f'{need.name} {found} is installed, but {whose} needs {asked}. Run: pip install "{asked}"'


def _parse(text: str) -> Requirement | None:
    try:
        return Requirement(text)
    except InvalidRequirement:
        return None


def _belongs(need: Requirement, extra: str) -> bool:
    """Whether a requirement is one of an extra, and of none besides."""
    return (
        need.marker is not None and need.marker.evaluate({"extra": extra}) and not need.marker.evaluate({"extra": ""})
    )


def _fits(specifier: str, version: str) -> bool:
    """Whether a version is one that a specifier takes; a development version of the right number is."""
    try:
        return SpecifierSet(specifier).contains(version, prereleases=True)
    except (InvalidSpecifier, InvalidVersion):
        return False


def _version(name: str) -> str | None:
    """The version of an installed distribution, or None."""
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _cuda(torch: Any) -> str:
    """GPUs that PyTorch sees, or why there are none."""
    cuda = torch.cuda
    if not cuda.is_available():
        built = torch.version.cuda
        return "none seen" if built else "none (this PyTorch is built without it)"
    seen = [cuda.get_device_properties(number) for number in range(cuda.device_count())]
    return ", ".join(f"{one.name} ({one.total_memory / 1e9:.0f} GB)" for one in seen)


def _memory_gb() -> float | None:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    except (AttributeError, ValueError, OSError):  # Windows has no sysconf
        return None


def _line(error: BaseException) -> str:
    """The first line of what an error says."""
    return (str(error).strip().splitlines() or [""])[0][:200]
