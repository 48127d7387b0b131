"""Where the library's log lines go. It never configures logging for its user.

A program that has configured structlog gets the lines through that. Otherwise warnings and worse go to standard error,
a line each; nothing else is said.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from typing import TextIO, cast

import structlog
from structlog.typing import FilteringBoundLogger


class _StandardError:
    """Writes to what `sys.stderr` is at that moment, so that it may be replaced."""

    def msg(self, message: str) -> None:
        stream: TextIO | None = sys.stderr
        if stream is not None:
            print(message, file=stream, flush=True)

    debug = info = warning = error = critical = exception = log = msg


_DEFAULT: FilteringBoundLogger = cast(
    FilteringBoundLogger,
    structlog.wrap_logger(
        _StandardError(),
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.dev.ConsoleRenderer(colors=False, pad_event_to=0),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING),
    ),
)


def logger_named(name: str) -> Callable[[], FilteringBoundLogger]:
    """A function that gives the logger `name`, as the program has configured logging by then."""

    def log() -> FilteringBoundLogger:
        if structlog.is_configured():
            return cast(FilteringBoundLogger, structlog.get_logger(name))
        return _DEFAULT

    return log
