"""A delivered order, summed up so that two can be compared, and their differences told in words.

Everything here is a pure function of what it is given.
"""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence

import msgspec

from actors import Actor
from actors._plain import encode_plain, to_plain
from broadcast import Delivery

ENDS = 3  # entries that a report shows of the order's beginning and of its end
TEXT_LENGTH_MAX = 200  # characters of an entry that are shown


class Placed(msgspec.Struct, frozen=True):
    """One command at its place in the order. text: its arguments, for people."""

    epoch: int
    index: int
    text: str


class Report(msgspec.Struct, frozen=True):
    """A whole delivered order, and the state that it led to.

    who: a replica's name. count: of commands. calls: digest of all commands, in their order.
    order: digest of all commands, each with its position. state: digest of the actor's state.
    first, last: the ends of the order. order is None for a client, who is told no positions.
    """

    who: str
    count: int
    calls: str
    order: str | None
    state: str
    first: tuple[Placed, ...] = ()
    last: tuple[Placed, ...] = ()


def digest_of(data: bytes) -> str:
    """A short digest, for people to compare."""
    return hashlib.sha256(data).hexdigest()[:16]


def calls_digest(calls: Iterable[tuple[str, tuple[object, ...]]]) -> str:
    """Digest of commands (tag, arguments), in their order: what `Report.calls` is."""
    running = hashlib.sha256()
    for tag, arguments in calls:
        running.update(_encode(tag, *arguments))
    return running.hexdigest()[:16]


def state_digest(actor: Actor) -> str:
    """Digest of an actor's state: what `Report.state` is of a replica whose actor is like this one."""
    return digest_of(encode_plain(to_plain(vars(actor), type(actor).__name__)))


class Order:
    """Sums up an order while it is delivered."""

    def __init__(self) -> None:
        self.count = 0
        self._calls = hashlib.sha256()
        self._order = hashlib.sha256()
        self._first: list[Placed] = []
        self._last: deque[Placed] = deque(maxlen=ENDS)

    def add(self, delivery: Delivery) -> None:
        """The next command of the order."""
        at = delivery.position
        self.count += 1
        self._calls.update(_encode(delivery.tag, *delivery.arguments))
        self._order.update(_encode(at.epoch, at.index, delivery.tag, *delivery.arguments))
        text = ", ".join(map(str, delivery.arguments))[:TEXT_LENGTH_MAX]
        placed = Placed(at.epoch, at.index, text)
        if len(self._first) < ENDS:
            self._first.append(placed)
        self._last.append(placed)

    def report(self, who: str, state: bytes) -> Report:
        """The sum of what was delivered so far."""
        calls, order = self._calls.hexdigest()[:16], self._order.hexdigest()[:16]
        return Report(who, self.count, calls, order, digest_of(state), tuple(self._first), tuple(self._last))


def _encode(*parts: object) -> bytes:
    return encode_plain(to_plain(list(parts), "a command"))


# -- comparing -------------------------------------------------------------------------------------------------------

Aspect = Callable[[Report], int | str | None]

ASPECTS: tuple[tuple[str, Aspect], ...] = (
    ("lines", lambda report: report.count),
    ("lines, in order", lambda report: report.calls),
    ("with positions", lambda report: report.order),
    ("final state", lambda report: report.state),
)
"""What is compared, and under which name it is shown. None is not compared."""


def differences(reports: Sequence[Report]) -> list[str]:
    """What is not the same everywhere, a sentence each; none if all is well.

    An empty order is a difference: it proves nothing.
    """
    if len(reports) < 2:
        return ["There is nothing to compare."]
    empty = [f"{report.who} has delivered nothing at all." for report in reports if report.count == 0]
    return empty + [sentence for name, aspect in ASPECTS for sentence in _differing(name, aspect, reports)]


def _differing(name: str, aspect: Aspect, reports: Sequence[Report]) -> Iterator[str]:
    holders: dict[int | str, list[str]] = {}
    for report in reports:
        value = aspect(report)
        if value is not None:
            holders.setdefault(value, []).append(report.who)
    if len(holders) > 1:
        told = "; ".join(f"{', '.join(who)}: {_shown(value)}" for value, who in holders.items())
        yield f"Not the same ({name}): {told}."


def table(reports: Sequence[Report]) -> list[str]:
    """The aspects side by side, a column each; 80 characters wide for up to four."""
    rows = [("", *(report.who for report in reports))]
    rows += [(name, *(_shown(aspect(report)) for report in reports)) for name, aspect in ASPECTS]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def ends(report: Report, width: int = 80) -> list[str]:
    """The beginning and the end of an order, a line each."""
    middle = [placed for placed in report.last if placed not in report.first]
    left_out = report.count - len(report.first) - len(middle)
    shown = [_line(placed, width) for placed in report.first]
    shown += [f"{'':>10}  ... {left_out:,} more ..."] if left_out else []
    return shown + [_line(placed, width) for placed in middle]


def _line(placed: Placed, width: int) -> str:
    line = f"{placed.epoch:>4}.{placed.index:<6} {placed.text}".expandtabs(4)
    line = "".join(character if character.isprintable() else "?" for character in line)
    return line if len(line) <= width else line[: width - 3] + "..."


def counted(count: int, what: str) -> str:
    """A number and what it counts: "1 line", "2,000 lines"."""
    return f"{count:,} {what}" if count == 1 else f"{count:,} {what}s"


def _shown(value: int | str | None) -> str:
    match value:
        case None:
            return "-"
        case int():
            return f"{value:,}"
        case str():
            return value[:12]
