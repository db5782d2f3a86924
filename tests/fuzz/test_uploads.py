"""The fuzzer of uploads: a short run of every kind, its own guards, and what it has found so far."""

from __future__ import annotations

import io
import json
import os
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from app import mapped
from data.errors import SamewhereError
from data.npy import read_array
from data.patch import read_patch
from data.sources.safe import open_safe
from data.table import read_points, take_sample
from tools.fuzz_uploads import fuzz, generator, judge, reader
from tools.mutations import KINDS, corpus, mutate

INPUTS = {"safe": 12, "table": 60, "npz": 80}


@pytest.mark.parametrize("kind", KINDS)
def test_broken_uploads_are_refused_in_words(kind: str, tmp_path: Path) -> None:
    read = reader(kind, tmp_path)
    for number in range(INPUTS.get(kind, 150)):
        _, problems = judge(read, mutate(kind, generator(kind, 7, number)))
        assert not problems, f"python -m tools.fuzz_uploads --kinds {kind} --seed 7 --only {number}: {problems}"


@pytest.mark.parametrize("kind", KINDS)
def test_the_corpus_is_valid_and_inputs_are_the_same_on_every_run(kind: str, tmp_path: Path) -> None:
    read = reader(kind, tmp_path)
    accepted = [judge(read, content) for content in corpus(kind)]
    assert not any(problems for _, problems in accepted)
    assert sum(well for well, _ in accepted) >= len(accepted) * 3 // 4  # complex values are refused on purpose
    assert mutate(kind, generator(kind, 3, 5)) == mutate(kind, generator(kind, 3, 5))


def failing(kind: str, folder: Path) -> Callable[[bytes], Any]:
    """A reader that dies, hangs, or fails at some inputs."""
    seen = iter(range(1000))

    def read(content: bytes) -> None:
        number = next(seen)
        if number == 3:
            os.abort()
        if number == 2:
            raise KeyError("a bug")
        if number == 1:
            raise SamewhereError("refused")

    return read


def test_the_fuzzer_goes_on_behind_a_dead_process() -> None:
    tally, findings = fuzz("jpeg", seed=1, inputs=6, make=failing)
    assert (tally.inputs, tally.accepted, tally.refused) == (6, 2, 2)  # 3 kills; to the next process 4 is its first
    assert [(one.what, one.numbers) for one in findings] == [("KeyError", [2]), ("died of SIGABRT", [3])]


def npz(method: int = zipfile.ZIP_STORED, **members: Any) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as archive:
        for name, values in members.items():
            file = io.BytesIO()
            np.save(file, np.asarray(values), allow_pickle=False)
            archive.writestr(f"{name}.npy", file.getvalue())
    return out.getvalue()


def npy(header: bytes, body: bytes = b"") -> bytes:
    return b"\x93NUMPY\1\0" + len(header).to_bytes(2, "little") + header + body


PIXELS = np.random.default_rng(0).integers(1, 250, (3, 16, 16)).astype(np.uint8)
HEADERS = {
    "a statement without end": b"(" * 4000,
    "a text without end": b"'''",
    "indented": b"  1\n 2",
    "an unhashable key": b"{[]: 1}",
    "deep": b"-" * 8000 + b"1",
    "memory that is not there": b"{'descr': '|S100000', 'fortran_order': False, 'shape': (3, 4000, 4000), }",
    "a side beyond any number": b"{'descr': '<f4', 'fortran_order': False, 'shape': (0, %d), }" % 10**30,
    "negative sides": b"{'descr': '|u1', 'fortran_order': False, 'shape': (3, -16, -16), }",
    "objects": b"{'descr': '|O', 'fortran_order': False, 'shape': (3, 16, 16), }",
}


@pytest.mark.parametrize("what", sorted(HEADERS))
def test_headers_of_arrays_that_the_fuzzer_found(what: str) -> None:
    for content in (npy(HEADERS[what]), npy(HEADERS[what], bytes(768))):
        with pytest.raises(ValueError, match=r"header|objects|shape|cut short"):
            read_array(content)
        with pytest.raises(SamewhereError) as caught:
            read_patch(content)
        assert len(str(caught.value)) < 500


