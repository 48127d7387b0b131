"""Snapshots in the replica's step: taken, compacted behind, sent in parts, installed (rules 8-11)."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from test_replica_steps import ASKED, FLOOR, One, batch, disk, formation, leading, sent

from actors._protocol.errors import RemoteProtocolError
from broadcast._protocol import incoming, outgoing, own
from broadcast._protocol.entries import Configured, encode_entries
from broadcast._protocol.messages import Append, AppendReply, Heartbeat, HeartbeatReply, PartReply, SnapshotPart
from broadcast._protocol.output import (
    Applied,
    Connected,
    Load,
    Loaded,
    LoadFailed,
    Noticed,
    Output,
    PartRead,
    PartStored,
    Persist,
    Persisted,
    ReadPart,
    Removed,
    SnapshotTaken,
    StorePart,
    Submitted,
    Suspected,
    Tick,
)
from broadcast._protocol.position import START, Batch, Position
from broadcast._protocol.progress import Flow, Progress
from broadcast._protocol.snapshots import PART_SIZE_MAX, Snapshot
from broadcast._protocol.writes import REMOVING_INTERVAL
from membership._protocol.configurations import Agreed
from membership._protocol.messages import VoteRequest
from membership._protocol.view import Configuration, Member, Promise

SIZE = 3 * PART_SIZE_MAX - 1
AGREED = Agreed.formed(formation("abc").configuration)


def snapshot(index: int, epoch: int = 1, size: int = SIZE, agreed: Agreed = AGREED) -> Snapshot:
    return Snapshot(Position(epoch, index), 0, index, agreed, size, bytes(32))


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of the log is kept below a snapshot, unless it is needed."""
    monkeypatch.setattr(own, "KEPT_SIZE_MAX", 0)


def run(count: int, first: int = 1, epoch: int = 1) -> list[Batch]:
    """Batches of one entry each."""
    return [batch(epoch, index) for index in range(first, first + count)]


def following(*batches: Batch, snapshot: Snapshot | None = None) -> One:
    """A follower of b in epoch 1, which has just said a word."""
    one = One("abc", *batches, epoch=1, snapshot=snapshot)
    one.hear("b", Heartbeat(1, 0, 1, 0))
    return one


def receiving(one: One, given: Snapshot) -> Output:
    """All of it comes, and is stored: it is to be loaded."""
    output = Output()
    for offset in range(0, given.size, PART_SIZE_MAX):
        data = bytes(min(PART_SIZE_MAX, given.size - offset))
        one.hear("b", SnapshotPart(1, given, offset, data))
        output = one.step(PartStored(given.position, offset + len(data)))
    return output


def compacted() -> One:
    """A leader with 1 to 9 compacted into a snapshot, while c was silent."""
    one = leading()
    one.now += FLOOR + 1
    for index in range(2, 10):
        grow(one)
        one.hear("b", AppendReply(1, index))
        one.step(Applied(index))
    one.step(SnapshotTaken(snapshot(9)))
    one.written()
    assert one.replica.log.start == Position(1, 9)
    return one


def grow(one: One) -> None:
    """The leader seals a batch of one entry, and its disk has it."""
    one.step(Submitted((ASKED,)))
    one.written()


def transfers(output: Output, kind: type) -> list[object]:
    return [each for each in output.transfer if isinstance(each, kind)]


def notices(outputs: Iterable[Output]) -> list[str]:
    return [each.text for output in outputs for each in output.settle if isinstance(each, Noticed)]


# -- taking, and compacting ----------------------------------------------------------------------------------------


def test_a_snapshot_takes_the_place_of_the_log_up_to_it() -> None:
    one = following(*run(9))
    one.hear("b", Append(1, Position(1, 9), (), 9))
    one.step(Applied(9))
    (asked,) = one.step(SnapshotTaken(snapshot(7))).persist
    assert (asked.snapshot, asked.compact, asked.batches, asked.truncate) == (snapshot(7), 7, (), None)
    log = one.replica.log
    assert (log.start, log.last, log.batch_at(7), log.batch_at(8)) == (
        Position(1, 7),
        Position(1, 9),
        None,
        batch(1, 8),
    )
    assert one.replica.snapshot == snapshot(7)


