"""What the step under way owes its shell so far: one `Output`, filled by all parts of a replica.

A message that vouches for the promise goes by `bind`: it leaves once that promise is on disk (rule 1).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from broadcast._protocol.messages import Message
from broadcast._protocol.output import Noticed, Output, Persist, Send, Settled, Transfer
from broadcast._protocol.position import Batch
from broadcast._protocol.snapshots import Snapshot
from broadcast._protocol.writes import Writes
from membership._protocol.view import Promise

NOTICES_MAX = 1_000  # texts that an operator is told, in one life


class Outbox:
    """Collects until `take`."""

    def __init__(self, writes: Writes) -> None:
        self._writes = writes
        self._output = Output()
        self._noticed: dict[str, None] = {}

    def take(self) -> Output:
        output, self._output = self._output, Output()
        return output

    def persist(self, asked: Persist | None) -> None:
        if asked is not None:
            self._output.persist.append(asked)

    def send(self, to: str, message: Message) -> None:
        self._output.send.append(Send(to, message))

    def broadcast(self, message: Message, names: Sequence[str]) -> None:
        for name in names:
            self.send(name, message)

    def bind(self, to: str, message: Message, promise: Promise) -> None:
        """Send what vouches for `promise`, the one of now: not before that is on disk."""
        self._output.send.extend(self._writes.bind(Send(to, message), promise))

    def release(self, epoch: int) -> None:
        """More is on disk: send what waited for it, but nothing of an epoch that is over."""
        self._output.send.extend(self._writes.release(epoch))

    def deliver(self, batches: Iterable[Batch]) -> None:
        self._output.deliver.extend(batches)

    def transfer(self, transfer: Transfer) -> None:
        self._output.transfer.append(transfer)

    def install(self, snapshot: Snapshot) -> None:
        self._output.install = snapshot

    def settle(self, settled: Settled) -> None:
        self._output.settle.append(settled)

    def notice(self, text: str) -> None:
        """Tell an operator, once for each text."""
        if text not in self._noticed and len(self._noticed) < NOTICES_MAX:
            self._noticed[text] = None
            self.settle(Noticed(text))
