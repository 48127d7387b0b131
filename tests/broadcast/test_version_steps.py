"""Versions of the class in the core: when a leader puts one in force (rule 29)."""

from __future__ import annotations

import msgspec
import pytest
import test_replica_steps
from test_member_steps import ADD_D, HELLO, adding, configured, level, wanting
from test_replica_steps import One, batch, formation, leading, sent

from actors._protocol.errors import RemoteProtocolError
from broadcast._protocol.entries import EpochStart, SessionKept, Versioned, decode_entries, encode_entries
from broadcast._protocol.messages import Append, AppendReply, Heartbeat, HeartbeatReply
from broadcast._protocol.output import Answered, Connected, Output, Unfit
from broadcast._protocol.position import START, Batch, Position
from membership._protocol.messages import FormedNotice, Forming, Verdict
from membership._protocol.view import Formation, Limits


def put_in_force(*outputs: Output) -> list[int]:
    """By what is to be written."""
    batches = [batch for output in outputs for asked in output.persist for batch in asked.batches]
    entries = [entry for batch in batches for entry in decode_entries(batch.entries)]
    return [entry.version for entry in entries if isinstance(entry, Versioned)]


def told(one: One, **versions: int) -> list[Output]:
    return [one.hear(name, HeartbeatReply(1, 1, 0, version)) for name, version in versions.items()]


def test_a_follower_tells_its_version_with_its_heartbeats() -> None:
    one = One(version=3)
    one.hear("b", Append(1, START, (), 0))
    one.written()
    assert sent(one.hear("b", Heartbeat(1, 0, 3, 0)), HeartbeatReply) == [("b", HeartbeatReply(1, 3, 0, 3))]


def test_whose_class_takes_the_same_is_known_while_its_link_lasts() -> None:
    one = leading(interface=b"this")
    assert [name for name in "abc" if one.replica.is_alike(name)] == ["a"]
    for name, interface in (("b", b"this"), ("c", b"that")):
        one.hear(name, HeartbeatReply(1, 1, 0, 1, interface))
    assert [name for name in "abc" if one.replica.is_alike(name)] == ["a", "b"]
    one.step(Connected("b"))
    assert not one.replica.is_alike("b")
    one.hear("b", HeartbeatReply(1, 1, 0, 1, b"this"))
    one.hear("b", HeartbeatReply(1, 1, 0, 1))
    assert not one.replica.is_alike("b")
    follower = One(interface=b"this")
    follower.hear("b", Append(1, START, (), 0))
    follower.written()
    assert not follower.replica.is_alike("a")
    (told,) = sent(follower.hear("b", Heartbeat(1, 0, 3, 0)), HeartbeatReply)
    assert told == ("b", HeartbeatReply(1, 3, 0, 1, b"this"))


def test_a_later_version_is_put_in_force_once_all_voters_have_told_that_they_know_it() -> None:
    one = leading(version=3)
    assert put_in_force(*told(one, b=2)) == []
    assert put_in_force(*told(one, c=2)) == [2]
    assert put_in_force(*told(one, b=2, c=2)) == []  # once
    assert put_in_force(*told(one, b=3, c=3)) == [3]


def test_what_the_group_was_formed_with_is_in_force(monkeypatch: pytest.MonkeyPatch) -> None:
    def formed(names: str, limits: Limits | None = None) -> Formation:
        return msgspec.structs.replace(formation(names, limits), version=2)

    monkeypatch.setattr(test_replica_steps, "formation", formed)
    one = leading(version=3)
    assert put_in_force(*told(one, b=2, c=2)) == []
    assert put_in_force(*told(one, b=3, c=3)) == [3]


def test_what_the_leader_does_not_know_itself_is_not_put_in_force() -> None:
    one = leading(version=1)
    assert put_in_force(*told(one, b=2, c=2)) == []


def test_it_is_not_put_in_force_before_what_is_committed_is_known() -> None:
    one = One(version=2)
    one.lead()
    assert put_in_force(*told(one, b=2, c=2)) == []
    one.written()
    assert put_in_force(one.hear("b", AppendReply(1, 1))) == [2]


def test_who_comes_back_may_be_another_process() -> None:
    one = leading(version=2)
    told(one, b=2)
    one.step(Connected("b"))
    assert put_in_force(*told(one, c=2)) == []
    assert put_in_force(*told(one, b=2)) == [2]


def test_it_is_in_a_batch_of_its_own_and_counts_as_long_as_it_stands_in_the_log() -> None:
    """Taken back with the log: what was never committed may be put in force again."""
    start = encode_entries([EpochStart("b")])
    first = Batch(1, 0, 1, 1, 0, 1, start)
    second = Batch(1, 1, 2, 1, 0, 2, encode_entries([Versioned(2)]))
    one = One("abc", first, second, version=2)
    assert one.replica.committed is not None
    configurations = one.replica._participant._configurations  # pyright: ignore[reportPrivateUsage, reportOptionalMemberAccess]
    assert configurations.version == 2
    one.hear("c", Append(2, Position(1, 1), (batch(2, 2, previous=1, leader="c"),), 0))
    assert configurations.version == 1


