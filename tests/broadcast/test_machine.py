"""The apply loop: each entry has an agreed outcome, whatever it holds (rules 9, 12, 18, 23, 24)."""

from __future__ import annotations

import pytest
from machine_scene import SECOND, Scene, calls, outcomes
from machine_scene import begun as scene_of

from actors._actor import Actor, command, query
from actors._protocol.codec import decode, encode
from actors._protocol.errors import InvariantViolation, Refused
from broadcast._protocol.entries import Commands, EpochStart, SessionEnded, SessionKept
from broadcast._protocol.reports import Answers, Expired, Kept, Missing
from broadcast._protocol.sessions import Outcome


class Purse(Actor):
    def __init__(self) -> None:
        self.coins: list[int] = []
        self.seen: list[str] = []

    @command
    def put(self, coin: int) -> int:
        self.coins.append(coin)
        return len(self.coins)

    @command
    def take(self, coin: int) -> None:
        if coin not in self.coins:
            raise Refused("there is none", coin)
        self.coins.remove(coin)

    @command
    def spill(self) -> None:
        self.coins.clear()
        raise LookupError("text that may differ between nodes")

    @command
    def look(self) -> float:
        context = self.context
        self.seen.append(f"{context.sender} {context.position} {context.timestamp} {context.time}")
        return context.random.random()

    @query
    def sum(self) -> int:
        return sum(self.coins)


def begun() -> Scene[Purse]:
    return scene_of(Purse)


def test_commands_are_applied_in_order_and_answered() -> None:
    scene = begun()
    reports = scene.apply(calls(1, ["put", 5], ["put", 7]), calls(3, ["take", 5]))
    assert [decode(outcome) for report in reports if isinstance(report, Answers) for outcome in report.outcomes] == [
        [Outcome.APPLIED, 1],
        [Outcome.APPLIED, 2],
        [Outcome.APPLIED, None],
    ]
    assert scene.machine.actor.coins == [7]
    assert scene.delivered() == [(3, "put", (5,)), (4, "put", (7,)), (5, "take", (5,))]


def test_a_repeated_command_is_answered_from_memory() -> None:
    scene = begun()
    first = scene.apply(calls(1, ["put", 5], ["put", 7]))
    assert scene.apply(calls(1, ["put", 5], ["put", 7], attempt=1)) == first
    assert outcomes(scene.apply(calls(2, ["put", 7], ["put", 9], attempt=2))) == [[0, 2], [0, 3]]
    assert scene.machine.actor.coins == [5, 7, 9]
    assert [index for index, _, _ in scene.delivered()] == [3, 4, 8]


def test_a_command_before_its_turn_changes_nothing_and_names_what_is_missing() -> None:
    scene = begun()
    assert scene.apply(calls(3, ["put", 5], attempt=4)) == [Missing(2, 1, 4)]
    assert (scene.machine.actor.coins, scene.delivered()) == ([], [])


def test_acknowledged_answers_are_forgotten() -> None:
    scene = begun()
    scene.apply(calls(1, ["put", 5]), calls(2, ["put", 6], acknowledged=1))
    assert scene.apply(calls(1, ["put", 5])) == []
    assert outcomes(scene.apply(calls(1, ["put", 5], ["put", 6]))) == [[0, 2]]


def test_what_keeps_a_session_alive_acknowledges_too() -> None:
    scene = begun()
    scene.apply(calls(1, ["put", 5], ["put", 6]))
    assert scene.apply(SessionKept(2, 1)) == [Kept(2)]
    assert outcomes(scene.apply(calls(1, ["put", 5], ["put", 6]))) == [[0, 2]]
    assert scene.apply(SessionKept(2, 99), SessionKept(2, 0)) == [Kept(2), Kept(2)]
    assert [(each.acknowledged, each.size) for _, each in scene.machine.sessions] == [(2, 0)]


@pytest.mark.parametrize("bad", [[], 7, "put", [7], False, [["put"], 1]])
def test_what_no_class_could_understand_has_an_agreed_outcome(bad: object) -> None:
    scene = begun()
    assert outcomes(scene.apply(calls(1, bad, ["put", 1]))) == [[Outcome.INVALID], [Outcome.APPLIED, 1]]
    assert scene.delivered() == [(4, "put", (1,))]


def test_a_query_in_the_log_is_answered_at_its_place_once_and_is_no_delivery() -> None:
    scene = begun()
    first = scene.apply(calls(1, ["put", 5], ["sum"], ["put", 7], ["sum"]))
    assert outcomes(first) == [[0, 1], [0, 5], [0, 2], [0, 12]]
    assert scene.apply(calls(1, ["put", 5], ["sum"], ["put", 7], ["sum"], attempt=1)) == first
    assert scene.delivered() == [(3, "put", (5,)), (5, "put", (7,))]
    assert scene.machine.understands(["sum"])
    assert not scene.machine.understands(["sum", 1])


@pytest.mark.parametrize("broken", [b"", b"\x80", b"\xff", b"\x81\x81"])
def test_calls_that_cannot_be_opened_are_calls_that_no_class_understands(broken: bytes) -> None:
    scene = begun()
    run = Commands(2, 1, 2, 0, 0, 0, broken)
    assert outcomes(scene.apply(run)) == [[Outcome.INVALID]] * 2


def test_a_void_keeps_its_number() -> None:
    scene = begun()
    assert outcomes(scene.apply(calls(1, None, ["put", 1]))) == [[Outcome.VOID], [Outcome.APPLIED, 1]]
    assert scene.delivered() == [(4, "put", (1,))]


