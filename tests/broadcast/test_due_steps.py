"""Who says that effects are due, and when: the replica's step (rules 7, 12, 17, 21)."""

from __future__ import annotations

from test_replica_steps import ASKED, FLOOR, WALL, One, batch, leading

from broadcast._protocol.entries import Due, decode_entries
from broadcast._protocol.messages import Append, AppendReply, Heartbeat, HeartbeatReply
from broadcast._protocol.output import Applied, Output, Submitted, Wanted
from broadcast._protocol.position import Position
from membership._protocol.messages import HandOver

LATER = FLOOR // 50  # sooner than the next heartbeat


def said(output: Output) -> list[object]:
    """The entries that are sequenced."""
    return [each for persist in output.persist for batch in persist.batches for each in decode_entries(batch.entries)]


def committed(one: One, index: int) -> None:
    """All up to there is durable everywhere."""
    one.written()
    for name in one.names[1:]:
        one.hear(name, AppendReply(1, index))


def planned(due: int = 0, count: int = 1) -> One:
    """A leader on whose machine something waits from index 2 on, to be due so long after now."""
    one = leading()
    one.step(Submitted((ASKED,)))
    committed(one, 2)
    one.begun = one.step(Applied(2, WALL + one.now + due, count))
    return one


def test_what_is_due_already_is_said_at_once() -> None:
    one = planned(count=3)
    assert said(one.begun) == [Due(3)]
    assert one.replica.log.last.index == 5


def test_an_idle_leader_wakes_up_when_something_is_due() -> None:
    one = planned(LATER)
    assert said(one.begun) == []
    assert one.replica.deadline == one.now + LATER
    output = one.tick()
    assert said(output) == [Due(1)]
    assert output.persist[0].batches[0].time == WALL + one.now


def test_it_is_woken_once_and_waits_then_for_what_it_has_to() -> None:
    """A disk that is busy: as soon as it has written, and not in a loop meanwhile."""
    one = planned(LATER)
    one.step(Submitted((ASKED,)))
    assert said(one.tick()) == []
    assert one.replica.deadline > one.now
    assert said(one.written()) == [Due(1)]


def test_nothing_is_said_twice() -> None:
    one = planned()
    committed(one, 3)
    assert said(one.tick()) == []
    assert said(one.step(Applied(2, WALL, 1))) == []
    assert said(one.step(Applied(3, WALL, 4))) == [Due(4)]


def test_a_leader_knows_nothing_before_its_epoch_start_is_applied() -> None:
    """Those of an earlier epoch may run what waits, as soon as they are committed through ours."""
    one = One("abc", batch(1, 1), batch(1, 2))
    one.hear("b", Append(1, Position(1, 2), (), 2))
    one.now += 2 * FLOOR
    one.lead()
    one.written()
    epoch = one.replica.epoch
    assert said(one.step(Applied(1, 0, 1))) == []
    for name in "bc":
        one.hear(name, AppendReply(epoch, 3))
    assert one.replica.commit == 3
    assert said(one.step(Applied(2, 0, 1))) == []
    assert said(one.step(Applied(3, 0, 1))) == [Due(1)]


def test_a_follower_says_nothing() -> None:
    one = One("abc", batch(1, 1), epoch=1)
    one.hear("b", Append(1, Position(1, 1), (), 1))
    output = one.step(Applied(1, 0, 1))
    assert (output.persist, output.send) == ([], [])


def test_who_hands_over_leaves_it_to_the_next_one() -> None:
    one = planned(LATER)
    one.hear("b", AppendReply(1, 2))
    one.step(Wanted(1, HandOver("b")))
    assert said(one.tick()) == []
    assert one.replica.deadline > one.now
    one.now += FLOOR // 2
    for name in "bc":
        one.hear(name, HeartbeatReply(1, 0))
    one.now += FLOOR // 2
    assert said(one.tick(0)) == [Due(1)]


def test_only_the_leader_of_an_epoch_speaks_for_it() -> None:
    one = leading()
    assert one.replica.speaks_for(1)
    assert not one.replica.speaks_for(2)
    one.hear("b", Heartbeat(2, 1, 1, 0))
    assert not one.replica.speaks_for(1)
    assert not one.replica.speaks_for(2)
