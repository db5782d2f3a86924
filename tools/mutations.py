"""Small valid uploads of every kind, and ways to break them that keep enough of their structure to get far.

Owns the corpus of the fuzzer (:mod:`tools.fuzz_uploads`) and its mutations. Random bytes die at the first magic number;
so tags, offsets and counts of a TIFF, chunks of a PNG with their checksums made right again, segments of a JPEG,
headers of NumPy arrays, and the records and members of zip archives are changed one by one. Everything is drawn from
the generator that is given: the same seed and number give the same input.
"""

from __future__ import annotations

import io
import random
import struct
import tempfile
import zipfile
import zlib
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np

INTERESTING = (0, 1, 2, 3, 7, 8, 12, 13, 16, 255, 256, 32767, 65535, 65536, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)
NAMES = (
    "../../escape.npy",
    "/etc/passwd",
    "pixels.npy",
    "bands.npy",
    "lonlat.npy",
    "gsd_m.npy",
    "\\\\x\\y",
    "",
    "a" * 300,
)
KINDS = ("tiff", "png", "jpeg", "npy", "npz", "safe", "table")
SIDE = 16


def mutate(kind: str, rng: random.Random) -> bytes:
    """One input: a seed of a kind, changed in one to four ways."""
    seeds = corpus(kind)
    content = rng.choice(seeds)
    for _ in range(rng.choice((1, 1, 1, 2, 2, 3, 4))):
        change = _STRUCTURED[kind] if rng.random() < 0.8 else _bytes
        try:
            content = change(content, rng)
        except Exception:  # it is broken too much for its own structure
            content = _bytes(content, rng)
    return content


@cache
def corpus(kind: str) -> tuple[bytes, ...]:
    """The seeds of a kind, all valid."""
    return tuple(_CORPORA[kind]())


def _bytes(content: bytes, rng: random.Random) -> bytes:
    """Without regard to any structure: bits, numbers, pieces doubled, dropped, or moved, the end cut off."""
    data = bytearray(content or b"\0")
    at = rng.randrange(len(data))
    how = rng.randrange(6)
    if how == 0:
        for _ in range(rng.choice((1, 1, 2, 8))):
            data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    elif how == 1:
        size = rng.choice((1, 2, 4, 8))
        number = (rng.choice(INTERESTING) % (1 << 8 * size)).to_bytes(size, rng.choice(("little", "big")))
        data[at : at + size] = number
    elif how == 2:
        del data[at:]
    elif how == 3:
        del data[at : at + rng.randrange(1, 40)]
    elif how == 4:
        data[at:at] = data[at : at + rng.randrange(1, 40)] * rng.choice((1, 1, 20))
    else:
        data[at : at + 8] = rng.randbytes(8)
    return bytes(data)


def _tiff(content: bytes, rng: random.Random) -> bytes:
    """An entry of the directory: its tag, type, count, value, or what it points to."""
    order = "<" if content[:2] == b"II" else ">"
    big = content[2:4] in (b"\x2b\0", b"\0\x2b")
    data = bytearray(content)
    (start,) = struct.unpack_from(order + ("Q" if big else "I"), data, 8 if big else 4)
    (count,) = struct.unpack_from(order + ("Q" if big else "H"), data, start)
    first, size = start + (8 if big else 2), 20 if big else 12
    wide = "Q" if big else "I"
    entry = first + size * rng.randrange(min(count, 64))
    tag, sort, values, value = struct.unpack_from(order + "HH" + wide * 2, data, entry)
    how, most = rng.randrange(8), 1 << (64 if big else 32)
    if how == 0:
        tag = rng.choice((tag ^ 1, 256, 257, 258, 259, 262, 277, 278, 284, 317, 322, 323, 324, 325, 330, 338, 339, 347))
        tag = rng.choice((tag, 33550, 33922, 34264, 34735, 34736, 34737, 42112, 42113, 50674, rng.randrange(65536)))
    elif how == 1:
        sort = rng.choice((0, 1, 2, 3, 4, 5, 9, 11, 12, 13, 16, 17, 255))
    elif how == 2:
        values = rng.choice((*INTERESTING, values + 1, values - 1, most - 1)) % most
    elif how in (3, 4):
        value = rng.choice((*INTERESTING, value + 1, value - 1, len(data), start, most - 1)) % most
    elif how == 5 and 0 < value < len(data):  # what the entry points to
        at = min(len(data) - 8, value + rng.randrange(0, 256))
        struct.pack_into(order + rng.choice("dQIH"), data, at, rng.choice(INTERESTING[:13]))
    elif how == 6 and 0 < value < len(data) - 8:
        struct.pack_into(order + "d", data, value, rng.choice((float("nan"), float("inf"), -1e308, 1e-308, 400.0, 0.0)))
    else:  # the next directory
        after = first + size * count
        struct.pack_into(order + wide, data, after, rng.choice((start, 8, len(data), most - 1)))
    struct.pack_into(order + "HH" + wide * 2, data, entry, tag % 65536, sort, values, value)
    return bytes(data)


