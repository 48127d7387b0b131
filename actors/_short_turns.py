"""Threads of this process take short turns with the interpreter while one of them should not have it for long.

A thread that computes gives up the interpreter when another has waited for it for 5 ms, and each thread begins to wait
after each of its calls to the system.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Generator
from contextlib import contextmanager

TURN_SECONDS = 0.0005
"""That a thread has, at least, while others wait for the interpreter; else ten times as long."""

_lock = threading.Lock()
_wanted: list[float] = []  # seconds, by all who want it now
_interval = 0.0  # that turns had before


@contextmanager
def short_turns(seconds: float = TURN_SECONDS) -> Generator[None]:
    """Threads take short turns while this lasts, in the whole process: the shortest that anybody wants."""
    global _interval
    with _lock:
        _interval = _interval if _wanted else sys.getswitchinterval()
        _wanted.append(seconds)
        _set_turns(min([_interval, *_wanted]))
    try:
        yield
    finally:
        with _lock:
            _wanted.remove(seconds)
            _set_turns(min([_interval, *_wanted]))


def _set_turns(seconds: float) -> None:
    sys.setswitchinterval(seconds + 1e-7)  # it is cut to microseconds, and what it was before is just below some
