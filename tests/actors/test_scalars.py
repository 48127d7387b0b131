"""What is written and read without the library is what the library writes and reads, or is left to it."""

from __future__ import annotations

import cbor2
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from actors._protocol import parcels
from actors._protocol.codec import DecodeError, decode, encode
from actors._protocol.errors import RemoteProtocolError
from actors._protocol.parcels import Answered, Asked, Told, open_parcel, pack_answered, pack_asked, pack_told
from actors._protocol.scalars import FEW, encode_few, scan, scan_array

texts = st.text(st.characters(exclude_categories=["Cs"]))
integers = st.integers(-(2**63), 2**63 - 1) | st.integers(-300, 300) | st.integers(-70_000, 70_000)
scalars = st.none() | st.booleans() | integers | texts | st.binary()
NONE_THERE: list[object] = []
EDGES = [edge + by for edge in (0, 24, 2**8, 2**16, 2**32) for by in (-1, 0, 1)]


@given(scalars | st.lists(scalars, max_size=FEW) | st.lists(scalars, max_size=FEW).map(tuple))
@example([])
@example(b"x" * 70_000)
def test_what_is_written_is_what_the_library_writes(value: object) -> None:
    assert encode_few(value) == cbor2.dumps(value) == encode(value)


@pytest.mark.parametrize("number", [*EDGES, *(-1 - edge for edge in EDGES), 2**63 - 1, -(2**63)])
def test_integers_take_the_shortest_form(number: int) -> None:
    assert encode_few(number) == cbor2.dumps(number)
    assert scan(cbor2.dumps(number), 0, 1) == ([number], len(cbor2.dumps(number)))


class Number(int):
    """No int to the library's users: it may mean something else."""


@pytest.mark.parametrize(
    "value", [1.5, {}, [[]], 2**63, -(2**63) - 1, "\ud800", [1] * (FEW + 1), {"a": 1}, [1.5], Number(1)], ids=repr
)
def test_the_rest_is_left_to_the_library(value: object) -> None:
    assert encode_few(value) is None


@given(st.lists(scalars | st.just([]), max_size=23), st.binary(max_size=3))
def test_what_the_library_writes_is_read(values: list[object], before: bytes) -> None:
    data = cbor2.dumps(values)
    assert scan_array(before + data, len(before)) == values
    assert [*map(type, scan_array(data, 0) or [])] == [*map(type, values)]
    assert scan(data, 1, len(values)) == (values, len(data))


@given(st.binary(max_size=40))
@example(b"\x82\x00\x1b" + b"\xff" * 8)
@example(b"\x82\x00\x3b" + b"\xff" * 8)
@example(b"\x81\x61\xff")
@example(b"\x81\xf7")
@example(b"\x81\xf9\x7e\x00")
@example(b"\x81\x78\xff")
@example(b"\x81\x9f\xff")
@example(b"\x81\x19\x01")
def test_what_is_read_is_what_the_library_reads(data: bytes) -> None:
    """Never more, and never anything else: what it refuses is left to it to refuse."""
    found = scan_array(data, 0)
    if found is not None:
        assert decode(data) == found
        assert [*map(type, found)] == [*map(type, decode(data))]  # type: ignore[call-overload]


def test_parcels_of_scalars_come_back_alike_with_and_without_the_library() -> None:
    call = encode(["add", 1, None, "text", b"bytes", True])
    nested = encode(["add", [1], {"a": 1.5}])
    for body, plain in ((call, decode(call)), (nested, decode(nested))):
        for patience in (None, 0, 5, 2**62):
            assert open_parcel(pack_asked("a/b", "", (), patience, body)) == Asked("a/b", "", [], patience, plain)  # type: ignore[arg-type]
        asked = Asked("a", "b", ["x/y"], None, plain)  # type: ignore[arg-type]
        assert open_parcel(pack_asked("a", "b", ("x/y",), None, body)) == asked
        assert open_parcel(pack_told("a", "b", body)) == Told("a", "b", plain)  # type: ignore[arg-type]
        assert open_parcel(pack_answered(2**62, body)) == Answered(2**62, plain)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "data",
    [
        encode(["ask", "", "", NONE_THERE, None, ["add"]]),
        encode(["ask", "x" * 257, "", NONE_THERE, None, ["add"]]),
        encode(["ask", "x", "x" * 257, NONE_THERE, None, ["add"]]),
        encode(["ask", b"x", "", NONE_THERE, None, ["add"]]),
        encode(["ask", "x", None, NONE_THERE, None, ["add"]]),
        encode(["ask", "x", "", None, None, ["add"]]),
        encode(["ask", "x", "", NONE_THERE, -1, ["add"]]),
        encode(["ask", "x", "", NONE_THERE, True, ["add"]]),
        encode(["ask", "x", "", NONE_THERE, 2**62 + 1, ["add"]]),
        encode(["ask", "x", "", NONE_THERE, None, NONE_THERE]),
        encode(["ask", "x", "", NONE_THERE, None, 1]),
        encode(["ask", "x", "", NONE_THERE, None]),
        encode(["ask", "x", "", NONE_THERE, None, ["add"]]) + b"\x00",
        encode(["tell", "", "", ["add"]]),
        encode(["tell", "x", "x" * 257, ["add"]]),
        encode(["tell", "x", "", NONE_THERE]),
        encode(["answer", -1, [0, 1]]),
        encode(["answer", 2**62 + 1, [0, 1]]),
        encode(["answer", False, [0, 1]]),
        encode(["answer", 1, NONE_THERE]),
    ],
    ids=bytes.hex,
)
def test_a_parcel_out_of_bounds_is_refused(data: bytes) -> None:
    with pytest.raises(RemoteProtocolError):
        open_parcel(data)


@pytest.mark.parametrize("data", [b"", b"\x18", b"\x19\x01", b"\x62a", b"\x42a", b"\x78\x02a", b"\x5b" + b"\xff" * 8])
def test_what_is_cut_is_nothing(data: bytes) -> None:
    assert scan(data, 0, 1) is None


def test_what_came_before_is_not_taken_for_what_comes() -> None:
    """Names that are known are those of the same bytes, under the same patience."""
    names = "a", "b", "a" * 23, "b" * 23, "a" * 24, "b" * 24, "ü" * 11, "x" * 256
    for _ in range(2):
        for patience in (None, 0, 5, 23, 24, 2**62):
            for actor in names:
                for sender in ("", *names):
                    asked = Asked(actor, sender, [], patience, ["add", 1])
                    assert open_parcel(pack_asked(actor, sender, (), patience, encode(["add", 1]))) == asked


def test_the_names_that_are_remembered_are_few() -> None:
    for number in range(3 * parcels.KNOWN_MAX):
        open_parcel(pack_asked(str(number), "", (), None, encode(["add"])))
    assert 0 < len(parcels.known) <= parcels.KNOWN_MAX
    assert max(map(len, parcels.known)) <= 50


def test_who_refuses_is_the_codec() -> None:
    with pytest.raises(DecodeError):
        open_parcel(b"\x83\x66answer\x01\x81\x1b" + b"\xff" * 8)
