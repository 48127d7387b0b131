"""Actors of two nodes: the same class by the same reference, at most once and in order, and links that are lost."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Generator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from random import Random
from typing import Any

import pytest
import structlog.testing
import trio
import trio.lowlevel
from boxes import Box, Note, Small, Taken, instance_of
from trio.testing import MockClock, wait_all_tasks_blocked

from actors import (
    Actor,
    ActorCrashed,
    ActorRef,
    ActorStopped,
    AskCycle,
    End,
    InvalidMessage,
    LinkBroken,
    Mailbox,
    Node,
    NoSuchActor,
    OutcomeUnknown,
    Overloaded,
    Ref,
    Supervision,
    TooLarge,
    _post,
    command,
    open_node,
    query,
)
from actors._actor import TAG_LENGTH_MAX
from actors._client_link import open_client_link
from actors._plain import encode_plain
from actors._protocol.codec import COUNT_MAX
from actors._protocol.parcels import CHAIN_LENGTH_MAX, open_parcel
from actors.testing import Host, MemoryNetwork

PEERS = {"a": "a:1", "b": "b:1"}


@pytest.fixture(autouse=True)
def quiet() -> Generator[None]:
    with structlog.testing.capture_logs():
        yield


@dataclass
class Pair:
    """Nodes a and b on a network."""

    network: MemoryNetwork
    a: Node
    b: Node
    host: Host
    ends: list[End] = field(default_factory=list)


@asynccontextmanager
async def pair(*, latency: float = 0.01, linked: bool = True) -> AsyncGenerator[Pair]:
    network = MemoryNetwork(random=Random(1), latency=latency)
    host = network.host("b")
    with trio.fail_after(1_000):  # of virtual time
        async with (
            open_node("b", peers=PEERS, network=host, random=Random(3)) as b,
            open_node("a", peers=PEERS, network=network.host("a"), random=Random(2)) as a,
        ):
            while linked and not (a.is_linked("b") and b.is_linked("a")):  # noqa: ASYNC110 - it does not tell
                await trio.sleep(0.01)
            yield Pair(network, a, b, host)


async def box_on_b(nodes: Pair, kind: type[Box] = Box, policy: Supervision | None = None) -> ActorRef[Box]:
    """An actor on node b, as seen from a."""
    place = nodes.b if policy is None else nodes.b.supervised(policy)
    await place.spawn("box", kind)
    return nodes.a.ref("b/box", Box)


# -- the same as next door --------------------------------------------------------------------------------------------


async def test_ask_and_tell_do_what_they_do_next_door(autojump_clock: MockClock) -> None:
    async with pair() as nodes:
        box = await box_on_b(nodes)
        assert await box.ask(Box.keep, "one") == 1
        await box.tell(Box.keep, text="two")
        box.tell_nowait(Box.keep, "three")
        assert await box.ask(Box.all) == ["one", "two", "three"]
        assert await box.ask(Box.keep_note, Note("hi", ["a"])) == Note("hi", ["a", "seen"])
        async with trio.open_nursery() as nursery:
            nursery.start_soon(box.ask, Box.hold)
            await trio.sleep(1)
            instance_of(nodes.b, "box").gate.set()


async def test_errors_are_those_of_next_door(autojump_clock: MockClock) -> None:
    async with pair() as nodes:
        box = await box_on_b(nodes, policy=Supervision(backoff_min=0))
        with pytest.raises(Taken, match="no luck"):
            await box.ask(Box.refuse, "no luck")
        with pytest.raises(ActorCrashed, match=r"Box.crash of b/box raised ZeroDivisionError"):
            await box.ask(Box.crash)
        with pytest.raises(ActorCrashed, match=r"Box.lie of b/box raised TypeError"):
            await box.ask(Box.lie)
        with pytest.raises(InvalidMessage, match=r"Box.keep: text"):
            await box.ask(Box.keep, 1)  # type: ignore[arg-type]  # the mistake under test
        with pytest.raises(NoSuchActor, match="there is no actor 'nobody' on node b"):
            await nodes.a.ref("b/nobody", Box).ask(Box.all)
        with pytest.raises(InvalidMessage, match="b/box is a Box, which has no message 'other'"):
            await nodes.a.ref("b/box", Other).ask(Other.other)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(nodes.b.ref("box", Box).ask, Box.hold)
            await trio.sleep(1)
            nursery.start_soon(nodes.b.ref("box", Box).stop)
            await trio.sleep(1)
            with pytest.raises(ActorStopped, match="b/box has stopped, or is stopping"):
                await box.ask(Box.all)
            instance_of(nodes.b, "box").gate.set()


class Other(Actor):
    @command
    def other(self) -> None: ...


class Wordy(Actor):
    """Takes a box for something else."""

    @command
    def keep(self, text: str) -> str:
        return text


async def test_an_answer_that_the_asker_s_class_does_not_have_is_no_definite_error(autojump_clock: MockClock) -> None:
    """It was handled: neither a `Rejected`, nor a `TypeError`, as an `InvalidMessage` is one."""
    async with pair() as nodes:
        box = await box_on_b(nodes)
        expected = r"Wordy.keep of b/box was handled, but its answer is not what .*: Expected `str`, got `int`"
        with pytest.raises(OutcomeUnknown, match=expected) as caught:
            await nodes.a.ref("b/box", Wordy).ask(Wordy.keep, "x")
        assert not isinstance(caught.value, TypeError)
        assert await box.ask(Box.all) == ["x"]


async def test_who_is_killed_with_it_is_told_that_nobody_knows(autojump_clock: MockClock) -> None:
    async with pair() as nodes, trio.open_nursery() as nursery:
        box = await box_on_b(nodes)
        nursery.start_soon(sleep_and, 1, box.kill)
        with pytest.raises(OutcomeUnknown, match=r"b/box was ended while it handled Box.hold") as caught:
            await box.ask(Box.hold)
        assert not isinstance(caught.value, LinkBroken)


async def sleep_and(seconds: float, what: Any) -> None:
    await trio.sleep(seconds)
    await what()


async def test_what_actors_send_comes_in_order_and_says_from_whom(autojump_clock: MockClock) -> None:
    async with pair(latency=0.5) as nodes:
        box = await box_on_b(nodes)
        sender = await nodes.a.spawn("sender", Box)
        await sender.ask(Box.pass_on, box, [str(number) for number in range(300)])
        await trio.sleep(5)
        assert await box.ask(Box.all) == [str(number) for number in range(300)]
        curious = await nodes.a.spawn("curious", Curious)
        told, counter, origin = await curious.ask(Curious.find_out, box)
        assert (told, origin) == ("a/curious", "a")
        assert 0 < counter < nodes.b.clock.counter


class Curious(Actor):
    @command
    async def find_out(self, box: Ref[Box]) -> tuple[str, int, str]:
        return await box.ask(Box.told)


class Leaky(Actor):
    """Uses a reference that came to it by no message: from another node of the process."""

    leaked: ActorRef[Box]

    @command
    async def find_out(self) -> tuple[str, int, str]:
        return await self.leaked.ask(Box.told)


class Journal(Actor):
    """Writes down what it handles, with others, in one book."""

    book: list[int] = []  # noqa: RUF012 - shared on purpose

    @command
    def write(self, data: bytes) -> int:
        self.book.append(len(data))
        return len(data)


class Writer(Actor):
    """Tells two others by itself: what it says is not of one flow with what its node's tasks say."""

    @command
    async def write(self, journal: Ref[Journal], sizes: list[int]) -> None:
        for size in sizes:
            await journal.tell(Journal.write, bytes(size))


