"""Quorum systems: which sets of voters suffice to elect a leader, and which to commit (rule 6)."""

from __future__ import annotations

from typing import TypeAlias

import msgspec


class Majority(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag="majority"):
    """More than half of the voters, for elections and commits alike. Any two majorities meet."""

    def elects(self, voters: tuple[str, ...], granted: frozenset[str]) -> bool:
        return 2 * sum(name in granted for name in voters) > len(voters)

    def commits(self, voters: tuple[str, ...], acknowledged: frozenset[str]) -> bool:
        return self.elects(voters, acknowledged)


QuorumSystem: TypeAlias = Majority
