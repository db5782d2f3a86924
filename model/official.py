"""Official SatCLIP files, both ways: the ``.ckpt`` that PyTorch Lightning writes and microsoft/satclip reads.

Owns the format. Read: ``hyper_parameters`` and ``state_dict``, whose tensors ``model.nnet.*`` and
``model.location.nnet.*`` are the same twice over. Written: what the official ``get_satclip`` and Lightning's
``load_from_checkpoint`` look for. A ``.ckpt`` is a pickle, and a pickle can run anything: it is opened with torch's
reader for weights, and refused by the name of whatever else it wants.
"""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from data.errors import CheckpointError
from model.satclip import SatCLIPConfig, SatCLIPNetwork

TWICE = ("model.nnet.", "model.location.nnet.")


def read_official(path: Path) -> tuple[SatCLIPConfig, dict[str, Tensor]]:
    """Read an official-format file. Its tensors stay on disk, mapped, until they are copied.

    Returns:
        The hyperparameters, and the tensors under the names of :class:`model.satclip.SatCLIPNetwork`.

    Raises:
        CheckpointError: the file is damaged, wants to run code, or is of another architecture.
    """
    content = unpickle_weights(path)
    if not isinstance(content, dict) or not all(
        isinstance(content.get(key), Mapping) for key in ("hyper_parameters", "state_dict")
    ):
        seen = ", ".join(map(str, list(content)[:6])) if isinstance(content, dict) else type(content).__name__
        raise CheckpointError(
            f"{path} is not a SatCLIP checkpoint: it holds {seen}; expected the dictionaries hyper_parameters and "
            "state_dict, as microsoft/satclip writes them."
        )
    state = dict(content["state_dict"])
    strange = [str(key) for key, value in state.items() if not isinstance(value, Tensor)]
    if strange:
        raise CheckpointError(f"{path}: not tensors in state_dict: {', '.join(strange[:8])}.")
    config = SatCLIPConfig.from_official(content["hyper_parameters"], where=str(path))
    once, again = ({key[len(prefix) :]: state[key] for key in state if key.startswith(prefix)} for prefix in TWICE)
    alone = [TWICE[0] + key for key in again if key not in once] + [TWICE[1] + key for key in once if key not in again]
    if alone:
        raise CheckpointError(f"{path}: missing weights: {', '.join(alone)}. The original keeps them under both names.")
    for key, tensor in once.items():
        if not torch.equal(tensor, again[key]):
            raise CheckpointError(
                f"{path}: {TWICE[0]}{key} and {TWICE[1]}{key} differ; in a SatCLIP checkpoint they are one tensor. "
                "The file was put together from two."
            )
    kept = {key.removeprefix("model."): tensor for key, tensor in state.items() if not key.startswith(TWICE[0])}
    return config, kept


def write_official(network: SatCLIPNetwork) -> bytes:
    """An official-format file of a pair, weights in the precision in which they lie.

    Raises:
        CheckpointError: the image encoder is not there.
    """
    if network.visual is None:
        raise CheckpointError("An official file holds both encoders; load the whole pair to export it.")
    state: dict[str, Tensor] = {}
    for key, tensor in network.state_dict().items():
        held = tensor.detach().cpu()
        state[f"model.{key}"] = held
        if key.startswith("location.nnet."):
            state[f"model.{key.removeprefix('location.')}"] = held
    content = {
        "epoch": 0,
        "global_step": 0,
        "pytorch-lightning_version": version("lightning"),
        "state_dict": state,
        "hparams_name": "kwargs",
        "hyper_parameters": network.config.to_official(),
    }
    file = io.BytesIO()
    torch.save(content, file)
    return file.getvalue()


def unpickle_weights(path: Path) -> Any:
    """What a file of ``torch.save`` holds, read with torch's reader for weights.

    Raises:
        CheckpointError: the file is damaged, or wants to run code.
    """
    mapped = zipfile.is_zipfile(path)
    if not mapped:
        with path.open("rb") as file:
            if file.read(2) == b"PK":
                raise CheckpointError(
                    f"{path} is cut short: the end of its archive is missing. Fetch or copy it again."
                )
    try:
        return torch.load(path, map_location="cpu", weights_only=True, mmap=mapped)
    except Exception as error:  # damaged bytes can make the reader fail in any way
        wanted = re.search(r"GLOBAL\s+(\S+)", str(error)) or re.search(r"[Uu]nsupported class (\S+)", str(error))
        if wanted is not None:
            raise CheckpointError(
                f"{path} was refused: reading it would call {wanted[1].rstrip('.,')}, and a checkpoint needs nothing "
                "but tensors, numbers, text, lists and dictionaries. Ask its maker for a file with weights alone."
            ) from error
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise CheckpointError(f"{path}: damaged checkpoint ({reason}). Download or copy it again.") from error