async def test_what_is_large_delays_nothing_small_but_what_its_own_sender_says_to_its_own_receiver(
    autojump_clock: MockClock,
) -> None:
    large, small = 2**20, 1
    async with pair() as nodes:
        Journal.book.clear()
        for name in ("journal", "other"):
            await nodes.b.spawn(name, Journal)
        writer = await nodes.a.spawn("writer", Writer)
        journal, other = nodes.a.ref("b/journal", Journal), nodes.a.ref("b/other", Journal)

        await journal.tell(Journal.write, bytes(large))
        await journal.tell(Journal.write, bytes(small + 1))
        assert await other.ask(Journal.write, bytes(small)) == small
        assert await journal.ask(Journal.write, bytes(small + 2)) == small + 2
        assert Journal.book == [small, large, small + 1, small + 2]

        Journal.book.clear()
        await journal.tell(Journal.write, bytes(large))
        await writer.ask(Writer.write, journal, [small, large, small + 1])
        assert await journal.ask(Journal.write, bytes(small + 2)) == small + 2
        assert Journal.book == [small, large, large, small + 1, small + 2]


async def test_a_reference_is_used_from_its_own_node(autojump_clock: MockClock) -> None:
    async with pair() as nodes:
        await box_on_b(nodes)
        for Leaky.leaked in (nodes.b.ref("box", Box), nodes.b.ref("b/box", Box)):
            sender, _, node = await (await nodes.a.spawn("leaky", Leaky)).ask(Leaky.find_out)
            assert (sender, node) == ("b", "b")
            await nodes.a.ref("leaky", Leaky).stop()


async def test_a_reference_can_be_sent_kept_and_given_back(autojump_clock: MockClock) -> None:
    async with pair() as nodes:
        box = await box_on_b(nodes)
        mine = await nodes.a.spawn("mine", Box)
        keeper = nodes.a.ref(str(await nodes.b.spawn("keeper", Keeper)), Keeper)
        await keeper.ask(Keeper.put, {"mine": mine, "box": box})
        assert await keeper.ask(Keeper.tell_all, "hello") == 2
        await trio.sleep(1)
        assert await mine.ask(Box.all) == await box.ask(Box.all) == ["hello"]
        got = await keeper.ask(Keeper.get, "mine")
        assert got == mine
        assert await got.ask(Box.keep, "x") == 2
        assert await keeper.ask(Keeper.get, "nobody") is None


