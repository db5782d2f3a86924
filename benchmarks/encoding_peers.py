"""Embedding places beside the published packages: SatCLIP's own location encoder (in rangegeo), and GeoCLIP.

    python -m benchmarks.encoding_peers [--points 4000] [--rounds 5]

SatCLIP's network, L = 10 and L = 40, with the same random weights in both: theirs in float64, as published; ours in
float64 and in float32. How far the vectors differ stands beside the rate: theirs lose digits far from the equator at
L = 40 (docs/models.md), so it is given for |latitude| below 30° too. GeoCLIP is another model with trained weights: its
own code, and ours that reads its weights. Of each package the location encoder alone is imported: what stands beside it
would import torchvision.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
import types
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.location_encoding import random_points
from benchmarks.timing import Result, Row, in_turns, main, peak_mb, timed_row
from model.baselines.geoclip import load_geoclip
from model.satclip import SatCLIPConfig, SatCLIPNetwork, SatCLIPPair

QUICK = {"points": 200, "rounds": 1}
Encode = Callable[[], Any]


def bare_module(package: str, module: str, missing: list[str]) -> Any:
    """A module of a package whose ``__init__`` files are not run; None where it is not installed."""
    if package in sys.modules:
        places = list(sys.modules[package].__path__)
    else:
        spec = importlib.util.find_spec(package)
        if spec is None or not spec.submodule_search_locations:
            missing.append(f"{package} is not installed, so its rows are left out.")
            return None
        places = list(spec.submodule_search_locations)
    name = package
    for part in ["", *module.split(".")[:-1]]:
        name = f"{name}.{part}" if part else name
        places = [f"{place}/{part}" for place in places] if part else places
        if name not in sys.modules:
            empty = types.ModuleType(name)
            empty.__path__ = places
            sys.modules[name] = empty
    try:
        return importlib.import_module(f"{package}.{module}")
    except ImportError as error:
        missing.append(f"{package} cannot be imported ({error}), so its rows are left out.")
        return None


def satclip_peer(theirs: Any, network: SatCLIPNetwork, degrees: int) -> Callable[[NDArray[np.float64]], Any]:
    """The published encoder with our network's weights."""
    position = theirs.get_positional_encoding(
        name="sphericalharmonics",
        legendre_polys=degrees,
        harmonics_calculation="analytic",
        min_radius=1,
        max_radius=360,
        frequency_num=16,
    ).double()
    net = theirs.get_neural_network(
        name="siren", input_dim=position.embedding_dim, num_classes=256, dim_hidden=512, num_layers=2
    ).double()
    net.load_state_dict(network.location.nnet.state_dict())
    encoder = theirs.LocationEncoder(position, net).double().eval()

    @torch.inference_mode()
    def encode(points: NDArray[np.float64]) -> Any:
        return encoder(torch.from_numpy(points)).numpy()

    return encode


def difference(ours: NDArray[Any], theirs: NDArray[Any]) -> float:
    """Largest difference of any number, beside the largest number."""
    return float(np.abs(ours - theirs).max() / np.abs(theirs).max())


def satclip_rows(degrees: int, points: NDArray[np.float64], rounds: int, missing: list[str]) -> list[Row]:
    """Rates of both, and how they differ."""
    theirs = bare_module("rangegeo", "satclip.location_encoder", missing)
    torch.manual_seed(0)
    network = SatCLIPNetwork(SatCLIPConfig(legendre_polys=degrees), part="location").eval()
    fine = SatCLIPPair(network, name="random", fingerprint="0" * 64, card={}, dtype="float64")
    candidates: dict[str, Encode] = {"samewhere, float64": partial(fine.encode_location, points, normalize=False)}
    more: dict[str, dict[str, float | str]] = {}
    if theirs is not None:
        peer = satclip_peer(theirs, network, degrees)
        candidates["rangegeo's SatCLIP, float64"] = partial(peer, points)
        low = np.abs(points[:, 1]) < 30
        ours, given = fine.encode_location(points, normalize=False), peer(points)
        more["samewhere, float64"] = {
            "differs by": difference(ours, given),
            "differs below 30° by": difference(ours[low], given[low]),
        }
    memory = {name: peak_mb(work) for name, work in candidates.items()}
    torch.manual_seed(0)
    again = SatCLIPNetwork(SatCLIPConfig(legendre_polys=degrees), part="location").eval()
    fast = SatCLIPPair(again, name="random", fingerprint="0" * 64, card={}, dtype="float32")
    candidates["samewhere, float32"] = partial(fast.encode_location, points, normalize=False)
    memory["samewhere, float32"] = peak_mb(candidates["samewhere, float32"])
    times = in_turns(candidates, rounds=rounds)
    return [
        timed_row(
            name,
            times,
            peer="rangegeo's SatCLIP, float64" if theirs is not None else "",
            count=len(points),
            unit="places a second",
            memory_mb=memory[name],
            part=f"SatCLIP, L = {degrees}",
            more=more.get(name),
        )
        for name in candidates
    ]


def geoclip_rows(points: NDArray[np.float64], rounds: int, missing: list[str]) -> list[Row]:
    """Rates of GeoCLIP's own encoder and of ours with its weights."""
    theirs = bare_module("geoclip", "model.location_encoder", missing)
    if theirs is None:
        return []
    encoder, ours = theirs.LocationEncoder().eval(), load_geoclip()
    latlon = torch.from_numpy(points[:, ::-1].copy()).float()

    @torch.inference_mode()
    def encode() -> Any:
        return encoder(latlon).numpy()

    candidates: dict[str, Encode] = {
        "samewhere's reading of its weights": partial(ours.encode_location, points),
        "geoclip": encode,
    }
    memory = {name: peak_mb(work) for name, work in candidates.items()}
    mine, given = candidates["samewhere's reading of its weights"](), encode()
    given = given / np.linalg.norm(given, axis=1, keepdims=True)
    mine = mine / np.linalg.norm(mine, axis=1, keepdims=True)
    times = in_turns(candidates, rounds=rounds)
    return [
        timed_row(
            name,
            times,
            peer="geoclip",
            count=len(points),
            unit="places a second",
            memory_mb=memory[name],
            part="GeoCLIP, 512 numbers",
            more={"differs by": difference(mine, given)} if name != "geoclip" else None,
        )
        for name in candidates
    ]


def run(points: int = 4_000, rounds: int = 5) -> Result:
    """Encode the same places with all."""
    missing: list[str] = []
    places = random_points(points)
    rows = [row for degrees in (10, 40) for row in satclip_rows(degrees, places, rounds, missing)]
    rows += geoclip_rows(places, rounds, missing)
    if "torchvision" in sys.modules:
        raise SystemExit("torchvision was imported, which is not wanted.")
    threads = torch.get_num_threads()
    title = f"Embedding {points:,} places beside the published packages, {threads} threads, one call."
    return Result(title, tuple(rows), tuple(dict.fromkeys(missing)))


if __name__ == "__main__":
    main(run, QUICK)
