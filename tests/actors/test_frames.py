"""Frames come out as they went in, however the bytes are cut; anything else is refused."""

from __future__ import annotations

import struct
import time
from zlib import crc32

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors._protocol.errors import RemoteProtocolError
from actors._protocol.frames import FrameReader, frame

payloads = st.lists(st.binary(min_size=1, max_size=60), max_size=8)


def read(reader: FrameReader, data: bytes) -> list[bytes]:
    reader.receive_data(data)
    return list(iter(reader.next_frame, None))


@given(payloads, st.data())
def test_any_cut_gives_the_same_frames(payloads: list[bytes], data: st.DataObject) -> None:
    stream = b"".join(map(frame, payloads))
    reader, given_out, at = FrameReader(100), list[bytes](), 0
    while at < len(stream):
        size = data.draw(st.integers(1, len(stream) - at))
        given_out += read(reader, stream[at : at + size])
        at += size
    assert given_out == payloads
    assert reader.is_between_frames


def test_a_frame_of_parts_is_the_frame_of_them_joined() -> None:
    assert frame(b"ab", b"", b"cde") == frame(b"abcde")


def test_a_frame_cut_anywhere_gives_nothing_and_is_not_between_frames() -> None:
    whole = frame(b"payload")
    for cut in range(1, len(whole)):
        reader = FrameReader(100)
        assert read(reader, whole[:cut]) == []
        assert not reader.is_between_frames


def test_any_flipped_bit_is_found() -> None:
    whole = frame(b"one") + frame(b"three")
    for bit in range(8 * len(frame(b"one"))):
        damaged = bytearray(whole)
        damaged[bit // 8] ^= 1 << bit % 8
        reader = FrameReader(100)
        try:
            assert read(reader, bytes(damaged)) == []  # a longer frame was announced
        except RemoteProtocolError:
            continue


def test_swapped_words_are_found() -> None:
    data = bytearray(frame(b"aabbccdd"))
    data[8:10], data[10:12] = data[10:12], data[8:10]
    with pytest.raises(RemoteProtocolError, match="checksum"):
        read(FrameReader(), bytes(data))


@pytest.mark.parametrize("begin", [b"\x16\x03\x01\x02\x00", b"\x15\x03\x03\x00\x02"], ids=["handshake", "alert"])
def test_who_speaks_tls_is_told_by_its_name(begin: bytes) -> None:
    with pytest.raises(RemoteProtocolError, match=r"what it speaks is TLS, and here is none: give both ends certifica"):
        read(FrameReader(), begin + bytes(3))


@pytest.mark.parametrize("length", [0, 101, 2**31, 2**32 - 1])
def test_a_length_out_of_bounds_is_refused_before_anything_is_kept(length: int) -> None:
    with pytest.raises(RemoteProtocolError, match=f"a frame of {length} bytes, and 1 to 100 are allowed"):
        read(FrameReader(100), length.to_bytes(4, "big") + bytes(4))


def test_once_broken_it_stays_broken_and_keeps_nothing() -> None:
    reader = FrameReader(100)
    for data in (bytes(8), frame(b"good"), b""):
        with pytest.raises(RemoteProtocolError, match="a frame of 0 bytes"):
            read(reader, data)


def test_frames_before_a_bad_one_still_come_out() -> None:
    reader = FrameReader(100)
    reader.receive_data(frame(b"good") + bytes(8))
    assert reader.next_frame() == b"good"
    with pytest.raises(RemoteProtocolError):
        reader.next_frame()


def seconds_for(pieces: list[bytes]) -> float:
    reader = FrameReader()
    begun = time.process_time()
    for piece in pieces:
        read(reader, piece)
    return time.process_time() - begun


def test_many_small_frames_take_linear_time() -> None:
    seconds_for([frame(b"x") * 1_000])
    few, many = seconds_for([frame(b"x") * 10_000]), seconds_for([frame(b"x") * 160_000])
    assert many < 16 * few * 4 + 0.1


def test_a_large_frame_in_small_pieces_takes_linear_time() -> None:
    def pieces(size: int) -> list[bytes]:
        whole = frame(bytes(size))
        return [whole[at : at + 64] for at in range(0, len(whole), 64)]

    few, many = seconds_for(pieces(2**19)), seconds_for(pieces(2**23))
    assert many < 16 * few * 4 + 0.1


def test_the_head_is_a_length_and_a_checksum_over_both() -> None:
    length = struct.pack(">I", 3)
    assert frame(b"abc") == length + struct.pack(">I", crc32(length + b"abc")) + b"abc"


def test_what_was_given_stays_whose_it_is() -> None:
    data = bytearray(frame(b"first") + frame(b"second")[:5])
    given, reader = bytes(data), FrameReader()
    reader.receive_data(data)
    assert reader.next_frame() == b"first"
    reader.receive_data(frame(b"second")[5:])
    assert bytes(data) == given
    data.clear()
    assert reader.next_frame() == b"second"
    data += frame(b"third")[:6]
    reader.receive_data(data)
    data.clear()
    reader.receive_data(frame(b"third")[6:])
    assert reader.next_frame() == b"third"