class Keeper(Actor):
    def __init__(self) -> None:
        self.refs: dict[str, Ref[Box]] = {}

    @command
    def put(self, refs: dict[str, Ref[Box]]) -> None:
        self.refs |= refs

    @command
    async def tell_all(self, text: str) -> int:
        for ref in set(self.refs.values()):
            await ref.tell(Box.keep, text)
        return len(self.refs)

    @query
    def get(self, name: str) -> Ref[Box] | None:
        return self.refs.get(name)


async def test_a_full_mailbox_lets_no_link_wait(autojump_clock: MockClock) -> None:
    async with pair() as nodes:
        box = await box_on_b(nodes, Small)
        await box.tell(Box.hold)
        for text in "123":
            await box.tell(Box.keep, text)
        with pytest.raises(Overloaded, match="the mailbox of b/box is full, with 2 messages"):
            await box.ask(Box.keep, "4")
        assert nodes.b.actor_statistics().dead_letters == 1
        instance_of(nodes.b, "box").gate.set()
        await trio.sleep(1)
        assert await box.ask(Box.all) == ["1", "2"]


async def test_what_a_mailbox_drops_is_told_to_its_asker(autojump_clock: MockClock) -> None:
    class Oldest(Box, mailbox=Mailbox(1, "drop-oldest")):
        pass

    async with pair() as nodes, trio.open_nursery() as nursery:
        box = await box_on_b(nodes, Oldest)
        await box.tell(Box.hold)
        nursery.start_soon(sleep_and, 1, lambda: box.tell(Box.keep, "2"))
        with pytest.raises(Overloaded):
            await box.ask(Box.keep, "1")


# -- deadlines, withdrawals -------------------------------------------------------------------------------------------


async def test_a_deadline_travels_with_the_message(autojump_clock: MockClock) -> None:
    """Word of the asker's end would come too late: the way from a is cut. The receiver knows all the same."""
    async with pair() as nodes:
        box = await box_on_b(nodes)
        await box.tell(Box.hold)
        with trio.move_on_after(1):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(box.ask, Box.keep, "never")
                await trio.sleep(0.5)
                nodes.network.cut("a", "b")
        await trio.sleep(0.1)
        instance_of(nodes.b, "box").gate.set()
        await trio.sleep(1)
        assert instance_of(nodes.b, "box").kept == []
        assert nodes.b.actor_statistics().withdrawn == 1
        nodes.network.heal("a", "b")


async def test_word_of_an_asker_that_went_comes_before_its_deadline(autojump_clock: MockClock) -> None:
    async with pair() as nodes:
        box = await box_on_b(nodes)
        await box.tell(Box.hold)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(box.ask, Box.keep, "never")
            await trio.sleep(0.5)
            nursery.cancel_scope.cancel()
        await trio.sleep(0.5)
        instance_of(nodes.b, "box").gate.set()
        assert await box.ask(Box.all) == []
        assert nodes.b.actor_statistics().withdrawn == 1
        assert not any(nodes.b._cells.post._questions.values())
        assert not nodes.a._cells.post._pending


# -- links that are lost ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sender", ["a", "b"])
async def test_a_lost_link_is_told_to_whoever_waits_at_once(sender: str, autojump_clock: MockClock) -> None:
    """Whether it is the link for the questions, or that for the answers."""
    async with pair() as nodes, trio.open_nursery() as nursery:
        box = await box_on_b(nodes)
        nursery.start_soon(sleep_and, 1, lambda: lose_link_of(nodes, sender))
        began = trio.current_time()
        with pytest.raises(LinkBroken, match=r"the link to node b was lost before Box.hold of b/box answered"):
            await box.ask(Box.hold)
        assert trio.current_time() - began < 1.1
        instance_of(nodes.b, "box").gate.set()
        assert await box.ask(Box.keep, "x") == 1


async def lose_link_of(nodes: Pair, dialer: str) -> None:
    """Break the link that this node has dialed, and no other."""
    node = nodes.a if dialer == "a" else nodes.b
    [connection] = node._exchange.dialed.values()
    stream: Any = connection._stream
    stream.lose()
    await trio.lowlevel.checkpoint()


async def test_an_ask_waits_for_a_link_and_a_tell_too(autojump_clock: MockClock) -> None:
    async with pair(linked=False) as nodes:
        await nodes.b.spawn("box", Box)
        box = nodes.a.ref("b/box", Box)
        with pytest.raises(Overloaded, match="nothing was sent to node b: there is no link"):
            box.tell_nowait(Box.keep, "never")
        await box.tell(Box.keep, "one")
        assert await box.ask(Box.all) == ["one"]


