"""Sentinel-2 products and MajorTOM Parquet that GDAL and Arrow write, for the tests of their readers.

A product's images are JPEG 2000 with the georeference inside, lossless; its metadata have the elements of ESA's.
"""

import zipfile

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import rasterio
from rasterio.transform import from_origin

from data.bands import L1C_BANDS, L2A_BANDS
from data.sources.safe_metadata import NATIVE_GSD_M

CRS, X, Y = "EPSG:32654", 399_960.0, 4_000_020.0
STAMP = "20230706T012659"
NAME = {level: f"S2B_MSI{level}_{STAMP}_N0509_R074_T54SUE_20230706T030000.SAFE" for level in ("L1C", "L2A")}


GRANULE = {level: f"{level}_T54SUE_A033000_{STAMP}" for level in NAME}


def image(path, values, gsd, *, crs=CRS, driver="JP2OpenJPEG", **options):
    """One band; JPEG 2000 without loss where nothing else is asked for."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if driver == "JP2OpenJPEG":
        options = {"QUALITY": 100, "REVERSIBLE": "YES", "BLOCKXSIZE": 64, "BLOCKYSIZE": 64, **options}
    height, width = values.shape
    profile = {"count": 1, "height": height, "width": width, "dtype": values.dtype, "crs": crs}
    with rasterio.open(path, "w", driver=driver, transform=from_origin(X, Y, gsd, gsd), **profile, **options) as file:
        file.write(values, 1)


def metadata(level, *, offset=-1000, quantification=10000, bands=13, images=()):
    """MTD_MSIL1C.xml or MTD_MSIL2A.xml, cut to what matters to this project's reader or to GDAL's."""
    tag, prefix = ("RADIO_ADD_OFFSET", "") if level == "L1C" else ("BOA_ADD_OFFSET", "BOA_")
    rows = "".join(
        f'<{tag} band_id="{band}">{offset - band}</{tag}>' for band in range(bands if offset is not None else 0)
    )
    offsets = f"<{tag}_LIST>{rows}</{tag}_LIST>" if rows else ""
    listed = "".join(f"<BAND_NAME>{band.replace('B0', 'B')}</BAND_NAME>" for band in L1C_BANDS)
    files = "".join(f"<IMAGE_FILE>{name}</IMAGE_FILE>" for name in images)
    return f"""<?xml version="1.0" encoding="UTF-8"?>
<n1:Level-{level[1:]}_User_Product xmlns:n1="https://psd-15.sentinel2.eo.esa.int/PSD/User_Product_Level-{level[1:]}.xsd">
  <n1:General_Info>
    <Product_Info><PRODUCT_START_TIME>2023-07-06T01:26:59.024Z</PRODUCT_START_TIME>
      <PRODUCT_URI>{NAME[level]}</PRODUCT_URI>
      <Query_Options><PRODUCT_FORMAT>SAFE_COMPACT</PRODUCT_FORMAT><Band_List>{listed}</Band_List></Query_Options>
      <Product_Organisation><Granule_List><Granule granuleIdentifier="{GRANULE[level]}" imageFormat="JPEG2000">{files}
      </Granule></Granule_List></Product_Organisation></Product_Info>
    <Product_Image_Characteristics>
      <Special_Values><SPECIAL_VALUE_TEXT>NODATA</SPECIAL_VALUE_TEXT><SPECIAL_VALUE_INDEX>0</SPECIAL_VALUE_INDEX></Special_Values>
      <QUANTIFICATION_VALUES_LIST><{prefix}QUANTIFICATION_VALUE unit="none">{quantification}</{prefix}QUANTIFICATION_VALUE>
        <AOT_QUANTIFICATION_VALUE unit="none">1000.0</AOT_QUANTIFICATION_VALUE></QUANTIFICATION_VALUES_LIST>
      {offsets}
    </Product_Image_Characteristics>
  </n1:General_Info>