def _png(content: bytes, rng: random.Random) -> bytes:
    """A chunk: changed, doubled, dropped, moved, or a new one; checksums are right afterwards."""
    chunks, at = [], 8
    while at + 8 <= len(content):
        (size,) = struct.unpack_from(">I", content, at)
        chunks.append((content[at + 4 : at + 8], content[at + 8 : at + 8 + size]))
        at += 12 + size
    number = rng.randrange(len(chunks))
    name, data = chunks[number]
    how = rng.randrange(7)
    if how == 0:
        chunks[number] = name, _bytes(data, rng)
    elif how == 1:
        chunks.insert(rng.randrange(len(chunks)), (name, data))
    elif how == 2:
        del chunks[number]
    elif how == 3:
        rng.shuffle(chunks)
    elif how == 4:
        head = bytearray(chunks[0][1].ljust(13, b"\0"))
        if rng.random() < 0.5:
            struct.pack_into(">I", head, rng.choice((0, 4)), rng.choice(INTERESTING))
        else:
            head[8 + rng.randrange(5)] = rng.choice((0, 1, 2, 3, 4, 6, 8, 16, 255))
        chunks[0] = chunks[0][0], bytes(head)
    elif how == 5:
        packed = _zeros(rng.choice((10, 1 << 16, 1 << 22)))
        new = rng.choice(
            (
                (b"zTXt", b"a\0\0" + packed),
                (b"iTXt", b"a\0\1\0\0\0" + packed),
                (b"iCCP", b"a\0\0" + packed),
                (b"tEXt", b"a" * rng.choice((0, 1, 80, 100))),
                (b"tRNS", rng.randbytes(rng.choice((0, 1, 2, 6, 256, 300)))),
                (b"PLTE", rng.randbytes(rng.choice((0, 3, 4, 768, 900)))),
                (b"acTL", struct.pack(">II", rng.choice(INTERESTING), 0)),
                (b"fcTL", struct.pack(">IIIIIHHBB", 0, *rng.choices(INTERESTING, k=4), 1, 1, 0, 0)),
                (b"fdAT", b"\0\0\0\1" + packed),
                (b"eXIf", b"II*\0" + rng.randbytes(rng.choice((0, 4, 40)))),
                (
                    rng.choice((b"pHYs", b"gAMA", b"cHRM", b"sRGB", b"bKGD", b"tIME", b"hIST")),
                    rng.randbytes(rng.randrange(9)),
                ),
            )
        )
        chunks.insert(rng.randrange(len(chunks) + 1), new)
    else:
        pixels = [i for i, chunk in enumerate(chunks) if chunk[0] == b"IDAT"]
        raw = zlib.decompress(chunks[pixels[0]][1])
        chunks[pixels[0]] = b"IDAT", zlib.compress(_bytes(raw, rng))
    crc = [zlib.crc32(name + data) for name, data in chunks]
    if rng.random() < 0.05:
        crc[rng.randrange(len(crc))] ^= 1
    return content[:8] + b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", one)
        for (name, data), one in zip(chunks, crc, strict=True)
    )