def test_some_of_the_log_below_a_snapshot_is_kept_for_who_is_a_little_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(own, "KEPT_SIZE_MAX", 2 * batch(1, 2).size)
    one = following(*run(9))
    one.hear("b", Append(1, Position(1, 9), (), 9))
    one.step(Applied(9))
    (asked,) = one.step(SnapshotTaken(snapshot(7))).persist
    assert (asked.compact, one.replica.log.start.index) == (5, 5)


def test_what_is_compacted_comes_to_the_disk_before_it_goes() -> None:
    """A leader may have applied what others hold and its own disk does not; it writes in the order it was asked."""
    one = leading()
    one.step(Submitted((ASKED,)))
    one.hear("b", AppendReply(1, 2))
    one.hear("c", AppendReply(1, 2))
    one.step(Applied(2))
    (asked,) = one.step(SnapshotTaken(snapshot(2))).persist
    assert (asked.snapshot, asked.compact, asked.batches, one.replica.durable) == (snapshot(2), 2, (), 1)
    one.written()
    assert one.replica.durable == 2


def later(one: One) -> Output:
    """Time enough for another part of a compacted log to go."""
    one.now += REMOVING_INTERVAL
    return one.step(Tick())


def test_what_is_compacted_goes_a_part_at_a_time_and_commands_between(monkeypatch: pytest.MonkeyPatch) -> None:
    """All at once would hold up what is asked of the disk meanwhile for much longer than a write does."""
    monkeypatch.setattr(own, "REMOVED_BATCHES_MAX", 2)
    one = following(*run(5))
    one.hear("b", Append(1, Position(1, 5), (), 5))
    one.step(Applied(5))
    (asked,) = one.step(SnapshotTaken(snapshot(5))).persist
    assert (asked.snapshot, asked.compact, one.replica.log.start.index) == (snapshot(5), 2, 5)
    (asked,) = one.hear("b", Append(1, Position(1, 5), (batch(1, 6),), 5)).persist
    assert (asked.batches, asked.compact) == ((batch(1, 6),), 0)  # one part is on its way
    assert one.written().persist == []
    (asked,) = later(one).persist
    assert (asked.snapshot, asked.compact, asked.batches) == (None, 4, ())
    assert later(one).persist == []  # that one is on its way
    (asked,) = one.written().persist
    assert asked.compact == 5
    assert later(one).persist == one.written().persist == []


