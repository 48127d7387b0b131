"""What became of the commands of a log (rule 9), in memory for each change from one outcome to another.

Not for each index: a few bytes can ask for many thousands of commands that all come to the same.
"""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Sequence
from itertools import pairwise

from actors._protocol.codec import DecodeError
from actors._protocol.errors import invariant
from broadcast._protocol.sessions import Outcome


class OutcomeRanges:
    """The outcome at each index: `APPLIED`, unless it was noted otherwise."""

    def __init__(self) -> None:
        self._firsts = array("q", [0])  # where a range of one outcome begins; the last one has no end
        self._outcomes = [Outcome.APPLIED]

    def __getitem__(self, index: int) -> Outcome:
        return self._outcomes[bisect_right(self._firsts, index) - 1]

    @property
    def end(self) -> int:
        """Nothing was noted from this index on."""
        return self._firsts[-1]

    def note(self, first: int, count: int, outcome: Outcome) -> None:
        """`count` commands from index `first` on, beyond all that were noted before, came to this."""
        invariant(first >= self._firsts[-1], "outcomes are noted in index order", first=first)
        if first == self._firsts[-1]:
            self._firsts.pop()
            self._outcomes.pop()
        if not self._outcomes or self._outcomes[-1] is not outcome:
            self._firsts.append(first)
            self._outcomes.append(outcome)
        self._firsts.append(first + count)
        self._outcomes.append(Outcome.APPLIED)

    def beyond(self, index: int) -> OutcomeRanges:
        """Those of the indices beyond this one; of the others nothing is known."""
        kept, at = OutcomeRanges(), bisect_right(self._firsts, index) - 1
        kept._firsts = array("q", [0, *self._firsts[at + 1 :]])
        kept._outcomes = self._outcomes[at:]
        if len(kept._firsts) > 1 and kept._firsts[1] == index + 1:
            del kept._firsts[1], kept._outcomes[0]
        return kept

    def written(self) -> list[object]:
        """For a snapshot; `read` is the reverse."""
        return [[*self._firsts], [*map(int, self._outcomes)]]

    @classmethod
    def read(cls, firsts: Sequence[int], outcomes: Sequence[Outcome]) -> OutcomeRanges:
        """Raises DecodeError for what is no such thing."""
        ordered = all(one < other for one, other in pairwise(firsts))
        if len(firsts) != len(outcomes) or [*firsts[:1]] != [0] or not ordered:
            raise DecodeError("outcomes without an order")
        ranges = cls()
        ranges._firsts, ranges._outcomes = array("q", firsts), [*outcomes]
        return ranges
