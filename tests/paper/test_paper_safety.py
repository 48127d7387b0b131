"""Ongaro 2014 on why it is safe, a sentence a test (3.6.2, 3.6.3, 3.8; Zab on epochs; rules 1, 7, 9, 16)."""

from __future__ import annotations

from itertools import combinations

import pytest
from stage import Delivered, ReadAnswered, Sent, Stage

from broadcast._protocol import leader as leading
from broadcast._protocol.entries import EpochStart, decode_entries
from broadcast._protocol.messages import AppendReply, HeartbeatReply
from broadcast._protocol.position import Batch
from membership._protocol.messages import VoteReply, VoteRequest
from membership._protocol.view import Promise


def agreed(stage: Stage) -> dict[int, Batch]:
    """What was delivered at each index, by anybody in any life; two that differ are a failure."""
    found: dict[int, Batch] = {}
    for event in stage.events:
        if isinstance(event.what, Delivered):
            for batch in event.what.batches:
                assert found.setdefault(batch.first, batch) == batch
    return found


def figure_8() -> Stage:
    """Figure 3.7, (b): a led epoch 2 and reached b only; e was elected for epoch 3 and has an entry of its own."""
    stage = Stage("abcde")
    logs = {"a": "1 2", "b": "1 2", "c": "1", "d": "1", "e": "1 3"}
    for name, entries in logs.items():
        stage.holds(name, *entries.split(), promise=Promise(3, None))
    stage.start("a", "b", "c", "d")
    stage.tick("a")
    while stage.replica("a").role != "leader":
        stage.arrive(stage.flights.pop(0))
    return stage


def test_an_old_entry_on_a_majority_is_not_committed_by_that(monkeypatch: pytest.MonkeyPatch) -> None:
    """3.6.2, figure 3.7 (c), (d): it may still be overwritten, and here it is."""
    monkeypatch.setattr(leading, "BATCH_SIZE_MAX", 1)
    stage = figure_8()
    leadership = stage.replica("a").leadership
    assert leadership is not None
    for name in "cd":
        while leadership.followers[name].match < 2:
            between = next((each.sender, each.to) for each in stage.flights if {each.sender, each.to} == {"a", name})
            stage.deliver(*between)
    assert [stage.epochs(name) for name in "abcd"] == [[1, 2, 4], [1, 2], [1, 2], [1, 2]]
    assert (stage.replica("a").durable, stage.replica("a").commit) == (3, 0), "and a knows it of itself, c and d"
    stage.crash("a")
    stage.drop_all()
    stage.start("e")
    while stage.replica("e").role != "leader":
        stage.tick("e")
        stage.settle()
    stage.run(10)
    assert {tuple(stage.epochs(name)[:2]) for name in "bcde"} == {(1, 3)}
    assert agreed(stage)[2].epoch == 3


def test_an_own_entry_on_a_majority_commits_all_before_it() -> None:
    """3.6.2, figure 3.7 (e): once an entry of the leader's own term is committed, so is everything before it."""
    stage = figure_8()
    stage.run(10)
    assert [batch.epoch for batch in agreed(stage).values()] == [1, 2, 4]
    stage.crash("a")
    stage.start("e")
    stage.run(2_000)
    assert agreed(stage)[2].epoch == 2
    assert {tuple(stage.epochs(name)[:3]) for name in "bcde"} == {(1, 2, 4)}


def test_a_leader_begins_with_an_entry_of_its_own() -> None:
    """6.4, 3.6.2: without it a new leader would not know what is committed until somebody asks for something."""
    stage = Stage("abc")
    for name in "abc":
        stage.holds(name, "1", "1:x")
    stage.start()
    stage.tick("b")
    stage.run(10)
    last = stage.replica("b").log.read(3, 1)[0]
    assert (last.epoch, decode_entries(last.entries)) == (2, [EpochStart("b")])
    assert {stage.replica(name).commit for name in "abc"} == {3}


@pytest.mark.parametrize("gone", [*combinations("abcde", 2), *combinations("abcde", 1)], ids="".join)
@pytest.mark.parametrize("reached", ["bc", "cd", "bcde"])
def test_what_was_committed_is_in_the_log_of_every_later_leader(reached: str, gone: tuple[str, ...]) -> None:
    """3.6.3 (leader completeness): whoever dies, as long as a majority is left."""
    stage = Stage("abcde")
    stage.start()
    stage.tick("a")
    stage.run(10)
    stage.submit("a", "x")
    for name in reached:
        stage.deliver("a", name)
        stage.deliver(name, "a")
    assert stage.replica("a").commit == 2
    stage.drop_all()
    for name in {"a", *gone}:
        if len(stage.cores) > 3:
            stage.crash(name)
    stage.run(2_000)
    (leader,) = (name for name in stage.cores if stage.replica(name).role == "leader")
    assert stage.epochs(leader)[:2] == [1, 1]
    assert set(agreed(stage)) >= {1, 2}


def test_no_two_deliver_different_entries_at_one_index() -> None:
    """3.6.3 (state machine safety), in a split: the cut-off leader's entry and the others' want the same index."""
    stage = Stage("abcde")
    stage.start()
    stage.tick("a")
    stage.run(10)
    stage.cut("ab", "cde")
    stage.submit("a", "lost")
    stage.run(1_000)
    (leader,) = (name for name in "cde" if stage.replica(name).role == "leader")
    stage.submit(leader, "kept")
    stage.run(100)
    stage.heal()
    stage.run(1_000)
    (commit,) = {stage.replica(name).commit for name in "abcde"}
    assert commit >= 3
    assert [batch.epoch for batch in agreed(stage).values()][:3] == [1, 2, 2]


