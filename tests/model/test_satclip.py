"""Official-format checkpoints: exact locations, images of every kind, and every way in which a file can be wrong."""

import json
import os
import zipfile

import numpy as np
import pytest
import torch

from data.bands import L1C_BANDS, L2A_BANDS
from data.errors import CheckpointError, CoordinateError, PatchError, QueryError
from data.patch import Patch
from model import load
from model.checkpoint import save
from model.position import LE_TYPES
from model.satclip import SatCLIPConfig, SatCLIPNetwork
from tests.model.official_files import SHAPES, location_oracle, official

SMALL = SatCLIPConfig(
    embed_dim=8,
    image_resolution=64,
    vision_layers=1,
    vision_width=64,
    vision_patch_size=32,
    capacity=16,
    legendre_polys=4,
)


def points(count=1000):
    """Places all over the globe, the poles, ±180° and the null island among them."""
    rng = np.random.default_rng(3)
    lat = np.degrees(np.arcsin(rng.uniform(-1, 1, count)))
    out = np.stack([rng.uniform(-180, 180, count), lat], axis=1)
    out[:10] = [
        (0, 90),
        (0, -90),
        (77, 90),
        (-33, -90),
        (180, 0),
        (-180, 0),
        (180, 66),
        (-180, -45),
        (0, 0),
        (-180, 90),
    ]
    return out


def write(content, path):
    torch.save(content, path)
    return str(path)


@pytest.fixture
def small(tmp_path):
    """A small official-format file with both encoders, and its network."""
    torch.manual_seed(0)
    network = SatCLIPNetwork(SMALL)
    save(network, tmp_path / "small.ckpt", card={})
    return tmp_path / "small.ckpt", network.eval().requires_grad_(False)


def reflectance(side=256, seed=0):
    return np.random.default_rng(seed).uniform(0, 0.4, (12, side, side)).astype(np.float32)


# ---- the acceptance test ----


@pytest.mark.parametrize("degrees", [10, 40])
@pytest.mark.parametrize("trunk", SHAPES)
def test_an_official_checkpoint_loads_exactly(trunk, degrees, tmp_path):
    content = official(trunk, degrees, seed=degrees)
    path = write(content, tmp_path / "satclip.ckpt")
    where = points()
    expected = location_oracle(content, where)
    pair = load(path, dtype="float64", part="location")
    found = pair.encode_location(where, normalize=False)
    assert found.dtype == np.float64
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-9)
    unit = expected / np.linalg.norm(expected, axis=1, keepdims=True)
    np.testing.assert_allclose(pair.encode_location(where), unit, rtol=0, atol=1e-9)

    pair = load(path)  # as most users will: float64 inside, float32 rows
    found = pair.encode_location(where)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, unit.astype(np.float32))
    image = pair.encode_image(Patch(reflectance(), L2A_BANDS))
    assert image.shape == (1, 256) and np.isfinite(image).all()
    np.testing.assert_allclose(np.linalg.norm(image, axis=1), 1, atol=1e-5)
    assert not np.allclose(image, pair.encode_image(Patch(reflectance(seed=1), L2A_BANDS)), atol=1e-5)
    held = pair.network.state_dict()
    for key, value in content["state_dict"].items():
        if not key.startswith("model.nnet."):
            torch.testing.assert_close(held[key.removeprefix("model.")], value, rtol=0, atol=0)
    assert (pair.dim, pair.patch_px, pair.gsd_m, pair.bands) == (256, 224 if "vit" in trunk else 256, 10.0, L1C_BANDS)
    assert (pair.views, pair.tile_footprint_km, pair.name) == (("both",), None, path)


def test_the_location_part_builds_no_image_encoder(small, monkeypatch):
    path, _ = small
    whole = load(str(path))
    monkeypatch.setattr("model.satclip.build_vision", lambda *_, **__: pytest.fail("an image encoder was built"))
    part = load(str(path), part="location")
    assert part.fingerprint == whole.fingerprint
    np.testing.assert_array_equal(part.encode_location(points(20)), whole.encode_location(points(20)))
    with pytest.raises(CheckpointError, match='part="location"'):
        part.encode_image(Patch(reflectance(64), L2A_BANDS))


CALCULATIONS = [("sphericalharmonics", name) for name in ("closed-form", "discretized")]


