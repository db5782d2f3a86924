"""NumPy arrays from files that strangers made: what the header says is checked before memory is set aside.

Owns the reading of one ``.npy`` stream. NumPy's own reader of headers leaves with whatever its parser of Python text
fails with (the fuzzer saw six kinds of error), sets memory aside for a shape that the file does not hold, and takes
negative sides. Here all of that is a :class:`ValueError` with a short sentence. Refuses Python objects.
"""

from __future__ import annotations

import io
import math
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

MOST_AXES = 8


def read_header(stream: BinaryIO) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Shape, whether in Fortran's order, and type of an array; the stream stands at its first value afterwards.

    Raises:
        ValueError: it is no header of plain numbers or texts.
    """
    try:
        version = np.lib.format.read_magic(stream)
        read = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}[version]
        shape, fortran, dtype = read(stream)
    except Exception as error:  # of Python's parser too: TokenError, RecursionError, MemoryError, …
        raise ValueError(f"its header cannot be read, {type(error).__name__}") from error
    if dtype.hasobject:
        raise ValueError("it holds Python objects, which could run code when read")
    if len(shape) > MOST_AXES or any(not 0 <= side < 1 << 40 for side in shape) or not dtype.itemsize:
        raise ValueError("its shape or type is that of no array")
    return tuple(int(side) for side in shape), bool(fortran), dtype


def read_array(content: bytes) -> NDArray[Any]:
    """The array that a ``.npy`` stream holds, as a view of its bytes: not writable.

    Raises:
        ValueError: it is none, or holds fewer values than it says.
    """
    stream = io.BytesIO(content)
    shape, fortran, dtype = read_header(stream)
    count = math.prod(shape)
    if count * dtype.itemsize > len(content) - stream.tell():
        raise ValueError("it is cut short")
    if not count:
        return np.empty(shape, dtype=dtype)
    values = np.frombuffer(content, dtype=dtype, count=count, offset=stream.tell())
    return values.reshape(shape, order="F" if fortran else "C")
