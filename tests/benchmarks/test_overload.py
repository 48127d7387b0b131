"""A thousand tasks ask for more than the group gives, and one replica is stopped: memory is bounded, and it recovers.

SECONDS in the environment says for how long; `make endurance` has them ask for 20 s.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import pytest
from lasting import MIB, NAMES, mib, open_lasting

pytestmark = pytest.mark.alone  # memory is judged, and how much is waiting for a processor counts

SECONDS = float(os.environ.get("SECONDS") or 3)
TASKS = 1_000
SIZE = 1_000  # bytes that each command brings
GROWN_MAX = 64 * MIB
CAUGHT_UP_SECONDS_MAX = 120.0
WAITED_SECONDS_MAX = 60.0


async def test_a_flood_while_a_follower_is_stopped_adds_little_and_is_over_when_it_is_over(tmp_path: Path) -> None:
    async with open_lasting(tmp_path / "group") as group:
        await group.start(*NAMES)
        await group.start_client()
        await group.ask("asks", count=TASKS, tasks=10)
        before, client = await group.settled(), await group.ask("status")
        await group.anew()
        stopped = next(name for name, told in before.items() if told["leader"] != name)
        group.replicas[stopped].send_signal(signal.SIGSTOP)
        flood = await group.ask("flood", seconds=SECONDS, tasks=TASKS, size=SIZE)
        group.replicas[stopped].send_signal(signal.SIGCONT)
        last = max([(await group.status(name))["last"] for name in NAMES if name != stopped])
        await group.caught_up(stopped, last, CAUGHT_UP_SECONDS_MAX)
        after = await group.settled()
        calm = await group.ask("flood", seconds=SECONDS / 3, tasks=TASKS, size=SIZE)
        grown = {name: after[name]["peak"] - before[name]["memory"] for name in NAMES}
        grown["client"] = flood["peak"] - client["memory"]
        print(
            f"{flood['count']:,} commands, {flood['rate']:,.0f}/s; {calm['rate']:,.0f}/s once {stopped} was back; "
            + ", ".join(f"{mib(size)} more at {name}" for name, size in grown.items())
            + f"; load {os.getloadavg()[0]:.1f}",
            file=sys.stderr,
        )
        assert max(grown.values()) < GROWN_MAX
        assert max(flood["longest"], calm["longest"]) < WAITED_SECONDS_MAX, "nobody is left without an answer"
        await group.settled()
