"""Commands that raise: undone and agreed, or the replica stops before them and says which (rule 24)."""

from __future__ import annotations

import signal
from dataclasses import dataclass
from typing import Any
from unittest.mock import patch

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from machine_scene import Scene, begun, calls, outcomes

from actors._actor import Actor, command, query
from actors._protocol.codec import decode, encode
from actors._protocol.errors import InvariantViolation, Refused
from broadcast import _base
from broadcast._errors import CannotApply
from broadcast._protocol.entries import SessionKept
from broadcast._protocol.sessions import Outcome

RUNS: list[str] = []  # what was really run, replays included


class Ledger(Actor):
    """Whatever a command comes to, it changes the state before."""

    def __init__(self) -> None:
        self.entries: list[int] = []
        self.by_name: dict[tuple[str, int], list[int]] = {("all", 0): []}
        self.seen: list[str] = []

    def _note(self, number: int) -> None:
        RUNS.append("run")
        self.entries.append(number)
        self.by_name["all", 0].append(number)

    @command
    def add(self, number: int) -> int:
        self._note(number)
        return len(self.entries)

    @command
    def refuse(self, number: int) -> None:
        self._note(number)
        raise Refused(number)

    @command
    def crash(self, number: int) -> None:
        self._note(number)
        raise ArithmeticError

    @command
    def leave(self, number: int) -> None:
        self._note(number)
        raise SystemExit(number)

    @command
    def pour(self, numbers: Any) -> None:
        self.entries.extend(numbers)
        numbers.clear()
        if len(self.entries) > 3:
            raise SystemExit

    @command
    def look(self) -> None:
        self.seen.append(f"{self.context.sender} {self.context.position} {self.context.timestamp} {self.context.time}")

    @query
    def count(self) -> int:
        return len(self.entries)


KEPT = ("add", "refuse")
NUMBERS = st.integers(-9, 9)
CALL = st.tuples(st.sampled_from(["add", "refuse", "crash", "leave", 7, None]), NUMBERS)
RUN = st.tuples(st.lists(CALL, min_size=1, max_size=6), st.integers(0, 3))  # its calls, and how many are repetitions


@settings(max_examples=100, deadline=None)
@given(st.lists(RUN, max_size=8), st.integers(1, 6))
def test_live_replayed_and_naive_states_are_the_same(runs: list[Any], interval: int) -> None:
    """Also when a refused command had changed something, wherever an undo begins."""
    with patch.object(_base, "COUNT_MIN", interval):
        scene, naive, last, sent = begun(Ledger), list[int](), 0, list[Any]()
        for run, repeated in runs:
            sent.extend(run)
            first = max(last + 1 - repeated, 1)
            last = len(sent)
            scene.apply(calls(first, *([tag, number] if tag else None for tag, number in sent[first - 1 : last])))
            naive.extend(number for tag, number in run if tag in KEPT)
            assert scene.machine.actor.entries == naive
            assert scene.machine.actor.by_name["all", 0] == naive
        again = Scene(Ledger)
        for batch in scene.log.between(0, scene.log.last.index):
            again.log.append(batch)
            again.machine.apply(batch)
        assert again.machine.actor.entries == naive
        assert vars(again.machine.actor) == vars(scene.machine.actor)
        assert again.delivered() == scene.delivered()


def test_a_refused_command_is_replayed_too() -> None:
    scene = begun(Ledger)
    reports = scene.apply(calls(1, ["add", 1], ["refuse", 2], ["crash", 3], ["add", 4]))
    assert outcomes(reports) == [
        [0, 1],
        [Outcome.REFUSED, "Refused", [2]],
        [Outcome.CRASHED, "ArithmeticError"],
        [0, 3],
    ]
    assert scene.machine.actor.entries == [1, 2, 4]


def test_the_context_is_right_again_behind_an_undo() -> None:
    scene = begun(Ledger)
    scene.apply(calls(1, ["look"], ["add", 1]), time=5)
    scene.apply(calls(3, ["crash", 1], ["look"], ["look"]), SessionKept(2, 0), time=7)
    places = [line.split(" Timestamp") for line in scene.machine.actor.seen]
    assert [place for place, _ in places] == [f"owner Position(epoch=1, index={at})" for at in (3, 6, 7)]
    batch = scene.log.batch_at(5)
    assert batch is not None
    assert f"counter={batch.stamp + 1}," in places[1][1]
    assert f"counter={batch.stamp + 2}," in places[2][1]
    assert [rest[-32:] for _, rest in places] == [f"1970-01-01 00:00:00.00000{at}+00:00" for at in (5, 7, 7)]


# -- what an undo costs ------------------------------------------------------------------------------------------------


def replayed(scene: Scene[Any], number: int) -> int:
    """How many commands a crash, the one with this number, has run beside itself."""
    RUNS.clear()
    scene.apply(calls(number, ["crash", 0], acknowledged=number - 1))
    return len(RUNS) - 1


