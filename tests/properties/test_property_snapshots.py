"""Whatever is changed in a snapshot, what comes of it is one kind of error, or a machine that can go on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from effort import CI
from hypothesis import given, settings
from hypothesis import strategies as st

from actors._actor import Actor, command
from actors._interface import Interface
from actors._protocol.codec import encode, join_array
from actors._protocol.errors import Refused
from broadcast import _restoring, _tokens
from broadcast._errors import CannotRestore
from broadcast._machine import Machine
from broadcast._protocol.entries import (
    Commands,
    Due,
    Entry,
    EpochStart,
    SessionAsked,
    SessionEnded,
    Versioned,
    encode_entries,
    span,
)
from broadcast._protocol.log import Log
from broadcast._protocol.position import Batch
from broadcast._restoring import Decoder
from broadcast._state import Encoder, encode_state
from broadcast._tokens import Frames, frame
from membership._protocol.view import Configuration, Limits, Member

SECOND = 1_000_000
LIMITS = Limits(session_term=10 * SECOND, snapshot_entries=4)
CONFIGURATION = Configuration((Member("a", b"a" * 16), Member("b", b"b" * 16)), limits=LIMITS)


class Tally(Actor):
    version = 2

    def __init__(self) -> None:
        self.numbers: list[int] = []
        self.by_name: dict[str, tuple[int, ...]] = {}

    @command
    def add(self, number: int) -> int:
        self.numbers.append(number)
        self.by_name[str(number)] = (number,)
        self.context.after(number, Tally.add, -number) if number > 0 else None
        if number == 7:
            raise Refused("not seven")
        return number


INTERFACE = Interface.of(Tally)


class Line:
    """A log, and what is appended to it."""

    def __init__(self, log: Log | None = None) -> None:
        self.log = log or Log()

    def batch(self, *entries: Entry, epoch: int, time: int = 0) -> Batch:
        last, count = self.log.last, sum(map(span, entries))
        stamp = self.log.last_stamp + count + 10
        batch = Batch(epoch, last.epoch, last.index + 1, count, time, stamp, encode_entries(entries))
        self.log.append(batch)
        return batch


def calls(session: int, number: int, *each: int) -> Commands:
    return Commands(session, number, len(each), 0, 0, 0, join_array([encode(["add", amount]) for amount in each]))


def lived() -> Machine[Tally]:
    """A machine that has something of everything."""
    line = Line()
    machine = Machine(Tally, INTERFACE, CONFIGURATION, line.log.between, group="tally")
    for entries in (
        [EpochStart("a")],
        [SessionAsked(b"n" * 16, "me")],
        [SessionAsked(b"m" * 16, "you")],
        [calls(2, 1, 1, 7, 3)],
        [Versioned(2)],
        [calls(3, 1, 5)],
        [calls(3, 1, 5, 6)],
        [SessionEnded(3)],
        [Due(2)],
    ):
        machine.apply(line.batch(*entries, epoch=1, time=2 * SECOND * (type(entries[0]) is Due)))
    machine.apply(line.batch(EpochStart("b"), epoch=2, time=2 * SECOND))
    machine.apply(line.batch(calls(2, 4, 9), epoch=2, time=2 * SECOND))
    return machine


WHOLE = b"".join(lived().capture())


def frames_of(data: bytes) -> list[list[Any]]:
    """The tokens of each."""
    frames, found, at = Frames([data]), list[list[Any]](), 0
    while at < len(data):
        found.append(frames.read())
        at += _tokens.LENGTH_SIZE + int.from_bytes(data[at : at + _tokens.LENGTH_SIZE], "big")
    return found


FRAMES = frames_of(WHOLE)


def restored(data: bytes) -> Machine[Tally]:
    line = Line()
    return Machine.restored(Tally, INTERFACE, line.log.between, lambda: [data], group="tally")


def goes_on(machine: Machine[Tally]) -> None:
    """It is one that can be captured, and that applies what comes next."""
    kept = b"".join(machine.capture())
    assert b"".join(restored(kept).capture()) == kept
    line = Line(Log((), machine.position))
    epoch = machine.position.epoch + 1
    machine._history = line.log.between  # pyright: ignore[reportPrivateUsage]
    machine.apply(line.batch(EpochStart("a"), epoch=epoch, time=machine.time))
    machine.apply(line.batch(calls(2, 5, 9), calls(3, 1, 9), Due(5), epoch=epoch, time=machine.time + SECOND))


def check(data: bytes) -> bool:
    """Is it one that is restored?"""
    try:
        machine = restored(data)
    except CannotRestore:
        return False
    goes_on(machine)
    return True


def test_what_was_captured_is_restored() -> None:
    assert check(WHOLE)


@settings(CI, max_examples=400)
@given(st.integers(0, len(WHOLE) - 1), st.binary(max_size=4), st.integers(0, 4))
def test_bytes_are_changed(at: int, instead: bytes, size: int) -> None:
    """The digest has told already; but no damage does more than that."""
    check(WHOLE[:at] + instead + WHOLE[at + size :])


SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 40),
    st.sampled_from(
        [2**31, 2**62, 2**63, -(2**63), 1e300, float("nan"), "", "add", b"", b"\x82\x63add\x01", b"x" * 16]
    ),
)
HEADS = st.lists(st.one_of(st.integers(-2, 30), st.integers(0, 2**40), st.text(max_size=3), st.binary(max_size=3)))
PLACES = [(number, at) for number, tokens in enumerate(FRAMES) for at in range(len(tokens))]


def changed(frames: Sequence[Sequence[Any]], changes: Sequence[tuple[tuple[int, int], str, Any]]) -> Iterator[bytes]:
    copies = [[*tokens] for tokens in frames]
    for (number, at), how, token in changes:
        tokens = copies[number]
        at = min(at, len(tokens))
        match how:
            case "replaced":
                tokens[at : at + 1] = [token]
            case "left out":
                del tokens[at : at + 1]
            case "inserted":
                tokens.insert(at, token)
            case _:  # doubled
                tokens[at:at] = tokens[at : at + 1]
    for tokens in copies:
        yield frame(tokens)


CHANGES = st.tuples(
    st.sampled_from(PLACES),
    st.sampled_from(["replaced", "replaced", "left out", "inserted", "doubled"]),
    st.one_of(SCALARS, HEADS),
)


@settings(CI, max_examples=1_000)
@given(st.lists(CHANGES, min_size=1, max_size=3))
def test_its_tokens_are_changed(changes: list[tuple[tuple[int, int], str, Any]]) -> None:
    check(b"".join(changed(FRAMES, changes)))


def test_every_token_is_changed_to_every_kind() -> None:
    """Each alone: so that no part is missed by chance."""
    kinds = [None, True, 0, 1, -1, 1_000, 2**62 + 1, 2.5, "text", b"bytes", [], [0], [99], ["?"], [-1, b"\xff" * 20]]
    for place in PLACES:
        for kind in kinds:
            check(b"".join(changed(FRAMES, [(place, "replaced", kind)])))
        for how in ("left out", "doubled"):
            check(b"".join(changed(FRAMES, [(place, how, None)])))


@dataclass
class Empty:
    """What has a shape, and no value in it."""


def test_heads_without_an_end_are_no_recursion_without_an_end() -> None:
    code = _restoring.Code.SHAPE
    shape = [code.value, "dataclass", "Empty"]
    for head in (shape, [_restoring.Code.LIST.value, 1], [_restoring.Code.FROZENSET.value, 1, True]):
        data = frame([head] * 5_000)
        try:
            Decoder(Frames([data]), __name__).value()
        except CannotRestore:
            continue
        raise AssertionError("it was taken")


# -- the tables --------------------------------------------------------------------------------------------------------

TABLES = st.recursive(st.one_of(SCALARS, st.integers(0, 20)), lambda items: st.lists(items, max_size=8), max_leaves=30)


@settings(CI, max_examples=300)
@given(TABLES)
def test_any_value_in_the_place_of_the_tables(value: Any) -> None:
    machine = lived()
    state = b"".join(_state_of(machine))
    check(state + b"".join(Encoder("").pieces(value)))


def _state_of(machine: Machine[Tally]) -> Iterator[bytes]:
    yield from encode_state(machine.actor)


@settings(CI, max_examples=600)
@given(st.data())
def test_one_part_of_the_tables_is_changed(data: st.DataObject) -> None:
    """Whole values, at any depth: what has the right shape, and contradicts the rest."""
    machine = lived()
    state = b"".join(_state_of(machine))
    frames = Frames([WHOLE[len(state) :]])
    value: Any = Decoder(frames, "").value()
    at = value
    while True:
        index = data.draw(st.integers(0, len(at) - 1))
        if not (isinstance(at[index], list) and at[index] and data.draw(st.booleans())):
            break
        at = at[index]
    at[index] = data.draw(st.one_of(SCALARS, TABLES, st.integers(0, 20)))
    check(state + b"".join(Encoder("").pieces(value)))
