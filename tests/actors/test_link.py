"""A connection's life: every pair of state and message either does what the table says, or is the peer's fault."""

from __future__ import annotations

import struct

import cbor2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors._protocol import envelope as e
from actors._protocol.clock import COUNTER_MAX
from actors._protocol.errors import InvariantViolation, RemoteProtocolError, TooLarge
from actors._protocol.frames import CLIENT_FRAME_SIZE_MAX, FRAME_SIZE_MAX, HEAD_SIZE, frame
from actors._protocol.link import Answer, Asked, Event, Link, LinkClosed, PeerReady, Refused, State

HELLO = e.Hello(1, 1, "a", 7, "peer", 100)
CLIENT_HELLO = e.Hello(1, 1, "client-1", 0, "client", 0)
READY = e.Ready(1, "b", 8, 200)
LETTER = e.Envelope(5, 3, "bank", "bank", "append", b"body")


def envelope_frame(letter: e.Envelope = LETTER) -> bytes:
    return e.pack_envelope(letter.to, letter.sender, letter.counter, letter.correlation, letter.tag, letter.body)


FRAMES: dict[str, bytes] = {
    "hello": e.pack(HELLO),
    "ready": e.pack(READY),
    "refusal": e.pack(e.Refusal("no")),
    "ping": e.pack(e.Ping(1)),
    "pong": e.pack(e.Pong(1)),
    "envelope": envelope_frame(),
    "part": e.pack_part(envelope_frame(), 0, 10),
}


def events(link: Link, data: bytes) -> list[Event]:
    link.receive_data(data)
    return list(iter(link.next_event, None))


def dialer(hello: e.Hello = HELLO, *received: str) -> Link:
    link, _ = Link.dial(hello, expected="b")
    for name in received:
        events(link, FRAMES[name])
    return link


def acceptor(*received: str) -> Link:
    link = Link.answer()
    for name in received:
        events(link, FRAMES[name])
        if link.state is State.ASKED:
            link.accept("b", 8, 200)
    return link


def asked() -> Link:
    link = Link.answer()
    events(link, FRAMES["hello"])
    return link


def closing() -> Link:
    link = asked()
    link.refuse("no")
    return link


# -- the table, whole -----------------------------------------------------------------------------------------------

SITUATIONS = {
    "peer dialing": dialer,
    "peer dialed": lambda: dialer(HELLO, "ready"),
    "client dialing": lambda: dialer(CLIENT_HELLO),
    "client dialed": lambda: dialer(CLIENT_HELLO, "ready"),
    "accepting": acceptor,
    "asked": asked,
    "accepted": lambda: acceptor("hello"),
    "closing": closing,
}
EXPECTED: dict[tuple[str, str], tuple[list[Event], State]] = {
    **{(who, "ready"): ([PeerReady(READY)], State.READY) for who in ("peer dialing", "client dialing")},
    **{(who, "refusal"): ([Refused("no")], State.CLOSED) for who in ("peer dialing", "client dialing")},
    ("peer dialed", "pong"): ([e.Pong(1)], State.READY),
    ("client dialed", "pong"): ([], State.READY),
    ("client dialed", "envelope"): ([LETTER], State.READY),
    ("accepting", "hello"): ([Asked(HELLO, None)], State.ASKED),
    ("accepted", "envelope"): ([LETTER], State.READY),
    ("accepted", "part"): ([], State.READY),
    ("accepted", "ping"): ([Answer(FRAMES["pong"])], State.READY),
    **{("closing", name): ([], State.CLOSING) for name in FRAMES},
}


@pytest.mark.parametrize("name", FRAMES)
@pytest.mark.parametrize("who", SITUATIONS)
def test_every_message_in_every_situation(who: str, name: str) -> None:
    link = SITUATIONS[who]()
    if (who, name) in EXPECTED:
        assert (events(link, FRAMES[name]), link.state) == EXPECTED[who, name]
    else:
        with pytest.raises(RemoteProtocolError, match=f"a {name} while the link is at"):
            events(link, FRAMES[name])
        assert link.state is State.ERROR
        assert events(link, FRAMES["ping"]) == []


@pytest.mark.parametrize("who", SITUATIONS)
def test_the_end_of_the_stream_ends_the_link(who: str) -> None:
    link = SITUATIONS[who]()
    assert events(link, b"") == [LinkClosed(clean=True)]
    assert link.state is State.CLOSED
    link = SITUATIONS[who]()
    link.receive_data(FRAMES["ping"][:5])
    assert events(link, b"") == [LinkClosed(clean=False)]


