"""Read index: how a read that writes nothing is linearizable (rule 20; Ongaro 2014, 6.4).

The leader remembers the commit index, proves by a round of heartbeats that began after the read arrived that it still
leads, and only then names that index. One round serves all reads that wait for it, and a round's number is never used
again, so that no old answer can confirm a new read.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from membership._protocol.view import Configuration


@dataclass(slots=True)
class Round:
    """One round of heartbeats, and the reads that it will vouch for."""

    number: int
    index: int
    reads: dict[str, int]
    confirmed: dict[str, None] = field(default_factory=dict[str, None])


class ReadRounds:
    """The leader's part: which reads wait for which round.

    A read is (who asks, its number there). A replica asks one thing at a time: of its numbers only the newest counts.
    """

    def __init__(self, leader: str) -> None:
        self._leader = leader
        self._waiting: dict[str, int] = {}
        self._rounds: deque[Round] = deque()
        self._number = 0

    @property
    def wants_round(self) -> bool:
        """Should a round begin now, without waiting for the next heartbeat? Only if none is under way."""
        return bool(self._waiting) and not self._rounds

    @property
    def number(self) -> int:
        """The number of the newest round."""
        return self._number

    def ask(self, asker: str, number: int) -> None:
        self._waiting[asker] = max(number, self._waiting.get(asker, 0))

    def begin(self, commit: int | None) -> int:
        """A round of heartbeats leaves now; returns its number. Without a `commit` that is known, reads wait on."""
        self._number += 1
        if self._waiting and commit is not None:
            self._rounds.append(Round(self._number, commit, self._waiting))
            self._waiting = {}
        return self._number

    def confirm(self, name: str, number: int) -> None:
        """A voter answered the round `number`, and so every earlier one too."""
        for waiting in self._rounds:
            if waiting.number > number:
                break
            waiting.confirmed[name] = None

    def retract(self, name: str) -> None:
        """What it confirmed, and is still waited for, counts no more."""
        for waiting in self._rounds:
            waiting.confirmed.pop(name, None)

    def take_confirmed(self, configuration: Configuration) -> list[tuple[str, int, int]]:
        """Reads that are vouched for: (asker, number, index)."""
        ready: list[tuple[str, int, int]] = []
        while self._rounds and configuration.commits(frozenset(self._rounds[0].confirmed) | {self._leader}):
            done = self._rounds.popleft()
            ready.extend((asker, number, done.index) for asker, number in done.reads.items())
        return ready


class Reads:
    """A replica's part: from a reader's token to the moment when the state here is fresh enough.

    Tokens that arrive while a request to the leader is under way wait for the next one. A request is repeated under a
    new number when it stays unanswered, and when the leader changes.
    """

    def __init__(self) -> None:
        self._waiting: dict[int, None] = {}
        self._asked: dict[int, None] = {}
        self._number = 0
        self._asked_at = 0
        self._fresh: dict[int, int] = {}  # token -> index to be applied
        self._least = 0  # no index in there is less

    def wait(self, token: int) -> None:
        """Until the leader has named an index, and that is applied."""
        self._waiting[token] = None

    def wait_for(self, token: int, index: int) -> None:
        """Until this index is applied: the reader knows, or the leader is here and holds a lease."""
        self._least = min(index, self._least) if self._fresh else index
        self._fresh[token] = index

    def give_up(self, token: int) -> None:
        self._waiting.pop(token, None)
        self._asked.pop(token, None)
        self._fresh.pop(token, None)

    @property
    def wants_request(self) -> bool:
        """Is there something to ask, and nothing under way?"""
        return bool(self._waiting) and not self._asked

    def request(self, number: int, now: int) -> None:
        """Ask the leader for all that wait, under a number that was never used before, over restarts too."""
        self._number = number
        self._asked, self._waiting = self._waiting, {}
        self._asked_at = now

    def overdue_at(self, patience: int) -> int | None:
        """When the request under way should be given up as lost."""
        return self._asked_at + patience if self._asked else None

    def lose(self) -> None:
        """The request under way will not be answered: ask again, under a new number."""
        self._waiting = {**self._asked, **self._waiting}
        self._asked = {}

    def answered(self, number: int, index: int) -> None:
        """The leader names the index for the request `number`; answers to others are old."""
        if number == self._number and self._asked:
            for token in self._asked:
                self.wait_for(token, index)
            self._asked = {}

    def take_ready(self, applied: int) -> list[int]:
        """The tokens whose index is applied."""
        if applied < self._least:  # what somebody has seen elsewhere may take long to come
            return []
        ready = [token for token, index in self._fresh.items() if index <= applied]
        for token in ready:
            del self._fresh[token]
        self._least = min(self._fresh.values(), default=0)
        return ready
