"""The demo's play: three replicas, a client with lines to write, and a leader that is killed in the middle."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol, cast

import msgspec
import trio

from broadcast import Pipeline, connect
from broadcast.cli._lines import Journal, MisapplyingJournal
from broadcast.cli._order import Report, calls_digest, counted, differences, state_digest
from broadcast.cli._process import ReplicaProcess, newest_view, open_replicas, start_all
from broadcast.cli._talk import ViewBegan

GROUP = "journal"
NAMES = ("a", "b", "c")
WINDOW = 100  # lines under way at a time
FORMING_SECONDS_MAX = 30.0
PROGRESS_SECONDS = 5.0  # between two words of how far it has come
SILENCE_SECONDS_MAX = 30.0  # without an answer, before the demo gives up
CATCH_UP_SECONDS_MAX = 30.0


class NoAnswer(Exception):
    """The group did not do what it must in time."""


class Result(msgspec.Struct, frozen=True):
    """How it went.

    same: did all replicas deliver the same order, and is it what the client was told? differences: if not, why.
    before, after: who led until the kill, and who after it. killed: the process id.
    gap: seconds from the kill to the answer to the first line that was sent after it. away: lines that the killed one
    missed. seconds: all in all. reports: of each replica, and of the client.
    """

    same: bool
    differences: list[str]
    lines: int
    before: ViewBegan
    killed: int
    after: ViewBegan
    gap: float
    away: int
    seconds: float
    reports: list[Report]


class Audience(Protocol):
    """Who is told what happens."""

    def tell(self, text: str) -> None:
        """Something happened."""
        ...

    def progress(self, text: str) -> None:
        """Nothing did, for a while, but it goes on."""
        ...


class Play:
    """One performance. `answers` grows while it goes on: the number that each line was told it has."""

    def __init__(self, lines: Sequence[str], replicas: dict[str, ReplicaProcess], audience: Audience) -> None:
        self.lines = lines
        self.answers: list[int] = []
        self._replicas = replicas
        self._audience = audience
        self._sent = 0
        self._killed = trio.Event()
        self._progress = trio.lowlevel.ParkingLot()
        self._before = self._after = ViewBegan(0, "")
        self._pid = self._killed_after = self._away = 0
        self._gap = 0.0

    async def run(self) -> Result:
        """Play it. Raises NoAnswer, ReplicaEnded."""
        began = trio.current_time()
        await self._begin()
        await self._write_all()
        answered = counted(len(self.answers), "line")
        self._audience.tell(f"All is answered: {answered}. Each replica now sums up the order it has delivered.")
        reports = [*await self._reports(), client_report(self.lines, self.answers)]
        found = misnumbered(self.answers) + differences(reports)
        return Result(
            same=not found,
            differences=found,
            lines=len(self.lines),
            before=self._before,
            killed=self._pid,
            after=self._after,
            gap=self._gap,
            away=self._away,
            seconds=trio.current_time() - began,
            reports=reports,
        )

    async def _begin(self) -> None:
        replicas = self._replicas.values()
        self._audience.tell(f"Three replicas of one journal are started: {', '.join(self._replicas)}.")
        with trio.move_on_after(FORMING_SECONDS_MAX) as waiting:
            await start_all(replicas)
        if waiting.cancelled_caught:
            raise NoAnswer(f"the group did not form within {FORMING_SECONDS_MAX:g} s")
        for replica in replicas:
            address = replica.settings.members[replica.name]
            self._audience.tell(f"{replica.name} is process {replica.pid}, and listens at {address}.")
        self._before = newest_view(replicas)
        self._audience.tell(f"They have elected {self._before.leader}: it leads in epoch {self._before.epoch}.")

    async def _write_all(self) -> None:
        members = next(iter(self._replicas.values())).settings.members
        async with (
            connect(GROUP, Journal, members=members, name="client") as journal,
            journal.pipeline(window=WINDOW) as pipe,
            trio.open_nursery() as nursery,
        ):
            self._audience.tell(
                f"A client writes {counted(len(self.lines), 'line')}, up to {WINDOW} of them under way at a time."
            )
            nursery.start_soon(self._send, pipe)
            nursery.start_soon(self._kill_and_bring_back)
            nursery.start_soon(self._tell_progress)
            answers = aiter(pipe)
            while len(self.answers) < len(self.lines):
                with trio.move_on_after(SILENCE_SECONDS_MAX) as waiting:
                    answer = await anext(answers)
                    self.answers.append(cast(int, answer.unwrap()))
                    self._progress.unpark_all()
                if waiting.cancelled_caught:
                    raise NoAnswer(f"no line was answered for {SILENCE_SECONDS_MAX:g} s")

    async def _send(self, pipe: Pipeline[Journal]) -> None:
        for line in self.lines:
            if self._sent == len(self.lines) - 1:
                await self._killed.wait()  # at least the last line meets the group after the kill
            await pipe.send(Journal.write, line)
            self._sent += 1

    async def _kill_and_bring_back(self) -> None:
        """The misfortune in the middle, and its end."""
        middle = len(self.lines) // 2
        await self._answered(middle)
        victim = await self._kill()
        await self._answered(middle + max(1, (len(self.lines) - middle) // 2))
        self._away = len(self.answers) - self._killed_after
        await victim.start()
        self._audience.tell(
            f"{victim.name} is back as process {victim.pid}, with the data it had; "
            f"it has missed {counted(self._away, 'line')}."
        )

    async def _kill(self) -> ReplicaProcess:
        replicas = self._replicas.values()
        self._before = newest_view(replicas)
        victim, survivors = self._replicas[self._before.leader], [*replicas]
        survivors.remove(victim)
        self._pid = victim.pid or 0
        killed_at, self._killed_after = trio.current_time(), len(self.answers)
        victim.kill()
        self._killed.set()
        next_line = min(self._sent + 1, len(self.lines))
        self._audience.tell(
            f"After {counted(self._killed_after, 'answer')}: "
            f"kill -9 of {victim.name}, the leader (process {self._pid})."
        )
        await victim.wait_ended()
        await self._answered(next_line)
        self._gap = trio.current_time() - killed_at
        self._after = await survivors[0].wait_view(after_epoch=self._before.epoch)
        while self._after.leader == victim.name:  # it was elected once more, just before the kill
            self._after = await survivors[0].wait_view(after_epoch=self._after.epoch)
        self._audience.tell(
            f"The group goes on: {self._after.leader} leads in epoch {self._after.epoch}. "
            f"The next line was applied {self._gap:.2f} s after the kill."
        )
        return victim

    async def _tell_progress(self) -> None:
        while len(self.answers) < len(self.lines):
            with trio.move_on_after(PROGRESS_SECONDS) as waiting:
                await self._answered(len(self.lines))
            if waiting.cancelled_caught:
                self._audience.progress(f"{len(self.answers):,} of {len(self.lines):,} lines are answered ...")

    async def _answered(self, count: int) -> None:
        while len(self.answers) < count:
            await self._progress.park()

    async def _reports(self) -> list[Report]:
        reports: dict[str, Report] = {}

        async def ask(replica: ReplicaProcess) -> None:
            reports[replica.name] = await replica.report(delivered=len(self.lines), within=CATCH_UP_SECONDS_MAX)

        async with trio.open_nursery() as nursery:
            for replica in self._replicas.values():
                nursery.start_soon(ask, replica)
        return [reports[name] for name in self._replicas]


def client_report(lines: Sequence[str], answers: Sequence[int]) -> Report:
    """What the client knows of the order: each line at the number that it was answered with."""
    order = [line for _, line in sorted(zip(answers, lines, strict=True), key=lambda told: told[0])]
    journal = Journal()
    for line in order:
        journal.write(line)
    return Report("client", len(order), calls_digest(("write", (line,)) for line in order), None, state_digest(journal))


def misnumbered(answers: Sequence[int]) -> list[str]:
    """Every line has a number of its own, 1, 2, 3...; otherwise a sentence that says so."""
    if sorted(answers) == list(range(1, len(answers) + 1)):
        return []
    return [f"The client was not told every number from 1 to {len(answers):,} once: a line was lost, or written twice."]


async def perform(lines: Sequence[str], directory: Path, audience: Audience, *, plant: str | None = None) -> Result:
    """The whole demo. plant: the replica that misapplies a line."""
    actors = {name: class_path(MisapplyingJournal if name == plant else Journal) for name in NAMES}
    async with open_replicas(GROUP, actors, directory) as replicas:
        return await Play(lines, replicas, audience).run()


def class_path(kind: type) -> str:
    """How a process is told which class: "module:Class"."""
    return f"{kind.__module__}:{kind.__qualname__}"
