"""A group grows from three processes to five and shrinks to three again, all of them replaced, while it is used.

The clients' pace is the clock's: 500 commands a second leave, whatever comes back. ROUNDS=5 in the environment does all
of it five times; `make growing` does that, and shows the figures.
"""

from __future__ import annotations

import random
from pathlib import Path
from statistics import quantiles

import pytest
import trio
from changing import Changing
from rig import PATIENCE_SECONDS_MAX, Rig, open_rig, tell, until
from stalls import Machine
from steady import Steady
from tally import Tally
from wanted import count_wanted

from broadcast.cli._order import state_digest

pytestmark = pytest.mark.alone  # the longest pause is judged

ROUNDS = count_wanted("ROUNDS", 1)
RATE = 500
CLIENTS = 4
BETWEEN = RATE // 2  # answers that come during a change, at least, or after it
GAPS = 20  # the longest by the clock: among them is the longest of the machine, unless it stood still more often
PAUSE_SECONDS_MAX = 1.0  # without an answer to anybody, of the machine: two election timeouts


class Operator:
    """Makes one change after the other, each a while after the last."""

    def __init__(self, rig: Rig, steady: Steady, chance: random.Random) -> None:
        self.changing = Changing(rig, chance.choice)
        self._rig = rig
        self._steady = steady

    async def grow(self) -> None:
        await self.changing.add(self._go_on)

    async def shrink(self, old: str) -> None:
        await self.changing.remove(old, self._go_on)

    async def replace(self, old: str) -> None:
        """In one step."""
        await self.changing.replace(old, self._go_on)

    async def _go_on(self) -> None:
        wanted = self._steady.answered + BETWEEN
        try:
            await until(lambda: self._steady.answered >= wanted)
        except trio.TooSlowError:
            told = [len(answers) for answers in self._steady.answers]
            raise AssertionError(
                f"nobody is answered; the clients were {told} times:\n{await self._rig.statuses()}"
            ) from None


async def test_three_become_five_others_and_three_of_these_while_commands_come_at_a_steady_pace(
    tmp_path: Path, machine: Machine
) -> None:
    async with open_rig("tally:Tally", None, tmp_path, "abc", later="defghij", wired=False) as rig:
        await rig.start()
        steady = Steady(RATE, CLIENTS)
        operator = Operator(rig, steady, random.Random(ROUNDS))
        elections, began = -rig.epoch, trio.current_time()
        async with trio.open_nursery() as nursery:
            for number in range(CLIENTS):
                known = "abc"[number % 3]  # one member, that will be replaced: the others are heard of
                nursery.start_soon(steady.run, number, {known: rig.addresses[known]})
            for _ in range(ROUNDS):
                for _ in range(2):
                    await operator.grow()
                old = list(rig.members)
                assert len(old) == 5
                for name in old[:3]:
                    await operator.replace(name)
                for name in old[3:]:
                    await operator.grow()
                    await operator.shrink(name)
                for name in random.Random(ROUNDS).sample(list(rig.members), 2):
                    await operator.shrink(name)
                assert len(rig.members) == 3
                assert not {*old} & {*rig.members}
            steady.ending = True
            nursery.cancel_scope.deadline = trio.current_time() + PATIENCE_SECONDS_MAX
        seconds, elections = trio.current_time() - began, elections + rig.epoch
        gaps = sorted(steady.gaps, key=lambda gap: gap[0] - gap[1])[:GAPS]
        longest = max([steady.GAP_SECONDS, *[await machine.counted(*gap) for gap in gaps]])
        by_the_clock = max([steady.GAP_SECONDS, *[end - begin for begin, end in gaps]])
        percentiles = quantiles(steady.delays, n=100)
        told = (
            f"{operator.changing.made} changes of members in {seconds:.0f} s, {steady.sent} commands "
            f"({steady.sent / seconds:.0f}/s), {elections} elections; longest pause {longest:.3f} s of the machine, "
            f"{by_the_clock:.3f} s by the clock; answered within {percentiles[49] * 1000:.0f} ms (half), "
            f"{percentiles[98] * 1000:.0f} ms (99 of 100), {max(steady.delays) * 1000:.0f} ms (all)"
        )
        tell(f"Growing and shrinking: {told}")
        assert operator.changing.stopped == 0, "each ended by itself that was removed"
        assert sorted(total for answers in steady.answers for total in answers) == list(range(1, steady.sent + 1))
        assert all(answers == sorted(answers) for answers in steady.answers)
        assert await rig.wrongs() == []
        reports = [await member.process.report(delivered=steady.sent, within=0) for member in rig.members.values()]
        tally = Tally()
        tally.total = steady.sent
        assert {(report.count, report.state) for report in reports} == {(steady.sent, state_digest(tally))}
        assert longest <= PAUSE_SECONDS_MAX, told