async def test_who_is_cancelled_as_its_link_comes_is_cancelled(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    outcomes: list[str] = []

    async def keep() -> None:
        try:
            await box.ask(Box.keep, "x")
            outcomes.append("answered")
        except trio.Cancelled:
            outcomes.append("cancelled")
            raise

    async with pair() as nodes:
        box = await box_on_b(nodes)
        async with trio.open_nursery() as nursery:
            with monkeypatch.context() as patch:
                patch.setattr(nodes.a, "is_linked", lambda peer: False)
                nursery.start_soon(keep)
                await wait_all_tasks_blocked()
            nodes.a._cells.post.connected("b")
            nursery.cancel_scope.cancel()
        assert outcomes == ["cancelled"]
        assert not nodes.a._cells.post._pending
        assert await box.ask(Box.all) in ([], ["x"])  # it may have been sent, or not


@asynccontextmanager
async def one_way() -> AsyncGenerator[tuple[Node, Node]]:
    """Nodes a and b, which has a box, and looks for a where that is not."""
    network = MemoryNetwork(random=Random(1), latency=0.01)
    with trio.fail_after(100):
        async with (
            open_node("a", listen="a:2", peers={"b": "b:1"}, network=network.host("a")) as a,
            open_node("b", listen="b:1", peers={"a": "a:1"}, network=network.host("b")) as b,
        ):
            await b.spawn("box", Box)
            yield a, b


async def test_what_is_asked_of_a_node_that_cannot_dial_back_is_answered_when_it_can(
    autojump_clock: MockClock,
) -> None:
    async with one_way() as (a, b), trio.open_nursery() as nursery:
        nursery.start_soon(sleep_and, 5, lambda: set_peers(b, {"a": "a:2"}))
        assert await a.ref("b/box", Box).ask(Box.keep, "x") == 1
        assert trio.current_time() > 5


async def test_whom_nobody_can_answer_is_not_kept_waiting(autojump_clock: MockClock) -> None:
    async with one_way() as (a, b):
        with structlog.testing.capture_logs() as lines, pytest.raises(LinkBroken, match="it may have been handled"):
            await a.ref("b/box", Box).ask(Box.keep, "x")
        assert 10 < trio.current_time() < 12
        assert instance_of(b, "box").kept == ["x"]
        warnings = [line for line in lines if line["log_level"] == "warning"]
        assert [(line["event"], line["peer"], line["reason"]) for line in warnings] == [
            ("no link, and somebody waits for one; still trying", "a", "nobody listens there"),
            ("link closed for a fault", "a", "it asks, and there is no link to answer it"),
        ]
        assert not b._cells.post._backlog
        b.set_peers({"a": "a:2"})
        assert await a.ref("b/box", Box).ask(Box.keep, "y") == 2


async def set_peers(node: Node, peers: dict[str, str]) -> None:
    node.set_peers(peers)
    await trio.lowlevel.checkpoint()


async def test_nothing_comes_twice_and_nothing_out_of_order_however_often_links_are_lost(
    autojump_clock: MockClock,
) -> None:
    async with pair() as nodes, trio.open_nursery() as nursery:
        box = await box_on_b(nodes)
        chance = Random(4)

        async def lose() -> None:
            while True:
                await trio.sleep(chance.uniform(0, 0.2))
                nodes.network.lose("a", "b")

        nursery.start_soon(lose)
        unknown: set[str] = set()
        for number in range(300):
            try:
                await box.ask(Box.keep, str(number))
            except LinkBroken:
                unknown.add(str(number))
            await box.tell(Box.keep, str(number + 1_000))
            await trio.sleep(chance.uniform(0, 0.01))
        nursery.cancel_scope.cancel()
        kept = instance_of(nodes.b, "box").kept
        assert len(set(kept)) == len(kept)
        asked = [text for text in kept if int(text) < 1_000]
        assert asked == sorted(asked, key=int)
        assert {str(number) for number in range(300)} - unknown <= set(asked)
        assert 0 < len(unknown) < 300
        told = [text for text in kept if int(text) >= 1_000]
        assert told == sorted(told, key=int)
        order = [int(text) % 1_000 * 2 + (int(text) >= 1_000) for text in kept]
        assert order == sorted(order)


async def test_an_answer_to_an_earlier_life_is_not_taken_for_one_to_this(autojump_clock: MockClock) -> None:
    async with pair() as nodes, trio.open_nursery() as nursery:
        box = await box_on_b(nodes)
        await box.tell(Box.hold)

        async def answer_late() -> None:
            await trio.sleep(1)
            [correlation] = nodes.a._cells.post._pending
            for incarnation in (nodes.a.incarnation - 1, nodes.a.incarnation + 1):
                body = _post.pack_answered(incarnation, b"\x82\x00\x18\x63")
                assert nodes.b.send("a", _post.ADDRESS, "actors", body, correlation=correlation)
            await trio.sleep(1)
            instance_of(nodes.b, "box").gate.set()

        nursery.start_soon(answer_late)
        assert await box.ask(Box.keep, "x") == 1


async def test_a_newer_life_is_not_answered_over_the_link_to_the_one_before(autojump_clock: MockClock) -> None:
    """Whose machine has lost its power: it closes no link, and is somewhere else before anybody notices."""
    network = MemoryNetwork(random=Random(1))
    with trio.fail_after(100):
        async with AsyncExitStack() as stack:
            a = await stack.enter_async_context(open_node("a", listen="a:1", network=network.host("a")))
            before, after = network.host("before"), network.host("after")
            peers = {"a": "a:1"}
            await stack.enter_async_context(open_node("b", listen="before:1", peers=peers, network=before))
            a.add_peer("b", "before:1")
            a.learn_peers("group", {"b": "after:1"})
            await a.spawn("box", Box)
            while not a.is_linked("b"):  # noqa: ASYNC110 - it does not tell
                await trio.sleep(0.01)
            for one, other in (("a", "before"), ("before", "a")):
                network.cut(one, other)
            b = await stack.enter_async_context(open_node("b", listen="after:1", peers=peers, network=after))
            assert await b.ref("a/box", Box).ask(Box.keep, "x") == 1


async def test_a_node_that_is_no_peer_is_no_place_for_actors(autojump_clock: MockClock) -> None:
    async with pair() as nodes, trio.open_nursery() as nursery:
        nobody = nodes.a.ref("z/box", Box)
        for call in (nobody.ask(Box.all), nobody.tell(Box.keep, "x"), nobody.stop()):
            with pytest.raises(NoSuchActor, match="node z of z/box is no peer of node a"):
                await call
        with pytest.raises(NoSuchActor, match="node z of z/box is no peer of node a"):
            nobody.tell_nowait(Box.keep, "x")
        assert await nobody.watch() == End("z/box", "missing")
        nodes.a.add_peer("z", "z:1")
        nursery.start_soon(sleep_and, 5, lambda: set_peers(nodes.a, PEERS))
        with pytest.raises(NoSuchActor, match="is no peer"):
            await nobody.ask(Box.all)


async def test_when_the_node_closes_whoever_waits_is_told(autojump_clock: MockClock) -> None:
    outcomes: list[str] = []

    async def ask(ref: ActorRef[Box]) -> None:
        try:
            await ref.ask(Box.hold)
        except Exception as error:
            outcomes.append(type(error).__name__)

    async with trio.open_nursery() as nursery, pair() as nodes:
        nodes.a.add_peer("z", "z:1")
        nursery.start_soon(ask, await box_on_b(nodes))
        nursery.start_soon(ask, nodes.a.ref("z/box", Box))
        await trio.sleep(1)
    assert sorted(outcomes) == ["ActorStopped", "LinkBroken"]


class Waiting(Box):
    """Waits for others, in each way."""

    @asynccontextmanager
    async def lifespan(self) -> AsyncGenerator[None]:
        self.context.watch(self.context.node.ref("z/box", Box), Waiting.ended)
        self.context.watch(self.context.node.ref("resting", Box), Waiting.ended)
        yield

    @command
    def ended(self, end: End) -> None:
        raise AssertionError("the node closes: nothing more is handled")

    @command
    async def wait_for(self, other: Ref[Box]) -> None:
        await other.ask(Box.hold)


async def test_a_node_that_closes_makes_no_actor_crash_that_waits_for_another(autojump_clock: MockClock) -> None:
    async with pair() as nodes:
        nodes.a.add_peer("z", "z:1")
        await nodes.a.spawn("resting", Box)
        await box_on_b(nodes)
        for number, address in enumerate(("b/box", "z/box", "a/resting")):
            waiting = await nodes.a.spawn(f"waiting-{number}", Waiting)
            await waiting.tell(Waiting.wait_for, nodes.a.ref(address, Box))
        await trio.sleep(1)
    assert nodes.a.actor_statistics().actors == nodes.b.actor_statistics().actors == 0


async def test_what_is_too_large_is_told(autojump_clock: MockClock) -> None:
    async with pair() as nodes:
        box = await box_on_b(nodes)
        with pytest.raises(TooLarge):
            await box.ask(Box.keep, "x" * 2**25)
        instance_of(nodes.b, "box").kept = ["x" * 2**25]
        with pytest.raises(OutcomeUnknown, match=r"Box.all was handled, but the answer takes \d+ bytes"):
            await box.ask(Box.all)
        assert await box.ask(Box.keep, "x") == 2


# -- ends -------------------------------------------------------------------------------------------------------------


async def test_ends_on_another_node_are_told(autojump_clock: MockClock) -> None:
    for how in ("stopped", "killed"):
        async with pair() as nodes, trio.open_nursery() as nursery:
            box = await box_on_b(nodes)
            nursery.start_soon(sleep_and, 1, box.stop if how == "stopped" else box.kill)
            assert await box.watch() == End("b/box", how)  # type: ignore[arg-type]
            await box.stop()
            await box.kill()
            assert await box.watch() == End("b/box", "missing")


@pytest.mark.parametrize("way", ["crash", "cut"])
async def test_a_lost_node_is_an_end(way: str, autojump_clock: MockClock) -> None:
    async with pair() as nodes, trio.open_nursery() as nursery:
        box = await box_on_b(nodes)
        other = await nodes.a.spawn("other", Mourner, box)

        async def watch() -> None:
            nodes.ends.append(await box.watch())

        nursery.start_soon(watch)
        await trio.sleep(1)
        if way == "crash":
            nodes.host.crash()
        else:
            nodes.network.cut("b", "a")
        await trio.sleep(10)
        assert nodes.ends == [End("b/box", "lost")]
        assert await other.ask(Mourner.ends) == [End("b/box", "lost")]
        nodes.network.heal("b", "a") if way == "cut" else None


class Mourner(Actor):
    def __init__(self, other: ActorRef[Box]) -> None:
        self.other = other
        self.told: list[End] = []

    @asynccontextmanager
    async def lifespan(self) -> AsyncGenerator[None]:
        self.context.watch(self.other, Mourner.ended)
        yield

    @command
    def ended(self, end: End) -> None:
        self.told.append(end)

    @query
    def ends(self) -> list[End]:
        return self.told


async def test_who_watches_no_more_is_forgotten_there(autojump_clock: MockClock) -> None:
    async with pair() as nodes:
        box = await box_on_b(nodes)
        for _ in range(3):
            with trio.move_on_after(1):
                await box.watch()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(box.watch)
            await trio.sleep(1)
            nodes.network.lose("a", "b")
        await trio.sleep(1)
        cell = nodes.b._cells.get("box")
        assert cell is not None
        assert not cell._watchers
        assert not any(nodes.b._cells.post._questions.values())


async def test_a_stop_from_afar_waits_for_the_end(autojump_clock: MockClock) -> None:
    async with pair() as nodes, trio.open_nursery() as nursery:
        box = await box_on_b(nodes)
        held = instance_of(nodes.b, "box")
        await box.tell(Box.hold)
        await box.tell(Box.keep, "x")
        nursery.start_soon(sleep_and, 5, open_gate(held))
        await box.stop()
        assert trio.current_time() > 5
        assert held.kept == ["x"]


def open_gate(box: Box) -> Any:
    async def opening() -> None:
        box.gate.set()

    return opening


# -- cycles -----------------------------------------------------------------------------------------------------------


class Hop(Actor):
    """Passes a question on; says how it was refused."""

    @command
    async def pass_on(self, way: list[Ref[Hop]]) -> str:
        if not way:
            return self.context.sender
        try:
            return await way[0].ask(Hop.pass_on, way[1:])
        except AskCycle as cycle:
            return " -> ".join(cycle.chain)


@pytest.mark.parametrize(
    ("way", "expected"),
    [
        ("xyz", "b/y"),
        ("xyx", "b/y -> a/x -> b/y"),
        ("xyzx", "b/z -> a/x -> b/y -> b/z"),
        ("xywx", "a/w -> a/x -> b/y -> a/w"),
        ("xwywx", "b/y -> a/w -> b/y"),
    ],
)
async def test_a_cycle_over_nodes_is_refused_where_the_chain_shows_it(
    way: str, expected: str, autojump_clock: MockClock
) -> None:
    async with pair() as nodes:
        named: dict[str, ActorRef[Hop]] = {name: await nodes.a.spawn(name, Hop) for name in "xw"}
        named |= {name: nodes.a.ref(str(await nodes.b.spawn(name, Hop)), Hop) for name in "yz"}
        assert await named[way[0]].ask(Hop.pass_on, [named[name] for name in way[1:]]) == expected
        assert len(nodes.a._cells.waits) == len(nodes.b._cells.waits) == 0


class Telling(Hop):
    """Tells who waits for it."""

    @command
    async def pass_on(self, way: list[Ref[Hop]]) -> str:
        context: Any = self.context
        return " ".join(context._message.chain)


async def test_of_a_long_chain_the_last_travel(autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_post, "CHAIN_LENGTH_MAX", 2)
    async with pair() as nodes:
        near = [await nodes.a.spawn(name, Hop) for name in "vwx"]
        far = nodes.a.ref(str(await nodes.b.spawn("y", Telling)), Hop)
        assert await near[0].ask(Hop.pass_on, [*near[1:], far]) == "a/w a/x"


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [(0.5, ["a/x", "b/y -> a/x -> b/y"]), (1.5, ["a/x -> b/y -> a/x", "b/y"])],
)
async def test_two_chains_that_meet_are_a_cycle_too(
    seconds: float, expected: list[str], autojump_clock: MockClock
) -> None:
    """x asks y while y, which handles a question of w's, asks x, or has done so before. Neither is in a chain of the
    other's; but either waits for the other, which a node knows of its own."""
    async with pair() as nodes, trio.open_nursery() as nursery:
        x, w = await nodes.a.spawn("x", Slow), await nodes.a.spawn("w", Slow)
        y = nodes.a.ref(str(await nodes.b.spawn("y", Slow)), Slow)
        answers: list[str] = []

        async def ask(first: ActorRef[Slow], way: list[Ref[Slow]]) -> None:
            answers.append(await first.ask(Slow.pass_on_slowly, way))

        nursery.start_soon(ask, w, [y, x])
        await trio.sleep(seconds)
        nursery.start_soon(ask, x, [y])
        await trio.sleep(10)
        assert sorted(answers) == expected


