"""What a history may meet: sizes, and how often which fault strikes. All of it follows from the seed, unless given."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from broadcast._protocol.consistency import Consistency
from broadcast._simulation import bounds
from broadcast._simulation.bounds import Bounds
from membership._protocol.quorum import Flexible, Grid, Majority, QuorumSystem, Weighted

MILLISECOND = 1_000  # in microseconds, the unit of all times here
SECOND = 1_000_000
MAJORITY = Majority()


@dataclass(frozen=True, slots=True)
class Options:
    """Times are in microseconds; rates are chances from 0 to 1; an interval of 0 means never.

    replicas, clients: how many of them. quorum: what the replicas decide by.
    spares: processes that the group is not formed with, and that may be added.
    idle: of a client, at most, between two things it does.
    burst: calls that a client offers at once, at most.
    reads: chance that it reads when it does something.
    follows: chance that it leaves the member it is at for who leads, when told of one.
    duration: how long faults strike. After it what is repaired must come to an end.
    all_repaired: whether that is everything, or just enough members for a quorum.
    faults_from: when they begin; forming the group can be spared.
    loss, duplication, reordering: of each message between replicas.
    latency, delay: of a message, one way: usually at most, and when it is reordered at most.
    disk_latency, stall: of a write, at most; and the chance that it takes longer than an election.
    hang_ups: chance that a client's link breaks before it does something.
    copied_nonces: do all clients ask for sessions under the same nonces?
    strike_interval: mean time between two of the faults below, each with its weight.
    crashes, ambushes, power_cuts, pauses: of one process; in the midst of what it does; all at once; one is stopped.
    cuts: of links.
    slow_disks, full_disks, failed_syncs: of one disk.
    damaged_disks: a bit of one flips, for good; of a minority at most.
    wipes, old_copies: of one disk, which is found again.
    regroupings: an operator wants other members, another quorum system, or another leader.
    upgrades: a process is started with another version of the class, where the play has one.
    priorities: how much each process should lead rather than others, in the order of the names, again and again.
    clock_jumps: one wall clock is set anew.
    clock_error, clock_drift: by how much a wall clock may be wrong, and how fast it may go wrong (a rate).
    levels: of reads, one of which is drawn for each. logged: of commands, how many are queries for the log (a rate).
    leases: does the group have them? Then clocks run by up to `life.DRIFT` too fast or too slow, and machines that are
    stopped may be suspended, so that only one of their clocks goes on.
    election_timeout, session_term, sessions_max, answers_max, command_size_max, snapshot_entries, snapshot_size,
        undos_max, undo_interval: the group's limits.
    effects: do commands leave messages for later, and tell actors on nodes?
    bounds: of the core, where they are not as it has them.
    """

    replicas: int = 3
    clients: int = 2
    idle: int = 100 * MILLISECOND
    burst: int = 12
    reads: float = 0.6
    follows: float = 0.5
    duration: int = 4 * SECOND
    all_repaired: bool = True
    faults_from: int = 0
    loss: float = 0.02
    duplication: float = 0.02
    reordering: float = 0.05
    latency: int = 2 * MILLISECOND
    delay: int = 100 * MILLISECOND
    disk_latency: int = 4 * MILLISECOND
    stall: float = 0.005
    hang_ups: float = 0
    strike_interval: int = 500 * MILLISECOND
    crashes: int = 4
    ambushes: int = 0
    power_cuts: int = 1
    pauses: int = 2
    cuts: int = 4
    slow_disks: int = 0
    full_disks: int = 0
    failed_syncs: int = 0
    damaged_disks: int = 0
    wipes: int = 0
    old_copies: int = 0
    clock_jumps: int = 0
    clock_error: int = SECOND
    clock_drift: float = 0
    election_timeout: int = 200 * MILLISECOND
    session_term: int = 600 * SECOND
    sessions_max: int = 100_000
    answers_max: int = 25
    command_size_max: int = 1_048_576
    snapshot_entries: int = 50_000
    snapshot_size: int = 16 * 1_048_576
    bounds: Bounds = ()
    quorum: QuorumSystem = MAJORITY
    copied_nonces: bool = False
    spares: int = 0
    regroupings: int = 0
    priorities: tuple[int, ...] = (0,)
    levels: tuple[Consistency, ...] = (Consistency.LINEARIZABLE,)
    logged: float = 0
    leases: bool = False
    upgrades: int = 0
    effects: bool = False
    undos_max: int = 10
    undo_interval: int = SECOND

    @property
    def names(self) -> tuple[str, ...]:
        """Of the replicas that form the group."""
        return tuple("abcdefg"[: self.replicas])

    @property
    def spare_names(self) -> tuple[str, ...]:
        """Of those that may be added."""
        return tuple("tuvwxyz"[: self.spares])

    @staticmethod
    def drawn(chance: random.Random) -> Options:
        """Some options, most of them harsh, each kind of fault absent now and then."""

        def rate(*choices: float) -> float:
            return chance.choice(choices)

        session_term, sessions_max = chance.choice(_SESSIONS)
        replicas = chance.choice(_REPLICAS)
        many = replicas > 3  # it costs more to play: so for a shorter time, with fewer clients
        drawn = Options(
            replicas=replicas,
            clients=chance.randrange(1, 5 if many else 6),
            idle=chance.choice((60, 150, 250)) * MILLISECOND,
            burst=chance.choice((10, 20, 40, 60)),
            reads=chance.choice((0.1, 0.3, 0.6)),
            follows=chance.choice((0, 0.5, 1)),
            duration=chance.randrange(2 * SECOND, (3 if many else 5) * SECOND),
            all_repaired=chance.random() < 0.6,
            faults_from=chance.choice((0, 300 * MILLISECOND, 300 * MILLISECOND)),
            loss=rate(0, 0, 0.01, 0.05, 0.2),
            duplication=rate(0, 0.02, 0.1),
            reordering=rate(0, 0.02, 0.1, 0.3),
            latency=chance.choice((MILLISECOND, 5 * MILLISECOND)),
            delay=chance.choice((20 * MILLISECOND, 100 * MILLISECOND, 500 * MILLISECOND)),
            disk_latency=chance.choice((MILLISECOND, 5 * MILLISECOND, 40 * MILLISECOND)),
            stall=rate(0, 0.002, 0.02),
            hang_ups=rate(0, 0.02, 0.1),
            strike_interval=chance.choice((0, 150, 200, 300, 400)) * MILLISECOND,
            crashes=chance.choice((0, 2, 4)),
            ambushes=chance.choice((0, 2, 4)),
            power_cuts=chance.choice((0, 1)),
            pauses=chance.choice((0, 4, 8)),
            cuts=chance.choice((0, 3, 6)),
            slow_disks=chance.choice((0, 2, 4)),
            full_disks=chance.choice((0, 0, 2)),
            failed_syncs=chance.choice((0, 0, 2)),
            damaged_disks=chance.choice((0, 0, 2)),
            wipes=chance.choice((0, 0, 2)),
            old_copies=chance.choice((0, 0, 1)),
            clock_jumps=chance.choice((0, 0, 2)),
            clock_error=chance.choice((0, SECOND, 3600 * SECOND)),
            clock_drift=rate(0, 0, 0.001, 0.1),
            election_timeout=chance.choice((100, 150, 300)) * MILLISECOND,
            session_term=session_term,
            sessions_max=sessions_max,
            answers_max=chance.choice((1, 5, 25, 25, 200, 200, 200)),
            command_size_max=chance.choice((2**12, 2**20, 2**23)),
            bounds=_bounds(chance),
            copied_nonces=chance.random() < 0.3,
            quorum=quorum_of(chance, "abcdefg"[:replicas]),
            **_regroupings(chance, replicas),
            priorities=chance.choice(((0,), (0,), (1, 0, -1), (0, 5, 10, 5))),
            **_snapshots(chance),
        )
        leases = chance.random() < 0.4
        levels = (Consistency.LINEARIZABLE, Consistency.SESSION, *[Consistency.LEASE] * (3 * leases))
        logged, upgrades = chance.choice((0, 0.1)), chance.choice((0, 0, 0, 6, 12))
        effects = chance.random() < 0.4
        drawn = replace(drawn, leases=leases, levels=levels, logged=logged, upgrades=upgrades, effects=effects)
        return replace(drawn, undos_max=chance.choice((1, 2, 10)), undo_interval=chance.choice((SECOND // 10, SECOND)))


_REPLICAS = (1, 2, 4, 6, 7, *[3] * 10, *[5] * 3)
_SESSIONS = (
    (600 * SECOND, 100_000),
    (600 * SECOND, 100_000),
    (SECOND, 100_000),
    (SECOND, 2),  # who finds no room waits until another one's has ended or expired
)


def _bounds(chance: random.Random) -> Bounds:
    """Of the core: half of the time as it has them, but for those without which nothing would be compacted."""
    drawn = bounds.draw(chance) if chance.random() < 0.5 else ()
    return drawn + bounds.draw_for_snapshots(chance)


def _regroupings(chance: random.Random, replicas: int) -> dict[str, Any]:
    """None, in half of the histories; now and then so many that the group is another one in the end."""
    weight = chance.choice((0, 0, 0, 5, 12, 24))
    return {"spares": min(chance.randrange(1, 5), 8 - replicas), "regroupings": weight} if weight else {}


def _snapshots(chance: random.Random) -> dict[str, Any]:
    """Mostly so often that logs are compacted in a short history; now and then hardly ever."""
    entries = chance.choice((20, 60, 60, 200, 200, 50_000))
    return {"snapshot_entries": entries, "snapshot_size": chance.choice((2_000, 2**24, 2**24))}


def quorum_of(chance: random.Random, names: Sequence[str]) -> QuorumSystem:
    """Majorities half of the time, else another system that is sound for these voters."""
    replicas = len(names)
    commit = chance.randrange(1, replicas // 2 + 2)
    weights = {name: chance.choice((0, 1, 1, 2, 3)) for name in names[1:]}
    row = chance.randrange(1, replicas + 1)
    rows = tuple(tuple(names[at : at + row]) for at in range(0, replicas, row))
    return chance.choice(
        (
            MAJORITY,
            MAJORITY,
            MAJORITY,
            Flexible(elect=max(replicas - commit + 1, replicas // 2 + 1), commit=commit),
            Weighted({names[0]: 1, **weights}),
            Grid(rows),
        )
    )
