"""The encoders, the loss, the augmentation and the views against closed forms and invariants."""

import dataclasses
import math

import numpy as np
import pytest
import torch
from torch.nn import functional

from data.blue_marble import FOOTPRINT_KM, BlueMarble
from data.errors import CheckpointError, CoordinateError, QueryError
from data.land import sample_land, sample_sphere
from data.patch import Patch
from model.augment import AugmentConfig, augment
from model.cutting import cut_patches, picture_tensor
from model.harmonics import spherical_harmonics
from model.image import FINEST_KM, ImageConfig, Trunk, scale_of
from model.location import BranchConfig, LocationEncoder
from model.looks import DESCRIBED, describe
from model.loss import contrastive_loss, look_alike_targets
from model.pair import BlueMarblePair, PairConfig, PairNetwork

SMALL = PairConfig(
    branches={
        "smooth": BranchConfig(
            degrees=4, hidden=16, layers=2, w0=5.0, dim=6, view="smooth", weight=0.2**0.5, dropout=0.5, orders=1
        ),
        "sharp": BranchConfig(degrees=6, hidden=16, layers=1, w0=1.0, dim=4, view="sharp", weight=0.8),
        "wide": BranchConfig(degrees=4, hidden=16, layers=1, w0=5.0, dim=2, view="smooth", weight=0.4, trunk=1),
    },
    trunks=(ImageConfig(widths=(4, 4, 8, 8), squeeze=2, features=16),) * 2,
)


@pytest.fixture
def pair():
    torch.manual_seed(0)
    return BlueMarblePair(PairNetwork(SMALL), name="small", fingerprint="0" * 64, card={})


def test_branch_sees_only_its_orders():
    branch = BranchConfig(degrees=4, hidden=2, layers=1, w0=1, dim=1, view="smooth", weight=1, orders=1)
    assert branch.columns() == [0, 1, 2, 3, 5, 6, 7, 11, 12, 13]
    encoder = LocationEncoder({"a": branch}).eval()
    harmonics = spherical_harmonics(torch.tensor([[10.0, 20.0]]), 4).float()
    changed = harmonics.clone()
    changed[:, [4, 8, 9, 10, 14, 15]] += 1
    torch.testing.assert_close(encoder.from_harmonics(harmonics), encoder.from_harmonics(changed))


def test_location_encoder_has_no_seam(pair):
    a, b = pair.encode_location([(179.999999, 10), (0, 90)]), pair.encode_location([(-179.999999, 10), (123, 90)])
    np.testing.assert_allclose(a, b, atol=1e-5)


def test_rows_do_not_depend_on_their_batch(pair):
    points = np.random.default_rng(0).uniform(-80, 80, (50, 2))
    np.testing.assert_allclose(pair.encode_location(points)[7:8], pair.encode_location(points[7:8]), atol=1e-6)


def test_scale_runs_from_a_sentinel_patch_to_a_full_one():
    values = scale_of(torch.tensor([FINEST_KM, math.sqrt(FINEST_KM * FOOTPRINT_KM), FOOTPRINT_KM, 0.01, 5000]))
    torch.testing.assert_close(values, torch.tensor([0, 0.5, 1, 0, 1]))


class TestViews:
    def test_scores_are_the_cosines_of_the_parts(self, pair):
        places = np.random.default_rng(0).uniform(-80, 80, (20, 2))
        stored, raw = pair.encode_location(places), pair.encode_location(places, normalize=False)
        np.testing.assert_allclose(np.linalg.norm(stored, axis=1), 1, rtol=1e-5)

        def cosines(part):
            unit = part / np.linalg.norm(part, axis=1, keepdims=True)
            return unit @ unit.T

        smooth, sharp, wide = cosines(raw[:, :6]), cosines(raw[:, 6:10]), cosines(raw[:, 10:])
        both = 0.2 * smooth + 0.64 * sharp + 0.16 * wide
        for view, score in (("smooth", (0.2 * smooth + 0.16 * wide) / 0.36), ("sharp", sharp), ("both", both)):
            np.testing.assert_allclose(pair.reweight(stored, view) @ stored.T, score, atol=1e-5)

    def test_unknown_view(self, pair):
        with pytest.raises(QueryError, match="no view 'blurred'; choose one of smooth, sharp, both"):
            pair.reweight(np.zeros((1, 12)), "blurred")


