"""Checkpoints on disk, and :func:`load`, the one way in which a pair is had.

Owns the project's own format and what both formats have in common. A checkpoint of our own is two files,
``NAME.safetensors`` and ``NAME.json``; the card's ``config`` rebuilds the networks and its ``sha256`` must be that of
the weights. Official ``.ckpt`` files are ``model.official``'s; names are ``model.hub``'s. Refuses damaged files,
unknown names, missing and unknown keys, and tensors of another shape.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor

from data.bands import L1C_BANDS
from data.errors import CheckpointError
from data.files import disk_errors, durable
from model.encoder import EncoderPair, Placement
from model.hub import OFFICIAL, WEIGHTS, embedded_names, find, locate, read_card, sha256_of
from model.official import read_official, write_official
from model.pair import BlueMarblePair, PairConfig, PairNetwork
from model.satclip import SatCLIPConfig, SatCLIPNetwork, SatCLIPPair

__all__ = ["DEFAULT", "WEIGHTS", "embedded_names", "load", "read_card", "save"]

DEFAULT = "blue-marble-l40"
DEEPEST, LARGEST_SIZE = 6, 8192
"""Of a configuration: levels, and the largest number."""
LISTED = 12
"""Names of weights that a message lists before it counts the rest."""

Network = PairNetwork | SatCLIPNetwork


def load(
    name: str = DEFAULT,
    *,
    part: str = "pair",
    device: str | torch.device = "cpu",
    dtype: str | torch.dtype | None = None,
) -> EncoderPair:
    """Load a trained pair.

    Args:
        name: an embedded or official checkpoint's name, the path of a ``.safetensors`` file with its card beside it or
            of an official-format ``.ckpt`` file, or the name of either in ``SAMEWHERE_HOME/models``. An official one is
            downloaded where it is not on this machine; its one file holds both encoders.
        part: "pair", or "location" for the location encoder alone: no image encoder is built.
        device: "cpu", "cuda" or "mps".
        dtype: "float32", "float64", "float16", "bfloat16", or None for the checkpoint's own: places in float64 and
            images in float32 for SatCLIP, float32 for the Blue Marble. "float64" gives embeddings in float64 too; half
            precision is for images, places are then computed in float32.

    Raises:
        CheckpointError: no such checkpoint, device or precision; a damaged file, or one of another architecture.
    """
    if part not in ("pair", "location"):
        raise CheckpointError(f'part={part!r} is unknown; choose "pair" or "location".')
    Placement.choose(device, dtype, location=torch.float32)  # wrong arguments are told before anything is fetched
    path = locate(name)
    if path.suffix == ".ckpt":
        config, tensors = read_official(path)
        network: Network = _built(path, lambda: SatCLIPNetwork(config, part=part, empty=True))
        identity = sha256_of(path)
        card = official_card(name, config, identity)
        known = name if name in OFFICIAL else str(path.resolve())
    else:
        card, content = read_card(path), path.read_bytes()
        network, tensors, identity = _read_own(path, card, content, part)
        known = _known_as(path, card)
    _fill(network, tensors, path)
    if isinstance(network, SatCLIPNetwork):
        return SatCLIPPair(network, name=known, fingerprint=identity, card=card, device=device, dtype=dtype)
    return BlueMarblePair(network, name=known, fingerprint=identity, card=card, device=device, dtype=dtype)


def _known_as(path: Path, card: Mapping[str, Any]) -> str:
    """The name that finds this very file again: the card's where it does, else the path."""
    name = str(card.get("name", path.stem))
    found = None if name in OFFICIAL else find(name)
    return name if found is not None and found.resolve() == path.resolve() else str(path.resolve())


def save(network: Network, path: Path, *, card: Mapping[str, Any]) -> str:
    """Write a checkpoint, each file whole or not at all.

    Args:
        network: the encoders. A Blue Marble pair is kept in half precision, a SatCLIP pair in its own.
        path: where, ending in ``.safetensors``, the card goes beside it; or in ``.ckpt`` for the official format, which
            has no card and holds SatCLIP pairs alone.
        card: what the card says besides ``name``, ``config`` and ``sha256``.

    Returns:
        SHA-256 of the weights' file.

    Raises:
        CheckpointError: another ending, a pair that the official format cannot hold, or the disk refuses.
    """
    if path.suffix not in (".safetensors", ".ckpt"):
        raise CheckpointError(f"{path}: name a file that ends in .safetensors, or in .ckpt for the official format.")
    if path.suffix == ".ckpt":
        if not isinstance(network, SatCLIPNetwork):
            raise CheckpointError(
                "The official format holds one location network and one image encoder of SatCLIP's own architecture; a "
                "Blue Marble pair has several branches, so it can only be written as .safetensors."
            )
        content = write_official(network)
        _write(path, content)
        return hashlib.sha256(content).hexdigest()
    half = isinstance(network, PairNetwork)
    tensors = {
        key: value.detach().cpu().to(torch.float16 if half and value.is_floating_point() else value.dtype, copy=True)
        for key, value in network.state_dict().items()
    }
    content = save_tensors({key: value.contiguous() for key, value in tensors.items()})
    fingerprint = hashlib.sha256(content).hexdigest()
    full = {"name": path.stem, **card, "config": dataclasses.asdict(network.config), "sha256": fingerprint}
    _write(path, content)
    _write(path.with_suffix(".json"), (json.dumps(full, indent=2, ensure_ascii=False) + "\n").encode())
    return fingerprint