@pytest.mark.parametrize("dtype", ["<f4", ">i8", "|u1", "<f2", "<U3"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_arrays_are_read_as_numpy_reads_them(dtype: str, order: Any) -> None:
    file, values = io.BytesIO(), np.asarray(np.arange(24).reshape(2, 3, 4), dtype=dtype, order=order)
    np.save(file, values)
    file.seek(0)
    np.testing.assert_array_equal(read_array(file.getvalue()), np.load(file, allow_pickle=False))


@pytest.mark.parametrize("content", [
    npz(pixels=PIXELS, gsd_m=0.0), npz(pixels=PIXELS, gsd_m=np.nan), npz(pixels=PIXELS, gsd_m=[1, 2]),
    npz(pixels=PIXELS, gsd_m=1e-308), npz(pixels=PIXELS, lonlat=["a", "b"]), npz(pixels=PIXELS, lonlat=np.zeros(5000)),
    npz(pixels=PIXELS, bands=["B" * 900] * 3), npz(pixels=PIXELS, bands=["R"] * 5000),
    npz(zipfile.ZIP_LZMA, pixels=PIXELS), npz(zipfile.ZIP_BZIP2, pixels=PIXELS),
])  # fmt: skip
def test_archives_that_the_fuzzer_found(content: bytes) -> None:
    with pytest.raises(SamewhereError) as caught:
        read_patch(content)
    assert len(str(caught.value)) < 1000


def test_an_archive_with_a_name_twice_or_a_bomb_beside_its_pixels() -> None:
    good = npz(pixels=PIXELS)
    assert read_patch(good).pixels.shape == (3, 16, 16)
    out = io.BytesIO(good)
    with pytest.warns(UserWarning, match="Duplicate"), zipfile.ZipFile(out, "a") as archive:
        archive.writestr("pixels.npy", archive.read("pixels.npy"))
    with pytest.raises(SamewhereError, match="twice"):
        read_patch(out.getvalue())
    nested = io.BytesIO(good)
    with zipfile.ZipFile(nested, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("../../inner.zip", bytes(32 << 20))  # never unpacked
    assert read_patch(nested.getvalue()).pixels.shape == (3, 16, 16)


def test_complex_and_turned_geotiffs(tmp_path: Path) -> None:
    import rasterio
    from affine import Affine

    for dtype in ("complex64", "complex_int16"):
        with rasterio.MemoryFile() as memory:
            with memory.open(driver="GTiff", count=3, height=16, width=16, dtype=dtype) as file:
                file.write(PIXELS.astype("complex64"))
            with pytest.raises(SamewhereError, match="complex"):
                read_patch(memory.read())
    with rasterio.MemoryFile() as memory:
        turned = Affine(0, 10, 4e5, 10, 0, 4e6)  # rows go east, columns go north
        with memory.open(
            driver="GTiff", count=3, height=16, width=16, dtype="uint8", crs="EPSG:32654", transform=turned
        ) as file:
            file.write(PIXELS)
        assert read_patch(memory.read()).gsd_m == 10.0


def test_band_names_that_are_no_utf_8() -> None:
    import rasterio

    with rasterio.MemoryFile() as memory:
        with memory.open(driver="GTiff", count=3, height=16, width=16, dtype="uint8") as file:
            file.write(PIXELS)
            file.set_band_description(1, "a band's name")
        content = memory.read().replace(b"a band's name", b"\xff" * 13)
    with pytest.raises(SamewhereError, match="codec can't decode"):
        read_patch(content)


@pytest.mark.parametrize(("at", "body"), [(-12, b"x\0"), (33, b"x\0"), (33, b"x")])
def test_chunks_of_a_png_that_end_too_soon(at: int, body: bytes) -> None:
    out = io.BytesIO()
    Image.fromarray(PIXELS.transpose(1, 2, 0)).save(out, "PNG")
    whole, named = out.getvalue(), b"iCCP" + body
    chunk = len(body).to_bytes(4, "big") + named + zlib.crc32(named).to_bytes(4, "big")
    with pytest.raises(SamewhereError, match="damaged or cut short") as caught:
        read_patch(whole[:at] + chunk + whole[at:])
    assert " at 0x" not in str(caught.value)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"2023-07-06T01:26:59.024Z", b"0001-01-01T00:00:00+23:59"),
        (b'"UTF-8"', b'"x"'),
        (b'"UTF-8"', b'"shift_jis"'),
        (b">10000<", b">inf<"),
        (b">-1000<", b">-1e999<"),
        (b">-1000<", b">" + b"x" * 70_000 + b"<"),
    ],
)
def test_products_that_the_fuzzer_found(old: bytes, new: bytes, tmp_path: Path) -> None:
    path = tmp_path / "product.zip"
    with zipfile.ZipFile(io.BytesIO(corpus("safe")[0])) as good, zipfile.ZipFile(path, "w") as changed:
        for name in good.namelist():
            content = good.read(name)
            assert not name.endswith(".xml") or old in content
            changed.writestr(name, content.replace(old, new) if name.endswith(".xml") else content)
    with pytest.raises(SamewhereError) as caught:
        open_safe(path, patch_px=32)
    assert len(str(caught.value)) < 1000


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"lon,lat,x\xff\n1,2,3\n", "utf"),
        (b"lon,lat,lon\n1,2,3\n", "several columns"),
        (b"lon,lat," + b"x" * 9000 + b"\n1,2,3\n", "longer than"),
        (b"lon,lat" + b",a" * 6000 + b"\n", "columns"),
    ],
)
def test_tables_that_the_fuzzer_found(content: bytes, reason: str) -> None:
    with pytest.raises(SamewhereError, match=reason) as caught:
        mapped.read_upload(content)
    assert len(str(caught.value)) < 1000


def test_a_table_that_unpacks_without_end_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    monkeypatch.setattr(mapped, "MAX_UNPACKED_BYTES", 4 << 20)
    out, rows = io.BytesIO(), 1000
    zeros = np.zeros(rows)
    text = pa.array(["x" * 100_000] * rows)  # stands once in the file: 100 MB of 5 kB
    pq.write_table(pa.table({"lon": zeros, "lat": zeros, "t": text}), out, compression="zstd")
    assert len(out.getvalue()) < 1 << 20
    with pytest.raises(SamewhereError, match="unpacks to more"):
        mapped.read_upload(out.getvalue())


def test_a_class_is_no_novel(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("lon,lat,c\n" + "\n".join(f"{n},{n},{'x' * (300 if n == 5 else 1)}" for n in range(40)))
    with pytest.raises(SamewhereError, match="row 6 has 300 letters"):
        take_sample(read_points(path), "c")


def test_the_report_says_what_was_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from tools.fuzz_uploads import main

    assert main(["--kinds", "jpeg", "--inputs", "20", "--out", str(tmp_path / "r.json")]) == 0
    report = json.loads((tmp_path / "r.json").read_text())
    assert report == json.loads(capsys.readouterr().out)
    assert report["kinds"]["jpeg"]["inputs"] == 20
