"""Who is silent for longer than the network explains: an accrual failure detector.

After Hayashibara, Défago, Yared and Katayama, "The phi accrual failure detector" (2004). It gives no verdict but a
level, suspicion: -log10 of the chance that a member which lives is silent for so long, here in thousandths (8000: one
in 10^8). What to do at which level is the owner's matter; `Detector.reachable` is what we do: it is told to users, and
never elects or removes anybody (elections use the timeout and the closed-connection hint, rule 5).

The chance is that of a Laplace distribution: beyond the mean interval, each mean deviation of silence makes it smaller
by the factor e. The paper takes the normal distribution, whose tail is so thin that a pause of a scheduler or a packet
sent again, which every network has now and then, is called impossible; the plain exponential distribution, which others
take, knows the pace and not how regular it is. This one has both, and needs no more than sums and a division of
integers: the same everywhere, and no float near what members agree on. (Its factor 1/2 is left out: a third of a phi.)
"""

from __future__ import annotations

from collections import deque

from actors._protocol.errors import invariant

WINDOW = 64
"""Intervals that the pace of a member is judged by."""
PER_DEVIATION = 434
"""Suspicion of one deviation of silence: 1000 log10(e)."""
THRESHOLD = 8_000
REGULARITY_MAX = 4
"""A pace is taken for no more regular than this: the deviation is at least the mean, divided by it."""
LOOKS_MAX = 2
"""Expected intervals between two looks, at most; a longer time in which nobody looked is not counted."""


class Detector:
    """What one member thinks of the others' silence. Times are in microseconds of one monotonic clock.

    expected_interval: between two messages of a member that has nothing else to say (heartbeats, or the answers to
        them). A member that says more, in bursts, is no more suspect when it then says only that.
    threshold: the suspicion from which on a member counts as silent.
    hold: a verdict on a member changes once the opposite has been true at every look for so long.

    Its owner looks, that is calls `heard` or `reachable`, at least once in an expected interval. When it does not, it
    was stopped itself or its machine stood still, and the others' messages wait unread: what passed beyond `LOOKS_MAX`
    intervals is nobody's silence.
    """

    def __init__(self, *, expected_interval: int, hold: int, now: int, threshold: int = THRESHOLD) -> None:
        self._expected = expected_interval
        self._hold = hold
        self._threshold = threshold
        self._looked = now
        self._time = 0  # as far as it is counted
        self._watched: dict[str, _Watched] = {}

    def watch(self, name: str, now: int, *, reachable: bool) -> None:
        """Expect to hear this member from now on, as if it were heard right now, or silent for as long as is suspect.

        reachable: which of the two: the verdict so far, of whoever judged before.
        """
        self._watched[name] = _Watched(self._look(now), self._expected, self._threshold, reachable=reachable)

    def forget(self, name: str) -> None:
        """Expect nothing of it any more; nothing is kept of it."""
        self._watched.pop(name, None)

    def heard(self, name: str, now: int) -> None:
        """Anything came from it. What comes from one that is not watched, or not any more, changes nothing."""
        time = self._look(now)
        watched = self._watched.get(name)
        if watched is not None:
            watched.heard(time)

    def suspicion(self, name: str, now: int) -> int:
        """Thousandths of phi, 0 or more; it only grows until the member is heard. Not a look.

        Raises KeyError for one that is not watched.
        """
        return self._watched[name].suspicion(self._counted(now))

    def reachable(self, now: int) -> tuple[str, ...]:
        """The members that are not silent, or have not been for long enough that it counts; sorted."""
        time = self._look(now)
        for watched in self._watched.values():
            watched.judge(time, self._hold)
        return tuple(sorted(name for name, watched in self._watched.items() if watched.reachable))

    def _look(self, now: int) -> int:
        self._time, self._looked = self._counted(now), now
        return self._time

    def _counted(self, now: int) -> int:
        invariant(now >= self._looked, "a monotonic clock does not go back", now=now, looked=self._looked)
        return self._time + min(now - self._looked, LOOKS_MAX * self._expected)


class _Watched:
    """One member. It begins with a window of made-up intervals: the expected pace, and quite irregular. Each real one
    takes the place of one of these, so that the first is judged calmly, and the first outage too."""

    def __init__(self, time: int, expected: int, threshold: int, *, reachable: bool) -> None:
        self.reachable = reachable
        self._expected = expected
        self._threshold = threshold
        self._arrived = False
        self._otherwise_since: int | None = None  # when it began to look otherwise than `reachable` says
        self._intervals = deque((expected // 2, expected + expected // 2) * (WINDOW // 2), maxlen=WINDOW)
        self._mean = self._deviation = 0
        self._measure()
        self._heard_at = time if reachable else time - self._suspect_after

    def suspicion(self, time: int) -> int:
        return max(0, PER_DEVIATION * (time - self._heard_at - self._mean) // self._deviation)

    def heard(self, time: int) -> None:
        """How short a silence can be says nothing about how long: of a burst, no interval counts.

        An outage is no pace: an interval counts up to where it was suspect, and no further. So one of them changes
        little, and a network that has become slow for good is learnt nevertheless, step by step.
        """
        interval = time - self._heard_at
        if self._arrived and interval >= self._expected // 2:
            self._intervals.append(min(interval, self._suspect_after))
            self._measure()
        self._arrived = True
        self._heard_at = time

    def judge(self, time: int, hold: int) -> None:
        if (self.suspicion(time) < self._threshold) is self.reachable:
            self._otherwise_since = None
            return
        if self._otherwise_since is None:
            self._otherwise_since = time
        if time - self._otherwise_since >= hold:
            self.reachable = not self.reachable
            self._otherwise_since = None

    @property
    def _suspect_after(self) -> int:
        """The shortest silence that reaches the threshold."""
        return self._mean - (-self._threshold * self._deviation // PER_DEVIATION)

    def _measure(self) -> None:
        """Mean, and mean deviation from it (the scale of Laplace's distribution), neither of them too small."""
        count = len(self._intervals)
        mean = sum(self._intervals) // count
        deviation = sum(abs(interval - mean) for interval in self._intervals) // count
        self._mean = max(mean, self._expected)
        self._deviation = max(deviation, self._mean // REGULARITY_MAX, 1)
