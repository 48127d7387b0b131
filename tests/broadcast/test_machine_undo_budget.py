"""Who has to be undone pays for it: so much at once, so much in each while, and the rest is not run (rule 24)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from machine_scene import SECOND, Scene, calls, outcomes

from actors._actor import Actor, command
from actors._interface import Interface
from actors._protocol.codec import encode
from actors._protocol.errors import Overloaded
from broadcast._base import Base
from broadcast._machine import Machine
from broadcast._outcomes import pack_wait, unpack_outcome
from broadcast._protocol.crashes import Undos
from broadcast._protocol.effects import HELD_AT_ONCE_MAX
from broadcast._protocol.entries import Due, EpochStart, SessionAsked, SessionEnded
from broadcast._protocol.sessions import Outcome
from membership._protocol.view import Configuration, Limits, Member

RUNS: list[str] = []  # what was really run, replays included


class Ledger(Actor):
    def __init__(self) -> None:
        self.entries: list[int] = []

    def _note(self, number: int) -> None:
        RUNS.append("run")
        self.entries.append(number)

    @command
    def add(self, number: int) -> int:
        self._note(number)
        return len(self.entries)

    @command
    def crash(self, number: int) -> None:
        self._note(number)
        raise ArithmeticError

    @command
    def fail(self, number: int) -> None:
        """It is another one."""
        self._note(number)
        raise ArithmeticError

    @command
    def divide(self, by: int) -> int:
        """Crashes now and then."""
        self._note(by)
        return 12 // by

    @command
    def spread(self, count: int) -> None:
        """Leaves too much behind, or something."""
        self._note(count)
        for number in range(count):
            self.context.after(0, Ledger.add, number)

    @command
    def plan(self, count: int) -> None:
        """Leaves so many crashes behind."""
        for number in range(count):
            self.context.after(0, Ledger.crash, number)

    @command
    def remind(self, numbers: list[int]) -> None:
        for number in numbers:
            self.context.after(0, Ledger.divide, number)


class Counting(Base):
    """Counts undos."""

    def __init__(self) -> None:
        super().__init__()
        self.undos = 0

    def move_to(self, actor: Actor) -> int:
        self.undos += 1
        return super().move_to(actor)


def begun(*, undos_max: int = 3, undo_interval: int = SECOND, **limits: Any) -> Scene[Ledger]:
    """One where `a` leads, and sessions 2, 3 and 4 are open."""
    scene = Scene(Ledger)
    given = Limits(session_term=1000 * SECOND, undos_max=undos_max, undo_interval=undo_interval, **limits)
    configuration = Configuration((Member("a", b"a" * 16),), limits=given)
    interface = Interface.of(Ledger)
    scene.machine = Machine(Ledger, interface, configuration, scene.log.between, group="purses", base=Counting())
    scene.apply(EpochStart("a"))
    for number in (2, 3, 4):
        scene.apply(SessionAsked(bytes([number]) * 16, "owner"))
    RUNS.clear()
    return scene


CRASHED = [Outcome.CRASHED, "ArithmeticError"]


def wait(seconds: float) -> list[object]:
    return [Outcome.OVERLOADED, "undos", round(seconds * SECOND)]


def wait_for_all(seconds: float) -> list[object]:
    return [Outcome.OVERLOADED, "undos of all", round(seconds * SECOND)]


def came(scene: Scene[Ledger], number: int, *each: object, at: float = 0, session: int = 2) -> list[object]:
    return outcomes(scene.apply(calls(number, *each, session=session), time=round(at * SECOND)))


def undos(scene: Scene[Ledger]) -> int:
    base = scene.machine._base  # pyright: ignore[reportPrivateUsage]
    assert isinstance(base, Counting)
    return base.undos


def test_what_had_to_be_undone_too_often_is_not_run_and_the_rest_is() -> None:
    scene = begun()
    assert came(scene, 1, *[["crash", 0]] * 5, ["add", 1], ["crash", 0]) == [
        *[CRASHED] * 3,
        *[wait(1)] * 2,
        [0, 1],
        wait(1),
    ]
    assert (undos(scene), len(RUNS)) == (3, 4)
    assert scene.machine.actor.entries == [1]
    assert [index for index, _, _ in scene.delivered()] == [10]


def test_others_have_a_budget_of_their_own() -> None:
    scene = begun()
    came(scene, 1, *[["crash", 0]] * 4)
    assert came(scene, 1, *[["crash", 0]] * 4, session=3) == [*[CRASHED] * 3, wait(1)]


def test_all_together_have_twice_what_one_has() -> None:
    scene = begun()
    came(scene, 1, *[["crash", 0]] * 3)
    came(scene, 1, *[["crash", 0]] * 2, session=3)
    mine = came(scene, 1, *[["crash", 0]] * 3, ["fail", 0], ["add", 1], session=4)
    assert mine == [CRASHED, *[wait_for_all(1)] * 2, CRASHED, [0, 1]], "what had crashed is held up, and nothing else"
    assert came(scene, 6, ["crash", 0], session=4, at=1) == [wait_for_all(1)], "the last one is not paid for yet"
    assert came(scene, 7, ["crash", 0], session=4, at=2) == [CRASHED]
    assert came(scene, 4, ["crash", 0], at=2) == [wait_for_all(1)]


def test_it_fills_as_log_time_gets_on() -> None:
    scene = begun()
    came(scene, 1, *[["crash", 0]] * 3)
    assert came(scene, 4, ["crash", 0], at=0.25) == [wait(0.75)]
    assert came(scene, 5, *[["crash", 0]] * 2, at=1) == [CRASHED, wait(1)]
    assert came(scene, 7, *[["crash", 0]] * 3, at=3.5) == [CRASHED, CRASHED, wait(0.5)]
    assert came(scene, 10, *[["crash", 0]] * 4, at=1000) == [*[CRASHED] * 3, wait(1)]


def test_a_method_is_held_up_whatever_it_would_come_to_but_only_once_it_crashed() -> None:
    scene = begun()
    came(scene, 1, *[["crash", 0]] * 3)
    zero = [Outcome.CRASHED, "ZeroDivisionError"]
    assert came(scene, 4, ["divide", 3], ["divide", 0], ["divide", 3]) == [[0, 4], zero, wait(2)]
    assert came(scene, 7, ["divide", 3], at=2) == [[0, 4]]


def test_a_method_that_crashed_before_all_was_paid_for_is_not_held_up_by_another_one() -> None:
    scene = begun()
    came(scene, 1, ["divide", 0])
    assert came(scene, 2, *[["crash", 0]] * 3, ["divide", 3], at=1)[-1] == [0, 4]
    assert came(scene, 6, ["crash", 0], at=1) == [wait(1)]


def test_what_finds_no_room_for_what_it_leaves_costs_as_much() -> None:
    scene = begun(effects_max=2)
    full = [Outcome.OVERLOADED, 0, 0]
    assert came(scene, 1, *[["spread", 5]] * 4, ["spread", 1]) == [*[full] * 3, wait(1), wait(1)]
    assert undos(scene) == 3


def test_what_the_actor_tells_itself_has_a_budget_too() -> None:
    scene = begun()
    came(scene, 1, ["plan", 5])
    scene.apply(Due(5), time=0)
    indices = range(6, 11)
    assert [scene.machine.came_to(index) for index in indices] == [Outcome.CRASHED] * 3 + [Outcome.OVERLOADED] * 2
    assert [each.outcome for each in scene.machine.unheard] == [Outcome.CRASHED] * 3, "the others wait"
    assert came(scene, 2, ["crash", 0]) == [CRASHED], "it is nobody's session"


def test_what_is_due_and_held_up_waits_and_runs_once_in_its_order() -> None:
    scene = begun()
    came(scene, 1, ["remind", [0, 0, 0, 0, 12, 6, 0, 4, 3]], ["spread", 1])
    scene.apply(Due(10))
    assert scene.machine.actor.entries == [1, 0], "what is of another kind does not wait"
    assert scene.machine.due == (SECOND, 6), "all are said to be due that will be if they go well"
    assert (len(scene.machine.effects), undos(scene)) == (6, 3)
    scene.apply(Due(6), time=SECOND - 1)
    assert len(scene.machine.effects) == 6
    scene.apply(Due(6), time=SECOND)  # the first crashes
    assert (scene.machine.due, undos(scene)) == ((2 * SECOND, 5), 4)
    scene.apply(Due(2), time=2 * SECOND)
    came(scene, 3, ["remind", [2]], at=2)
    scene.apply(Due(1), time=2 * SECOND)
    assert (scene.machine.actor.entries, undos(scene)) == ([1, 0, 12, 6], 5)
    scene.apply(Due(9), time=3 * SECOND)
    assert scene.machine.actor.entries == [1, 0, 12, 6, 4, 3, 2], "and what came later, later"
    assert (scene.machine.due, scene.machine.effects.size) == ((None, 0), 0)
    numbers = [arguments[0] for _, tag, arguments in scene.delivered() if tag in ("divide", "add")]
    assert numbers == [0, 12, 6, 4, 3, 2], "it is delivered once, where it ran"


def test_what_is_held_up_takes_the_room_that_it_had() -> None:
    scene = begun(effects_max=6)
    came(scene, 1, ["remind", [0] * 6])
    scene.apply(Due(6))
    assert came(scene, 2, ["spread", 4]) == [[Outcome.OVERLOADED, 3, scene.machine.effects.size]]
    assert came(scene, 3, ["spread", 3]) == [[0, None]]


def test_crashes_that_wait_cost_one_undo_each_second_and_few_places() -> None:
    scene = begun()
    came(scene, 1, ["plan", 1_000])
    said = 0
    for second in range(20):
        while (due := scene.machine.due)[0] is not None and due[0] <= second * SECOND:
            said += due[1]
            scene.apply(Due(due[1]), time=second * SECOND)
    assert undos(scene) == 3 + 19
    assert len(scene.machine.effects) == 1_000 - undos(scene)
    assert said <= 1_000 + 19 * HELD_AT_ONCE_MAX


def test_what_was_not_run_is_not_run_again_for_an_undo() -> None:
    scene = begun()
    came(scene, 1, *[["crash", 0]] * 4, ["add", 1], ["spread", 1], ["crash", 0])
    came(scene, 1, ["add", 2], ["crash", 0], session=3)
    assert scene.machine.actor.entries == [1, 1, 2]


def restored(scene: Scene[Ledger]) -> Machine[Ledger]:
    written = b"".join(scene.machine.capture())
    machine = Machine.restored(Ledger, Interface.of(Ledger), scene.log.between, lambda: [written], group="purses")
    assert b"".join(machine.capture()) == written
    return machine


def test_it_is_the_same_after_a_restart() -> None:
    scene = begun()
    came(scene, 1, ["crash", 0], ["fail", 0], ["plan", 6])
    scene.apply(Due(6))
    assert scene.machine.effects.held_up
    other = restored(scene)
    for entry, time in (
        (calls(4, ["crash", 0], ["fail", 0], ["add", 1]), 0),
        (calls(7, ["fail", 0], ["plan", 1]), SECOND),
        (Due(2), SECOND),
        (Due(3), 2 * SECOND),
        (calls(9, ["crash", 0], ["crash", 0]), 3 * SECOND),
    ):
        batch = scene.append(entry, time=time)
        assert other.apply(batch) == scene.machine.apply(batch)
        assert b"".join(other.capture()) == b"".join(scene.machine.capture())


def test_it_is_forgotten_with_its_session_and_what_all_had_undone_once_something_else_is() -> None:
    scene = begun()
    came(scene, 1, *[["crash", 0]] * 4)
    assert b"".join(scene.machine.capture()).count(b"crash") == 2
    scene.apply(SessionEnded(2))
    assert b"".join(scene.machine.capture()).count(b"crash") == 1
    came(scene, 1, ["fail", 0], at=4, session=3)
    assert b"crash" not in b"".join(scene.machine.capture())


@pytest.mark.parametrize(("of_all", "whose"), [(False, "this session"), (True, "all sessions together")])
def test_the_asker_is_told_when_it_is_run_again(of_all: bool, whose: str) -> None:
    method = Interface.of(Ledger).methods["crash"]
    told = rf"^Ledger\.crash was not run, and nothing of it applied: of {whose}, .* in 1\.5 seconds"
    with pytest.raises(Overloaded, match=told):
        unpack_outcome(method, pack_wait(1_500_000, of_all=of_all))


# -- what it is worth --------------------------------------------------------------------------------------------------


def test_whoever_asks_for_crashes_only_leaves_others_their_time() -> None:
    """A thousand a second, for ten seconds: the group does as much undoing as for one a second."""
    scene = begun(undos_max=10)
    for tenth in range(100):
        came(scene, 1 + 100 * tenth, *[["crash", 0]] * 100, at=tenth / 10)
        assert came(scene, 1 + tenth, ["add", 1], at=tenth / 10, session=3) == [[0, tenth + 1]]
    assert undos(scene) <= 10 + 10
    assert len(RUNS) <= 2 * 100 + 10 + 10


def test_many_who_ask_for_crashes_have_no_more_undone_than_a_few() -> None:
    """Each comes with sessions that are new, and has one crash in each."""
    scene = begun(undos_max=10)
    for number in range(200):
        index = scene.log.last.index + 1
        scene.apply(SessionAsked(number.to_bytes(16), "owner"))
        came(scene, 1, ["crash", 0], session=index)
    assert undos(scene) == 2 * 10
    assert came(scene, 1, ["add", 1], session=2) == [[0, 1]]


@pytest.mark.parametrize("rate", [100, 2_000])
def test_with_one_crash_a_second_the_group_keeps_half_its_rate(rate: int) -> None:
    """What is run again for undos is no more than what is applied."""
    scene = begun(undos_max=10)
    numbers = {2: 1, 3: 1}
    for second in range(10):
        for _ in range(rate // 100):
            came(scene, numbers[3], *[["add", 1]] * 100, at=second, session=3)
            numbers[3] += 100
        assert came(scene, numbers[2], ["crash", 0], at=second) == [CRASHED]
        numbers[2] += 1
    assert len(scene.machine.actor.entries) == 10 * rate
    assert len(RUNS) <= 2 * (10 * rate) + 10


# -- beside a plain bucket ---------------------------------------------------------------------------------------------

STEPS = st.lists(st.tuples(st.integers(0, 250), st.sampled_from("abc"), st.booleans()), max_size=60)


def model(steps: Iterable[tuple[int, str, bool]], limits: Limits) -> list[int]:
    """How long each has to wait: by a bucket that is filled."""
    full = limits.undos_max * limits.undo_interval
    left, tags, waits = full, set[str](), list[int]()
    for passed, tag, crashes in steps:
        left = min(full, left + passed)
        if left == full:
            tags.clear()
        waits.append(max(0, limits.undo_interval - left) if tag in tags else 0)
        if crashes and not waits[-1]:
            left -= limits.undo_interval
            tags.add(tag)
    return waits


@given(STEPS, st.integers(1, 4), st.integers(1, 200))
def test_it_is_a_bucket(steps: list[tuple[int, str, bool]], undos_max: int, undo_interval: int) -> None:
    limits = Limits(undos_max=undos_max, undo_interval=undo_interval)
    undos, time, waits = Undos(), 10**9, list[int]()
    for passed, tag, crashes in steps:
        time += passed
        waits.append(undos.wait(tag, time, limits))
        if crashes and not waits[-1]:
            undos.undone(tag, time, limits)
        undos = Undos.read(undos.written())
    assert waits == model(steps, limits)


def test_a_wait_can_always_be_told() -> None:
    most = Limits(undos_max=1_000_000, undo_interval=2**40)
    undos = Undos()
    undos.undone("crash", 2**60, most)
    assert encode(undos.paid_at)
