"""A replica under attack stays up, goes on serving others, and neither its memory nor its log grows without bound.

Each kind of attack goes on for half a second, beside an honest client of usual load. SECONDS=20 in the environment
makes it twenty, in turns with as much peace, and then what the honest client has to wait is held against what it waits
in peace (T41): the slowest hundredth of its asks, twice as long at most. `make hostile` does that. In the time that CI
has, beside who knows what, that is shown and not judged.
"""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
import trio
from hostile import KINDS, MANY
from tally import Tally
from wanted import number_wanted

from actors import Tls
from actors._acceptor import INCOMING_SIZE_MAX
from actors._complaints import LINES_MAX, PERIOD_SECONDS
from actors._protocol.credential import Credential
from broadcast import GroupRef, connect
from broadcast.cli._certificates import make_authority, make_leaf
from broadcast.cli._process import ReplicaProcess, open_replicas, start_all

SECONDS = number_wanted("SECONDS", 0)
ATTACK_SECONDS = SECONDS or 0.5
TURNS = 4 if SECONDS else 1
"""Of peace and attack, so that whatever else the machine does strikes both alike."""
SETTLED_SECONDS = 1.0  # after an attack, before there is peace
TASKS = 20  # that the honest client has at a time
PATIENCE_SECONDS_MAX = 60.0  # for whatever must come in the end
GROWN_MAX = 2**26  # bytes of memory, whatever the attack: frames of a megabyte, several times while they are looked at
KEPT_MAX = {"endless": 2 * INCOMING_SIZE_MAX}
"""And what may be kept for all strangers together; as much again for what is being given up, and is not free yet."""
SLOWER_MAX = 2.0  # times what the slowest hundredth of asks took before
TRIES_MIN = {"silent": MANY}
"""That are made before the attack is over, however long that takes."""
FULL = {"slow", "endless"}
"""They take all places that one address may have: nobody else gets in from there, and whoever is in, is served."""
BEFORE_TLS = "garbage", "a browser", "oversized", "half-closed", "slow", "silent"
EVENTS_MAX = 3  # kinds of lines that an attack gives cause for
LINE_LENGTH_MAX = 1_000


class Honest:
    """A client of usual load. seconds: how long each of its asks took."""

    def __init__(self, client: GroupRef[Tally]) -> None:
        self._client = client
        self._seconds: list[float] = []

    async def run(self) -> None:
        async with trio.open_nursery() as nursery:
            for _ in range(TASKS):
                nursery.start_soon(self._ask_always)

    async def _ask_always(self) -> None:
        while True:
            began = trio.current_time()
            with trio.fail_after(PATIENCE_SECONDS_MAX):
                await self._client.ask(Tally.add, 1)
            self._seconds.append(trio.current_time() - began)

    async def asks(self, seconds: float) -> list[float]:
        """How long each took of those from now on, for so long, and until they are many."""
        asks = self._seconds = list[float]()
        with trio.fail_after(PATIENCE_SECONDS_MAX):
            await trio.sleep(seconds)
            while len(asks) < 100:  # noqa: ASYNC110 - a busy machine takes its time
                await trio.sleep(0.02)
        return asks


