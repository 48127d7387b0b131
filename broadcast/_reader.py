"""The queries of one asker at this replica: from their arrival until the state here is fresh enough (rule 20)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import Any

from broadcast._protocol.consistency import Consistency
from broadcast._protocol.queries import Query
from broadcast._protocol.visits import ReadAnswer
from broadcast._replica import ReplicaHost

Tell = Callable[[Iterator[ReadAnswer]], None]
"""Gets answers, each of which is found when it is taken. What is not taken is as if it had never been asked."""


class _Waiting:
    """Queries that wait for one freshness."""

    def __init__(self, consistency: Consistency) -> None:
        self.consistency = consistency
        self.token: int | None = None
        self.numbers: dict[int, None] = {}


class Reader:
    """What one asker has under way here. outstanding, size: how much that is, in queries and bytes."""

    def __init__(self, host: ReplicaHost[Any], name: str, tell: Tell) -> None:
        self.size = 0
        self._host = host
        self._name = name
        self._tell = tell
        self._queries: dict[int, Query] = {}
        self._waiting: dict[int, _Waiting] = {}

    @property
    def outstanding(self) -> int:
        return len(self._queries)

    def read(self, queries: Iterable[Query]) -> None:
        """Run these in time. One that is under way already is not begun again."""
        new: dict[Consistency, list[Query]] = {}
        for query in queries:
            if query.number not in self._queries:
                self._queries[query.number] = query
                self.size += query.size
                new.setdefault(query.consistency, []).append(query)
        for consistency, asked in new.items():
            self._begin(consistency, asked)

    def give_up(self, number: int) -> None:
        """Nobody waits for it any more."""
        self._forget(number)

    def leave(self) -> None:
        """Nobody waits for anything any more."""
        for number in list(self._queries):
            self._forget(number)

    def _begin(self, consistency: Consistency, queries: Sequence[Query]) -> None:
        """Have these answered at this level; by a lease only if there is one here."""
        numbers = [query.number for query in queries]
        if consistency is Consistency.LOCAL:
            self._host.between(partial(self._answer, numbers))
            return
        if consistency is Consistency.LEASE and not self._host.holds_lease():
            consistency = Consistency.LINEARIZABLE
        waiting = _Waiting(consistency)
        waiting.numbers = dict.fromkeys(numbers)
        self._waiting.update(dict.fromkeys(numbers, waiting))
        seen = max((query.seen for query in queries), default=0)
        token = self._host.freshen(partial(self._fresh, waiting), consistency, seen)
        if waiting.numbers:
            waiting.token = token

    def _fresh(self, waiting: _Waiting) -> None:
        waiting.token = None
        self._answer(list(waiting.numbers), leased=waiting.consistency is Consistency.LEASE)

    def _answer(self, numbers: Sequence[int], *, leased: bool = False) -> None:
        if not self._host.stopped:  # else this replica has no state that it could vouch for
            self._tell(self._answers(numbers, leased=leased))
        left = [query for number in numbers if (query := self._queries.get(number)) is not None]
        if leased and not self._host.holds_lease():
            self._begin(Consistency.LINEARIZABLE, left)
        else:
            for query in left:
                self._forget(query.number)

    def _answers(self, numbers: Iterable[int], *, leased: bool) -> Iterator[ReadAnswer]:
        """leased: as long as the lease still holds when a query has run: the machine may have slept meanwhile."""
        for number in numbers:
            query = self._queries.get(number)
            if query is not None:
                outcome = self._host.query(query.call, self._name)
                if leased and not self._host.holds_lease():
                    return
                self._forget(number)
                yield ReadAnswer(number, outcome)

    def _forget(self, number: int) -> None:
        query = self._queries.pop(number, None)
        if query is not None:
            self.size -= query.size
        waiting = self._waiting.pop(number, None)
        if waiting is not None:
            waiting.numbers.pop(number, None)
            if not waiting.numbers and waiting.token is not None:
                self._host.give_up(waiting.token)
                waiting.token = None
