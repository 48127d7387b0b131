"""Scalars in CBOR (RFC 8949), written and read without the library: most messages hold a few of them, and no more.

To call the library costs more than such a message, above all in a process that has just been woken. What is not as
simple as here is left to it: `encode_few` and `scan` give None then, and nobody learns from them that bytes are bad.
So the bytes are those of `codec`, and the values are.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from struct import Struct
from typing import Any, Final, cast

FEW: Final = 8
"""Values of a list that is written here; of more the library makes less work."""
ARRAY, TEXT = 0x80, 0x60
"""Major types, for `head`."""
WIDE: Final = 0x1B
"""The first byte of an int from 0 on that takes eight bytes more, whatever it is."""
NONE: Final = b"\xf6"

_NATURAL, _NEGATIVE, _BYTES = 0x00, 0x20, 0x40
_INTEGERS, _STRINGS = (_NATURAL, _NEGATIVE), (TEXT, _BYTES)
_CONSTANTS: Final[dict[bool | None, bytes]] = {False: b"\xf4", True: b"\xf5", None: NONE}
_OF_HEADS: Final = {0xF4: False, 0xF5: True, 0xF6: None}
_LEAST, _MOST = -(2**63), 2**63 - 1  # of an int; see `codec`
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


def natural(number: int) -> bytes:
    """An int from 0 on."""
    return head(_NATURAL, number)


def text(value: str) -> bytes:
    """A str. Raises UnicodeEncodeError if it has surrogates."""
    data = value.encode()
    return head(TEXT, len(data)) + data


def encode_few(value: object) -> bytes | None:
    """The bytes of a scalar, or of a short list or tuple of scalars; None if it is something else."""
    if type(value) is not list and type(value) is not tuple:
        return encode_scalar(value)
    items = cast("Sequence[object]", value)
    return encode_behind(head(ARRAY, len(items)), items) if len(items) <= FEW else None


def encode_behind(begin: bytes, values: Iterable[object]) -> bytes | None:
    """The bytes of scalars, one after another behind these; None if there is anything else among them."""
    for value in values:
        part = encode_scalar(value)
        if part is None:
            return None
        begin += part
    return begin


def encode_scalar(value: object) -> bytes | None:
    """The bytes of a scalar; None if it is something else, or a float."""
    if type(value) is int:
        if 0 <= value <= _MOST:
            return head(_NATURAL, value)
        return head(_NEGATIVE, -1 - value) if _LEAST <= value < 0 else None
    if type(value) is str:
        try:
            return text(value)
        except UnicodeEncodeError:
            return None
    if type(value) is bytes:
        return head(_BYTES, len(value)) + value
    return _CONSTANTS[value] if value is None or type(value) is bool else None


def scan(data: bytes, at: int, count: int) -> tuple[list[Any], int] | None:
    """So many scalars or empty lists that stand in `data` from `at` on, and where they end; None if others do."""
    end = len(data)
    values: list[Any] = []
    for _ in range(count):
        if at >= end:
            return None
        first = data[at]
        at += 1
        if first < 24:  # what follows would do as well, and takes twice as long
            values.append(first)
            continue
        major, number = first & 0xE0, first & 0x1F
        if number > 23 and major != 0xE0:
            if number > 27:
                return None
            width = 1 << (number - 24)
            number = int.from_bytes(data[at : at + width], "big")
            at += width
        stop = at + number if major in _STRINGS else at
        if stop > end:
            return None
        if major == TEXT:
            try:
                values.append(data[at:stop].decode())
            except UnicodeDecodeError:
                return None
        elif major == _BYTES:
            values.append(data[at:stop])
        elif major in _INTEGERS and number <= _MOST:
            values.append(number if major == _NATURAL else -1 - number)
        elif first in _OF_HEADS:
            values.append(_OF_HEADS[first])
        elif first == ARRAY:
            values.append([])
        else:
            return None
        at = stop
    return values, at


def scan_array(data: bytes, at: int) -> list[Any] | None:
    """The list of scalars or empty lists that is the rest of `data`, from `at` on; None if that is something else."""
    count = data[at] - ARRAY if at < len(data) else -1
    if not 0 <= count < 24:
        return None
    found = scan(data, at + 1, count)
    return found[0] if found is not None and found[1] == len(data) else None
