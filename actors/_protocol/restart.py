"""When an actor that crashed is started again, after which pause, and which of its siblings with it.

The rules are Erlang/OTP's (supervisor behaviour: intensity, period and strategies).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Literal, TypeAlias, TypeVar

from actors._protocol.errors import invariant

Strategy: TypeAlias = Literal["one-for-one", "one-for-all", "rest-for-one"]

M = TypeVar("M")


class Restarts:
    """The restarts of one team: at most `count_max` in any `period` seconds, after pauses that double.

    A crash that comes when all restarts before it are further back than `period` begins anew, with `backoff_min`.
    """

    def __init__(self, count_max: int, period: float, backoff_min: float, backoff_max: float) -> None:
        self.count_max = count_max
        self.period = period
        self.backoff_min = backoff_min
        self.backoff_max = backoff_max
        self._recent: deque[float] = deque()

    def crashed(self, now: float) -> float | None:
        """A crash at `now`: the seconds to wait before the restart; None if it would be one too many."""
        recent = self._recent
        invariant(not recent or now >= recent[-1], "time does not go back", now=now)
        while recent and now - recent[0] >= self.period:
            recent.popleft()
        if len(recent) >= self.count_max:
            return None
        pause = self.backoff_min
        for _ in recent:
            pause = min(2 * pause, self.backoff_max)
        recent.append(now)
        return min(pause, self.backoff_max)


def affected(strategy: Strategy, members: Sequence[M], crashed: M) -> Sequence[M]:
    """Who is started again when `crashed` has: of all members, in the order in which they were first started."""
    at = members.index(crashed)
    match strategy:
        case "one-for-one":
            return members[at : at + 1]
        case "rest-for-one":
            return members[at:]
        case "one-for-all":
            return members
