"""Frames: the unit of bytes on a link.

    length of the payload, 4 bytes, big-endian | CRC-32 over length and payload, 4 bytes | payload

The checksum covers the length, so that a frame cut or joined elsewhere is found too; TCP's own sum misses swapped
words (P22). The length is checked before anything is kept for it (P30).
"""

from __future__ import annotations

from struct import Struct
from zlib import crc32

from actors._protocol.errors import RemoteProtocolError

FRAME_SIZE_MAX = 2**24
"""Bytes of a payload."""
CLIENT_FRAME_SIZE_MAX = 2**23 + 2**16
"""The same for what a client sends: the largest command that a group may agree to allow, and room for what is around
it. Anybody can be a client, and each has a frame under way."""
HEAD_SIZE = 8
_HEAD = Struct(">II")
_TLS_RECORDS = (0x1503, 0x1603)
"""How an alert of TLS begins, and a handshake (RFC 8446, 5.1): no frame is as large as that."""
_TLS = "what it speaks is TLS, and here is none: give both ends certificates (tls=), or neither"


def frame(*parts: bytes | memoryview) -> bytes:
    """The frame whose payload is the parts, joined. At least one byte of payload."""
    if len(parts) == 1:
        size = len(parts[0])
        return _HEAD.pack(size, crc32(parts[0], crc32(size.to_bytes(4, "big")))) + parts[0]
    length = sum(map(len, parts)).to_bytes(4, "big")
    checksum = crc32(length)
    for part in parts:
        checksum = crc32(part, checksum)
    return b"".join((length, checksum.to_bytes(4, "big"), *parts))


class FrameReader:
    """Bytes in, payloads out, in time linear in the bytes however they are cut.

    size_max: of a payload, in bytes; may be changed between frames. Keeps at most one incomplete frame beside
    what was given last. Once it has raised it is broken, and raises the same again.
    """

    __slots__ = ("_at", "_broken", "_buffer", "size_max")

    def __init__(self, size_max: int = FRAME_SIZE_MAX) -> None:
        self.size_max = size_max
        self._buffer: bytes | bytearray = b""
        self._at = 0
        self._broken: str | None = None

    @property
    def is_between_frames(self) -> bool:
        """Is everything that came used up? The end of a stream is clean only here."""
        return self._at == len(self._buffer)

    @property
    def waiting(self) -> int:
        """Bytes that are kept: of a frame that has not come as a whole, once `next_frame` has given None."""
        return len(self._buffer) - self._at

    def receive_data(self, data: bytes | bytearray) -> None:
        """Take what came from the peer."""
        if self._at == len(self._buffer):  # nearly always: what comes is whole frames
            self._buffer, self._at = bytes(data), 0
            return
        if type(self._buffer) is bytearray:
            del self._buffer[: self._at]
        else:
            self._buffer = bytearray(memoryview(self._buffer)[self._at :])
        self._at = 0
        self._buffer += data

    def next_frame(self) -> bytes | None:
        """The payload of the next frame, or None until more has come. Raises RemoteProtocolError for a bad one."""
        if self._broken is not None:
            raise RemoteProtocolError(self._broken)
        buffer, at = self._buffer, self._at
        if len(buffer) < at + HEAD_SIZE:
            return None
        length, checksum = _HEAD.unpack_from(buffer, at)
        if not 0 < length <= self.size_max:
            what = f"a frame of {length} bytes, and 1 to {self.size_max} are allowed"
            self._break(_TLS if length >> 16 in _TLS_RECORDS else what)
        end = at + HEAD_SIZE + length
        if len(buffer) < end:
            return None
        payload = (
            buffer[at + HEAD_SIZE : end] if type(buffer) is bytes else bytes(memoryview(buffer)[at + HEAD_SIZE : end])
        )
        if crc32(payload, crc32(buffer[at : at + 4])) != checksum:
            self._break(f"a frame of {length} bytes whose checksum is wrong")
        self._at = end
        return payload

    def forget(self) -> None:
        """Keep nothing of what has come: nobody is going to look at it."""
        self._buffer, self._at = b"", 0

    def _break(self, why: str) -> None:
        self._broken = why
        self.forget()
        raise RemoteProtocolError(why)
