"""Any state comes back as it was: equal, of the same types, in the same order; and equal states are equal bytes."""

from __future__ import annotations

import enum
from collections import Counter, OrderedDict, deque
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, NamedTuple

import msgspec
from effort import CI, FEW
from hypothesis import given, settings
from hypothesis import strategies as st

from broadcast._errors import CannotRestore
from broadcast._restoring import Decoder
from broadcast._state import Encoder
from broadcast._tokens import Frames


@dataclass
class Open:
    first: Any
    second: Any


@dataclass(frozen=True, slots=True)
class Closed:
    first: Any
    second: Any


class Pair(NamedTuple):
    first: Any
    second: Any


class Struct(msgspec.Struct):
    first: Any
    second: Any


class Flag(enum.Flag):
    A = 1
    B = 2
    C = 4


TWO = (Open, Closed, Pair, Struct)
TOKENS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.integers(-(2**70), 2**70),
    st.floats(),
    st.text(st.characters(codec=None)),
    st.binary(),
)
SINGLES = st.one_of(
    TOKENS,
    st.dates(),
    st.times(),
    st.timedeltas(),
    st.datetimes(timezones=st.none() | st.timezones()),
    st.decimals().filter(lambda number: not number.is_snan()),  # which has no hash
    st.fractions(),
    st.uuids(),
    st.sampled_from([*Flag, Flag.A | Flag.C, Flag(0)]),
)
KEYS = st.recursive(
    SINGLES,
    lambda items: st.one_of(st.tuples(items, items), st.frozensets(items, max_size=3), st.builds(Closed, items, items)),
    max_leaves=5,
)


def containers(items: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.one_of(
        st.lists(items),
        st.lists(items).map(tuple),
        st.lists(items).map(deque),
        st.dictionaries(KEYS, items),
        st.dictionaries(KEYS, items).map(OrderedDict),
        st.dictionaries(KEYS, st.integers()).map(Counter),
        st.sets(KEYS),
        st.frozensets(KEYS),
        st.builds(lambda kind, one, two: kind(one, two), st.sampled_from(TWO), items, items),
        st.binary().map(bytearray),
        st.builds(_alike, st.sampled_from(TWO), st.lists(st.tuples(TOKENS, TOKENS), max_size=30)),
    )


def _alike(kind: Any, rows: list[tuple[object, object]]) -> list[object]:
    return [kind(*row) for row in rows]


STATES = st.dictionaries(st.text(max_size=3), st.recursive(SINGLES, containers, max_leaves=12), max_size=4)


def seen(value: Any) -> object:
    """All that can be told of it, so that what is equal here is the same: 1 is not True, nor 0.0 -0.0."""
    kind = type(value)
    if kind in (list, tuple, deque, Pair):
        return kind, [*map(seen, value)]
    if kind in (dict, OrderedDict, Counter):
        return kind, [(seen(key), seen(item)) for key, item in value.items()]
    if kind in (set, frozenset):
        return kind, sorted(map(repr, map(seen, value)))
    if kind in (Open, Closed, Struct):
        return kind, seen(value.first), seen(value.second)
    return kind, repr(value), getattr(value, "fold", 0)


def encoded(value: object) -> bytes:
    return b"".join(Encoder(__name__).pieces(value))


@settings(CI)
@given(STATES)
def test_any_state_comes_back_as_it_was(state: dict[str, Any]) -> None:
    data = encoded(state)
    came = Decoder(Frames([data]), __name__).value()
    assert seen(came) == seen(state)
    assert encoded(came) == data


@settings(FEW)
@given(STATES, st.data())
def test_what_is_cut_short_or_changed_ends_in_one_kind_of_error(state: dict[str, Any], data: st.DataObject) -> None:
    """The digest has told already; but no damage does more than that."""
    whole = encoded(state)
    at = data.draw(st.integers(0, len(whole) - 1))
    harmed = whole[:at] + data.draw(st.binary(max_size=4)) + whole[at + data.draw(st.integers(0, 4)) :]
    with suppress(CannotRestore):
        Decoder(Frames([harmed]), __name__).value()
