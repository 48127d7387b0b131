"""Partitions that divide no group in two: some members hear each other and others do not, or one way only (T35, P18).

Each is held under load. Wherever a member reaches a majority, the group gets on within ten election timeouts and does
not elect again and again; when the links are healed, there is one election more at most.

SECONDS=60 in the environment holds each for a minute; `make partitions` does that, and shows the figures. Where a loop
of a replica stood still, as they do on a machine that does, that time is not counted, and what it elects is excused.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import pytest
import trio
from load import Load, under_load
from pulsing import Pulses, now
from rig import Rig, open_rig, until
from wanted import number_wanted
from wires import Wire, between, parted

from membership._protocol.view import Limits

pytestmark = pytest.mark.alone  # seconds and elections are judged

SECONDS = number_wanted("SECONDS", 5)
TIMEOUT_SECONDS = Limits().election_timeout / 1_000_000
RESUMED_TIMEOUTS_MAX = 10
ELECTIONS_MAX = 2  # in 100 election timeouts, after the group got on
HEALED_ELECTIONS_MAX = 1
HEALED_TIMEOUTS = 6  # for so long it is watched after healing
HELD_IDLE_TIMEOUTS = 5
STALL_SECONDS = 0.2  # a loop that stood still for so long may be the reason of an election
ANSWERS = 20
PAUSE_SECONDS = 0.05


@dataclass(frozen=True)
class Partition:
    """cuts: the wires, given those of a leader and its followers. leads_on: is there no reason to elect another?"""

    name: str
    members: str
    cuts: Callable[[Rig, str, list[str]], list[Wire]]
    leads_on: bool


def leader_at_an_end(rig: Rig, leader: str, followers: list[str]) -> list[Wire]:
    return between(rig.wires, [leader], followers[:1])


def leader_in_the_middle(rig: Rig, leader: str, followers: list[str]) -> list[Wire]:
    return between(rig.wires, followers[:1], followers[1:])


def mute_leader(rig: Rig, leader: str, followers: list[str]) -> list[Wire]:
    return [wire for (sayer, _), wire in rig.wires.items() if sayer == leader]


def deaf_leader(rig: Rig, leader: str, followers: list[str]) -> list[Wire]:
    return [wire for (_, hearer), wire in rig.wires.items() if hearer == leader]


def follower_between_two_pairs(rig: Rig, leader: str, followers: list[str]) -> list[Wire]:
    return between(rig.wires, [leader, followers[0]], followers[2:])


def leader_between_two_pairs(rig: Rig, leader: str, followers: list[str]) -> list[Wire]:
    return between(rig.wires, followers[:2], followers[2:])


def follower_that_alone_hears_all(rig: Rig, leader: str, followers: list[str]) -> list[Wire]:
    """Nobody else reaches a majority: it has to lead."""
    _, *others = followers
    return apart(rig, [leader, *others])


def ring(rig: Rig, leader: str, followers: list[str]) -> list[Wire]:
    """Each hears its two neighbours."""
    around = [leader, *followers]
    return [
        wire
        for index, name in enumerate(around)
        for wire in between(rig.wires, [name], [around[(index + 2) % len(around)]])
    ]


def apart(rig: Rig, names: Iterable[str]) -> list[Wire]:
    some = set(names)
    return [wire for pair, wire in rig.wires.items() if some.issuperset(pair)]


PARTITIONS = (
    Partition("the leader and one follower apart", "abc", leader_at_an_end, leads_on=True),
    Partition("the followers apart", "abc", leader_in_the_middle, leads_on=True),
    Partition("a leader that can send and not receive", "abc", deaf_leader, leads_on=False),
    Partition("a leader that can receive and not send", "abc", mute_leader, leads_on=False),
    Partition("two pairs and a follower that hears both", "abcde", follower_between_two_pairs, leads_on=True),
    Partition("two pairs and the leader, which hears both", "abcde", leader_between_two_pairs, leads_on=True),
    Partition("all apart but for a follower", "abcde", follower_that_alone_hears_all, leads_on=False),
    Partition("a ring", "abcde", ring, leads_on=True),
)


def pulsing(rig: Rig) -> Pulses:
    """Of these members, who are not started yet."""
    pulses = Pulses({name: member.process for name, member in rig.members.items()}, rig.directory)
    for name, member in rig.members.items():
        member.environment = pulses.environment(name)
    return pulses


class Watch:
    """What happens since it was made, and how much of that the machine is to blame for."""

    def __init__(self, rig: Rig, pulses: Pulses) -> None:
        self._rig = rig
        self._pulses = pulses
        self._began = now()
        self._epoch = rig.epoch
        self.elections = 0
        self.stalls = 0

    def end(self) -> None:
        """Count."""
        self.elections = self._rig.epoch - self._epoch
        self.stalls = sum(seconds >= STALL_SECONDS for seconds in self._pulses.late(self._began))

    async def answers(self, load: Load) -> float:
        """So many more; returns how many seconds that took of a machine that ran."""
        began = now()
        await load.answers(ANSWERS)
        return max(0.0, (now() - began) / 1_000_000 - sum(self._pulses.late(began)))

    def assert_elections(self, most: int) -> None:
        assert self.elections <= most + self.stalls, f"{self.elections} elections, {self.stalls} stalls"


@pytest.mark.parametrize("partition", PARTITIONS, ids=lambda partition: partition.name)
async def test_the_group_gets_on_and_does_not_elect_again_and_again(
    partition: Partition, library: Path, tmp_path: Path
) -> None:
    async with open_rig("store:Store", library, tmp_path, partition.members) as rig:
        pulses = pulsing(rig)
        await rig.start()
        async with under_load(rig, random.Random(partition.name), PAUSE_SECONDS) as load:
            leader = rig.leader
            assert leader is not None
            cut = partition.cuts(rig, leader.name, [member.name for member in rig.followers])
            with parted(cut):
                whole = Watch(rig, pulses)
                resumed = await whole.answers(load)
                held = Watch(rig, pulses)
                slowest, end = resumed, trio.current_time() + SECONDS
                while trio.current_time() < end:
                    slowest = max(slowest, await held.answers(load))
                held.end()
            healed = Watch(rig, pulses)
            await healed.answers(load)
            await trio.sleep(HEALED_TIMEOUTS * TIMEOUT_SECONDS)
            await until(lambda: all(member.process.view == leader.process.view for member in rig.members.values()))
            healed.end()
            whole.end()
            tell(
                f"{partition.name}: {ANSWERS} answers after {resumed:.2f} s, later in {slowest:.2f} s at most; "
                f"{whole.elections} elections, {healed.elections} of them after healing; {whole.stalls} stalls"
            )
            assert slowest <= RESUMED_TIMEOUTS_MAX * TIMEOUT_SECONDS
            if partition.leads_on:
                whole.assert_elections(0)
            held.assert_elections(ELECTIONS_MAX)
            healed.assert_elections(HEALED_ELECTIONS_MAX)


@pytest.mark.parametrize(
    "partition",
    [each for each in PARTITIONS if each.cuts in (leader_at_an_end, follower_between_two_pairs)],
    ids=lambda partition: partition.name,
)
async def test_a_leader_with_a_majority_stays_also_where_all_logs_are_equal(
    partition: Partition, library: Path, tmp_path: Path
) -> None:
    """Under load, who is cut off from the leader has the shorter log; in an idle group only rule 2 is against it."""
    async with open_rig("store:Store", library, tmp_path, partition.members) as rig:
        pulses = pulsing(rig)
        await rig.start()
        watch = Watch(rig, pulses)
        leader = rig.leader
        assert leader is not None
        with parted(partition.cuts(rig, leader.name, [member.name for member in rig.followers])):
            await trio.sleep(HELD_IDLE_TIMEOUTS * TIMEOUT_SECONDS)
        await trio.sleep(HELD_IDLE_TIMEOUTS * TIMEOUT_SECONDS)
        watch.end()
        watch.assert_elections(0)


def tell(text: str) -> None:
    """What `pytest -s` shows."""
    print(text, file=sys.stderr, flush=True)