class Slow(Hop):
    @command
    async def pass_on_slowly(self, way: list[Ref[Slow]]) -> str:
        if not way:
            return self.context.sender
        await trio.sleep(1)
        try:
            return await way[0].ask(Slow.pass_on_slowly, way[1:])
        except AskCycle as cycle:
            return " -> ".join(cycle.chain)


# -- who may speak ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["me", "a"])
async def test_a_client_does_not_reach_actors(name: str, autojump_clock: MockClock) -> None:
    """Not even if it has the name of a peer."""
    async with pair() as nodes:
        await nodes.b.spawn("box", Box)
        async with open_client_link("b:1", name, network=nodes.network.host("client")) as link:
            told = _post.pack_told("box", "", b"\x82\x64keep\x61x")
            assert link.send(_post.ADDRESS, "actors", told)
            with pytest.raises(LinkBroken):
                await anext(link)
        assert instance_of(nodes.b, "box").kept == []
        assert nodes.b.statistics().faults == 1


async def test_a_node_that_is_no_peer_of_ours_does_not_reach_actors(autojump_clock: MockClock) -> None:
    async with pair() as nodes:
        await nodes.b.spawn("box", Box)
        async with open_node("c", peers={"b": "b:1", "c": "c:1"}, network=nodes.network.host("c")) as c:
            with pytest.raises(LinkBroken):
                await c.ref("b/box", Box).ask(Box.keep, "x")
        assert instance_of(nodes.b, "box").kept == []


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\x81\x63lie",
        _post.pack_told("box", "", b""),
        _post.pack_told("box", "", b"\x80"),
        _post.pack_told("box", "", b"\xf6"),
        _post.pack_told("", "", b"\x81\x63all"),
        _post.pack_told("x" * 300, "", b"\x81\x63all"),
        _post.pack_asked("box", "", ["a"] * 100, None, b"\x81\x63all"),
        _post.pack_asked("box", "", [], -1, b"\x81\x63all"),
        _post.pack_asked("box", "", [], None, b"\x81\x63all"),  # under no correlation
        _post.pack_told("box", "", b"\x81\xa1\x01\x02"),
        _post.pack_told("box", "", b"\x82\x64keep\xf7"),  # undefined
        _post.pack_asked("box", "", [], None, b"\x82\x64keep\x1b" + b"\xff" * 8),
        _post.pack_answered(1, b"\x82\x00\xf7"),
        _post.pack_answered(1, b"\x80"),
        _post.pack_answered(1, b"\xf6"),
        _post.encode_struct(_post.Ended(1, "exploded")),
    ],
)
async def test_nonsense_closes_the_link_and_reaches_nobody(body: bytes, autojump_clock: MockClock) -> None:
    async with pair() as nodes:
        box = await box_on_b(nodes)
        nodes.a.send("b", _post.ADDRESS, "actors", body)
        await trio.sleep(1)
        assert nodes.b.statistics().faults == 1
        assert await box.ask(Box.all) == []


