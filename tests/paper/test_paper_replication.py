"""Ongaro 2014 on the log, a sentence a test (3.5, 3.7, 10.2; 5.3 of the paper; Zab on order; rules 8-10)."""

from __future__ import annotations

from itertools import permutations

import pytest
from stage import Delivered, Flight, Stage

from broadcast._protocol.entries import EpochStart, SessionKept, encode_entries
from broadcast._protocol.messages import Append, AppendReply, Heartbeat
from broadcast._protocol.position import START, Batch, Position
from membership._protocol.view import Promise

LEADER = "1 1:p 1:q 4 4:r 5 5:s 6 6:t 6:u"


def elected(names: str = "abc") -> Stage:
    stage = Stage(names)
    stage.start()
    stage.tick("a")
    stage.run(10)
    assert stage.replica("a").role == "leader"
    return stage


def delivered(stage: Stage, name: str) -> list[Batch]:
    return [
        batch
        for event in stage.events
        if event.who == name and isinstance(event.what, Delivered)
        for batch in event.what.batches
    ]


def appends(stage: Stage, to: str) -> list[Flight]:
    return [flight for flight in stage.sent(Append) if flight.to == to]


# -- where logs part -----------------------------------------------------------------------------------------------

FIGURE_3_6 = {
    "a": "1 1:p 1:q 4 4:r 5 5:s 6 6:t",
    "b": "1 1:p 1:q 4",
    "c": "1 1:p 1:q 4 4:r 5 5:s 6 6:t 6:u 6:v",
    "d": "1 1:p 1:q 4 4:r 5 5:s 6 6:t 6:u 7 7:w",
    "e": "1 1:p 1:q 4 4:r 4:x 4:y",
    "f": "1 1:p 1:q 2 2:v 2:w 3 3:x 3:y 3:z 3:zz",
}


@pytest.mark.parametrize("case", FIGURE_3_6)
def test_each_log_of_figure_3_6_becomes_the_leader_s(case: str) -> None:
    """3.5, figure 3.6: a follower may lack entries, have others, or both; the leader makes its log equal to its own.

    By hints: one refusal for each epoch that is wrong, not one for each entry.
    """
    stage = Stage("abc")
    stage.holds("a", *LEADER.split(), promise=Promise(7, None))
    stage.holds("b", *FIGURE_3_6[case].split(), promise=Promise(7, None))
    stage.holds("c", *LEADER.split(), promise=Promise(7, None))
    stage.start()
    stage.tick("a")
    refusals = 0
    while stage.flights:
        message = stage.flights[0].message
        refusals += isinstance(message, AppendReply) and message.conflict is not None
        stage.arrive(stage.flights.pop(0))
    stage.run(10)
    assert stage.epochs("b") == stage.epochs("a") == [1, 1, 1, 4, 4, 5, 5, 6, 6, 6, 8]
    assert delivered(stage, "b") == delivered(stage, "a")
    assert refusals <= 3


@pytest.mark.parametrize("previous", [Position(2, 2), Position(1, 3), Position(4, 3), Position(1, 4), Position(4, 9)])
def test_what_does_not_follow_what_is_there_is_not_taken(previous: Position) -> None:
    """3.5: the consistency check, by which equal (index, term) means equal logs up to there (log matching)."""
    stage = Stage("abc")
    stage.holds("a", "1", "1:p", "2", "2:r", promise=Promise(4, None))
    stage.start()
    content = encode_entries([SessionKept(1, 0) if previous.epoch == 4 else EpochStart("b")])
    new = Batch(4, previous.epoch, previous.index + 1, 1, 10**15, 10, content)
    stage.hear("a", "b", Append(4, previous, (new,), 0))
    assert stage.epochs("a") == [1, 1, 2, 2]
    (reply,) = stage.sent(AppendReply)
    assert isinstance(reply.message, AppendReply)
    assert (reply.message.match, reply.message.rejected) == (0, previous.index)


