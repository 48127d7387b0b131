"""From an empty disk to a group that has formed: hellos until there is a record, and the record on disk (rule 13)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from actors._protocol.errors import invariant
from broadcast._protocol.outbox import Outbox
from broadcast._protocol.output import Answered, Connected, Input, Linked, Now, Persisted, Received, Unfit, Wanted
from broadcast._protocol.own import OwnLog
from membership._protocol.formation import HELLO_INTERVAL, Founding
from membership._protocol.messages import FormedNotice, Forming, Verdict
from membership._protocol.view import Formation

COMPLAINTS_MAX = 100


class Beginning:
    """What a replica does before it takes part. It writes nothing but the record."""

    def __init__(self, founding: Founding, own: OwnLog, outbox: Outbox) -> None:
        self.formed: Formation | None = None
        """The record, once it is durable."""
        self.ahead: FormedNotice | None = None
        """That by which this replica knows that it is a member, if its disk was not there when the group formed."""
        self.complaints: dict[str, str] = {}
        """Why this replica cannot take part, by who showed it."""
        self._founding = founding
        self._own = own
        self._outbox = outbox
        self._record: Formation | None = None  # on its way to disk

    def begin(self) -> None:
        """There is no record on this disk."""
        self._judge(self._founding.name, self._founding.plan.waits)

    def deadline(self, now: int) -> int:
        """When a `Tick` is due."""
        return self._founding.deadline if self._record is None else now + HELLO_INTERVAL

    def step(self, given: Input, now: Now) -> None:
        """Other inputs than those that lead to a record change nothing yet."""
        handle = _ON_INPUT.get(type(given))
        if handle is not None:
            handle(self, given)
        if self._record is None:
            self._go_on(now.monotonic)
        writes = self._own.writes
        self._outbox.persist(writes.flush(writes.promise, 0, now.monotonic))

    def _go_on(self, now: int) -> None:
        founding = self._founding
        if now >= founding.deadline:
            others = [name for name in founding.plan.members if name != founding.name]
            self._outbox.broadcast(founding.hello(now), others)
        record = founding.record()
        if record is not None:
            self._write(record)

    def _write(self, record: Formation) -> None:
        self._record = record
        self._own.writes.form(record)

    def _on_connected(self, given: Connected) -> None:
        self._outbox.send(given.name, self._founding.plan.hello)

    def _on_received(self, given: Received) -> None:
        """Without a record, a member neither votes nor accepts batches."""
        message = given.message
        if isinstance(message, Forming):
            self._judge(given.sender, self._founding.heard(given.sender, given.storage, message))
        elif isinstance(message, FormedNotice) and (unfit := self._founding.plan.unfit(message.formation)):
            self._outbox.settle(Unfit(unfit))
        elif isinstance(message, FormedNotice) and self._record is None:
            misfit = self._founding.misfit(given.sender, message)
            self._judge(given.sender, misfit)
            if misfit is None:
                self._write(message.formation)
                self.ahead = message
                self._outbox.settle(Linked(message.configuration.members))

    def _judge(self, sender: str, complaint: str | None) -> None:
        """What is to be said of the last word of a member."""
        self.complaints.pop(sender, None)
        if complaint is not None and len(self.complaints) < COMPLAINTS_MAX:
            self.complaints[sender] = complaint
            self._outbox.notice(complaint)

    def _on_wanted(self, given: Wanted) -> None:
        """Only members change a group."""
        why = "; ".join(self.complaints.values()) or "the group has not formed"
        self._outbox.settle(Answered(given.number, Verdict.WAITS, why))

    def _on_persisted(self, given: Persisted) -> None:
        invariant(self._record is not None, "an unformed replica writes nothing but its record")
        self._own.persisted(given.number)
        self.formed = self._record


_ON_INPUT: dict[type, Callable[[Beginning, Any], None]] = {
    Connected: Beginning._on_connected,  # pyright: ignore[reportPrivateUsage]  # the class's own table
    Received: Beginning._on_received,  # pyright: ignore[reportPrivateUsage]
    Wanted: Beginning._on_wanted,  # pyright: ignore[reportPrivateUsage]
    Persisted: Beginning._on_persisted,  # pyright: ignore[reportPrivateUsage]
}
