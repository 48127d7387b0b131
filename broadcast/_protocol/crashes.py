"""What undoing costs, and who pays it (rule 24).

A command that crashes, or leaves more behind than there is room for, is undone on every replica, and all who wait for
them pay. So each session has a budget: so many undos at once, and one more after each while. Where it is spent, methods
of which it had something undone are not run for it; its other ones are, and so is what others send. Who goes on asking
for crashes is slowed to one in each while, and refused in between, which costs next to nothing.

What the actor left for itself has nobody who could be refused: it was promised to run (rule 21). So it waits, in its
order, until its kind is run again (`effects`).

The group has such a budget too, for all of them together: a bug is rarely met by one client alone. One session, and
two, come to the end of their own first.

All of it follows from the log, and time is log time. (A leaky bucket: Turner 1986.)
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypeAlias

from broadcast._protocol.position import Natural
from membership._protocol.view import Limits

GROUP = 2
"""As many times what one session may have undone at once, all may together."""


@dataclass(slots=True)
class Undos:
    """What was undone for one session, or for all.

    paid_at: log time at which all of it is paid for, one undo in each interval. tags: of the methods it was, in the
    order in which they came; those from before a time when all was paid for are forgotten.
    """

    paid_at: int = 0
    tags: list[str] = field(default_factory=list[str])

    def wait(self, tag: str, time: int, limits: Limits, times: int = 1) -> int:
        """For how long a command with this tag is not run, in microseconds of log time; 0 if it is.

        times: as often as a session's, the budget is.
        """
        return max(0, self.free_at(tag, limits, times) - time)

    def free_at(self, tag: str, limits: Limits, times: int = 1) -> int:
        """Log time from which on a command with this tag is run; 0 if it is always, as far as is known yet."""
        if tag not in self.tags:
            return 0
        return max(0, self.paid_at - (times * limits.undos_max - 1) * limits.undo_interval)

    def undone(self, tag: str, time: int, limits: Limits) -> None:
        """A command with this tag was run at log time `time`, and had to be undone."""
        if self.paid_at <= time:
            self.paid_at = time
            self.tags.clear()
        self.paid_at += limits.undo_interval
        if tag not in self.tags:
            self.tags.append(tag)

    # -- in a snapshot ---------------------------------------------------------------------------------------------

    def written(self) -> list[object]:
        return [self.paid_at, self.tags]

    @classmethod
    def read(cls, parts: UndosWritten) -> Undos:
        return cls(*parts)


UndosWritten: TypeAlias = tuple[Natural, list[str]]
"""What `Undos.written` gives."""
