"""A replicated group, as its users hold it."""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator, Generator, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Generic, TypeVar

from actors import Network, Node, Tls, open_node
from actors._actor import Actor
from actors._interface import Interface, Method
from actors._nursery import Lasting, open_background
from actors._protocol.address import check_name
from actors._ref import Ref
from broadcast._delivery import Deliveries
from broadcast._disks import disk_writer
from broadcast._door import Door
from broadcast._handle import Handle, Way
from broadcast._held import HeldDeliveries
from broadcast._joining import Role, check_joinable, check_members, names_of
from broadcast._pipeline import Pipeline
from broadcast._protocol.consistency import Consistency
from broadcast._protocol.entries import Submittable
from broadcast._protocol.position import INTEGER_MAX
from broadcast._protocol.queries import Query
from broadcast._protocol.visits import ReadAnswer, Status
from broadcast._reader import Reader
from broadcast._replica import ReplicaHost
from broadcast._sifting import sifted
from broadcast._status import status_of
from membership import Limits, Majority, Membership, QuorumSystem
from membership._protocol.formation import Plan

A = TypeVar("A", bound=Actor)
A_co = TypeVar("A_co", bound=Actor, covariant=True)


class GroupRef(Ref[A_co], Generic[A_co]):
    """A replicated actor: `ask`, `tell` and `pipeline`, all under one session.

    A command is applied once, whoever leads and however often it had to be sent. While there is no quorum `ask` waits;
    the caller's scope says for how long. A cancelled `ask` may still be applied.

    A message may have it where its annotation is a `Ref`: an actor on a node that takes part in the group gets that
    node's own handle of it.
    """

    def __init__(
        self, actor: type[A_co], handle: Handle, group: str, consistency: Consistency = Consistency.LINEARIZABLE
    ) -> None:
        super().__init__(actor)
        self._group = group
        self._handle = handle
        self._consistency = consistency
        self._actor = actor

    async def _ask(self, method: Method, args: tuple[object, ...], kwargs: Mapping[str, object]) -> object:
        return await self._handle.ask(method, args, kwargs, self._consistency)

    async def _tell(self, method: Method, args: tuple[object, ...], kwargs: Mapping[str, object]) -> None:
        await self._handle.tell(method, args, kwargs)

    def reading(self, consistency: Consistency) -> GroupRef[A_co]:
        """The same group and session, with queries answered at this level; commands are what they are.

        ValueError for `Consistency.LEASE` where the group has no leases; raised by `ask` if that is not known yet.
        """
        if not isinstance(consistency, Consistency):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise TypeError(f"a level is one of {', '.join(map(str, Consistency))}, not {consistency!r}")
        self._handle.check_level(consistency)
        return GroupRef(self._actor, self._handle, self._group, consistency)

    def to_text(self) -> str:
        return self._group

    def deliveries(self, from_index: int | None = None) -> Deliveries:
        """The total order itself: every command that was applied, from an index on, gap-free, and those to come.

        from_index: the first one that is held, unless given. The same sequence everywhere, and over all replicas that a
        client is linked to in the course of it. A slow consumer holds nobody up: it reads from the log at its own pace.
        Raises `Compacted`, which says where what is held begins, if that is beyond what is wanted next: never is
        anything left out. `Overloaded` if too many tasks of one client wait for some; TypeError where a client's class
        does not have the command that comes next.
        """
        if from_index is not None:
            if type(from_index) is not int:
                raise TypeError(f"deliveries begin at an index, which is an int, and not at {from_index!r}")
            if from_index > INTEGER_MAX:
                raise ValueError(f"deliveries begin at an index up to {INTEGER_MAX}, and not at {from_index}")
        return self._handle.order(from_index)

    def pipeline(self, *, window: int = 10_000) -> Pipeline[A_co]:
        """Many commands without a task each; see `Pipeline`."""
        return Pipeline(self._handle, self.interface, window)


class Group(GroupRef[A]):
    """A replica of a group in this process, and a handle of it."""

    def __init__(self, actor: type[A], handle: Handle, host: ReplicaHost[A]) -> None:
        super().__init__(actor, handle, host.plan.group)
        self._host = host

    @property
    def handle(self) -> Handle:
        """The session that this group's `ask` and `tell` speak under."""
        return self._handle

    @property
    def name(self) -> str:
        return self._host.plan.group

    @property
    def membership(self) -> Membership:
        """Who is in and who leads: `view`, `views()`, `wait_view(...)`."""
        return self._host.membership

    def status(self) -> Status:
        """What this replica knows now."""
        return status_of(self._host)

    def state(self) -> bytes:
        """This replica's actor, encoded: equal bytes on replicas that agree. Local, and as of the applied index."""
        return self._host.state()


