"""Which checkpoints there are, where each one lies, and how an official one gets here.

Owns the registry of the six official SatCLIP files and how they are found and fetched. A file is looked for in
``SAMEWHERE_HOME/models`` (where users put what they fetched by hand), then in huggingface_hub's own cache, and only
then on the network. What was downloaded must have the SHA-256 that the hub names; what was put there by hand must have
a checkpoint's size. Nothing here imports torch.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from data.errors import CheckpointError
from data.home import models_path

WEIGHTS = Path(__file__).parent / "weights"
SUFFIXES = (".safetensors", ".ckpt")
LARGEST_CARD_BYTES = 16 << 20


@dataclass(frozen=True)
class OfficialModel:
    """One official checkpoint.

    Attributes:
        name: its repository on huggingface.co, under which ``load`` knows it.
        file: the one file in that repository; it holds both encoders.
        vision: the image encoder's architecture.
        degrees: L of the spherical harmonics.
        patch_px: pixels of 10 m that the image encoder takes on a side.
        size_mb: smallest and largest size of the file that is believed, in MB.
    """

    name: str
    file: str
    vision: str
    degrees: int
    patch_px: int
    size_mb: tuple[int, int]
    license: str = "MIT"
    paper: str = "Klemmer et al. 2023, SatCLIP: Global, General-Purpose Location Embeddings, arXiv:2311.17179"

    @property
    def page(self) -> str:
        """Where the file can be fetched by hand."""
        return f"huggingface.co/{self.name}"


_TRUNKS = {"ResNet18": (256, (40, 100)), "ResNet50": (256, (90, 200)), "ViT16": (224, (80, 190))}
"""Pixels and believable sizes: at least the trunk's weights in float32, at most those and the optimiser's state."""

OFFICIAL: Mapping[str, OfficialModel] = {
    model.name: model
    for model in (
        OfficialModel(
            f"microsoft/SatCLIP-{trunk}-L{degrees}",
            f"satclip-{trunk.lower()}-l{degrees}.ckpt",
            trunk,
            degrees,
            px,
            size,
        )
        for trunk, (px, size) in _TRUNKS.items()
        for degrees in (10, 40)
    )
}


def embedded_names() -> list[str]:
    """Names of the checkpoints that ship with the project."""
    return sorted(path.stem for path in WEIGHTS.glob("*.safetensors"))


def own_files() -> list[Path]:
    """Checkpoints in ``SAMEWHERE_HOME/models`` that are not official ones."""
    official = {model.file for model in OFFICIAL.values()}
    folder = models_path()
    found = (path for path in folder.glob("*") if path.suffix in SUFFIXES and path.name not in official)
    return sorted(found) if folder.is_dir() else []


def find(name: str) -> Path | None:
    """Where the checkpoint of a name lies on this machine, or None. Touches no network.

    Args:
        name: of an embedded or official checkpoint, of a file in ``SAMEWHERE_HOME/models`` (with or without its
            suffix), or a path.

    Raises:
        CheckpointError: a file fetched by hand cannot be what it is called.
    """
    if name in embedded_names():
        return WEIGHTS / f"{name}.safetensors"
    if name in OFFICIAL:
        return _find_official(OFFICIAL[name])
    path = Path(name).expanduser()
    if path.suffix in SUFFIXES and path.is_file():
        return path
    if path.name == name:
        for candidate in (models_path() / name, *(models_path() / f"{name}{suffix}" for suffix in SUFFIXES)):
            if candidate.suffix in SUFFIXES and candidate.is_file():
                return candidate
    return None


def locate(name: str) -> Path:
    """Where the checkpoint of a name lies; an official one is downloaded if need be.

    Raises:
        CheckpointError: there is none of this name, or it cannot be had.
    """
    path = pull(name) if name in OFFICIAL else find(name)
    if path is None:
        raise CheckpointError(
            f"There is no checkpoint {name!r}. Shipped with Samewhere: {', '.join(embedded_names()) or 'none'}; "
            f"official: {', '.join(OFFICIAL)}; or give the path of a .safetensors or .ckpt file, or put one into "
            f"{models_path()}."
        )
    return path


def pull(name: str, *, force: bool = False) -> Path:
    """Download an official checkpoint into huggingface_hub's cache, with its progress bar, and verify it.

    A connection that breaks is taken up where it broke. A file that is there already is verified and kept.

    Args:
        name: one of :data:`OFFICIAL`.
        force: download even where the file is there.

    Raises:
        CheckpointError: the name is not official, the hub cannot be reached or has no such file, or what came is not
            what the hub promised.
    """
    if name not in OFFICIAL:
        raise CheckpointError(f"{name!r} cannot be pulled; official checkpoints are {', '.join(OFFICIAL)}.")
    model = OFFICIAL[name]
    here = None if force else _find_official(model)
    if here is not None:
        _check_hash(here, model)
        return here
    from huggingface_hub import get_hf_file_metadata, hf_hub_download, hf_hub_url
    from huggingface_hub.errors import EntryNotFoundError, HfHubHTTPError, RepositoryNotFoundError

    try:
        # Asked first and once, because the download itself would try for half a minute where there is no network.
        endpoint = os.environ.get("HF_ENDPOINT")
        get_hf_file_metadata(hf_hub_url(model.name, model.file, endpoint=endpoint))
        path = Path(hf_hub_download(model.name, model.file, endpoint=endpoint, force_download=force))
    except (RepositoryNotFoundError, EntryNotFoundError) as error:
        raise CheckpointError(
            f"The hub has no file {model.file} in {model.name} (any more). {_by_hand(model)}"
        ) from error
    except HfHubHTTPError as error:
        reason = str(error).splitlines()[0]
        raise CheckpointError(
            f"The hub refused {model.file} ({reason}). Try again later, or: {_by_hand(model)}"
        ) from error
    except OSError as error:
        if "Consistency check" not in str(error):
            raise _out_of_reach(model, error) from error
        raise CheckpointError(
            f"The download of {model.file} was cut short ({str(error).splitlines()[0]}). "
            f"Run `samewhere models pull {model.name}` again."
        ) from error
    except Exception as error:  # the HTTP library, and with it its errors, changes with huggingface_hub's version
        raise _out_of_reach(model, error) from error
    _check_size(path, model)
    _check_hash(path, model)
    return path


def read_card(weights: Path) -> dict[str, Any]:
    """The card beside a weights file.

    Raises:
        CheckpointError: it is missing or not JSON.
    """
    path = weights.with_suffix(".json")
    try:
        if path.stat().st_size > LARGEST_CARD_BYTES:
            raise CheckpointError(f"{path}: {path.stat().st_size:,} bytes are no card. Copy both files again.")
        card = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise CheckpointError(
            f"{path}: the card beside the weights cannot be read ({error}). Copy both files."
        ) from error
    if not isinstance(card, dict):
        raise CheckpointError(f"{path}: a card is an object of names and values. Copy both files again.")
    return card


def sha256_of(path: Path) -> str:
    """SHA-256 of a file, 64 hex digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _find_official(model: OfficialModel) -> Path | None:
    by_hand = models_path() / model.file
    if by_hand.is_file():
        _check_size(by_hand, model)
        return by_hand
    from huggingface_hub import try_to_load_from_cache

    cached = try_to_load_from_cache(model.name, model.file)
    return Path(cached) if isinstance(cached, str) else None