@pytest.mark.parametrize("rejected", [1, 2, 3, 4])
def test_a_leader_never_changes_its_own_log_but_by_adding(rejected: int) -> None:
    """3.2, 3.5 (leader append-only): whatever followers answer, no entry of the leader's is overwritten or removed."""
    stage = elected()
    stage.submit("a", "x", "y")
    stage.submit("a", "z")
    before = stage.replica("a").log.read(1, 10**9)
    last = stage.replica("a").log.last.index
    for match in range(min(rejected, last)):
        ends = stage.replica("a").log.ends_at
        if ends(match) and ends(min(rejected, last)):
            stage.hear("a", "c", AppendReply(1, match, min(rejected, last), match + 1))
    stage.hear("a", "b", AppendReply(1, 1))
    assert stage.replica("a").log.read(1, 10**9)[: len(before)] == before


def test_a_log_is_cut_only_where_another_entry_takes_the_place() -> None:
    """3.5: only a conflict (same index, another term) removes entries; a shorter message does not."""
    stage = Stage("abc")
    stage.holds("a", "1", "1:p", "1:q", "1:r")
    stage.start()
    held = stage.replica("a").log.read(1, 10**9)
    stage.hear("a", "b", Append(2, START, held[:2], 0))
    assert stage.epochs("a") == [1, 1, 1, 1]
    other = Batch(2, 1, 3, 1, 10**15, 10, encode_entries([EpochStart("b")]))
    stage.hear("a", "b", Append(2, Position(1, 2), (other,), 0))
    assert stage.epochs("a") == [1, 1, 2]


# -- lost, late and repeated -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("order", list(permutations((0, 0, 1, 1, 2), 5))[::7])
def test_messages_that_come_late_twice_or_out_of_order_do_no_harm(order: tuple[int, ...]) -> None:
    """3.7: requests may be repeated; 3.5: entries that are there already are passed over."""
    stage = elected()
    for word in "xyz":
        stage.submit("a", word)
    sent = appends(stage, "b")
    assert len(sent) == 3
    stage.drop_all()
    lengths = [len(stage.epochs("b"))]
    for at in (*order, 0, 1, 2):
        stage.arrive(sent[at])
        lengths.append(len(stage.epochs("b")))
    assert lengths == sorted(lengths), "an old message removed what a newer one brought"
    assert stage.replica("b").log.read(1, 10**9) == stage.replica("a").log.read(1, 10**9)
    stage.run(10)
    assert stage.replica("a").commit == 4
    leadership = stage.replica("a").leadership
    assert leadership is not None
    assert not any(progress.lost for progress in leadership.followers.values())


def test_a_follower_is_sent_what_it_lacks_until_it_has_it_however_long_it_was_away() -> None:
    """3.5, 3.7: the leader tries for ever, also when it has answered its clients meanwhile."""
    stage = elected()
    stage.crash("c")
    for word in "uvwxyz":
        stage.submit("a", word)
        stage.run(500)
    commit = stage.replica("a").commit
    assert commit == 8, "and that c is not reachable"
    stage.start("c")
    stage.run(500)
    assert stage.replica("c").commit >= commit
    assert stage.epochs("c") == stage.epochs("a")


def test_a_hole_in_the_stream_is_found_and_filled() -> None:
    """10.2.2: batches follow each other without waiting; when one is lost, the check refuses those behind."""
    stage = elected()
    for word in "xyz":
        stage.submit("a", word)
    sent = appends(stage, "b")
    stage.flights.remove(sent[1])
    stage.deliver("a", "b")
    stage.deliver("a", "b")
    assert stage.epochs("b") == [1, 1]
    stage.run(300)
    assert stage.epochs("b") == [1, 1, 1, 1]
    assert stage.replica("b").commit == 4


