"""What this node has to say about others, in the log: they may give it cause as often as they like.

The first few lines of one kind about one address are said at once. What more there is within the same ten seconds is
said in one line when they are over: the last of it, and how many others it stands for. Whatever others do, a line stays
short, and what is kept of them, small.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import trio

from actors._log import Level, Log, shortened

LINES_MAX = 5
"""Lines of one kind about one address within a period, before the one at its end."""
PERIOD_SECONDS = 10.0
ADDRESSES_MAX = 20
"""Addresses that are told apart within a period: what all others give cause for is counted together."""

_log = Log("troupe.actors")


@dataclass(slots=True)
class _Period:
    """From the first line of a kind about an address on. last: the facts of the last line that was left out."""

    level: Level
    began: float
    said: int = 0
    left_out: int = 0
    last: Mapping[str, object] | None = None


class Complaints:
    """The lines of one node about others."""

    def __init__(self) -> None:
        self._periods: dict[tuple[str, str | None], _Period] = {}  # the eldest first

    def warning(self, event: str, about: str | None, **facts: object) -> None:
        """An operator should look at this, if not at each time that it happens.

        about: the address that gives cause; None if there is none.
        """
        self._complain("warning", event, about, facts)

    def error(self, event: str, about: str | None, **facts: object) -> None:
        """The same, where it shows a mistake of ours."""
        self._complain("error", event, about, facts)

    def _complain(self, level: Level, event: str, about: str | None, facts: Mapping[str, object]) -> None:
        key = event, about
        if key not in self._periods and len(self._periods) >= ADDRESSES_MAX:
            key = event, None
        period = self._periods.get(key)
        if period is None:
            period = self._periods[key] = _Period(level, trio.current_time())
        short = {name: shortened(fact) for name, fact in facts.items()}  # as it may have to be kept
        if period.said < LINES_MAX:
            period.said += 1
            getattr(_log, level)(event, **short)
        else:
            period.left_out += 1
            period.last = short

    def beat(self) -> None:
        """Once in a second: say what was left out, where a period is over."""
        now = trio.current_time()
        for key, period in list(self._periods.items()):
            if now - period.began < PERIOD_SECONDS:
                return
            del self._periods[key]
            if period.last is not None:
                getattr(_log, period.level)(key[0], **period.last, others=period.left_out - 1)
