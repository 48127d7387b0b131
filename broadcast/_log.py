"""The log of this package."""

from __future__ import annotations

from actors._log import logger_named

log = logger_named("troupe.broadcast")
