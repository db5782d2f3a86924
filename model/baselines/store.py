"""Baselines on disk: weights as safetensors, a JSON card beside them, under ``SAMEWHERE_HOME/baselines``.

Owns what was trained here. The card says which baseline it is (``kind``), how to rebuild it (``config``), what it was
trained on, and the SHA-256 of the weights. Files of a baseline's own authors are read where that baseline is.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor, nn

from data.errors import CheckpointError
from data.files import disk_errors, durable
from data.home import home


def baselines_path() -> Path:
    """Where trained baselines lie."""
    return home() / "baselines"


def save_baseline(path: Path, tensors: Mapping[str, Tensor], *, card: Mapping[str, Any]) -> None:
    """Write weights and card, each whole or not at all.

    Args:
        path: where, ending in ``.safetensors``; the card goes beside it.
        tensors: the weights.
        card: JSON-able; ``sha256`` is added.

    Raises:
        CheckpointError: the disk is full or may not be written to.
    """
    content = save_tensors({key: value.detach().cpu().contiguous() for key, value in tensors.items()})
    full = {"name": path.stem, **card, "sha256": hashlib.sha256(content).hexdigest()}
    text = json.dumps(full, indent=2, ensure_ascii=False) + "\n"
    with disk_errors(
        path,
        "Writing",
        kind=CheckpointError,
        full="Make room and run it again.",
        denied="Set SAMEWHERE_HOME elsewhere.",
    ):
        path.parent.mkdir(parents=True, exist_ok=True)
        for file, part in ((path, content), (path.with_suffix(".json"), text.encode())):
            with durable(file) as out:
                out.write(part)


def read_baseline(path: Path, *, kind: str) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Read a card and its weights.

    Args:
        path: the ``.safetensors`` file.
        kind: what the card must say it is.

    Raises:
        CheckpointError: a file is missing, damaged, or of another kind.
    """
    beside = path.with_suffix(".json")
    for file in (path, beside):
        if not file.is_file():
            raise CheckpointError(f"{file}: there is no such file. A baseline is a .safetensors file and its card.")
    try:
        card = json.loads(beside.read_text("utf-8"))
        found = card["kind"]
        content = path.read_bytes()
        tensors = load_tensors(content)
    except (ValueError, KeyError, TypeError, SafetensorError) as error:
        raise CheckpointError(
            f"{path}: damaged baseline ({error}). Train it again, or copy both files again."
        ) from error
    if card.get("sha256") != hashlib.sha256(content).hexdigest():
        raise CheckpointError(
            f"{path}: the weights are not those that the card beside them describes. Copy both again."
        )
    if found != kind:
        raise CheckpointError(f"{path}: this is a baseline of the kind {found!r}; expected {kind!r}.")
    return card, tensors


def fill(network: nn.Module, tensors: Mapping[str, Tensor], *, where: Path | str) -> None:
    """Copy a file's tensors into a network.

    Raises:
        CheckpointError: weights are missing, unknown, or of another shape.
    """
    try:
        network.load_state_dict(dict(tensors))
    except (RuntimeError, TypeError, AttributeError) as error:
        reason = " ".join(str(error).split())
        raise CheckpointError(f"{where}: weights of another architecture than it says ({reason[:300]}).") from error
