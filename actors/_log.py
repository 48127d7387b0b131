"""Where the library's log lines go. It never configures logging for its user.

A program that has configured structlog gets every line through that. Otherwise warnings and worse go to standard error,
a line each, and nothing else is said. structlog is left to who uses it: to import it, and what it finds to make lines
pretty, can take longer than all else of a start.

What others sent may be in a line, in the text of an exception too: whatever that is, the line stays short.

Standard error may take nothing: it is a file on a full disk, a pipe that nobody reads any more, or not there. A line
that cannot be said is lost; it ends nobody.
"""

from __future__ import annotations

import sys
import traceback
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Literal, TypeAlias

if TYPE_CHECKING:
    from structlog.typing import FilteringBoundLogger

Level: TypeAlias = Literal["debug", "info", "warning", "error"]
TEXT_LENGTH_MAX = 500
"""Characters of a fact, and of a line of a traceback."""
TRACEBACK_LENGTH_MAX = 1_000
"""Lines of a traceback: the last ones, if there are more."""
_SHOWN: tuple[Level, ...] = ("warning", "error")  # unless structlog says what is


class Log:
    """The log of one part of the library. `facts` are what the line is about, by name; `exc_info` is an exception, to
    be shown with its traceback."""

    def __init__(self, name: str) -> None:
        self._name = name

    def debug(self, event: str, **facts: object) -> None:
        """Of use to whoever looks into the library."""
        self._say("debug", event, facts)

    def info(self, event: str, **facts: object) -> None:
        """Something changed, as it should."""
        self._say("info", event, facts)

    def warning(self, event: str, **facts: object) -> None:
        """An operator should look at this."""
        self._say("warning", event, facts)

    def error(self, event: str, **facts: object) -> None:
        """Something stops."""
        self._say("error", event, facts)

    def _say(self, level: Level, event: str, facts: Mapping[str, object]) -> None:
        """As the program has configured logging by now."""
        facts = {name: shortened(fact) for name, fact in facts.items()}
        structlog = sys.modules.get("structlog")
        if structlog is not None and structlog.is_configured():
            logger: FilteringBoundLogger = structlog.get_logger().bind(logger=self._name)
            getattr(logger, level)(event, **facts)
        elif level in _SHOWN and sys.stderr is not None:
            line = _rendered(level, event, facts)
            with suppress(OSError, ValueError):  # ValueError: it is closed
                print(line, file=sys.stderr, flush=True)  # noqa: T201 - where lines go by default


def _rendered(level: Level, event: str, facts: Mapping[str, object]) -> str:
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    error = facts.get("exc_info")
    line = " ".join(
        [f"{now} [{level:<8}] {event}", *(f"{name}={_shown(facts[name])}" for name in facts if name != "exc_info")]
    )
    told = traceback.format_exception(error) if isinstance(error, BaseException) else []
    return "\n".join([line, *map(_harmless, "".join(told).splitlines()[-TRACEBACK_LENGTH_MAX:])])


def shortened(fact: object) -> object:
    """A fact as a line has it: a text is cut."""
    return _cut(fact) if isinstance(fact, str) else fact


def _cut(text: str) -> str:
    if len(text) <= TEXT_LENGTH_MAX:
        return text
    end = f"... ({len(text)} characters)"
    return text[: TEXT_LENGTH_MAX - len(end)] + end


def _harmless(line: str) -> str:
    """Of a traceback: what a terminal would obey is written out."""
    line = _cut(line)
    return line if line.isprintable() else "".join(c if c.isprintable() or c == "\t" else repr(c)[1:-1] for c in line)


def _shown(value: object) -> str:
    """What others sent may be in it: still one line, and one value."""
    return value if isinstance(value, str) and value.isprintable() and " " not in value else repr(value)
