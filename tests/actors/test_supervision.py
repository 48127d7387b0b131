"""Crashes under a policy: who is started again, when, how often, and what it finds."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager

import pytest
import structlog.testing
import trio
from boxes import Box, closing, instance_of, lone_node, rests
from trio.testing import MockClock, wait_all_tasks_blocked

from actors import (
    Actor,
    ActorCrashed,
    ActorRef,
    ActorStatistics,
    End,
    InvariantViolation,
    Node,
    OutcomeUnknown,
    Ref,
    Spawner,
    Supervision,
    command,
    query,
)
from actors._protocol.errors import invariant

AT_ONCE = Supervision(backoff_min=0, backoff_max=0)


class Lively(Box):
    """Tells when it is entered and left."""

    log: list[str] = []  # noqa: RUF012 - shared on purpose
    fragile: set[str] = set()  # noqa: RUF012 - who cannot be entered

    @asynccontextmanager
    async def lifespan(self) -> AsyncGenerator[None]:
        if self.label in self.fragile:
            raise OSError(f"{self.label} cannot be entered")
        self.log.append(f"+{self.label}")
        try:
            yield
        finally:
            self.log.append(f"-{self.label}")

    @command
    def violate(self) -> None:
        invariant(False, "this holds")

    @command
    async def ask_and_crash(self, other: Ref[Box]) -> None:
        await other.ask(Box.hold)


class Keeping(Box, keeps_state=True):
    pass


@pytest.fixture(autouse=True)
def quiet() -> Generator[None]:
    """Nobody reads the tracebacks, which take long to write."""
    with structlog.testing.capture_logs():
        yield


@pytest.fixture
def log() -> list[str]:
    Lively.log.clear()
    Lively.fragile.clear()
    return Lively.log


async def crash(box: ActorRef[Box]) -> None:
    with pytest.raises(ActorCrashed):
        await box.ask(Box.crash)
    await wait_all_tasks_blocked()


async def three(team: Spawner) -> list[ActorRef[Lively]]:
    return [await team.spawn(name, Lively, name) for name in "xyz"]


async def test_who_crashed_is_made_anew_and_its_mailbox_stays(autojump_clock: MockClock) -> None:
    async with lone_node() as node:
        box = await node.supervised(AT_ONCE).spawn("box", Box, "mine")
        await box.tell(Box.keep, "gone")
        await box.tell(Box.crash)
        await box.tell(Box.keep, "x")
        with structlog.testing.capture_logs() as logs:
            assert await box.ask(Box.all) == ["x"]
        assert instance_of(node, "box").label == "mine"
        [line] = logs
        assert line["event"] == "actor crashed, and is started again"
        assert line["actor"] == "a/box"
        assert isinstance(line["exc_info"], ZeroDivisionError)
        await wait_all_tasks_blocked()
        assert rests(node, "box")


async def test_a_class_may_keep_its_state(autojump_clock: MockClock) -> None:
    async with lone_node() as node:
        box = await node.supervised(AT_ONCE).spawn("box", Keeping)
        await box.ask(Box.keep, "x")
        await crash(box)
        assert await box.ask(Box.all) == ["x"]


async def test_a_restart_leaves_the_lifespan_and_enters_it_again(log: list[str], autojump_clock: MockClock) -> None:
    async with lone_node() as node:
        box = await node.supervised(AT_ONCE).spawn("box", Lively, "x")
        await crash(box)
        assert log == ["+x", "-x", "+x"]


async def test_a_restart_waits_twice_as_long_each_time(autojump_clock: MockClock) -> None:
    async with lone_node() as node:
        policy = Supervision(restarts_max=4, period=1_000, backoff_min=1, backoff_max=3)
        box = await node.supervised(policy).spawn("box", Box)
        pauses: list[float] = []
        for _ in range(4):
            await crash(box)
            began = trio.current_time()
            await box.ask(Box.all)
            pauses.append(round(trio.current_time() - began, 3))
        assert pauses == [1, 2, 3, 3]


async def test_one_restart_too_many_escalates(autojump_clock: MockClock) -> None:
    crashes = 0

    async def crash_on(node: Node) -> None:
        nonlocal crashes
        policy = Supervision(restarts_max=2, period=60, backoff_min=0)
        box = await node.supervised(policy).spawn("box", Box)
        for seconds in (0, 40, 40, 1):
            await trio.sleep(seconds)
            await crash(box)
            crashes += 1

    group = await closing(crash_on)
    assert [type(error) for error in group.exceptions] == [ZeroDivisionError]
    assert crashes == 3  # and cancelled in the fourth


async def test_a_start_anew_that_fails_counts_as_a_crash(log: list[str], autojump_clock: MockClock) -> None:
    async def crash_on(node: Node) -> None:
        box = await node.supervised(Supervision(restarts_max=3)).spawn("box", Lively, "x")
        Lively.fragile.add("x")
        await crash(box)

    group = await closing(crash_on)
    assert [type(error) for error in group.exceptions] == [OSError]
    assert log == ["+x", "-x"]


class Stillborn(Box):
    tried = 0

    @asynccontextmanager
    async def lifespan(self) -> AsyncGenerator[None]:
        Stillborn.tried += 1
        raise OSError("it cannot be entered")
        yield


async def test_a_first_start_that_fails_is_the_matter_of_who_spawned_it(autojump_clock: MockClock) -> None:
    async with lone_node() as node:
        Stillborn.tried = 0
        with pytest.raises(OSError, match="it cannot be entered"):
            await node.supervised(AT_ONCE).spawn("box", Stillborn)
        assert Stillborn.tried == 1
        assert node.actor_statistics().actors == 0


async def test_a_start_anew_that_fails_is_tried_again(log: list[str], autojump_clock: MockClock) -> None:
    async with lone_node() as node:
        box = await node.supervised(Supervision(backoff_min=1)).spawn("box", Lively, "x")
        Lively.fragile.add("x")
        await crash(box)
        await trio.sleep(1.5)
        Lively.fragile.clear()
        assert await box.ask(Box.keep, "x") == 1
        assert log == ["+x", "-x", "+x"]


@pytest.mark.parametrize(
    ("strategy", "expected"),
    [
        ("one-for-one", ["-y", "+y"]),
        ("rest-for-one", ["-y", "-z", "+y", "+z"]),
        ("one-for-all", ["-y", "-z", "-x", "+x", "+y", "+z"]),
    ],
)
async def test_who_is_started_again_with_it(
    strategy: str, expected: list[str], log: list[str], autojump_clock: MockClock
) -> None:
    """They leave in the opposite order of their spawning, after the one that crashed, and come back in it."""
    async with lone_node() as node:
        boxes = await three(node.supervised(Supervision(strategy, backoff_min=1)))  # type: ignore[arg-type]
        bystander = await node.spawn("bystander", Box)
        await bystander.ask(Box.keep, "x")
        for box in boxes:
            await box.ask(Box.keep, "old")
        log.clear()
        await crash(boxes[1])
        for box in boxes:
            await box.ask(Box.keep, "new")
        assert log == expected
        kept = [await box.ask(Box.all) for box in boxes]
        assert [kept[at] for at, name in enumerate("xyz") if f"+{name}" in expected] == [["new"]] * (len(expected) // 2)
        assert await bystander.ask(Box.all) == ["x"]


async def test_siblings_that_rest_are_made_anew_too(autojump_clock: MockClock) -> None:
    async with lone_node() as node:
        team = node.supervised(Supervision("one-for-all", backoff_min=0))
        one, other = await team.spawn("one", Box), await team.spawn("other", Box)
        await other.ask(Box.keep, "old")
        assert rests(node, "other")
        await crash(one)
        assert await other.ask(Box.all) == []


async def test_what_a_sibling_is_at_is_broken_off_and_its_asker_told(autojump_clock: MockClock) -> None:
    async with lone_node() as node:
        team = node.supervised(Supervision("one-for-all", backoff_min=0))
        one, other = await team.spawn("one", Box), await team.spawn("other", Box)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(crash_after, 1, one)
            with pytest.raises(OutcomeUnknown, match=r"a/other was ended while it handled Box.hold"):
                await other.ask(Box.hold)
        assert await other.ask(Box.keep, "x") == 1


async def crash_after(seconds: float, box: ActorRef[Box]) -> None:
    await trio.sleep(seconds)
    await crash(box)


async def test_two_that_crash_at_once_are_seen_to_once(log: list[str], autojump_clock: MockClock) -> None:
    async with lone_node() as node:
        boxes = await three(node.supervised(Supervision("one-for-all", backoff_min=1, backoff_max=1)))
        log.clear()
        for box in boxes[:2]:
            await box.tell(Box.crash)
        for box in boxes:
            assert await box.ask(Box.keep, "new") == 1
        await trio.sleep(10)
        assert sorted(log[:3]) == ["-x", "-y", "-z"]
        assert log[3:] == ["+x", "+y", "+z"]


async def test_another_team_is_not_concerned(log: list[str], autojump_clock: MockClock) -> None:
    async with lone_node() as node:
        policy = Supervision("one-for-all", backoff_min=0)
        one = await node.supervised(policy).spawn("x", Lively, "x")
        await node.supervised(policy).spawn("y", Lively, "y")
        log.clear()
        await crash(one)
        assert log == ["-x", "+x"]


async def test_it_may_be_stopped_instead(autojump_clock: MockClock) -> None:
    async with lone_node() as node, trio.open_nursery() as nursery:
        box = await node.supervised(Supervision(on_crash="stop")).spawn("box", Box)
        ends: list[End] = []

        async def watch() -> None:
            ends.append(await box.watch())

        nursery.start_soon(watch)
        await wait_all_tasks_blocked()
        with structlog.testing.capture_logs() as logs:
            await crash(box)
        assert ends == [End("a/box", "crashed")]
        assert [line["event"] for line in logs] == ["actor crashed, and is not started again"]
        assert node.actor_statistics().actors == 0


async def test_it_may_escalate(autojump_clock: MockClock) -> None:
    async def crash_one(node: Node) -> None:
        await crash(await node.supervised(Supervision(on_crash="escalate")).spawn("box", Box))

    assert [type(error) for error in (await closing(crash_one)).exceptions] == [ZeroDivisionError]


@pytest.mark.parametrize("way", ["ask", "tell"])
async def test_a_broken_invariant_is_never_restarted(way: str, log: list[str], autojump_clock: MockClock) -> None:
    async def violate(node: Node) -> None:
        box = await node.supervised(AT_ONCE).spawn("x", Lively, "x")
        await getattr(box, way)(Lively.violate)

    group = await closing(violate)
    matched, other = group.split(InvariantViolation)
    assert matched is not None
    assert other is None
    assert log == ["+x", "-x"]


class Manager(Actor):
    """A parent whose children are supervised."""

    @asynccontextmanager
    async def lifespan(self) -> AsyncGenerator[None]:
        self.made = Lively.log
        self.worker = await self.context.supervised(Supervision(restarts_max=1, backoff_min=0)).spawn(
            "worker", Lively, "worker"
        )
        self.made.append("+manager")
        try:
            yield
        finally:
            self.made.append("-manager")

    @query
    def hand(self) -> Ref[Box]:
        return self.worker


async def test_a_crash_goes_up_until_somebody_sees_to_it(log: list[str], autojump_clock: MockClock) -> None:
    async with lone_node() as node:
        manager = await node.supervised(AT_ONCE).spawn("manager", Manager)
        worker = await manager.ask(Manager.hand)
        assert isinstance(worker, ActorRef)
        assert str(worker) == "a/manager/worker"
        await crash(worker)
        assert log == ["+worker", "+manager", "-worker", "+worker"]
        log.clear()
        await crash(worker)  # one too many for the manager, which crashes with it, and both are made anew
        assert await worker.ask(Box.keep, "x") == 1
        assert log == ["-worker", "-manager", "+worker", "+manager"]


class Mother(Box):
    @command
    async def raise_child(self) -> Ref[Box]:
        return await self.context.spawn("child", Box)


async def test_children_that_rest_end_with_the_life_of_their_parent(autojump_clock: MockClock) -> None:
    async with lone_node() as node:
        mother = await node.supervised(AT_ONCE).spawn("mother", Mother)
        for _ in range(2):
            child = await mother.ask(Mother.raise_child)
            assert await child.ask(Box.keep, "x") == 1
            await crash(mother)
            assert isinstance(child, ActorRef)
            assert await child.watch() == End("a/mother/child", "missing")


async def test_children_end_with_the_life_of_their_parent_whatever_they_are_at(autojump_clock: MockClock) -> None:
    for moments in range(30):
        async with lone_node() as node:
            mother = await node.supervised(AT_ONCE).spawn("mother", Mother)
            child = await mother.ask(Mother.raise_child)
            await mother.tell(Box.crash)
            for _ in range(moments % 6):
                await trio.lowlevel.checkpoint()
            await child.tell(Box.keep, "x")
            await wait_all_tasks_blocked()
            assert await mother.ask(Box.keep, "x") == 1
            assert node.actor_statistics().actors == 1


async def test_a_member_may_be_stopped_or_killed_between_two_lives(autojump_clock: MockClock) -> None:
    async with lone_node() as node:
        team = node.supervised(Supervision("one-for-all", backoff_min=5))
        boxes = [await team.spawn(name, Box) for name in "xyz"]
        await crash(boxes[0])
        await boxes[2].kill()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(boxes[0].stop)
            nursery.start_soon(boxes[1].tell, Box.keep, "x")
            await wait_all_tasks_blocked()
            assert node.actor_statistics().actors == 1
        assert await boxes[1].ask(Box.all) == ["x"]
        assert node.actor_statistics().actors == 1


@pytest.mark.parametrize("kind", [Box, Lively])
async def test_a_stop_between_two_lives_waits_for_the_next_only_if_that_has_something_to_do(
    kind: type[Box], autojump_clock: MockClock
) -> None:
    async with lone_node() as node:
        team = node.supervised(Supervision("one-for-all", backoff_min=5, backoff_max=5))
        boxes = [await team.spawn(name, kind) for name in "xyz"]
        began = trio.current_time()
        await crash(boxes[0])
        await boxes[2].tell(Box.keep, "x")
        for box in boxes[:2]:
            assert (await watched_while_stopped(box)).how == "stopped"
        assert trio.current_time() - began < 1
        await boxes[2].stop()
        assert trio.current_time() - began > 4
        assert node.actor_statistics() == ActorStatistics()


async def watched_while_stopped(box: ActorRef[Box]) -> End:
    ends: list[End] = []

    async def watch() -> None:
        ends.append(await box.watch())

    async with trio.open_nursery() as nursery:
        nursery.start_soon(watch)
        await wait_all_tasks_blocked()
        await box.stop()
    return ends[0]


async def test_who_asks_a_member_between_two_lives_waits_for_the_next(autojump_clock: MockClock) -> None:
    async with lone_node() as node:
        team = node.supervised(Supervision("one-for-all", backoff_min=5))
        one, other = await team.spawn("one", Box), await team.spawn("other", Box)
        await other.ask(Box.keep, "old")
        await crash(one)
        began = trio.current_time()
        assert await other.ask(Box.keep, "new") == 1
        assert trio.current_time() - began > 4


@pytest.mark.parametrize("kind", [Box, Lively])
async def test_a_member_can_be_suspended_at_any_moment(kind: type[Box], autojump_clock: MockClock) -> None:
    for moments in range(20):
        async with lone_node() as node:
            box = await node.supervised(AT_ONCE).spawn("box", kind)
            cell = node._cells.get("box")
            assert cell is not None
            await box.tell(Box.keep, "old")
            for _ in range(moments):
                await trio.lowlevel.checkpoint()
            with trio.fail_after(1):
                await cell.suspend()
            assert cell.is_suspended
            await cell.resume()
            assert await box.ask(Box.keep, "new") in (1, 2)


class Failing(Box):
    """Cannot be left in peace."""

    left = 0

    @asynccontextmanager
    async def lifespan(self) -> AsyncGenerator[None]:
        try:
            yield
        finally:
            Failing.left += 1
            raise OSError("it cannot be left")


@pytest.mark.parametrize("way", ["stop", "kill"])
async def test_who_crashes_at_its_end_is_not_started_again_for_it(way: str, autojump_clock: MockClock) -> None:
    async with lone_node() as node, trio.open_nursery() as nursery:
        Failing.left = 0
        box = await node.supervised(AT_ONCE).spawn("box", Failing)
        ends: list[End] = []

        async def watch() -> None:
            ends.append(await box.watch())

        nursery.start_soon(watch)
        if way == "kill":
            await box.tell(Box.hold)
            await box.tell(Box.later, 1, "never")
        await wait_all_tasks_blocked()
        with structlog.testing.capture_logs() as logs:
            await getattr(box, way)()
        await wait_all_tasks_blocked()
        lost = ["dead letter"] if way == "kill" else []
        assert [line["event"] for line in logs] == [*lost, "actor crashed, and is not started again"]
        assert Failing.left == 1
        assert ends == [End("a/box", "crashed")]


async def test_who_crashes_at_its_end_without_a_policy_crashes(autojump_clock: MockClock) -> None:
    async def stop(node: Node) -> None:
        await (await node.spawn("box", Failing)).stop()

    assert [type(error) for error in (await closing(stop)).exceptions] == [OSError]


async def test_a_child_that_crashes_while_its_parent_is_killed_is_told_of(autojump_clock: MockClock) -> None:
    class Doomed(Box):
        @command
        async def raise_child(self) -> None:
            await self.context.supervised(AT_ONCE).spawn("child", Failing)

    async def kill(node: Node) -> None:
        doomed = await node.spawn("doomed", Doomed)
        await doomed.ask(Doomed.raise_child)
        await doomed.kill()

    matched, other = (await closing(kill)).split(OSError)
    assert matched is not None
    assert other is None


async def test_a_crash_ends_what_the_actor_had_started(autojump_clock: MockClock) -> None:
    async with lone_node() as node:
        box = await node.supervised(AT_ONCE).spawn("box", Box)
        await box.ask(Box.later, 5, "late")
        await crash(box)
        await trio.sleep(10)
        assert await box.ask(Box.all) == []
