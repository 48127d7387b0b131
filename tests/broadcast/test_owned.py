"""Things and their owners, found both ways."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from broadcast._protocol.owned import Owned

Deed = tuple[str, int, str]
DEEDS = st.lists(
    st.tuples(st.sampled_from(("give", "pop", "leave", "retain")), st.integers(0, 4), st.sampled_from("abc"))
)


@given(DEEDS)
def test_it_is_a_mapping_that_can_also_be_asked_by_owner(deeds: list[Deed]) -> None:
    owned, plain = Owned[int, str](), dict[int, str]()
    for what, thing, owner in deeds:
        if what == "give":
            owned.give(thing, owner)
            plain[thing] = owner
        elif what == "pop":
            assert owned.pop(thing) == plain.pop(thing, None)
        elif what == "leave":
            owned.leave(owner)
            plain = {each: other for each, other in plain.items() if other != owner}
        else:
            owned.retain(lambda each, least=thing: each >= least)
            plain = {each: other for each, other in plain.items() if each >= thing}
        assert len(owned) == len(plain)
        assert {each: owned.get(each) for each in range(5)} == {each: plain.get(each) for each in range(5)}
        assert sorted(owned.owners) == sorted(set(plain.values()))
        for each in "abc":
            assert sorted(owned.of(each)) == [at for at in range(5) if plain.get(at) == each]
