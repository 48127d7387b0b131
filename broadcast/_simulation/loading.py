"""The user's class, found again in another process.

A script is run there up to what it does as the main module: under another `__name__`, and no further than to its first
`simulate`.
"""

from __future__ import annotations

import importlib
import operator
import os
import pkgutil
import sys
import types
from contextlib import suppress
from pathlib import Path
from typing import cast

import msgspec

from actors._actor import Actor

MAIN = "__main__"
MAIN_ELSEWHERE = "__mp_main__"  # as multiprocessing calls it

SHADOW = "TROUPE_SHADOW"
is_shadow = SHADOW in os.environ
"""Is this a process that only runs an order again, or one of its own? Such a one starts no others of the kind."""


class ReachedError(BaseException):
    """What was to be loaded plays a history itself, at this point of its module: it is loaded far enough."""


class CannotLoadError(Exception):
    """There is no way to that class from another process. Says why."""


class Where(msgspec.Struct, frozen=True, array_like=True):
    """Where a class is."""

    module: str
    qualname: str
    file: str | None
    package: str | None


def where(actor: type[Actor]) -> Where:
    """Where it can be found. Raises `CannotLoadError`."""
    if is_shadow:
        raise CannotLoadError("this process is such a one itself")
    if "<locals>" in actor.__qualname__:
        raise CannotLoadError("it is defined in a function; define it at the top of a module")
    module = sys.modules.get(actor.__module__)
    file = getattr(module, "__file__", None)
    if actor.__module__ == MAIN and not (file and Path(file).is_file()):
        raise CannotLoadError("it was typed in, or is in a notebook; write it to a file and import it from there")
    try:
        there = pkgutil.resolve_name(f"{actor.__module__}:{actor.__qualname__}")
    except (ImportError, AttributeError, ValueError):
        there = None
    if there is not actor:
        raise CannotLoadError(f"{actor.__module__}.{actor.__qualname__} is not it; let its module have it by its name")
    path = str(Path(file).absolute()) if file else None
    return Where(actor.__module__, actor.__qualname__, path, getattr(module, "__package__", None))


def load(place: Where) -> type[Actor]:
    """In another process: the class. Raises `CannotLoadError`, or what its module does."""
    try:
        module = None if place.module == MAIN else importlib.import_module(place.module)
    except (ImportError, ReachedError):
        if place.file is None:
            raise
        module = None
    if module is None:
        module = _run(place)
    try:
        return cast("type[Actor]", operator.attrgetter(place.qualname)(module))
    except AttributeError:
        raise CannotLoadError(f"{place.file} does not define it before it plays a history; move it up") from None


def _run(place: Where) -> types.ModuleType:
    """Its file, as far as it goes without playing a history."""
    file = Path(cast(str, place.file))
    name = MAIN_ELSEWHERE if place.module == MAIN else place.module
    module = sys.modules[name] = types.ModuleType(name)
    module.__file__, module.__package__ = str(file), place.package
    with suppress(ReachedError, SystemExit):
        exec(compile(file.read_bytes(), file, "exec"), vars(module))  # noqa: S102 - what runs there runs here
    return module
