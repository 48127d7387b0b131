"""Rule 29 in the machine: the log says which version of the class is in force, and what a class cannot run stops it."""

from __future__ import annotations

import pytest
from machine_scene import Scene, begun, calls, follow, outcomes, restored

from actors._actor import Actor, command, query
from actors._interface import Interface
from actors._protocol.codec import decode, encode
from actors._protocol.errors import InvalidMessage
from broadcast._errors import CannotApply, Outdated
from broadcast._machine import Machine
from broadcast._protocol.entries import Due, EpochStart, Versioned
from broadcast._protocol.sessions import Outcome
from broadcast.testing import Alone


class Purse(Actor):
    def __init__(self) -> None:
        self.seen: list[int] = []

    @command
    def put(self, coin: int) -> int:
        self.seen.append(self.context.version)
        return coin

    @command
    def fail(self) -> None:
        self.seen.clear()
        raise ArithmeticError

    @query
    def version_now(self) -> int:
        return self.context.version


class Second(Purse):
    version = 2

    @command(since=2)
    def take(self, coin: int) -> int:
        self.seen.append(-coin)
        return -coin


class Third(Second):
    version = 3


def test_a_version_begins_where_the_log_says_whatever_the_class_is() -> None:
    scene = begun(Third)
    scene.apply(calls(1, ["put", 1]))
    scene.apply(Versioned(2))
    scene.apply(calls(2, ["put", 2]))
    assert (scene.machine.version, scene.machine.actor.seen) == (2, [1, 2])
    asked = scene.machine.query(encode(["version_now"]), "me")
    assert decode(asked) == [Outcome.APPLIED, 2]


def test_it_never_goes_down() -> None:
    scene = begun(Third)
    scene.apply(Versioned(3))
    scene.apply(Versioned(2))
    scene.apply(calls(1, ["put", 1]))
    assert (scene.machine.version, scene.machine.actor.seen) == (3, [3])


def test_what_is_run_again_goes_by_the_version_that_was_in_force_then() -> None:
    """An undo from the beginning, and one from a snapshot that was taken between."""
    scene = begun(Second)
    scene.apply(calls(1, ["put", 1]))
    other = restored(scene, actor=Second)
    scene.apply(calls(2, ["put", 2]))
    scene.apply(Versioned(2))
    scene.apply(calls(3, ["put", 3], ["fail"], ["put", 4]))
    follow(scene, other)
    assert scene.machine.actor.seen == other.machine.actor.seen == [1, 1, 2, 2]


def test_it_is_in_snapshots() -> None:
    scene = begun(Third)
    scene.apply(Versioned(2))
    scene.apply(calls(1, ["put", 1]))
    other = restored(scene, actor=Third)
    assert other.machine.version == 2
    scene.apply(calls(2, ["put", 2], ["fail"], ["take", 5]))
    follow(scene, other)
    assert other.machine.actor.seen == [2, 2, -5]
    assert b"".join(other.machine.capture()) == b"".join(scene.machine.capture())


def test_a_class_that_is_too_old_stops_before_the_entry() -> None:
    old, new = begun(Purse), begun(Second)
    for scene in (old, new):
        scene.apply(calls(1, ["put", 1]))
    new.apply(Versioned(2))
    with pytest.raises(
        Outdated, match=r"before index 4, .* version 2 of Purse .* runs version 1\. Start it with version 2"
    ):
        old.apply(Versioned(2))
    assert (old.machine.version, old.machine.applied, old.machine.actor.seen) == (1, 3, [1])


def test_a_group_that_was_formed_with_a_later_version_is_not_begun() -> None:
    scene = Scene(Purse)
    with pytest.raises(Outdated) as stopped:
        Machine(Purse, Interface.of(Purse), scene.machine.configuration, scene.log.between, version=2)
    assert (stopped.value.in_force, stopped.value.known, stopped.value.index) == (2, 1, 0)


