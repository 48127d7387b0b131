"""T1: each decoder gives the value that was encoded, and of any other bytes one documented error, at bounded cost."""

from __future__ import annotations

import time
import tracemalloc
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import cbor2
import pytest
from effort import CI, FEW
from hypothesis import given
from hypothesis import strategies as st
from values import mutated, struct_kinds, values

from actors._protocol import envelope
from actors._protocol.codec import DecodeError, decode, decode_struct, encode, encode_struct
from actors._protocol.envelope import Envelope, Hello, Part, Ping, Pong, Ready, Refusal, pack, pack_envelope, unpack
from actors._protocol.errors import RemoteProtocolError
from actors._protocol.frames import HEAD_SIZE, FrameReader
from actors._protocol.parcels import Parcel, open_parcel
from broadcast._calls import open_calls
from broadcast._protocol.entries import Commands, Entry, Submittable, decode_entries, encode_entries
from broadcast._protocol.messages import GroupMessage, Message, decode_message, encode_message
from broadcast._protocol.queries import Query
from broadcast._protocol.visits import FROM_CLIENT, TO_CLIENT, FromClient, ToClient


@dataclass(frozen=True)
class Codec:
    """A pair that belongs together, and what it is for."""

    kinds: tuple[Any, ...]
    encode: Callable[[Any], bytes]
    decode: Callable[[bytes], Any]

    @cached_property
    def messages(self) -> st.SearchStrategy[Any]:
        return st.one_of(*map(values, self.kinds))


def _encode_group_message(message: GroupMessage) -> bytes:
    return encode_message(message.cluster, message.storage, message.message)


def _payload(message: Any) -> bytes:
    """What stands in the frame of a message of a link."""
    if isinstance(message, Envelope):
        fields = message.to, message.sender, message.counter, message.correlation, message.tag, message.body
        return pack_envelope(*fields)[HEAD_SIZE:]
    if isinstance(message, Part):
        header = cbor2.dumps(["part", message.left])
        return len(header).to_bytes(2, "big") + header + message.body
    return pack(message)[HEAD_SIZE:]


CODECS = {
    "group": Codec((GroupMessage,), _encode_group_message, decode_message),
    "entries": Codec((list[Entry],), encode_entries, decode_entries),
    "from a client": Codec((FromClient,), encode_struct, FROM_CLIENT.decode),
    "to a client": Codec((ToClient,), encode_struct, TO_CLIENT.decode),
    "link": Codec((Hello, Ready, Refusal, Ping, Pong, Envelope, Part), _payload, unpack),
    "between actors": Codec((Parcel,), encode_struct, open_parcel),
    "query": Codec((Query,), encode_struct, lambda data: decode_struct(data, Query)),
}
each_codec = pytest.mark.parametrize("codec", CODECS.values(), ids=CODECS)


def test_no_kind_of_message_is_left_out() -> None:
    assert len(struct_kinds(Message)) == 21
    assert len(struct_kinds(Submittable)) == 4
    assert set(CODECS["link"].kinds) == set(struct_kinds(envelope.LinkMessage))


@each_codec
@given(data=st.data())
@CI
def test_a_message_comes_back_and_has_one_form(codec: Codec, data: st.DataObject) -> None:
    message = data.draw(codec.messages)
    encoded = codec.encode(message)
    again = codec.decode(encoded)
    assert again == message
    assert type(again) is type(message)
    assert codec.encode(again) == encoded


@each_codec
@given(data=st.data())
@FEW
def test_a_message_that_was_changed_on_its_way_is_another_one_or_the_peer_s_fault(
    codec: Codec, data: st.DataObject
) -> None:
    """What is accepted is a message within all bounds: it can be encoded, and comes back."""
    changed = data.draw(mutated(codec.encode(data.draw(codec.messages))))
    try:
        message = codec.decode(changed)
    except RemoteProtocolError:
        return
    assert codec.decode(codec.encode(message)) == message