def test_a_crash_replays_only_what_was_applied_since_the_one_before() -> None:
    scene = begun(Ledger)
    scene.apply(calls(1, *[["add", 1]] * 500))
    assert replayed(scene, 501) == 500
    assert replayed(scene, 502) == 0
    scene.apply(calls(503, *[["add", 1]] * 7))
    assert replayed(scene, 510) == 7
    assert scene.machine.actor.entries == [1] * 507


def test_after_the_first_crash_what_is_replayed_has_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_base, "COUNT_MIN", 20)
    monkeypatch.setattr(_base, "SIZE_PER_COMMAND", 10**9)
    scene = begun(Ledger)
    scene.apply(calls(1, ["crash", 0]))
    number = 2
    for length in (3, 50, 100, 7):
        for _ in range(length):
            scene.apply(calls(number, *[["add", 1]] * 3, acknowledged=number - 1))
            number += 3
        assert replayed(scene, number) <= max(20, 2 * length) + 3
        number += 1
    assert scene.machine.actor.entries == [1] * 160 * 3


def test_who_crashes_no_more_is_soon_left_in_peace(monkeypatch: pytest.MonkeyPatch) -> None:
    """To keep a state is to do nothing else meanwhile."""
    monkeypatch.setattr(_base, "COUNT_MIN", 20)
    kept: list[int] = []
    honest = _base.Base.take

    def take(self: _base.Base, actor: Ledger, index: int) -> None:
        kept.append(index)
        honest(self, actor, index)

    monkeypatch.setattr(_base.Base, "take", take)
    scene = begun(Ledger)
    scene.apply(calls(1, ["crash", 0]))
    for number in range(2, 2000):
        scene.apply(calls(number, ["add", 1], acknowledged=number - 1))
    assert len(kept) == 1 + 6


def test_a_state_that_takes_long_to_keep_is_kept_after_an_undo_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    scene, base = begun(Ledger), _base.Base()
    base.undone(scene.machine.actor, 1)
    assert base.due < _base.NEVER
    monkeypatch.setattr(_base, "KEPT_SIZE_MAX", 10)
    base.undone(scene.machine.actor, 1000)
    assert (base.index, base.due) == (1000, _base.NEVER)


def test_a_large_state_is_kept_less_often() -> None:
    scene, base = begun(Ledger), _base.Base()
    scene.machine.actor.entries.extend([2**40] * 100_000)
    base.take(scene.machine.actor, 1000)
    assert 1000 + 900_000 // 32 <= base.due <= 1000 + 901_000 // 32


IDLE = object()  # no two processes have the same


class Odd(Ledger):
    def __init__(self) -> None:
        super().__init__()
        self.mood = IDLE

    @command
    def wake(self) -> bool:
        return self.mood is IDLE


def test_a_state_of_which_a_copy_would_be_another_is_replayed_from_the_beginning() -> None:
    scene = begun(Odd)
    scene.apply(calls(1, *[["add", 1]] * 9))
    assert [replayed(scene, number) for number in (10, 11)] == [9, 9]
    assert outcomes(scene.apply(calls(12, ["wake"]))) == [[Outcome.APPLIED, True]]
    assert scene.machine.actor.entries == [1] * 9


# -- what is no Exception, or not the same everywhere ------------------------------------------------------------------


def test_what_is_no_exception_is_an_agreed_crash_too() -> None:
    scene = begun(Ledger)
    reports = scene.apply(calls(1, ["add", 1], ["leave", 2], ["add", 3]))
    assert outcomes(reports) == [[0, 1], [Outcome.CRASHED, "SystemExit"], [0, 2]]
    assert scene.machine.actor.entries == [1, 3]


def test_a_command_is_tried_again_with_what_it_was_given_at_first() -> None:
    scene = begun(Ledger)
    reports = scene.apply(calls(1, ["pour", [1, 2]], ["pour", [3, 4]], ["add", 5]))
    assert outcomes(reports) == [[0, None], [Outcome.CRASHED, "SystemExit"], [0, 3]]
    assert scene.machine.actor.entries == [1, 2, 5]


class Interrupted(Ledger):
    """Its methods are interrupted by a signal, as long as there are some."""

    @command
    def add(self, number: int) -> int:
        self.entries.append(number)
        if SIGNALS:
            signal.raise_signal(SIGNALS.pop())
        return len(self.entries)

    @query
    def count(self) -> int:
        if SIGNALS:
            signal.raise_signal(SIGNALS.pop())
        return len(self.entries)


SIGNALS: list[int] = []


@pytest.mark.parametrize("looking", [True, False])
def test_what_a_handler_of_signals_raises_is_no_crash_of_the_command(looking: bool) -> None:
    def leave(number: int, frame: object) -> None:
        raise SystemExit(number)

    scene = begun(Interrupted)
    before = signal.signal(signal.SIGTERM, leave)
    SIGNALS[:] = [signal.SIGTERM]
    try:
        with pytest.raises(SystemExit) as left:
            scene.machine.query(encode(["count"]), "me") if looking else scene.apply(calls(1, ["add", 1]))
    finally:
        signal.signal(signal.SIGTERM, before)
        SIGNALS.clear()
    assert left.value.code == signal.SIGTERM


