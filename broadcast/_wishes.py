"""What this node wants of the leader of its group: said to the core, until it tells what the leader makes of it."""

from __future__ import annotations

from collections.abc import Callable

import trio

from actors._protocol.clock import LamportClock
from broadcast._protocol.output import Answered, Wanted
from membership._protocol.messages import Verdict, Wish


class _Waiting:
    """Somebody waits for what the leader makes of a wish."""

    def __init__(self) -> None:
        self.came = trio.Event()
        self.answer: tuple[Verdict, str] | None = None


class Wishes:
    """A `membership.Steward`. clock: gives each wish a number of its own. patience: microseconds, as of now."""

    def __init__(self, clock: LamportClock, give: Callable[[Wanted], None], patience: Callable[[], int]) -> None:
        self._clock = clock
        self._give = give
        self._patience = patience
        self._waiting: dict[int, _Waiting] = {}

    async def wish(self, wish: Wish) -> tuple[Verdict, str] | None:
        """What the leader makes of it, and why; None if no answer has come in time."""
        number, waiting = self._clock.tick(), _Waiting()
        self._waiting[number] = waiting
        try:
            self._give(Wanted(number, wish))
            with trio.move_on_after(self._patience() / 1_000_000):
                await waiting.came.wait()
        finally:
            del self._waiting[number]
        return waiting.answer

    def answered(self, answered: Answered) -> None:
        """The core tells. Who does not wait any more is told nothing."""
        waiting = self._waiting.get(answered.number)
        if waiting is not None:
            waiting.answer = answered.verdict, answered.why
            waiting.came.set()
