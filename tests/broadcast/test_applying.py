"""Large batches, and slow commands: a replica applies them bit by bit, and is there for others in between."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import accumulate

import pytest
import trio

from actors import Actor, command, query
from broadcast import Consistency, Group, _applying, local_group
from broadcast._applying import Applier

SECONDS_MAX = 30  # of a test
COUNT = 60


class Slow(Actor):
    """Its commands are seen while they run."""

    turn = 0
    turns: tuple[int, ...] = ()

    def __init__(self) -> None:
        self.done = 0

    @command
    def work(self) -> int:
        Slow.turns += (Slow.turn,)
        self.done += 1
        return self.done

    @query
    def so_far(self) -> int:
        return self.done


@pytest.fixture(autouse=True)
def turns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Slow, "turn", 0)
    monkeypatch.setattr(Slow, "turns", ())


async def count_turns() -> None:
    while True:
        await trio.lowlevel.checkpoint()
        Slow.turn += 1


async def work(group: Group[Slow]) -> None:
    """All at once."""
    async with group.pipeline(window=COUNT) as pipeline:
        for _ in range(COUNT):
            await pipeline.send(Slow.work)
        assert [(await anext(pipeline)).value for _ in range(COUNT)] == list(range(1, COUNT + 1))


def boundaries(group: Group[Slow]) -> list[int]:
    """How many commands were done at the end of each batch."""
    replica = group._host.replica  # pyright: ignore[reportPrivateUsage]
    assert replica is not None

    def counts() -> Iterator[int]:
        for batch in replica.log.between(0, replica.log.last.index):
            yield sum(1 for _ in group._host.machine.deliveries(batch))  # type: ignore[union-attr]  # pyright: ignore

    return list(accumulate(counts(), initial=0))


async def test_others_have_a_turn_between_the_commands_of_a_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_applying, "APPLYING_SECONDS_MAX", 0)
    with trio.fail_after(SECONDS_MAX):
        async with local_group(Slow, replicas=1) as local, trio.open_nursery() as nursery:
            nursery.start_soon(count_turns)
            await work(local.replicas[0])
            nursery.cancel_scope.cancel()
            batches = len(set(boundaries(local.replicas[0])))
    assert batches < COUNT // 3
    assert len(set(Slow.turns)) > COUNT // 2


async def test_nobody_sees_a_batch_half_applied(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_applying, "APPLYING_SECONDS_MAX", 0)
    waited, seen = 0, set[int]()
    between = Applier[Slow].between

    def counted(self: Applier[Slow], then: object) -> None:
        nonlocal waited
        waited += not self.is_between
        between(self, then)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]

    async def look(group: Group[Slow], consistency: Consistency) -> None:
        while True:
            seen.add(await group.reading(consistency).ask(Slow.so_far))

    monkeypatch.setattr(Applier, "between", counted)
    with trio.fail_after(SECONDS_MAX):
        async with local_group(Slow, replicas=1) as local, trio.open_nursery() as nursery:
            group = local.replicas[0]
            for consistency in (Consistency.LOCAL, Consistency.LINEARIZABLE, Consistency.SESSION):
                nursery.start_soon(look, group, consistency)
            await work(group)
            nursery.cancel_scope.cancel()
            ends = boundaries(group)
    assert waited > 0, "somebody came while a batch was half applied"
    assert seen <= set(ends)


async def test_what_is_encoded_is_the_state_at_the_end_of_a_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_applying, "APPLYING_SECONDS_MAX", 0)
    found = 0
    with trio.fail_after(SECONDS_MAX):
        async with local_group(Slow, replicas=1) as local, trio.open_nursery() as nursery:
            group = local.replicas[0]
            applier = group._host._applier  # pyright: ignore[reportPrivateUsage]
            nursery.start_soon(work, group)
            while not found:
                await trio.lowlevel.checkpoint()
                if not applier.is_between:
                    group.state()
                    assert applier.is_between
                    found = applier.machine.actor.done if applier.machine is not None else 0
            ends = boundaries(group)
    assert found in ends


async def test_slow_commands_are_no_reason_to_elect() -> None:
    """Three replicas in one process take two seconds for what comes in a few batches."""

    class Slower(Slow):
        @command
        def toil(self) -> None:
            until = trio.current_time() + 0.002
            while trio.current_time() < until:
                pass

    with trio.fail_after(SECONDS_MAX):
        async with local_group(Slower) as local:
            group = local.replicas[0]
            await group.ask(Slower.toil)
            epoch = group.status().epoch
            async with group.pipeline(window=300) as pipeline:
                for _ in range(300):
                    await pipeline.send(Slower.toil)
                for _ in range(300):
                    await anext(pipeline)
            assert [replica.status().epoch for replica in local.replicas] == [epoch] * 3
