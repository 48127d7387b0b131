"""Read index: what confirms a read, and what does not (rule 20; Ongaro 2014, 6.4)."""

from __future__ import annotations

from broadcast._protocol.reads import ReadRounds, Reads
from membership._protocol.view import Configuration, Member

THREE = Configuration(tuple(Member(name, name.encode() * 16) for name in "abc"))
FIVE = Configuration(tuple(Member(name, name.encode() * 16) for name in "abcde"))
ONE = Configuration((Member("a", b"a" * 16),))


def test_a_round_that_began_before_the_read_confirms_nothing() -> None:
    rounds = ReadRounds("a")
    assert rounds.begin(commit=7) == 1
    rounds.ask("b", 100)
    rounds.confirm("b", 1)
    assert rounds.take_confirmed(THREE) == []
    assert rounds.begin(commit=8) == 2
    rounds.confirm("b", 1)  # an old answer, late
    assert rounds.take_confirmed(THREE) == []
    rounds.confirm("b", 2)
    assert rounds.take_confirmed(THREE) == [("b", 100, 8)]
    assert rounds.take_confirmed(THREE) == []


def test_one_voice_is_counted_once_and_strangers_are_not() -> None:
    rounds = ReadRounds("a")
    rounds.ask("a", 1)
    rounds.begin(commit=3)
    for name in ("b", "b", "stranger", "a"):
        rounds.confirm(name, 1)
    assert rounds.take_confirmed(FIVE) == []
    rounds.confirm("c", 1)
    assert rounds.take_confirmed(FIVE) == [("a", 1, 3)]


def test_reads_wait_until_the_leader_knows_what_is_committed() -> None:
    rounds = ReadRounds("a")
    rounds.ask("a", 1)
    rounds.begin(commit=None)
    rounds.confirm("b", 1)
    assert rounds.take_confirmed(THREE) == []
    assert rounds.wants_round
    rounds.begin(commit=4)
    rounds.confirm("b", 2)
    assert rounds.take_confirmed(THREE) == [("a", 1, 4)]


def test_one_round_serves_all_that_wait_and_later_answers_serve_earlier_rounds() -> None:
    rounds = ReadRounds("a")
    rounds.ask("a", 1)
    rounds.ask("b", 2)
    rounds.begin(commit=4)
    rounds.ask("c", 3)
    assert not rounds.wants_round  # one is under way
    rounds.begin(commit=5)
    rounds.confirm("c", 2)
    assert rounds.take_confirmed(THREE) == [("a", 1, 4), ("b", 2, 4), ("c", 3, 5)]


def test_who_is_alone_needs_no_answer() -> None:
    rounds = ReadRounds("a")
    rounds.ask("a", 1)
    rounds.begin(commit=2)
    assert rounds.take_confirmed(ONE) == [("a", 1, 2)]


def test_a_reader_asks_once_for_all_and_waits_until_its_state_is_fresh() -> None:
    reads = Reads()
    reads.wait(1)
    reads.wait(2)
    assert reads.wants_request
    reads.request(77, now=0)
    reads.wait(3)
    assert not reads.wants_request  # one request at a time
    reads.answered(77, 10)
    assert reads.take_ready(9) == []
    assert reads.take_ready(10) == [1, 2]
    assert reads.take_ready(10) == []
    assert reads.wants_request


def test_the_answer_to_a_request_that_was_given_up_is_none() -> None:
    reads = Reads()
    reads.wait(1)
    reads.request(77, now=0)
    assert reads.overdue_at(100) == 100
    reads.lose()
    assert reads.overdue_at(100) is None
    reads.answered(77, 10)
    reads.request(78, now=5)
    reads.answered(77, 10)
    assert reads.take_ready(99) == []
    reads.answered(78, 11)
    assert reads.take_ready(11) == [1]


def test_who_gave_up_is_not_asked_for() -> None:
    reads = Reads()
    reads.wait(1)
    reads.give_up(1)
    assert not reads.wants_request
    reads.wait(2)
    reads.request(5, now=0)
    reads.give_up(2)
    reads.answered(5, 1)
    assert reads.take_ready(1) == []
    reads.wait(3)
    reads.request(6, now=0)
    reads.answered(6, 2)
    reads.give_up(3)  # its index is not applied yet
    assert reads.take_ready(2) == []


def test_who_asks_again_while_no_round_may_begin_waits_once() -> None:
    rounds = ReadRounds("a")
    for number in (3, 5, 4):  # the network turned two of them round
        rounds.ask("b", number)
        rounds.begin(commit=None)
    rounds.begin(commit=7)
    rounds.confirm("b", 4)
    assert rounds.take_confirmed(THREE) == [("b", 5, 7)]


def test_who_knows_the_index_asks_nobody() -> None:
    reads = Reads()
    reads.wait_for(1, 10)
    reads.wait_for(2, 5)
    assert not reads.wants_request
    assert reads.take_ready(4) == []
    assert reads.take_ready(9) == [2]
    reads.wait_for(3, 9)
    assert reads.take_ready(9) == [3]
    reads.give_up(1)
    assert reads.take_ready(10) == []
    reads.wait_for(4, 0)
    assert reads.take_ready(0) == [4]


def test_what_the_leader_names_is_less_than_what_another_waits_for() -> None:
    reads = Reads()
    reads.wait_for(1, 10)
    reads.wait(2)
    reads.request(77, now=0)
    reads.answered(77, 3)
    assert reads.take_ready(3) == [2]
    assert reads.take_ready(10) == [1]