def test_what_was_delivered_of_older_epochs_comes_before_the_newer() -> None:
    """Zab (primary integrity): before anything of a new leader's is delivered, all of the earlier ones' is."""
    stage = Stage("abc")
    stage.start()
    for name in ("a", "b", "c"):
        stage.run(400)
        (leader,) = (each for each in stage.cores if stage.replica(each).role == "leader")
        stage.submit(leader, name)
        stage.run(50)
        stage.crash(leader)
        stage.run(500)
        stage.start(leader)
    stage.run(500)
    for name in stage.names:
        epochs = [
            batch.epoch
            for event in stage.events
            if event.who == name and isinstance(event.what, Delivered)
            for batch in event.what.batches
        ]
        lives = [at for at, epoch in enumerate(epochs) if at and epoch < epochs[at - 1]]
        assert all(epochs[at] == 1 for at in lives), "epochs go down only where a new life begins again"
    assert len({batch.epoch for batch in agreed(stage).values()}) >= 3


def test_what_was_acknowledged_to_an_earlier_leader_counts_for_none_but_that() -> None:
    """3.3, 3.6.2: the same index of another term may be another entry; a late answer says nothing about this one."""
    stage = Stage("abc")
    for name in "abc":
        stage.holds(name, "1", "1:x")
    stage.start()
    stage.tick("a")
    stage.run(10)
    stage.read("a", "r1")
    stage.submit("a", "y")
    for name in "bc":
        stage.hear("a", name, AppendReply(1, 4))
        stage.hear("a", name, HeartbeatReply(1, 99))
    assert stage.replica("a").commit == 3
    assert not any(isinstance(event.what, ReadAnswered) for event in stage.events)


# -- restarts ------------------------------------------------------------------------------------------------------


def test_who_restarts_delivers_nothing_before_it_is_told_again() -> None:
    """3.8: commit and applied begin at zero; the state machine is rebuilt from what a leader says is committed."""
    stage = Stage("abc")
    stage.start()
    stage.tick("a")
    stage.run(10)
    stage.client("me", "a")
    stage.say("me", "x", "y")
    stage.run(10)
    stage.crash("c")
    stage.start("c")
    replica = stage.replica("c")
    assert (replica.commit, replica.applied, stage.words("c")) == (0, 0, [])
    assert stage.epochs("c") == stage.epochs("a")
    stage.run(300)
    assert (stage.words("c"), replica.commit) == (["x", "y"], stage.replica("a").commit)


def test_who_restarts_is_where_its_promise_was() -> None:
    """3.8: term and vote survive; it neither goes back to an older term nor leads on in the one it led."""
    stage = Stage("abc")
    stage.start()
    stage.tick("a")
    stage.run(10)
    stage.crash("a")
    stage.start("a")
    replica = stage.replica("a")
    assert (replica.role, replica.promise) == ("follower", Promise(1, "a"))
    assert replica.leader is None


def test_a_leader_that_restarts_in_its_epoch_makes_no_second_entry_at_one_place() -> None:
    """3.8, 3.2 (log matching): one leader and term make one entry at an index, also over the leader's restart."""
    stage = Stage("abc")
    stage.start()
    stage.tick("a")
    stage.run(10)
    stage.slow.add("a")
    stage.submit("a", "x")
    stage.deliver("a", "b")  # b has it, a's own disk has not
    stage.crash("a")
    stage.drop_all()
    stage.slow.clear()
    stage.start("a")
    stage.run(1_000)
    batches = {(batch.epoch, batch.first): batch for name in "abc" for batch in stage.replica(name).log.read(1, 10**9)}
    for name in "abc":
        for batch in stage.replica(name).log.read(1, 10**9):
            assert batches[batch.epoch, batch.first] == batch
    assert all(stage.replica(name).epoch > 1 for name in "abc")


def test_a_disk_without_its_memory_has_no_voice() -> None:
    """3.8, VRR 4.3: whoever lost its disk might vote twice, or forget what it said it had: it takes no part."""
    stage = Stage("abc")
    stage.start()
    stage.tick("a")
    stage.run(10)
    stage.crash("c")
    stage.wipe("c")
    stage.start("c")
    stage.events.clear()
    stage.hear("c", "b", VoteRequest(9, (9, 9), pre=False))
    stage.run(1_000)
    sent = [event.what.flight for event in stage.events if isinstance(event.what, Sent)]
    said = {type(flight.message) for flight in sent if flight.sender == "c"}
    assert not said & {VoteReply, AppendReply, HeartbeatReply, VoteRequest}
    assert stage.replica("c").role == "forming"


def test_another_disk_s_word_is_counted_for_nothing() -> None:
    """3.8; rule 16: neither a vote nor an acknowledgement nor a confirmation under the old name."""
    stage = Stage("abc")
    stage.start()
    stage.tick("a")
    stage.run(10)
    stage.crash("b")
    stage.crash("c")
    stage.submit("a", "x")
    stage.read("a", "r1")
    stage.wipe("c")
    stage.start("c")
    for message in (AppendReply(1, 2), HeartbeatReply(1, 99)):
        stage.hear("a", "c", message)
    assert stage.replica("a").commit == 1
    assert not any(isinstance(event.what, ReadAnswered) for event in stage.events)