# -- committed ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("names", ["a", "ab", "abc", "abcd", "abcde", "abcdef", "abcdefg"])
def test_an_entry_is_committed_when_a_majority_has_it_and_not_before(names: str) -> None:
    """3.5: the leader that made it has replicated it on a majority, and counts itself once, when its disk has it."""
    stage = elected(names)
    stage.slow.add("a")
    stage.submit("a", "x")
    holders = 0
    for name in names[1 : len(names) // 2 + 1]:
        assert stage.replica("a").commit == 1
        stage.deliver("a", name)
        stage.deliver(name, "a")
        holders += 1
    assert (holders, stage.replica("a").commit) == (len(names) // 2, 1)
    stage.persist("a")
    assert stage.replica("a").commit == 2


@pytest.mark.parametrize("names", ["abc", "abcde"])
def test_the_leader_s_disk_may_be_the_last(names: str) -> None:
    """10.2.1: the leader writes while it sends; with a majority of others it commits what its own disk has not yet."""
    stage = elected(names)
    stage.slow.add("a")
    stage.submit("a", "x")
    for name in names[1 : len(names) // 2 + 2]:
        assert stage.replica("a").commit == 1
        stage.deliver("a", name)
        stage.deliver(name, "a")
    assert (stage.replica("a").commit, stage.replica("a").durable) == (2, 1)


def test_what_is_said_again_by_the_same_is_one_voice() -> None:
    """3.5: a majority of servers, not of answers."""
    stage = elected("abcde")
    stage.submit("a", "x")
    stage.deliver("a", "b")
    reply = stage.take("b", "a")
    for _ in range(5):
        stage.arrive(reply)
    assert stage.replica("a").commit == 1


def test_a_follower_does_not_count_before_its_disk_has_it() -> None:
    """3.8: entries are on stable storage before they are counted. One that dies first has never said it had it."""
    stage = elected()
    stage.slow.add("b")
    stage.submit("a", "x")
    stage.deliver("a", "b")
    assert not stage.sent(AppendReply, by="b")
    assert stage.replica("a").commit == 1
    stage.crash("b")
    stage.slow.clear()
    stage.start("b")
    assert stage.epochs("b") == [1]


def test_a_follower_says_how_far_its_disk_has_come_and_no_further() -> None:
    """3.8: what is still on its way to the disk is not counted, though it stands in the log."""
    stage = elected()
    stage.slow.add("b")
    for word in "xy":
        stage.submit("a", word)
        stage.deliver("a", "b")
    assert stage.epochs("b") == [1, 1, 1]
    stage.persist("b", 1)
    assert [flight.message for flight in stage.sent(AppendReply, by="b")] == [AppendReply(1, 2)]
    stage.run(10)
    stage.persist("b")
    assert stage.sent(AppendReply, by="b")[-1].message == AppendReply(1, 3)


def test_commands_are_delivered_in_the_order_of_the_log_and_everywhere_the_same() -> None:
    """3.5, 3.6.3 (state machine safety); Zab's local primary order: as the leader sequenced them, none left out."""
    stage = elected()
    stage.client("me", "b")
    for words in ("u v", "w", "x y z"):
        stage.say("me", *words.split())
    stage.run(10)
    said = [stage.words(name) for name in "abc"]
    assert said == [list("uvwxyz")] * 3
    for name in "abc":
        firsts = [batch.first for batch in delivered(stage, name)]
        assert firsts == sorted(set(firsts))


def test_a_follower_delivers_no_more_than_the_leader_has_shown_it() -> None:
    """3.5 (figure 3.1): a follower's commit is bounded by its last new entry: what it holds behind may be another's."""
    stage = Stage("abc")
    stage.holds("a", "1", "1:p", "2:q", "2:r", promise=Promise(4, None))
    stage.start()
    stage.hear("a", "b", Heartbeat(5, 4, 1, 0))
    assert stage.replica("a").commit == 0
    stage.hear("a", "b", Append(5, Position(1, 2), (), 4))
    assert stage.replica("a").commit == 2


def test_an_actor_is_given_each_command_once_however_often_it_was_brought() -> None:
    """3.2: the applied index only grows; an entry at or below it is not applied again."""
    stage = elected()
    stage.client("me", "a")
    stage.say("me", "x")
    stage.run(10)
    batches = stage.replica("a").log.read(1, 10**9)
    for _ in range(3):
        stage.hear("b", "a", Append(1, START, batches, 3))
        stage.hear("b", "a", Heartbeat(1, 3, 1, 0))
    assert stage.words("b") == ["x"]
