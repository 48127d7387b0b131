"""The asker's side of reads: asked again until answered, and bounded."""

from __future__ import annotations

from broadcast._protocol.consistency import Consistency
from broadcast._protocol.patience import FAR, SILENCE_MIN
from broadcast._protocol.queries import UNDER_WAY_MAX, UNDER_WAY_SIZE_MAX, Queries, Query

LINEARIZABLE, LOCAL, SESSION = Consistency.LINEARIZABLE, Consistency.LOCAL, Consistency.SESSION


def test_a_query_is_sent_once_and_answered_once() -> None:
    queries = Queries()
    assert queries.ask(b"q", LINEARIZABLE) == 1
    assert queries.take(0) == [Query(1, b"q", LINEARIZABLE)]
    assert queries.take(0) == []
    assert queries.answered(1, 0)
    assert not queries.answered(1, 0)
    assert (queries.outstanding, queries.deadline) == (0, FAR)


def test_what_was_asked_is_asked_again_on_another_way_and_after_silence() -> None:
    queries = Queries()
    queries.ask(b"q", LINEARIZABLE)
    queries.ask(b"r", LOCAL)
    queries.take(0)
    queries.answered(1, 0)
    queries.enter(b"group")
    assert queries.take(0) == [Query(2, b"r", LOCAL)]
    queries.tick(SILENCE_MIN - 1)
    assert queries.take(SILENCE_MIN - 1) == []
    queries.tick(SILENCE_MIN)
    assert queries.silences == 1
    assert queries.take(SILENCE_MIN) == [Query(2, b"r", LOCAL)]
    assert queries.deadline == 3 * SILENCE_MIN
    queries.enter(b"group")
    assert queries.silences == 0


def test_who_gives_up_says_so_only_if_it_was_sent() -> None:
    queries = Queries()
    unsent = queries.ask(b"q", LINEARIZABLE)
    assert not queries.give_up(unsent)
    assert queries.take(0) == []
    sent = queries.ask(b"q", LINEARIZABLE)
    queries.take(0)
    assert queries.give_up(sent)
    assert not queries.give_up(sent)
    assert (queries.outstanding, queries.deadline) == (0, FAR)


def test_what_is_under_way_is_bounded() -> None:
    queries = Queries()
    assert queries.has_room(bytes(2 * UNDER_WAY_SIZE_MAX)), "a single one may be larger"
    queries.ask(bytes(UNDER_WAY_SIZE_MAX - 100), LINEARIZABLE)
    assert queries.has_room(b"")
    assert not queries.has_room(bytes(100))
    queries.answered(1, 0)
    for _ in range(UNDER_WAY_MAX):
        assert queries.has_room(b"q")
        queries.ask(b"q", LINEARIZABLE)
    assert not queries.has_room(b"q")
    queries.give_up(2)
    assert queries.has_room(b"q")


def test_what_is_left_open_by_an_answer_is_asked_again_in_time() -> None:
    """Though nothing was sent since: the rest may have found no room on its way."""
    queries = Queries()
    for _ in range(3):
        queries.ask(b"q", LINEARIZABLE)
    queries.take(0)
    queries.answered(2, 500)
    assert queries.deadline == 500 + SILENCE_MIN
    queries.tick(500 + SILENCE_MIN)
    assert [query.number for query in queries.take(500 + SILENCE_MIN)] == [1, 3]


def test_what_a_handle_has_seen_goes_with_what_it_asks_in_its_session_wherever_it_goes() -> None:
    queries = Queries()
    queries.saw(7)
    queries.enter(b"group")
    assert queries.seen == 0, "that was of another group, or of none"
    queries.saw(7)
    queries.saw(5)
    queries.ask(b"q", SESSION)
    queries.ask(b"r", LINEARIZABLE)
    asked = [Query(1, b"q", SESSION, 7), Query(2, b"r", LINEARIZABLE)]
    assert queries.take(0) == asked
    queries.saw(9)
    queries.enter(b"group")
    assert queries.take(0) == asked, "what was seen since is not what they were asked after"
    queries.ask(b"s", SESSION)
    assert queries.take(0) == [Query(3, b"s", SESSION, 9)]


def test_what_was_seen_of_a_group_says_nothing_of_another_in_its_place() -> None:
    queries = Queries()
    queries.enter(b"group")
    queries.saw(7)
    queries.ask(b"q", SESSION)
    queries.take(0)
    queries.enter(b"formed anew")
    assert queries.take(0) == [Query(1, b"q", SESSION, 0)]
    queries.ask(b"r", SESSION)
    assert queries.take(0) == [Query(2, b"r", SESSION, 0)]
