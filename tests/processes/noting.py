"""A replica in a process of its own that notes what it delivers, and answers reads: `python -m noting SETTINGS`.

Beside what `broadcast.cli.replica` does. In the environment:

    NOTES     the file that gets a note of each delivery, in order, also where a kill follows
    READS     where a socket listens: a line (level, method, arguments) as JSON is answered by one (answer), a
              change of members ("membership", method, arguments, seconds) by the voters of then, or by why not, and
              ("status", "", ()) by what the replica knows
    WIRES     a JSON object: where to dial instead of at an address
    PLANTED   names of bugs to run with, from `planted.py`
    INSECURE  listen beyond loopback
"""

from __future__ import annotations

import json
import os
import struct
from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from hashlib import blake2b
from typing import Any, NamedTuple

import msgspec
import trio

from actors import Actor, Address, Listener, Network, _tcp
from actors._plain import encode_plain, to_plain
from actors._protocol.address import parse_address
from broadcast import Consistency, Delivery, Group, GroupClosed, open_group
from broadcast.cli import replica
from broadcast.cli._order import Order
from membership import ChangeRefused, ChangeUnknown, MemberRemoved

NOTE = struct.Struct(">IQ8s")
MEMBERSHIP, STATUS = "membership", "status"
REFUSED: Mapping[str, type[Exception]] = {
    each.__name__: each for each in (ChangeRefused, ChangeUnknown, trio.TooSlowError)
}
"""What a change may come to besides its voters."""


class Note(NamedTuple):
    """A delivery: where in the order, and what."""

    epoch: int
    index: int
    command: bytes

    def __str__(self) -> str:
        return f"{self.command.hex()} at {self.epoch}.{self.index}"


def named(tag: str, arguments: tuple[object, ...]) -> bytes:
    """What a command is known by in notes."""
    return blake2b(encode_plain(to_plain([tag, *arguments], "a command")), digest_size=8).digest()


def read_notes(notes: bytes) -> Iterator[Note]:
    """The last may be cut off by a kill."""
    whole = len(notes) - len(notes) % NOTE.size
    return (Note(*note) for note in NOTE.iter_unpack(notes[:whole]))


class _NotedOrder(Order):
    def __init__(self) -> None:
        super().__init__()
        self._file = os.open(os.environ["NOTES"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def add(self, delivery: Delivery) -> None:
        at = delivery.position
        os.write(self._file, NOTE.pack(at.epoch, at.index, named(delivery.tag, delivery.arguments)))
        super().add(delivery)


class WiredNetwork(Network):
    """TCP, that dials elsewhere where a wire leads to an address: also if a group says that somebody is there."""

    def __init__(self, wires: Mapping[str, str]) -> None:
        self._wires = wires

    async def listen(self, address: Address, *, insecure: bool) -> Sequence[Listener]:
        return await _tcp.listen(address, insecure=insecure)

    async def dial(self, address: Address) -> trio.abc.Stream:
        return await _tcp.dial(parse_address(self._wires.get(str(address), str(address))))


class _Reads:
    """Answers reads here, at this replica, whoever leads; and takes wishes for other members."""

    def __init__(self, group: Group[Actor], actor: type[Actor]) -> None:
        self._group = group
        self._actor = actor

    async def serve(self, stream: trio.SocketStream) -> None:
        """One connection; one read at a time."""
        buffer = b""
        try:
            async with stream:
                while chunk := await stream.receive_some():
                    *lines, buffer = (buffer + chunk).split(b"\n")
                    for line in lines:
                        await stream.send_all(json.dumps(await self._answer(*json.loads(line))).encode() + b"\n")
        except (trio.BrokenResourceError, GroupClosed, MemberRemoved):
            pass

    async def _answer(self, level: str, method: str, arguments: list[Any], seconds: float = 0.0) -> object:
        if level == STATUS:
            return msgspec.structs.asdict(self._group.status())
        if level != MEMBERSHIP:
            return await self._read(level, method, arguments)
        membership = self._group.membership
        try:
            with trio.fail_after(seconds):
                return (await getattr(membership, method)(*arguments)).voters
        except tuple(REFUSED.values()) as error:
            return {type(error).__name__: str(error) or membership.why}

    async def _read(self, level: str, method: str, arguments: list[Any]) -> object:
        return await self._group.reading(Consistency(level)).ask(getattr(self._actor, method), *arguments)


@asynccontextmanager
async def _open_group(name: str, actor: type[Actor], **settings: Any) -> AsyncGenerator[Group[Actor]]:
    network, insecure = WiredNetwork(json.loads(os.environ["WIRES"])), "INSECURE" in os.environ
    opened = open_group(name, actor, **settings, network=network, insecure=insecure)
    async with opened as group, trio.open_nursery() as nursery:
        with trio.socket.socket(trio.socket.AF_UNIX) as listening:
            await listening.bind(os.environ["READS"])
            listening.listen()
            nursery.start_soon(trio.serve_listeners, _Reads(group, actor).serve, [trio.SocketListener(listening)])
            yield group
            nursery.cancel_scope.cancel()


def main() -> None:
    """The process: as `broadcast.cli.replica` has it, with these in the places of its own."""
    import planted

    for bug in os.environ.get("PLANTED", "").split():
        planted.PLANTS[bug]()
    replica.Order = _NotedOrder  # type: ignore[misc]
    replica.open_group = _open_group  # type: ignore[assignment]
    replica.main()


if __name__ == "__main__":
    main()
