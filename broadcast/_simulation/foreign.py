"""Another place: in this process clocks, time zone and locale are other ones, and what commands look at is noted.

Only ever in a process that is there to run an order again, since all of it holds for the whole process.
"""

from __future__ import annotations

import ctypes
import datetime
import functools
import gc
import importlib
import locale
import os
import sys
import threading
import time
import types
from collections.abc import Callable, Iterator
from typing import Any, cast

from broadcast._simulation.shadow import Deed

OFF = 397 * 86_400 + 41_833  # seconds that clocks are ahead: another year, month, weekday, hour, minute and second
TIME_ZONE = "XYZ-11:37"
POINT, SEPARATOR = ",", "."
LOCALES = ("de_DE.UTF-8", "fr_FR.UTF-8", "pt_BR.UTF-8", "ru_RU.UTF-8")

TIME = "use self.context.time"
CHANCE = "use self.context.random"
UUID = "use uuid.UUID(int=self.context.random.getrandbits(128), version=4)"
NAME = "use a name or a number of your own"
ARGUMENT = "do it outside, and send what came of it as an argument"

LOOKED_AT = {
    "time": (TIME, "time time_ns monotonic monotonic_ns perf_counter perf_counter_ns localtime gmtime ctime strftime"),
    "random": (
        CHANCE,
        "random randrange randint choice choices shuffle sample uniform triangular gauss normalvariate betavariate "
        "expovariate gammavariate lognormvariate paretovariate vonmisesvariate weibullvariate getrandbits randbytes",
    ),
    "secrets": (CHANCE, "choice randbelow randbits token_bytes token_hex token_urlsafe"),
    "uuid": (UUID, "uuid1 uuid4"),
    "os": (ARGUMENT, "urandom getpid getppid getcwd uname"),
    "socket": (ARGUMENT, "gethostname getfqdn"),
    "platform": (ARGUMENT, "node"),
    "builtins": (NAME, "id hash"),
}
"""By module: what to use instead of these. They are no fault by themselves: one may time or log what is done."""

AHEAD = {"time": OFF, "monotonic": OFF, "perf_counter": OFF}
FAULTY = {
    "socket.connect": "uses the network",
    "socket.getaddrinfo": "uses the network",
    "subprocess.Popen": "starts a process",
    "os.system": "starts a process",
    "os.listdir": "lists a directory",
    "os.scandir": "lists a directory",
}
"""By audited event."""
ZONES = f"{os.sep}zoneinfo{os.sep}"  # part of the path of each file with a time zone
MACHINE = "broadcast._machine", "broadcast._running"  # who runs commands
MAY = frozenset({"importlib", "linecache", "traceback", "warnings", "logging", "encodings", "threading"})
"""Modules of the standard library that look at files, clocks and more for good reasons."""


class Watcher:
    """Notes deeds while `active`."""

    def __init__(self) -> None:
        self.active = False
        self._deeds: dict[Deed, None] = {}

    def take(self) -> tuple[Deed, ...]:
        """Those since the last time."""
        taken = tuple(self._deeds)
        self._deeds.clear()
        return taken

    def note(self, what: str, instead: str, *, faulty: bool = False) -> None:
        if self.active and not any(name in MAY or name == "_frozen_importlib" for name in _callers()):
            self._deeds[Deed(what, instead, faulty)] = None


def _callers() -> Iterator[str]:
    """Top-level modules of the frames from here to the machine, which runs the command."""
    frame: types.FrameType | None = sys._getframe(1)  # pyright: ignore[reportPrivateUsage]
    while frame is not None:
        name: str = frame.f_globals.get("__name__", "")
        if name in MACHINE:
            if frame.f_code.co_name not in ("_run", "_look", "_begin"):
                yield "importlib"  # the machine's own doing
            return
        if name != __name__:
            yield name.partition(".")[0]
        frame = frame.f_back
    yield "importlib"


def install() -> Watcher:
    """Before the user's class is loaded."""
    watcher = Watcher()
    for module, (instead, names) in LOOKED_AT.items():
        for name in names.split():
            if hasattr(importlib.import_module(module), name):
                _wrap(watcher, module, name, instead)
    _set_datetime_ahead(watcher)
    _set_thread_start(watcher)
    sys.addaudithook(functools.partial(_heard, watcher))
    return watcher


def enter(watcher: Watcher) -> None:
    """When it is loaded."""
    os.environ["TZ"] = TIME_ZONE
    time.tzset()
    _set_locale()
    environment = cast(Any, os.environ)
    environment.__class__ = _noting_environment(watcher, type(os.environ))
    watcher.active = True


