"""Only plain values pass, both ways, and no bytes cost more than they should."""

from __future__ import annotations

import contextlib
import struct
import sys
import time
from collections.abc import Callable
from decimal import Decimal
from typing import Annotated

import cbor2
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors._protocol import codec
from actors._protocol.codec import DecodeError, decode, decode_struct, encode, encode_struct, join_array
from actors._protocol.errors import RemoteProtocolError

scalars = (
    st.none()
    | st.booleans()
    | st.integers(codec.INTEGER_MIN, codec.INTEGER_MAX)
    | st.floats(allow_nan=False)
    | st.text(st.characters(exclude_categories=["Cs"]))
    | st.binary()
)
keys = st.text(st.characters(exclude_categories=["Cs"])) | st.binary()
plain_values = st.recursive(scalars, lambda v: st.lists(v) | st.dictionaries(keys, v), max_leaves=20)


@given(plain_values)
def test_a_plain_value_comes_back_as_it_was_and_encodes_to_the_same_bytes(value: object) -> None:
    data = encode(value)
    again = decode(data)
    assert again == value
    assert encode(again) == data
    assert type(again) is type(value)


@given(st.binary(max_size=200))
def test_any_other_bytes_raise_one_error(data: bytes) -> None:
    try:
        value = decode(data)
    except DecodeError:
        return
    assert decode(encode(value)) == value or value != value or "nan" in repr(value)


@given(plain_values, st.data())
def test_mutated_bytes_raise_one_error_or_give_a_plain_value(value: object, data: st.DataObject) -> None:
    encoded = bytearray(encode(value))
    at = data.draw(st.integers(0, len(encoded) - 1))
    encoded[at] = data.draw(st.integers(0, 255))
    with contextlib.suppress(DecodeError):
        encode(decode(bytes(encoded)))


def test_it_is_a_fault_of_the_peer() -> None:
    assert issubclass(DecodeError, RemoteProtocolError)


# -- structure -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("content", [b"\x00", b"\x41\x01", b"\x61a", b"\x80", b"\xa0", b"\x82\x01\x02"])
def test_every_semantic_tag_is_refused(content: bytes) -> None:
    for tag in (*range(300), 1004, 43000, 55799, 55800, 2**32, 2**64 - 1):
        tagged = b"\xdb" + struct.pack(">Q", tag) + content
        for data in (tagged, b"\x81" + tagged, b"\xa1\x61k" + tagged):
            with pytest.raises(DecodeError, match="semantic tag"):
                decode(data)


@pytest.mark.parametrize("low", range(24))
def test_every_short_tag_and_simple_value_is_refused(low: int) -> None:
    with pytest.raises(DecodeError):
        decode(bytes([0xC0 | low]) + b"\x00")
    if low in (20, 21, 22):  # false, true, null
        assert decode(bytes([0xE0 | low])) in (False, True, None)
    else:
        for wrapped in (b"", b"\x81", b"\xa1\x61k"):
            with pytest.raises(DecodeError):
                decode(wrapped + bytes([0xE0 | low]))


def test_every_long_simple_value_is_refused() -> None:
    for code in range(256):
        with pytest.raises(DecodeError):
            decode(bytes([0xF8, code]))


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "premature end"),
        (b"\x01\x02", "1 bytes behind the value"),
        (b"\x81\x01" + b"\xf6" * 70_000, "more than"),
        (b"\x5f\x41a\x41b\xff", "indefinite"),
        (b"\x7f\x61a\xff", "indefinite"),
        (b"\x9f\x01\xff", "indefinite"),
        (b"\xbf\x61a\x01\xff", "indefinite"),
        (b"\xa2\x61a\x01\x61a\x02", "key"),
        (b"\xa1\x01\x02", "key"),
        (b"\xa1\xf6\x02", "key"),
        (b"\xa1\xf9\x7e\x00\x02", "key"),
        (b"\xa1\x80\x02", "key"),
        (b"\x1b" + b"\x80" + b"\x00" * 7, "64 bits"),
        (b"\x3b" + b"\x80" + b"\x00" * 7, "64 bits"),
        (b"\x81\x1b" + b"\x80" + b"\x00" * 7, "64 bits"),
        (b"\x82\x00\x3b" + b"\x80" + b"\x00" * 7, "64 bits"),
        (b"\xa1\x61k\x1b" + b"\x80" + b"\x00" * 7, "64 bits"),
        (b"\x62\xc3\x28", "text"),
        (b"\x63\xed\xa0\x80", "text"),
        (b"\xff", "break"),
        (b"\x81" * 17 + b"\x00", "depth"),
    ],
)
def test_ill_formed_bytes_are_refused_with_the_reason(data: bytes, why: str) -> None:
    with pytest.raises(DecodeError, match=why):
        decode(data)