def test_the_largest_call_has_room_in_a_parcel_with_the_longest_chain() -> None:
    call: list[object] = ["keep", *[None] * (COUNT_MAX - 2)]
    asked = open_parcel(_post.pack_asked("box", "", ["a/b"] * CHAIN_LENGTH_MAX, 5, encode_plain(call)))
    assert isinstance(asked, _post.Asked)
    assert asked.call == call


async def test_an_answer_to_what_another_was_asked_closes_the_link(autojump_clock: MockClock) -> None:
    async with pair() as nodes, trio.open_nursery() as nursery:
        box = await box_on_b(nodes)

        async def watch() -> None:
            nodes.ends.append(await box.watch())

        nursery.start_soon(watch)
        await trio.sleep(1)
        [correlation] = nodes.a._cells.post._pending
        forged = _post.pack_answered(nodes.a.incarnation, b"\x82\x00\x01")
        nodes.b.send("a", _post.ADDRESS, "actors", forged, correlation=correlation)
        await trio.sleep(1)
        assert nodes.a.statistics().faults == 1
        assert nodes.ends == [End("b/box", "lost")]


async def test_an_answer_by_another_peer_closes_its_link(autojump_clock: MockClock) -> None:
    async with pair() as nodes, trio.open_nursery() as nursery:
        box = await box_on_b(nodes)
        peers = {**PEERS, "c": "c:1"}
        nodes.a.set_peers(peers)
        async with open_node("c", peers=peers, network=nodes.network.host("c")) as c:
            await trio.sleep(1)

            async def forge() -> None:
                await trio.sleep(1)
                [correlation] = nodes.a._cells.post._pending
                forged = _post.pack_answered(nodes.a.incarnation, b"\x82\x00\x64held")
                assert c.send("a", _post.ADDRESS, "actors", forged, correlation=correlation)
                await trio.sleep(1)
                instance_of(nodes.b, "box").label = "honest"
                instance_of(nodes.b, "box").gate.set()

            nursery.start_soon(forge)
            assert await box.ask(Box.hold) == "held"
            assert instance_of(nodes.b, "box").label == "honest"
            assert nodes.a.statistics().faults == 1


