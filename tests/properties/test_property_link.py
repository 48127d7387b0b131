"""T2: bytes between two ends of a link, cut, ended or damaged anywhere: whole messages, or a clean end."""

from __future__ import annotations

from effort import CI
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from values import TEXT

from actors._protocol.envelope import Envelope, Hello, Ping, Pong, Refusal, pack, pack_envelope
from actors._protocol.errors import RemoteProtocolError
from actors._protocol.link import Answer, Asked, Event, Link, LinkClosed, PeerReady, Refused, State

names = st.text(TEXT, min_size=1, max_size=8)
letters = st.builds(Envelope, st.integers(0, 99), st.integers(0, 9), names, names, names, st.binary(max_size=40))


class Wire:
    """One direction: what was written and has not arrived, and where frames end."""

    def __init__(self) -> None:
        self.waiting = bytearray()
        self.written = 0
        self.arrived = 0
        self.ends = {0}
        self.over = False

    def write(self, *frames: bytes) -> None:
        for frame in frames:
            self.waiting += frame
            self.written += len(frame)
            self.ends.add(self.written)

    def take(self, count: int) -> bytes:
        data = bytes(self.waiting[:count])
        del self.waiting[:count]
        self.arrived += len(data)
        return data


class TwoEnds(RuleBasedStateMachine):
    """A dialer and an acceptor. The twin: the list of what each has said, of which the other must hear a beginning."""

    @initialize(client=st.booleans())
    def dial(self, client: bool) -> None:
        self.hello = Hello(1, 1, "a", 1, "client" if client else "peer", 0)
        self.dialer, first = Link.dial(self.hello)
        self.acceptor = Link.answer()
        self.there, self.back = Wire(), Wire()
        self.there.write(first)
        self.said: list[Event] = [Asked(self.hello, None)]
        self.heard: list[Event] = []
        self.answered: list[Event] = []
        self.heard_back: list[Event] = []
        self.pings = self.pongs = 0

    # -- the two shells --------------------------------------------------------------------------------------------

    @precondition(lambda self: self.dialer.state is State.READY and not self.there.over)
    @rule(letter=letters, ping=st.booleans())
    def say(self, letter: Envelope, ping: bool) -> None:
        if ping:
            self.pings += 1
            self.there.write(pack(Ping(self.pings)))
            self.said.append(Answer(pack(Pong(self.pings))))
        else:
            self.there.write(_packed(letter))
            self.said.append(letter)

    @precondition(
        lambda self: self.acceptor.state is State.READY and self.hello.role == "client" and not self.back.over
    )
    @rule(letter=letters)
    def say_back(self, letter: Envelope) -> None:
        self.back.write(_packed(letter))
        self.answered.append(letter)

    @precondition(lambda self: self.acceptor.state is State.ASKED)
    @rule(accepted=st.booleans())
    def answer(self, accepted: bool) -> None:
        if accepted:
            self.back.write(self.acceptor.accept("b", 2, 5))
        else:
            self.back.write(self.acceptor.refuse("no room"))
            self.answered.append(Refused("no room"))

    # -- the network -----------------------------------------------------------------------------------------------

    @rule(count=st.integers(1, 100))
    def carry(self, count: int) -> None:
        if not self.there.over and self.there.waiting:
            self.acceptor.receive_data(self.there.take(count))
        self._hear()

    @rule(count=st.integers(1, 100))
    def carry_back(self, count: int) -> None:
        if not self.back.over and self.back.waiting:
            self.dialer.receive_data(self.back.take(count))
        self._hear_back()

    @rule()
    def end(self) -> None:
        """The dialer's side is gone: what has arrived has arrived, and the rest never will."""
        if not self.there.over:
            self.there.over = True
            self.acceptor.receive_data(b"")
            self._hear()

    def _hear(self) -> None:
        while self.acceptor.state is not State.ASKED and (event := self.acceptor.next_event()) is not None:
            if isinstance(event, LinkClosed):
                assert self.there.over
                assert event.clean is (self.there.arrived in self.there.ends)
                return
            if isinstance(event, Answer):
                self.back.write(event.data)
                self.pongs += 1
                if self.hello.role == "peer":  # a client's shell has no use for them
                    self.answered.append(Pong(self.pongs))
            self.heard.append(event)

    def _hear_back(self) -> None:
        while (event := self.dialer.next_event()) is not None:
            if not isinstance(event, PeerReady):
                self.heard_back.append(event)

    # -- what holds ------------------------------------------------------------------------------------------------

    @invariant()
    def what_is_heard_was_said_in_this_order(self) -> None:
        if hasattr(self, "said"):
            assert self.heard == self.said[: len(self.heard)]
            assert self.heard_back == self.answered[: len(self.heard_back)]

    @invariant()
    def what_has_arrived_whole_is_heard(self) -> None:
        if hasattr(self, "said") and self.acceptor.state is State.READY:
            self._hear()
            whole = sorted(self.there.ends)
            arrived = sum(end <= self.there.arrived for end in whole[1:])
            assert len(self.heard) == arrived


TwoEnds.TestCase.settings = CI
TestTwoEnds = TwoEnds.TestCase


def _packed(letter: Envelope) -> bytes:
    return pack_envelope(letter.to, letter.sender, letter.counter, letter.correlation, letter.tag, letter.body)


@given(st.lists(letters, min_size=1, max_size=4), st.integers(0, 2**30), st.integers(1, 255), st.integers(1, 50))
@CI
def test_a_damaged_byte_is_found_before_anything_of_its_frame_is_heard(
    said: list[Envelope], at: int, change: int, step: int
) -> None:
    """P22: whatever comes before the damaged frame is heard, and of it and what follows nothing."""
    link = Link.answer()
    link.receive_data(pack(Hello(1, 1, "a", 1, "peer", 0)))
    link.next_event()
    link.accept("b", 1, 0)
    frames = [_packed(letter) for letter in said]
    data = bytearray(b"".join(frames))
    at %= len(data)
    data[at] ^= change
    heard: list[Event] = []
    broken = False
    for start in range(0, len(data), step):
        link.receive_data(bytes(data[start : start + step]))
        try:
            while (event := link.next_event()) is not None:
                heard.append(event)
        except RemoteProtocolError:
            broken = True
            break
    whole = next(number for number in range(len(frames)) if sum(map(len, frames[: number + 1])) > at)
    assert heard == said[:whole]
    assert broken or not link.next_event(), "a length that was changed may wait for more, and hears nothing"


def test_a_refusal_is_the_last_that_is_heard() -> None:
    link, _ = Link.dial(Hello(1, 1, "a", 1, "peer", 0))
    link.receive_data(pack(Refusal("no")) + pack(Pong(1)))
    assert (link.next_event(), link.next_event()) == (Refused("no"), None)
