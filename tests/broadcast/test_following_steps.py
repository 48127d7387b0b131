"""The rules of following the total order from outside, step by step: slots, what cannot be, whose turn it is."""

from __future__ import annotations

import pytest

from actors import Overloaded
from actors._protocol.codec import DecodeError, encode
from actors._protocol.errors import RemoteProtocolError
from broadcast._protocol.following import (
    PIECE_SIZE_MAX,
    SLOTS_MAX,
    Asked,
    Follow,
    Harvest,
    Ordered,
    Piece,
    Slots,
    Turns,
    Unheld,
    check,
)
from broadcast._protocol.portions import COUNT_MAX
from broadcast._protocol.visits import FROM_CLIENT, TO_CLIENT


def at(index: int, *, epoch: int = 1, stamp: int | None = None, time: int = 7, call: bytes = b"\x81\x61a") -> Ordered:
    return Ordered(epoch, index, index if stamp is None else stamp, "a", time, "me", call)


# -- the client's slots ---------------------------------------------------------------------------------------------


def test_each_who_waits_has_a_slot_of_its_own_and_there_are_so_many() -> None:
    slots = Slots()
    assert [slots.take(5) for _ in range(SLOTS_MAX)] == list(range(SLOTS_MAX))
    with pytest.raises(Overloaded, match=f"{SLOTS_MAX} tasks wait for deliveries of this handle"):
        slots.take(5)
    slots.leave(3)
    assert slots.take(9) == 3


def test_an_answer_is_for_who_waits_for_just_that() -> None:
    slots = Slots()
    slots.take(0)
    slots.take(5)
    assert slots.is_answered_by(Piece(0, 0, (), 9))
    assert slots.is_answered_by(Unheld(1, 5, 8))
    assert not slots.is_answered_by(Piece(0, 5, (), 9))
    assert not slots.is_answered_by(Piece(1, 4, (), 9))
    assert not slots.is_answered_by(Piece(2, 5, (), 9))
    slots.leave(1)
    assert not slots.is_answered_by(Unheld(1, 5, 8))


@pytest.mark.parametrize(
    "answer",
    [
        Piece(0, 5, (), 5),
        Piece(0, 5, (), 4),
        Piece(0, 5, (at(4),), 9),
        Piece(0, 5, (at(5), at(9)), 9),
        Piece(0, 5, (at(6), at(6, stamp=7)), 9),
        Piece(0, 5, (at(7), at(6, stamp=8)), 9),
        Piece(0, 5, (at(6), at(7, stamp=6)), 9),
        Piece(0, 5, (at(6, epoch=2), at(7)), 9),
        Piece(0, 5, (at(6), at(7, time=6)), 9),
        Unheld(0, 5, 5),
        Unheld(0, 5, 1),
    ],
)
def test_what_no_replica_can_say_is_its_fault_whoever_waits(answer: Piece | Unheld) -> None:
    with pytest.raises(RemoteProtocolError):
        check(answer)
    with pytest.raises(RemoteProtocolError):
        Slots().is_answered_by(answer)


def test_what_it_can_say_is_taken() -> None:
    check(Piece(0, 5, (at(5), at(8, epoch=2, stamp=30, time=8)), 9))
    check(Piece(0, 0, (), 1))
    check(Unheld(0, 5, 6))


def test_there_is_no_slot_beyond_the_last() -> None:
    """So nobody needs to count what a client asks for."""
    assert FROM_CLIENT.decode(encode(["follow", SLOTS_MAX - 1, 7])) == Follow(SLOTS_MAX - 1, 7)
    for slot in (SLOTS_MAX, -1):
        for message in (["follow", slot, 7], ["unfollow", slot]):
            with pytest.raises(DecodeError):
                FROM_CLIENT.decode(encode(message))
    with pytest.raises(DecodeError):
        FROM_CLIENT.decode(encode(["follow", 0, -1]))
    one = [1, 1, 1, "a", 7, "me", b"\xf6"]
    with pytest.raises(DecodeError):
        TO_CLIENT.decode(encode(["piece", 0, 1, [one] * (COUNT_MAX + 1), 9_999]))


# -- the replica's turns --------------------------------------------------------------------------------------------


