"""The log of this package."""

from __future__ import annotations

from actors._log import Log

log = Log("troupe.broadcast")