@pytest.mark.parametrize("suffix", [".ckpt", ".safetensors"])
@pytest.mark.parametrize(("le_type", "calculation"), [*[(name, "analytic") for name in LE_TYPES], *CALCULATIONS])
def test_every_location_encoder_makes_the_round_trip(le_type, calculation, suffix, tmp_path):
    for pe_type in ("linear", "mlp", "siren", "fcnet"):
        config = SatCLIPConfig(**vars(SMALL) | {"le_type": le_type, "pe_type": pe_type, "max_radius": 260.0})
        config = SatCLIPConfig(**vars(config) | {"harmonics_calculation": calculation, "min_radius": 1.0})
        network = SatCLIPNetwork(config).eval()
        path = tmp_path / f"{pe_type}{suffix}"
        save(network, path, card={})
        pair = load(str(path), dtype="float64")
        with torch.no_grad():
            expected = network.location(torch.from_numpy(points(30))).numpy()
        np.testing.assert_allclose(pair.encode_location(points(30), normalize=False), expected, rtol=0, atol=1e-11)
        assert pair.config == config


# ---- both ways ----


def test_what_is_exported_is_what_the_official_loader_reads(small, tmp_path):
    """What ``get_satclip`` does with the file, with the names of microsoft/satclip's own module."""
    path, network = small
    read = torch.load(path, map_location="cpu", weights_only=True)
    fields = dict(read["hyper_parameters"])
    for name in ("eval_downstream", "air_temp_data_path", "election_data_path"):
        fields.pop(name)  # without a default, as there
    made = official(degrees=4)["hyper_parameters"]
    assert set(fields) | {"eval_downstream", "air_temp_data_path", "election_data_path"} == set(made)
    assert {"state_dict", "epoch", "global_step", "pytorch-lightning_version", "hparams_name"} <= set(read)
    own = network.state_dict()
    twice = {f"model.{key.removeprefix('location.')}": key for key in own if key.startswith("location.nnet.")}
    assert set(read["state_dict"]) == {f"model.{key}" for key in own} | set(twice)
    for key, value in read["state_dict"].items():
        torch.testing.assert_close(value, own[twice.get(key, key.removeprefix("model."))], rtol=0, atol=0)
    assert read["state_dict"]["model.nnet.layers.0.weight"].dtype == torch.float64
    light = {key[key.index("nnet") :] for key in read["state_dict"] if "nnet" in key}  # load_lightweight.py's rule
    assert light == {key.removeprefix("location.") for key in own if key.startswith("location.nnet.")}


def test_a_real_file_goes_out_and_comes_back_bit_by_bit(tmp_path):
    content = official(capacity=32)
    first = load(write(content, tmp_path / "first.ckpt"))
    for name in ("second.ckpt", "third.safetensors"):
        save(first.network, tmp_path / name, card=first.card)
        again = load(str(tmp_path / name))
        for key, value in first.network.state_dict().items():
            torch.testing.assert_close(again.network.state_dict()[key], value, rtol=0, atol=0)
    second = torch.load(tmp_path / "second.ckpt", weights_only=True)["state_dict"]
    assert set(second) == set(content["state_dict"])
    assert not list(tmp_path.glob("*.partial"))


def test_a_blue_marble_pair_has_no_official_form(tmp_path):
    with pytest.raises(CheckpointError, match=r"several branches, so it can only be written as \.safetensors"):
        save(load().network, tmp_path / "x.ckpt", card={})
    with pytest.raises(CheckpointError, match=r"ends in \.safetensors"):
        save(load().network, tmp_path / "x.pt", card={})
    part = load(part="location")
    save(part.network, tmp_path / "part.safetensors", card={})
    np.testing.assert_array_equal(
        load(str(tmp_path / "part.safetensors"), part="location").encode_location(points(10)),
        part.encode_location(points(10)),
    )


# ---- files that are wrong ----


def spoil(small, change):
    path, _ = small
    content = torch.load(path, weights_only=True)
    change(content)
    torch.save(content, path)
    return str(path)


def drop(content, key):
    del content["state_dict"][key]