class TestEncodeImage:
    def test_patches_and_arrays_agree(self, pair):
        pixels = BlueMarble.open().cut([(12.5, 41.9), (25, 24)])
        patches = [BlueMarble.open().patch(12.5, 41.9), BlueMarble.open().patch(25, 24)]
        np.testing.assert_allclose(pair.encode_image(pixels), pair.encode_image(patches), atol=1e-5)

    def test_footprint_matters(self, pair):
        for trunk in pair.network.image.trunks:
            torch.nn.init.normal_(trunk.stages[0].film.weight)
        pixels = np.full((1, 3, 32, 32), 99, np.uint8)
        assert not np.allclose(pair.encode_image(pixels), pair.encode_image(pixels, footprint_km=3.0))

    def test_each_branch_reads_its_trunk(self, pair):
        pixels = BlueMarble.open().cut([(12.5, 41.9), (25, 24)])
        before = pair.encode_image(pixels, normalize=False)
        torch.nn.init.normal_(pair.network.image.trunks[1].project[2].weight)
        changed = (pair.encode_image(pixels, normalize=False) != before).any(axis=0)
        np.testing.assert_array_equal(changed, [False] * 10 + [True] * 2)

    def test_sentinel_patch_is_its_colour(self, pair):
        rng = np.random.default_rng(0)
        pixels = (0.05 + 0.05 * rng.random((3, 64, 64))).astype(np.float32)
        shuffled = pixels.reshape(3, -1)[:, rng.permutation(64 * 64)].reshape(3, 64, 64)
        a, b = (pair.encode_image(Patch(x, ("B04", "B03", "B02"), gsd_m=10.0)) for x in (pixels, shuffled))
        np.testing.assert_allclose(a, b, atol=1e-4)

    def test_wrong_shape(self, pair):
        with pytest.raises(ValueError, match=r"\(N, 3, 32, 32\)"):
            pair.encode_image(np.zeros((1, 3, 16, 16)))

    def test_location_part_has_none(self):
        part = BlueMarblePair(PairNetwork(SMALL, part="location"), name="small", fingerprint="", card={})
        with pytest.raises(CheckpointError, match="image encoder of small is not loaded"):
            part.encode_image(np.zeros((1, 3, 32, 32)))


def test_bad_coordinates_are_refused(pair):
    with pytest.raises(CoordinateError, match="latitude 91"):
        pair.encode_location([(0, 91)])


class TestLoss:
    def test_equals_the_formula(self):
        torch.manual_seed(0)
        a, b, scale = torch.randn(5, 3), torch.randn(5, 3), torch.tensor(1.3)
        logits = math.exp(1.3) * functional.normalize(a) @ functional.normalize(b).T
        expected = -(logits.log_softmax(1).diagonal().mean() + logits.log_softmax(0).diagonal().mean()) / 2
        torch.testing.assert_close(contrastive_loss(a, b, scale), expected)

    def test_chance_level(self):
        same = torch.ones(8, 3)
        assert contrastive_loss(same, same, torch.tensor(2.0)).item() == pytest.approx(math.log(8))

    def test_scale_is_clamped(self):
        torch.manual_seed(0)
        a, b = torch.randn(5, 3), torch.randn(5, 3)
        high, limit = (contrastive_loss(a, b, torch.tensor(x), max_scale=20.0) for x in (9.0, math.log(20)))
        torch.testing.assert_close(high, limit)

    def test_hard_targets_are_the_special_case(self):
        torch.manual_seed(0)
        a, b, scale = torch.randn(5, 3), torch.randn(5, 3), torch.tensor(1.0)
        torch.testing.assert_close(contrastive_loss(a, b, scale, targets=torch.eye(5)), contrastive_loss(a, b, scale))

    def test_look_alikes_share(self):
        appearance = torch.tensor([[0.0], [0.0], [100.0]])
        targets = look_alike_targets(appearance, share=0.6, width=0.5)
        torch.testing.assert_close(targets, torch.tensor([[0.4, 0.6, 0.0], [0.6, 0.4, 0.0], [0.0, 0.0, 1.0]]))


@pytest.fixture(scope="module")
def picture():
    return picture_tensor()


def places(n, *, seed=0):
    return torch.from_numpy(sample_land(n, rng=np.random.default_rng(seed), antarctica=False))


NOTHING = AugmentConfig(crop_share=0, flip=0, tone=0, crop_tone=0)


def view(picture, lonlat, config, seed=0):
    return augment(picture, lonlat, [config], generators=[torch.Generator().manual_seed(seed)])[0]


