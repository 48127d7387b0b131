"""Replicas compare what their states come to, and who differs from a majority stops (rule 28)."""

from __future__ import annotations

import pytest
from test_replica_steps import ASKED, CLUSTER, FLOOR, One, disk, formation, leading, sent
from test_snapshot_steps import AGREED, following, receiving, run, snapshot

from broadcast._protocol import digests
from broadcast._protocol.digests import Digests, Opinion
from broadcast._protocol.entries import Configured, encode_entries
from broadcast._protocol.messages import Append, Digested
from broadcast._protocol.output import (
    Applied,
    Connected,
    Diverged,
    Loaded,
    Noticed,
    Output,
    Received,
    SnapshotTaken,
    Submitted,
    Uncapturable,
)
from broadcast._protocol.participant import UNCOMPACTED_MAX
from broadcast._protocol.position import Batch, Position
from broadcast._protocol.snapshots import NOTHING, Compared, Divergence, Place, Snapshot
from membership._protocol.view import Configuration, Limits, Member

ONE, OTHER, THIRD = b"1" * 32, b"2" * 32, b"3" * 32


def of(index: int, digest: bytes = ONE, layout: int = 1) -> Snapshot:
    return Snapshot(Position(1, index), 0, index, AGREED, 10, digest, layout)


def told(index: int, digest: bytes, layout: int = 1) -> Digested:
    return Digested(Position(1, index), layout, digest)


def applying(count: int) -> One:
    """A follower that has applied so many."""
    one = One("abc", *run(count), epoch=1)
    one.hear("b", Append(1, Position(1, count), (), count))
    one.step(Applied(count))
    return one


def texts(output: Output) -> list[str]:
    return [each.text for each in output.settle if isinstance(each, Noticed)]


def test_who_has_taken_a_snapshot_tells_all_members_what_it_comes_to() -> None:
    output = applying(3).step(SnapshotTaken(of(3)))
    assert sent(output, Digested) == [("b", told(3, ONE)), ("c", told(3, ONE))]


def test_a_member_that_was_away_is_told_the_newest() -> None:
    one = applying(3)
    one.step(SnapshotTaken(of(3)))
    assert sent(one.step(Connected("c")), Digested) == [("c", told(3, ONE))]


@pytest.mark.parametrize("first", ["mine", "theirs"])
def test_who_differs_from_a_majority_stops(first: str) -> None:
    one = applying(3)
    outputs = [one.step(SnapshotTaken(of(3)))] if first == "mine" else []
    outputs += [one.hear(name, told(3, OTHER)) for name in "bc"]
    outputs += [one.step(SnapshotTaken(of(3)))] if first == "theirs" else []
    assert [each for output in outputs for each in output.settle if isinstance(each, Diverged)] == [
        Diverged(Divergence(3, 0))
    ]


def test_it_is_told_where_a_majority_agreed_last() -> None:
    one = applying(5)
    one.step(SnapshotTaken(of(3)))
    one.hear("b", told(3, ONE))
    one.step(SnapshotTaken(of(5)))
    one.hear("b", told(5, OTHER))
    assert Diverged(Divergence(5, 3)) in one.hear("c", told(5, OTHER)).settle


def test_who_is_with_the_majority_goes_on() -> None:
    one = applying(3)
    one.step(SnapshotTaken(of(3)))
    one.hear("b", told(3, OTHER))
    assert not [each for each in one.hear("c", told(3, ONE)).settle if isinstance(each, Diverged)]


def test_while_no_majority_is_known_to_agree_nothing_is_sequenced() -> None:
    one = leading()
    one.step(SnapshotTaken(of(1)))
    one.written()
    output = one.hear("b", told(1, OTHER))
    assert "differ at index 1, and no majority" in texts(output)[0]
    assert one.replica.divided == 1
    one.written()
    assert one.step(Submitted((ASKED,))).persist == []
    output = one.hear("c", told(1, ONE))
    assert [batch.first for batch in output.persist[0].batches] == [2]


def test_what_is_known_of_it_outlasts_a_restart_until_a_majority_is_known_to_agree() -> None:
    """Were it forgotten, who restarts a group that has stopped would have it go on with two states."""
    kept = Compared((Place(Position(1, 1), 1, ONE, ("a", "b", "c")),), Position(1, 1))
    one = leading(compared=kept)
    assert one.replica.divided == 1
    assert one.step(Submitted((ASKED,))).persist == []
    assert sent(one.step(Connected("b")), Digested) == [("b", told(1, ONE))]
    (persist,) = one.hear("c", told(1, ONE)).persist
    assert persist.compared == Compared(kept.places)