def _check_size(path: Path, model: OfficialModel) -> None:
    size_mb, (least, most) = path.stat().st_size / 1e6, model.size_mb
    if not least <= size_mb <= most:
        raise CheckpointError(
            f"{path} has {size_mb:,.3f} MB; {model.file} has {least} to {most}. It is cut short, or a page or pointer "
            f"in the file's place. Remove it and fetch it again from {model.page}."
        )


def _check_hash(path: Path, model: OfficialModel) -> None:
    """Compare a file of the hub's cache with the SHA-256 under which the hub keeps it: the name of its blob."""
    promised = path.resolve().name
    if not re.fullmatch("[0-9a-f]{64}", promised):
        return  # put there by hand, or a system without links: its size and its content have to do
    found = sha256_of(path)
    if found != promised:
        path.resolve().unlink()
        path.unlink(missing_ok=True)
        raise CheckpointError(
            f"{model.file} is not what the hub promised (SHA-256 {found[:12]}…, promised {promised[:12]}…), and was "
            f"removed. Run `samewhere models pull {model.name}` again."
        )


def _by_hand(model: OfficialModel) -> str:
    return f"fetch {model.page} file {model.file} by hand and put it into {models_path()}."


def _out_of_reach(model: OfficialModel, error: Exception) -> CheckpointError:
    reason = str(error).splitlines()[0] if str(error) else type(error).__name__
    return CheckpointError(
        f"{model.name} is not on this machine and the hub cannot be reached ({reason}): where there is a network, "
        f"{_by_hand(model)}"
    )
