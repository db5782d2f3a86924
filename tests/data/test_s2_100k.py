"""S2-100K: shards read in place, images, what is skipped, and what is damaged."""

import io
import json
import os
import tarfile
from pathlib import Path

import numpy as np
import pytest
import rasterio

from data.errors import PatchError, SkippedPatch, SourceError
from data.geo import great_circle_km
from data.patch import read_patch
from data.sources.base import ShardReport, read_all, shard_ranges
from data.sources.s2_100k import is_s2_100k, open_s2_100k
from data.sources.tar_offsets import offsets_of
from tests.data.geotiffs import stack_bytes, write_index, write_tar

SHARED = Path(__file__).parents[3] / "shared" / "s2"


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("SAMEWHERE_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def dataset(tmp_path):
    """An index and three shards with unpadded numbers, each of two patches, a small file and two that are no patch."""
    root = tmp_path / "s2-100k"
    for shard in (10, 2, 0):
        patches = {f"patch_{shard}{n}.tif": stack_bytes(seed=10 * shard + n) for n in (1, 0)}
        small = {f"patch_{shard}9.tif": b"II*\0" + bytes(9_995), "README.txt": b"x" * 20_000, "._patch_1.tif": b"mac"}
        write_tar(root / "data" / f"shard-{shard}.tar", patches | small)
    place = read_patch(stack_bytes()).lonlat
    write_index(root, [(f"patch_{shard}{n}.tif", *place) for shard in (0, 2, 10) for n in (0, 1, 9)])
    return root


def read(source):
    report = ShardReport()
    return {record.address: record for record in read_all(source, source.addresses, report)}, report


def test_shards_by_number_and_patches_as_they_lie(dataset):
    source = open_s2_100k(dataset)
    assert source.kind == "s2-100k"
    assert list(source.addresses) == [
        f"data/shard-{shard}.tar#patch_{shard}{n}.tif" for shard in (0, 2, 10) for n in (1, 0, 9)
    ]
    records, report = read(source)
    assert (report.read, report.failed) == (6, [])
    assert report.skipped == {"below 10,000 bytes, mostly nodata": 3}
    for address, record in records.items():
        shard, name = address.split("#")
        with tarfile.open(dataset / shard) as tar:
            expected = read_patch(tar.extractfile(name).read())
        np.testing.assert_array_equal(record.patch.pixels, expected.pixels)
        assert record.level == "L2A" and record.patch.source == address


def test_slices_give_what_the_whole_gives(dataset):
    source = open_s2_100k(dataset)
    whole, _ = read(source)
    parts = [
        record.address
        for part in shard_ranges(len(source.addresses), 4)
        for record in read_all(open_s2_100k(dataset), source.addresses[part.start : part.stop], ShardReport())
    ]
    assert parts == list(whole)


def test_a_single_shard_has_the_addresses_of_its_dataset(dataset):
    one = open_s2_100k(dataset / "data" / "shard-2.tar")
    assert list(one.addresses) == [a for a in open_s2_100k(dataset).addresses if "shard-2.tar" in a]
    assert one.root == dataset


def test_the_index_gives_the_place(tmp_path):
    content = stack_bytes()
    lon, lat = read_patch(content).lonlat
    write_tar(tmp_path / "shard-0.tar", {"./images/patch_1.tif": content})
    write_index(tmp_path, [("patch_1.tif", lon + 0.001, lat)])
    records, _ = read(open_s2_100k(tmp_path))
    assert list(records) == ["shard-0.tar#images/patch_1.tif"]
    assert records["shard-0.tar#images/patch_1.tif"].patch.lonlat == pytest.approx((lon + 0.001, lat))


def test_offsets_are_built_once_and_agree_with_tarfile(dataset, home, monkeypatch):
    shard = dataset / "data" / "shard-0.tar"
    with tarfile.open(shard) as tar:
        expected = [(m.name, m.offset_data, m.size) for m in tar if m.isreg()]
    built = offsets_of(shard)
    assert built.members == expected and built.damage == []
    (kept,) = (home / "tar-offsets").iterdir()
    with monkeypatch.context() as patched:
        patched.setattr(tarfile.TarFile, "next", lambda _: pytest.fail("the archive was walked again"))
        assert offsets_of(shard) == built
    kept.write_text(kept.read_text()[:-20])  # half written by somebody else
    assert offsets_of(shard) == built
    assert json.loads(kept.read_text())["size"] == shard.stat().st_size
    write_tar(shard, {"other.tif": stack_bytes()})  # another archive under the same name
    os.utime(shard, ns=(1, 1))
    assert [name for name, *_ in offsets_of(shard).members] == ["other.tif"]


def test_a_home_that_cannot_be_written(dataset, home):
    home.write_text("a file where the folder should be")
    assert len(open_s2_100k(dataset).addresses) == 9


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_long_names_folders_and_replaced_members(tmp_path, form):
    name = f"images/{'x' * 90}/patch_1.tif" if form == tarfile.USTAR_FORMAT else f"{'ø' * 120}/patch_1.tif"
    path = write_tar(tmp_path / "shard-0.tar", {"patch_2.tif": b"old", name: stack_bytes(seed=1)}, format=form)
    with tarfile.open(path, "a", format=form) as tar:
        folder = tarfile.TarInfo("images")
        folder.type = tarfile.DIRTYPE
        tar.addfile(folder)
        info = tarfile.TarInfo("patch_2.tif")
        info.size = len(content := stack_bytes(seed=2))
        tar.addfile(info, io.BytesIO(content))
    source = open_s2_100k(tmp_path)
    assert list(source.addresses) == [f"shard-0.tar#{name}", "shard-0.tar#patch_2.tif"]
    np.testing.assert_array_equal(
        source.read("shard-0.tar#patch_2.tif").patch.pixels, read_patch(stack_bytes(seed=2)).pixels
    )


def test_a_damaged_header_costs_the_patch_behind_it(tmp_path):
    path = write_tar(tmp_path / "shard-0.tar", {f"patch_{n}.tif": stack_bytes(seed=n) for n in range(4)})
    _, start, size = offsets_of(path).members[1]
    content = bytearray(path.read_bytes())
    content[start - 512 : start] = np.random.default_rng(0).bytes(512)
    path.write_bytes(content)
    os.utime(path, ns=(1, 1))
    records, report = read(open_s2_100k(tmp_path))
    assert [address.split("#")[1] for address in records] == ["patch_0.tif", "patch_2.tif", "patch_3.tif"]
    (failure,) = report.failed
    assert failure.address == f"shard-0.tar#byte {start - 512}"
    assert f"{512 + -(-size // 512) * 512:,} bytes" in failure.reason and "Remove shard-0.tar" in failure.reason


def test_a_damaged_member_costs_itself(tmp_path):
    path = write_tar(
        tmp_path / "shard-0.tar", {f"patch_{n}.tif": stack_bytes(seed=n, compress="deflate") for n in (0, 1)}
    )
    _, start, size = offsets_of(path).members[0]
    content = bytearray(path.read_bytes())
    content[start + 100 : start + size] = bytes([7]) * (size - 100)
    path.write_bytes(content)
    records, report = read(open_s2_100k(tmp_path))
    assert list(records) == ["shard-0.tar#patch_1.tif"]
    assert [failure.address for failure in report.failed] == ["shard-0.tar#patch_0.tif"]
    assert "damaged or cut short" in report.failed[0].reason


@pytest.mark.parametrize("where", ["within", "between", "header"])
def test_a_shard_that_is_cut_short(tmp_path, where):
    path = write_tar(tmp_path / "shard-0.tar", {f"patch_{n}.tif": stack_bytes(seed=n) for n in range(3)})
    _, start, size = offsets_of(path).members[1]
    cut = {"within": start + size // 2, "between": start + -(-size // 512) * 512, "header": start - 300}[where]
    os.truncate(path, cut)
    records, report = read(open_s2_100k(tmp_path))
    (failure,) = report.failed
    assert len(records) == {"within": 1, "between": 2, "header": 1}[where]
    words = "ends within this patch" if where == "within" else "ends before its end"
    assert words in failure.reason and "download it again" in failure.reason


def test_what_is_no_shard_gets_a_sentence(tmp_path):
    (tmp_path / "shard-0.tar").write_bytes(b"\x1f\x8b" + bytes(1000))
    with pytest.raises(SourceError, match=r"shard-0\.tar: not a plain tar archive"):
        open_s2_100k(tmp_path)
    (tmp_path / "shard-0.tar").unlink()
    with pytest.raises(SourceError, match=r"no patch of S2-100K there .*data pull s2-100k"):
        open_s2_100k(tmp_path)


def test_images_unpacked(tmp_path):
    (tmp_path / "images").mkdir()
    place = read_patch(stack_bytes()).lonlat
    files = {"patch_2.tif": stack_bytes(), "patch_1.tif": bytes(9_999), "patch_3.tif": stack_bytes(bands=13)}
    for name, content in files.items():
        (tmp_path / "images" / name).write_bytes(content)
    write_index(tmp_path, [(name, *place) for name in files] + [("patch_4.tif", *place)])
    assert is_s2_100k(tmp_path)
    source = open_s2_100k(tmp_path)
    assert list(source.addresses) == ["images/patch_1.tif", "images/patch_2.tif", "images/patch_3.tif"]
    with pytest.raises(SkippedPatch):
        source.read("images/patch_1.tif")
    with pytest.raises(PatchError, match="more than the 12 of L2A"):
        source.read("images/patch_3.tif")
    (tmp_path / "images" / "patch_2.tif").unlink()
    with pytest.raises(PatchError, match=r"patch_2\.tif: cannot be read"):
        source.read("images/patch_2.tif")
    with pytest.raises(PatchError, match="no such patch"):
        source.read("images/patch_7.tif")


def test_a_missing_band_is_named(tmp_path):
    names = ["B01", "B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B11", "B12"]
    path = tmp_path / "a.tif"
    path.write_bytes(stack_bytes(bands=11))
    with rasterio.open(path, "r+") as file:
        file.descriptions = names
    write_tar(tmp_path / "shard-0.tar", {"a.tif": path.read_bytes()})
    with pytest.raises(PatchError, match=r"shard-0\.tar#a\.tif: bands B01.*: B09 missing"):
        open_s2_100k(tmp_path).read("shard-0.tar#a.tif")


def test_a_member_of_absurd_size_is_refused_before_it_is_read(tmp_path, monkeypatch):
    for module in ("data.patch", "data.sources.folder", "data.sources.s2_100k"):
        monkeypatch.setattr(f"{module}.MAX_BYTES", 50_000)
    write_tar(tmp_path / "shard-0.tar", {"a.tif": stack_bytes()})
    with pytest.raises(PatchError, match="are more than"):
        open_s2_100k(tmp_path).read("shard-0.tar#a.tif")


@pytest.mark.shared
@pytest.mark.skipif(not SHARED.exists(), reason="needs the real Sentinel-2 patches beside the checkout")
def test_the_real_patches_from_a_shard_and_from_the_folder_are_the_same(tmp_path):
    files = sorted(SHARED.glob("*.tif"))
    assert files
    write_tar(tmp_path / "data" / "shard-00000.tar", {file.name: file.read_bytes() for file in files})
    (tmp_path / "index.csv").write_bytes((SHARED / "index.csv").read_bytes())
    records, report = read(open_s2_100k(tmp_path))
    assert (report.read, report.failed, report.skipped) == (len(files), [], {})
    for record, file in zip(records.values(), files, strict=True):
        expected = read_patch(file)
        np.testing.assert_array_equal(record.patch.pixels, expected.pixels)
        assert great_circle_km(record.patch.lonlat, expected.lonlat) < 0.1
        assert record.patch.gsd_m == 10 and record.level == "L2A"