def slowest_hundredth(asks: list[float]) -> float:
    """In which 99 of 100 were answered."""
    return sorted(asks)[len(asks) * 99 // 100]


@contextmanager
def attacked(kind: str, address: str, told: Path) -> Generator[None]:
    """For as long as it lasts. told: the file that it tells its tries in."""
    host, _, port = address.rpartition(":")
    with told.open("wb") as file:
        process = subprocess.Popen([sys.executable, "-m", "hostile", kind, host, port], stdout=file)
        try:
            yield
        finally:
            assert process.poll() is None, "the attack goes on to the end"
            process.send_signal(signal.SIGKILL)
            process.wait()


def tries_in(told: Path) -> int:
    """As far as they were told of: a line that is not whole yet is not counted."""
    return int(("0\n" + told.read_text()).rpartition("\n")[0].rpartition("\n")[2])


def memory_of(pid: int | None, what: str) -> int:
    """Bytes: VmRSS, taken now, or VmHWM, at most so far."""
    lines = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    return int(lines[what].split()[0]) * 1024


def forget_most(pid: int | None) -> None:
    """From now on VmHWM is counted anew."""
    Path(f"/proc/{pid}/clear_refs").write_text("5")


def warnings_in(log: Path) -> list[str]:
    return [line for line in log.read_text().splitlines() if "[warning" in line or "[error" in line]


def certified(directory: Path) -> Tls:
    """The certificate of a client; that of the replica is beside it, where the replica looks for it."""
    make_authority(directory)
    for credential in (Credential("node", "a"), Credential("client", "honest")):
        make_leaf(directory, credential)
    for kind in ("pem", "key"):
        (directory / f"node-a.{kind}").rename(directory / f"node.{kind}")
    files = directory / "client-honest.pem", directory / "client-honest.key", directory / "authority.pem"
    return Tls(certificate=files[0], key=files[1], authority=files[2])


@dataclass
class Borne:
    """What came of an attack. before, during: seconds that 99 of 100 asks took at most. newcomer: seconds until one who
    came meanwhile had an answer; None where nobody tried. grown: bytes."""

    kind: str
    tries: int
    before: float
    during: float
    newcomer: float | None
    grown: int
    lines: list[str]

    def __str__(self) -> str:
        came = "" if self.newcomer is None else f", a newcomer's first in {self.newcomer * 1000:.0f} ms"
        return (
            f"{self.kind}: {self.tries:,} tries; 99 of 100 answered in {self.before * 1000:.1f} ms before and "
            f"{self.during * 1000:.1f} ms under attack{came}; "
            f"{self.grown / 2**20:.0f} MiB more; {len(self.lines)} lines"
        )

    @property
    def wrongs(self) -> list[str]:
        periods = 2 + (ATTACK_SECONDS + PATIENCE_SECONDS_MAX / 2) // PERIOD_SECONDS
        wrongs = {
            "memory": self.grown > GROWN_MAX + KEPT_MAX.get(self.kind, 0),
            "lines": len(self.lines) > EVENTS_MAX * (LINES_MAX + 1) * periods,
            "long lines": max(map(len, self.lines), default=0) > LINE_LENGTH_MAX,
            "waiting": SECONDS > 0 and self.during > SLOWER_MAX * self.before,
        }
        return [wrong for wrong, is_so in wrongs.items() if is_so]


async def newcomer(members: Mapping[str, str], tls: Tls | None) -> float:
    """Seconds until one who comes now has an answer."""
    began = trio.current_time()
    with trio.fail_after(PATIENCE_SECONDS_MAX):
        async with connect("tally", Tally, members=members, tls=tls) as client:
            await client.ask(Tally.add, 1)
    return trio.current_time() - began


async def bear(kind: str, replica: ReplicaProcess, honest: Honest, told: Path, tls: Tls | None) -> Borne:
    """Attack it for a while, in turns with peace. Raises if the honest client is not served then."""
    known = len(warnings_in(replica.log))
    before, during, tries, came = list[float](), list[float](), 0, None
    forget_most(replica.pid)
    size = memory_of(replica.pid, "VmRSS")
    for turn in range(1, TURNS + 1):
        before += await honest.asks(ATTACK_SECONDS / TURNS)
        with attacked(kind, replica.settings.members["a"], told):
            with trio.fail_after(PATIENCE_SECONDS_MAX):
                while not told.read_text():  # noqa: ASYNC110, ASYNC240 - another process writes it, a small file
                    await trio.sleep(0.02)
            during += await honest.asks(ATTACK_SECONDS / TURNS)
            if turn == TURNS:
                came = None if kind in FULL else await newcomer(replica.settings.members, tls)
                with trio.fail_after(PATIENCE_SECONDS_MAX):
                    while tries + tries_in(told) < TRIES_MIN.get(kind, 0):  # noqa: ASYNC110
                        await trio.sleep(0.02)
                    await honest.asks(0)
            tries += tries_in(told)
        if turn < TURNS:
            await trio.sleep(SETTLED_SECONDS)
    grown = memory_of(replica.pid, "VmHWM") - size
    figures = slowest_hundredth(before), slowest_hundredth(during)
    return Borne(kind, tries, *figures, came, grown, warnings_in(replica.log)[known:])


@pytest.mark.parametrize("kinds", [tuple(KINDS), BEFORE_TLS], ids=["plain", "before TLS"])
async def test_a_replica_bears_whatever_is_done_to_it(kinds: tuple[str, ...], tmp_path: Path) -> None:
    tls = certified(tmp_path / "certs") if kinds is BEFORE_TLS else None
    async with open_replicas("tally", {"a": "tally:Tally"}, tmp_path) as replicas:
        replica = replicas["a"]
        if tls is not None:
            replica.command = sys.executable, "-m", "certified"
            replica.environment = {"CERTIFICATES": str(tmp_path / "certs")}
        await start_all([replica])
        pid, borne, members = replica.pid, list[Borne](), replica.settings.members
        async with connect("tally", Tally, members=members, tls=tls) as client, trio.open_nursery() as nursery:
            honest = Honest(client)
            nursery.start_soon(honest.run)
            await honest.asks(1.0)
            for kind in kinds:
                borne.append(await bear(kind, replica, honest, tmp_path / kind, tls))
                tell(str(borne[-1]))
            nursery.cancel_scope.cancel()
        assert replica.pid == pid, "it stays up"
    assert {each.kind: each.wrongs for each in borne if each.wrongs} == {}


def tell(text: str) -> None:
    """What `pytest -s` shows."""
    print(text, file=sys.stderr, flush=True)
