"""Where an undo begins: the actor's state as it was a while ago, as bytes (rule 24).

That is the newest snapshot, so that of the log before it nothing is asked for; or what was kept since. A class whose
commands never crash pays nothing: only a crash opens the snapshot. From then on the state is kept in memory after an
undo, and when enough was applied since: each time after twice as much, until there is another undo. So who crashes
again and again runs at most two thirds of what came since once more, and who does not is soon left in peace. A large
state is kept by an undo alone, for nothing else is done meanwhile: later undos begin at the next snapshot. Where an
undo begins is no part of what replicas agree on: it comes to the same state wherever that is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from actors._actor import Actor
from broadcast._errors import CannotCapture
from broadcast._restoring import restore_state
from broadcast._state import encode_state

Load = Callable[[], Iterable[bytes]]
"""Gives the bytes of a snapshot, from their beginning."""

COUNT_MIN = 2**12
"""Commands to apply, at least, before the state is kept again."""
SIZE_PER_COMMAND = 32
"""Bytes of the state for which one command more is applied first, so that keeping never costs more than applying."""
KEPT_SIZE_MAX = 2**24
"""Bytes of a state that is kept though there was nothing to undo: no longer than an election can wait."""
NEVER = 2**63


class Base:
    """An actor's state. index: whose last entry it has seen. due: when to keep it again."""

    def __init__(self) -> None:
        self.index = 0
        self.due = NEVER
        self._size = 0
        self._unused = 0  # times that the state was kept since the last undo
        self._load: Load | None = None  # None: as it is made

    def move_to(self, actor: Actor) -> int:
        """Give the state to an instance that was just made; returns its index. Raises `CannotRestore`."""
        self._unused = 0
        if self._load is not None:
            restore_state(actor, self._load())
        return self.index

    def undone(self, actor: Actor, index: int) -> None:
        """An undo has come to `index`. Keep that, if running again what was run for it takes longer than keeping it."""
        if (index - self.index) * SIZE_PER_COMMAND >= self._size:
            self.take(actor, index)
        elif self.due == NEVER:
            self._wait()

    def take(self, actor: Actor, index: int) -> None:
        """Keep the state of `actor`, which is at `index`. If that cannot be done exactly, all stays as it is."""
        try:
            pieces = [*encode_state(actor)]
        except CannotCapture:
            self.due = index + (COUNT_MIN << self._unused)
            self._unused += 1
            return
        self.index, self._load, self._size = index, lambda: pieces, sum(map(len, pieces))
        self._wait()
        self._unused += 1

    def move(self, index: int, size: int, load: Load) -> None:
        """There is a snapshot at `index`, of `size` bytes: the log before it is going to go."""
        if index > self.index or self._load is None:
            self.index, self._load, self._size = index, load, size
            if self.due != NEVER:
                self._wait()

    def _wait(self) -> None:
        between = max(COUNT_MIN, self._size // SIZE_PER_COMMAND) << self._unused
        self.due = min(NEVER, self.index + between) if self._size <= KEPT_SIZE_MAX else NEVER
