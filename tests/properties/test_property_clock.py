"""T5: stamps grow along every causal path, over restarts and late messages; a twin knows what is before what."""

from __future__ import annotations

from effort import CI
from hypothesis import given
from hypothesis import strategies as st

from actors._protocol.clock import LamportClock

NODES = 3
Step = tuple[str, int, int]
steps = st.lists(
    st.tuples(st.sampled_from(("send", "receive", "restart")), st.integers(0, NODES - 1), st.integers(0, 50)),
    max_size=80,
)


@given(steps, st.integers(1, 5))
@CI
def test_what_happened_before_has_the_smaller_stamp(steps: list[Step], block: int) -> None:
    """Lamport 1978: a sending, all that its node had sent or heard before in this life, and all that it had ever sent.

    The twin keeps, for each node, the set of the sendings that lie in its past. Messages come late, twice or never. A
    restart forgets what was heard, not what was sent: that much is on disk, by blocks.
    """
    clocks = [LamportClock(str(node), 0, 0) for node in range(NODES)]
    marks = [0] * NODES
    past: list[set[int]] = [set() for _ in range(NODES)]
    own: list[set[int]] = [set() for _ in range(NODES)]
    sent: list[tuple[int, frozenset[int]]] = []  # (stamp, sendings in its past)
    for step, node, which in steps:
        clock = clocks[node]
        if step == "restart":
            clocks[node] = LamportClock(str(node), marks[node], marks[node])
            past[node] = set().union(*(sent[each][1] | {each} for each in own[node])) if own[node] else set()
        elif step == "receive" and sent:
            number = which % len(sent)
            clock.witness(sent[number][0])
            past[node] |= sent[number][1] | {number}
        elif step == "send":
            stamp = clock.tick()
            if stamp > clock.reserved:
                marks[node] = stamp + block
                clock.reserve(marks[node])
            assert all(sent[earlier][0] < stamp for earlier in past[node])
            own[node].add(len(sent))
            past[node].add(len(sent))
            sent.append((stamp, frozenset(past[node] - {len(sent)})))
    for node in range(NODES):
        stamps = [sent[number][0] for number in sorted(own[node])]
        assert stamps == sorted(set(stamps)), "no stamp of a node is used twice, over all its lives"