def _wrap(watcher: Watcher, module: str, name: str, instead: str) -> None:
    owner = importlib.import_module(module)
    real, is_builtin = getattr(owner, name), module == "builtins"
    ahead = AHEAD.get(name.removesuffix("_ns"), 0) * (1_000_000_000 if name.endswith("_ns") else 1)
    shown = f"{name}()" if is_builtin else f"{module}.{name}()"

    def call(*arguments: Any, **keywords: Any) -> Any:
        if watcher.active and not (is_builtin and not _is_asked_by_name()):
            watcher.note(f"calls {shown}", instead)
        if name == "gethostname" or shown == "platform.node()":
            return "elsewhere"
        if module == "time" and (not arguments or (name == "strftime" and len(arguments) == 1)):
            return _time_now(real, name, arguments, ahead)
        return real(*arguments, **keywords)

    functools.update_wrapper(call, real)
    setattr(owner, name, call)


def _time_now(real: Callable[..., Any], name: str, arguments: tuple[Any, ...], ahead: int) -> Any:
    """What the clock tells; of those that take a time, what they make of now."""
    if name in ("localtime", "gmtime", "ctime"):
        return real(time.time())
    if name == "strftime":
        return real(*arguments, time.localtime(time.time()))
    return real() + ahead


def _is_asked_by_name() -> bool:
    """Is it the user who asks for `id` or `hash`, and not the library, nor a `__hash__` that has to?"""
    frame = sys._getframe(2)  # pyright: ignore[reportPrivateUsage]
    top = frame.f_globals.get("__name__", "").partition(".")[0]
    return frame.f_code.co_name != "__hash__" and top not in sys.stdlib_module_names


def _set_datetime_ahead(watcher: Watcher) -> None:
    """`datetime.now` and `utcnow`; `today` asks `time.time`. The class stays the one that all else knows.

    It is C's, so that only its dict can be changed, behind its back. Where that is not CPython's way, it is left out.
    """
    if sys.implementation.name != "cpython":
        return
    ahead = datetime.timedelta(seconds=OFF)
    for name in ("now", "utcnow"):
        _replace(datetime.datetime, name, _ahead(watcher, name, getattr(datetime.datetime, name), ahead))
    for kind in (datetime.datetime, datetime.date):
        _replace(kind, "today", _ahead(watcher, "today", kind.today, datetime.timedelta()))


def _ahead(watcher: Watcher, name: str, real: Callable[..., Any], ahead: datetime.timedelta) -> Any:
    def call(kind: Any, *arguments: Any, **keywords: Any) -> Any:
        watcher.note(f"calls {kind.__name__}.{name}()", TIME)
        return real(*arguments, **keywords) + ahead

    return classmethod(call)


def _replace(kind: type, name: str, value: object) -> None:
    for names in gc.get_referents(kind.__dict__):
        if isinstance(names, dict):
            names[name] = value
    ctypes.pythonapi.PyType_Modified(ctypes.py_object(kind))


def _set_thread_start(watcher: Watcher) -> None:
    real = threading.Thread.start

    def start(self: threading.Thread) -> None:
        watcher.note("starts a thread", ARGUMENT, faulty=True)
        real(self)

    cast(Any, threading.Thread).start = start


def _set_locale() -> None:
    """Numbers with commas: for `locale`'s own functions, and for format(..., "n") where such a locale is installed."""
    for name in LOCALES:
        try:
            locale.setlocale(locale.LC_NUMERIC, name)
            break
        except locale.Error:
            pass
    real = locale.localeconv

    def localeconv() -> Any:
        return {**real(), "decimal_point": POINT, "thousands_sep": SEPARATOR, "grouping": [3, 0]}

    locale.localeconv = localeconv


def _noting_environment(watcher: Watcher, kind: Any) -> Any:
    """A class of environments that tells who looks."""

    def get(self: Any, key: str) -> str:
        watcher.note(f"looks at the environment variable {key}", ARGUMENT, faulty=True)
        return cast(str, kind.__getitem__(self, key))

    def iterate(self: Any) -> Iterator[str]:
        watcher.note("looks at the environment", ARGUMENT, faulty=True)
        return cast("Iterator[str]", kind.__iter__(self))

    return type("Environment", (kind,), {"__getitem__": get, "__iter__": iterate})


def _heard(watcher: Watcher, event: str, arguments: tuple[Any, ...]) -> None:
    if not watcher.active:
        return
    if event == "open" and _is_read(*arguments) and ZONES not in os.fsdecode(arguments[0]):
        watcher.note(f"reads the file {os.fspath(arguments[0])!r}", ARGUMENT, faulty=True)
    elif event in FAULTY:
        watcher.note(FAULTY[event], ARGUMENT, faulty=True)


def _is_read(path: object, mode: str | None, flags: int) -> bool:
    """Of a file that has a name: a descriptor was opened before."""
    return isinstance(path, (str, bytes, os.PathLike)) and not flags & (os.O_WRONLY | os.O_RDWR)