@pytest.mark.parametrize(
    "refused", [b"\x01\x02", b"\x01" + encode(["a"]) * 3_000, b"\x82\x01", b"\x5f\x41a\xff", b"\xc1\x01"]
)
def test_what_is_refused_leaves_nothing_to_the_next_value(refused: bytes) -> None:
    for _ in range(3):
        with pytest.raises(DecodeError):
            decode(refused)
        assert decode(encode(["next", 1])) == ["next", 1]


def test_nothing_large_is_kept_once_it_is_decoded() -> None:
    data = encode([bytes(100_000)])
    held = sys.getrefcount(data)
    decode(data)
    assert sys.getrefcount(data) == held


def test_the_limits_are_inclusive() -> None:
    assert decode(b"\x1b\x7f" + b"\xff" * 7) == codec.INTEGER_MAX
    assert decode(b"\x3b\x7f" + b"\xff" * 7) == codec.INTEGER_MIN
    nested: object = 0
    for _ in range(codec.DEPTH_MAX):
        nested = [nested]
    assert decode(encode(nested)) == nested
    full = [None] * (codec.COUNT_MAX - 1)
    assert decode(encode(full)) == full
    assert decode(b"\x43abc", size_max=4) == b"abc"
    assert decode(encode([1, b"x" * 100, "y"]), count_max=4) == [1, b"x" * 100, "y"]


def test_size_and_count_are_limited_before_anything_is_opened() -> None:
    with pytest.raises(DecodeError, match="4 bytes for one value, and 3 are allowed"):
        decode(b"\x43abc", size_max=3)
    with pytest.raises(DecodeError, match="more than 3 values"):
        decode(encode([1, b"x" * 100, "y"]), count_max=3)
    with pytest.raises(DecodeError, match="more than 3 values"):
        decode_struct(encode([1, 2, 3]), list[int], count_max=3)


@given(plain_values, st.integers(1, 40))
def test_values_are_counted_as_a_plain_count_does(value: object, count_max: int) -> None:
    def count(value: object) -> int:
        if isinstance(value, list):
            return 1 + sum(map(count, value))
        if isinstance(value, dict):
            return 1 + sum(1 + count(item) for item in value.values())
        return 1

    within = codec._holds_at_most(count_max, encode(value))
    assert within == (count(value) <= count_max)


# -- bombs ---------------------------------------------------------------------------------------------------


def shared_references() -> bytes:
    """A few hundred bytes that walk to 2**30 items."""
    data = b"\xd8\x1c\x82\x00\x00"
    for number in range(30):
        data = b"\x82" + data + b"\xd8\x1d" + bytes([number % 24])
    return data


def map_of(entries: list[bytes]) -> bytes:
    return b"\xb9" + struct.pack(">H", len(entries)) + b"".join(key + b"\x00" for key in entries)


integer_keys = [b"\x1b" + struct.pack(">Q", number << 40) for number in range(16_000)]
BOMBS = {
    "colliding integer keys": map_of(integer_keys),
    "NaN keys": map_of([b"\xfb\x7f\xf8\x00\x00\x00\x00" + struct.pack(">H", n) for n in range(16_000)]),
    "shared references": shared_references(),
    "a list that holds itself": b"\xd8\x1c\x81\xd8\x1d\x00",
    "string references": b"\xd9\x01\x00\x82\x63abc\xd8\x19\x00",
    "depth": b"\x81" * 1_000_000,
    "depth by maps": b"\xa1\x61a" * 100_000,
    "depth by tags": b"\xc6" * 1_000_000,
    "huge array": b"\x9b\x7f" + b"\xff" * 7,
    "huge map": b"\xbb\x7f" + b"\xff" * 7,
    "huge bytes": b"\x5b\x7f" + b"\xff" * 7,
    "huge text": b"\x7b\x7f" + b"\xff" * 7,
    "huge arrays in one another": b"\x9a\xff\xff\xff\xff" * 16,
    "two gigabytes announced": b"\x5a\x7f\xff\xff\xff",
    "a million empty lists": b"\x9a\x00\x0f\x42\x40" + b"\x80" * 1_000_000,
    "a million empty maps": b"\x9a\x00\x0f\x42\x40" + b"\xa0" * 1_000_000,
    "sixteen megabytes of empty lists": b"\x9a\x00\xff\x00\x00" + b"\x80" * (16_700_000),
    "big decimal": cbor2.dumps(Decimal("1e999999")),
    "big float": b"\xc5\x82\x1a\x7f\xff\xff\xff\x01",
    "bignum": b"\xc2\x5a\x00\x0f\x42\x40" + b"\xff" * 1_000_000,
    "regular expression": cbor2.dumps(cbor2.CBORTag(35, "(a+)+$")),
}


def quickest(do: Callable[[], object]) -> float:
    """Seconds of a processor that it takes by itself: the least of some times, as tests share their machine, and what
    others have left to the garbage collector may come to be looked at within any of them."""
    seconds: list[float] = []
    for _ in range(5):
        begun = time.process_time()
        do()
        seconds.append(time.process_time() - begun)
    return min(seconds)


