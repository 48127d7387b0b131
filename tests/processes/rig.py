"""A group of real processes under test: each with its disk, its links and all that it ever delivered.

async with open_rig("store:Store", library, tmp_path) as rig:
    await rig.start()
    rig.wires[...].cut()
    rig["a"].disk ...
    await rig.enlist("d")           # of open_rig(..., later="d")
    await rig["a"].change("add", "d", rig.addresses["d"])
    assert await rig.wrongs() == []
"""

from __future__ import annotations

import json
import sys
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import cast

import msgspec
import trio
from deliveries import Deliveries
from disks import Disk
from noting import MEMBERSHIP, NOTE, REFUSED, STATUS
from wires import Wires, open_wires

from actors import Network
from broadcast.cli._order import differences
from broadcast.cli._process import ReplicaEnded, ReplicaProcess, newest_view, open_replicas

GROUP = "group"
LEVEL_SECONDS_MAX = 180.0  # within which all have formed, or delivered the same once nothing strikes any more
ENDED_SECONDS_MAX = 180.0  # within which a process has ended that cannot go on
STATUS_SECONDS = 5.0  # within which a process says what it knows, or says nothing
NOTED_SECONDS_MAX = 5.0  # within which what was applied is delivered too
PATIENCE_SECONDS_MAX = 180.0  # for what must come in the end, however busy the machine is


class Member:
    """One replica over all its lives. environment: variables of its next life, besides those of disk and notes."""

    def __init__(
        self, process: ReplicaProcess, disk: Disk, deliveries: Deliveries, wires: Mapping[str, str] | None = None
    ) -> None:
        """wires: where it dials instead of at an address."""
        self.process = process
        self.disk = disk
        self.sync_ms = 0
        """How long a sync takes, in the lives that begin from now on."""
        self.lying = False
        """Its syncs do nothing, in the lives that begin from now on."""
        self.environment: Mapping[str, str] = {}
        self._deliveries = deliveries
        self._wires = wires or {}
        self._notes = disk.data.with_suffix(".notes")
        self._reads = disk.data.with_suffix(".reads")
        process.command = (sys.executable, "-m", "noting")

    @property
    def name(self) -> str:
        return self.process.name

    def anew(self, data: Path) -> Member:
        """The same name and the same place, with nothing of what it was."""
        return Member(self.process, Disk(self.disk.library, data), self._deliveries, self._wires)

    async def start(self) -> None:
        """Begin a life, and wait until it listens. Raises ReplicaEnded."""
        self.take_notes()
        self._reads.unlink(missing_ok=True)
        self.process.environment = {
            **self.disk.environment(lie=self.lying, sync_ms=self.sync_ms),
            "NOTES": str(self._notes),
            "READS": str(self._reads),
            "WIRES": json.dumps(self._wires),
            **self.environment,
        }
        await self.process.start()

    async def kill(self) -> None:
        """SIGKILL; returns once it is gone."""
        self.process.kill()
        await self.process.wait_ended()

    async def wait_ended(self) -> str:
        """Wait until the process has ended by itself; returns why, in its words."""
        with trio.fail_after(ENDED_SECONDS_MAX):
            await self.process.wait_ended()
        return self.process.ended or ""

    async def refusal(self) -> str | None:
        """Start it; returns why it does not come to that, and None if it does; then it is killed again."""
        try:
            await self.start()
        except ReplicaEnded as ended:
            await self.wait_ended()
            return str(ended)
        await self.kill()
        return None

    async def read(self, level: str, method: str, *arguments: object) -> object:
        """Ask this replica, and no other. Raises OSError or trio.BrokenResourceError if it is not there, or goes."""
        return await self._say(level, method, arguments)

    async def change(self, method: str, *arguments: object, within: float = PATIENCE_SECONDS_MAX) -> list[str]:
        """Ask it for a change of members; returns the names of the voters of after.

        Raises ChangeRefused, ChangeUnknown; trio.TooSlowError, with what it waited for; what `read` raises.
        """
        match await self._say(MEMBERSHIP, method, arguments, within):
            case dict() as refusal:
                ((kind, why),) = refusal.items()
                raise REFUSED[kind](why)
            case voters:
                return cast(list[str], voters)

    async def voters(self, within: float = PATIENCE_SECONDS_MAX) -> list[str]:
        """By the newest view here. Raises what `change` raises."""
        return await self.change("wait_view", within=within)

    async def _say(self, *asked: object) -> object:
        async with await trio.open_unix_socket(str(self._reads)) as stream:
            await stream.send_all(json.dumps(asked).encode() + b"\n")
            answer = b""
            while not answer.endswith(b"\n"):
                chunk = await stream.receive_some()
                if not chunk:
                    raise trio.BrokenResourceError(f"{self.name} has gone")
                answer += chunk
        return json.loads(answer)

    @property
    def noted(self) -> int:
        """How many deliveries it has noted in its present life, or its last."""
        return self._notes.stat().st_size // NOTE.size

    def take_notes(self) -> None:
        """What it has delivered in its last life, or so far in this one."""
        if self._notes.exists():
            self._deliveries.take(self.name, self._notes.read_bytes())
            if self.process.pid is None:
                self._notes.unlink()


