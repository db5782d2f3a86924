"""Recipes as YAML files.

Owns the reading of ``configs/*.yaml`` and of single settings from the command line (``batch=2048``), and the text under
which a recipe lies in its run's folder. A file gives its ``kind``, the recipe's keys, and under ``run`` how to run it.
Refuses unknown keys and values of the wrong type, naming file and key.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from reprlib import repr as short  # aliases let a short file stand for a value without end
from typing import Any, TypeVar

import yaml
from pydantic import ConfigDict, TypeAdapter, ValidationError, with_config

from data.errors import CheckpointError
from model.presets import TrainConfig
from model.recipes import FolderConfig
from model.run import RunOptions

LARGEST_BYTES = 1 << 20
T = TypeVar("T")
KINDS: dict[str, type[TrainConfig] | type[FolderConfig]] = {"blue-marble": TrainConfig, "satclip": FolderConfig}


def read_config(path: Path, *, settings: Sequence[str] = ()) -> tuple[TrainConfig | FolderConfig, RunOptions]:
    """Read a recipe.

    Args:
        path: of a YAML file.
        settings: as in ``batch=2048`` or ``run.precision=bf16``; they replace the file's values.

    Returns:
        The recipe and how to run it.

    Raises:
        CheckpointError: the file cannot be read, or a key or value is not what a recipe has.
    """
    try:
        if path.stat().st_size > LARGEST_BYTES:
            raise CheckpointError(f"{path}: {path.stat().st_size:,} bytes are no recipe.")
        fields = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:  # ValueError: a date that is none
        reason = " ".join(str(getattr(error, "strerror", None) or error).split())[:300]
        raise CheckpointError(f"{path}: cannot be read as YAML ({reason}).") from error
    if not isinstance(fields, dict):
        raise CheckpointError(f"{path}: expected keys and values, found {type(fields).__name__}. See configs/.")
    for setting in settings:
        _set(fields, setting)
    kind = fields.pop("kind", None)
    if not isinstance(kind, str) or kind not in KINDS:
        raise CheckpointError(f"{path}, key kind: {short(kind)} is unknown; choose one of {', '.join(KINDS)}.")
    options = _build(RunOptions, fields.pop("run", None) or {}, path, "run.")
    return _build(KINDS[kind], fields, path), options


def as_yaml(config: TrainConfig | FolderConfig) -> str:
    """A recipe as the text of a file that :func:`read_config` reads."""
    kind = next(name for name, cls in KINDS.items() if isinstance(config, cls))
    plain = json.loads(json.dumps(dataclasses.asdict(config)))  # tuples become lists
    text: str = yaml.safe_dump({"kind": kind, **plain}, sort_keys=False, allow_unicode=True, width=120)
    return text


def _set(fields: dict[str, Any], setting: str) -> None:
    key, equals, value = setting.partition("=")
    *parents, last = key.strip().split(".")
    if not equals or not last:
        raise CheckpointError(f"--set {setting}: expected KEY=VALUE, as in batch=2048 or run.precision=bf16.")
    for parent in parents:
        fields = fields.setdefault(parent, {})
        if not isinstance(fields, dict):
            raise CheckpointError(f"--set {setting}: {parent} is a value, nothing can stand below it.")
    try:
        fields[last] = yaml.safe_load(value)
    except (ValueError, RecursionError, yaml.YAMLError) as error:
        raise CheckpointError(f"--set {setting}: the value cannot be read as YAML.") from error


def _build(cls: type[T], fields: Any, path: Path, prefix: str = "") -> T:
    try:
        return TypeAdapter(with_config(ConfigDict(extra="forbid"))(cls)).validate_python(fields)
    except ValidationError as error:
        first = error.errors()[0]
        key = prefix + ".".join(str(part) for part in first["loc"] if not str(part).startswith("literal["))
        reason = f"{first['msg']}, found {short(first['input'])}"
        if first["type"] == "missing":
            reason = "the key is missing"
        elif first["type"] == "unexpected_keyword_argument":
            reason = "there is no such key"
            if len(first["loc"]) == 1:
                reason += f". Keys here: {', '.join(cls.__dataclass_fields__)}"  # type: ignore[attr-defined]
        raise CheckpointError(f"{path}, key {key}: {reason}.") from error
