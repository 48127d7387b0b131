"""Rule 11: what a machine puts in a snapshot, when, and what is made of it."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from machine_scene import CONFIGURATION, NONCE, SECOND, Scene, calls, follow, outcomes, restored

from actors._actor import Actor, command
from actors._interface import Interface
from actors._protocol.errors import InvariantViolation
from broadcast._errors import CannotCapture, CannotRestore
from broadcast._machine import Machine
from broadcast._protocol.entries import Configured, EpochStart, Reached, SessionAsked, SessionEnded, SessionKept
from broadcast._protocol.position import FRAME_SIZE, Position
from broadcast._protocol.reports import Expired, Opened
from broadcast._protocol.sessions import Outcome
from membership._protocol.view import Member

RUNS: list[int] = []  # what was really run, replays included


class Tally(Actor):
    def __init__(self) -> None:
        self.numbers: list[int] = []
        self.seen: list[str] = []

    @command
    def add(self, number: int) -> int:
        RUNS.append(number)
        self.numbers.append(number)
        if number < 0:
            raise ArithmeticError
        return len(self.numbers)

    @command
    def look(self) -> float:
        context = self.context
        self.seen.append(f"{context.sender} {context.position} {context.timestamp} {context.time}")
        return context.random.random()

    @command
    def spoil(self) -> None:
        self.odd = object()


ENTRIES, SIZE, BATCHES = 10, 1_000_000, 1_000


def every(entries: int = ENTRIES, size: int = SIZE, batches: int = BATCHES) -> Any:
    """Markers after so many entries, bytes, or batches."""
    limits = CONFIGURATION.limits
    limits = msgspec.structs.replace(limits, snapshot_entries=entries, snapshot_size=size, snapshot_batches=batches)
    return msgspec.structs.replace(CONFIGURATION, limits=limits)


def scene_with(configuration: Any) -> Scene[Tally]:
    scene = Scene(Tally)
    scene.machine = Machine(Tally, Interface.of(Tally), configuration, scene.log.between, group="purses")
    scene.apply(EpochStart("a"))
    scene.apply(SessionAsked(NONCE, "owner"))
    return scene


def captured(machine: Machine[Any]) -> bytes:
    return b"".join(machine.capture())


# -- what is in it -----------------------------------------------------------------------------------------------------


def test_a_restored_machine_is_where_the_other_one_was() -> None:
    scene = scene_with(every())
    scene.apply(calls(1, ["add", 1], ["add", -1], ["look"]), time=5)
    scene.apply(EpochStart("b"), epoch=3, time=9)
    other = restored(scene).machine
    assert other.position == Position(3, scene.log.last.index)
    assert (other.applied, other.time, other.stamp) == (6, 9, scene.machine.stamp)
    assert other.agreed == scene.machine.agreed
    assert other.views == scene.machine.views[-1:]
    assert list(other.sessions) == list(scene.machine.sessions)
    assert vars(other.actor) == vars(scene.machine.actor)
    assert captured(other) == captured(scene.machine)


def test_nothing_was_applied_yet() -> None:
    scene = Scene(Tally)
    other = restored(scene)
    assert (other.machine.position, other.machine.views) == (Position(0, 0), [])
    scene.apply(EpochStart("a"))
    follow(scene, other)
    assert captured(other.machine) == captured(scene.machine)


def test_a_command_sent_again_is_answered_from_the_table_and_applied_no_more() -> None:
    scene = scene_with(every())
    before = scene.apply(calls(1, ["add", 5], ["add", 6]))
    other = restored(scene)
    assert other.apply(calls(1, ["add", 5], ["add", 6])) == before
    assert other.machine.actor.numbers == [5, 6]
    assert outcomes(other.apply(calls(3, ["add", 7]))) == [[Outcome.APPLIED, 3]]


def test_a_session_expires_when_it_would_have() -> None:
    scene = scene_with(every())
    scene.apply(SessionAsked(b"m" * 16, "other"), time=SECOND)
    scene.apply(SessionKept(2, 0), time=2 * SECOND)
    other = restored(scene)
    assert [number for number, _ in other.machine.sessions] == [3, 2], "the one heard of longest ago is the first"
    assert scene.apply(SessionKept(3, 0), time=11 * SECOND) == [Expired(3)]
    follow(scene, other)
    assert [number for number, _ in other.machine.sessions] == [2]
    assert captured(other.machine) == captured(scene.machine)


def test_a_session_asked_for_again_is_the_one_that_began_before() -> None:
    other = restored(scene_with(every()))
    assert other.apply(SessionAsked(NONCE, "owner")) == [Opened(NONCE, "owner", 2)]


def test_views_go_on_from_the_last_with_its_number_and_its_members() -> None:
    scene = scene_with(every())
    added = msgspec.structs.replace(every(), observers=(Member("c", b"c" * 16),))
    scene.apply(Configured(added))
    scene.apply(Reached(("a", "c")))
    other = restored(scene)
    assert (other.machine.agreed, other.machine.agreed.reachable) == (scene.machine.agreed, ("a", "c"))
    scene.apply(EpochStart("b"), epoch=2)
    follow(scene, other)
    assert other.machine.views[-1] == scene.machine.views[-1]
    assert (other.machine.views[-1].number, other.machine.views[-1].reachable) == (4, ("a", "b", "c"))
    with pytest.raises(InvariantViolation, match="an epoch begins with its epoch-start entry"):
        other.apply(SessionKept(2, 0), epoch=3)


def test_the_context_of_a_command_is_the_same() -> None:
    scene = scene_with(every())
    scene.apply(calls(1, ["look"]), time=3)
    other = restored(scene)
    scene.apply(calls(2, ["look"]), time=4)
    follow(scene, other)
    assert other.machine.actor.seen == scene.machine.actor.seen
    assert len(other.machine.actor.seen) == 2


# -- markers -----------------------------------------------------------------------------------------------------------


def test_a_marker_comes_with_the_batch_that_fills_the_entries_or_the_bytes() -> None:
    scene, marked = scene_with(every(entries=5)), list[int]()
    for number in range(1, 10):
        scene.apply(calls(number, ["add", number]))
        if scene.machine.at_marker:
            marked.append(scene.machine.applied)
    assert marked == [5, 10]
    scene.apply(calls(10, *[["add", 1]] * 12))
    assert (scene.machine.at_marker, scene.machine.applied) == (True, 23)
    scene = scene_with(every(size=4 * FRAME_SIZE))
    sizes = sum(batch.size for batch in scene.log.between(0, 2))
    assert not scene.machine.at_marker
    while not scene.machine.at_marker:
        sizes += scene.append(SessionKept(2, 0)).size
        scene.machine.apply(scene.log.read(scene.log.last.index, 1)[0])
    assert 4 * FRAME_SIZE <= sizes < 5 * FRAME_SIZE + 100


def test_a_marker_comes_with_so_many_batches_however_little_is_in_them() -> None:
    """Each takes its time to be read and applied by who starts anew."""
    scene, marked = scene_with(every(entries=1_000, batches=4)), list[int]()
    for number in range(1, 13):
        scene.apply(calls(number, ["add", number]))
        if scene.machine.at_marker:
            marked.append(scene.machine.applied)
    assert marked == [4, 8, 12]


@pytest.mark.parametrize("limits", [every(entries=7), every(entries=1_000, batches=4)])
def test_a_snapshot_moves_no_marker(limits: Any) -> None:
    scene = scene_with(limits)
    scene.apply(calls(1, ["add", 1]))
    other = restored(scene)
    scene.apply(calls(2, *[["add", 1]] * 4))
    follow(scene, other)
    assert (scene.machine.at_marker, other.machine.at_marker) == (True, True)
    assert captured(scene.machine) == captured(other.machine)


# -- what is remembered ------------------------------------------------------------------------------------------------


def told(scene: Scene[Tally]) -> list[tuple[int, str]]:
    """What is delivered of all that is remembered."""
    machine = scene.machine
    batches = scene.log.between(machine.first_index - 1, machine.applied)
    found = [each for batch in batches for each in machine.deliveries(batch, machine.first_index)]
    return [(each.position.index, each.sender) for each in found]


def filled() -> Scene[Tally]:
    """Two markers, at 12 and 22; sessions that ended before, between and behind them; and a snapshot at each."""
    scene = scene_with(every(entries=10))
    for at in range(3):
        scene.apply(SessionAsked(bytes([at]) * 16, f"owner{at}"))
    scene.apply(calls(1, ["add", 1], session=3), SessionEnded(3))  # 6, 7
    scene.apply(calls(1, ["add", 2], ["add", -2], ["add", 3], session=4))  # 8..10
    assert (scene.machine.at_marker, scene.machine.applied) == (True, 10)
    kept = captured(scene.machine)
    scene.machine.snapshot_taken(10, len(kept), lambda: [kept])
    assert scene.machine.first_index == 1
    scene.apply(calls(4, ["add", 4], session=4), SessionEnded(4))  # 11, 12
    scene.apply(calls(1, *[["add", 5], ["add", -5]] * 4, session=5))  # 13..20
    assert (scene.machine.at_marker, scene.machine.applied) == (True, 20)
    return scene


def test_what_lies_before_the_marker_before_the_last_is_forgotten() -> None:
    scene = filled()
    assert scene.machine.first_index == 11
    assert told(scene) == [(11, "owner1"), (13, "owner2"), (15, "owner2"), (17, "owner2"), (19, "owner2")]
    past = scene.machine._past  # pyright: ignore[reportPrivateUsage]
    assert list(past._left) == [4]  # pyright: ignore[reportPrivateUsage]
    with pytest.raises(InvariantViolation, match="what is asked for is still remembered"):
        past.came_to(10)


def test_a_restored_machine_delivers_what_was_remembered() -> None:
    scene = filled()
    other = restored(scene)
    other.log = scene.log
    assert other.machine.first_index == 11
    assert told(other) == told(scene)


def test_what_is_remembered_is_not_more_for_a_long_life() -> None:
    scene = scene_with(every(entries=20))
    sizes: list[int] = []
    for at in range(1, 60):
        begun_at = scene.log.last.index + 1
        run = calls(1, ["add", 1], ["add", -1], session=begun_at + 1)
        asked = SessionAsked(at.to_bytes(16, "big"), "owner")
        scene.apply(EpochStart("a"), asked, run, SessionEnded(begun_at + 1), epoch=1 + at)
        scene.machine.actor.numbers.clear()
        if scene.machine.at_marker:
            kept = captured(scene.machine)
            scene.machine.snapshot_taken(scene.machine.applied, len(kept), lambda kept=kept: [kept])  # type: ignore[misc]
            sizes.append(len(kept))
    past: Any = scene.machine._past  # pyright: ignore[reportPrivateUsage]
    assert len(sizes) > 10
    assert max(sizes) < 600
    assert max(len(past._left), len(past._leaders), len(past._came_to._firsts)) < 30


# -- undos -------------------------------------------------------------------------------------------------------------


def test_an_undo_begins_at_the_newest_snapshot() -> None:
    scene = scene_with(every())
    scene.apply(calls(1, *[["add", 1]] * 50))
    kept, opened = captured(scene.machine), list[int]()

    def load() -> list[bytes]:
        opened.append(1)
        return [kept]

    scene.machine.snapshot_taken(scene.machine.applied, len(kept), load)
    scene.apply(calls(51, ["add", 2], ["add", 3]))
    assert opened == [], "who never crashes pays nothing"
    RUNS.clear()
    scene.apply(calls(53, ["add", -1], ["add", 4]))
    assert (RUNS, opened) == ([-1, 2, 3, 4], [1])
    assert scene.machine.actor.numbers == [*[1] * 50, 2, 3, 4]


def test_a_restored_machine_undoes_from_its_snapshot() -> None:
    scene = scene_with(every())
    scene.apply(calls(1, ["add", 1], ["add", -1]))
    other = restored(scene)
    scene.apply(calls(3, ["add", 2], ["add", -2], ["add", -3], ["add", 4]))
    follow(scene, other)
    assert other.machine.actor.numbers == scene.machine.actor.numbers == [1, 2, 4]
    assert captured(other.machine) == captured(scene.machine)


def test_a_base_that_is_newer_than_a_snapshot_stays() -> None:
    scene = scene_with(every())
    scene.apply(calls(1, ["add", 1]))
    kept, at = captured(scene.machine), scene.machine.applied
    scene.apply(calls(2, *[["add", 2]] * 20, ["add", -1]))
    scene.machine.snapshot_taken(at, len(kept), lambda: [kept])
    RUNS.clear()
    scene.apply(calls(23, ["add", -1]))
    assert RUNS == [-1]


def test_an_undo_that_needs_what_was_compacted_is_our_bug() -> None:
    scene = scene_with(every())
    scene.apply(calls(1, ["add", 1]))
    scene.apply(calls(2, ["add", 2]))
    whole = scene.log
    machine: Any = scene.machine
    machine._history = lambda after, last: [each for each in whole.between(after, last) if each.first > 3]
    with pytest.raises(InvariantViolation, match="an undo needs nothing that was compacted"):
        scene.apply(calls(3, ["add", -1]))


def test_a_state_that_came_to_be_no_state_for_snapshots_is_told_and_undone_from_the_last() -> None:
    scene = scene_with(every())
    scene.apply(calls(1, ["add", 1]))
    kept = captured(scene.machine)
    scene.machine.snapshot_taken(scene.machine.applied, len(kept), lambda: [kept])
    scene.apply(calls(2, ["spoil"]))
    with pytest.raises(CannotCapture, match=r"Tally: self\.odd is a object, which cannot be put in a snapshot"):
        captured(scene.machine)
    scene.apply(calls(3, ["add", -1], ["add", 2]))
    assert scene.machine.actor.numbers == [1, 2]


def test_a_snapshot_that_is_no_snapshot_is_refused() -> None:
    scene = scene_with(every())
    data = captured(scene.machine)
    for cut in (1, 30, len(data) - 1, len(data)):
        with pytest.raises(CannotRestore):
            restored(scene, data[:-cut])