def test_a_refusal_is_an_answer() -> None:
    scene = begun()
    reports = scene.apply(calls(1, ["take", 5]))
    assert outcomes(reports) == [[Outcome.REFUSED, "Refused", ["there is none", 5]]]
    assert scene.delivered() == []


def test_a_crash_is_undone_and_names_only_what_is_agreed() -> None:
    scene = begun()
    scene.apply(calls(1, ["put", 5], ["take", 9], ["spill"], ["put", 6]))
    scene.apply(calls(1, ["put", 5]))  # a repetition: not to be replayed
    reports = scene.apply(calls(5, ["put", 7], ["spill"], ["put", 8]))
    assert outcomes(reports) == [[0, 3], [Outcome.CRASHED, "LookupError"], [0, 4]]
    assert scene.machine.actor.coins == [5, 6, 7, 8]


def test_an_undone_command_sees_the_same_context_again() -> None:
    scene = begun()
    (drawn,) = outcomes(scene.apply(calls(1, ["look"]), time=5))
    seen = list(scene.machine.actor.seen)
    scene.apply(calls(2, ["spill"]), time=6)
    assert scene.machine.actor.seen == seen
    assert seen == ["owner Position(epoch=1, index=3) Timestamp(counter=30, node='a') 1970-01-01 00:00:00.000005+00:00"]
    other = begun()
    assert outcomes(other.apply(calls(1, ["look"]), time=5)) == [drawn]


def test_a_session_expires_by_log_time_and_is_told_of() -> None:
    scene = begun()
    scene.apply(SessionKept(2, 0), time=6 * SECOND)
    assert scene.apply(SessionKept(2, 0), time=15 * SECOND) == [Kept(2)]
    assert scene.apply(SessionKept(2, 0), calls(1, ["put", 1]), time=25 * SECOND) == [Expired(2), Expired(2)]
    assert (scene.machine.actor.coins, scene.delivered()) == ([], [])


def test_a_busy_session_lives_on_and_so_does_one_that_only_repeats_itself() -> None:
    """What it asks for is a sign of life, be it new, known already, or too early: its owner says nothing else then."""
    scene = begun()
    for number, time in ((1, 6), (1, 12), (7, 18), (2, 24)):
        scene.apply(calls(number, ["put", 1]), time=time * SECOND)
    assert outcomes(scene.apply(calls(3, ["put", 1]), time=33 * SECOND)) == [[Outcome.APPLIED, 3]]
    assert scene.apply(calls(4, ["put", 1]), time=43 * SECOND) == [Expired(2)]


def test_while_nobody_leads_no_session_expires() -> None:
    """The first batch of an epoch may be long after the last of the one before."""
    scene = begun()
    scene.apply(EpochStart("b"), epoch=2, time=3600 * SECOND)
    assert scene.apply(SessionKept(2, 0), epoch=2, time=3609 * SECOND) == [Kept(2)]


def test_an_ended_session_is_gone() -> None:
    scene = begun()
    assert scene.apply(SessionEnded(2), SessionKept(2, 0)) == [Expired(2)]


def test_a_batch_of_an_epoch_that_has_not_begun_is_a_bug() -> None:
    """It is refused where it comes in; nothing of it is applied."""
    scene = begun()
    with pytest.raises(InvariantViolation, match="an epoch begins with its epoch-start entry"):
        scene.apply(calls(1, ["put", 1]), epoch=2)
    assert (scene.machine.actor.coins, scene.machine.applied) == ([], 2)


def test_an_epoch_begins_once() -> None:
    scene = begun()
    with pytest.raises(InvariantViolation, match="an epoch has one epoch-start entry"):
        scene.apply(EpochStart("b"))


def test_views_follow_the_epochs() -> None:
    scene = begun()
    scene.apply(EpochStart("b"), epoch=3)
    views = [(view.number, view.epoch, view.leader, view.index, view.voters) for view in scene.machine.views]
    assert views == [(1, 1, "a", 1, ("a", "b")), (2, 3, "b", 3, ("a", "b"))]


def test_queries_look_and_change_nothing() -> None:
    scene = begun()
    scene.apply(calls(1, ["put", 5], ["put", 7]))
    before = scene.machine.state()
    assert decode(scene.machine.query(encode(["sum"]), "me")) == [Outcome.APPLIED, 12]
    for wrong in (encode(["put", 1]), encode(["nothing"]), encode([]), encode(7), b"\xff", encode(["sum", 1])):
        assert decode(scene.machine.query(wrong, "me")) == [Outcome.INVALID]
    assert scene.machine.state() == before


def test_batches_are_applied_in_order_once() -> None:
    scene = begun()
    (batch, *_) = scene.log.read(1, 10**6)
    with pytest.raises(InvariantViolation, match="in index order, once"):
        scene.machine.apply(batch)


def test_deliveries_begin_where_they_are_asked_to() -> None:
    scene = begun()
    scene.apply(calls(1, ["put", 1], ["put", 2], ["put", 3]))
    batch = scene.log.batch_at(4)
    assert batch is not None
    assert [delivery.arguments for delivery in scene.machine.deliveries(batch, from_index=4)] == [(2,), (3,)]
    stamps = [delivery.timestamp.counter for delivery in scene.machine.deliveries(batch)]
    assert stamps == [batch.stamp, batch.stamp + 1, batch.stamp + 2]
