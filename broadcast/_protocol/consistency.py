"""How fresh an answer to a query must be."""

from __future__ import annotations

import enum


class Consistency(enum.Enum):
    """What a read may miss, and what it costs (rule 20).

    LINEARIZABLE: misses nothing that was answered to anyone before the read began. Costs a round of heartbeats to a
    commit quorum, shared by all reads that wait for it, and no disk write.
    LEASE: the same, in a group with `Limits(leases=True)`, and as long as the clocks of its members are as it says
    there. Asked where the leader is, and while its lease holds, it costs a look at the clock; else what LINEARIZABLE
    costs.
    LOG: the same; the query gets a place in the total order, among the commands of its handle, and the answer of that
    place. Costs what a command costs: a disk write at a commit quorum.
    SESSION: misses nothing that its own handle was answered before, commands and queries, whichever replica that is
    linked to by now: what one has written one reads, and reads do not go back. What others were answered it may miss.
    Costs nothing, and needs no quorum; a replica that is behind what the handle has seen answers once it is level.
    LOCAL: the state of the replica that is asked, as it is; may be behind by any time, and may seem to go back when
    the replica changes. Costs nothing, and needs no quorum.

    All but LOCAL wait for the earlier commands of their handle.
    """

    LINEARIZABLE = "linearizable"
    LEASE = "lease"
    LOG = "log"
    SESSION = "session"
    LOCAL = "local"