class TestAugment:
    def test_the_same_generator_gives_the_same_whatever_stands_beside(self, picture):
        config = AugmentConfig(turn_deg=30, zoom=0.6, paint=0.5)
        a, x = view(picture, places(10), config, seed=1)
        generators = [torch.Generator().manual_seed(seed) for seed in (2, 1)]
        (b, y), (c, z) = augment(picture, places(10), [NOTHING, config], generators=generators)
        assert torch.equal(a, c) and torch.equal(x, z)
        assert not torch.equal(b, c) and (y == FOOTPRINT_KM).all()

    def test_nothing_asked_nothing_done(self, picture):
        lonlat = places(6)
        x, sides = view(picture, lonlat, NOTHING)
        assert (x * 255 - torch.from_numpy(BlueMarble.open().cut(lonlat.numpy()))).abs().max() <= 1
        assert (sides == FOOTPRINT_KM).all()

    def test_crops_show_their_footprint(self, picture):
        lonlat = places(200)
        x, sides = view(picture, lonlat, dataclasses.replace(NOTHING, crop_share=1.0))
        assert sides.min() >= FINEST_KM and sides.max() <= FOOTPRINT_KM and sides.std() > 20
        expected = BlueMarble.open().cut(lonlat.numpy(), footprint_km=sides.numpy())
        assert (x * 255 - torch.from_numpy(expected)).abs().max() <= 1.01

    def test_zoom_shows_its_footprint(self, picture):
        _, sides = view(picture, places(200), dataclasses.replace(NOTHING, zoom=0.6))
        assert sides.min() >= 0.6 * FOOTPRINT_KM and sides.max() <= FOOTPRINT_KM and sides.std() > 20

    def test_flip(self, picture):
        plain, _ = view(picture, places(6), NOTHING)
        flipped, _ = view(picture, places(6), dataclasses.replace(NOTHING, flip=1.0))
        torch.testing.assert_close(flipped, plain.flip(-1), atol=1.01 / 255, rtol=0)

    def test_paint_covers_a_quarter_with_the_mean(self, picture):
        plain, _ = view(picture, places(50), NOTHING)
        painted, _ = view(picture, places(50), dataclasses.replace(NOTHING, paint=1.0))
        covered = (painted - plain.mean(dim=(2, 3), keepdim=True)).abs().amax(dim=1) < 1e-6
        assert (covered.float().mean(dim=(1, 2)) >= 0.25).all()
        assert torch.equal(painted[~covered[:, None].expand_as(plain)], plain[~covered[:, None].expand_as(plain)])


class TestCutting:
    def test_it_is_what_the_blue_marble_cuts(self, picture):
        lonlat = sample_sphere(300, rng=np.random.default_rng(0))
        lonlat[:5] = [[-180, 10], [179.99, -5], [179.9, 60], [0, 89.5], [50, -89.9]]
        for side in (FOOTPRINT_KM, 100.0, 7.4, 2.56):
            expected = torch.from_numpy(BlueMarble.open().cut(lonlat, footprint_km=side))
            found = cut_patches(picture, torch.from_numpy(lonlat), torch.full((300,), side)) * 255
            assert (found - expected).abs().max() <= 1.01  # a rounding to the next level
            assert ((found - expected).abs() > 0.5).float().mean() < 0.002

    def test_a_quarter_turn(self, picture):
        sides = torch.full((50,), FOOTPRINT_KM)
        plain = cut_patches(picture, places(50), sides)
        turned = cut_patches(picture, places(50), sides, turn=torch.full((50,), math.pi / 2))
        torch.testing.assert_close(turned, torch.rot90(plain, 3, (2, 3)), atol=1.01 / 255, rtol=0)


class TestLooks:
    def test_a_plain_patch(self):
        colour = torch.tensor([0.2, 0.4, 0.6])
        described = describe(colour[None, :, None, None].expand(2, 3, 32, 32))
        assert described.shape == (2, DESCRIBED)
        torch.testing.assert_close(described[0, :48].reshape(3, 16), colour[:, None].expand(3, 16))
        torch.testing.assert_close(described[0, 48:54], colour.repeat(2))
        torch.testing.assert_close(described[0, 54:60], torch.zeros(6), atol=1e-6, rtol=0)
        torch.testing.assert_close(described[0, 60:], torch.full((2,), -math.log(255)))

    def test_the_layout_is_that_of_the_patch(self):
        patch = torch.zeros(1, 3, 32, 32)
        patch[0, 1, 8:16, 24:] = 1.0  # second row, last column of the 4×4 parts
        assert describe(patch)[0, :48].nonzero().tolist() == [[16 + 4 + 3]]


def test_relief_counts_however_faint_but_not_in_crops():
    trunk = Trunk(ImageConfig(widths=(4, 4, 8, 8), squeeze=2, features=16, contrast=True))
    seen = []
    trunk.stem.register_forward_pre_hook(lambda _module, given: seen.append(given[0]))
    faint = 0.9 + 0.05 * torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    trunk(faint, torch.tensor([FOOTPRINT_KM, FINEST_KM]))
    z = (faint[0] - faint[0].mean(dim=(1, 2), keepdim=True)) / (faint[0].std(dim=(1, 2), keepdim=True) + 0.004)
    torch.testing.assert_close(seen[0][0, 3:], z)
    assert (seen[0][1, 3:] == 0).all()


def test_config_survives_json():
    import json

    assert PairConfig.from_json(json.loads(json.dumps(dataclasses.asdict(SMALL)))) == SMALL