@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_is_refused_within_50_ms(name: str) -> None:
    def refused() -> None:
        with pytest.raises(DecodeError):
            decode(BOMBS[name])

    assert quickest(refused) < 0.050


def test_the_most_values_that_pass_take_little_time() -> None:
    data = b"\x99\x7f\xff" + b"\x80" * (codec.COUNT_MAX - 1)
    assert decode(data) == [[]] * (codec.COUNT_MAX - 1)
    assert quickest(lambda: decode(data)) < 0.200  # typically 15 ms


# -- what is not sent ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "value",
    [{1}, frozenset(), Decimal(1), object(), bytearray(b"x"), memoryview(b"x"), cbor2.undefined, 1j],
    ids=lambda value: type(value).__name__,
)
def test_what_is_not_plain_is_a_type_error_at_any_depth(value: object) -> None:
    for wrapped in (value, [value], [1, [value]], {"k": value}, (1, value)):
        with pytest.raises(TypeError, match=f"{type(value).__name__} is no plain value"):
            encode(wrapped)


@pytest.mark.parametrize("key", [1, None, True, 1.5, (), ("a",)])
def test_a_key_that_could_not_be_decoded_is_not_encoded(key: object) -> None:
    with pytest.raises(TypeError, match="key must be str or bytes"):
        encode({key: 1})


def test_beyond_the_limits_is_a_value_error() -> None:
    deep: object = 0
    for _ in range(codec.DEPTH_MAX + 1):
        deep = [deep]
    for value in (
        2**63,
        [-(2**63) - 1],
        [0, "x", 2**63],
        ([2**63],),
        {"k": 2**63},
        deep,
        "\ud800",
        [None] * codec.COUNT_MAX,
    ):
        with pytest.raises(ValueError, match=r"64 bits|containers|surrogates|more than"):
            encode(value)


# -- structs -------------------------------------------------------------------------------------------------


class Told(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag="told"):
    name: Annotated[str, msgspec.Meta(max_length=8)]
    data: bytes
    number: Annotated[int, msgspec.Meta(ge=0, le=2**62)] = 0
    parts: tuple[bytes, ...] = ()


class Asked(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag="asked"):
    token: int


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=8), st.binary(), st.integers(0, 2**62))
def test_a_struct_comes_back(name: str, data: bytes, number: int) -> None:
    told = Told(name, data, number, (data, b"x"))
    assert decode_struct(encode_struct(told), Told) == told
    assert decode_struct(encode_struct(told), Told | Asked) == told


@pytest.mark.parametrize(
    ("value", "why"),
    [
        (["told", "ann", "eA=="], r"Expected `bytes`, got `str` - at `\$\[2\]`"),
        (["told", b"ann", b"x"], r"Expected `str`, got `bytes` - at `\$\[1\]`"),
        (["told", "ann", b"x", True], r"Expected `int`, got `bool` - at `\$\[3\]`"),
        (["told", "ann", b"x", 1.0], r"Expected `int`, got `float` - at `\$\[3\]`"),
        (["told", "ann", b"x", -1], r"at `\$\[3\]`"),
        (["told", "ann", b"x", 2**62 + 1], r"at `\$\[3\]`"),
        (["told", "a" * 9, b"x"], r"at `\$\[1\]`"),
        (["told", "ann", b"x", 0, ["x"]], r"at `\$\[4\]\[0\]`"),
        (["told", "ann", b"x", 0, [], 1], "length"),
        (["told", "ann"], "length"),
        (["asked", "1"], r"Expected `int`, got `str`"),
        (["else", 1], "Invalid value 'else'"),
        ([], "length"),
        ({"type": "told"}, "Expected `array`"),
        (None, "Expected `array`"),
    ],
)
def test_a_struct_that_does_not_fit_is_refused_with_its_path(value: object, why: str) -> None:
    with pytest.raises(DecodeError, match=why):
        decode_struct(cbor2.dumps(value), Told | Asked)


@pytest.mark.parametrize("data", [b"\xf7", b"\xe0", b"\x82\x65asked\xf7", b"\x82\x65asked\xf0"])
def test_simple_values_do_not_fit_a_struct(data: bytes) -> None:
    with pytest.raises(DecodeError):
        decode_struct(data, Asked)


@pytest.mark.parametrize("data", [b"\xa1\x01\x02", b"\xa1\xf6\x02", b"\xa1\xfb" + bytes(8) + b"\x02"])
def test_keys_that_could_collide_do_not_fit_even_where_they_are_declared(data: bytes) -> None:
    with pytest.raises(DecodeError, match="map key must be"):
        decode_struct(data, dict[int | float | None, int])


@pytest.mark.parametrize("count", [0, 1, 23, 24, 255, 256, 65_535, 65_536])
def test_joined_values_are_the_array_of_them(count: int) -> None:
    values = list(range(count))
    assert join_array([encode(value) for value in values]) == cbor2.dumps(values)