@each_codec
@given(data=st.data(), behind=st.binary(min_size=1, max_size=9))
@FEW
def test_a_message_ends_where_it_ends(codec: Codec, data: st.DataObject, behind: bytes) -> None:
    """But for the body of an envelope or a part, which is whatever comes behind its header."""
    message = data.draw(codec.messages)
    if not isinstance(message, Envelope | Part):
        with pytest.raises(RemoteProtocolError):
            codec.decode(codec.encode(message) + behind)


@each_codec
@given(data=st.binary(max_size=300) | st.recursive(st.integers() | st.binary(), st.lists).map(cbor2.dumps))
@FEW
def test_any_bytes_are_a_message_or_the_peer_s_fault(codec: Codec, data: bytes) -> None:
    try:
        message = codec.decode(data)
    except RemoteProtocolError:
        return
    assert codec.decode(codec.encode(message)) == message


@given(st.binary(max_size=200), st.integers(1, 5), st.data())
@CI
def test_the_calls_of_a_run_are_as_many_as_it_says_whatever_its_bytes_are(
    calls: bytes, count: int, data: st.DataObject
) -> None:
    """They stay closed until they are applied, where nothing may fail (rule 23)."""
    calls = data.draw(st.just(calls) | mutated(encode([["say", "x"]] * count)))
    assert len(open_calls(Commands(1, 1, count, 0, 0, 0, calls))) == count


# -- what it costs -------------------------------------------------------------------------------------------------

SIZE = 2**20
BOMBS = {
    "empty lists": b"\x9a\x00\x0f\xff\xf0" + b"\x80" * (SIZE - 16),
    "empty maps": b"\x9a\x00\x0f\xff\xf0" + b"\xa0" * (SIZE - 16),
    "depth": b"\x81" * SIZE,
    "a length beyond the end": b"\x9b" + b"\x7f" + b"\xff" * 7,
    "a string beyond the end": b"\x5b" + b"\x7f" + b"\xff" * 7,
    "lengths within lengths": b"\x9a\xff\xff\xff\xff" * 16,
    "a map of integers": b"\xba\x00\x03\xff\xf0" + b"\x1a\x00\x00\x00\x00\x00" * (SIZE // 8),
    "shared references": b"\xd8\x1c\x82" * 1000 + b"\xd8\x1d\x00" * 1000,
    "without end": b"\x9f" * 1000,
    "a bignum": b"\xc2\x5a\x00\x0f\xff\xf0" + b"\xff" * (SIZE - 16),
}


@each_codec
@pytest.mark.parametrize("bomb", BOMBS)
@pytest.mark.parametrize("wrapped", [False, True])
def test_what_is_no_message_costs_little_memory_and_time(codec: Codec, bomb: str, wrapped: bool) -> None:
    """No more memory than a few times the bytes that came, and a time that is linear in them."""
    data = BOMBS[bomb]
    if wrapped:
        data = b"\x83" + encode("run") + b"\x01" + data
    if codec.decode is unpack:
        data = len(data[:65_535]).to_bytes(2, "big") + data
    tracemalloc.start()
    began = time.process_time()
    try:
        with pytest.raises(RemoteProtocolError):
            codec.decode(data)
        took = time.process_time() - began
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 8 * len(data) + 100_000
    assert took < 0.5


@given(st.binary(max_size=100))
@CI
def test_a_stranger_s_bytes_are_frames_or_its_fault(data: bytes) -> None:
    reader = FrameReader(1024)
    reader.receive_data(data)
    try:
        while reader.next_frame() is not None:
            pass
    except RemoteProtocolError:
        assert reader.is_between_frames, "what is broken keeps nothing"


def test_a_decode_error_is_the_peer_s_fault() -> None:
    assert issubclass(DecodeError, RemoteProtocolError)
    with pytest.raises(DecodeError):
        decode(b"")