def test_what_only_removes_is_written_from_time_to_time_and_not_with_a_promise(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is waited for meanwhile, such as a vote, would wait for that too."""
    monkeypatch.setattr(own, "REMOVED_BATCHES_MAX", 2)
    one = One("abc", *run(9), snapshot=snapshot(7))
    (asked,) = one.hear("b", VoteRequest(2, (1, 9), pre=False)).persist
    assert (asked.promise, asked.compact) == (Promise(2, "b"), 0)
    (asked,) = one.written().persist
    assert (asked.promise, asked.compact) == (None, 2)
    assert one.written().persist == []
    one.now += REMOVING_INTERVAL - 1
    assert one.step(Tick()).persist == []
    one.now += 1
    (asked,) = one.step(Tick()).persist
    assert asked.compact == 4


def test_as_much_goes_as_comes_so_that_what_is_left_does_not_grow(monkeypatch: pytest.MonkeyPatch) -> None:
    """One part with a write, whatever that holds, would leave more after each snapshot, as long as much is written."""
    monkeypatch.setattr(own, "REMOVED_BATCHES_MAX", 1)
    one = following(*run(10))
    one.hear("b", Append(1, Position(1, 10), tuple(run(10, 11)), 10))
    one.written()
    one.hear("b", Append(1, Position(1, 20), (), 20))
    one.step(Applied(20))
    (asked,) = one.step(SnapshotTaken(snapshot(20))).persist
    assert asked.compact == 1  # what had come before there was anything to remove is no reason for more
    one.hear("b", Append(1, Position(1, 20), tuple(run(2, 21)), 20))
    one.hear("b", Append(1, Position(1, 22), tuple(run(3, 23)), 20))
    assert one.written().persist == []
    (asked,) = later(one).persist
    assert asked.compact == 6
    one.hear("b", Append(1, Position(1, 25), tuple(run(4, 26)), 20))
    one.written()
    (asked,) = later(one).persist
    assert asked.compact == 10


def test_what_a_life_has_left_of_a_compacted_log_goes_in_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    """The last snapshot of a life comes right before its end, and most parts after that. Nothing else need happen."""
    monkeypatch.setattr(own, "REMOVED_BATCHES_MAX", 4)
    one = One("abc", *run(9), snapshot=snapshot(7))
    assert one.replica.log.start == Position(1, 7)
    (asked,) = one.step(Tick()).persist
    assert (asked.snapshot, asked.compact, asked.batches) == (None, 4, ())
    one.written()
    (asked,) = later(one).persist
    assert asked.compact == 7
    one.written()
    assert later(one).persist == []


def test_a_log_that_is_given_up_goes_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """While a part of it is on its way: what is written next does not go on from there."""
    monkeypatch.setattr(own, "REMOVED_BATCHES_MAX", 1)
    one = One("abc", *run(12), epoch=2, commit=3)
    one.hear("b", Heartbeat(2, 3, 1, 0))
    one.hear("b", Append(2, Position(1, 3), (), 3))
    one.step(Applied(3))
    (asked,) = one.step(SnapshotTaken(snapshot(3))).persist
    assert asked.compact == 1
    given = snapshot(7, epoch=2, size=1)
    one.hear("b", SnapshotPart(2, given, 0, b"x"))
    one.step(PartStored(given.position, 1))
    (asked,) = one.step(Loaded(given.position)).persist
    assert (asked.snapshot, asked.compact) == (given, 12)
    assert one.written().persist == []


def test_a_snapshot_says_by_itself_that_its_state_was_applied() -> None:
    """One that is taken at once is there before the word that its batch was applied."""
    one = following(*run(9))
    one.hear("b", Append(1, Position(1, 9), (), 9))
    one.step(SnapshotTaken(snapshot(7)))
    assert (one.replica.applied, one.replica.snapshot) == (7, snapshot(7))
    one.step(Applied(9))
    assert one.replica.applied == 9


def test_an_older_snapshot_than_that_which_is_there_is_of_no_use() -> None:
    one = following(*run(9))
    one.hear("b", Append(1, Position(1, 9), (), 9))
    one.step(Applied(9))
    one.step(SnapshotTaken(snapshot(7)))
    (kept_in_mind,) = one.step(SnapshotTaken(snapshot(5))).persist  # what it comes to says something all the same
    assert kept_in_mind == Persist(kept_in_mind.number, commit=9, compared=kept_in_mind.compared)
    assert one.replica.snapshot == snapshot(7)


# -- starting on one -----------------------------------------------------------------------------------------------


def test_a_restart_goes_on_from_the_snapshot(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is in it was committed: it is applied, and nothing up to there is delivered."""
    monkeypatch.setattr(own, "KEPT_SIZE_MAX", 2 * batch(1, 6).size)
    one = following(*run(4, 6), snapshot=snapshot(7))
    assert (one.replica.applied, one.replica.commit, one.replica.log.start.index) == (7, 7, 5)
    output = one.hear("b", Append(1, Position(1, 9), (), 8))
    assert [each.first for each in output.deliver] == [8]


def test_a_restart_on_a_snapshot_alone_knows_where_its_log_ends() -> None:
    one = following(snapshot=snapshot(7, size=1))
    assert (one.replica.log.last, one.replica.log.last_stamp, one.replica.durable) == (Position(1, 7), 7, 7)
    one.hear("b", Append(1, Position(1, 7), (batch(1, 8),), 8))
    assert sent(one.written(), AppendReply) == [("b", AppendReply(1, 8))]


def test_a_restart_has_the_configuration_of_its_snapshot() -> None:
    wider = Configuration((*formation("abc").configuration.voters, Member("d", disk("d"))))
    one = following(snapshot=snapshot(7, agreed=AGREED.configured(wider, 4, 1)))
    assert one.replica.configuration == wider
    assert one.replica.committed == AGREED.configured(wider, 4, 1)


def test_one_that_finds_itself_among_the_former_members_of_its_snapshot_has_been_removed() -> None:
    without = Configuration(formation("abc").configuration.voters[1:])
    one = One(snapshot=snapshot(7, agreed=AGREED.configured(without, 4, 1)))
    assert Removed() in one.hear("b", Heartbeat(1, 7, 1, 0)).settle


# -- sending (the leader's part) -----------------------------------------------------------------------------------


def test_who_needs_what_was_compacted_gets_the_snapshot_and_then_the_log() -> None:
    one = compacted()
    (asked,) = ask_again(one)
    assert asked == ReadPart("c", snapshot(9), 0, PART_SIZE_MAX)
    output = one.step(PartRead("c", Position(1, 9), 0, bytes(PART_SIZE_MAX)))
    assert sent(output, SnapshotPart) == [("c", SnapshotPart(1, snapshot(9), 0, bytes(PART_SIZE_MAX)))]
    assert transfers(output, ReadPart) == [ReadPart("c", snapshot(9), PART_SIZE_MAX, PART_SIZE_MAX)]
    one.step(PartRead("c", Position(1, 9), PART_SIZE_MAX, bytes(PART_SIZE_MAX)))
    output = one.step(PartRead("c", Position(1, 9), 2 * PART_SIZE_MAX, bytes(PART_SIZE_MAX - 1)))
    assert transfers(output, ReadPart) == []
    grow(one)
    one.hear("c", PartReply(1, Position(1, 9), SIZE))
    output = one.hear("c", AppendReply(1, 9))
    ((to, append),) = sent(output, Append)
    assert (to, isinstance(append, Append) and append.previous) == ("c", Position(1, 9))
    assert one.replica.leadership is not None
    assert one.replica.leadership.followers["c"].flow is Flow.STREAM


def ask_again(one: One) -> list[object]:
    """c is heard, and has not what follows the entry that it had acknowledged; returns what is to be read for it."""
    first = one.step(Connected("c"))
    then = one.hear("c", AppendReply(1, 0, rejected=one.replica.log.last.index, conflict=2))
    return [*transfers(first, ReadPart), *transfers(then, ReadPart)]


def test_of_a_snapshot_only_so_much_is_under_way_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outgoing, "UNDER_WAY_MAX", 2 * PART_SIZE_MAX)
    one = compacted()
    ask_again(one)
    one.step(PartRead("c", Position(1, 9), 0, bytes(PART_SIZE_MAX)))
    output = one.step(PartRead("c", Position(1, 9), PART_SIZE_MAX, bytes(PART_SIZE_MAX)))
    assert transfers(output, ReadPart) == []
    output = one.hear("c", PartReply(1, Position(1, 9), PART_SIZE_MAX))
    assert transfers(output, ReadPart) == [ReadPart("c", snapshot(9), 2 * PART_SIZE_MAX, PART_SIZE_MAX - 1)]