def _jpeg(content: bytes, rng: random.Random) -> bytes:
    """A segment before the picture's data: changed, doubled, dropped, moved, of a wrong length, or a new one."""
    segments, at = [], 2
    while at + 4 <= len(content) and content[at] == 0xFF and content[at + 1] != 0xDA:
        (size,) = struct.unpack_from(">H", content, at + 2)
        segments.append((content[at + 1], content[at + 4 : at + 2 + size]))
        at += 2 + size
    rest = content[at:]
    number = rng.randrange(len(segments))
    marker, data = segments[number]
    how, lie = rng.randrange(6), 0
    if how == 0:
        segments[number] = marker, _bytes(data, rng)
    elif how == 1:
        segments.insert(rng.randrange(len(segments)), (marker, data))
    elif how == 2:
        del segments[number]
    elif how == 3:
        rng.shuffle(segments)
    elif how == 4:
        exif = (
            b"Exif\0\0"
            + rng.choice((b"II*\0\x08\0\0\0", b"MM\0*\0\0\0\x08"))
            + rng.randbytes(rng.choice((0, 2, 14, 60)))
        )
        mpf = b"MPF\0II*\0\x08\0\0\0" + rng.randbytes(rng.choice((0, 14, 60)))
        new = rng.choice(
            (
                (0xE1, exif),
                (0xE2, mpf),
                (0xE2, b"ICC_PROFILE\0" + rng.randbytes(4)),
                (0xEE, b"Adobe" + rng.randbytes(7)),
            )
        )
        kind = rng.choice((0xC0, 0xC1, 0xC2, 0xC3, 0xC9, 0xCC, 0xD8, 0xDD, 0xFE))
        segments.insert(rng.randrange(len(segments) + 1), rng.choice((new, (kind, rng.randbytes(rng.randrange(20))))))
    else:
        lie = rng.choice((-2, -1, 1, 2, 1000))
    out = bytearray(content[:2])
    for place, (marker, data) in enumerate(segments):
        size = (len(data) + 2 + (lie if place == number else 0)) % 65536
        out += bytes((0xFF, marker)) + struct.pack(">H", size) + data
    return bytes(out) + (rest if rng.random() < 0.8 else _bytes(rest, rng))


def _npy(content: bytes, rng: random.Random) -> bytes:
    """The header: another shape, type or order, text that is none, a version or length that lies."""
    version = content[6:8]
    wide = 2 if version == b"\1\0" else 4
    size = int.from_bytes(content[8 : 8 + wide], "little")
    header, body = content[8 + wide : 8 + wide + size], content[8 + wide + size :]
    how = rng.randrange(6)
    if how < 3:
        descr = rng.choice(
            (
                "'<f4'",
                "'|u1'",
                "'<u2'",
                "'>i8'",
                "'<f8'",
                "'<f2'",
                "'<c16'",
                "'|O'",
                "'<U9'",
                "'|S100000'",
                "'|V1000'",
                "'<M8[s]'",
            )
        )
        if rng.random() < 0.2:
            descr = rng.choice(
                ("[('a', '<f4')]", "[('a', '|O')]", "'<f4,<f4'", "('<f4', (3, 3))", "'<g16'", "[]", "None", "'?'")
            )
        sides = [
            str(rng.choice((*INTERESTING, SIDE, SIDE, SIDE, -1, 10**30)))
            for _ in range(rng.choice((0, 1, 2, 3, 3, 3, 3, 4, 40)))
        ]
        if rng.random() < 0.5:
            sides = ["3", str(SIDE), str(SIDE)]
        shape = "(" + ", ".join(sides) + ("," if len(sides) == 1 else "") + ")"
        order = rng.choice(("True", "False", "None", "2"))
        header = f"{{'descr': {descr}, 'fortran_order': {order}, 'shape': {shape}, }}".encode().ljust(117) + b"\n"
    elif how == 3:
        header = _bytes(header, rng)
    elif how == 4:
        header = rng.choice(
            (
                b"(" * 5000,
                b"{'a': [" * 900,
                b"{[]: 1}",
                b"'''",
                b"  1\n 2",
                b"1" * 9000,
                b"{'shape'",
                b"\0",
                b"",
                b"-" * 8000 + b"1",
            )
        )
    else:
        version = bytes((rng.choice((0, 1, 2, 3, 4, 255)), rng.choice((0, 0, 1))))
    wide = 2 if version == b"\1\0" else 4
    length = len(header) if rng.random() < 0.9 else rng.choice(INTERESTING)
    return b"\x93NUMPY" + version + (length % (1 << 8 * wide)).to_bytes(wide, "little") + header + body