@pytest.mark.parametrize("who", SITUATIONS)
def test_garbage_is_the_peers_fault_anywhere(who: str) -> None:
    link = SITUATIONS[who]()
    with pytest.raises(RemoteProtocolError):
        events(link, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    assert link.state is State.ERROR


# -- the handshake --------------------------------------------------------------------------------------------------


def test_a_dialer_and_an_acceptor_meet() -> None:
    a, first = Link.dial(HELLO, expected="b")
    b = Link.answer()
    assert events(b, first) == [Asked(HELLO, None)]
    assert events(a, b.accept("b", 8, 200)) == [PeerReady(READY)]
    assert events(b, envelope_frame() * 3) == [LETTER] * 3


def test_a_refused_dialer_is_told_why() -> None:
    a, first = Link.dial(HELLO)
    b = Link.answer()
    events(b, first)
    assert events(a, b.refuse("go away" * 100)) == [Refused(("go away" * 100)[:500])]
    assert (a.state, b.state) == (State.CLOSED, State.CLOSING)


@pytest.mark.parametrize("versions", [(2, 3), (2, 2)])
def test_an_unknown_version_is_refused_with_both_ranges(versions: tuple[int, int]) -> None:
    link = Link.answer()
    [event] = events(link, e.pack(e.Hello(*versions, "a", 7, "peer", 0)))
    assert isinstance(event, Asked)
    assert event.objection is not None
    assert f"{versions[0]} to {versions[1]}" in event.objection
    assert "1 to 1 here" in event.objection


def test_a_later_hello_is_understood_and_its_further_fields_ignored() -> None:
    header = cbor2.dumps(["hello", 1, 9, "a", 7, "peer", 100, {"new": [1, 2]}, "more"])
    link = Link.answer()
    [event] = events(link, frame(len(header).to_bytes(2, "big"), header))
    assert event == Asked(e.Hello(1, 9, "a", 7, "peer", 100), None)
    assert link.accept("b", 8, 200) == FRAMES["ready"]


@pytest.mark.parametrize(
    ("ready", "why"),
    [
        (e.Ready(2, "b", 8, 0), "version 2 chosen, of 1 to 1"),
        (e.Ready(1, "c", 8, 0), "node 'c' answers at the address of 'b'"),
    ],
)
def test_a_wrong_answer_is_refused(ready: e.Ready, why: str) -> None:
    link, _ = Link.dial(HELLO, expected="b")
    with pytest.raises(RemoteProtocolError, match=why):
        events(link, e.pack(ready))


def test_a_stranger_gets_room_for_a_hello_only() -> None:
    for link in (Link.answer(), Link.dial(HELLO)[0]):
        with pytest.raises(RemoteProtocolError, match="1 to 1024 are allowed"):
            events(link, struct.pack(">II", 1025, 0))
    link = acceptor("hello")
    big = e.Envelope(1, 0, "x", "", "t", bytes(2**20))
    assert events(link, envelope_frame(big)) == [big]


@pytest.mark.parametrize(("hello", "size_max"), [(HELLO, FRAME_SIZE_MAX), (CLIENT_HELLO, CLIENT_FRAME_SIZE_MAX)])
def test_a_client_gets_room_for_a_command_only_and_a_peer_for_more(hello: e.Hello, size_max: int) -> None:
    for length, allowed in ((size_max, True), (size_max + 1, False)):
        link = Link.answer()
        events(link, e.pack(hello))
        link.accept("b", 8, 200)
        head = struct.pack(">II", length, 0)
        if allowed:
            assert events(link, head) == []
        else:
            with pytest.raises(RemoteProtocolError, match=f"1 to {size_max} are allowed"):
                events(link, head)


def test_what_answers_a_client_is_a_nodes_and_may_be_as_large_as_a_peers() -> None:
    assert events(dialer(CLIENT_HELLO, "ready"), struct.pack(">II", FRAME_SIZE_MAX, 0)) == []


def test_the_largest_command_that_may_be_agreed_fits_in_a_clients_frame() -> None:
    assert e.CLIENT_BODY_SIZE_MAX >= 2**23 + 4_096


def test_answering_what_was_not_asked_is_our_own_fault() -> None:
    for link in (acceptor(), acceptor("hello"), closing()):
        with pytest.raises(InvariantViolation):
            link.accept("b", 8, 0)
        with pytest.raises(InvariantViolation):
            link.refuse("no")


# -- fields ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "header",
    [
        ["hello", 0, 1, "a", 7, "peer", 100],
        ["hello", 2, 1, "a", 7, "peer", 100],
        ["hello", 1, 1, "", 7, "peer", 100],
        ["hello", 1, 1, "a/b", 7, "peer", 100],
        ["hello", 1, 1, "a\n", 7, "peer", 100],
        ["hello", 1, 1, "a", -1, "peer", 100],
        ["hello", 1, 1, "a", 2**62 + 1, "peer", 100],
        ["hello", 1, 1, "a", 7, "king", 100],
        ["hello", 1, 1, "a", 7, "peer", 2**63],
        ["hello", 1, 1, "a", 7, "peer", True],
        ["hello", 1, 1, "a", 7.0, "peer", 1],
        ["hello", 1, 1, "a", 7, "peer"],
        ["hello"],
        ["else", 1],
        [["hello"]],
        [],
        {},
        {"type": "hello"},
        None,
        "hello",
    ],
)
def test_a_hello_out_of_bounds_is_refused(header: object) -> None:
    data = cbor2.dumps(header)
    with pytest.raises(RemoteProtocolError):
        events(Link.answer(), frame(len(data).to_bytes(2, "big"), data))