class _LocalWay(Way):
    """From a handle to the replica in the same process, once its group has formed."""

    def __init__(self, handle: Handle, host: ReplicaHost[Any]) -> None:
        self._handle = handle
        self._host = host
        self._reader = Reader(host, handle.name, self._tell)
        host.watchers.append(self)

    # -- the way ---------------------------------------------------------------------------------------------------

    def submit(self, entries: Sequence[Submittable]) -> None:
        """The same class has packed them: what may not fit is what came with a version that is not in force yet."""
        machine = self._host.machine
        if machine is not None and not machine.understands_all:
            entries = [sifted(entry, machine) for entry in entries]
        self._host.submit(self._handle, entries)

    def read(self, queries: Sequence[Query]) -> None:
        self._reader.read(queries)

    def give_up(self, number: int) -> None:
        self._reader.give_up(number)

    def fruitless(self) -> None:
        """There is no other way."""

    def _tell(self, answers: Iterator[ReadAnswer]) -> None:
        for answer in answers:
            self._handle.answer(answer.number, answer.outcome)

    # -- of the replica (see `Watcher`) ----------------------------------------------------------------------------

    def formed(self) -> None:
        formation = self._host.replica.formation if self._host.replica else None
        if formation is not None:
            self._handle.take_way(self, formation.cluster, self._host.limits)

    def members_known(self) -> None:
        """Where it is, it stays."""

    def leader_known(self, leader: str | None) -> None:
        """What may be lost by it is told to the session's owner by the desk."""


@asynccontextmanager
async def join(
    node: Node,
    group: str,
    actor: type[A],
    *,
    members: Mapping[str, str] | None = None,
    role: Role = "voter",
    quorum: QuorumSystem = Majority(),  # noqa: B008 - an immutable value
    limits: Limits = Limits(),  # noqa: B008
    priority: int = 0,
) -> AsyncGenerator[Group[A]]:
    """Take part in a group, on a node that may take part in many.

    members: name -> address of all that form the group, this node included; unless given, this node and the peers that
    it was told of (`peers=`).
    Once the group has formed they are only addresses to try, and a node that is no member waits to be added.
    role: "observer" for a replica that is no part of forming and is added without being asked for, and without a vote:
    it delivers everything and answers queries. `quorum` and `limits` are the group's, not its own.
    priority: from -100 to 100, how much this replica should lead rather than others; a hint, and nothing more. Who has
    less than 0 stands later, who has more earlier; and in calm a leader hands over to a voter of higher priority.

    Returns once this replica listens, not once there is a quorum. Leaving waits for what was told, within the caller's
    scope, and hands over if this replica leads. `membership.MemberRemoved` ends it if it is removed, `Outdated` if the
    version of the class that is in force is later than that of `actor`, `WrongClass` if it is another class.
    """
    names = names_of(node, check_name(group), members)
    check_joinable(actor, names, role=role, quorum=quorum, limits=limits, priority=priority)
    for name, address in (members or {}).items():
        node.add_peer(name, address)
    interface, address = Interface.of(actor), str(node.address_of(node.name))
    plan = Plan(group, names, quorum, limits, address, role == "observer", priority)
    plan = replace(plan, version=interface.version, takes=dict(interface.takes), interface=interface.digest)
    host = ReplicaHost(node, await disk_writer(node), plan, actor, interface)
    door = Door(host)
    order = partial(HeldDeliveries, host)
    handle = Handle(group=group, owner=node.name, nonce=os.urandom(16), clock=node.clock, order=order)
    _LocalWay(handle, host)
    with _attached(host, door, handle):
        async with _running(host, door, handle):
            yield Group(actor, handle, host)


@contextmanager
def _attached(host: ReplicaHost[Any], door: Door, handle: Handle) -> Generator[None]:
    """The node knows the group, by the door for others and by the handle for its own; in the end all are closed."""
    node, group = host.node, host.plan.group
    node.attach(group, door)
    node.introduce(group, lambda kind: GroupRef(kind, handle, group))
    try:
        yield
    finally:
        handle.close()
        node.detach(group)
        node.forget_group(group)
        door.close()
        host.close()


