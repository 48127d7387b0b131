"""Idempotent commands: applied once as all are, told in full once, and not kept for who asks again (rule 22)."""

from __future__ import annotations

from typing import Any

import pytest
from machine_scene import CONFIGURATION, Scene, begun, calls, outcomes

from actors._actor import Actor, command, query
from actors._interface import Interface
from actors._protocol.errors import Refused
from broadcast import AnswerNotKept
from broadcast._machine import Machine
from broadcast._outcomes import NOT_KEPT, unpack_outcome
from broadcast._protocol import sessions
from broadcast._protocol.entries import Versioned
from broadcast._protocol.sessions import Outcome

LONG = "x" * 1000


class Shelf(Actor):
    """What is there, and what was there before."""

    def __init__(self) -> None:
        self.item = ""
        self.count = 0

    @command(idempotent=True)
    def put(self, item: str) -> str:
        if item == "no":
            raise Refused(item)
        if item == "bug":
            raise KeyError(item)
        before, self.item = self.item, item
        self.count += 1
        return before

    @command(idempotent=True)
    def clear(self) -> None:
        self.item = ""

    @command
    def take(self) -> str:
        item, self.item = self.item, ""
        return item

    @query
    def look(self) -> str:
        return self.item


def kept(scene: Scene[Any], session: int = 2) -> list[bytes]:
    found = scene.machine.sessions.get(session)
    assert found is not None
    return found.answers


def test_it_is_told_in_full_when_it_is_applied_and_who_asks_again_is_told_that_it_was() -> None:
    scene = begun(Shelf)
    run = calls(1, ["put", "a"], ["put", "b"], ["clear"])
    assert outcomes(scene.apply(run)) == [[0, ""], [0, "a"], [0, None]]
    assert kept(scene) == [NOT_KEPT] * 3
    assert outcomes(scene.apply(run)) == [[Outcome.APPLIED]] * 3
    assert (scene.machine.actor.count, len(scene.delivered())) == (2, 3)


def test_a_late_second_time_does_not_overwrite_what_is_newer() -> None:
    scene = begun(Shelf)
    scene.apply(calls(1, ["put", "old"]))
    scene.apply(calls(2, ["put", "new"]))
    assert outcomes(scene.apply(calls(1, ["put", "old"], attempt=1))) == [[Outcome.APPLIED]]
    assert scene.machine.actor.item == "new"


def test_a_run_that_is_partly_new_has_both() -> None:
    scene = begun(Shelf)
    scene.apply(calls(1, ["put", "a"], ["take"]))
    reports = scene.apply(calls(1, ["put", "a"], ["take"], ["put", "b"], ["put", "c"]))
    assert outcomes(reports) == [[0], [0, "a"], [0, ""], [0, "b"]]
    reports = scene.apply(calls(3, ["put", "b"], ["put", "c"], ["put", "d"], acknowledged=3))
    assert outcomes(reports) == [[0], [0, "c"]]


def test_what_went_wrong_is_kept_and_so_is_what_a_query_answers() -> None:
    scene = begun(Shelf)
    run = calls(1, ["put", "no"], ["put", "bug"], None, 7, ["look"], ["take"])
    came = outcomes(scene.apply(run))
    assert came == [
        [Outcome.REFUSED, "Refused", ["no"]],
        [Outcome.CRASHED, "KeyError"],
        [Outcome.VOID],
        [Outcome.INVALID],
        [0, ""],
        [0, ""],
    ]
    assert outcomes(scene.apply(run)) == came


def test_long_answers_take_no_room_in_the_session_nor_in_a_snapshot(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sessions, "ANSWERS_SIZE_MAX", 100)
    scene = begun(Shelf)
    told = [len(str(answer)) for answer in outcomes(scene.apply(calls(1, *[["put", LONG]] * 20)))]
    assert min(told[1:]) > len(LONG)
    assert sum(map(len, kept(scene))) == 20 * len(NOT_KEPT)
    assert len(b"".join(scene.machine.capture())) < 2 * len(LONG)


def test_a_replica_that_was_restored_tells_the_same() -> None:
    scene = begun(Shelf)
    run = calls(1, ["put", "a"], ["put", "no"], ["take"])
    scene.apply(run)
    written = b"".join(scene.machine.capture())
    again = Machine.restored(Shelf, Interface.of(Shelf), scene.log.between, lambda: [written], group="purses")
    batch = scene.append(run)
    for machine in (again, scene.machine):
        assert outcomes(machine.apply(batch)) == [[0], [Outcome.REFUSED, "Refused", ["no"]], [0, "a"]]
    assert b"".join(again.capture()) == b"".join(scene.machine.capture())


class Old(Actor):
    @command
    def echo(self, text: str) -> str:
        return text


class New(Old):
    version = 2

    @command(idempotent=2)
    def echo(self, text: str) -> str:
        return super().echo(text)


class Newest(New):
    version = 3

    @command(idempotent=2)
    def echo(self, text: str) -> str:
        return super().echo(text)


def test_what_is_idempotent_from_a_version_on_is_kept_alike_by_all_before_it_is_in_force() -> None:
    scene = begun(Old)
    others = [
        Machine(kind, Interface.of(kind), CONFIGURATION, scene.log.between, group="purses") for kind in (New, Newest)
    ]
    for batch in scene.log.between(0, 2):
        for other in others:
            other.apply(batch)
    first, second, third = calls(1, ["echo", "a"]), calls(2, ["echo", "b"]), calls(2, ["echo", "b"], attempt=1)
    batch = scene.append(first)
    assert [outcomes(each.apply(batch)) for each in (scene.machine, *others)] == [[[0, "a"]]] * 3
    assert [each.sessions.get(2).answers for each in others] == [kept(scene)] * 2  # type: ignore[union-attr]
    for entry, came in ((Versioned(2), None), (second, [[0, "b"]]), (first, [[0, "a"]]), (third, [[0]])):
        batch = scene.append(entry)
        reports = [other.apply(batch) for other in others]
        assert [outcomes(each) if each else None for each in reports] == [came] * 2
    assert [*others[0].sessions] == [*others[1].sessions]


def test_nothing_is_idempotent_from_a_version_that_the_class_has_not_come_to() -> None:
    class Early(Actor):
        @command(idempotent=2)
        def put(self) -> None: ...

    with pytest.raises(
        TypeError, match=r"^Early\.version is 1, and these .* later one: put \(idempotent=2\); raise it"
    ):
        Interface.of(Early).replicable()


def test_the_asker_is_told_the_truth() -> None:
    methods = Interface.of(Shelf).methods
    assert unpack_outcome(methods["clear"], NOT_KEPT) is None
    with pytest.raises(
        AnswerNotKept, match=r"^Shelf\.put was applied, once, and its answer was lost on its way"
    ) as told:
        unpack_outcome(methods["put"], NOT_KEPT)
    assert told.value.command == "Shelf.put"


def test_it_is_no_error_of_another_kind() -> None:
    """Neither "was not applied" nor "may not have been" is true."""
    assert AnswerNotKept.__mro__[1] is Exception