</n1:Level-{level[1:]}_User_Product>"""  # noqa: E501


def write_safe(folder, level="L2A", *, side=120, seed=0, swath=None, **options):
    """A product; returns its path and its digital numbers by band (SCL among them).

    Beside each band of L2A at its own GSD lies a coarser copy of other values, which no reader should take.
    """
    rng = np.random.default_rng(seed)
    root = folder / NAME[level]
    images = root / "GRANULE" / GRANULE[level] / "IMG_DATA"
    numbers = {}
    for band in L1C_BANDS if level == "L1C" else (*L2A_BANDS, "SCL"):
        gsd = NATIVE_GSD_M.get(band, 20)
        low, high = (0, 12) if band == "SCL" else (1, 9000)
        values = rng.integers(low, high, (side * 10 // gsd,) * 2).astype(np.uint8 if band == "SCL" else np.uint16)
        if swath is not None and band != "SCL":
            values[:, swath * 10 // gsd :] = 0
        numbers[band] = values
        if level == "L1C":
            image(images / f"T54SUE_{STAMP}_{band}.jp2", values, gsd)
            continue
        image(images / f"R{gsd}m" / f"T54SUE_{STAMP}_{band}_{gsd}m.jp2", values, gsd)
        if gsd < 60:
            image(images / "R60m" / f"T54SUE_{STAMP}_{band}_60m.jp2", values[: side // 6, : side // 6] // 2, 60)
    names = [file.relative_to(root).with_suffix("").as_posix() for file in sorted(images.rglob("*.jp2"))]
    (root / f"MTD_MSI{level}.xml").write_text(metadata(level, images=names, **options))
    (images.parent / "MTD_TL.xml").write_text(tile_metadata(level, side))
    return root, numbers


def tile_metadata(level, side):
    """MTD_TL.xml: where GDAL's reader of products looks for the grid."""
    grids = "".join(
        f'<Size resolution="{gsd}"><NROWS>{side * 10 // gsd}</NROWS><NCOLS>{side * 10 // gsd}</NCOLS></Size>'
        f'<Geoposition resolution="{gsd}"><ULX>{X:.0f}</ULX><ULY>{Y:.0f}</ULY><XDIM>{gsd}</XDIM><YDIM>-{gsd}</YDIM>'
        "</Geoposition>"
        for gsd in (10, 20, 60)
    )
    return f"""<?xml version="1.0" encoding="UTF-8"?>
<n1:Level-{level[1:]}_Tile_ID xmlns:n1="https://psd-15.sentinel2.eo.esa.int/PSD/S2_PDI_Level-{level[1:]}_Tile_Metadata.xsd">
  <n1:Geometric_Info><Tile_Geocoding><HORIZONTAL_CS_NAME>WGS84 / UTM zone 54N</HORIZONTAL_CS_NAME>
    <HORIZONTAL_CS_CODE>{CRS}</HORIZONTAL_CS_CODE>{grids}</Tile_Geocoding></n1:Geometric_Info>
</n1:Level-{level[1:]}_Tile_ID>"""


def zipped(product, path):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted(product.rglob("*")):
            archive.write(file, f"{product.name}/{file.relative_to(product).as_posix()}")
    return path


def tiff_bytes(values, gsd, *, crs=CRS, x=X, y=Y):
    with rasterio.MemoryFile() as memory:
        profile = {"count": 1, "height": values.shape[0], "width": values.shape[1], "dtype": values.dtype, "crs": crs}
        with memory.open(driver="GTiff", transform=from_origin(x, y, gsd, gsd), **profile) as file:
            file.write(values, 1)
        return bytes(memory.getbuffer())


def major_tom_row(seed, *, side=120, baseline="_N0509", level="L2A", **columns):
    """A row of MajorTOM and its digital numbers by band."""
    rng = np.random.default_rng(seed)
    gsds = {band: NATIVE_GSD_M[band] for band in (L1C_BANDS if level == "L1C" else L2A_BANDS)}
    numbers = {band: rng.integers(1, 9000, (side * 10 // gsd,) * 2).astype(np.uint16) for band, gsd in gsds.items()}
    row = {
        "product_id": f"S2B_MSI{level}_{STAMP}{baseline}_R074_T54SUE_20230706T030000",
        "grid_cell": f"401U_{seed}R",
        "timestamp": "2023-07-06T01:26:59.024000+00:00",
        "cloud_mask": tiff_bytes(np.repeat([0, 1, 2, 3], side * side // 4).reshape(side, side).astype(np.uint8), 10),
        "thumbnail": b"not looked at",
        **{band: tiff_bytes(values, gsds[band]) for band, values in numbers.items()},
    }
    return {**row, **columns}, numbers


def write_major_tom(path, rows, *, rows_a_group=1):
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows), path, row_group_size=rows_a_group)
    return path