@pytest.mark.parametrize(
    "header",
    [
        ["envelope", 1, 0, "x" * 257, "", "t"],
        ["envelope", 1, 0, "x", "y" * 257, "t"],
        ["envelope", -1, 0, "x", "", "t"],
        ["envelope", 2**62 + 1, 0, "x", "", "t"],
        ["envelope", 2**63, 0, "x", "", "t"],
        ["envelope", 1, 2**63, "x", "", "t"],
        ["envelope", 1, 0, "x", "", ""],
        ["envelope", 1, 0, "x", "", "t" * 65],
        ["envelope", 1, 0, "x", "", "t", b"inner body"],
        ["envelope", 1, 0, "x", ""],
        ["envelope", 1, 0, b"x", "", "t"],
        ["envelope", 1, 0, cbor2.undefined, "", "t"],
    ],
)
def test_an_envelope_out_of_bounds_is_refused(header: list[object]) -> None:
    data = cbor2.dumps(header)
    with pytest.raises(RemoteProtocolError):
        events(acceptor("hello"), frame(len(data).to_bytes(2, "big"), data, b"body"))


def header_of(counter: int, correlation: int, names: bytes, kind: bytes = b"\x86\x68envelope") -> bytes:
    """The header of an envelope as it is sent, or nearly."""
    return kind + b"\x1b" + counter.to_bytes(8, "big") + b"\x1b" + correlation.to_bytes(8, "big") + names


NAMES = b"\x61x\x61y\x61t"


@pytest.mark.parametrize(
    "header",
    [
        header_of(2**62 + 1, 0, NAMES),
        header_of(2**64 - 1, 0, NAMES),
        header_of(1, 2**62 + 1, NAMES),
        header_of(1, 0, NAMES, b"\x86\x68envelopf"),
        header_of(1, 0, NAMES, b"\x87\x68envelope"),
        header_of(1, 0, NAMES, b"\x85\x68envelope"),
        header_of(1, 0, NAMES).replace(b"\x1b", b"\x3b"),
        header_of(1, 0, NAMES + b"\x61z"),
        header_of(1, 0, NAMES[:-1]),
    ],
)
def test_names_that_came_before_make_no_bad_envelope_a_good_one(header: bytes) -> None:
    good = header_of(5, 3, NAMES)
    payload = len(good).to_bytes(2, "big") + good + b"body"
    for _ in range(2):
        assert e.unpack(payload) == e.Envelope(5, 3, "x", "y", "t", b"body")
    with pytest.raises(RemoteProtocolError):
        e.unpack(len(header).to_bytes(2, "big") + header + b"body")
    for size in (len(good) + 5, len(good) - 1):
        with pytest.raises(RemoteProtocolError):
            e.unpack(size.to_bytes(2, "big") + good + b"body")


def test_the_names_that_are_remembered_are_few_and_short() -> None:
    for number in range(3 * e.KNOWN_MAX):
        for to in (str(number), f"{number:0>256}"):
            letter = e.Envelope(1, 0, to, "", "t", b"")
            assert e.unpack(envelope_frame(letter)[8:]) == letter
    assert 0 < len(e.known) <= e.KNOWN_MAX
    assert max(map(len, e.known)) <= e.KNOWN_SIZE_MAX


@pytest.mark.parametrize("payload", [b"\x00", b"\x00\x05ab", b"\xff\xff" + bytes(70_000), b"\x00\x00", b"\x00\x01\xf6"])
def test_a_header_that_is_not_there_is_refused(payload: bytes) -> None:
    with pytest.raises(RemoteProtocolError):
        e.unpack(payload)


def test_a_header_is_small_whatever_the_frame() -> None:
    header = cbor2.dumps(["hello", 1, 1, "a", 7, "peer", 100, "x" * 4_096])
    with pytest.raises(RemoteProtocolError, match="a header of"):
        e.unpack(len(header).to_bytes(2, "big") + header)


