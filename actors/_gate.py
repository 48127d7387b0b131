"""What is sent leaves through here: no stamp before a mark at or above it is on disk (see `LamportClock`)."""

from __future__ import annotations

import errno
from pathlib import Path

import trio

from actors._identity import DataDirectoryError, Identity
from actors._log import Log
from actors._protocol.clock import COUNTER_BLOCK, LamportClock

RETRY_SECONDS = 1.0
"""Between two tries to keep a mark, while the disk has no room for it."""

_FULL = (errno.ENOSPC, errno.EDQUOT)
_log = Log("troupe.actors")


class Gate:
    """The one way out of a node, for all its connections. Nearly always open; shut while the disk is full.

    data: the directory that the marks are kept in, for people to read of it; None if nothing is kept.
    """

    def __init__(self, clock: LamportClock, identity: Identity, data: Path | None = None) -> None:
        self._clock = clock
        self._identity = identity
        self._data = data
        self._opening = trio.Lock()
        self._told = False

    @property
    def is_open(self) -> bool:
        """May what was stamped by now leave?"""
        return self._clock.counter <= self._clock.reserved

    async def open(self) -> None:
        """Make it so, however long the disk has no room: the old mark is whole then, and counts. Raises
        DataDirectoryError if the mark cannot be written for another reason, which stops the node: it may not say what
        it could forget."""
        async with self._opening:
            while not self.is_open:
                mark = self._clock.counter + COUNTER_BLOCK
                try:
                    await trio.to_thread.run_sync(self._identity.reserve, mark)
                except OSError as error:
                    if error.errno not in _FULL:
                        raise DataDirectoryError(
                            f"the file 'node' in {self._data} cannot be written ({error}), and without it this node "
                            "may not speak: see to that disk, and start the node again"
                        ) from error
                    self._tell(error)
                    await trio.sleep(RETRY_SECONDS)
                else:
                    self._clock.reserve(mark)
                    self._told = False

    def _tell(self, error: OSError) -> None:
        """Once until there is room again, however many tries it takes, and of whichever connection."""
        if not self._told:
            self._told = True
            what = "no room for the file 'node': nothing is sent until there is; make room on that disk"
            _log.warning(what, node=self._clock.node, data=str(self._data), reason=error.strerror)
