"""Who comes back with another disk has no part in the group: it says hello, tells why, and waits (rule 16)."""

from __future__ import annotations

from broadcast._protocol.messages import Message
from broadcast._protocol.output import Persist
from broadcast._simulation.invariants.base import Invariant, Process
from broadcast._simulation.invariants.claim import check
from membership._protocol.messages import Forming

TOLD_OF_MEMBERS = (
    "add it, by membership.add",
    "waiting to be added",
    "is no member of the group",
    "says that this node is no",
    "has other settings than this node was started with",
)
"""What an operator is told while members change."""
TOLD_OF_ROT = "a snapshot that came from the leader cannot be used", "cannot be read"
"""What one is told when a disk gives back something else than it was given."""


class WipedDisk(Invariant):
    def sending(self, process: Process, to: str, stamp: int, message: Message) -> None:
        if type(message) is not Forming:
            wiped = self.scene.disks[process.name].wiped
            check(not wiped, "a wiped disk has no voice", name=process.name, message=message)

    def persisting(self, process: Process, persist: Persist) -> None:
        wiped = self.scene.disks[process.name].wiped
        check(not wiped, "a wiped disk gets nothing of the group", name=process.name, persist=persist)

    def noticed(self, process: Process, text: str) -> None:
        wiped = self.scene.disks[process.name].wiped
        expected = any(each in text for each in (*TOLD_OF_MEMBERS, *TOLD_OF_ROT))
        check((wiped and "by another disk" in text) or expected, "an operator has nothing to see to here", text=text)
