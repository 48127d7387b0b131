"""Tokens as bytes: in frames, so that neither writing nor reading a large state holds the interpreter for long.

A token is None, a bool, an int, a float, a str, some bytes, or a list that begins with a code: the head of something
else. A frame is the array of some of them in MessagePack, behind its length.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import msgspec

from broadcast._errors import CannotRestore

SCALARS: Final = frozenset({type(None), bool, int, float, str, bytes})
SIZED: Final = frozenset({str, bytes})

INT, TEXT = -1, -2
"""Codes of what MessagePack cannot hold as it is: a large integer, a text with half a surrogate pair."""

LENGTH_SIZE = 4  # bytes of a frame's length
TOKENS_MAX = 2**13  # in a frame, and as many more as are added at once
FRAME_SIZE = 2**18  # bytes of texts in a frame, and as many more

_encode = msgspec.msgpack.Encoder().encode
_decoder = msgspec.msgpack.Decoder(list[object])


def frame(tokens: list[object]) -> bytes:
    try:
        content = _encode(tokens)
    except (OverflowError, UnicodeEncodeError):
        content = _encode([*map(_able, tokens)])
    return len(content).to_bytes(LENGTH_SIZE, "big") + content


def _able(token: object) -> object:
    if type(token) is int and not -(2**63) <= token < 2**64:
        return [INT, token.to_bytes(token.bit_length() // 8 + 1, "big", signed=True)]
    if type(token) is str and not _is_whole(token):
        return [TEXT, token.encode("utf-8", "surrogatepass")]
    return token


def _is_whole(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


class Frames:
    """Reads frames from pieces of any size."""

    def __init__(self, pieces: Iterable[bytes]) -> None:
        self._pieces = iter(pieces)
        self._waiting = bytearray()

    def read(self) -> list[object]:
        """The tokens of the next frame. Raises `CannotRestore` if there is none, or none that is whole."""
        length = int.from_bytes(self._take(LENGTH_SIZE), "big")
        try:
            return _decoder.decode(self._take(length))
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise CannotRestore(f"it is damaged: {error}") from error

    def _take(self, size: int) -> bytes:
        while len(self._waiting) < size:
            piece = next(self._pieces, b"")
            if not piece:
                raise CannotRestore(f"it ends early: {len(self._waiting)} bytes are left where {size} are due")
            self._waiting += piece
        taken = bytes(self._waiting[:size])
        del self._waiting[:size]
        return taken
