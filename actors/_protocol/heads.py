"""What CBOR values begin with (RFC 8949, 3): for frames of a known layout, and arrays of what is encoded already."""

from __future__ import annotations

from struct import Struct
from typing import Final

UNSIGNED: Final = 0x00
NEGATIVE: Final = 0x20
ARRAY: Final = 0x80
"""Major types, for `head`: an int from 0 on, an int below it as its complement, an array."""
WIDE: Final = 0x1B
"""The first byte of an int from 0 on that takes eight bytes more, whatever it is."""

_TEXT: Final = 0x60
_SHORT, _WORD, _LONG = Struct(">BH"), Struct(">BI"), Struct(">BQ")


def head(major: int, number: int) -> bytes:
    """The head of a value, in the shortest form: its major type, and a number of at most 64 bits."""
    if number < 24:
        return bytes((major | number,))
    if number < 2**8:
        return bytes((major | 24, number))
    if number < 2**16:
        return _SHORT.pack(major | 25, number)
    if number < 2**32:
        return _WORD.pack(major | 26, number)
    return _LONG.pack(major | 27, number)


def text(value: str) -> bytes:
    """A str, whole. Raises UnicodeEncodeError if it has surrogates."""
    data = value.encode()
    return head(_TEXT, len(data)) + data
