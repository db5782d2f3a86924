"""What stands on this machine and what is wrong with it: ``samewhere doctor``, and the text that a bug report needs.

Owns the order of the report and the checks of what Samewhere itself made or brings: home, caches, checkpoints, indexes,
jobs. Every check runs, whatever the others find; one that fails for a reason of its own says so and ends none. Nothing
is changed, nothing is fetched.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from app import environment
from app.environment import Section
from data.errors import MissingDependencyError, SamewhereError
from data.home import home

NEEDED_MB = 600
"""Of free disk, while an index of the whole Earth is built."""
CHECK_PLACE = (12.49, 41.89)
"""A checkpoint that loads has to embed this place too."""


@dataclass(frozen=True)
class Report:
    """Everything that was seen.

    Attributes:
        sections: in the order in which they are told.
    """

    sections: tuple[Section, ...]

    @property
    def problems(self) -> list[str]:
        """What is wrong, one after the other; each once."""
        return list(dict.fromkeys(problem for section in self.sections for problem in section.problems))

    def as_data(self) -> dict[str, Any]:
        """As plain data: ``well``, ``problems`` and, by section, ``facts``."""
        facts = {section.title: section.facts for section in self.sections}
        return {"well": not self.problems, "problems": self.problems, "facts": facts}

    def lines(self) -> list[str]:
        """As text: the facts in columns, then what is wrong."""
        lines: list[str] = []
        for section in self.sections:
            lines.append(section.title)
            lines += [f"  {name:<20} {value}" for name, value in section.facts.items()]
        if not self.problems:
            return [*lines, "Nothing is wrong."]
        return [*lines, "What is wrong", *(f"  * {problem}" for problem in self.problems)]


def examine() -> Report:
    """Look at everything. Takes some seconds: PyTorch is imported and the checkpoint loaded."""
    loaded: dict[str, str] = {}
    checks: list[tuple[str, Callable[[], Section]]] = [
        ("Machine", environment.machine),
        ("Packages", environment.packages),
        ("Devices", environment.devices),
        ("Home", look_at_home),
        ("Checkpoint", lambda: look_at_checkpoints(loaded)),
        ("Indexes and jobs", lambda: look_at_indexes(loaded)),
    ]
    return Report(tuple(_whatever_happens(title, check) for title, check in checks))


def look_at_home() -> Section:
    """Where things are made: may it be written to, is there room, how large has it grown; and the hub's cache."""
    section = Section("Home")
    place = home()
    told = "SAMEWHERE_HOME" if os.environ.get("SAMEWHERE_HOME", "").strip() else "the system's user-data directory"
    section.facts["folder"] = f"{place} ({told}{'' if os.path.isdir(place) else ', not made yet'})"
    standing = next(folder for folder in (place, *place.absolute().parents) if os.path.exists(folder))
    if not os.path.isdir(standing):
        section.problems.append(
            f"{place} cannot be a folder: {standing} is a file. Move that file away, or set SAMEWHERE_HOME."
        )
        standing = standing.parent
    else:
        try:
            tempfile.TemporaryFile(dir=standing).close()
        except OSError as error:
            section.problems.append(
                f"{standing} may not be written to ({error.strerror}), so nothing can be built or kept there. Give "
                "yourself the right to, or set SAMEWHERE_HOME to a folder of your own."
            )
    free_mb = shutil.disk_usage(standing).free / 1e6
    section.facts["free disk"] = f"{free_mb / 1e3:,.1f} GB"
    if free_mb < NEEDED_MB:
        section.problems.append(
            f"{standing} has {free_mb:,.0f} MB of free disk; building an index of the whole Earth needs {NEEDED_MB}. "
            "Free some, or set SAMEWHERE_HOME to another disk."
        )
    if os.path.isdir(place):  # unlike Path.is_dir, False where it may not be entered
        for folder in sorted(child for child in place.iterdir() if child.is_dir()):
            section.facts[f"{folder.name}/"] = _size(folder)
    from huggingface_hub.constants import HF_HUB_CACHE

    cache = Path(HF_HUB_CACHE)
    section.facts["hub cache"] = f"{cache} ({_size(cache)})" if os.path.isdir(cache) else f"{cache} (not made yet)"
    return section


def look_at_checkpoints(loaded: dict[str, str]) -> Section:
    """The checkpoints that ship load and embed; ``loaded`` gets the fingerprint of each, by name."""
    from indexer.encoder import load_encoder
    from model.hub import OFFICIAL, WEIGHTS, embedded_names, find, own_files

    section = Section("Checkpoint")
    names = embedded_names()
    if not names:
        section.problems.append(f"{WEIGHTS} holds no weights: the installation is cut short. Install Samewhere again.")
    for name in names:
        try:
            pair = load_encoder(name, "pair")
            vector = pair.encode_location([CHECK_PLACE])
            length = float((vector.astype("float64") ** 2).sum() ** 0.5)
        except SamewhereError as error:
            section.facts[name] = "damaged"
            section.problems.append(f"{error} It came with Samewhere: installing that again brings it back.")
            continue
        loaded[name] = pair.fingerprint
        section.facts[name] = f"loads, {pair.dim} numbers, fingerprint {pair.fingerprint[:12]}"
        if not abs(length - 1) < 1e-3:  # NaN is not either
            section.problems.append(
                f"{name} embeds {CHECK_PLACE} with length {length:g} instead of 1: PyTorch computes wrong results here."
                " Install another version of it."
            )
    there = []
    for name in OFFICIAL:
        try:
            there += [name] if find(name) is not None else []
        except SamewhereError as error:
            section.problems.append(str(error))
    section.facts["official ones"] = ", ".join(there) or "none on this machine (samewhere models pull fetches them)"
    if own := [path.name for path in own_files()]:
        section.facts["put there by hand"] = ", ".join(own)
    return section


