"""Where the library's log lines go. It never configures logging for its user.

A program that has configured structlog gets every line through that. Otherwise warnings and worse go to standard error,
a line each, and nothing else is said.
"""

from __future__ import annotations

import logging
import sys
from typing import cast

import structlog
from structlog.typing import FilteringBoundLogger


class _StandardError:
    """Writes to what `sys.stderr` is at that moment, so that it may be replaced."""

    def msg(self, message: str) -> None:
        print(message, file=sys.stderr, flush=True)  # noqa: T201 - this is where lines go by default

    debug = info = warning = error = msg


_default = cast(
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


class Log:
    """The log of one part of the library. `facts` are what the line is about, by name."""

    def __init__(self, name: str) -> None:
        self._name = name

    def debug(self, event: str, **facts: object) -> None:
        """Of use to whoever looks into the library."""
        self._logger().debug(event, **facts)

    def info(self, event: str, **facts: object) -> None:
        """Something changed, as it should."""
        self._logger().info(event, **facts)

    def warning(self, event: str, **facts: object) -> None:
        """An operator should look at this."""
        self._logger().warning(event, **facts)

    def error(self, event: str, **facts: object) -> None:
        """Something stops."""
        self._logger().error(event, **facts)

    def _logger(self) -> FilteringBoundLogger:
        """As the program has configured logging by now."""
        if structlog.is_configured():
            return cast(FilteringBoundLogger, structlog.get_logger().bind(logger=self._name))
        return _default