@asynccontextmanager
async def _running(host: ReplicaHost[Any], door: Door, handle: Handle) -> AsyncGenerator[None]:
    """The replica is open and its tasks run, to the end of its goodbye: what was told goes out, and another leads."""
    async with open_background() as nursery:
        tasks = Lasting(nursery)
        await host.open(os.urandom(16))
        for task in (*host.tasks, door.feeder.run, handle.run):
            tasks.start_soon(task)
        try:
            yield
            await handle.drained()
        finally:
            try:
                await host.hand_over()
                await host.take_last_snapshot()
            finally:
                tasks.end()


@asynccontextmanager
async def open_group(
    name: str,
    actor: type[A],
    *,
    node: str,
    members: Mapping[str, str],
    data: str | os.PathLike[str] | None = "",
    listen: str | None = None,
    role: Role = "voter",
    quorum: QuorumSystem = Majority(),  # noqa: B008 - an immutable value
    limits: Limits = Limits(),  # noqa: B008
    priority: int = 0,
    tls: Tls | None = None,
    insecure: bool = False,
    trace: str | os.PathLike[str] | None = None,
    network: Network | None = None,
) -> AsyncGenerator[Group[A]]:
    """Be a replica of a group: one node, one group, one call.

    name: of the group. node: which of `members` (name -> "host:port") this process is.
    data: its directory; left out it is `troupe-data/<group>/<node>` under the current one. None keeps the replica in
    memory, for tests: after a restart it counts as one whose disk was wiped.
    listen: the address to bind, where it differs from the one that others know.
    role: "observer" for a replica without a vote; see `join`.
    quorum: what the members decide by, the same for all. ValueError if two of its quorums could miss each other.
    priority: how much this replica should lead rather than others; see `join`.
    tls: the certificates by which this node proves who it is, and lets others in.
    insecure: listen beyond loopback without them, where anybody in reach could act as a member.
    trace: the directory to note in what its node sends, receives and delivers (see `troupe trace`); unless given, what
    the environment variable TROUPE_TRACE names, if anything.
    network: what its node listens and dials on; TCP unless given.
    """
    check_name(name)
    check_members(members)
    if node not in members:
        raise ValueError(
            f"node={node!r} is not one of the members {', '.join(sorted(members))}: give its address in members=, or "
            "start this process under one of these names"
        )
    check_joinable(actor, sorted(members), role=role, quorum=quorum, limits=limits, priority=priority)
    directory = Path("troupe-data", name, node) if data == "" else data
    where = listen or members[node]
    opened = open_node(
        node, listen=where, peers=members, data=directory, tls=tls, insecure=insecure, trace=trace, network=network
    )
    async with (
        opened as it,
        join(it, name, actor, members=members, role=role, quorum=quorum, limits=limits, priority=priority) as group,
    ):
        yield group


class LocalGroup(GroupRef[A]):
    """A whole group in this process: a handle of it, and its replicas."""

    def __init__(self, actor: type[A], replicas: tuple[Group[A], ...]) -> None:
        super().__init__(actor, replicas[0].handle, replicas[0].name)
        self.replicas = replicas


@asynccontextmanager
async def local_group(
    actor: type[A],
    *,
    replicas: int = 3,
    name: str = "local",
    limits: Limits = Limits(),  # noqa: B008 - an immutable value
) -> AsyncGenerator[LocalGroup[A]]:
    """A whole group in this process, in memory, over loopback: for a first try and for tests."""
    if not 1 <= replicas <= 26:
        raise ValueError(f"replicas is between 1 and 26, not {replicas}")
    names = [chr(ord("a") + number) for number in range(replicas)]
    async with AsyncExitStack() as stack:
        nodes = [await stack.enter_async_context(open_node(each, listen="127.0.0.1:0", data=None)) for each in names]
        members = {node.name: str(node.address) for node in nodes}
        groups: list[Group[A]] = []
        for node in nodes:
            node.set_peers(members)
            joined = join(node, name, actor, members=members, limits=limits)
            groups.append(await stack.enter_async_context(joined))
        yield LocalGroup(actor, tuple(groups))
        for group in groups:  # while there is still a quorum to see to what was told
            await group.handle.drained()
