"""How fresh an answer to a query must be."""

from __future__ import annotations

import enum


class Consistency(enum.Enum):
    """What a read may miss, and what it costs.

    LINEARIZABLE: nothing that was answered to anyone before the read began. Costs a round of heartbeats to a commit
    quorum, shared by all reads that wait for it, and no disk write (rule 20).
    LOCAL: the state of the replica that is asked, as it is; may be behind by any time, and may seem to go back when
    the replica changes. Costs nothing, and needs no quorum.
    """

    LINEARIZABLE = "linearizable"
    LOCAL = "local"