@pytest.mark.parametrize("looking", [True, False])
def test_an_interrupt_from_the_keyboard_waits_until_the_machine_is_done(looking: bool) -> None:
    """Also the second of an impatient user."""
    scene = begun(Interrupted)
    came: list[object] = []

    async def main() -> None:
        SIGNALS[:] = [signal.SIGINT] * 2
        if looking:
            came.append(decode(scene.machine.query(encode(["count"]), "me")))
        else:
            came.extend(outcomes(scene.apply(calls(1, ["add", 1], ["add", 2]))))
        await trio.lowlevel.checkpoint()

    try:
        with pytest.raises(KeyboardInterrupt):
            trio.run(main)
    finally:
        SIGNALS.clear()
    assert came == ([[Outcome.APPLIED, 0]] if looking else [[Outcome.APPLIED, 1], [Outcome.APPLIED, 2]])


class Fragile(Actor):
    """Raises what it is told to."""

    def __init__(self) -> None:
        self.kept: list[int] = []

    @command
    def keep(self, number: int) -> None:
        self.kept.append(number)

    @command
    def fail(self, kind: str) -> None:
        self.kept.append(0)
        raise KINDS[kind]("its text may differ between nodes")

    @command
    def waver(self) -> int:
        if WAVERS:
            raise WAVERS.pop()
        return 0

    @query
    def ask(self, kind: str) -> int:
        raise KINDS[kind]


KINDS: dict[str, type[BaseException]] = {
    kind.__name__: kind
    for kind in (MemoryError, RecursionError, InvariantViolation, SystemExit, GeneratorExit, ZeroDivisionError)
}
WAVERS: list[Exception] = []


@pytest.mark.parametrize("kind", ["MemoryError", "RecursionError"])
def test_a_replica_stops_before_what_may_depend_on_the_process(kind: str) -> None:
    scene = begun(Fragile)
    with pytest.raises(CannotApply) as stopped:
        scene.apply(calls(1, ["keep", 1], ["fail", kind], ["keep", 2]))
    error = stopped.value
    assert (error.group, error.index, error.command) == ("purses", 4, "Fragile.fail")
    where = "group purses: the replica has stopped before index 4, the command Fragile.fail"
    assert str(error).startswith(f"{where}: it raised {kind}, ")
    assert "start all replicas with a class that" in str(error)
    assert isinstance(error.__cause__, KINDS[kind])
    assert scene.machine.applied == 2


def test_a_recursion_that_has_no_end_stops_the_replica_as_well() -> None:
    class Endless(Actor):
        @command
        def turn(self) -> None:
            self.turn()

    scene = begun(Endless)
    with pytest.raises(CannotApply, match=r"index 3, the command Endless\.turn: it raised RecursionError"):
        scene.apply(calls(1, ["turn"]))


def test_our_own_bugs_are_no_crash_of_the_command() -> None:
    scene = begun(Fragile)
    with pytest.raises(InvariantViolation):
        scene.apply(calls(1, ["fail", "InvariantViolation"]))
    with pytest.raises(InvariantViolation):
        scene.machine.query(encode(["ask", "InvariantViolation"]), "me")


@pytest.mark.parametrize(
    ("error", "told"), [(ValueError(), "raised ValueError when it was run again"), (Refused(), "is REFUSED when")]
)
def test_a_replica_stops_where_a_command_comes_out_otherwise_than_before(error: Exception, told: str) -> None:
    scene = begun(Fragile)
    scene.apply(calls(1, ["waver"]))
    WAVERS[:] = [error]
    with pytest.raises(CannotApply, match=rf"index 3, the command Fragile\.waver: it was APPLIED, and {told}"):
        scene.apply(calls(2, ["fail", "ZeroDivisionError"]))


@dataclass
class Block:
    size: int

    def __post_init__(self) -> None:
        if self.size > 2**40:
            raise MemoryError


class Store(Actor):
    @command
    def take(self, block: Block) -> None: ...


def test_what_cannot_be_opened_for_want_of_memory_is_kept_out_and_stops_whoever_meets_it() -> None:
    scene = begun(Store)
    assert scene.machine.understands(["take", {"size": 1}])
    assert not scene.machine.understands(["take", {"size": 2**50}])
    with pytest.raises(CannotApply, match=r"index 3, the command Store\.take: it raised MemoryError"):
        scene.apply(calls(1, ["take", {"size": 2**50}]))


@pytest.mark.parametrize("kind", ["MemoryError", "RecursionError", "SystemExit", "GeneratorExit", "ZeroDivisionError"])
def test_a_query_that_raises_stops_nobody(kind: str) -> None:
    scene = begun(Fragile)
    assert decode(scene.machine.query(encode(["ask", kind]), "me")) == [Outcome.CRASHED, kind]
    scene.apply(calls(1, ["keep", 1]))
    assert scene.machine.actor.kept == [1]
