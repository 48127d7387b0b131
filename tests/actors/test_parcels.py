"""What actors of two nodes say to each other arrives as it was said, whatever was said before."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from actors._plain import encode_plain
from actors._protocol.clock import COUNTER_MAX
from actors._protocol.parcels import Answered, Asked, Told, open_parcel, pack_answered, pack_asked, pack_told

names = st.sampled_from(["box", "store", "store/helper"])  # few, so that they come again
senders = st.just("") | names
chains = st.lists(st.sampled_from(["a/box", "b/store"]), max_size=3)
patiences = st.none() | st.integers(0, COUNTER_MAX)
calls = st.lists(st.integers(-9, 9) | st.text("ab") | st.lists(st.none()), min_size=1)


@given(names, senders, chains, patiences, calls)
def test_an_ask_arrives_as_it_was_packed(
    actor: str, sender: str, chain: list[str], patience: int | None, call: list[object]
) -> None:
    packed = pack_asked(actor, sender, tuple(chain), patience, encode_plain(call))
    assert open_parcel(packed) == Asked(actor, sender, chain, patience, call)


@given(names, senders, calls)
def test_a_tell_arrives_as_it_was_packed(actor: str, sender: str, call: list[object]) -> None:
    assert open_parcel(pack_told(actor, sender, encode_plain(call))) == Told(actor, sender, call)


@given(st.integers(0, 3) | st.integers(0, COUNTER_MAX), calls)
def test_an_answer_arrives_as_it_was_packed(incarnation: int, outcome: list[object]) -> None:
    assert open_parcel(pack_answered(incarnation, encode_plain(outcome))) == Answered(incarnation, outcome)
