"""What the other tests rely on finds what it is for: two orders, a command twice, a lost answer, a stale read."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from pathlib import Path

import trio
import trio.testing
from deliveries import Deliveries
from load import Load, key_of
from noting import NOTE, WiredNetwork, named
from rig import open_rig, until
from store import Store
from wires import Wire, around, parted

from actors._protocol.address import parse_address
from broadcast import Consistency, GroupRef, connect
from broadcast._simulation.linearizability import check

SYNC_MS = 30_000  # what is acknowledged meanwhile did not wait for it
PATIENCE_SECONDS = 120


def note(index: int, value: int, epoch: int = 1) -> bytes:
    return NOTE.pack(epoch, index, named("write", ("key", value)))


def offered(*values: int) -> set[bytes]:
    return {named("write", ("key", value)) for value in values}


def test_what_is_the_same_as_far_as_it_goes_is_one_order() -> None:
    deliveries = Deliveries()
    deliveries.take("a", note(2, 1) + note(3, 2))
    deliveries.take("b", note(2, 1) + note(3, 2) + note(5, 3) + b"cut off by a kill"[:7])
    deliveries.take("a", b"")
    assert deliveries.wrongs == []
    assert deliveries.misfits(offered(1, 2, 3, 4), offered(1, 3)) == []


def test_another_command_at_one_place_is_found_also_if_that_life_is_over() -> None:
    deliveries = Deliveries()
    deliveries.take("a", note(2, 1) + note(3, 9))
    deliveries.take("b", note(2, 1) + note(3, 2) + note(4, 3))
    (told,) = deliveries.wrongs
    assert told.startswith("Not one order: b has delivered ")
    assert " and a " in told


def test_another_epoch_at_one_place_is_found() -> None:
    deliveries = Deliveries()
    deliveries.take("a", note(2, 1, epoch=1))
    deliveries.take("b", note(2, 1, epoch=2))
    assert len(deliveries.wrongs) == 1


def test_a_command_delivered_twice_is_found() -> None:
    deliveries = Deliveries()
    deliveries.take("a", note(2, 1) + note(3, 2) + note(4, 1))
    (told,) = deliveries.misfits(offered(1, 2), offered(1, 2))
    assert told.startswith("Delivered twice: ")
    assert told.endswith(" at 1.4.")


def test_what_was_answered_and_is_not_there_is_found_and_what_nobody_offered() -> None:
    deliveries = Deliveries()
    deliveries.take("a", note(2, 1) + note(3, 7))
    told = deliveries.misfits(offered(1, 2), offered(1, 2))
    assert [each.split(":")[0] for each in told] == ["Never offered", "Answered, and not delivered"]


def test_an_order_that_goes_back_is_found() -> None:
    deliveries = Deliveries()
    deliveries.take("a", note(3, 1) + note(3, 2) + note(4, 3, epoch=0))
    assert len(deliveries.misfits(offered(1, 2, 3), set())) == 2


async def test_a_wire_that_is_cut_again_at_once_lets_nothing_through(nursery: trio.Nursery) -> None:
    """Also not what has waited at it, although it was healed for a moment in between."""
    heard = bytearray()

    async def hear(stream: trio.SocketStream) -> None:
        async for chunk in stream:
            heard.extend(chunk)

    async def listening(handler: Callable[[trio.SocketStream], Awaitable[object]]) -> tuple[str, int]:
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
        nursery.start_soon(trio.serve_listeners, handler, listeners)
        host, port = listeners[0].socket.getsockname()
        return host, port

    host, port = await listening(hear)
    wire = Wire(f"{host}:{port}")
    async with await trio.open_tcp_stream(*await listening(wire.serve)) as stream:
        await stream.send_all(b"one")
        await until(lambda: heard == b"one")
        wire.cut()
        await stream.send_all(b", two")
        await trio.testing.wait_all_tasks_blocked(0.1)
        wire.heal()
        wire.cut()
        await trio.testing.wait_all_tasks_blocked(0.1)
        assert heard == b"one"
        wire.heal()
        await until(lambda: heard == b"one, two")
    nursery.cancel_scope.cancel()


async def written(load: Load, client: GroupRef[Store], answers: int) -> None:
    """Write until so many writes were answered: one that takes long has no known outcome."""
    while load.answered < answers:
        await load.write(client, "a client", "key", len(load.history) + 1)


async def test_a_read_that_misses_what_was_answered_is_found(library: Path, tmp_path: Path) -> None:
    """At the level LOCAL, of a member that hears nothing; the other level does not answer there."""
    async with open_rig("store:Store", library, tmp_path) as rig:
        await rig.start()
        load, alone = Load(rig, random.Random(1)), rig.followers[0]
        async with connect("group", Store, members=rig.addresses) as client:
            with parted(around(rig.wires, alone.name)), trio.fail_after(PATIENCE_SECONDS):
                await written(load, client, 1)
                before = len(load.history)
                await load.read_at(alone, "key")
                assert check(load.history, Store, key_of).linearizable
                assert len(load.history) == before
                await load.read_at(alone, "key", Consistency.LOCAL)
        verdict = check(load.history, Store, key_of)
        assert verdict.linearizable is False
        assert "= 0 from" in str(verdict)


async def test_a_replica_that_acknowledges_before_it_syncs_is_found(library: Path, tmp_path: Path) -> None:
    """A power cut of all takes what was answered a moment before."""
    async with open_rig("store:Store", library, tmp_path) as rig:
        for member in rig.members.values():
            member.environment = {"PLANTED": "acknowledge_before_sync"}
        await rig.start()
        load = Load(rig, random.Random(1))
        async with connect("group", Store, members=rig.addresses) as client:
            await written(load, client, 1)
            with ExitStack() as stack:
                for member in rig.members.values():
                    stack.enter_context(member.disk.going_wrong("slow-sync", SYNC_MS))
                await written(load, client, 2)
                await until(lambda: any(member.noted >= 2 for member in rig.members.values()))
                for member in rig.members.values():
                    member.process.kill()
            for member in rig.members.values():
                await member.process.wait_ended()
                member.disk.lose_power()
        await rig.start()
        (told,) = await rig.wrongs()
        assert told.endswith(" were delivered, and nobody has them any more.")
        assert await load.wrongs() != []


async def test_a_replica_dials_by_its_wires_also_where_it_heard_that_somebody_is() -> None:
    """Or it would find the way around a wire that is cut."""
    (there,), (wire,) = [await trio.open_tcp_listeners(0, host="127.0.0.1") for _ in range(2)]
    address, by = (f"127.0.0.1:{each.socket.getsockname()[1]}" for each in (there, wire))
    async with await WiredNetwork({address: by}).dial(parse_address(address)):
        with trio.fail_after(PATIENCE_SECONDS):
            await (await wire.accept()).aclose()
    await there.aclose()
    await wire.aclose()
