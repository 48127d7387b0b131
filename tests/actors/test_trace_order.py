"""The traces of several nodes become one order that agrees with causality (Lamport 1978; T5)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors._protocol.clock import LamportClock
from actors._protocol.trace import (
    LINE_SIZE_MAX,
    Contradiction,
    Event,
    Note,
    Noted,
    Place,
    decode_note,
    encode_note,
    merge,
)


class Run:
    """Nodes that send to each other, and note it, as ours do."""

    def __init__(self, count: int, *, durable: bool = True) -> None:
        self.durable = durable
        self.clocks = [LamportClock(str(node)) for node in range(count)]
        self.lives = [1] * count
        self.traces: dict[tuple[int, int], list[Note]] = {}
        self.under_way: list[tuple[int, Note]] = []

    def note(self, node: int, event: str, **facts: object) -> Note:
        note = Note(event, str(node), self.lives[node], self.clocks[node].counter, 0, **facts)  # type: ignore[arg-type]
        self.traces.setdefault((node, self.lives[node]), []).append(note)
        return note

    def send(self, node: int, to: int) -> None:
        self.clocks[node].tick()
        self.under_way.append((to, self.note(node, "send", peer=str(to), kind="k")))

    def receive(self, at: int) -> None:
        if self.under_way:
            to, sent = self.under_way.pop(at % len(self.under_way))
            self.clocks[to].witness(sent.counter)
            self.note(to, "receive", peer=sent.node, peer_life=sent.life, sent=sent.counter, kind="k")

    def restart(self, node: int) -> None:
        self.lives[node] += 1
        self.clocks[node] = LamportClock(str(node), self.clocks[node].counter + 3 if self.durable else 0)

    def placed(self) -> list[list[Noted]]:
        return [
            [(note, Place(f"{node}-{life}", line)) for line, note in enumerate(notes, start=1)]
            for (node, life), notes in self.traces.items()
        ]


Steps = list[tuple[int, int, int]]
steps = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 2), st.integers(0, 2)), max_size=80)


def played(steps: Steps, *, durable: bool) -> Run:
    run = Run(3, durable=durable)
    for what, one, other in steps:
        if what == 0:
            run.restart(one)
        elif what == 1:
            run.receive(3 * one + other)
        else:
            run.send(one, other)
    return run


def stamp(event: Event) -> tuple[int, bool]:
    return event.note.counter, event.note.event != "send"


@given(steps, st.booleans(), st.randoms(use_true_random=False))
def test_the_order_agrees_with_causality_whatever_order_the_files_come_in(
    steps: Steps, durable: bool, chance: object
) -> None:
    run = played(steps, durable=durable)
    traces = run.placed()
    events = merge(traces)
    assert len(events) == sum(map(len, traces))
    for node in range(3):
        own = [event for event in events if event.note.node == str(node)]
        expected = [note for (of, _), notes in sorted(run.traces.items()) for note in notes if of == node]
        assert [event.note for event in own] == expected
    for at, event in enumerate(events):
        if event.note.event == "receive":
            assert event.cause is not None
            assert event.cause < at
            cause = events[event.cause]
            assert cause.effect == at
            assert (cause.note.node, cause.note.life, cause.note.counter) == (
                event.note.peer,
                event.note.peer_life,
                event.note.sent,
            )
    chance.shuffle(traces)  # type: ignore[attr-defined]
    assert merge(traces) == events
    if durable:  # then it is the order of Lamport's stamps
        assert list(map(stamp, events)) == sorted(map(stamp, events))


def trace(name: str, *notes: Note) -> list[Noted]:
    return [(note, Place(name, line)) for line, note in enumerate(notes, start=1)]


def send(node: str, counter: int, peer: str, life: int = 1) -> Note:
    return Note("send", node, life, counter, 0, peer=peer, kind="k")


def receive(node: str, counter: int, peer: str, sent: int, life: int = 1) -> Note:
    return Note("receive", node, life, counter, 0, peer=peer, peer_life=1, sent=sent, kind="k")


def test_what_comes_from_somebody_without_a_trace_has_no_cause() -> None:
    events = merge([trace("a", receive("a", 5, "client", 5), send("a", 6, "b"))])
    assert [(event.cause, event.effect) for event in events] == [(None, None), (None, None)]


@pytest.mark.parametrize(
    ("traces", "told"),
    [
        pytest.param(
            [trace("x", send("a", 1, "b")), trace("y", send("a", 2, "b"))],
            "line 1 of y and line 1 of x begin traces of the same life",
            id="one life twice",
        ),
        pytest.param(
            [trace("x", send("a", 1, "b"), send("a", 1, "b"))],
            "line 2 of x and line 1 of x are two messages of a under one stamp, 1",
            id="one stamp twice",
        ),
        pytest.param(
            [trace("x", send("a", 1, "b"), send("b", 2, "a"))],
            "line 2 of x is of node b in its life 1, and line 1 of x of a in 1",
            id="two nodes in one file",
        ),
        pytest.param(
            [
                trace("x", receive("a", 9, "b", 2), send("a", 10, "b")),
                trace("y", receive("b", 10, "a", 10), send("b", 2, "a")),
            ],
            "receives what was sent only after it",
            id="each before the other",
        ),
    ],
)
def test_notes_that_contradict_each_other_are_told_with_file_and_line(traces: list[list[Noted]], told: str) -> None:
    with pytest.raises(Contradiction, match=told):
        merge(traces)


GOOD = Note("receive", "a", 1, 7, 0, peer="b", peer_life=3, sent=6, to="g", kind="append", size=10, epoch=2)


def test_a_note_comes_back_as_it_was_and_later_fields_are_ignored() -> None:
    line = encode_note(GOOD)
    assert decode_note(line) == GOOD
    assert decode_note(line.replace(b"{", b'{"colour":"red",', 1)) == GOOD


@pytest.mark.parametrize(
    ("line", "told"),
    [
        (b"", "truncated"),
        (b"\x89PNG\r\n\x1a\n", "malformed|invalid"),
        (b"[1, 2]", "Expected `object`, got `array`"),
        (b"{}", "missing required field `event`"),
        (b'{"event":"sing"}', "Invalid enum value 'sing'"),
        (b'{"event":"send","node":"a","life":1,"counter":1,"at":0}', "a send says nothing of 'peer'"),
        (b'{"event":"send","node":"a","life":1,"counter":-1,"at":0}', r"counter"),
        (b'{"event":"send","node":"a b","life":1,"counter":1,"at":0}', r"node"),
        (b'{"event":"send","node":"a","life":1,"counter":1,"at":0,"peer":"b","kind":"' + b"x" * 300 + b'"}', "kind"),
        (b"[" * 4_000, "depth|recurs|malformed|truncated|Expected"),
        (b"x" * (LINE_SIZE_MAX + 1), "it has 4097 bytes"),
        (b'{"event":"\xff"}', "utf|UTF|invalid"),
    ],
)
def test_what_is_no_note_is_refused_with_the_reason(line: bytes, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        decode_note(line)


@given(st.binary(max_size=200))
def test_no_bytes_do_more_than_be_refused(line: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        decode_note(line)
