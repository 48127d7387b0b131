"""Which commands have a place in this epoch's log already: sent again, they need no other (rule 18).

Who has heard nothing for a while sends again all that is under way. Applied, a copy would change nothing; but a group
that is slow would make itself slower by writing what it has, again and again.
"""

from __future__ import annotations

from collections import OrderedDict

from broadcast._protocol.entries import Commands

SESSIONS_MAX = 10_000  # of which this is known, those heard of last; copies of the others' are given a place too


class Copies:
    """What one leader has put in its order, per session: the numbers since the last one that did not follow on.

    All of `first .. last` stand in the log in this order, so whatever a number in there came to when it was applied, a
    copy behind it comes to the same: it is answered already, or there was a gap before `first`. What closes such a gap
    does not follow on, so that what comes after it is put in the order once more.
    """

    __slots__ = ("_placed",)

    def __init__(self) -> None:
        self._placed = OrderedDict[int, tuple[int, int]]()  # session -> first and last number

    def is_copy(self, run: Commands) -> bool:
        """Has all of it a place? If not, it is given one now."""
        placed, end = self._placed, run.number + run.count
        first, last = placed.get(run.session, (0, 0))
        is_copy = first <= run.number and end <= last + 1
        if not is_copy:
            placed[run.session] = (first if first <= run.number <= last + 1 else run.number, end - 1)
        placed.move_to_end(run.session)
        if len(placed) > SESSIONS_MAX:
            placed.popitem(last=False)
        return is_copy