def test_a_command_is_invalid_before_the_version_that_it_came_with() -> None:
    """The same on all who know it, by the log alone."""
    scene = begun(Third)
    taking = calls(1, ["take", 5])
    assert outcomes(scene.apply(taking)) == [[Outcome.INVALID]]
    assert not scene.machine.understands(["take", 5])
    scene.apply(Versioned(2))
    assert scene.machine.understands(["take", 5])
    assert outcomes(scene.apply(calls(2, ["take", 5]))) == [[Outcome.APPLIED, -5]]
    assert [tag for _, tag, _ in scene.delivered()] == ["take"]


@pytest.mark.parametrize("call", [["take", 5], ["put", "five"], ["put"], ["put", 1, 2], ["", 1]])
def test_what_the_class_does_not_take_stops_the_replica_before_it(call: object) -> None:
    """Another class took it, or it would not be in the log: to call it invalid here is to differ without a word."""
    scene = begun(Purse)
    scene.apply(calls(1, ["put", 1]))
    with pytest.raises(CannotApply, match=r"before index 4, the command Purse\..*since=") as stopped:
        scene.apply(calls(2, call))
    assert (stopped.value.index, scene.machine.applied, scene.machine.actor.seen) == (4, 3, [1])
    assert not scene.machine.understands(call)


def test_a_replica_that_stopped_goes_on_there_with_a_class_that_takes_it() -> None:
    old, new = begun(Purse), begun(Second)
    for scene in (old, new):
        scene.apply(calls(1, ["put", 1]))
    later = restored(old, actor=Second)
    new.apply(Versioned(2))
    new.apply(calls(2, ["take", 5]))
    follow(new, later)
    assert vars(later.machine.actor) == vars(new.machine.actor)


def test_alone_an_instance_is_told_the_version_of_its_class_or_any_other() -> None:
    alone = Alone(Third)
    assert alone.ask(Third.version_now) == 3
    alone.version = 1
    assert alone.ask(Third.version_now) == 1


# -- what is left for later --------------------------------------------------------------------------------------------


class Planner(Purse):
    version = 2

    @command
    def plan(self, coin: int) -> None:
        """What version 2 does, whatever is in force: a bug of the class."""
        self.context.after(1, Planner.take, coin)

    @command
    def pass_on(self, coin: int) -> None:
        self.context.tell(self.context.group(Planner), Planner.take, coin)

    @command(since=2)
    def take(self, coin: int) -> None:
        self.seen.append(-coin)


@pytest.mark.parametrize("tag", ["plan", "pass_on"])
def test_what_came_with_a_version_is_not_left_for_later_before_that_is_in_force(tag: str) -> None:
    """It may be due before that: the asker is told at once, and nothing of the command stays."""
    scene = begun(Planner)
    assert outcomes(scene.apply(calls(1, [tag, 5]))) == [[Outcome.CRASHED, "InvalidMessage"]]
    assert len(scene.machine.effects) == 0
    alone = Alone(Planner)
    alone.version = 1
    with pytest.raises(InvalidMessage, match=r"Planner\.take came with version 2 .* version 1 is in force: do so only"):
        alone.ask(getattr(Planner, tag), 5)


@pytest.mark.parametrize("tag", ["plan", "pass_on"])
def test_what_was_left_when_its_version_was_in_force_is_run_whoever_goes_on(tag: str) -> None:
    """A version never goes out of force: not in another epoch, by an older entry, or over a snapshot."""
    scene = begun(Planner)
    scene.apply(Versioned(2))
    scene.apply(calls(1, [tag, 5]))
    scene.apply(EpochStart("b"), epoch=2)
    scene.apply(Versioned(1), epoch=2)
    other = restored(scene, actor=Planner)
    scene.apply(Due(1), epoch=2, time=2_000_000)
    follow(scene, other)
    for machine in (scene.machine, other.machine):
        assert (machine.actor.seen, len(machine.effects), machine.unheard) == ([-5], 0, [])


def test_what_was_left_is_run_by_the_version_in_force_when_it_is_due() -> None:
    class Sealed(Planner):
        @command
        def later(self, coin: int) -> None:
            self.context.after(1, Purse.put, coin)

    scene = begun(Sealed)
    scene.apply(calls(1, ["later", 5]))
    scene.apply(Versioned(2))
    scene.apply(Due(1), time=2_000_000)
    assert scene.machine.actor.seen == [2]