def _npz(content: bytes, rng: random.Random) -> bytes:
    """A member's content, name or packing; or the archive's records."""
    if rng.random() < 0.4:
        return _records(content, rng)
    members = _members(content)
    name = rng.choice(list(members))
    how = rng.randrange(4)
    if how == 0:
        members[name] = _npy(members[name], rng)
    elif how == 1:
        members[rng.choice(NAMES)] = members.pop(name)
    elif how == 2:
        members[name] = rng.choice(
            (bytes(1 << 16), b"", _npz_of({"x.npy": members[name]}, rng), _array(np.full(3, np.nan)))
        )
    else:
        members["gsd_m.npy"] = _array(np.array(rng.choice((-1.0, 0.0, np.nan, np.inf, 1e308, 10.0, [1, 2]))))
        members["bands.npy"] = _array(
            np.array(rng.choice((["R"] * 3, ["R", "G", "B"], [["B04"], ["B03"], ["B02"]], [], ["é" * 99])))
        )
    return _npz_of(members, rng)


def _safe(content: bytes, rng: random.Random) -> bytes:
    """A product's metadata, its file names, an image, or the archive's records."""
    if rng.random() < 0.3:
        return _records(content, rng)
    members = _members(content)
    text = next((name for name in members if name.endswith(".xml")), "")
    how = rng.randrange(5)
    if how == 0:
        members[text] = _bytes(members[text], rng)
    elif how == 1:
        old, new = rng.choice(
            (
                (b"10000", rng.choice((b"nan", b"inf", b"0", b"-1", b"1e400", b"", b"x"))),
                (
                    b"2023-07-06T01:26:59.024Z",
                    rng.choice((b"0001-01-01T00:00:00+23:59", b"9999-12-31T23:59:59-23:59", b"x", b"")),
                ),
                (b'"UTF-8"', rng.choice((b'"UTF-7"', b'"UTF-16"', b'"cp037"', b'"x"', b'"shift_jis"'))),
                (b'band_id="', rng.choice((b'band_id="-', b'band_id="9', b'band_id="\xc2\xb2'))),
                (b">-1", rng.choice((b">nan", b">inf", b">1e309"))),
                (b"<n1:General_Info>", b"<n1:General_Info>" + b"<a>" * 20000),
                (b"?>", b'?><!DOCTYPE a [<!ENTITY b "' + b"x" * 999 + b'"><!ENTITY c "' + b"&b;" * 999 + b'">]>'),
                (b"?>", b'?><!DOCTYPE a [<!ENTITY b SYSTEM "file:///etc/passwd">]>'),
            )
        )
        members[text] = members[text].replace(old, new, rng.choice((1, 99)))
    elif how == 2:
        image = rng.choice([name for name in members if name.endswith(".jp2")])
        members[image] = _bytes(members[image], rng)
    elif how == 3:
        name = rng.choice(list(members))
        members[
            rng.choice(("../" + name, "/" + name, name.replace("B0", "B9"), name + "/x", name.replace("/", "\\")))
        ] = members.pop(name)
    else:
        members.pop(rng.choice(list(members)))
    return _npz_of(members, rng)


def _table(content: bytes, rng: random.Random) -> bytes:
    """A cell of a CSV; of a Parquet file, its footer."""
    if content[:4] == b"PAR1":
        at = int.from_bytes(content[-8:-4], "little")
        foot = _bytes(content[-8 - at : -8], rng)
        if rng.random() < 0.3:
            return _bytes(content, rng)
        return content[: -8 - at] + foot + len(foot).to_bytes(4, "little") + b"PAR1"
    rows = [line.split(b",") for line in content.split(b"\n")]
    row = rng.choice(rows)
    row[rng.randrange(len(row))] = rng.choice(
        (
            b"",
            b"nan",
            b"inf",
            b"1e400",
            b"-",
            b'"',
            b"9" * 500,
            b"\xff\xfe",
            b"\0",
            b"lon",
            b"true",
            b"2021-01-01",
            b"x" * 9000,
        )
    )
    return b"\n".join(b",".join(row) for row in rows)