def test_what_is_not_confirmed_in_time_is_sent_again_from_there() -> None:
    one = compacted()
    ask_again(one)
    for offset in (0, PART_SIZE_MAX):
        one.step(PartRead("c", Position(1, 9), offset, bytes(PART_SIZE_MAX)))
    one.step(PartRead("c", Position(1, 9), 2 * PART_SIZE_MAX, bytes(PART_SIZE_MAX - 1)))
    one.hear("c", PartReply(1, Position(1, 9), PART_SIZE_MAX))
    output = one.tick(FLOOR // 2)
    assert transfers(output, ReadPart) == [ReadPart("c", snapshot(9), PART_SIZE_MAX, PART_SIZE_MAX)]


def test_who_has_all_of_it_and_is_silent_gets_its_last_byte_again() -> None:
    """So that one that has lost it says so."""
    one = compacted()
    ask_again(one)
    one.hear("c", PartReply(1, Position(1, 9), SIZE))
    one.step(PartRead("c", Position(1, 9), 0, None))
    output = one.tick(FLOOR // 2)
    assert transfers(output, ReadPart) == [ReadPart("c", snapshot(9), SIZE - 1, 1)]
    output = one.hear("c", PartReply(1, Position(1, 9), 0))
    output = one.step(PartRead("c", Position(1, 9), SIZE - 1, b"x"))
    assert transfers(output, ReadPart) == [ReadPart("c", snapshot(9), 0, PART_SIZE_MAX)]
    assert sent(output, SnapshotPart) == []


def gone_on() -> One:
    """The leader, one batch after the one that its snapshot ends with; the snapshot is on its way to c."""
    one = compacted()
    ask_again(one)
    grow(one)
    one.hear("b", AppendReply(1, 10))
    one.step(Applied(10))
    return one


def test_a_transfer_goes_on_with_the_same_snapshot_although_there_is_a_newer_one() -> None:
    one = gone_on()
    one.hear("c", PartReply(1, Position(1, 9), PART_SIZE_MAX))
    (asked,) = one.step(SnapshotTaken(snapshot(10))).persist
    assert (asked.compact, one.replica.log.start.index) == (0, 9)  # what c needs after it
    assert one.replica.snapshots_in_use == (snapshot(10), snapshot(9))
    assert ask_again(one) == []  # one is being read, and a slow disk is not asked again
    output = one.step(PartRead("c", Position(1, 9), 0, bytes(PART_SIZE_MAX)))
    assert (transfers(output, ReadPart), sent(output, SnapshotPart)) == (
        [ReadPart("c", snapshot(9), PART_SIZE_MAX, PART_SIZE_MAX)],
        [],
    )


def test_for_a_follower_that_is_too_far_behind_the_log_is_not_held(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was on its way to it is of no use any more, and gives way to the newest."""
    monkeypatch.setattr(own, "HELD_SIZE_MAX", 0)
    one = gone_on()
    output = one.step(SnapshotTaken(snapshot(10, size=1)))
    assert (output.persist[0].compact, transfers(output, ReadPart)) == (10, [ReadPart("c", snapshot(10, size=1), 0, 1)])


def test_one_that_falls_silent_gets_no_part_of_what_the_log_does_not_go_on_from(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The part was being read when both happened. Once it is heard again it gets the newest."""
    monkeypatch.setattr(own, "HELD_SIZE_MAX", 0)
    one = compacted()
    ask_again(one)
    one.now += FLOOR + 1
    grow(one)
    one.hear("b", AppendReply(1, 10))
    one.step(Applied(10))
    assert one.step(SnapshotTaken(snapshot(10, size=1))).persist[0].compact == 10
    output = one.step(PartRead("c", Position(1, 9), 0, bytes(PART_SIZE_MAX)))
    assert (transfers(output, ReadPart), sent(output, SnapshotPart)) == ([], [])
    output = one.hear("c", PartReply(1, Position(1, 9), 0))
    assert transfers(output, ReadPart) == [ReadPart("c", snapshot(10, size=1), 0, 1)]


def test_the_log_is_held_for_as_many_bytes_as_a_large_snapshot_has(monkeypatch: pytest.MonkeyPatch) -> None:
    """What grows while it is sent is less, unless that never comes to an end."""
    monkeypatch.setattr(own, "HELD_SIZE_MAX", 0)
    one = gone_on()
    one.step(SnapshotTaken(snapshot(10, size=2 * batch(1, 10).size - 1)))
    assert one.replica.log.start.index == 9


def test_one_that_is_silent_gets_no_part() -> None:
    one = compacted()
    output = one.step(Connected("c"))
    assert (transfers(output, ReadPart), [to for to, _ in sent(output, Append)]) == ([], ["c"])


def test_a_snapshot_that_cannot_be_read_is_told_of_and_tried_again() -> None:
    one = compacted()
    ask_again(one)
    output = one.step(PartRead("c", Position(1, 9), 0, None))
    assert notices([output]) == ["the snapshot at index 9 cannot be read: c waits for it"]
    assert transfers(output, ReadPart) == []
    assert transfers(one.tick(FLOOR // 2), ReadPart) == [ReadPart("c", snapshot(9), 0, PART_SIZE_MAX)]


def test_more_than_there_is_cannot_be_confirmed() -> None:
    one = compacted()
    ask_again(one)
    with pytest.raises(RemoteProtocolError, match="are confirmed"):
        one.hear("c", PartReply(1, Position(1, 9), SIZE + 1))


# -- installing (the follower's part) ------------------------------------------------------------------------------


def test_a_snapshot_is_stored_part_by_part_then_loaded_then_installed() -> None:
    one = following()
    given = snapshot(9)
    output = one.hear("b", SnapshotPart(1, given, 0, bytes(PART_SIZE_MAX)))
    assert output.transfer == [StorePart(given, 0, bytes(PART_SIZE_MAX))]
    output = one.step(PartStored(given.position, PART_SIZE_MAX))
    assert sent(output, PartReply) == [("b", PartReply(1, given.position, PART_SIZE_MAX))]
    one.hear("b", SnapshotPart(1, given, PART_SIZE_MAX, bytes(PART_SIZE_MAX)))
    one.step(PartStored(given.position, 2 * PART_SIZE_MAX))
    one.hear("b", SnapshotPart(1, given, 2 * PART_SIZE_MAX, bytes(PART_SIZE_MAX - 1)))
    output = one.step(PartStored(given.position, SIZE))
    assert output.transfer == [Load(given)]
    assert (one.replica.commit, one.replica.log.last) == (0, START)  # so far nothing has changed
    output = one.step(Loaded(given.position))
    (asked,) = output.persist
    assert (output.install, asked.snapshot, asked.compact, output.deliver) == (given, given, 9, [])
    assert (one.replica.commit, one.replica.applied, one.replica.log.last) == (9, 9, Position(1, 9))
    assert sent(output, AppendReply) == []
    assert sent(one.written(), AppendReply) == [("b", AppendReply(1, 9))]


def test_what_follows_an_installed_snapshot_is_delivered_after_it() -> None:
    one = following()
    receiving(one, snapshot(9))
    one.step(Loaded(Position(1, 9)))
    output = one.hear("b", Append(1, Position(1, 9), (batch(1, 10),), 10))
    assert [each.first for each in output.deliver] == [10]


def test_what_is_acknowledged_of_a_log_is_not_lost_with_it() -> None:
    """Entries that follow that very place are kept; nothing else is."""
    one = following(*run(9))
    one.hear("b", Append(1, Position(1, 9), (), 3))
    receiving(one, snapshot(7))
    output = one.step(Loaded(Position(1, 7)))
    assert (output.persist[0].compact, output.persist[0].truncate) == (7, None)
    assert (one.replica.log.start, one.replica.log.last, one.replica.durable) == (Position(1, 7), Position(1, 9), 9)


def test_a_log_that_has_another_entry_there_is_given_up() -> None:
    one = One("abc", *run(12), epoch=2, commit=3)
    one.hear("b", Heartbeat(2, 0, 1, 0))
    given = snapshot(7, epoch=2, size=1)
    one.hear("b", SnapshotPart(2, given, 0, b"x"))
    one.step(PartStored(given.position, 1))
    output = one.step(Loaded(given.position))
    assert (output.persist[0].snapshot, output.persist[0].compact) == (given, 12)
    assert (one.replica.log.start, one.replica.log.last, one.replica.durable) == (Position(2, 7), Position(2, 7), 0)
    one.written()
    assert one.replica.durable == 7


def test_what_was_being_written_says_nothing_of_the_log_that_a_snapshot_began() -> None:
    one = following()
    one.hear("b", Append(1, START, tuple(run(4)), 0))  # on its way to the disk
    receiving(one, snapshot(9, size=1))
    one.step(Loaded(Position(1, 9)))
    assert one.replica.durable == 0


def test_a_part_that_comes_again_or_too_early_is_answered_with_what_is_here() -> None:
    one = following()
    given = snapshot(9)
    output = one.hear("b", SnapshotPart(1, given, PART_SIZE_MAX, b"x"))
    assert (output.transfer, sent(output, PartReply)) == ([], [("b", PartReply(1, given.position, 0))])
    one.hear("b", SnapshotPart(1, given, 0, bytes(PART_SIZE_MAX)))
    one.step(PartStored(given.position, PART_SIZE_MAX))
    output = one.hear("b", SnapshotPart(1, given, 0, bytes(PART_SIZE_MAX)))
    assert (output.transfer, sent(output, PartReply)) == ([], [("b", PartReply(1, given.position, PART_SIZE_MAX))])


def test_a_disk_without_room_begins_anew() -> None:
    one = following()
    given = snapshot(9)
    one.hear("b", SnapshotPart(1, given, 0, bytes(PART_SIZE_MAX)))
    output = one.step(PartStored(given.position, 0))
    assert sent(output, PartReply) == [("b", PartReply(1, given.position, 0))]
    output = one.hear("b", SnapshotPart(1, given, 0, bytes(PART_SIZE_MAX)))
    assert output.transfer == [StorePart(given, 0, bytes(PART_SIZE_MAX))]


def test_a_snapshot_of_what_is_known_already_is_answered_with_that() -> None:
    one = following(*run(9))
    one.hear("b", Append(1, Position(1, 9), (), 9))
    output = one.hear("b", SnapshotPart(1, snapshot(7), 0, b"x"))
    assert (output.transfer, sent(output, AppendReply)) == ([], [("b", AppendReply(1, 9))])


def test_a_snapshot_that_is_level_meanwhile_is_not_installed() -> None:
    one = following()
    receiving(one, snapshot(9))
    one.hear("b", Append(1, START, tuple(run(9)), 9))
    output = one.step(Loaded(Position(1, 9)))
    assert (output.install, output.persist) == (None, [])


def test_a_leader_installs_nothing() -> None:
    """Its log has all that was ever committed."""
    one = following(*run(9))
    receiving(one, snapshot(9))
    one.tick()
    one.lead() if one.replica.role != "leader" else None
    output = one.step(Loaded(Position(1, 9)))
    assert (one.replica.role, output.install) == ("leader", None)


def test_a_snapshot_that_cannot_be_loaded_changes_nothing_and_is_sent_anew() -> None:
    """After a while: until then all of it is said to be here."""
    one = following(*run(3))
    receiving(one, snapshot(9))
    output = one.step(LoadFailed(Position(1, 9), "its digest is another"))
    assert notices([output]) == ["a snapshot that came from the leader cannot be used: its digest is another"]
    assert (output.install, output.persist, one.replica.log.last) == (None, [], Position(1, 3))
    output = one.hear("b", SnapshotPart(1, snapshot(9), 0, b"x"))
    assert (output.transfer, sent(output, PartReply)) == ([], [("b", PartReply(1, Position(1, 9), SIZE))])
    one.now += incoming.PAUSE
    output = one.hear("b", SnapshotPart(1, snapshot(9), 0, b"x"))
    assert output.transfer == [StorePart(snapshot(9), 0, b"x")]


def test_while_one_is_being_loaded_another_waits() -> None:
    one = following()
    receiving(one, snapshot(9))
    output = one.hear("b", SnapshotPart(1, snapshot(12), 0, b"x"))
    assert (output.transfer, output.send) == ([], [])
    assert one.step(Loaded(Position(1, 9))).install == snapshot(9)


def test_parts_of_another_size_than_the_snapshot_s_are_a_peer_s_fault() -> None:
    with pytest.raises(RemoteProtocolError, match="2 bytes at 0 of a snapshot of 1 bytes"):
        following().hear("b", SnapshotPart(1, snapshot(9, size=1), 0, b"xx"))


def test_a_configuration_that_is_in_the_snapshot_is_in_force_with_it() -> None:
    wider = Configuration((*formation("abc").configuration.voters, Member("d", disk("d"))))
    one = following(batch(1, 1), config(2, formation("abc").configuration))
    given = snapshot(9, size=1, agreed=AGREED.configured(wider, 5, 1))
    receiving(one, given)
    one.step(Loaded(given.position))
    assert one.replica.configuration == wider


def test_nothing_is_acknowledged_that_the_write_of_a_snapshot_removes() -> None:
    """1 to 12 are on their way to the disk when a snapshot of 9 takes their place."""
    one = following()
    one.hear("b", Append(1, START, tuple(run(12)), 0))
    under_way = one.number
    receiving(one, snapshot(9, size=1))
    one.step(Loaded(Position(1, 9)))
    one.hear("b", Append(1, Position(1, 9), tuple(run(3, 10)), 9))
    acknowledged = sent(one.step(Persisted(under_way)), AppendReply)
    assert [message for _, message in acknowledged] == [AppendReply(1, 9)]
    assert one.replica.durable == 9


def test_who_stands_keeps_the_log_that_it_asks_for_votes_with() -> None:
    one = following(*run(5))
    one.hear("b", Append(1, Position(1, 5), tuple(run(7, 6)), 0))
    receiving(one, snapshot(9, size=1))
    one.step(Suspected("b"))
    one.tick()
    assert one.replica.role == "canvasser"
    output = one.step(Loaded(Position(1, 9)))
    assert (output.install, one.replica.log.last) == (None, Position(1, 12))


def test_a_snapshot_of_a_later_epoch_than_its_leader_s_is_a_peer_s_fault() -> None:
    with pytest.raises(RemoteProtocolError, match="from a leader of epoch 1"):
        following().hear("b", SnapshotPart(1, snapshot(9, epoch=7, size=1), 0, b"x"))


def test_a_batch_right_after_a_snapshot_may_not_go_back_in_time() -> None:
    one = following(snapshot=Snapshot(Position(1, 7), 50, 70, AGREED, 1, bytes(32)))
    with pytest.raises(RemoteProtocolError, match="is older than that before it"):
        one.hear("b", Append(1, Position(1, 7), (batch(1, 8),), 8))


def test_a_follower_is_asked_before_it_is_given_a_snapshot() -> None:
    """A probe that was lost, or is slow, says nothing of what it holds."""
    one = compacted()
    assert one.replica.leadership is not None
    progress = one.replica.leadership.followers["c"]
    output = one.step(Connected("c"))
    assert [to for to, _ in sent(output, Append)] == ["c"]
    output = one.hear("c", HeartbeatReply(1, 1))
    assert (progress.flow, transfers(output, ReadPart)) == (Flow.PROBE, [])
    one.hear("c", AppendReply(1, 9))
    assert progress.flow is Flow.STREAM


def test_a_stream_that_compaction_has_overtaken_asks_first() -> None:
    progress = Progress(1)
    progress.acknowledged(0, 1, 0)
    assert progress.flow is Flow.STREAM
    progress.sent(0, (batch(1, 1),), 0)
    progress.restore(snapshot(9), 9, 1)
    progress.acknowledged(9, 2, 2)
    progress.stream()
    assert progress.may_send()
    assert progress.overdue(10**9, 1) is False


def test_a_snapshot_that_was_sent_is_held_no_longer_however_the_follower_got_there() -> None:
    one = compacted()
    ask_again(one)
    one.step(Connected("c"))
    one.hear("c", AppendReply(1, 9))
    assert one.replica.snapshots_in_use == (snapshot(9),)


def config(index: int, configuration: Configuration) -> Batch:
    return Batch(1, 1, index, 1, 0, index, encode_entries([Configured(configuration)]))