def test_who_begins_tells_all_and_who_hears_it_for_the_first_time_answers() -> None:
    """What comes to a node on which the replica has not begun yet is lost, and so is word of the link."""
    one = One("abc", *run(3), epoch=1, compared=Compared((Place(Position(1, 3), 1, ONE, ("a", "b", "c")),)))
    assert sent(one.begun, Digested) == [("b", told(3, ONE)), ("c", told(3, ONE))]
    heard = [one.hear("b", Append(1, Position(1, 3), (), 3)) for _ in range(2)]
    assert [sent(output, Digested) for output in heard] == [[("b", told(3, ONE))], []]
    one.step(Connected("b"))
    assert sent(one.hear("b", Append(1, Position(1, 3), (), 3)), Digested) == [("b", told(3, ONE))]


def test_who_was_wrong_before_has_no_word_further_on() -> None:
    """It stops; what it told of later places must not keep the others from going on."""
    digests = Digests("a", NOTHING)
    for index in (3, 5):
        digests.took(of(index), "abc")
        assert digests.heard("b", Position(1, index), 1, OTHER, "abc") is Opinion.DIVIDED
    assert digests.heard("c", Position(1, 3), 1, ONE, "abc") is Opinion.AGREED
    assert digests.divided is None


def test_where_those_differ_next_who_were_equal_is_looked_at() -> None:
    digests = Digests("a", NOTHING)
    digests.took(of(3), "abc")
    digests.heard("b", Position(1, 3), 1, OTHER, "abc")
    digests.took(of(5), "abc")
    digests.heard("c", Position(1, 5), 1, THIRD, "abc")
    assert digests.divided == Position(1, 3)
    assert digests.heard("c", Position(1, 3), 1, ONE, "abc") is Opinion.AGREED
    assert digests.divided == Position(1, 5)


def test_what_was_found_is_on_disk_with_the_snapshot() -> None:
    one = applying(3)
    place = Place(Position(1, 3), 1, ONE, ("a", "b", "c"))
    assert one.step(SnapshotTaken(of(3))).persist[0].compared == Compared((place,))
    assert one.hear("b", told(3, OTHER)).persist[0].compared == Compared((place,), place.position)


def test_the_place_at_which_voters_differ_is_kept_whatever_comes() -> None:
    """Each restart makes a place of its own; and who was away may come to the old one at last."""
    digests = Digests("a", NOTHING)
    digests.took(of(3), "abc")
    digests.heard("b", Position(1, 3), 1, OTHER, "abc")
    for index in range(4, 40):
        digests.took(of(index), "abc")
        digests.heard("b", Position(1, index + 100), 1, ONE, "abc")
    assert digests.heard("c", Position(1, 3), 1, ONE, "abc") is Opinion.AGREED
    assert digests.divided is None


def test_a_place_of_which_no_voter_is_left_divides_nobody() -> None:
    digests = Digests("a", NOTHING)
    digests.took(of(3), "abc")
    digests.heard("b", Position(1, 3), 1, OTHER, "abc")
    assert digests.opinion(Position(1, 3), "xyz") is Opinion.OPEN
    assert digests.divided is None


def test_what_ours_came_to_says_nothing_of_a_state_that_was_installed() -> None:
    digests = Digests("c", NOTHING)
    digests.took(of(3, OTHER), "abc")
    digests.forget()
    assert digests.took(of(5), "abc") is Opinion.OPEN
    assert [digests.heard(name, Position(1, 3), 1, ONE, "abc") for name in "ab"] == [Opinion.OPEN] * 2


def test_a_stranger_s_word_does_not_count() -> None:
    one = applying(3)
    one.step(SnapshotTaken(of(3)))
    one.hear("d", told(3, OTHER))
    one.step(Received("c", b"c" * 16, disk("x"), 5_000, told(3, OTHER)))
    assert not [each for each in one.hear("b", told(3, OTHER)).settle if isinstance(each, Diverged)]


def test_what_was_installed_is_compared_as_well() -> None:
    """The leader may be the one that has diverged."""
    one = following()
    given = snapshot(9, size=1)
    receiving(one, given)
    output = one.step(Loaded(given.position))
    assert sent(output, Digested) == [("b", told(9, given.digest)), ("c", told(9, given.digest))]
    outputs = [one.hear(name, told(9, OTHER)) for name in "bc"]
    assert [each for output in outputs for each in output.settle if isinstance(each, Diverged)]


