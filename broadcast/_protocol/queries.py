"""The asker's side of reads: what is asked, and asked again until it is answered, and what was seen (rule 20).

A query changes nothing, so it may be asked as often as one likes; whoever answers takes the same number once at a time.
"""

from __future__ import annotations

import msgspec
from msgspec.structs import replace

from broadcast._protocol.consistency import Consistency
from broadcast._protocol.patience import Patience
from broadcast._protocol.position import Natural

UNDER_WAY_MAX = 10_000  # queries of one handle at a time
UNDER_WAY_SIZE_MAX = 16 * 1024 * 1024  # bytes of them; a single larger one may be under way alone


class Query(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """A query. `number`: of its asker's, never used again.

    consistency: how fresh the answer must be; one for the log is submitted, and no query here.
    seen: for SESSION, the index that its asker had seen when it asked.
    """

    number: Natural
    call: bytes
    consistency: Consistency
    seen: Natural = 0

    @property
    def size(self) -> int:
        """Bytes that count against limits."""
        return len(self.call) + 16


class Queries:
    """The queries of one handle. Pure: the caller sends what `take` returns, and calls `tick` at `deadline`."""

    def __init__(self) -> None:
        self.seen = 0
        """The highest index of a state that any answer to this handle, to a command or a query, was of."""
        self._cluster: bytes = b""  # that the index is one of
        self._open: dict[int, Query] = {}
        self._unsent: dict[int, Query] = {}
        self._size = 0
        self._number = 0
        self._patience = Patience()

    @property
    def outstanding(self) -> int:
        """Queries without an answer."""
        return len(self._open)

    @property
    def silences(self) -> int:
        """How often in a row nothing came of what was asked."""
        return self._patience.silences

    @property
    def deadline(self) -> int:
        """When `tick` is due."""
        return self._patience.until

    @property
    def room(self) -> int:
        """How many more may be asked, as far as their number goes; at least one has a chance."""
        return max(UNDER_WAY_MAX - len(self._open), 1)

    def has_room(self, call: bytes) -> bool:
        """May this be asked now?"""
        return not self._open or (len(self._open) < UNDER_WAY_MAX and self._size + len(call) + 16 <= UNDER_WAY_SIZE_MAX)

    def ask(self, call: bytes, consistency: Consistency) -> int:
        """Take a query in; returns its number."""
        self._number += 1
        query = Query(self._number, call, consistency, self.seen if consistency is Consistency.SESSION else 0)
        self._open[self._number] = self._unsent[self._number] = query
        self._size += query.size
        return self._number

    def give_up(self, number: int) -> bool:
        """Nobody waits for it any more. True if somebody may have to be told: it was sent."""
        sent = number not in self._unsent
        return self._forget(number) and sent

    def answered(self, number: int, now: int) -> bool:
        """Its answer came. False if nobody waits for it."""
        known = self._forget(number)
        if known:
            self._patience.heard()
            if len(self._unsent) < len(self._open):
                self._patience.begin(now)
        return known

    def saw(self, index: int) -> None:
        """Something was answered by a replica whose state was that of this index."""
        self.seen = max(self.seen, index)

    def enter(self, cluster: bytes) -> None:
        """There is a way, perhaps a new one: all is asked again.

        cluster: the id of the group that it leads to. If it is another than before (formed anew at the same addresses),
        what was seen of the old one says nothing.
        """
        if cluster != self._cluster:
            self._cluster, self.seen = cluster, 0
            self._open = {number: replace(query, seen=0) for number, query in self._open.items()}
        self._patience.heard()
        self._unsent = dict(self._open)

    def tick(self, now: int) -> None:
        """Time has passed."""
        if self._patience.ends(now):
            self._unsent = dict(self._open)

    def take(self, now: int) -> list[Query]:
        """What to send now."""
        queries = list(self._unsent.values())
        self._unsent.clear()
        if self._open:
            self._patience.begin(now)
        return queries

    def _forget(self, number: int) -> bool:
        query = self._open.pop(number, None)
        if query is None:
            return False
        self._unsent.pop(number, None)
        self._size -= query.size
        if not self._open:
            self._patience.rest()
        return True
