"""Large states: no collections while one is made, and one is given up piece by piece."""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator

import pytest

from actors import Actor
from actors._short_turns import TURN_SECONDS, short_turns
from broadcast._large import FEW, aside, give_up, uncollected


@pytest.fixture(autouse=True)
def nothing_stays() -> Iterator[None]:
    yield
    gc.unfreeze()
    gc.enable()


def test_there_are_no_collections_until_the_last_pause_ends() -> None:
    with uncollected():
        assert not gc.isenabled()
        with uncollected():
            pass
        assert not gc.isenabled()
    assert gc.isenabled()


def test_where_there_were_none_before_there_are_none_after() -> None:
    gc.disable()
    with uncollected():
        pass
    assert not gc.isenabled()


def test_it_ends_with_an_error_too() -> None:
    with pytest.raises(ZeroDivisionError), uncollected():
        raise ZeroDivisionError
    assert gc.isenabled()


def test_what_was_made_meanwhile_is_not_looked_at_any_more() -> None:
    with uncollected():
        made = [[number] for number in range(1000)]
    assert gc.get_freeze_count() >= len(made)
    looked_at = {id(each) for each in gc.get_objects()}
    assert looked_at.isdisjoint(map(id, made))


def test_turns_are_short_until_the_last_large_state_is_made() -> None:
    before = sys.getswitchinterval()
    assert before > 2 * TURN_SECONDS
    with aside():
        with short_turns():
            pass
        assert sys.getswitchinterval() == pytest.approx(TURN_SECONDS)
        assert not gc.isenabled()
    assert sys.getswitchinterval() == before
    with pytest.raises(ZeroDivisionError), aside():
        raise ZeroDivisionError
    assert sys.getswitchinterval() == before


def test_turns_that_were_shorter_before_stay_so() -> None:
    before = sys.getswitchinterval()
    sys.setswitchinterval(TURN_SECONDS / 5)
    try:
        with short_turns():
            assert sys.getswitchinterval() == pytest.approx(TURN_SECONDS / 5)
    finally:
        sys.setswitchinterval(before)


class Holder(Actor):
    def __init__(self) -> None:
        self.items: dict[int, list[int]] = {number: [number] for number in range(1000)}
        self.rows = [{0: [1]}, {1: list(range(500))}]
        self.names = {"a", "b"}
        self.table = TABLE
        self.text = "x"


TABLE = {1: [2, 3], 4: list(range(500))}


def test_a_state_that_is_given_up_is_emptied_but_for_what_others_hold() -> None:
    holder = Holder()
    items, deep = holder.items, holder.rows[1][1]
    rows = [holder.rows.pop()]
    give_up(holder)
    assert vars(holder) == {}
    assert len(items) == 1000
    assert {1: [2, 3], 4: list(range(500))} == TABLE
    assert deep == list(range(500))
    assert rows == [{1: deep}]


def test_what_only_it_held_ends_one_by_one() -> None:
    ended: list[int] = []

    class Item:
        def __init__(self, number: int) -> None:
            self.number = number

        def __del__(self) -> None:
            ended.append(self.number)

    class Shelf(Actor):
        def __init__(self) -> None:
            self.items = {number: Item(number) for number in range(10)}
            self.boxes = [{number: Item(number) for number in range(10, 10 + 2 * FEW)}]

    shelf = Shelf()
    give_up(shelf)
    # From the end: they were taken apart. What ends as a whole begins with its first.
    assert ended == list(range(9 + 2 * FEW, 9, -1)) + list(range(9, -1, -1))


def test_turns_are_short_while_one_is_given_up() -> None:
    seen: list[float] = []

    class Item:
        def __del__(self) -> None:
            seen.append(sys.getswitchinterval())

    holder = Holder()
    holder.items = {0: [Item()]}  # type: ignore[list-item]  # pyright: ignore[reportAttributeAccessIssue]
    before = sys.getswitchinterval()
    give_up(holder)
    assert seen == [pytest.approx(TURN_SECONDS)]
    assert sys.getswitchinterval() == before