def test_who_asks_for_what_is_applied_has_its_turn_in_order() -> None:
    turns = Turns[str]()
    turns.ask("x", 0, 3)
    turns.ask("y", 0, 1)
    turns.ask("x", 1, 5)
    turns.ask("x", 0, 2)  # again, otherwise: it keeps its turn
    assert [turns.next(1, 5) for _ in range(4)] == [Asked("x", 0, 2), Asked("y", 0, 1), Asked("x", 1, 5), None]
    assert len(turns) == 0


def test_who_waits_in_many_slots_has_one_turn_like_everybody() -> None:
    turns = Turns[str]()
    for who in ("greedy", "greedier"):
        for slot in range(SLOTS_MAX):
            turns.ask(who, slot, 1)
    turns.ask("polite", 0, 1)
    served = list[str]()
    for _ in range(100):
        asked = turns.next(1, 5)
        assert asked is not None
        served.append(asked.who)
        turns.ask(asked.who, asked.slot, 1)  # again, at once
    assert served[:6] == ["greedy", "greedier", "polite"] * 2
    assert 33 <= served.count("polite") <= 34


def test_who_asks_for_more_than_is_applied_waits_for_it() -> None:
    turns = Turns[str]()
    turns.ask("x", 0, 6)
    turns.ask("y", 0, 8)
    assert turns.next(1, 5) is None
    assert turns.next(1, 6) is None  # nobody said that there is more
    turns.progressed()
    assert [turns.next(1, 7) for _ in range(2)] == [Asked("x", 0, 6), None]
    turns.progressed()
    assert turns.next(1, 8) == Asked("y", 0, 8)


def test_who_asks_for_the_first_that_is_held_waits_until_one_is() -> None:
    turns = Turns[str]()
    turns.ask("x", 0, 0)
    assert turns.next(9, 8) is None
    turns.progressed()
    assert turns.next(9, 8) is None
    turns.progressed()
    assert turns.next(9, 9) == Asked("x", 0, 0)


def test_who_asks_for_what_is_not_held_any_more_is_told_at_once() -> None:
    turns = Turns[str]()
    turns.ask("x", 0, 4)
    assert turns.next(9, 8) == Asked("x", 0, 4)


def test_who_waits_no_more_is_told_nothing() -> None:
    turns = Turns[str]()
    for slot in range(3):
        turns.ask("x", slot, 1)
    turns.ask("x", 3, 7)
    turns.ask("x", 4, 8)
    turns.ask("y", 0, 7)
    assert [turns.next(1, 1) for _ in range(2)] == [Asked("x", slot, 1) for slot in range(2)]
    turns.withdraw("x", 2)
    assert turns.next(1, 1) is None
    turns.withdraw("x", 3)
    assert len(turns) == 2
    turns.leave("x")
    turns.progressed()
    assert [turns.next(1, 8) for _ in range(2)] == [Asked("y", 0, 7), None]
    assert len(turns) == 0


def test_what_is_asked_anew_in_a_slot_takes_the_place_of_what_was() -> None:
    turns = Turns[str]()
    turns.ask("x", 0, 7)
    assert turns.next(1, 5) is None
    turns.ask("x", 0, 6)
    assert turns.next(1, 5) is None
    turns.progressed()
    assert [turns.next(1, 7) for _ in range(2)] == [Asked("x", 0, 6), None]
    turns.ask("x", 0, 9)
    assert turns.next(1, 7) is None
    turns.ask("x", 0, 3)
    turns.progressed()
    assert [turns.next(1, 9) for _ in range(2)] == [Asked("x", 0, 3), None]


# -- a piece --------------------------------------------------------------------------------------------------------


def test_a_piece_holds_no_more_than_a_message_does() -> None:
    harvest = Harvest()
    large = at(1, call=bytes(PIECE_SIZE_MAX // 2))
    assert [harvest.takes(each) for each in (large, large, at(3))] == [True, False, True]
    many = Harvest()
    assert sum(many.takes(at(index)) for index in range(1, COUNT_MAX + 10)) == PIECE_SIZE_MAX // at(1).size


def test_one_that_is_larger_makes_a_piece_alone() -> None:
    harvest, huge = Harvest(), at(1, call=bytes(PIECE_SIZE_MAX + 1))
    assert [harvest.takes(huge), harvest.takes(at(2))] == [True, False]