def official_card(name: str, config: SatCLIPConfig, sha256: str) -> dict[str, Any]:
    """The card of an official-format file, which brings none of its own."""
    model = OFFICIAL.get(name)
    return {
        "name": name,
        "description": "A SatCLIP pair (Klemmer et al. 2023, arXiv:2311.17179) on Sentinel-2 at 10 m a pixel.",
        "bands": list(L1C_BANDS) if config.in_channels == len(L1C_BANDS) else [],
        "normalisation": SatCLIPPair.normalisation,
        "gsd_m": SatCLIPPair.gsd_m,
        "patch_px": config.patch_px,
        "embedding_dim": config.embed_dim,
        "training_data": "S2-100K: 100,000 Sentinel-2 L2A patches of 256 pixels, 2021 to 2023" if model else "unknown",
        "license": model.license if model else "unknown",
        "paper": model.paper if model else "unknown",
        "sha256": sha256,
    }


def describe_official(name: str, path: Path) -> dict[str, Any]:
    """The card of an official-format file and the hyperparameters in it; no network is built.

    Raises:
        CheckpointError: the file is damaged, or of another architecture.
    """
    config, _ = read_official(path)
    return {**official_card(name, config, sha256_of(path)), "config": config.to_official()}


def _read_own(path: Path, card: Mapping[str, Any], content: bytes, part: str) -> tuple[Network, dict[str, Tensor], str]:
    """Networks without weights, weights, and the fingerprint of both, of a file of our own format."""
    fingerprint = hashlib.sha256(content).hexdigest()
    if card.get("sha256") != fingerprint:
        raise CheckpointError(
            f"{path}: the weights are not those that the card beside them describes (SHA-256 {fingerprint[:12]}…, "
            f"card {str(card.get('sha256'))[:12]}…). Copy both files again."
        )
    try:
        config = card["config"]
        tensors = load_tensors(content)
        official = "le_type" in config
    except (SafetensorError, KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"{path}: damaged checkpoint ({str(error)[:300]}). Copy it again.") from error

    def build() -> Network:
        _check_numbers(config)
        if official:
            hyperparameters = SatCLIPConfig.from_official(config, where=str(path.with_suffix(".json")))
            return SatCLIPNetwork(hyperparameters, part=part, empty=True)
        network = PairNetwork(PairConfig.from_json(config), part=part, empty=True)  # sets no memory aside
        wanted = sum(tensor.numel() for tensor in network.state_dict().values())
        if wanted > sum(tensor.numel() for tensor in tensors.values()):
            raise ValueError(f"its configuration has {wanted:,} weights, more than the file holds: size mismatch")
        return network

    network = _built(path, build)
    # What an index was made with is the weights and how they are put together.
    recipe = json.dumps(config, sort_keys=True).encode()
    return network, tensors, hashlib.sha256(fingerprint.encode() + recipe).hexdigest()


def _built(path: Path, build: Callable[[], Network]) -> Network:
    """Networks of a file's configuration, which may say anything.

    Raises:
        CheckpointError: no networks can be built of it.
    """
    try:
        return build()
    except (TypeError, ValueError, LookupError, ArithmeticError, AttributeError, RuntimeError, AssertionError) as error:
        reason = f"{type(error).__name__}: {' '.join(str(error).split())}"[:300]
        raise CheckpointError(f"{path}: damaged checkpoint ({reason}). Copy it again.") from error


def _check_numbers(config: Any, *, depth: int = 0) -> None:
    """Refuse a configuration that is nested without end, or with sizes that no network has."""
    if depth > DEEPEST:
        raise ValueError("its configuration is nested too deeply")
    if isinstance(config, dict | list):
        for value in config.values() if isinstance(config, dict) else config:
            _check_numbers(value, depth=depth + 1)
    elif isinstance(config, int | float) and not abs(config) <= LARGEST_SIZE:
        raise ValueError(f"a size of {config:g} in its configuration")


def _fill(network: Network, tensors: Mapping[str, Tensor], path: Path) -> None:
    """Copy a file's tensors into the networks, in the precision of the networks.

    Raises:
        CheckpointError: weights are missing, unknown, of another shape, or one weight of two minds.
    """
    wanted = network.state_dict()
    has_images = any(key.startswith(network.image_prefix) for key in wanted)
    given = {key: tensor for key, tensor in tensors.items() if has_images or not key.startswith(network.image_prefix)}
    missing, unknown = ([k for k in a if k not in b] for a, b in ((wanted, given), (given, wanted)))
    if missing or unknown:
        raise CheckpointError(
            f"{path}: missing weights: {_listed(missing)}; unknown weights: {_listed(unknown)}. "
            "It is a checkpoint of another architecture than it says."
        )
    unfit = [
        f"{key} is {tuple(given[key].shape)} in the file, {tuple(wanted[key].shape)} by its configuration"
        for key in wanted
        if given[key].shape != wanted[key].shape
    ]
    if unfit:
        raise CheckpointError(f"{path}: size mismatch: {_listed(unfit)}.")
    cast = {key: given[key].to(wanted[key].dtype, copy=True) for key in wanted}
    network.load_state_dict(cast, assign=True)
    held = network.state_dict()
    shared = [key for key in cast if held[key].data_ptr() != cast[key].data_ptr()]  # of two names the last was taken
    split = [key for key in shared if not torch.equal(held[key].nan_to_num(), cast[key].nan_to_num())]
    if split:  # two names of one tensor, as in the original's mlp
        raise CheckpointError(f"{path}: {_listed(split)} in the file differs from the layer that shares its weights.")


def _listed(names: list[str]) -> str:
    """Names for a message, the first few of many."""
    more = f" and {len(names) - LISTED} more" if len(names) > LISTED else ""
    return (", ".join(names[:LISTED]) or "none") + more


def _write(path: Path, content: bytes) -> None:
    advice = "Free some space and run it again."
    with disk_errors(path, "Writing", kind=CheckpointError, full=advice, denied="Choose another file."):
        path.parent.mkdir(parents=True, exist_ok=True)
        with durable(path) as file:
            file.write(content)
