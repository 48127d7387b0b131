"""Large states are made, and given up, without stopping this process for long.

A full garbage collection looks at each object that may be part of a cycle, and the interpreter runs nothing else
meanwhile: for a million of them that takes longer than an election timeout, and it happens again and again while they
become more. A state that was restored has no cycles in it: counting references is enough.

And so does the end of a large container: all that it alone holds ends with it, in one go. So it is emptied first, piece
by piece, in a thread that others take turns with.

A thread that computes gives up the interpreter when another has waited for it for 5 ms, and the one that Trio runs in
begins to wait after each call to the system: there are several in a heartbeat. So turns are shorter meanwhile.
"""

from __future__ import annotations

import gc
import sys
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any

from actors._actor import Actor
from actors._short_turns import short_turns

_lock = threading.Lock()
_pausing = 0
_was_enabled = False


@contextmanager
def uncollected() -> Generator[None]:
    """No collections while this lasts, in the whole process. What is there at the end is never looked at by any.

    So of what others have made meanwhile, cycles that are no longer in use stay: little, for that is seconds.
    """
    global _pausing, _was_enabled
    with _lock:
        _was_enabled = _was_enabled if _pausing else gc.isenabled()
        _pausing += 1
        gc.disable()
    try:
        yield
    finally:
        with _lock:
            _pausing -= 1
            gc.freeze()
            if not _pausing and _was_enabled:
                gc.enable()


@contextmanager
def aside() -> Generator[None]:
    """A large state is made while this lasts, in a thread of its own."""
    with uncollected(), short_turns():
        yield


@short_turns()
def give_up(actor: Actor) -> None:
    """Empty the containers of a state that nobody uses any more; what anything else holds as well stays as it is.

    For a thread of its own.
    """
    attributes = vars(actor)
    waiting: list[Any] = []
    while attributes:
        waiting.append(attributes.popitem()[1])
        while waiting:
            value = waiting.pop()
            take = _TAKE.get(_kind(value))
            if take is None or sys.getrefcount(value) > ALONE:
                continue
            while value:
                taken: Any = take(value)
                if _kind(taken) in _TAKE and len(taken) > FEW:
                    waiting.append(taken)
                del taken  # else what comes next would have one more that refers to it


def _kind(value: object) -> type:
    return type(value)


def _value_of_last(mapping: dict[Any, Any]) -> Any:
    return mapping.popitem()[1]


def _references_to_a_local() -> int:
    """To what a variable of a function alone refers to: whether the call that counts them has one too, differs."""
    values: list[Any] = [[]]
    value = values.pop()
    return sys.getrefcount(value)


FEW = 100  # items of a container that may end in one go
ALONE = _references_to_a_local()
_TAKE: dict[type, Callable[[Any], Any]] = {dict: _value_of_last, list: list[Any].pop, set: set[Any].pop}
