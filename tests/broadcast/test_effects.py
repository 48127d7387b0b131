"""What a command leaves behind for its own group, in the table and on the machine (rules 12, 21)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from machine_scene import CONFIGURATION, SECOND, Scene, begun, calls, outcomes

from actors import Actor, Ref, Refused, command, query
from actors._context import SECONDS_MAX
from actors._interface import Interface
from actors._plain import encode_plain
from actors._protocol.codec import decode
from actors._protocol.errors import Overloaded
from actors._ref import GroupName
from broadcast._intentions import microseconds
from broadcast._machine import Machine
from broadcast._outcomes import unpack_outcome
from broadcast._protocol.effects import DUE_AT_ONCE_MAX, HELD_AT_ONCE_MAX, Alarm, Effects
from broadcast._protocol.entries import Due, EpochStart
from broadcast._protocol.sessions import Outcome
from membership._protocol.view import Limits


class Bell(Actor):
    """On a node."""

    @command
    def ring(self, times: int) -> None: ...


class Clock(Actor):
    """Rings when it was asked to."""

    def __init__(self) -> None:
        self.rung: list[tuple[str, str, int]] = []

    @command
    def wake(self, name: str, seconds: float) -> None:
        self.context.after(seconds, Clock.ring, name)

    @command
    def chain(self, name: str, count: int) -> None:
        """So many times, one after the other, at once."""
        self.rung.append((name, self.context.sender, round(self.context.time.timestamp())))
        if count > 1:
            self.context.tell(self.context.group(Clock), Clock.chain, name, count - 1)

    @command
    def ring(self, name: str) -> None:
        self.rung.append((name, self.context.sender, round(self.context.time.timestamp())))
        if name == "crash":
            raise ArithmeticError

    @command
    def refuse(self, seconds: float) -> None:
        self.context.after(seconds, Clock.ring, "refused")
        raise Refused

    @command
    def crash(self, seconds: float) -> None:
        self.context.after(seconds, Clock.ring, "crashed")
        raise ArithmeticError

    @command
    def many(self, count: int, caught: bool) -> None:
        """Leaves so much behind; caught: and does not mind if it may not."""
        self.rung.append(("many", "", count))
        try:
            for _ in range(count):
                self.context.after(1, Clock.ring, "many")
        except Overloaded:
            if not caught:
                raise

    @command
    def bell(self, to: Ref[Bell], times: int) -> None:
        self.context.tell(to, Bell.ring, times)

    @command
    def ask_itself(self) -> None:
        self.context.after(1, Clock.names)

    @command
    def pass_on(self, to: Ref[Clock]) -> None:
        self.context.tell(to, Clock.ring, "other")

    @command
    def peal(self, to: Ref[Bell], count: int) -> None:
        for _ in range(count):
            self.context.tell(to, Bell.ring, 1)

    @query
    def names(self) -> list[str]:
        return [name for name, _, _ in self.rung]

    @query
    def look(self) -> None:
        self.context.after(1, Clock.ring, "look")


def rung(scene: Scene[Clock]) -> list[tuple[str, str, int]]:
    return scene.machine.actor.rung


def tell(scene: Scene[Any], number: int, *each: object, time: int = 0) -> list[object]:
    return outcomes(scene.apply(calls(number, *each), time=time))


# -- the table ---------------------------------------------------------------------------------------------------------


def taken(effects: Effects, time: int) -> Iterator[bytes]:
    while (effect := effects.take(time)) is not None:
        yield effect[2]


def test_effects_come_in_the_order_in_which_they_are_due_and_then_were_left() -> None:
    effects = Effects()
    for due, call in ((5, b"c"), (3, b"a"), (5, b"d"), (3, b"b"), (9, b"e")):
        effects.add(due, call)
    assert (effects.due(), len(effects), effects.size) == (3, 5, 5 * 65)
    assert (effects.due_by(2), effects.due_by(3), effects.due_by(8), effects.due_by(9)) == (0, 2, 4, 5)
    assert effects.take(2) is None
    assert [*taken(effects, 8)] == [b"a", b"b", b"c", b"d"]
    assert (effects.due(), len(effects), effects.size, effects.number) == (9, 1, 65, 5)
    assert [*taken(effects, 9)] == [b"e"]
    assert (effects.due(), effects.due_by(99), effects.size) == (None, 0, 0)


def test_a_long_life_takes_no_memory() -> None:
    effects = Effects()
    for number in range(10_000):
        effects.add(number, b"")
        assert effects.take(number) == (number, number + 1, b"")
    assert len(effects._waiting) < 2_000  # pyright: ignore[reportPrivateUsage]
    assert effects.waiting == []


def test_what_is_held_up_waits_apart_and_comes_first_once_it_is_free() -> None:
    effects = Effects()
    for due, call in ((1, b"c1"), (1, b"d1"), (2, b"c2"), (3, b"d2"), (4, b"e")):
        effects.add(due, call)
    free_at = {"c": 7, "d": 5}.__getitem__
    for tag in ("c", "d", "c", "d"):
        effect = effects.take(3, free_at)
        assert effect is not None
        effects.hold(tag, effect)
    assert effects.held_up == [
        ("c", (1, 1, b"c1")),
        ("d", (1, 2, b"d1")),
        ("c", (2, 3, b"c2")),
        ("d", (3, 4, b"d2")),
    ]
    assert (len(effects), effects.size, [*effects.waiting]) == (5, 4 * 66 + 65, [(4, 5, b"e")])
    assert (effects.due(free_at), effects.due_by(4, free_at), effects.due_by(5, free_at)) == (4, 1, 3)
    assert effects.take(3, free_at) is None
    assert [effects.take(5, free_at) for _ in range(4)] == [(1, 2, b"d1"), (3, 4, b"d2"), (4, 5, b"e"), None]
    assert (effects.due(free_at), effects.due_by(7, free_at), len(effects)) == (7, 2, 2)
    assert [*taken(effects, 0)] == [b"c1", b"c2"]
    assert (effects.due(free_at), len(effects), effects.size) == (None, 0, 0)


def test_a_bounded_number_of_what_was_held_up_is_said_to_be_due() -> None:
    effects = Effects((), 1_000, None, [("c", (0, number, b"")) for number in range(1_000)])
    assert effects.due_by(1) == HELD_AT_ONCE_MAX


# -- the leader's alarm ------------------------------------------------------------------------------------------------


def test_an_alarm_rings_when_log_time_has_come() -> None:
    alarm = Alarm()
    assert alarm.told(7, 1_000, 2)
    assert not alarm.wind(50, 400)
    assert alarm.rings_at == 650
    alarm.rang(649)
    assert alarm.rings_at == 650
    alarm.rang(650)
    assert alarm.rings_at is None
    assert not alarm.wind(650, 990)  # log time is late: not yet
    assert alarm.rings_at == 660
    assert alarm.wind(660, 1_000)
    assert alarm.say(8) == Due(2)


def test_what_was_said_is_not_said_again_before_it_is_applied() -> None:
    alarm = Alarm()
    assert alarm.told(7, 0, 2)
    assert alarm.say(8) == Due(2)
    assert not alarm.is_set
    assert not alarm.told(8, 0, 1)
    assert not alarm.wind(0, 10)
    assert alarm.told(9, 0, 1)
    assert alarm.wind(0, 10)


def test_one_entry_says_so_of_a_bounded_number() -> None:
    alarm = Alarm()
    assert alarm.told(1, 0, 10**6)
    assert alarm.say(2) == Due(DUE_AT_ONCE_MAX)


# -- on the machine ----------------------------------------------------------------------------------------------------


def test_what_is_left_for_later_runs_when_it_is_due_and_the_group_is_its_sender() -> None:
    scene = begun(Clock)
    tell(scene, 1, ["wake", "b", 2.5], ["wake", "a", 1], ["wake", "c", 2.5], time=5 * SECOND)
    assert (scene.machine.due, rung(scene)) == ((6 * SECOND, 1), [])
    assert scene.apply(Due(3), time=7 * SECOND) == []
    assert rung(scene) == [("a", "purses", 7)]
    assert scene.machine.due == (7_500_000, 2)
    scene.apply(Due(2), time=8 * SECOND)
    assert rung(scene)[1:] == [("b", "purses", 8), ("c", "purses", 8)]
    assert scene.machine.effects.due() is None
    assert scene.delivered()[3:] == [(6, "ring", ("a",)), (9, "ring", ("b",)), (10, "ring", ("c",))]


def test_who_is_told_that_it_is_due_twice_runs_it_once() -> None:
    """Two leaders may say so, one after the other."""
    scene = begun(Clock)
    tell(scene, 1, ["wake", "a", 1])
    scene.apply(Due(1), time=SECOND)
    scene.apply(EpochStart("b"), epoch=2, time=SECOND)
    scene.apply(Due(1), epoch=2, time=SECOND)
    assert [name for name, _, _ in rung(scene)] == ["a"]
    assert scene.machine.came_to(6) is Outcome.VOID


def test_nothing_is_left_by_what_was_refused_or_crashed() -> None:
    scene = begun(Clock)
    came = tell(scene, 1, ["refuse", 0], ["crash", 0])
    assert came == [[Outcome.REFUSED, "Refused", []], [Outcome.CRASHED, "ArithmeticError"]]
    assert scene.machine.due == (None, 0)


def test_what_is_due_may_leave_something_too_and_that_is_due_at_once() -> None:
    scene = begun(Clock)
    tell(scene, 1, ["chain", "a", 3], time=SECOND)
    assert (scene.machine.due, len(rung(scene))) == ((SECOND, 1), 1)
    scene.apply(Due(2), time=2 * SECOND)
    assert rung(scene) == [("a", "owner", 1), ("a", "purses", 2), ("a", "purses", 2)]


def test_what_crashes_when_it_is_due_is_undone_and_was_due() -> None:
    scene = begun(Clock)
    tell(scene, 1, ["wake", "a", 0], ["wake", "crash", 0], ["wake", "b", 0])
    scene.apply(Due(3))
    assert [name for name, _, _ in rung(scene)] == ["a", "b"]
    assert [scene.machine.came_to(index) for index in (6, 7, 8)] == [Outcome.APPLIED, Outcome.CRASHED, Outcome.APPLIED]
    assert scene.machine.effects.due() is None
    assert [(each.index, each.tag, each.outcome) for each in scene.machine.unheard] == [(7, "ring", Outcome.CRASHED)]


def test_what_cannot_be_opened_when_it_is_due_is_no_message_of_any_class_and_ends_nobody() -> None:
    """Nothing of ours leaves such a thing: it may lie in a log, or in a snapshot, all the same."""
    scene = begun(Clock)
    tell(scene, 1, ["wake", "a", 0])
    for bad in (b"\xff", b"", encode_plain(["ring", 2**80])):
        scene.machine.effects.add(0, bad)
    tell(scene, 2, ["wake", "b", 0])
    scene.apply(Due(5))
    assert [name for name, _, _ in rung(scene)] == ["a", "b"]
    came = [scene.machine.came_to(index) for index in range(5, 10)]
    assert came == [Outcome.APPLIED, *[Outcome.INVALID] * 3, Outcome.APPLIED]
    assert [(each.index, each.tag) for each in scene.machine.unheard] == [(6, "?"), (7, "?"), (8, "?")]
    assert [index for index, tag, _ in scene.delivered() if tag == "ring"] == [5, 9]
    tell(scene, 3, ["crash", 0])  # all of it is run again
    assert [name for name, _, _ in rung(scene)] == ["a", "b"]


def test_an_undo_leaves_nothing_again_and_runs_what_was_due_again() -> None:
    scene = begun(Clock)
    tell(scene, 1, ["wake", "a", 0], ["wake", "b", 9], ["bell", "a/bell", 1])
    assert len(scene.machine.tells) == 1
    scene.apply(Due(1))
    tell(scene, 4, ["crash", 0])
    assert [name for name, _, _ in rung(scene)] == ["a"]
    assert (scene.machine.due, scene.machine.tells) == ((9 * SECOND, 1), [])


def test_a_snapshot_holds_what_waits_and_what_was_due() -> None:
    scene = begun(Clock)
    tell(scene, 1, ["wake", "a", 0], ["wake", "b", 9], ["wake", "c", 9])
    scene.apply(Due(1))
    pieces = [*scene.machine.capture()]
    restored = Machine.restored(Clock, scene.machine.interface, scene.log.between, lambda: pieces, group="purses")
    assert restored.due == (9 * SECOND, 2)
    assert (restored.effects.number, restored.effects.size) == (3, scene.machine.effects.size)
    assert [*restored.capture()] == pieces
    scene.machine = restored
    assert scene.delivered()[-1] == (6, "ring", ("a",))
    scene.apply(Due(2), time=9 * SECOND)
    assert [name for name, _, _ in rung(scene)] == ["a", "b", "c"]


def test_what_was_due_counts_for_the_next_snapshot() -> None:
    """Its bytes are not in the log, and in what is remembered of it all the same."""
    scene = begun(Clock)
    size = CONFIGURATION.limits.snapshot_size
    name = "x" * (size // 16)
    for number in range(1, 15):
        tell(scene, number, ["wake", name, 0])
    assert not scene.machine.at_marker
    scene.apply(Due(3))
    assert scene.machine.at_marker


# -- what may not be ---------------------------------------------------------------------------------------------------


def small(limits: Limits) -> Scene[Clock]:
    scene = begun(Clock)
    agreed = scene.machine.agreed
    configuration = msgspec.structs.replace(agreed.configuration, limits=limits)
    scene.machine.agreed = msgspec.structs.replace(agreed, configuration=configuration)
    return scene


@pytest.mark.parametrize("caught", [False, True])
@pytest.mark.parametrize("limits", [Limits(effects_max=3), Limits(effects_size=250)])
def test_who_would_leave_too_much_is_not_applied_whatever_it_does_about_it(limits: Limits, caught: bool) -> None:
    scene = small(limits)
    came = tell(scene, 1, ["many", 2, caught], ["many", 2, caught], ["many", 1, caught])
    assert came[1] == [Outcome.OVERLOADED, 2, scene.machine.effects.size // 3 * 2]
    assert (came[0], came[2]) == ([Outcome.APPLIED, None], [Outcome.APPLIED, None])
    assert [count for _, _, count in rung(scene)] == [2, 1]
    assert len(scene.machine.effects) == 3


def test_an_undo_minds_no_limit() -> None:
    """What was applied had room then, and is run again when there may be none."""
    scene = small(Limits(effects_max=3))
    tell(scene, 1, ["many", 3, True], ["crash", 1])
    assert [count for _, _, count in rung(scene)] == [3]
    assert len(scene.machine.effects) == 3


def test_the_asker_is_told_how_much_waits() -> None:
    scene = small(Limits(effects_max=3))
    (report,) = scene.apply(calls(1, ["many", 4, False]))
    method = Interface.of(Clock).methods["many"]
    with pytest.raises(Overloaded, match=r"Clock.many was not applied: .* where 0 messages of 0 bytes wait"):
        unpack_outcome(method, report.outcomes[0])  # type: ignore[attr-defined]


def test_an_actor_on_a_node_is_told_by_the_batch_that_was_applied_last() -> None:
    scene = begun(Clock)
    tell(scene, 1, ["bell", "a/bell", 3])
    (telling,) = scene.machine.tells
    assert (telling.epoch, telling.index, str(telling.to)) == (1, 3, "a/bell")
    assert decode(telling.call) == ["ring", 3]
    tell(scene, 2, ["ring", "x"])
    assert scene.machine.tells == []


def test_actors_on_nodes_are_told_by_a_bounded_number_at_once() -> None:
    scene = small(Limits(effects_max=3))
    came = tell(scene, 1, ["peal", "a/bell", 3], ["peal", "a/bell", 4], ["peal", "a/bell", 3])
    assert came[1] == [Outcome.OVERLOADED, 0, 0]
    assert [telling.index for telling in scene.machine.tells] == [3] * 3 + [5] * 3


@pytest.mark.parametrize("seconds", [-1.0, float("nan"), float("inf"), SECONDS_MAX + 1.0])
def test_what_is_no_time_to_wait_is_a_bug(seconds: float) -> None:
    scene = begun(Clock)
    assert tell(scene, 1, ["wake", "a", seconds]) == [[Outcome.CRASHED, "ValueError"]]
    assert scene.machine.due == (None, 0)


def test_what_a_number_says_of_itself_is_no_matter() -> None:
    class Real(float):
        def __mul__(self, other: float) -> Any:
            return 2**80

        def __le__(self, other: float) -> bool:
            return True

        __ge__ = __le__

    assert microseconds(Real(1.5)) == 1_500_000
    with pytest.raises(ValueError, match="seconds is between 0 and"):
        microseconds(Real(-1))


def test_nobody_can_leave_a_query_behind_or_tell_another_group() -> None:
    scene = begun(Clock)
    came = tell(scene, 1, ["ask_itself"], ["pass_on", "others"], ["pass_on", "purses"])
    assert came[:2] == [[Outcome.CRASHED, "InvalidMessage"], [Outcome.CRASHED, "RuntimeError"]]
    assert len(scene.machine.effects) == 1


def test_a_query_has_no_effects() -> None:
    scene = begun(Clock)
    look = Interface.of(Clock).methods["look"].pack((), {})
    assert decode(scene.machine.query(look, "reader")) == [Outcome.CRASHED, "RuntimeError"]
    assert tell(scene, 1, ["look"]) == [[Outcome.CRASHED, "RuntimeError"]]
    assert scene.machine.due == (None, 0)


def test_a_group_is_named_by_itself() -> None:
    class Named(Actor):
        def __init__(self) -> None:
            self.me: Ref[Named] | None = None

        @command
        def remember(self) -> None:
            self.me = self.context.group(Named)

    scene = begun(Named)
    tell(scene, 1, ["remember"])
    assert scene.machine.actor.me == GroupName("purses", Named)
