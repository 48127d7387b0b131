"""Transcripts: a script of commands, and beneath each what it led to.

    # a comment
    tick a                    a command
          143  a -> b  ...    what followed; rewritten by `pytest --accept`

A line that begins with two blanks is output, everything else is the script's. What a command that begins with `quietly`
leads to is not written down. See `Player` for what may be said.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from stage import Became, Flight, Stage
from telling import logs, tell

from actors._protocol.errors import RemoteProtocolError
from broadcast._protocol import leader
from membership._protocol.view import Promise


class Player:
    """Plays one script on one stage."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.stage = Stage()
        self._patch = patch
        self._kept: dict[str, Flight] = {}

    def play(self, script: str) -> str:
        """The script with what follows from it."""
        lines: list[str] = []
        try:
            lines.extend(self._play(script))  # keeps what came before an error
        except (KeyError, LookupError, TypeError) as error:
            raise AssertionError("\n".join([*lines, f"this cannot be done: {error!r}"])) from error
        return "".join(f"{line}\n" for line in lines)

    def _play(self, script: str) -> Iterator[str]:
        for line in script.splitlines():
            if line.startswith("  "):
                continue
            yield line
            if not line or line.startswith("#"):
                continue
            word, *arguments = line.removeprefix("quietly ").split()
            try:
                COMMANDS[word](self, *arguments)
            except RemoteProtocolError as error:
                self.stage.note("", f"the link is closed: {error}")
            events, self.stage.events = self.stage.events, []
            if not line.startswith("quietly "):
                yield from tell(events, brief=word == "run" or arguments == ["all"])
            if word == "logs":
                yield from logs(self.stage)

    # -- commands --------------------------------------------------------------------------------------------------

    def group(self, *names: str) -> None:
        """These form the group, and have its record."""
        self.stage = Stage(names)

    def empty(self, *names: str) -> None:
        """These were started with the same, and their disks are empty."""
        self.stage = Stage(names, formed=False)

    def holds(self, name: str, *entries: str) -> None:
        """`holds a 1 1:x 2`: on its disk are the start of epoch 1, x, and the start of epoch 2; `promised 5` it may."""
        promise = None
        if "promised" in entries:
            at = entries.index("promised")
            promise, entries = Promise(int(entries[at + 1]), None), entries[:at]
        self.stage.holds(name, *entries, promise=promise)

    def session(self, term: str, milliseconds: str) -> None:
        """`session term 500`: a session not heard of for so long has expired."""
        self.stage.limits = type(self.stage.limits)(
            election_timeout=self.stage.limits.election_timeout, session_term=int(milliseconds) * 1_000
        )

    def single(self, batches: str) -> None:
        """`single batches`: a message carries one batch, so that each can be delivered or lost for itself."""
        self._patch.setattr(leader, "BATCH_SIZE_MAX", 1)

    def start(self, *names: str) -> None:
        self.stage.start(*names)

    def crash(self, *names: str) -> None:
        for name in names:
            self.stage.crash(name)

    def wipe(self, name: str) -> None:
        self.stage.wipe(name)

    def wait(self, milliseconds: str) -> None:
        self.stage.wait(int(milliseconds))

    def run(self, milliseconds: str) -> None:
        """Time passes for all replicas, and messages take none; clients do nothing of their own accord."""
        self.stage.run(int(milliseconds))

    def tick(self, *names: str) -> None:
        """Time goes on to its deadline, and it is told."""
        for name in names:
            self.stage.tick(name)

    def elect(self, name: str) -> None:
        """It stands, and all messages arrive: soon it leads, and all know it."""
        self.tick(name)
        self.stage.run(10)
        self.stage.events = [
            event for event in self.stage.events if isinstance(event.what, Became) and event.what.role == "leader"
        ]

    def deliver(self, what: str) -> None:
        """`deliver a>b`: the oldest message between them; `deliver all`: until nothing is on its way."""
        if what == "all":
            self.stage.settle()
        elif ">" in what:
            self.stage.deliver(*what.split(">"))
        else:
            self.stage.arrive(self._kept[what])

    def drop(self, what: str) -> None:
        if what == "all":
            self.stage.drop_all()
        else:
            self.stage.drop(*what.split(">"))

    def keep(self, what: str, as_: str, label: str) -> None:
        """`keep a>b as old`: the network holds it back, until `deliver old`, which may be said more than once."""
        self._kept[label] = self.stage.take(*what.split(">"))

    def cut(self, some: str, others: str) -> None:
        """`cut a bc`: nothing passes between a and b, a and c."""
        self.stage.cut(some, others)

    def heal(self) -> None:
        self.stage.heal()

    def connect(self, one: str, other: str) -> None:
        self.stage.connect(one, other)

    def suspect(self, name: str, gone: str) -> None:
        """`suspect b a`: b's link to a was closed, and a reconnect is refused."""
        self.stage.suspect(name, gone)

    def slow(self, *names: str) -> None:
        """Their disks write when `persist` says so."""
        self.stage.slow.update(names)

    def fast(self, *names: str) -> None:
        self.stage.slow.difference_update(names)

    def persist(self, name: str) -> None:
        self.stage.persist(name)

    def submit(self, name: str, *words: str) -> None:
        """Commands that are nobody's: they stand in the log, and are given to no actor."""
        self.stage.submit(name, *words)

    def read(self, name: str, as_: str, label: str) -> None:
        """`read a as r1`: a linearizable read of all words."""
        self.stage.read(name, label)

    def client(self, name: str, at_: str, at: str) -> None:
        """`client me at a`: a client with a session, linked to a."""
        self.stage.client(name, at)

    def say(self, name: str, *words: str) -> None:
        """`say me x y`: the client asks for these commands."""
        self.stage.say(name, *words)

    def logs(self) -> None:
        """How the papers draw it: the epochs of each log's entries, those that it knows to be committed before `|`."""


COMMANDS: dict[str, Callable[..., None]] = {
    name: method for name, method in vars(Player).items() if not name.startswith("_") and name != "play"
}
