"""What differs between STAC catalogues of Sentinel-2: their address, how assets are called, signed and reached.

Owns the three catalogues known by name, the names that a band's asset has in them, and the settings of the network.
Whoever gives a URL instead of a name gets a catalogue without signing. Refuses assets that lie elsewhere than on the
web or in S3: a catalogue must not be able to name a file of this machine.

Source:
    Sentinel-2 L2A collections of the Planetary Computer, of Earth Search v1 and of the Copernicus Data Space Ecosystem:
    asset keys, and the S3 endpoint with its limit of four connections (CDSE, "Access to EO data via S3", "Quotas").
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from data.bands import L2A_BANDS
from data.errors import MissingDependencyError, PatchError, SourceError

COMMON_NAMES = (
    "coastal", "blue", "green", "red", "rededge1", "rededge2", "rededge3", "nir", "nir08", "nir09", "swir16", "swir22",
)  # fmt: skip
"""Of the twelve bands in order, as Earth Search calls its assets."""
NATIVE_GSD_M = (60, 10, 10, 10, 20, 20, 20, 10, 20, 60, 20, 20)
ASSET_KEYS: Mapping[str, tuple[str, ...]] = {
    band: (band, common, f"{band}_{gsd_m}m")
    for band, common, gsd_m in zip(L2A_BANDS, COMMON_NAMES, NATIVE_GSD_M, strict=True)
} | {"SCL": ("SCL", "scl", "SCL_20m")}
"""By band, and by SCL (scene classification): keys of the Planetary Computer, of Earth Search, and of CDSE."""


@dataclass(frozen=True)
class Network:
    """How patient to be.

    Attributes:
        timeout_s: for one request; a connection that stalls counts as failed after it.
        retries: after a first attempt, on 429, 500, 502, 503, 504 and on a broken or stalled connection.
        backoff_s: pause before the first of these; each further one is about twice as long.
    """

    timeout_s: float = 20.0
    retries: int = 3
    backoff_s: float = 1.0

    def gdal(self) -> dict[str, Any]:
        """The same as options of GDAL, which repeats requests by itself; and what spares requests for other files."""
        return {
            "GDAL_HTTP_TIMEOUT": self.timeout_s,
            "GDAL_HTTP_CONNECTTIMEOUT": self.timeout_s,
            "GDAL_HTTP_MAX_RETRY": self.retries,
            "GDAL_HTTP_RETRY_DELAY": self.backoff_s,
            "GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR",
            "GDAL_INGESTED_BYTES_AT_OPEN": 32768,
            "GDAL_HTTP_MERGE_CONSECUTIVE_RANGES": "YES",
        }


@dataclass(frozen=True)
class Api:
    """One catalogue.

    Attributes:
        url: of its landing page.
        sign: from an asset's address to one that may be read.
        gdal: options for reading its assets.
        connections: how many patches may be read at a time.
    """

    url: str
    sign: Callable[[str], str] = str
    gdal: Mapping[str, Any] = field(default_factory=dict)
    connections: int = 8


def _sign_planetary_computer(href: str) -> str:
    """Signed for about an hour; the library keeps tokens, and fetches one when it is about to run out."""
    try:
        import planetary_computer
    except ImportError as error:
        raise MissingDependencyError(
            "The Planetary Computer's assets need the package planetary-computer: pip install planetary-computer."
        ) from error
    try:
        return str(planetary_computer.sign(href))
    except Exception as error:  # of the HTTP library beneath it
        raise PatchError(f"no signature from the Planetary Computer ({type(error).__name__}). Try later.") from error


APIS: Mapping[str, Api] = {
    "planetary-computer": Api("https://planetarycomputer.microsoft.com/api/stac/v1", sign=_sign_planetary_computer),
    "earth-search": Api("https://earth-search.aws.element84.com/v1", gdal={"AWS_NO_SIGN_REQUEST": "YES"}),
    "cdse": Api(
        "https://stac.dataspace.copernicus.eu/v1",
        gdal={"AWS_S3_ENDPOINT": "eodata.dataspace.copernicus.eu", "AWS_VIRTUAL_HOSTING": "FALSE"},
        connections=4,
    ),
}
"""By name. CDSE reads with the S3 keys of a user's account, from AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY."""


def api_of(name: str) -> Api:
    """A catalogue by its name or its URL.

    Raises:
        SourceError: it is neither.
    """
    if name in APIS:
        return APIS[name]
    if name.startswith(("https://", "http://")):
        return Api(name)
    raise SourceError(f"--api: {name!r} is neither a URL nor one of {', '.join(APIS)}.")


def check_href(href: str) -> str:
    """An asset's address where it lies on the web or in S3.

    Raises:
        PatchError: it lies elsewhere.
    """
    if not href.startswith(("https://", "http://", "s3://")):
        raise PatchError(f"its asset lies at {href[:80]!r}; only https, http and s3 are read.")
    return href
