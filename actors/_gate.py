"""What is sent leaves through here: no stamp before a mark at or above it is on disk (see `LamportClock`)."""

from __future__ import annotations

import trio

from actors._identity import Identity
from actors._protocol.clock import COUNTER_BLOCK, LamportClock


class Gate:
    """The one way out of a node, for all its connections. Nearly always open."""

    def __init__(self, clock: LamportClock, identity: Identity) -> None:
        self._clock = clock
        self._identity = identity
        self._opening = trio.Lock()

    @property
    def is_open(self) -> bool:
        """May what was stamped by now leave?"""
        return self._clock.counter <= self._clock.reserved

    async def open(self) -> None:
        """Make it so. Raises OSError if the mark cannot be written, which stops the node: it may not say what it could
        forget."""
        async with self._opening:
            if not self.is_open:
                mark = self._clock.counter + COUNTER_BLOCK
                await trio.to_thread.run_sync(self._identity.reserve, mark)
                self._clock.reserve(mark)
