"""The catalogue: the light columns of a snapshot in one DuckDB file, without vectors or pictures.

Owns every use of DuckDB. While one process writes a DuckDB file, others cannot even read it; so the catalogue is
written once, inside the build, and only ever opened read-only afterwards, by as many processes as like. DuckDB is kept
from looking for extensions: the catalogue needs none, and there may be no network.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from data.errors import IndexStoreError
from indexer.rows import METADATA
from indexer.snapshot import CATALOGUE, KINDS

_OFFLINE: dict[str, Any] = {"autoinstall_known_extensions": False, "autoload_known_extensions": False}


def write_catalogue(directory: Path) -> None:
    """Write the catalogue of the row files in a directory."""
    try:
        with duckdb.connect(str(directory / CATALOGUE), config=_OFFLINE) as connection:
            for kind in KINDS:
                # names come from the constants above; the one outside value, the path, is a parameter
                connection.execute(
                    f"CREATE TABLE {kind} AS SELECT file_row_number AS row, {', '.join(METADATA)} "  # noqa: S608
                    "FROM read_parquet(?, file_row_number = true) ORDER BY row",
                    [str(directory / f"{kind}.parquet")],
                )
    except duckdb.IOException as error:
        raise OSError(f"DuckDB: {error}") from error
    with (directory / CATALOGUE).open("rb+") as file:
        os.fsync(file.fileno())


def read_catalogue(directory: Path) -> dict[str, pa.Table]:
    """The light columns of both kinds of rows, in row order.

    Raises:
        IndexStoreError: the file is damaged.
    """
    try:
        with duckdb.connect(str(directory / CATALOGUE), read_only=True, config=_OFFLINE) as connection:
            return {
                kind: connection.table(kind).order("row").project(", ".join(METADATA)).to_arrow_table()
                for kind in KINDS
            }
    except duckdb.Error as error:
        raise IndexStoreError(f"{directory / CATALOGUE} cannot be read: {error}. Rebuild the index.") from error
