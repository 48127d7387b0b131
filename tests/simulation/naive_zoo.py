"""Naive actors: each command does one thing that a replicated command may not do, or that only looks as if."""

from __future__ import annotations

import contextlib
import datetime as dt
import locale
import os
import platform
import queue
import random
import secrets
import socket
import subprocess
import sys
import threading
import time
import uuid
from collections import Counter, OrderedDict, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date, datetime
from pathlib import Path
from time import time as now
from typing import Any

from actors import Actor, Refused, command, query

WORDS = ["some", "words", "with", "a", "hash", "that", "differs"]
KEPT: list[str] = []
LIVE = 0
CHANCE = random.Random()


class Naive(Actor):
    def __init__(self) -> None:
        self.seen: list[Any] = []

    @command
    def add(self, what: str) -> None:
        self.seen.append(what)

    @query
    def count(self) -> int:
        return len(self.seen)


class Clocks(Naive):
    @command
    def clock(self) -> None:
        self.seen.append(time.time())

    @command
    def imported_clock(self) -> None:
        self.seen.append(now())

    @command
    def nanoseconds(self) -> None:
        self.seen.append(time.time_ns())

    @command
    def minutes(self) -> None:
        self.seen.append(time.time() // 60)

    @command
    def monotonic_days(self) -> None:
        self.seen.append(time.monotonic() // 86_400)

    @command
    def today(self) -> str:
        return str(date.today())

    @command
    def year(self) -> int:
        return datetime.now().year

    @command
    def weekday(self) -> int:
        return dt.datetime.now(dt.UTC).weekday()

    @command
    def month_of_datetime_today(self) -> int:
        return datetime.today().month

    @command
    def year_of_local_time(self) -> int:
        return time.localtime().tm_year

    @command
    def year_as_text(self) -> str:
        return time.strftime("%Y")

    @command
    def only_a_decision(self) -> None:
        if now() % 86_400 < 0:
            self.seen.append("never")
        if date.today().toordinal() // 398 % 2:  # whenever it runs: by so many days the other clock is ahead
            raise Refused("not at present")

    @command
    def zone(self) -> str:
        return str(self.context.time.astimezone())

    @command
    def zone_of_a_stamp(self) -> str:
        return str(datetime.fromtimestamp(self.context.time.timestamp()))


class Chances(Naive):
    @command
    def chance(self) -> None:
        self.seen.append(random.random())

    @command
    def choice(self) -> None:
        self.seen.append(random.choice(range(1000)))

    @command
    def source(self) -> None:
        self.seen.append(CHANCE.random())

    @command
    def unique(self) -> str:
        return str(uuid.uuid4())

    @command
    def token(self) -> str:
        return secrets.token_hex()

    @command
    def bytes(self) -> None:
        self.seen.append(os.urandom(4))


class Identities(Naive):
    @command
    def identity(self) -> None:
        self.seen.append(id(self))

    @command
    def hashed(self, what: str) -> int:
        return hash(what)

    @command
    def text(self) -> None:
        self.seen.append(str(object()))

    @command
    def process(self) -> None:
        self.seen.append(os.getpid())

    @command
    def host(self) -> None:
        self.seen.append(socket.gethostname())

    @command
    def node(self) -> str:
        return platform.node()

    @command
    def refused_with_identity(self) -> None:
        raise Refused(f"no such thing: {object()!r}")


class Orders(Naive):
    @command
    def order(self, words: list[str]) -> None:
        self.seen.append(list(set(words)))

    @command
    def any_of(self, words: list[str]) -> str:
        return set(words).pop()

    @command
    def keys(self, words: list[str]) -> None:
        self.seen.append({word: len(word) for word in set(words)})

    @command
    def refusal(self, words: list[str]) -> None:
        raise Refused(f"one of {', '.join(set(words))}")


class Shared(Naive):
    every: list[str] = []  # noqa: RUF012

    @command
    def on_the_class(self, what: str) -> int:
        self.every.append(what)
        return len(self.every)

    @command
    def silently_on_the_class(self, what: str) -> None:
        """Only `total` shows it."""
        self.every.append(what)

    @query
    def total(self) -> int:
        return len(self.every)

    @command
    def in_the_module(self, what: str) -> None:
        KEPT.append(what)
        self.seen.append(len(KEPT))

    @command
    def in_a_default(self, what: str) -> None:
        self.seen.append(self._all(what))

    def _all(self, what: str, before: list[str] = []) -> int:  # noqa: B006
        before.append(what)
        return len(before)


class Held:
    def __init__(self) -> None:
        global LIVE
        LIVE += 1

    def __del__(self) -> None:
        global LIVE
        LIVE -= 1


class Dying(Naive):
    @command
    def live(self) -> int:
        """Keeps a thing alive out of the state, as a cache does."""
        KEEP.setdefault(id(self), []).append(Held())
        return LIVE


KEEP: dict[int, list[Held]] = {}


class Outside(Naive):
    @command
    def file(self) -> None:
        self.seen.append(len(Path(__file__).read_text()))

    @command
    def environment(self) -> str | None:
        return os.environ.get("LIMIT")

    @command
    def variable(self) -> str | None:
        return os.getenv("LIMIT")

    @command
    def everything_in_it(self) -> None:
        len([*os.environ])

    @command
    def process(self) -> None:
        subprocess.run([sys.executable, "-c", ""], check=True)

    @command
    def directory(self) -> int:
        return len(os.listdir("/"))

    @command
    def thread(self) -> None:
        told: queue.Queue[int] = queue.Queue()
        started = threading.Thread(target=told.put, args=(1,))
        started.start()
        started.join()
        self.seen.append(told.get())

    @command
    def formatted(self) -> str:
        return locale.format_string("%.2f", 1234.5, grouping=True)

    @command
    def in_its_locale(self) -> str:
        return locale.str(0.5)


@dataclass
class Basket:
    items: list[str] = field(default_factory=list[str])


class Aliases(Actor):
    def __init__(self) -> None:
        self.baskets: dict[str, Basket] = {}
        self.last = Basket()

    @command
    def twice(self, owner: str) -> None:
        self.last = self.baskets[owner] = Basket()

    @command
    def put(self, item: str) -> None:
        self.last.items.append(item)

    @query
    def count(self) -> int:
        return sum(len(basket.items) for basket in self.baskets.values())


class Generators(Naive):
    @command
    def keep(self) -> None:
        self.seen.append(count_up())


def count_up() -> Iterator[int]:
    yield 1


class Readers(Naive):
    @query
    def last(self) -> str:
        return self.seen.pop() if self.seen else ""

    @query
    def age(self) -> float:
        return time.time() - self.context.time.timestamp()


class Refusals(Naive):
    @command
    def late(self, what: str) -> None:
        self.seen.append(what)
        if len(self.seen) > 3:
            raise Refused("full")


class Crashes(Naive):
    @command
    def text(self) -> None:
        raise KeyError(object())

    @command
    def type_by_chance(self) -> None:
        raise random.choice([KeyError, ValueError, ZeroDivisionError, OSError])

    @command
    def deep(self) -> None:
        self.deep()

    @command
    def wrong_answer(self) -> int:
        return "1"  # type: ignore[return-value]  # pyright: ignore[reportReturnType]

    @query
    def broken(self) -> int:
        return self.seen[10_000]


class Sound(Naive):
    """Looks naive, and is not."""

    @command
    def empty(self, items: list[str]) -> None:
        """Its arguments are its own."""
        self.seen.append(items)
        while len(items) > 1:
            items.pop()

    @command
    def default(self, items: list[str] = []) -> int:  # noqa: B006
        """A default is sent, and each time another list."""
        items.append("one")
        return len(items)

    @command
    def alias(self) -> list[Any]:
        """The asker gets a copy."""
        return self.seen

    @command
    def sorted(self, words: list[str]) -> None:
        self.seen = sorted(set(words))

    @command
    def counted(self, what: str) -> int:
        """Kinds of dicts stay what they are when the state is copied."""
        if not self.seen or isinstance(self.seen[0], str):
            self.seen = [Counter(), defaultdict(list), OrderedDict()]
        counts, lists, ordered = self.seen[:3]
        counts.update([what])
        lists[what].append(counts[what])
        ordered[what] = len(lists[what])
        ordered.move_to_end(what)
        return counts[what]

    @command
    def timed(self) -> None:
        """Only for a log line."""
        began = time.perf_counter()
        print(time.perf_counter() - began)

    @command
    def lazily(self) -> None:
        """An import reads files, and so does a time zone."""
        import colorsys
        import zoneinfo

        self.seen.append(colorsys.rgb_to_hsv(0, 0, 0))
        with contextlib.suppress(zoneinfo.ZoneInfoNotFoundError):
            self.seen.append(str(self.context.time.astimezone(zoneinfo.ZoneInfo("Europe/Berlin"))))
        del self.seen[20:]