WRONG = {
    "not equal": (
        lambda c: c["state_dict"].update({"model.nnet.layers.0.bias": c["state_dict"]["model.nnet.layers.0.bias"] + 1}),
        r"model\.nnet\.layers\.0\.bias and model\.location\.nnet\.layers\.0\.bias differ",
    ),
    "one alone": (lambda c: drop(c, "model.nnet.layers.0.bias"), r"missing weights: model\.nnet\.layers\.0\.bias"),
    "missing": (lambda c: drop(c, "model.visual.proj"), r"missing weights: visual\.proj; unknown weights: none"),
    "unknown": (
        lambda c: c["state_dict"].update({"model.extra": torch.zeros(1)}),
        r"missing weights: none; unknown weights: extra",
    ),
    "shape": (
        lambda c: c["state_dict"].update({"model.visual.proj": torch.zeros(64, 9)}),
        r"size mismatch: visual\.proj is \(64, 9\) in the file, \(64, 8\) by its configuration",
    ),
    "other trunk": (
        lambda c: c["hyper_parameters"].update(vision_layers="moco_resnet18"),
        r"missing weights: visual\.bn1.*and \d+ more; unknown weights: visual\.class_embedding",
    ),
    "unheard-of trunk": (lambda c: c["hyper_parameters"].update(vision_layers="swin"), r"swin"),
    "unheard-of encoding": (lambda c: c["hyper_parameters"].update(le_type="rff"), r"rff"),
    "degrees": (lambda c: c["hyper_parameters"].update(legendre_polys=5), r"size mismatch: location\.nnet\.layers\.0"),
    "no hyperparameter": (lambda c: c["hyper_parameters"].pop("capacity"), r"missing capacity; unknown none"),
    "new hyperparameter": (lambda c: c["hyper_parameters"].update(rotary=1), r"missing none; unknown rotary"),
    "odd hyperparameter": (lambda c: c["hyper_parameters"].update(capacity="wide"), r"capacity is 'wide'"),
    "yes for a number": (lambda c: c["hyper_parameters"].update(legendre_polys=True), r"legendre_polys is True"),
    "no tensors": (
        lambda c: c["state_dict"].update({"model.visual.proj": 3}),
        r"not tensors in state_dict: model\.vis",
    ),
    "no parameters": (lambda c: c.pop("hyper_parameters"), r"not a SatCLIP checkpoint: it holds epoch, global_step"),
    "bare weights": (lambda c: (c.clear(), c.update(fc=torch.zeros(2))), r"not a SatCLIP checkpoint: it holds fc;"),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_file_of_another_kind_gets_a_sentence(case, small):
    change, message = WRONG[case]
    with pytest.raises(CheckpointError, match=message):
        load(spoil(small, change))


def test_what_lightning_adds_of_its_own_does_no_harm(small):
    path = spoil(
        small, lambda c: c["hyper_parameters"].update(_instantiator="lightning.pytorch.cli.instantiate_module")
    )
    assert load(path).config == SMALL


def test_a_name_of_another_project_is_exported_under_the_official_one(tmp_path):
    save(SatCLIPNetwork(SatCLIPConfig(**vars(SMALL) | {"le_type": "Space2Vec-theory"})), tmp_path / "x.ckpt", card={})
    assert torch.load(tmp_path / "x.ckpt", weights_only=True)["hyper_parameters"]["le_type"] == "theory"


def test_two_minds_about_a_shared_layer(tmp_path):
    config = SatCLIPConfig(**vars(SMALL) | {"pe_type": "mlp", "num_hidden_layers": 3})
    save(SatCLIPNetwork(config), tmp_path / "mlp.ckpt", card={})
    content = torch.load(tmp_path / "mlp.ckpt", weights_only=True)
    for prefix in ("model.nnet", "model.location.nnet"):
        content["state_dict"][f"{prefix}.features.4.weight"] = torch.zeros(16, 16, dtype=torch.float64)
    torch.save(content, tmp_path / "mlp.ckpt")
    with pytest.raises(CheckpointError, match=r"features\.4\.weight in the file differs from the layer"):
        load(str(tmp_path / "mlp.ckpt"))


@pytest.mark.parametrize("keep", [0, 1, 100, 0.3, 0.9, 0.999])
def test_a_truncated_file(keep, small):
    path, _ = small
    content = path.read_bytes()
    path.write_bytes(content[: keep if keep >= 1 else int(keep * len(content))])
    with pytest.raises(CheckpointError, match=r"(damaged checkpoint|cut short).*again"):
        load(str(path))


def test_a_page_and_a_flipped_archive_in_the_files_place(small):
    path, _ = small
    whole = path.read_bytes()
    path.write_bytes(b"<!DOCTYPE html><html>Sign in</html>")
    with pytest.raises(CheckpointError, match="damaged checkpoint"):
        load(str(path))
    path.write_bytes(whole[:30] + bytes(40) + whole[70:])
    with pytest.raises(CheckpointError):
        load(str(path))


class Evil:
    def __reduce__(self):
        return os.system, ("touch evil",)


@pytest.mark.parametrize("new_format", [True, False])
def test_a_pickle_that_wants_more_is_refused_by_name(small, new_format, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path, _ = small
    content = torch.load(path, weights_only=True)
    content["callbacks"] = Evil()
    torch.save(content, path, _use_new_zipfile_serialization=new_format)
    with pytest.raises(CheckpointError, match=r"was refused: reading it would call (posix|nt)\.system"):
        load(str(path))
    assert not (tmp_path / "evil").exists()


def test_the_old_container_of_torch_loads_too(small):
    path, network = small
    torch.save(torch.load(path, weights_only=True), path, _use_new_zipfile_serialization=False)
    assert not zipfile.is_zipfile(path)
    torch.testing.assert_close(load(str(path)).network.state_dict()["visual.proj"], network.state_dict()["visual.proj"])


def test_a_wrong_hash_beside_safetensors(small, tmp_path):
    _, network = small
    path = tmp_path / "own.safetensors"
    save(network, path, card={})
    card = json.loads(path.with_suffix(".json").read_text())
    path.with_suffix(".json").write_text(json.dumps(card | {"sha256": "0" * 64}))
    with pytest.raises(CheckpointError, match="not those that the card beside them describes"):
        load(str(path))


# ---- places ----


def test_places_as_users_give_them(small):
    pair = load(str(small[0]))
    exact = pair.encode_location([[12.0, 41.0], [-70.0, -33.0]])
    for given in (
        [(12, 41), (-70, -33)],
        np.array([[12, 41], [-70, -33]], dtype=np.int16),
        np.array([[12, 41], [-70, -33]], dtype=np.float32),
        torch.tensor([[12, 41], [-70, -33]]),
        torch.tensor([[12.0, 41.0], [-70.0, -33.0]], dtype=torch.float64),
    ):
        np.testing.assert_array_equal(pair.encode_location(given), exact)
    for nothing in ([], np.empty((0, 2)), torch.empty(0, 2)):
        assert pair.encode_location(nothing).shape == (0, 8)
    assert load().encode_location([]).shape == (0, 256)
    np.testing.assert_allclose(pair.encode_location([(180, 20)]), pair.encode_location([(-180, 20)]), atol=1e-6)


@pytest.mark.parametrize("name", ["blue-marble-l40", "small"])
def test_places_that_are_refused(name, small):
    pair = load(str(small[0]) if name == "small" else name, part="location")
    with pytest.raises(CoordinateError, match=r"float16 keeps a longitude only to 0\.1°"):
        pair.encode_location(np.zeros((3, 2), dtype=np.float16))
    for kind in (torch.float16, torch.bfloat16):
        with pytest.raises(CoordinateError, match=f"{str(kind)[6:]} keeps a longitude"):
            pair.encode_location(torch.zeros(3, 2, dtype=kind))
    with pytest.raises(CoordinateError, match=r"row 1 is \(41, 112\).*swapped: did you mean \(112, 41\)"):
        pair.encode_location(np.array([[10, 20], [41, 112]]))
    with pytest.raises(CoordinateError, match=r"shape \(2, 3\)"):
        pair.encode_location(np.zeros((2, 3)))


def test_an_encoding_that_tells_180_from_minus_180(tmp_path):
    network = SatCLIPNetwork(SatCLIPConfig(**vars(SMALL) | {"le_type": "direct"})).eval()
    save(network, tmp_path / "direct.ckpt", card={})
    rows = load(str(tmp_path / "direct.ckpt"), dtype="float64").encode_location([(180, 5), (-180, 5)], normalize=False)
    with torch.no_grad():
        expected = network.location(torch.tensor([[180.0, 5.0], [-180.0, 5.0]], dtype=torch.float64)).numpy()
    np.testing.assert_allclose(rows, expected, rtol=0, atol=1e-12)
    assert np.abs(rows[0] - rows[1]).max() > 0.1


# ---- images ----


def raw(network, stack):
    """Embeddings of finished 13-channel stacks, without any of the product's handling of patches."""
    with torch.no_grad():
        return network.visual(torch.from_numpy(np.asarray(stack, dtype=np.float32))).numpy()


def with_cirrus(pixels):
    return np.concatenate([pixels[:10], np.zeros_like(pixels[:1]), pixels[10:]])


def test_bands_are_found_by_name(small):
    path, network = small
    pair, pixels = load(str(path)), reflectance(64)
    expected = raw(network, with_cirrus(pixels)[None])
    order = np.random.default_rng(1).permutation(12)
    names = tuple(L2A_BANDS[i] for i in order)
    loose = tuple(name.lower().replace("b0", "b") for name in L2A_BANDS)
    l1c = np.insert(pixels, 10, 0.3, axis=0)
    for patch in (
        Patch(pixels, L2A_BANDS),
        Patch(pixels[order], names),
        Patch(l1c, L1C_BANDS),
        Patch(l1c[::-1].copy(), L1C_BANDS[::-1]),
    ):
        np.testing.assert_allclose(pair.encode_image(patch, normalize=False), expected, atol=1e-6)
    assert loose[0] == "b1"
    both = pair.encode_image([Patch(pixels, L2A_BANDS), Patch(pixels[order], names)], normalize=False)
    np.testing.assert_allclose(both, np.repeat(expected, 2, axis=0), atol=1e-6)
    for array in (pixels[None], with_cirrus(pixels)[None]):
        np.testing.assert_allclose(pair.encode_image(array, normalize=False), expected, atol=1e-6)
    assert pair.encode_image([]).shape == pair.encode_image(np.empty((0, 13, 64, 64))).shape == (0, 8)


def test_cut_to_the_centre_and_to_ten_metres(small):
    path, network = small
    pair = load(str(path))  # 64 pixels
    large = reflectance(100)
    cut = with_cirrus(large[:, 18:82, 18:82])
    np.testing.assert_allclose(
        pair.encode_image(Patch(large, L2A_BANDS, gsd_m=10.0), normalize=False), raw(network, cut[None]), atol=1e-6
    )
    np.testing.assert_allclose(pair.encode_image(large[None], normalize=False), raw(network, cut[None]), atol=1e-6)
    fine = np.repeat(np.repeat(reflectance(64), 2, axis=1), 2, axis=2)  # 5 m: averages back to what 10 m shows
    expected = raw(network, with_cirrus(reflectance(64))[None])
    np.testing.assert_allclose(
        pair.encode_image(Patch(fine, L2A_BANDS, gsd_m=5.0), normalize=False), expected, atol=1e-5
    )
    np.testing.assert_allclose(pair.encode_image(fine[None], footprint_km=0.64, normalize=False), expected, atol=1e-5)
    np.testing.assert_allclose(pair.encode_image(fine[None], footprint_km=[0.64], normalize=False), expected, atol=1e-5)
    plain = np.full((12, 16, 16), 0.2, dtype=np.float32)  # too small, or too coarse: blown up
    expected = raw(network, with_cirrus(np.full((12, 64, 64), 0.2, dtype=np.float32))[None])
    for gsd_m in (10.0, 60.0, 7400.0):
        found = pair.encode_image(Patch(plain, L2A_BANDS, gsd_m=gsd_m), normalize=False)
        np.testing.assert_allclose(found, expected, atol=1e-5)


def test_nodata_is_zero(small):
    path, network = small
    pixels = reflectance(64)
    holes = pixels.copy()
    holes[:, :20] = np.nan
    filled = np.nan_to_num(holes)
    np.testing.assert_allclose(
        load(str(path)).encode_image(Patch(holes, L2A_BANDS), normalize=False),
        raw(network, with_cirrus(filled)[None]),
        atol=1e-6,
    )


def test_images_that_are_refused(small):
    pair = load(str(small[0]))
    numbers = reflectance(64) * 10_000
    for image in (
        Patch(numbers, L2A_BANDS),
        numbers[None],
        numbers[None].astype(np.uint16),
        (numbers / 40)[None].astype(np.uint8),
    ):
        with pytest.raises(PatchError, match=r"digital numbers, not reflectance .*divide by 10,000"):
            pair.encode_image(image)
    keep = [i for i, name in enumerate(L2A_BANDS) if name not in ("B05", "B8A")]
    with pytest.raises(PatchError, match=r"needs the 12 bands .*; B05, B8A are missing"):
        pair.encode_image(Patch(reflectance(64)[keep], tuple(L2A_BANDS[i] for i in keep)))
    with pytest.raises(PatchError, match=r"the patch has R, G, B"):
        pair.encode_image(Patch(np.full((3, 64, 64), 0.5, dtype=np.float32), ("R", "G", "B")))
    for shape in ((3, 13, 64), (2, 3, 64, 64), (2, 13, 0, 64)):
        with pytest.raises(PatchError, match=r"\(N, 12 or 13, H, W\)"):
            pair.encode_image(np.zeros(shape, dtype=np.float32))


def test_another_number_of_channels_takes_arrays_alone(tmp_path):
    network = SatCLIPNetwork(SatCLIPConfig(**vars(SMALL) | {"in_channels": 4})).eval().requires_grad_(False)
    save(network, tmp_path / "four.ckpt", card={})
    pair = load(str(tmp_path / "four.ckpt"))
    pixels = np.random.default_rng(0).normal(size=(2, 4, 64, 64)).astype(np.float32)
    np.testing.assert_allclose(pair.encode_image(pixels, normalize=False), raw(network, pixels), atol=1e-6)
    with pytest.raises(PatchError, match="takes 4 channels"):
        pair.encode_image(Patch(reflectance(64), L2A_BANDS))
    with pytest.raises(PatchError, match=r"\(N, 4, 64, 64\)"):
        pair.encode_image(pixels[:, :3])


# ---- device and precision ----


@pytest.mark.parametrize("name", ["blue-marble-l40", "small"])
def test_precision_by_argument(name, small):
    path = str(small[0]) if name == "small" else name
    images = reflectance(64)[None] if name == "small" else np.random.default_rng(0).uniform(0, 1, (2, 3, 32, 32))
    truth = load(path, dtype="float64")
    assert truth.encode_location(points(50)).dtype == truth.encode_image(images).dtype == np.float64
    for dtype, place, image in (
        (None, 1e-5, 1e-4),
        ("float32", 1e-4, 1e-4),
        ("float16", 1e-4, 0.02),
        ("bfloat16", 1e-4, 0.1),
        (torch.bfloat16, 1e-4, 0.1),
    ):
        pair = load(path, dtype=dtype, device="cpu")
        for found, expected, limit in (
            (pair.encode_location(points(50)), truth.encode_location(points(50)), place),
            (pair.encode_image(images), truth.encode_image(images), image),
        ):
            assert found.dtype == np.float32
            assert np.abs(found - expected).max() < limit, (dtype, np.abs(found - expected).max())
    assert load(path, dtype="bfloat16").fingerprint == truth.fingerprint


def test_devices_and_precisions_that_are_not_there(small):
    path = str(small[0])
    if torch.cuda.is_available():
        for name, images in ((path, reflectance(64)[None]), ("blue-marble-l40", np.full((2, 3, 32, 32), 0.4))):
            here, there = load(name), load(name, device="cuda")
            np.testing.assert_allclose(here.encode_location(points(50)), there.encode_location(points(50)), atol=1e-4)
            np.testing.assert_allclose(here.encode_image(images), there.encode_image(images), atol=1e-2)
    else:
        with pytest.raises(CheckpointError, match="no cuda device here; choose cpu"):
            load(path, device="cuda")
    with pytest.raises(CheckpointError, match="device='tpu9'"):
        load(path, device="tpu9")
    with pytest.raises(CheckpointError, match=r"dtype='int8' is unknown; choose one of float32, float64"):
        load(path, dtype="int8")
    with pytest.raises(QueryError, match=r"no view 'sharp'; choose one of both"):
        load(path).reweight(np.zeros((1, 8)), "sharp")


def test_a_pair_knows_what_it_is(small):
    for pair in (load(str(small[0])), load()):
        assert pair.bands and pair.normalisation and pair.gsd_m > 0 and pair.patch_px > 0 and pair.dim > 0
        assert pair.source and pair.license and len(pair.fingerprint) == 64
    assert load().license == "MIT"
    assert load().tile_footprint_km == pytest.approx(237.2, abs=0.1)
