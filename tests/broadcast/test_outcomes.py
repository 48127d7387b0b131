"""Outcomes that are opened many at a time: each is what it is by itself."""

from __future__ import annotations

from typing import Any

import outcome
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from actors import Actor, Refused, command
from actors._interface import Interface
from actors._protocol.codec import INTEGER_MAX, INTEGER_MIN, encode
from broadcast import GroupClosed
from broadcast._outcomes import ANSWERED, INVALID, NOT_KEPT, open_outcome, open_outcomes, pack_answer, pack_refusal
from broadcast._takers import Takers


class Gives(Actor):
    @command
    def number(self) -> int:
        return 1

    @command
    def text(self) -> str:
        return ""

    @command
    def nothing(self) -> None: ...

    @command
    def numbers(self) -> list[int]:
        return []


METHODS = Interface.of(Gives).methods
NUMBERS = st.one_of(st.integers(-3, 3), st.integers(-(2**64), INTEGER_MAX))
ANSWERS = st.one_of(
    NUMBERS,
    st.text(max_size=3),
    st.none(),
    st.booleans(),
    st.lists(st.integers(0, 3), max_size=3),
).map(lambda answer: ANSWERED + _encoded(answer))
OTHERS = st.sampled_from(
    [INVALID, NOT_KEPT, pack_refusal(METHODS["number"], Refused("no", 1)), b"", b"\x82", b"\x9f", GroupClosed("gone")]
)


RESULTS = st.one_of(
    st.lists(NUMBERS.map(lambda answer: ANSWERED + _encoded(answer)), max_size=8),
    st.lists(ANSWERS, max_size=8),
    st.lists(ANSWERS | OTHERS, max_size=8),
)


def _encoded(answer: Any) -> bytes:
    try:
        return encode(answer)
    except ValueError:  # beyond what any of ours would answer
        return b"\x3b" + bytes([255] * 8)


@given(answer=st.integers(INTEGER_MIN, INTEGER_MAX))
@example(answer=INTEGER_MAX)
@example(answer=-1)
@example(answer=INTEGER_MIN)
def test_a_number_is_packed_as_any_value_is(answer: int) -> None:
    assert pack_answer(METHODS["number"], answer) == ANSWERED + encode(answer)


@pytest.mark.parametrize("tag", sorted(METHODS))
@given(results=RESULTS)
def test_many_are_opened_as_each_by_itself(tag: str, results: list[bytes | BaseException]) -> None:
    method = METHODS[tag]
    for came, result in zip(open_outcomes(method, results), results, strict=True):
        alone = result if isinstance(result, BaseException) else outcome.capture(open_outcome, method, result)
        if isinstance(alone, outcome.Value):
            assert (came, type(came.unwrap())) == (alone, type(alone.value))
        else:
            error = alone.error if isinstance(alone, outcome.Error) else alone
            with pytest.raises(type(error)) as raised:
                came.unwrap()
            assert str(raised.value) == str(error)


def test_each_taker_gets_its_own_in_order_and_once() -> None:
    got: list[tuple[str, list[object]]] = []
    takers = Takers()
    first, second = (lambda results, name=name: got.append((name, list(results))) for name in ("first", "second"))
    for taker in (first, first, second, first):
        takers.add(taker)
    assert len(takers) == 4
    takers.hand_out([b"1"])
    takers.hand_out([b"2", b"3", b"4"])
    assert got == [("first", [b"1"]), ("first", [b"2"]), ("second", [b"3"]), ("first", [b"4"])]
    assert len(takers) == 0


def test_who_still_waits_is_told_why_there_is_nothing() -> None:
    got: list[object] = []
    takers, error = Takers(), GroupClosed("gone")
    for _ in range(3):
        takers.add(got.extend)
    takers.hand_out([b"1"])
    takers.give_up(error)
    assert got == [b"1", error, error]
    assert len(takers) == 0