class Rig:
    """A group. directory: of all files. addresses: of the members, and of who may come to be one, for clients.
    wires: what they hear each other by.
    """

    def __init__(self, directory: Path, members: dict[str, Member], addresses: Mapping[str, str], wires: Wires) -> None:
        self.directory = directory
        self.members = members
        self.addresses = addresses
        self.wires = wires
        self.spare: dict[str, Callable[[Path], Member]] = {}
        """Names that nobody bears now: given an empty data directory, each becomes somebody."""
        self._directories = 0
        self.network: Network | None = None
        """What clients in this process dial on; None: what everybody does."""
        self.deliveries = Deliveries()

    def __getitem__(self, name: str) -> Member:
        return self.members[name]

    @property
    def epoch(self) -> int:
        """Of the newest view that anybody told of."""
        return newest_view(member.process for member in self.members.values()).epoch

    @property
    def leader(self) -> Member | None:
        """Who led in the newest view that anybody told of; None if nobody has."""
        return self.members.get(newest_view(member.process for member in self.members.values()).leader)

    @property
    def followers(self) -> list[Member]:
        leader = self.leader
        return [member for member in self.members.values() if member is not leader]

    async def start(self) -> None:
        """Start those that do not run, and wait until a view has begun at each."""
        with trio.fail_after(LEVEL_SECONDS_MAX):
            async with trio.open_nursery() as nursery:
                for member in self.members.values():
                    if member.process.pid is None:
                        nursery.start_soon(_start, member)

    async def enlist(self, name: str, told: Iterable[str] = ()) -> Member:
        """Start one that was spare, with an empty disk: somebody is to add it. told: of whom, if not of all."""
        make = self.spare.pop(name)
        self._directories += 1
        member = make(self.directory / f"{name}{self._directories}")
        member.sync_ms = max((each.sync_ms for each in self.members.values()), default=0)
        known = {each: self.addresses[each] for each in (*(told or self.members), name)}
        member.process.settings = msgspec.structs.replace(
            member.process.settings, members=known, data=str(member.disk.data)
        )
        self.members[name] = member
        await member.start()
        return member

    def dismiss(self, name: str) -> None:
        """It has ended, and is a member no more: what it delivered is kept, and the name is spare again."""
        member = self.members.pop(name)
        member.take_notes()
        self.spare[name] = member.anew

    async def statuses(self) -> str:
        """What each that runs knows, for people: a line each."""
        lines: list[str] = []
        for member in self.members.values():
            with trio.move_on_after(STATUS_SECONDS), suppress(OSError, trio.BrokenResourceError):
                lines.append(str(await member.read(STATUS, "")))
        return "\n".join(lines)

    async def wrongs(self) -> list[str]:
        """What is not the same at all members, once each has applied all that there is."""
        members = list(self.members.values())
        with trio.fail_after((1 + len(members)) * LEVEL_SECONDS_MAX):
            while not await self._is_level():  # noqa: ASYNC110 - what processes do wakes nobody here
                await trio.sleep(0.05)
            for member in members:
                member.take_notes()
            known = self.deliveries.count
            reports = [await each.process.report(delivered=known, within=NOTED_SECONDS_MAX) for each in members]
            most = max(report.count for report in reports)
            reports = [await each.process.report(delivered=most, within=LEVEL_SECONDS_MAX) for each in members]
        for member in members:
            member.take_notes()
        gone = self.deliveries.count - most
        lost = [f"{gone} commands were delivered, and nobody has them any more."] if gone > 0 else []
        return [*differences(reports), *self.deliveries.wrongs, *lost]

    async def _is_level(self) -> bool:
        """Has each member applied what anybody has? One that has just started may be far from it."""
        ends = set[tuple[int, ...]]()
        for member in self.members.values():
            try:
                with trio.fail_after(STATUS_SECONDS):
                    status = cast("dict[str, int]", await member.read(STATUS, ""))
            except (OSError, trio.BrokenResourceError, trio.TooSlowError):
                return False
            ends.add((status["applied"], status["commit"], status["last"]))
        return len(ends) == 1 and len(set(*ends)) == 1


async def _start(member: Member) -> None:
    await member.start()
    await member.process.wait_view()


async def until(condition: Callable[[], bool], within: float = PATIENCE_SECONDS_MAX) -> None:
    """Raises trio.TooSlowError."""
    with trio.fail_after(within):
        while not condition():  # noqa: ASYNC110 - what processes do wakes nobody here
            await trio.sleep(0.01)


def tell(text: str) -> None:
    """What `pytest -s` shows, and what a failure shows too."""
    print(text, file=sys.stderr, flush=True)


@asynccontextmanager
async def open_rig(
    actor: str,
    library: Path | None,
    directory: Path,
    names: Iterable[str] = "abc",
    *,
    later: Iterable[str] = "",
    wired: bool = True,
) -> AsyncGenerator[Rig]:
    """Members of a group of this actor ("module:Class"), none of them started yet.

    library: None if no disk is to go wrong. later: who may come to be a member, by `enlist`. wired: can links be cut?
    """
    names = list(names)
    async with AsyncExitStack() as stack:
        processes = await stack.enter_async_context(
            open_replicas(GROUP, dict.fromkeys([*names, *later], actor), directory)
        )
        addresses = next(iter(processes.values())).settings.members
        wires: Wires = {}
        dialed: dict[str, dict[str, str]] = {name: {} for name in addresses}
        if wired:
            wires, told = await stack.enter_async_context(open_wires(addresses))
            for name, places in told.items():
                dialed[name] = {addresses[other]: place for other, place in places.items() if other != name}
        rig = Rig(directory, {}, addresses, wires)
        for name, process in processes.items():
            member = Member(process, Disk(library, Path(process.settings.data)), rig.deliveries, dialed[name])
            if name in names:
                told_of = {each: addresses[each] for each in names}
                process.settings = msgspec.structs.replace(process.settings, members=told_of)
                rig.members[name] = member
            else:
                rig.spare[name] = member.anew
        yield rig
