"""Many small things in messages of bounded size, and no message that no frame holds."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors._protocol.envelope import BODY_SIZE_MAX
from broadcast._protocol.entries import Commands, in_messages
from broadcast._protocol.messages import Submit, encode_message
from broadcast._protocol.portions import COUNT_MAX, SIZE_MAX, is_portion, portions

sizes = st.lists(st.integers(0, SIZE_MAX // 3) | st.sampled_from((0, 1, SIZE_MAX, SIZE_MAX + 1, 5 * SIZE_MAX)))


@given(sizes)
def test_nothing_is_lost_and_no_portion_is_too_large(things: list[int]) -> None:
    parts = list(portions(things, lambda thing: thing))
    assert [thing for part in parts for thing in part] == things
    for part in parts:
        assert len(part) == 1 or sum(part) <= SIZE_MAX
        assert is_portion(part)
    for before, after in pairwise(parts):
        assert sum(before) + after[0] > SIZE_MAX, "what fits travels together"


def test_a_portion_is_bounded_by_number_too() -> None:
    assert [len(part) for part in portions([0] * (2 * COUNT_MAX + 1), int)] == [COUNT_MAX, COUNT_MAX, 1]


@pytest.mark.parametrize(
    ("sizes", "fits"),
    [
        ([], True),
        ([5 * SIZE_MAX], True),
        ([SIZE_MAX, 1], False),
        ([0] * COUNT_MAX, True),
        ([0] * (COUNT_MAX + 1), False),
    ],
)
def test_what_is_a_portion(sizes: list[int], fits: bool) -> None:
    assert is_portion(sizes) is fits


def test_the_largest_run_of_the_largest_commands_fits_a_frame() -> None:
    run = Commands(1, 1, 1, 0, 0, 0, bytes(2**23 + 1024))
    for part in in_messages([run, run, run]):
        assert len(part) == 1
        assert len(encode_message(b"c" * 16, b"s" * 16, Submit(part))) < BODY_SIZE_MAX
