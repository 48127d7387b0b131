"""How actors begin and end on a node: lifespans, children, stops, kills, crashes."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager, suppress

import pytest
import structlog.testing
import trio
from boxes import Alive, Box, Small, closing, instance_of, lone_node, rests
from trio.testing import MockClock, wait_all_tasks_blocked

from actors import (
    ActorCrashed,
    ActorRef,
    ActorStatistics,
    ActorStopped,
    End,
    Node,
    NoSuchActor,
    OutcomeUnknown,
    Ref,
    Supervision,
    command,
)

# -- ends -------------------------------------------------------------------------------------------------------------


async def test_stop_lets_it_handle_what_waits(autojump_clock: MockClock) -> None:
    async with lone_node() as node:
        box = await node.spawn("box", Small)
        held = instance_of(node, "box")
        await box.tell(Box.hold)
        await wait_all_tasks_blocked()
        outcomes: list[object] = []

        async def note(call: Callable[[], object]) -> None:
            try:
                outcomes.append(await call())  # type: ignore[misc]
            except ActorStopped as error:
                outcomes.append(str(error))

        async with trio.open_nursery() as nursery:
            for text in "123":
                nursery.start_soon(note, lambda text=text: box.ask(Box.keep, text))
                await wait_all_tasks_blocked()
            nursery.start_soon(box.stop)
            await wait_all_tasks_blocked()
            assert outcomes == ["a/box has stopped, or is stopping"]  # the third had to wait for room
            with pytest.raises(ActorStopped):
                await box.ask(Box.keep, "late")
            with structlog.testing.capture_logs():
                await box.tell(Box.keep, "late")
            held.gate.set()
        assert set(outcomes[1:]) == {1, 2}
        assert held.kept == ["1", "2"]
        assert node.actor_statistics() == ActorStatistics(actors=0, dead_letters=1)


async def test_kill_cancels_it_and_tells_the_askers_the_truth(autojump_clock: MockClock) -> None:
    async with lone_node() as node:
        box = await node.spawn("box", Box)
        outcomes: list[str] = []

        async def ask(marked: object) -> None:
            try:
                await box.ask(marked)  # type: ignore[call-overload]
            except (ActorStopped, OutcomeUnknown) as error:
                outcomes.append(f"{type(error).__name__}: {error}")

        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask, Box.hold)
            await wait_all_tasks_blocked()
            nursery.start_soon(ask, Box.all)
            await wait_all_tasks_blocked()
            await box.kill()
        assert sorted(outcomes) == [
            "ActorStopped: a/box has stopped, or is stopping",
            "OutcomeUnknown: a/box was ended while it handled Box.hold; how far it came, nobody knows",
        ]
        assert node._cells.get("box") is None


async def test_what_is_killed_begins_nothing(autojump_clock: MockClock) -> None:
    async with lone_node() as node:
        box = await node.spawn("box", Box)
        held = instance_of(node, "box")
        box.tell_nowait(Box.keep, "never")
        cell = node._cells.get("box")
        assert cell is not None
        cell.kill()
        with structlog.testing.capture_logs():
            assert await box.watch() == End("a/box", "killed")
        assert held.kept == []


@pytest.mark.parametrize("way", ["stop", "kill"])
async def test_an_idle_actor_ends_at_once_and_its_name_is_free(way: str, autojump_clock: MockClock) -> None:
    async with lone_node() as node:
        for _ in range(2):
            box = await node.spawn("box", Box)
            await (box.stop() if way == "stop" else box.kill())
            await box.kill()
            await box.stop()
        with pytest.raises(NoSuchActor, match="there is no actor 'box' on node a"):
            await box.ask(Box.all)


async def test_an_actor_can_stop_itself(autojump_clock: MockClock) -> None:
    async with lone_node() as node:
        box = await node.spawn("box", Box)
        await box.ask(Box.finish)
        assert await box.watch() == End("a/box", "missing")
        box = await node.spawn("box", Box)
        await box.tell(Box.finish)
        await box.tell(Box.keep, "still")
        held = instance_of(node, "box")
        assert await box.watch() == End("a/box", "stopped")
        assert held.kept == ["still"]


async def test_a_stop_is_made_although_its_maker_is_cancelled(autojump_clock: MockClock) -> None:
    async with lone_node() as node:
        box = await node.spawn("box", Box)
        held = instance_of(node, "box")
        await box.tell(Box.hold)
        with trio.move_on_after(1) as scope:
            await box.stop()
        assert scope.cancelled_caught
        held.gate.set()
        assert (await box.watch()).how in ("stopped", "missing")


async def test_dead_letters_are_counted_and_logged_now_and_then(autojump_clock: MockClock) -> None:
    async with lone_node() as node:
        nobody = node.ref("nobody", Box)
        with structlog.testing.capture_logs() as logs:
            for _ in range(5):
                await nobody.tell(Box.keep, "x")
            nobody.tell_nowait(Box.keep, "x")
            await trio.sleep(2)
            await nobody.tell(Box.keep, "x")
        lines = [line for line in logs if line["event"] == "dead letter"]
        assert [line["others"] for line in lines] == [0, 5]
        assert lines[0]["actor"] == "a/nobody"
        assert lines[0]["message"] == "Box.keep"
        assert lines[0]["reason"] == "there is no actor 'nobody' on node a"
        assert node.actor_statistics().dead_letters == 7


async def test_what_waits_for_an_actor_that_is_killed_is_a_dead_letter(autojump_clock: MockClock) -> None:
    async with lone_node() as node:
        box = await node.spawn("box", Box)
        await box.tell(Box.hold)
        await box.tell(Box.keep, "x")
        await box.tell(Box.keep, "y")
        await wait_all_tasks_blocked()
        with structlog.testing.capture_logs():
            await box.kill()
        assert node.actor_statistics().dead_letters == 2


async def test_the_end_of_the_node_is_an_answer_too(autojump_clock: MockClock) -> None:
    outcomes: list[str] = []

    async def ask(box: ActorRef[Box], marked: object) -> None:
        try:
            await box.ask(marked)  # type: ignore[call-overload]
        except Exception as error:
            outcomes.append(type(error).__name__)

    async with trio.open_nursery() as nursery, lone_node() as node:
        box = await node.spawn("box", Box)
        idle = await node.spawn("idle", Box)
        nursery.start_soon(ask, box, Box.hold)
        await wait_all_tasks_blocked()
        nursery.start_soon(ask, box, Box.all)
        await wait_all_tasks_blocked()
    assert sorted(outcomes) == ["ActorStopped", "OutcomeUnknown"]
    with pytest.raises(ActorStopped, match="node a is closed"):
        await idle.ask(Box.all)
    with pytest.raises(ActorStopped, match="node a is closed"):
        await node.spawn("late", Box)
    assert node.actor_statistics().actors == 0


# -- crashes without a policy -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["asked", "asked while it rests not", "told"])
async def test_a_crash_leaves_the_node_in_a_group(way: str, autojump_clock: MockClock) -> None:
    async def crash(node: Node) -> None:
        box = await node.spawn("box", Box)
        if way == "told":
            await box.tell(Box.crash)
            return
        if way != "asked":
            await box.tell(Box.keep, "x")
        with pytest.raises(ActorCrashed, match=r"Box.crash of a/box raised ZeroDivisionError") as crash:
            await box.ask(Box.crash)
        assert isinstance(crash.value.__cause__, ZeroDivisionError)

    group = await closing(crash)
    assert [type(error) for error in group.exceptions] == [ZeroDivisionError]


async def test_an_answer_that_is_not_as_declared_is_a_crash(autojump_clock: MockClock) -> None:
    async def crash(node: Node) -> None:
        box = await node.spawn("box", Box)
        with pytest.raises(ActorCrashed, match=r"Box.lie of a/box raised TypeError"):
            await box.ask(Box.lie)

    assert "Box.lie: its answer" in str((await closing(crash)).exceptions[0])


# -- lifespans --------------------------------------------------------------------------------------------------------


@pytest.fixture
def log() -> list[str]:
    Alive.log.clear()
    return Alive.log


async def test_a_lifespan_is_entered_before_any_message_and_left_after_the_last(
    log: list[str], autojump_clock: MockClock
) -> None:
    async with lone_node() as node:
        box = await node.spawn("box", Alive)
        assert log == ["enter"]
        assert await box.ask(Alive.own) == box
        await box.tell(Box.keep, "x")
        await box.stop()
        assert log == ["enter", "leave"]
    assert log == ["enter", "leave"]


async def test_a_message_to_an_actor_that_starts_waits_for_it(log: list[str], autojump_clock: MockClock) -> None:
    async with lone_node() as node, trio.open_nursery() as nursery:
        nursery.start_soon(node.spawn, "box", Alive)
        await wait_all_tasks_blocked()
        assert await node.ref("box", Box).ask(Box.keep, "x") == 1
        assert log == ["enter"]


@pytest.mark.parametrize("way", ["kill", "close"])
async def test_a_lifespan_is_left_by_cancellation(way: str, log: list[str], autojump_clock: MockClock) -> None:
    async with lone_node() as node:
        box = await node.spawn("box", Alive)
        if way == "kill":
            await box.kill()
            assert log == ["enter", "leave"]
    assert log == ["enter", "leave"]


async def test_what_a_start_raises_is_raised_where_it_was_spawned(autojump_clock: MockClock) -> None:
    class Stillborn(Box):
        @asynccontextmanager
        async def lifespan(self) -> AsyncGenerator[None]:
            raise KeyError("no luck")
            yield

    class Unmade(Box):
        def __init__(self) -> None:
            raise KeyError("no luck")

    async with lone_node() as node:
        for kind in (Stillborn, Unmade):
            with pytest.raises(KeyError, match="no luck"):
                await node.spawn("box", kind)
        await node.spawn("box", Box)
        assert node.actor_statistics().actors == 1


@pytest.mark.parametrize("seconds", [0.0, 0.5])
async def test_a_start_that_is_cancelled_leaves_nothing(
    seconds: float, log: list[str], autojump_clock: MockClock
) -> None:
    async with lone_node() as node:
        with trio.move_on_after(seconds) as scope:
            await node.spawn("box", Alive)
        assert scope.cancelled_caught
        assert node.actor_statistics().actors == 0
        await node.spawn("box", Box)


async def test_a_start_that_is_killed_is_told(log: list[str], autojump_clock: MockClock) -> None:
    async with lone_node() as node, trio.open_nursery() as nursery:

        async def kill() -> None:
            await trio.sleep(0.5)
            await node.ref("box", Box).kill()

        nursery.start_soon(kill)
        with pytest.raises(ActorStopped, match="a/box was killed while it started"):
            await node.spawn("box", Alive)


class Careless(Box):
    @asynccontextmanager
    async def lifespan(self) -> AsyncGenerator[None]:
        with suppress(ZeroDivisionError):
            yield


async def test_a_lifespan_that_swallows_a_crash_swallows_nothing(autojump_clock: MockClock) -> None:
    async def crash(node: Node) -> None:
        await (await node.spawn("box", Careless)).tell(Box.crash)

    group = await closing(crash)
    assert [type(error) for error in group.exceptions] == [ZeroDivisionError]


class Fleeting(Box):
    """Has its lifespan in a scope of its own, which ends."""

    entered = 0

    def __init__(self, seconds: float = 5) -> None:
        super().__init__()
        self.seconds = seconds

    @asynccontextmanager
    async def lifespan(self) -> AsyncGenerator[None]:
        Fleeting.entered += 1
        with trio.move_on_after(self.seconds):
            yield


@pytest.mark.parametrize("busy", [False, True])
async def test_a_lifespan_that_ends_by_itself_is_a_crash(busy: bool, autojump_clock: MockClock) -> None:
    async def wait(node: Node) -> None:
        box = await node.spawn("box", Fleeting)
        if busy:
            with pytest.raises(OutcomeUnknown, match="a/box was ended while it handled"):
                await box.ask(Box.hold)

    [error] = (await closing(wait)).exceptions
    assert isinstance(error, RuntimeError)
    assert str(error) == (
        "the lifespan of a/box ended before the actor did: what it has its yield in was cancelled, or has run out of "
        "time"
    )


async def test_and_so_it_is_entered_anew_before_another_message(autojump_clock: MockClock) -> None:
    async with lone_node() as node:
        Fleeting.entered = 0
        box = await node.supervised(Supervision(backoff_min=1)).spawn("box", Fleeting)
        await box.ask(Box.keep, "old")
        with structlog.testing.capture_logs():
            await trio.sleep(5.5)
            assert await box.ask(Box.all) == []
        assert Fleeting.entered == 2


class Stubborn(Box):
    @asynccontextmanager
    async def lifespan(self) -> AsyncGenerator[None]:
        with suppress(BaseException):
            yield


@pytest.mark.parametrize("way", ["stop", "kill", "close"])
async def test_a_lifespan_that_swallows_its_end_has_not_ended_by_itself(way: str, autojump_clock: MockClock) -> None:
    ends: list[End] = []
    async with lone_node() as node:
        box = await node.spawn("box", Stubborn)
        cell = node._cells.get("box")
        assert cell is not None
        cell.on_end(ends.append)
        if way != "close":
            await getattr(box, way)()
    assert ends == [End("a/box", "stopped" if way == "stop" else "killed")]


class Clinging(Box):
    """Asks another when it ends, come what may."""

    said: list[str] = []  # noqa: RUF012 - shared on purpose

    @asynccontextmanager
    async def lifespan(self) -> AsyncGenerator[None]:
        other = self.context.node.ref("other", Box)
        try:
            yield
        finally:
            with trio.CancelScope(shield=True):
                try:
                    await other.ask(Box.keep, "x")
                except ActorStopped as error:
                    self.said.append(str(error))


async def test_when_the_node_closes_no_message_is_taken_any_more(autojump_clock: MockClock) -> None:
    Clinging.said.clear()
    async with lone_node() as node:
        await node.spawn("other", Box)
        await node.spawn("clinging", Clinging)
    assert Clinging.said == ["node a is closed"]


# -- children ---------------------------------------------------------------------------------------------------------


class Parent(Box):
    @command
    async def raise_child(self, name: str) -> Ref[Box]:
        return await self.context.spawn(name, Box)

    @command
    async def raise_parent(self, name: str) -> Ref[Parent]:
        return await self.context.spawn(name, Parent)

    @command
    async def dismiss(self, name: str) -> None:
        await self.context.node.ref(f"{self.context.ref(Box)}/{name}", Box).stop()


async def test_children_have_names_behind_their_parents(autojump_clock: MockClock) -> None:
    async with lone_node() as node:
        parent = await node.spawn("parent", Parent)
        child = await parent.ask(Parent.raise_child, "child")
        assert child == node.ref("a/parent/child", Box)
        assert await child.ask(Box.keep, "x") == 1
        assert await parent.ask(Box.keep, "x") == 1
        await parent.ask(Parent.dismiss, "child")
        await wait_all_tasks_blocked()
        assert rests(node, "parent")
        assert await (await parent.ask(Parent.raise_child, "child")).ask(Box.all) == []


@pytest.mark.parametrize("busy", [False, True])
@pytest.mark.parametrize("way", ["stop", "kill"])
async def test_children_end_with_their_parent(way: str, busy: bool, autojump_clock: MockClock) -> None:
    async with lone_node() as node:
        parent = await node.spawn("parent", Parent)
        middle = await parent.ask(Parent.raise_parent, "middle")
        child = await middle.ask(Parent.raise_child, "child")
        held = instance_of(node, "parent/middle/child")
        if busy:
            await child.tell(Box.hold)
            await child.tell(Box.keep, "x")
            await wait_all_tasks_blocked()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(parent.stop if way == "stop" else parent.kill)
            await wait_all_tasks_blocked()
            held.gate.set()
        assert node.actor_statistics().actors == 0
        assert held.kept == (["x"] if busy and way == "stop" else [])


async def test_children_end_with_their_parent_whatever_they_are_at(autojump_clock: MockClock) -> None:
    for moments in range(20):
        async with lone_node() as node:
            parent = await node.spawn("parent", Parent)
            child = await parent.ask(Parent.raise_child, "child")
            await child.tell(Box.keep, "x")
            for _ in range(moments):
                await trio.lowlevel.checkpoint()
            with structlog.testing.capture_logs(), trio.fail_after(1):
                await parent.kill()
                await wait_all_tasks_blocked()
            assert node.actor_statistics().actors == 0


async def test_a_crash_of_a_child_is_one_of_its_parents(autojump_clock: MockClock) -> None:
    nodes: list[Node] = []

    async def crash(node: Node) -> None:
        nodes.append(node)
        parent = await node.spawn("parent", Parent)
        child = await parent.ask(Parent.raise_child, "child")
        with pytest.raises(ActorCrashed):
            await child.ask(Box.crash)

    [of_parent] = (await closing(crash)).exceptions
    assert isinstance(of_parent, ExceptionGroup)
    assert [type(error) for error in of_parent.exceptions] == [ZeroDivisionError]
    assert nodes[0].actor_statistics().actors == 0
