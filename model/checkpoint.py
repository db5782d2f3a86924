"""Checkpoints on disk: weights in safetensors, a card in JSON beside them, and :func:`load`.

Owns the format and the names. A checkpoint is two files, ``NAME.safetensors`` and ``NAME.json``; the card's ``config``
rebuilds the networks and its ``sha256`` must be that of the weights. Refuses damaged files, unknown names, missing and
unknown keys; nothing is unpickled.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors

from data.errors import CheckpointError
from model.pair import EncoderPair, PairConfig, PairNetwork

DEFAULT = "blue-marble-l40"
WEIGHTS = Path(__file__).parent / "weights"


def embedded_names() -> list[str]:
    """Names of the checkpoints that ship with the project."""
    return sorted(path.stem for path in WEIGHTS.glob("*.safetensors"))


def load(name: str = DEFAULT, *, part: str = "pair") -> EncoderPair:
    """Load a trained pair.

    Args:
        name: an embedded checkpoint's name, or the path of a ``.safetensors`` file with its card beside it.
        part: "pair", or "location" for the location encoder alone: no image encoder is built.

    Raises:
        CheckpointError: no such checkpoint, or a damaged one.
    """
    if part not in ("pair", "location"):
        raise CheckpointError(f'part={part!r} is unknown; choose "pair" or "location".')
    path = Path(name) if name.endswith(".safetensors") else WEIGHTS / f"{name}.safetensors"
    if (
        path.suffix != ".safetensors"
        or not path.is_file()
        or (path.parent == WEIGHTS and path.stem not in embedded_names())
    ):
        raise CheckpointError(
            f"There is no checkpoint {name!r}. Shipped with Samewhere: {', '.join(embedded_names()) or 'none'}; "
            "or give the path of a .safetensors file."
        )
    card, content = read_card(path), path.read_bytes()
    fingerprint = hashlib.sha256(content).hexdigest()
    if card.get("sha256") != fingerprint:
        raise CheckpointError(
            f"{path}: the weights are not those that the card beside them describes (SHA-256 {fingerprint[:12]}…, "
            f"card {str(card.get('sha256'))[:12]}…). Copy both files again."
        )
    try:
        network = PairNetwork(PairConfig.from_json(card["config"]), part=part)
        tensors = {key: tensor.float() for key, tensor in load_tensors(content).items()}
    except (SafetensorError, KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"{path}: damaged checkpoint ({error}). Copy it again.") from error
    if part == "location":
        tensors = {key: tensor for key, tensor in tensors.items() if not key.startswith("image.")}
    _fill(network, tensors, path)
    # What an index was made with is the weights and how they are put together.
    recipe = json.dumps(card["config"], sort_keys=True).encode()
    identity = hashlib.sha256(fingerprint.encode() + recipe).hexdigest()
    return EncoderPair(network, name=str(card.get("name", path.stem)), fingerprint=identity, card=card)


def read_card(weights: Path) -> dict[str, Any]:
    """The card beside a weights file.

    Raises:
        CheckpointError: it is missing or not JSON.
    """
    path = weights.with_suffix(".json")
    try:
        card: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CheckpointError(
            f"{path}: the card beside the weights cannot be read ({error}). Copy both files."
        ) from error
    return card


def save(network: PairNetwork, path: Path, *, card: Mapping[str, Any]) -> str:
    """Write a checkpoint in half precision, each file whole or not at all.

    Args:
        network: the encoders.
        path: where, ending in ``.safetensors``; the card goes beside it.
        card: what the card says besides ``name``, ``config`` and ``sha256``.

    Returns:
        SHA-256 of the weights.
    """
    tensors = {
        key: value.detach().to(torch.float16 if value.is_floating_point() else value.dtype).contiguous()
        for key, value in network.state_dict().items()
    }
    content = save_tensors(tensors)
    fingerprint = hashlib.sha256(content).hexdigest()
    full = {"name": path.stem, **card, "config": dataclasses.asdict(network.config), "sha256": fingerprint}
    _write(path, content)
    _write(path.with_suffix(".json"), (json.dumps(full, indent=2, ensure_ascii=False) + "\n").encode())
    return fingerprint


def _fill(network: PairNetwork, tensors: Mapping[str, torch.Tensor], path: Path) -> None:
    try:
        result = network.load_state_dict(tensors, strict=False)
    except RuntimeError as error:
        raise CheckpointError(f"{path}: {str(error).splitlines()[-1].strip()}") from error
    if result.missing_keys or result.unexpected_keys:
        raise CheckpointError(
            f"{path}: missing weights: {', '.join(result.missing_keys) or 'none'}; "
            f"unknown weights: {', '.join(result.unexpected_keys) or 'none'}."
        )


def _write(path: Path, content: bytes) -> None:
    """Write beside, flush to the disk, then rename over."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(path.name + ".partial")
    with beside.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    os.replace(beside, path)
