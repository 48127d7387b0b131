"""The queries of one asker at this replica: from their arrival until the state here is fresh enough (rule 20)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any

from broadcast._protocol.queries import Query
from broadcast._protocol.visits import ReadAnswer
from broadcast._replica import ReplicaHost

Tell = Callable[[Iterator[ReadAnswer]], None]
"""Gets answers, each of which is found when it is taken. What is not taken is as if it had never been asked."""


class _Waiting:
    """Queries that wait for one freshness."""

    def __init__(self) -> None:
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
        new = [query for query in queries if query.number not in self._queries]
        for query in new:
            self._queries[query.number] = query
            self.size += query.size
        local = [query.number for query in new if query.local]
        if local:
            self._answer(local)
        waiting = _Waiting()
        for query in new:
            if not query.local:
                waiting.numbers[query.number] = None
                self._waiting[query.number] = waiting
        if waiting.numbers:
            token = self._host.freshen(partial(self._fresh, waiting))
            if waiting.numbers:
                waiting.token = token

    def give_up(self, number: int) -> None:
        """Nobody waits for it any more."""
        self._forget(number)

    def leave(self) -> None:
        """Nobody waits for anything any more."""
        for number in list(self._queries):
            self._forget(number)

    def _fresh(self, waiting: _Waiting) -> None:
        waiting.token = None
        self._answer(list(waiting.numbers))

    def _answer(self, numbers: Iterable[int]) -> None:
        if not self._host.stopped:  # else this replica has no state that it could vouch for
            self._tell(self._answers(numbers))
        for number in numbers:
            self._forget(number)

    def _answers(self, numbers: Iterable[int]) -> Iterator[ReadAnswer]:
        for number in numbers:
            query = self._forget(number)
            if query is not None:
                yield ReadAnswer(number, self._host.query(query.call, self._name))

    def _forget(self, number: int) -> Query | None:
        query = self._queries.pop(number, None)
        if query is not None:
            self.size -= query.size
        waiting = self._waiting.pop(number, None)
        if waiting is not None:
            waiting.numbers.pop(number, None)
            if not waiting.numbers and waiting.token is not None:
                self._host.give_up(waiting.token)
                waiting.token = None
        return query