def test_who_has_left_decides_nothing_any_more() -> None:
    """So that an operator can end a division."""
    digests = Digests("a", NOTHING)
    digests.took(of(3), "abc")
    assert digests.heard("b", Position(1, 3), 1, OTHER, "abc") is Opinion.DIVIDED
    assert digests.opinion(Position(1, 3), "ac") is Opinion.OPEN
    assert digests.heard("c", Position(1, 3), 1, ONE, "ac") is Opinion.AGREED
    assert digests.divided is None


def test_only_voters_decide_and_only_what_is_laid_out_alike_is_compared() -> None:
    digests = Digests("a", NOTHING)
    assert digests.took(of(3), "abc") is Opinion.OPEN
    assert digests.heard("observer", Position(1, 3), 1, OTHER, "abc") is Opinion.OPEN
    assert digests.heard("b", Position(1, 3), 2, OTHER, "abc") is Opinion.OPEN
    assert digests.heard("c", Position(1, 3), 1, ONE, "abc") is Opinion.AGREED


def test_what_is_remembered_is_bounded_and_who_names_much_spoils_its_own_word_only(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(digests, "PLACES_MAX", 2)
    told_by = Digests("a", NOTHING)
    told_by.heard("c", Position(1, 3), 1, ONE, "abc")
    for index in range(1, 100):
        told_by.heard("b", Position(9, 2**40 + index), 1, ONE, "abc")
    assert {name: len(places) for name, places in told_by._told.items()} == {"b": 2, "c": 1}
    assert told_by.took(of(3), "abc") is Opinion.AGREED


def test_a_majority_further_on_ends_a_division() -> None:
    digests = Digests("a", NOTHING)
    digests.took(of(3), "abc")
    assert digests.heard("b", Position(1, 3), 1, OTHER, "abc") is Opinion.DIVIDED
    digests.took(of(5), "abc")
    digests.heard("c", Position(1, 5), 1, ONE, "abc")
    assert digests.divided is None


def test_only_who_is_a_member_is_remembered_however_many_came_and_went() -> None:
    """The observers of a group that grows and shrinks with its load, say."""
    one, last = applying(3), 3
    one.step(SnapshotTaken(of(3)))
    for number in range(200):
        last += 1
        name = f"o{number}"
        members = (*formation("abc").configuration.members, Member(name, name.encode().ljust(16)))
        changed = Configuration(members[:3], members[3:], limits=Limits(election_timeout=FLOOR))
        change = Batch(1, 1, last, 1, 0, last, encode_entries([Configured(changed)]))
        one.hear("b", Append(1, Position(1, last - 1), (change,), last))
        one.step(Received(name, CLUSTER, name.encode().ljust(16), one.stamp + 1, told(3, OTHER)))
    known = one.replica._participant._digests._told  # type: ignore[union-attr]
    assert set(known) == {"o199"}
    one.hear("b", told(3, OTHER))
    assert [each for each in one.hear("c", told(3, OTHER)).settle if isinstance(each, Diverged)]


def test_who_comes_back_with_another_disk_begins_anew() -> None:
    """What it told before was of a state that is gone: it has a word again, and is told what ours comes to."""
    one = applying(3)
    one.hear("c", told(3, OTHER))
    members = tuple(Member(name, disk("x" if name == "c" else name)) for name in "abc")
    changed = Configuration(members, limits=Limits(election_timeout=FLOOR))
    change = Batch(1, 1, 4, 1, 0, 4, encode_entries([Configured(changed)]))
    one.hear("b", Append(1, Position(1, 3), (change,), 4))
    one.hear("b", told(3, ONE))
    output = one.step(SnapshotTaken(of(3)))
    assert not texts(output)
    output = one.step(Received("c", CLUSTER, disk("x"), one.stamp + 1, told(3, ONE)))
    assert sent(output, Digested) == [("c", told(3, ONE))]


def test_where_no_snapshot_can_be_taken_again_and_again_nothing_is_sequenced_until_one_is() -> None:
    one = leading()
    for left in range(UNCOMPACTED_MAX - 1, -1, -1):
        assert one.step(Submitted((ASKED,))).persist
        one.written()
        one.step(Uncapturable("a lock"))
        assert one.replica.uncapturable is not None
        assert (f"at {left} more" if left else "by now nothing is sequenced: a lock") in one.replica.uncapturable
    assert one.step(Submitted((ASKED,))).persist == []
    (persist,) = one.step(SnapshotTaken(of(1))).persist
    assert (one.replica.uncapturable, len(persist.batches)) == (None, 1)