def look_at_indexes(loaded: dict[str, str]) -> Section:
    """Each index opens and its model is here; each job is done, at work, or told."""
    from app.resources import index_names, index_path
    from indexer.snapshot import build_command, index_status

    section = Section("Indexes and jobs")
    for name in (None, *index_names()):
        path = index_path(name)
        title = name or "embedded"
        status = index_status(path)
        manifest = status["manifest"]
        if status["state"] == "ready" and manifest is not None:
            checkpoint, counts = manifest["checkpoint"], manifest["counts"]
            section.facts[title] = (
                f"{counts['cells']:,} cells, {counts['tiles']:,} tiles, {status['bytes'] / 1e6:,.0f} MB, "
                f"by {checkpoint['name']} ({checkpoint['fingerprint'][:12]})"
            )
            section.problems += [*_unopened(path), *_other_model(path, checkpoint, loaded)]
        elif status["building"] is None and name is None and not path.exists():
            section.facts[title] = "none yet"
            section.problems.append(
                f"There is no index at {path}. Run `{build_command(path)}`, or start the app, which builds it."
            )
        else:
            section.facts[title] = status["state"]
            if status["building"] is None and _worker_state(path) != "starting":
                section.problems.append(str(status["problem"]))
        section.problems += _job(section, title, path, status["building"])
    return section


def _unopened(path: Path) -> list[str]:
    """Why the snapshot cannot be opened, if it cannot."""
    from indexer.local import LocalStore

    try:
        LocalStore(path).close()
    except MissingDependencyError:
        return []  # FAISS, which was told already
    except SamewhereError as error:
        return [str(error)]
    return []


def _other_model(path: Path, checkpoint: dict[str, Any], loaded: dict[str, str]) -> list[str]:
    """Whether the index's model is on this machine, and still the one that filled it."""
    from indexer.encoder import load_encoder
    from indexer.snapshot import build_command
    from model.hub import OFFICIAL, embedded_names, find

    name = checkpoint["name"]
    if checkpoint.get("imported") or (name in embedded_names() and name not in loaded):
        return []  # there is none, or that it does not load was told already
    try:
        if name not in loaded:
            if find(name) is None:  # asked first, because loading would fetch it
                remedy = f"`samewhere models pull {name}`" if name in OFFICIAL else "put its file back where it was"
                return [f"The index at {path} was built by {name}, which is not on this machine: {remedy}."]
            loaded[name] = load_encoder(name, "location").fingerprint
    except SamewhereError as error:
        return [f"The model of the index at {path} does not load: {error}"]
    if loaded[name] == checkpoint["fingerprint"]:
        return []
    return [
        f"The index at {path} was built by another {name} ({checkpoint['fingerprint'][:12]}) than the one that is here "
        f"({loaded[name][:12]}), so it cannot be searched. Rebuild it: `{build_command(path, anew=True)}`."
    ]


def _job(section: Section, title: str, path: Path, building: dict[str, Any] | None) -> list[str]:
    """Tell of an index's job, and what is wrong with it."""
    from app.worker import read_worker
    from indexer.home import default_index_path
    from indexer.job import Job

    at = "" if path == default_index_path() else f" --path {path}"
    if building is not None:
        share = f"{building['shards_done']} of {building['shards']} shards"
        section.facts[f"{title}, job"] = f"{share}, {'at work' if building['running'] else 'nobody works on it'}"
        if not building["running"]:
            try:
                Job.read(path)
            except SamewhereError as error:
                return [str(error)]
            return [
                f"A job of the index at {path} stands unfinished ({share}) and nobody works on it. Run `samewhere "
                f"index resume{at}` to finish it, or `samewhere index gc{at} --unfinished` to throw its work away."
            ]
    elif (told := read_worker(path)) and told.get("state") == "failed":
        section.facts[f"{title}, job"] = "failed"
        return [f"The last job of the index at {path} failed: {told.get('error')} The page Jobs starts it again."]
    return []


def _worker_state(path: Path) -> str | None:
    """How the page's worker said that it stands."""
    from app.worker import read_worker

    told = read_worker(path)
    return told.get("state") if told else None


def _size(folder: Path) -> str:
    """Bytes of all files below, and how many they are; a link counts as itself."""
    sizes = []
    for where, _, names in os.walk(folder):
        for name in names:
            try:
                sizes.append(os.lstat(os.path.join(where, name)).st_size)
            except OSError:  # gone meanwhile
                continue
    return f"{sum(sizes) / 1e6:,.1f} MB in {len(sizes):,} files"


def _whatever_happens(title: str, check: Callable[[], Section]) -> Section:
    """A check's section; where the check itself fails, a section that says so."""
    try:
        return check()
    except SamewhereError as error:
        return Section(title, problems=[str(error)])
    except Exception as error:
        reason = f"{type(error).__name__}: {error}"
        return Section(title, problems=[f"{title} could not be looked at ({reason}). Mend what is told above first."])
