"""What a history may meet: sizes, and how often which fault strikes. All of it follows from the seed, unless given."""

from __future__ import annotations

import random
from dataclasses import dataclass

MILLISECOND = 1_000  # in microseconds, the unit of all times here
SECOND = 1_000_000


@dataclass(frozen=True, slots=True)
class Options:
    """Times are in microseconds; rates are chances from 0 to 1; an interval of 0 means never.

    replicas, clients: how many of them.
    idle: of a client, at most, between two things it does.
    duration: how long faults strike. After it everything is repaired, and all must come to an end.
    faults_from: when they begin; forming the group can be spared.
    loss, duplication, reordering: of each message between replicas.
    latency, delay: of a message, one way: usually at most, and when it is reordered at most.
    disk_latency, stall: of a write, at most; and the chance that it takes longer than an election.
    strike_interval: mean time between two of the faults below, each with its weight.
    crashes, power_cuts, pauses, cuts, wipes, clock_jumps: weights: one process, all at once, one process stopped, links
        cut, one disk wiped, one wall clock set anew.
    clock_error: by how much a wall clock may be wrong.
    """

    replicas: int = 3
    clients: int = 2
    idle: int = 100 * MILLISECOND
    duration: int = 4 * SECOND
    faults_from: int = 0
    loss: float = 0.02
    duplication: float = 0.02
    reordering: float = 0.05
    latency: int = 2 * MILLISECOND
    delay: int = 100 * MILLISECOND
    disk_latency: int = 4 * MILLISECOND
    stall: float = 0.005
    strike_interval: int = 500 * MILLISECOND
    crashes: int = 4
    power_cuts: int = 1
    pauses: int = 2
    cuts: int = 4
    wipes: int = 0
    clock_jumps: int = 0
    election_timeout: int = 200 * MILLISECOND
    session_term: int = 600 * SECOND
    clock_error: int = SECOND

    @staticmethod
    def drawn(chance: random.Random) -> Options:
        """Some options, most of them harsh, each kind of fault absent now and then."""

        def rate(*choices: float) -> float:
            return chance.choice(choices)

        return Options(
            replicas=chance.choice((1, 3, 3, 3, 3, 3, 3, 5)),
            clients=chance.randrange(1, 5),
            idle=chance.choice((60, 150, 300)) * MILLISECOND,
            duration=chance.randrange(3 * SECOND, 6 * SECOND),
            faults_from=chance.choice((0, 300 * MILLISECOND, 300 * MILLISECOND)),
            loss=rate(0, 0, 0.01, 0.05, 0.2),
            duplication=rate(0, 0.02, 0.1),
            reordering=rate(0, 0.02, 0.1, 0.3),
            latency=chance.choice((MILLISECOND, 5 * MILLISECOND)),
            delay=chance.choice((20 * MILLISECOND, 100 * MILLISECOND, 500 * MILLISECOND)),
            disk_latency=chance.choice((MILLISECOND, 5 * MILLISECOND, 40 * MILLISECOND)),
            stall=rate(0, 0.002, 0.02),
            strike_interval=chance.choice((0, 150, 300, 300, 600)) * MILLISECOND,
            crashes=chance.choice((0, 3, 6)),
            power_cuts=chance.choice((0, 1)),
            pauses=chance.choice((0, 2)),
            cuts=chance.choice((0, 3, 6)),
            election_timeout=chance.choice((100 * MILLISECOND, 250 * MILLISECOND)),
            session_term=chance.choice((600 * SECOND, 600 * SECOND, 1500 * MILLISECOND)),
            clock_error=chance.choice((0, SECOND, 3600 * SECOND)),
            wipes=chance.choice((0, 0, 2)),
            clock_jumps=chance.choice((0, 0, 2)),
        )