def _records(content: bytes, rng: random.Random) -> bytes:
    """A field of one of a zip archive's records: sizes, offsets, methods, flags, lengths of names."""
    data = bytearray(content)
    magic, length = rng.choice(((b"PK\1\2", 46), (b"PK\3\4", 30), (b"PK\5\6", 22)))
    places, at = [], data.find(magic)
    while at >= 0:
        places.append(at)
        at = data.find(magic, at + 1)
    field = rng.choice(places) + rng.randrange(4, length)
    size = rng.choice((1, 2, 4))
    data[field : field + size] = (rng.choice((*INTERESTING, 14, 99)) % (1 << 8 * size)).to_bytes(size, "little")
    return bytes(data)


@cache
def _zeros(size: int) -> bytes:
    return zlib.compress(bytes(size))


def _members(content: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return {one.filename: archive.read(one) for one in archive.infolist() if one.file_size < 1 << 22}


def _npz_of(members: dict[str, bytes], rng: random.Random) -> bytes:
    out = io.BytesIO()
    methods = (zipfile.ZIP_STORED,) * 4 + (zipfile.ZIP_DEFLATED,) * 5 + (zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)
    with zipfile.ZipFile(out, "w", rng.choice(methods)) as archive:
        for name, content in members.items():
            archive.writestr(zipfile.ZipInfo(name), content, archive.compression)
            if rng.random() < 0.02:
                archive.writestr(zipfile.ZipInfo(name), b"")  # a name twice
    return out.getvalue()


def _array(values: np.ndarray[tuple[int, ...], np.dtype[np.generic]]) -> bytes:
    out = io.BytesIO()
    np.save(out, values, allow_pickle=False)
    return out.getvalue()


def _pixels(count: int, dtype: str) -> np.ndarray[tuple[int, ...], np.dtype[np.generic]]:
    values = np.random.default_rng(count).integers(1, 250, (count, SIDE, SIDE))
    return (values / 255 if dtype[0] == "f" else values * (1 if dtype == "uint8" else 30)).astype(dtype)


def _tiffs() -> list[bytes]:
    import rasterio
    from rasterio.transform import from_origin

    out = []
    places = (
        (None, None),
        ("EPSG:4326", from_origin(12, 41, 1e-4, 1e-4)),
        ("EPSG:32654", from_origin(4e5, 4e6, 10, 10)),
    )
    options: tuple[dict[str, object], ...] = (
        {},
        {"compress": "deflate", "predictor": 2},
        {"compress": "lzw", "tiled": True, "blockxsize": 16, "blockysize": 16},
        {"compress": "packbits", "interleave": "band"},
        {"bigtiff": "yes", "endianness": "big"},
        {"compress": "zstd", "nodata": 0},
        {"compress": "jpeg"},
        {"endianness": "big"},
    )
    for number, extra in enumerate(options):
        for count, dtype in ((3, "uint8"), (12, "uint16"), (13, "uint16"), (3, "float32"), (3, "complex64")):
            if (extra.get("compress") == "jpeg" and dtype != "uint8") or (extra.get("predictor") and dtype[0] in "fc"):
                continue
            crs, transform = places[number % 3]
            with rasterio.MemoryFile() as memory:
                profile = {"driver": "GTiff", "count": count, "height": SIDE, "width": SIDE, "dtype": dtype}
                with memory.open(**profile, crs=crs, transform=transform, **extra) as file:
                    file.write(_pixels(count, dtype.replace("complex64", "float32")).astype(dtype))
                    file.update_tags(datetime="2021-06-30T10:00:00")
                    if count == 3 and number % 2:
                        for band, name in enumerate(("B04", "B03", "B02"), 1):
                            file.set_band_description(band, name)
                out.append(bytes(memory.read()))
    return out


def _pictures(form: str) -> Callable[[], list[bytes]]:
    def make() -> list[bytes]:
        from PIL import Image

        out = []
        modes = ("RGB", "RGBA", "P", "L", "LA", "1", "I;16") if form == "PNG" else ("RGB", "L", "CMYK")
        for mode in modes:
            rgb = Image.fromarray(np.moveaxis(_pixels(3, "uint8"), 0, -1))
            picture = rgb.convert("L").convert("I;16") if mode == "I;16" else rgb.convert(mode)
            for extra in ({"progressive": True}, {"quality": 60}) if form == "JPEG" else ({}, {"compress_level": 0}):
                file = io.BytesIO()
                picture.save(file, form, **extra)
                out.append(file.getvalue())
        return out

    return make


def _npys() -> list[bytes]:
    return [_array(_pixels(*how)) for how in ((3, "uint8"), (12, "uint16"), (13, "float32"), (3, "float64"))]


def _npzs() -> list[bytes]:
    rng, place, names = random.Random(0), _array(np.array([12.0, 41.0])), _array(np.array(["B04", "B03", "B02"]))
    some = {"bands.npy": names, "lonlat.npy": place, "gsd_m.npy": _array(np.array(10.0))}
    return [
        _npz_of({"pixels.npy": content} | (some if number % 3 == 0 else {}), rng)
        for number, content in enumerate(_npys())
    ]


def _safes() -> list[bytes]:
    """Products of both levels, cut to what the reader looks at: metadata, and an image of each band."""
    import rasterio
    from rasterio.transform import from_origin

    from data.bands import L1C_BANDS, L2A_BANDS
    from data.sources.safe_metadata import NATIVE_GSD_M

    out = []
    with tempfile.TemporaryDirectory() as folder:
        for level, bands in (("L1C", L1C_BANDS), ("L2A", (*L2A_BANDS, "SCL"))):
            tag = "RADIO_ADD_OFFSET" if level == "L1C" else "BOA_ADD_OFFSET"
            scale = "QUANTIFICATION_VALUE" if level == "L1C" else "BOA_QUANTIFICATION_VALUE"
            offsets = "".join(f'<{tag} band_id="{band}">-1000</{tag}>' for band in range(13))
            text = (
                f'<?xml version="1.0" encoding="UTF-8"?><n1:P xmlns:n1="p"><n1:General_Info><PRODUCT_START_TIME>'
                f"2023-07-06T01:26:59.024Z</PRODUCT_START_TIME><{scale}>10000</{scale}>{offsets}</n1:General_Info></n1:P>"
            )
            members = {f"X.SAFE/MTD_MSI{level}.xml": text.encode()}
            for band in bands:
                gsd = NATIVE_GSD_M.get(band, 20)
                path = Path(folder) / f"{level}{band}.jp2"
                values = np.random.default_rng(gsd).integers(1, 12 if band == "SCL" else 9000, (600 // gsd,) * 2)
                values = values.astype(np.uint8 if band == "SCL" else np.uint16)
                profile = {"driver": "JP2OpenJPEG", "count": 1, "height": len(values), "width": len(values)}
                place = {"crs": "EPSG:32654", "transform": from_origin(399_960.0, 4_000_020.0, gsd, gsd)}
                with rasterio.open(path, "w", dtype=values.dtype, **profile, **place) as file:
                    file.write(values, 1)
                where = f"IMG_DATA/T_{band}.jp2" if level == "L1C" else f"IMG_DATA/R{gsd}m/T_{band}_{gsd}m.jp2"
                members[f"X.SAFE/GRANULE/G/{where}"] = path.read_bytes()
            out.append(_npz_of(members, random.Random(0)))
    return out


def _tables() -> list[bytes]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    rng = np.random.default_rng(3)
    lon, lat = rng.uniform(-180, 180, 30), rng.uniform(-90, 90, 30)
    table = pa.table({"lon": lon, "lat": lat, "x": lon * lat, "class": ["a", "b", "c"] * 10})
    out = [b"lon,lat,x\n" + b"\n".join(f"{x},{y},{x * y}".encode() for x, y in zip(lon, lat, strict=True))]
    for packing in ("none", "snappy", "zstd"):
        file = io.BytesIO()
        pq.write_table(table, file, compression=packing)
        out.append(file.getvalue())
    return out


_STRUCTURED: dict[str, Callable[[bytes, random.Random], bytes]] = {
    "tiff": _tiff,
    "png": _png,
    "jpeg": _jpeg,
    "npy": _npy,
    "npz": _npz,
    "safe": _safe,
    "table": _table,
}
_CORPORA: dict[str, Callable[[], list[bytes]]] = {
    "tiff": _tiffs,
    "png": _pictures("PNG"),
    "jpeg": _pictures("JPEG"),
    "npy": _npys,
    "npz": _npzs,
    "safe": _safes,
    "table": _tables,
}