def test_a_message_of_the_link_has_no_body() -> None:
    header = cbor2.dumps(["ping", 1])
    with pytest.raises(RemoteProtocolError, match="with a body"):
        e.unpack(len(header).to_bytes(2, "big") + header + b"x")


texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=256)
naturals = st.integers(0, COUNTER_MAX)


@given(texts, texts, naturals, naturals, st.text("ab-", min_size=1, max_size=64), st.binary())
def test_an_envelope_comes_back(to: str, sender: str, counter: int, correlation: int, tag: str, body: bytes) -> None:
    letter = e.Envelope(counter, correlation, to, sender, tag, body)
    for _ in range(2):
        assert e.unpack(envelope_frame(letter)[8:]) == letter
    other = e.Envelope(correlation, counter, to, sender, tag, b"other")
    assert e.unpack(envelope_frame(other)[8:]) == other


@given(st.binary(max_size=100))
def test_any_payload_is_a_message_or_one_error(payload: bytes) -> None:
    try:
        e.unpack(payload)
    except RemoteProtocolError:
        return


def test_a_body_beyond_the_frame_is_too_large_for_its_sender() -> None:
    with pytest.raises(TooLarge):
        e.pack_envelope("x", "", 1, 0, "t", bytes(e.BODY_SIZE_MAX + 1))


def test_a_name_that_would_be_refused_is_our_own_fault() -> None:
    for to, sender, tag in (("x" * 257, "", "t"), ("x", "x" * 257, "t"), ("x", "", ""), ("x", "", "t" * 65)):
        with pytest.raises(InvariantViolation):
            e.pack_envelope(to, sender, 1, 0, tag, b"")


# -- in parts -------------------------------------------------------------------------------------------------------


def in_parts(data: bytes, size: int) -> list[bytes]:
    """The frames of the parts of a frame."""
    return [e.pack_part(data, at, size) for at in range(0, len(data) - HEAD_SIZE, size)]


@given(st.binary(max_size=300), st.integers(1, 400), st.data())
def test_what_comes_in_parts_is_whole_with_the_last_and_others_come_between(
    body: bytes, size: int, data: st.DataObject
) -> None:
    large = e.Envelope(1, 2, "x", "y", "t", body)
    link = acceptor("hello")
    came: list[Event] = []
    parts = in_parts(envelope_frame(large), size)
    between = data.draw(st.lists(st.booleans(), min_size=len(parts), max_size=len(parts)))
    for part, other in zip(parts, between, strict=True):
        assert large not in came
        if other:
            came += events(link, envelope_frame())
        came += events(link, part)
    assert came == [LETTER] * sum(between) + [large]
    assert events(link, b"".join(parts)) == [large]
    assert events(link, b"") == [LinkClosed(clean=True)]


def test_a_stream_that_ends_between_two_parts_ends_within_something() -> None:
    link = acceptor("hello")
    assert events(link, FRAMES["part"]) == []
    assert events(link, b"") == [LinkClosed(clean=False)]


def part_frame(left: int, body: bytes) -> bytes:
    header = cbor2.dumps(["part", left])
    return frame(len(header).to_bytes(2, "big"), header, body)


@pytest.mark.parametrize(
    ("frames", "why"),
    [
        ([part_frame(FRAME_SIZE_MAX, b"x")], "in parts, and"),
        ([part_frame(10, b"")], "a part of 0"),
        ([part_frame(10, b"x"), part_frame(10, b"x")], "a part of 1 of 10 bytes that leaves 10"),
        ([part_frame(10, b"x"), part_frame(0, bytes(11))], "a part of 11 of 10 bytes that leaves 0"),
        ([part_frame(10, b"x"), part_frame(5, bytes(4))], "a part of 4 of 10 bytes that leaves 5"),
        (in_parts(FRAMES["ping"], 3), "a ping in parts"),
        (in_parts(part_frame(0, b"x"), 3), "a part in parts"),
        (in_parts(b"12345678" + b"garbage", 3), "a header of"),
    ],
)
def test_parts_that_do_not_fit_are_the_peers_fault(frames: list[bytes], why: str) -> None:
    link = acceptor("hello")
    with pytest.raises(RemoteProtocolError, match=why):
        events(link, b"".join(frames))
    assert link.state is State.ERROR


def test_a_client_sends_no_parts() -> None:
    link = Link.answer()
    events(link, e.pack(CLIENT_HELLO))
    link.accept("b", 8, 200)
    with pytest.raises(RemoteProtocolError, match="a client sends no parts"):
        events(link, FRAMES["part"])
