"""A chat room: what is typed at any member appears at all of them, in the same order, also for who joins late.

Run it in three terminals, as a, b and c. Type lines; end with Ctrl-D or Ctrl-C. Kill one: the other two go on.
"""

import sys
from collections.abc import AsyncIterator

import trio

from actors import Actor, DataDirectoryError, command
from broadcast import Group, open_group

PEERS = {"a": "127.0.0.1:7201", "b": "127.0.0.1:7202", "c": "127.0.0.1:7203"}


class Room(Actor):
    """Nothing needs to be kept: the order of deliveries is the conversation."""

    @command
    def say(self, who: str, line: str) -> None:
        """Say a line to all."""


async def show(room: Group[Room]) -> None:
    """Print the total order, from its beginning on."""
    async for said in room.deliveries():
        print(f"{said.position.index:>4}  {said.arguments[0]}: {said.arguments[1]}", flush=True)


async def typed() -> AsyncIterator[str]:
    """Lines of standard input; who waits for one can be interrupted."""
    while line := await trio.to_thread.run_sync(sys.stdin.readline, abandon_on_cancel=True):
        yield line.rstrip("\n")


async def main(who: str) -> None:
    async with (
        open_group("room", Room, node=who, members=PEERS, data=f"data/room/{who}") as room,
        trio.open_nursery() as nursery,
    ):
        print(f"You are {who}: type lines. Two of the three must be here, the first time all.", file=sys.stderr)
        nursery.start_soon(show, room)
        async for line in typed():
            await room.ask(Room.say, who, line)
        nursery.cancel_scope.cancel()


if __name__ == "__main__":
    if len(sys.argv) != 2 or sys.argv[1] not in PEERS:
        sys.exit(f"usage: {sys.argv[0]} {'|'.join(PEERS)}")
    try:
        trio.run(main, sys.argv[1])
    except* (OSError, DataDirectoryError) as wrong:
        sys.exit(str(wrong.exceptions[0]))
    except* KeyboardInterrupt:
        print("bye", file=sys.stderr)
