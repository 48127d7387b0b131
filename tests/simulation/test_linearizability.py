"""The checker of histories, beside one that tries every order."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import permutations
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors import Actor, ActorCrashed, InvalidMessage, Refused, command, query
from broadcast import AnswerNotKept
from broadcast._simulation.history import run
from broadcast._simulation.linearizability import CannotCheck, Operation, check
from broadcast._simulation.options import MILLISECOND, SECOND, Options
from broadcast._simulation.registers import Swaps


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


def test_an_answer_that_was_not_kept_may_have_been_any_but_the_command_was_applied() -> None:
    lost = call("swap", 1, at=(2, 3), outcome=AnswerNotKept("Register.swap"))
    before, after = call("swap", 7, at=(0, 1), outcome=0), call("read", at=(4, 5), outcome=1)
    assert check([before, lost, after], Register).linearizable
    for seen in (7, 0):
        assert check([before, lost, call("read", at=(4, 5), outcome=seen)], Register).linearizable is False
    refused = call("refuse", at=(0, 1), outcome=AnswerNotKept("Bag.refuse"))
    assert check([refused], Bag).linearizable is False


# -- operations are run as replicas run them ---------------------------------------------------------------------------


@dataclass
class Point:
    x: int


class NoRoom(Refused):
    def __init__(self, *, room: int) -> None:
        super().__init__(f"room for {room}")


class Bag(Actor):
    def __init__(self) -> None:
        self.items: list[int] = []
        self.ratio = 0.0

    @command
    def put(self, item: int) -> None:
        self.items.append(item)

    @command
    def pour(self, items: list[int], at: Point | None = None) -> int:
        """Empties what it is given."""
        while items:
            self.items.append(items.pop())
        self.items.append(at.x if at else 0)
        return sum(self.items)

    @command
    def pop(self) -> int:
        return self.items.pop()

    @command
    def spill(self) -> None:
        self.items.clear()
        raise ZeroDivisionError

    @command
    def refuse(self) -> None:
        raise NoRoom(room=len(self.items))

    @command
    def divide(self, ratio: float) -> float:
        self.ratio = ratio
        return ratio

    @query
    def half(self) -> float:
        return len(self.items) // 2

    @query
    def content(self) -> tuple[int, ...]:
        return tuple(self.items)

    @query
    def wrong(self) -> int:
        return "text"  # type: ignore[return-value]


def is_good(*history: Operation) -> bool | None:
    return check(history, Bag).linearizable


def test_each_trial_gets_arguments_of_its_own() -> None:
    add = call("pour", [], at=(1, 2), outcome=0)
    for items, came in (([5], 5), ([5], 0)):
        pour = call("pour", items, at=(0, 3), outcome=came)
        assert is_good(pour, add) is (came == 5)
        assert pour.arguments == ([5],)


def test_arguments_come_as_they_are_declared() -> None:
    assert is_good(call("pour", [1], Point(2), at=(0, 1), outcome=3))
    with pytest.raises(InvalidMessage, match=r"Bag\.put: item: Expected `int`"):
        is_good(call("put", "x", at=(0, 1)))


def test_what_crashes_in_an_order_that_is_merely_tried_does_not_fit_there() -> None:
    assert is_good(call("pop", at=(0, 3), outcome=1), call("put", 1, at=(1, 2)))
    assert is_good(call("pop", at=(0, None)), call("put", 1, at=(1, 2)), call("content", at=(3, 4), outcome=()))


def test_a_crash_is_an_outcome_and_changes_nothing() -> None:
    crashed = ActorCrashed("whatever it says")
    put = call("put", 1, at=(0, 1))
    content = call("content", at=(4, 5), outcome=(1,))
    assert is_good(put, call("spill", at=(2, 3), outcome=crashed), content)
    assert not is_good(put, call("put", 2, at=(2, 3), outcome=crashed), content)
    assert not is_good(put, call("spill", at=(2, 3), outcome=None), content)
    assert is_good(call("wrong", at=(0, 1), outcome=crashed))
    assert not is_good(call("wrong", at=(0, 1), outcome="text"))


def test_a_refusal_is_its_class_and_its_arguments() -> None:
    put = call("put", 1, at=(0, 1))
    assert is_good(put, call("refuse", at=(2, 3), outcome=NoRoom(room=1)))
    assert not is_good(put, call("refuse", at=(2, 3), outcome=NoRoom(room=2)))
    assert not is_good(put, call("refuse", at=(2, 3), outcome=Refused("room for 1")))


@pytest.mark.parametrize(
    ("ratio", "came", "good"),
    [
        (1.0, 1.0, True),
        (1.0, 2.0, False),
        (1, 1.0, True),
        (float("nan"), float("nan"), True),
        (1.0, True, False),
        (1.0, None, False),
    ],
)
def test_answers_are_the_same_if_their_asker_sees_no_difference(ratio: float, came: object, good: bool) -> None:
    assert is_good(call("divide", ratio, at=(0, 1), outcome=came)) is good


def test_an_answer_is_compared_as_it_arrives() -> None:
    assert is_good(call("half", at=(0, 1), outcome=0.0))
    assert not check(
        [call("swap", 1, at=(0, 1), outcome=0), call("read", at=(2, 3), outcome=True)], Register
    ).linearizable


class Stamped(Actor):
    def __init__(self) -> None:
        self.count = 0

    @command
    def edition(self) -> int:
        self.count += 1
        return self.context.version

    @command
    def look(self, what: str) -> None:
        getattr(self.context, what)


def test_a_class_may_look_at_what_is_the_same_for_all_operations() -> None:
    assert check([call("edition", at=(0, 1), outcome=1)], Stamped).linearizable


@pytest.mark.parametrize("what", ["time", "position", "timestamp", "random", "sender"])
def test_a_class_that_looks_at_its_place_in_the_order_cannot_be_checked(what: str) -> None:
    with pytest.raises(CannotCheck, match=rf"^Stamped\.look looks at self\.context\.{what}, which no history tells"):
        check([call("look", what, at=(0, 1))], Stamped)


# -- simulated histories (a read that is not fresh is found so in test_mutants) ----------------------------------------


@pytest.mark.parametrize("seed", range(4))
def test_what_clients_of_a_group_under_faults_saw_is_linearizable(seed: int) -> None:
    options = Options(clients=4, duration=2 * SECOND, strike_interval=200 * MILLISECOND, reordering=0.2)
    assert run(seed, options=options, play=Swaps(), again="with registers").marks["answers"] > 100
