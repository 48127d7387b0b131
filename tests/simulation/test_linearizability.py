"""The checker of histories, beside one that tries every order."""

from __future__ import annotations

from itertools import permutations
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors import Actor, Refused, command, query
from broadcast._simulation.linearizability import Operation, check


class Register(Actor):
    def __init__(self) -> None:
        self.value = 0

    @command
    def swap(self, value: int) -> int:
        self.value, old = value, self.value
        return old

    @command
    def refuse(self) -> None:
        raise Refused(self.value)

    @query
    def read(self) -> int:
        return self.value


class Registers(Actor):
    def __init__(self) -> None:
        self.values: dict[str, int] = {}

    @command
    def write(self, key: str, value: int) -> None:
        self.values[key] = value

    @query
    def read(self, key: str) -> int:
        return self.values.get(key, 0)


def call(method: str, *arguments: object, at: tuple[float, float | None], outcome: object = None) -> Operation:
    return Operation("c", method, arguments, *at, outcome)


def dumb(history: list[Operation]) -> bool:
    """Every order of every choice among those whose outcome is unknown."""
    known = [each for each in history if each.ended is not None]
    unknown = [each for each in history if each.ended is None]
    for mask in range(1 << len(unknown)):
        chosen = known + [each for bit, each in enumerate(unknown) if mask >> bit & 1]
        if any(_keeps_time(order) and _is_run(order) for order in permutations(chosen)):
            return True
    return False


def _keeps_time(order: tuple[Operation, ...]) -> bool:
    return not any(
        later.ended is not None and later.ended < earlier.begun
        for at, earlier in enumerate(order)
        for later in order[at + 1 :]
    )


def _is_run(order: tuple[Operation, ...]) -> bool:
    register: Any = Register()
    for each in order:
        try:
            outcome = getattr(register, each.method)(*each.arguments)
        except Refused as refusal:
            outcome = ("refused", refusal.args)
        expected = ("refused", each.outcome.args) if isinstance(each.outcome, Refused) else each.outcome
        if each.ended is not None and outcome != expected:
            return False
    return True


@st.composite
def operations(draw: st.DrawFn) -> Operation:
    begun = draw(st.integers(0, 12))
    ended = draw(st.none() | st.integers(begun, 12).map(lambda at: at + 0.5))
    value = st.integers(0, 2)
    match draw(st.sampled_from(("swap", "swap", "read", "refuse"))):
        case "swap":
            return call("swap", draw(value), at=(begun, ended), outcome=draw(value))
        case "read":
            return call("read", at=(begun, ended), outcome=draw(value))
        case _:
            return call("refuse", at=(begun, ended), outcome=Refused(draw(value)))


@given(st.lists(operations(), max_size=5))
def test_it_says_what_trying_every_order_says(history: list[Operation]) -> None:
    assert check(history, Register).linearizable is dumb(history)


@given(st.lists(st.tuples(st.integers(0, 5), st.floats(0, 3), st.booleans()), max_size=12), st.randoms())
def test_what_was_run_in_some_order_is_linearizable(calls: list[tuple[int, float, bool]], chance: Any) -> None:
    register, history = Register(), list[Operation]()
    for moment, (value, spread, known) in enumerate(calls):
        old = register.swap(value)
        history.append(call("swap", value, at=(moment - spread, moment + spread if known else None), outcome=old))
    chance.shuffle(history)
    verdict = check(history, Register)
    assert verdict.linearizable
    assert _is_run(verdict.order)


def test_a_stale_read_is_found_and_shown() -> None:
    history = [
        call("swap", 1, at=(0, 1), outcome=0),
        call("swap", 2, at=(2, 3), outcome=1),
        call("read", at=(4, 5), outcome=1),
    ]
    verdict = check(history, Register)
    assert verdict.linearizable is False
    assert (verdict.order, verdict.stuck) == (tuple(history[:2]), (history[2],))
    assert "c: read() = 1 from 4.000000 to 5.000000" in str(verdict)


def test_parts_that_have_nothing_in_common_are_looked_at_one_by_one() -> None:
    """Together they would take a search through all of their mixtures."""
    history = [
        call("write", f"key {number % 40}", number, at=(0, 100 if number % 3 else None)) for number in range(200)
    ]
    history += [call("read", f"key {key}", at=(200, 201), outcome=160 + key) for key in range(40)]

    def key(operation: Operation) -> object:
        return operation.arguments[0]

    verdict = check(history, Registers, key)
    assert verdict.linearizable
    history.append(call("read", "key 7", at=(202, 203), outcome=7))
    assert check(history, Registers, key).linearizable is False


@pytest.mark.parametrize("steps_max", [0, 1])
def test_a_search_that_takes_too_long_is_given_up(steps_max: int) -> None:
    history = [call("swap", 1, at=(0, 1), outcome=0), call("swap", 2, at=(0, 1), outcome=1)]
    verdict = check(history, Register, steps_max=steps_max)
    assert verdict.linearizable is None
    assert str(verdict).startswith("undecided")
