"""What a replica hands out of the total order to its clients: a piece at a time, each client in its turn (rule 9).

One task does it. After each piece it rests for as long as that took: so nobody who follows holds up the group, however
far behind, and however many they are; and all of them together have half of the time at most.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import trio

from actors._nursery import open_background
from broadcast._held import first_held, piece
from broadcast._protocol.following import Follow, Piece, Turns, Unfollow, Unheld
from broadcast._replica import ReplicaHost

Tell = Callable[["Piece | Unheld"], object]
"""Tells a client. What finds no room is asked for again."""


class Feeder:
    """All that clients wait for at one replica, by how each is told."""

    def __init__(self, host: ReplicaHost[Any]) -> None:
        self._host = host
        self._turns = Turns[Tell]()
        self._wake = trio.Event()

    def asked(self, tell: Tell, message: Follow | Unfollow) -> None:
        """A client says so."""
        if isinstance(message, Unfollow):
            self._turns.withdraw(tell, message.slot)
            return
        self._turns.ask(tell, message.slot, message.index)
        self._wake.set()

    def leave(self, tell: Tell) -> None:
        """That client is gone."""
        self._turns.leave(tell)

    async def run(self) -> None:
        """Until cancelled."""
        async with open_background() as nursery:
            nursery.start_soon(self._watch)
            while True:
                await self._wake.wait()
                self._wake = trio.Event()
                began = trio.current_time()
                while self._tell_next():
                    await trio.sleep(trio.current_time() - began)
                    began = trio.current_time()

    async def _watch(self) -> None:
        while True:
            await self._host.progressed.park()
            self._turns.progressed()
            self._wake.set()

    def _tell_next(self) -> bool:
        """Is there anybody whose turn it is? A replica that has stopped vouches for nothing, and is left soon."""
        machine, replica = self._host.machine, self._host.replica
        if machine is None or replica is None or self._host.stopped:
            return False
        first = first_held(machine, replica.log)
        asked = self._turns.next(first, machine.applied)
        if asked is None:
            return False
        if 0 < asked.index < first:
            asked.who(Unheld(asked.slot, asked.index, first))
        else:
            commands, following = piece(machine, replica.log, asked.index or first)
            asked.who(Piece(asked.slot, asked.index, commands, following))
        return True