async def test_asking_twice_under_one_number_closes_the_link(autojump_clock: MockClock) -> None:
    async with pair() as nodes:
        await box_on_b(nodes)
        asked = _post.pack_asked("box", "", [], None, b"\x81\x64hold")
        for _ in range(2):
            nodes.a.send("b", _post.ADDRESS, "actors", asked, correlation=77)
        await trio.sleep(1)
        assert nodes.b.statistics().faults == 1


async def test_a_peer_may_not_ask_without_end(autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_post, "QUESTIONS_MAX", 3)
    async with pair() as nodes:
        box = await box_on_b(nodes)
        outcomes: list[str] = []

        async def watch() -> None:
            outcomes.append((await box.watch()).how)

        async with trio.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(watch)
            await trio.sleep(1)
            assert outcomes == []
            nursery.start_soon(watch)
        assert outcomes == ["lost"] * 4
        assert nodes.b.statistics().faults == 1


async def test_answers_that_no_link_takes_are_not_kept_without_end(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rather than keep silent, the link that the questions come by is closed."""
    monkeypatch.setattr(_post, "BACKLOG_MAX", 2)
    async with one_way() as (a, b), trio.open_nursery() as nursery:
        box = a.ref("b/box", Box)
        told: list[str] = []

        async def ask() -> None:
            try:
                await box.ask(Box.all)
            except LinkBroken:
                told.append("lost")

        for _ in range(2):
            nursery.start_soon(ask)
        await trio.sleep(1)
        assert told == []
        nursery.start_soon(ask)
        await trio.sleep(1)
        assert told == ["lost"] * 3
        assert not any(b._cells.post._backlog.values())


async def test_an_answer_that_finds_no_room_breaks_the_link(autojump_clock: MockClock) -> None:
    async with pair() as nodes:
        box = await box_on_b(nodes)
        await box.ask(Box.keep, "x" * 100_000)
        [connection] = nodes.b._exchange.dialed.values()
        connection.outbox.bulk_size_max = 1_000
        with pytest.raises(LinkBroken):
            await box.ask(Box.all)


async def test_unknown_methods_and_private_ones_are_invalid(autojump_clock: MockClock) -> None:
    async with pair() as nodes:
        await box_on_b(nodes)
        for tag in ("_context", "__init__", "lifespan", "gate"):
            body = _post.pack_told("box", "", bytes((0x81, 0x60 + len(tag))) + tag.encode())
            nodes.a.send("b", _post.ADDRESS, "actors", body)
        await trio.sleep(1)
        assert nodes.b.actor_statistics().dead_letters == 4
        assert nodes.b.statistics().faults == 0
        await wait_all_tasks_blocked()


@pytest.mark.parametrize(
    "tag",
    ["T" * 5_000_000, "T" * (TAG_LENGTH_MAX + 1), ["L"] * 30_000, {"k" * 1_000_000: 1}, None, 1],
    ids=["long", "longer", "list", "dict", "none", "int"],
)
async def test_what_is_no_tag_is_invalid_and_is_not_repeated_in_the_log(tag: object, autojump_clock: MockClock) -> None:
    async with pair() as nodes:
        await box_on_b(nodes)
        call = encode_plain([tag])
        with structlog.testing.capture_logs() as lines:
            nodes.a.send("b", _post.ADDRESS, "actors", _post.pack_told("box", "", call))
            await trio.sleep(1)
        [line] = [line for line in lines if line["event"] == "dead letter"]
        assert line["reason"] == "a message begins with its tag, a text of 128 characters at most"
        assert nodes.b.actor_statistics().dead_letters == 1
        assert nodes.b.statistics().faults == 0


async def test_whatever_a_peer_sends_a_dead_letter_s_line_is_short(autojump_clock: MockClock) -> None:
    """The text of an error may repeat a value: here a key, and what is no address."""
    async with pair() as nodes:
        await nodes.b.spawn("keeper", Keeper)
        with structlog.testing.capture_logs() as lines:
            for call in (["put", {"x" * 10**6: 1}], ["put", {"x": "x" * 10**6 + "/b"}]):
                nodes.a.send("b", _post.ADDRESS, "actors", _post.pack_told("keeper", "x", encode_plain(call)))
                await trio.sleep(2)
        letters = [line for line in lines if line["event"] == "dead letter"]
        assert len(letters) == 2
        assert max(len(repr(line)) for line in letters) < 1_000


async def test_over_real_sockets() -> None:
    with trio.fail_after(30):
        async with open_node("a") as a, open_node("b") as b:
            a.add_peer("b", str(b.address))
            b.add_peer("a", str(a.address))
            await b.spawn("box", Box)
            box = a.ref("b/box", Box)
            for number in range(200):
                await box.tell(Box.keep, str(number))
            assert await box.ask(Box.all) == [str(number) for number in range(200)]
            async with trio.open_nursery() as nursery:
                for _ in range(20):
                    nursery.start_soon(box.ask, Box.keep_note, Note("x" * 100_000, []))
            await box.stop()
            assert await box.watch() == End("b/box", "missing")
