"""Whatever a peer says to a node's actors, the node lives, and so do they: one documented error closes the link."""

from __future__ import annotations

from typing import Any, cast

import structlog.testing
import trio
from effort import CI
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import MockClock
from values import mutated, values

from actors import (
    Actor,
    ActorCrashed,
    Envelope,
    Mailbox,
    Origin,
    OutcomeUnknown,
    Ref,
    Rejected,
    RemoteProtocolError,
    command,
    open_node,
    query,
)
from actors._answers import unpack
from actors._interface import Interface
from actors._plain import encode_plain
from actors._protocol.codec import DecodeError, encode_struct
from actors._protocol.parcels import Answered, Asked, Parcel, open_parcel, pack_answered, pack_asked, pack_told
from actors.testing import MemoryNetwork

PEERS = {"a": "a:1", "b": "b:1"}


class Box(Actor, mailbox=Mailbox(3, "drop-oldest")):
    def __init__(self) -> None:
        self.kept: list[str] = []

    @command
    def keep(self, text: str, times: int = 1, refs: list[Ref[Box]] | None = None) -> dict[str, int]:
        self.kept.append(text)
        return {text: times}

    @command
    async def hold(self, seconds: float) -> None:
        await trio.sleep(min(max(seconds, 0), 1))

    @query
    def count(self) -> int:
        return len(self.kept)


CALLS = st.one_of(
    st.tuples(st.just("keep"), st.text(st.characters(exclude_categories=["Cs"])), st.integers(-9, 9)).map(list),
    st.tuples(st.sampled_from(["keep", "hold", "count", "_context", "lifespan"]), st.integers() | st.text()).map(list),
    st.just(["keep", "x", 1, ["a/box", "b/box"]]),
    st.just(["count"]),
    st.recursive(st.none() | st.integers(-9, 9) | st.text("ab"), st.lists),
).map(lambda call: encode_plain(call) if not isinstance(call, list) or len(call) < 100 else b"")

BODIES = (
    values(Parcel)
    .flatmap(
        lambda parcel: (
            CALLS.map(lambda call: _with(parcel, call))
            if "call" in parcel.__struct_fields__
            else st.just(encode_struct(parcel))
        )
    )
    .flatmap(lambda body: st.just(body) | mutated(body))
)


def _with(parcel: Any, call: bytes) -> bytes:
    if isinstance(parcel, Asked):
        return pack_asked("box", parcel.sender, parcel.chain, parcel.patience, call)
    return pack_told("box", parcel.sender, call)


class Peer:
    """The accepted link of a peer, as the receiver sees it."""

    def __init__(self) -> None:
        self.name, self.incarnation, self.is_client, self.is_known, self.closed = "b", 1, False, True, False
        self.answers: list[bytes] = []

    def send(self, to: str, tag: str, body: bytes, **more: Any) -> bool:
        self.answers.append(body)
        return True

    def close(self, reason: str) -> None:
        self.closed = True


@given(st.lists(st.tuples(BODIES, st.integers(0, 5)), max_size=8))
@CI
def test_whatever_a_peer_says_a_node_and_its_actors_live(said: list[tuple[bytes, int]]) -> None:
    async def main() -> None:
        with structlog.testing.capture_logs(), trio.fail_after(1_000):
            async with open_node("a", peers=PEERS, network=MemoryNetwork().host("a")) as node:
                box = await node.spawn("box", Box)
                origin: Any = Peer()
                for body, correlation in said:
                    envelope = Envelope(1, correlation, "/", "", "actors", body)
                    try:
                        node._cells.post.received(cast(Origin, origin), envelope)
                    except RemoteProtocolError:
                        node._cells.post.disconnected(cast(Origin, origin))
                        origin = Peer()
                await trio.sleep(10)
                if node._cells.get("box") is None:  # a peer may stop it
                    box = await node.spawn("box", Box)
                before = await box.ask(Box.count)
                assert await box.ask(Box.keep, "still here") == {"still here": 1}
                assert await box.ask(Box.count) == before + 1
                assert not node._cells.waits

    trio.run(main, clock=MockClock(autojump_threshold=0))


@given(st.binary(max_size=40) | mutated(b"\x82\x00\xa1\x61x\x01") | mutated(encode_plain([1, "Refused", ["x"]])))
@CI
def test_any_answer_is_an_answer_an_error_or_cannot_be_read(outcome: bytes) -> None:
    method = Interface.of(Box).methods["keep"]
    try:
        parcel = open_parcel(pack_answered(1, outcome))
        assert isinstance(parcel, Answered)
        answer = unpack(method, parcel.outcome, None)
    except DecodeError:
        return
    except (Rejected, ActorCrashed, OutcomeUnknown):
        return
    assert isinstance(answer, dict)