def test_it_stands_alone() -> None:
    one = One()
    both = Batch(1, 0, 1, 2, 0, 1, encode_entries([EpochStart("b"), Versioned(2)]))
    with pytest.raises(RemoteProtocolError, match="among other entries"):
        one.hear("b", Append(1, START, (both,), 0))
    many = Batch(1, 1, 2, 2, 0, 9, encode_entries([Versioned(2), SessionKept(1, 0)]))
    with pytest.raises(RemoteProtocolError, match="among other entries"):
        one.hear("b", Append(1, START, (batch(1, 1), many), 0))


# -- with members that come --------------------------------------------------------------------------------------------


def test_one_that_is_to_vote_and_is_too_old_is_refused() -> None:
    one = leading(version=2)
    told(one, b=2, c=2)
    level(one)
    one.hear("d", HELLO)
    (answered,) = [each for each in wanting(one).settle if isinstance(each, Answered)]
    assert answered.verdict is Verdict.REFUSED
    assert answered.why == "version 2 of the class is in force, and d has version 1: start it with a newer one"
    one.hear("d", Forming(HELLO.members, HELLO.quorum, HELLO.limits, HELLO.address, version=2))
    assert configured(wanting(one, ADD_D))
    assert put_in_force(*level(one), *told(one, b=2, c=2)) == []  # it stays in force with other members


def test_one_that_went_back_to_an_older_class_meanwhile_gets_no_vote() -> None:
    one = leading(version=2)
    told(one, b=2, c=2)
    level(one)
    one.hear("d", Forming(HELLO.members, HELLO.quorum, HELLO.limits, HELLO.address, version=2))
    wanting(one)
    level(one)
    last = one.replica.log.last.index
    one.hear("d", AppendReply(1, 0, rejected=last, conflict=1))
    told(one, d=1)
    assert configured(one.hear("d", AppendReply(1, one.replica.log.last.index))) == []
    (reached,) = [configuration for output in told(one, d=2) for configuration in configured(output)]
    assert reached.is_joint


def test_while_two_electorates_decide_those_who_come_are_asked_too() -> None:
    one = adding(version=2)
    one.hear("d", AppendReply(1, 0, rejected=2, conflict=1))
    one.hear("d", AppendReply(1, one.replica.log.last.index))
    assert one.replica.configuration is not None
    assert one.replica.configuration.is_joint
    assert put_in_force(*told(one, b=2, c=2), *level(one, "bcd"), *level(one, "bcd")) == []
    assert one.replica.configuration.voter_names == tuple("abcd")
    assert put_in_force(*told(one, d=2)) == [2]


def taking(monkeypatch: pytest.MonkeyPatch, *takes: str) -> None:
    """From here on a group is formed with this."""

    def formed(names: str, limits: Limits | None = None) -> Formation:
        return msgspec.structs.replace(formation(names, limits), takes=takes)

    monkeypatch.setattr(test_replica_steps, "formation", formed)


def test_one_that_is_to_vote_and_has_another_class_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """In the version that the group was formed with: what comes later is nobody's business."""
    taking(monkeypatch, "command put")
    one = leading()
    level(one)
    hello = msgspec.structs.replace(HELLO, version=2, takes={"command put": 1, "command empty": 1})
    one.hear("d", hello)
    (answered,) = [each for each in wanting(one).settle if isinstance(each, Answered)]
    assert answered.verdict is Verdict.REFUSED
    assert answered.why == (
        "another class than the group's: d: it takes command empty that the group does not, and lacks nothing. "
        "Start it with the group's"
    )
    one.hear("d", msgspec.structs.replace(hello, takes={"command put": 1, "command empty": 2}))
    assert configured(wanting(one, ADD_D))


def test_one_that_is_told_how_the_group_was_formed_stops_if_its_class_is_another() -> None:
    record = msgspec.structs.replace(formation("abc"), takes=("command put",))
    one = One(formed=False, takes={"command put": 1, "query look": 1})
    output = one.hear("b", FormedNotice(record, record.configuration))
    assert output.settle == [Unfit("it takes query look that the group does not, and lacks nothing")]
    assert not output.persist
    older = msgspec.structs.replace(record, version=2)
    assert not any(isinstance(each, Unfit) for each in one.hear("b", FormedNotice(older, older.configuration)).settle)
    same = One(formed=False, takes={"command put": 1, "query look": 2}, version=2)
    assert same.hear("b", FormedNotice(record, record.configuration)).persist
