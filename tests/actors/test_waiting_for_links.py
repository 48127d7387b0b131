"""Before there is a link to a node, who sends there waits in one line: first come, first sent."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import asynccontextmanager

import pytest
import structlog.testing
import trio
import trio.lowlevel
from boxes import Box, instance_of
from trio.testing import MockClock, wait_all_tasks_blocked

from actors import Actor, ActorRef, ActorStopped, Node, NoSuchActor, Ref, command, open_node
from actors._line import Line
from actors._peer import WARNED_AFTER_SECONDS
from actors.testing import MemoryNetwork

PEERS = {"a": "a:1", "b": "b:1"}
ROUNDS = 12
"""Trio runs what is woken together in one order or the other: twelve times the right one by chance is no danger."""


@pytest.fixture(autouse=True)
def quiet() -> Generator[None]:
    with structlog.testing.capture_logs():
        yield


class Sender(Actor):
    """Has tasks of its own, which send."""

    @asynccontextmanager
    async def lifespan(self) -> AsyncGenerator[None]:
        async with trio.open_nursery() as self.nursery:
            yield
            self.nursery.cancel_scope.cancel()

    @command
    async def tell_each(self, to: Ref[Box], texts: list[str]) -> None:
        for text in texts:
            self.nursery.start_soon(to.tell, Box.keep, text)
            await wait_all_tasks_blocked()


@asynccontextmanager
async def node_b(network: MemoryNetwork, a: Node) -> AsyncGenerator[Node]:
    """Opened while others wait for it; it has a box before there is a link."""
    async with open_node("b", listen="b:1", network=network.host("b")) as b:
        await b.spawn("box", Box)
        b.set_peers(PEERS)
        yield b
    while a.is_linked("b"):  # noqa: ASYNC110 - it does not tell
        await trio.sleep(0.01)


@asynccontextmanager
async def node_a() -> AsyncGenerator[tuple[MemoryNetwork, Node, ActorRef[Box]]]:
    network = MemoryNetwork()
    with trio.fail_after(1_000):  # of virtual time
        async with open_node("a", peers=PEERS, network=network.host("a")) as a:
            yield network, a, a.ref("b/box", Box)


async def test_what_tasks_of_one_actor_tell_before_there_is_a_link_comes_in_order(autojump_clock: MockClock) -> None:
    texts = [str(number) for number in range(20)]
    async with node_a() as (network, a, box):
        sender = await a.spawn("sender", Sender)
        for _ in range(ROUNDS):
            await sender.ask(Sender.tell_each, box, texts)
            async with node_b(network, a):
                assert await box.ask(Box.all) == texts


async def test_who_comes_as_the_link_does_comes_behind_who_has_waited(autojump_clock: MockClock) -> None:
    async with node_a() as (network, a, box):
        for _ in range(ROUNDS):
            async with trio.open_nursery() as nursery:
                for text in "123":
                    nursery.start_soon(box.tell, Box.keep, text)
                    await wait_all_tasks_blocked()
                async with node_b(network, a) as b:
                    while not a.is_linked("b"):
                        await trio.lowlevel.checkpoint()
                    box.tell_nowait(Box.keep, "4")
                    await box.tell(Box.keep, "5")
                    await trio.sleep(1)
                    assert instance_of(b, "box").kept == list("12345")


async def test_an_ask_a_tell_and_a_stop_wait_in_one_line(autojump_clock: MockClock) -> None:
    async with node_a() as (network, a, box):
        for _ in range(ROUNDS):
            answers: list[object] = []

            async def keep(text: str, answers: list[object] = answers) -> None:
                answers.append(await box.ask(Box.keep, text))

            async with trio.open_nursery() as nursery:
                for act, *args in ((box.tell, Box.keep, "1"), (keep, "2"), (box.tell, Box.keep, "3"), (keep, "4")):
                    nursery.start_soon(act, *args)
                    await wait_all_tasks_blocked()
                nursery.start_soon(box.stop)
                await wait_all_tasks_blocked()
                async with node_b(network, a) as b:
                    await trio.sleep(1)
                    assert b.actor_statistics().actors == 0
            assert sorted(map(str, answers)) == ["2", "4"]


async def test_who_is_cancelled_leaves_the_line_and_holds_up_nobody(autojump_clock: MockClock) -> None:
    scopes = {text: trio.CancelScope() for text in "1234"}
    outcomes: dict[str, str] = {}

    async def tell(text: str) -> None:
        with scopes[text] as scope:
            await box.tell(Box.keep, text)
        outcomes[text] = "cancelled" if scope.cancelled_caught else "told"

    async with node_a() as (network, a, box), trio.open_nursery() as nursery:
        for text in "1234":
            nursery.start_soon(tell, text)
            await wait_all_tasks_blocked()
        scopes["1"].cancel()
        await wait_all_tasks_blocked()
        async with node_b(network, a):
            while not a.is_linked("b"):
                scopes["3"].cancel()  # at the last moment
                await trio.lowlevel.checkpoint()
            assert await box.ask(Box.all) == ["2", "4"]
    assert outcomes == {"1": "cancelled", "2": "told", "3": "cancelled", "4": "told"}


async def test_who_waits_is_told_when_there_will_be_no_link(autojump_clock: MockClock) -> None:
    errors: list[type[Exception]] = []

    async def tell() -> None:
        try:
            await box.tell(Box.keep, "x")
        except Exception as error:
            errors.append(type(error))

    async with trio.open_nursery() as nursery, node_a() as (_, a, box):
        nursery.start_soon(tell)
        await wait_all_tasks_blocked()
        a.set_peers({})
        await wait_all_tasks_blocked()
        a.set_peers(PEERS)
        nursery.start_soon(tell)
        await wait_all_tasks_blocked()
    assert errors == [NoSuchActor, ActorStopped]


# -- who operates this learns why -------------------------------------------------------------------------------------


async def test_why_there_is_no_link_is_said_once_where_somebody_waits(autojump_clock: MockClock) -> None:
    expected = {
        "event": "no link, and somebody waits for one; still trying",
        "node": "a",
        "peer": "b",
        "address": "b:1",
        "reason": "nobody listens there",
        "log_level": "warning",
        "logger": "troupe.actors",
    }
    with structlog.testing.capture_logs() as lines:

        def warned() -> list[object]:
            return [line for line in lines if line["log_level"] == "warning"]

        async with node_a() as (network, a, box):
            await trio.sleep(20)
            assert not warned()  # nobody waits
            with trio.move_on_after(2):
                await box.ask(Box.all)
            assert warned() == [expected]  # at the next try, as it has been so for long
            with trio.move_on_after(20):
                await box.tell(Box.keep, "x")
            assert warned() == [expected]
            async with node_b(network, a):
                await box.ask(Box.all)
            with trio.move_on_after(WARNED_AFTER_SECONDS - 0.1):
                await box.watch()
            assert warned() == [expected]  # a link may be lost for a moment
            with trio.move_on_after(3):
                await box.watch()
            assert warned() == [expected] * 2


# -- the line itself --------------------------------------------------------------------------------------------------


def act(done: list[str], name: str) -> Callable[[], str]:
    def acting() -> str:
        done.append(name)
        if name == "bad":
            raise ZeroDivisionError
        return name.upper()

    return acting


async def test_everybody_has_their_turn_in_one_go_and_gets_what_came_of_theirs() -> None:
    line, done, got = Line(), list[str](), dict[str, object]()

    async def wait(name: str) -> None:
        try:
            got[name] = await line.wait(act(done, name))
        except ZeroDivisionError as error:
            got[name] = type(error)

    async with trio.open_nursery() as nursery:
        for name in ("first", "bad", "last"):
            nursery.start_soon(wait, name)
            await wait_all_tasks_blocked()
        assert len(line) == 3
        line.serve()
        assert done == ["first", "bad", "last"]
        assert len(line) == 0
    assert got == {"first": "FIRST", "bad": ZeroDivisionError, "last": "LAST"}


async def test_for_who_was_cancelled_nothing_is_done_not_even_before_it_knows() -> None:
    line, done = Line(), list[str]()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(line.wait, act(done, "never"))
        await wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
        line.serve()
    assert done == []
    assert len(line) == 0
