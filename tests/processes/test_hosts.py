"""A group on hosts of its own, in network namespaces: packets late, lost, doubled, out of order, corrupted (T40, T27).

Where a machine does not allow namespaces the test says so and is skipped; the proxies of `wires.py` cut links anywhere.
"""

from __future__ import annotations

import os
import random
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import msgspec
import pytest
import trio
from disks import Disk
from hosts import CannotMakeHosts, Network, open_hosts, try_one
from load import Load, under_load
from rig import Member, Rig
from stalls import Machine

from broadcast.cli._process import open_replicas

pytestmark = pytest.mark.alone  # seconds are judged

NAMES = "abc"
CLIENTS = "clients"
PORT = 7000
ELECTION_TIMEOUT = 0.5
ROUGH_SECONDS = 20.0
ANSWERS = 20
ELECTIONS_MAX = 5
PAUSE_SECONDS = 0.3
SILENT_SECONDS = 6.0  # a link that says nothing for 4 is taken for dead: TCP itself would wait for longer and longer


@pytest.fixture(autouse=True)
def hosts_allowed() -> None:
    try:
        try_one()
    except CannotMakeHosts as error:
        pytest.skip(f"no hosts of our own on this machine: {error}")


@asynccontextmanager
async def hosted(at: Path) -> AsyncGenerator[tuple[Network, Rig]]:
    """Each member on a host of its own, and this process, for its clients, on another."""
    async with AsyncExitStack() as stack:
        network = await stack.enter_async_context(open_hosts([*NAMES, CLIENTS]))
        processes = await stack.enter_async_context(open_replicas("group", dict.fromkeys(NAMES, "store:Store"), at))
        addresses = {name: f"{network.addresses[name]}:{PORT}" for name in NAMES}
        rig = Rig(at, {}, addresses, {})
        for name, process in processes.items():
            process.settings = msgspec.structs.replace(process.settings, members=addresses)
            member = Member(process, Disk(None, Path(process.settings.data)), rig.deliveries)
            member.environment = {"INSECURE": "1"}
            process.command = (*network.command(name), *process.command)
            rig.members[name] = member
        rig.network = network.from_host(CLIENTS)
        await rig.start()
        yield network, rig


@asynccontextmanager
async def used(rig: Rig) -> AsyncGenerator[Load]:
    async with under_load(rig, random.Random(40), PAUSE_SECONDS) as load:
        yield load


async def test_what_is_run_beside_stays_where_it_was(tmp_path: Path) -> None:
    """Threads, for instance, that are used again by the next test, to start its processes."""
    here = os.readlink("/proc/self/ns/net")
    async with hosted(tmp_path) as (_, rig), used(rig) as load:
        await load.answers(1)
        assert await trio.to_thread.run_sync(os.readlink, "/proc/thread-self/ns/net") == here


async def test_a_group_gets_on_over_a_bad_network(tmp_path: Path, machine: Machine) -> None:
    """200 ms +- 100 of delay, 5 % lost, 2 % doubled, 10 % out of order, 2 % corrupted, 256 kbit/s, between members."""
    async with hosted(tmp_path) as (network, rig), used(rig) as load:
        lines = [network.line(one, other) for one in NAMES for other in NAMES if one != other]
        before, began = rig.epoch, trio.current_time()
        for line in lines:
            line.delay, line.jitter, line.rate = 0.2, 0.1, 256_000
            line.loss, line.duplicates, line.reordering, line.corruption = 0.05, 0.02, 0.1, 0.02
        with machine.limit(ROUGH_SECONDS):
            await load.answers(2 * ANSWERS, within=float("inf"))
        assert rig.epoch - before <= ELECTIONS_MAX + machine.stalls_since(began)
        for line in lines:
            line.clear()
        assert sum(line.lost for line in lines) > 0
        assert sum(line.corrupted for line in lines) > 0
        await load.answers(ANSWERS)


async def test_a_link_that_falls_silent_is_taken_for_dead(tmp_path: Path, machine: Machine) -> None:
    """Everything from and to the leader is lost, and nobody is told so: no reset, no refusal."""
    async with hosted(tmp_path) as (network, rig), used(rig) as load:
        leader, other = rig.leader, rig.followers[0]
        before = rig.epoch
        for line in network.lines(leader.name):
            line.loss = 1.0
        with machine.limit(5 * ELECTION_TIMEOUT):
            await other.process.wait_view(after_epoch=before)
        await trio.sleep(SILENT_SECONDS)
        await load.answers(ANSWERS)
        for line in network.lines(leader.name):
            line.clear()
        with machine.limit(SILENT_SECONDS):
            await leader.process.wait_view(after_epoch=before)
        await load.answers(ANSWERS)
