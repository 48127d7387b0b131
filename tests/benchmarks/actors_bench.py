"""The benchmark of plain actors: `python tests/benchmarks/actors_bench.py`, or `make bench-actors`. See --help."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path

import trio
from children import Child, ChildFailed, fresh, open_child
from machine import description, load_average
from running import leaves, positive, progress
from spread import Figures, gather
from table import FLOOR, OURS, Row, rendered

TASKS, PYKKA, CASTY = "tasks", "Pykka", "casty"
SYSTEMS = (OURS, FLOOR, TASKS, PYKKA, CASTY)
RIVALS = {
    PYKKA: ("pykka", "actors_pykka.py", ("tell", "ask")),
    CASTY: ("casty", "actors_casty.py", ("tell", "async ask")),
}
"""Of each: its module, what drives it, and what it can be asked to do."""
SECONDS_MAX = 180.0


@dataclass(frozen=True, slots=True)
class Amounts:
    """tells, asks, idle: of one case. remote: asks, and as many echoes. seconds: for small asks, alone and beside large
    messages of `large` bytes, `streams` at a time."""

    rounds: int
    tells: int = 300_000
    asks: int = 50_000
    slow_asks: int = 10_000
    idle: int = 100_000
    remote: int = 4_000
    seconds: float = 3.0
    large: int = 2**23
    streams: int = 2


def quick() -> Amounts:
    """For a look whether everything runs."""
    return Amounts(1, 2_000, 500, 500, 1_000, 200, 0.2, 2**20, 1)


ROWS = (
    Row("tell, until the last is handled", "/s", "tell rate"),
    Row("ask a def, one after another", "/s", "ask rate"),
    Row("ask an async def, one after another", "/s", "async ask rate"),
    Row("actors spawned, one after another", "/s", "idle rate"),
    Row("memory of 100,000 idle actors", "MB", "idle MB"),
    Row("tasks of the idle actors", "", "idle tasks"),
    Row("CPU, tell", "us/message", "tell cpu"),
    Row("CPU, ask a def", "us/ask", "ask cpu"),
    Row("CPU, ask an async def", "us/ask", "async ask cpu"),
    Row("ask another process: p50", "ms", "remote p50"),
    Row("ask another process: p99", "ms", "remote p99"),
    Row("the same, and an echo of typed messages: p50", "ms", "typed p50"),
    Row("the same, and an echo of typed messages: p99", "ms", "typed p99"),
    Row("small asks alone: p50", "ms", "alone p50"),
    Row("small asks alone: p99", "ms", "alone p99"),
    Row("small asks beside large messages: p50", "ms", "beside p50"),
    Row("small asks beside large messages: p99", "ms", "beside p99"),
    Row("large messages meanwhile", "MB/s", "beside rate"),
)

LEGEND = """\
Median, and (lowest-highest) where there is more than one round. One process and one core each; between two processes,
two. Everything is counted: what a counter says at the end, and in each answer, is what was sent.
floor: Trio alone, in the same run. tell: a memory channel, without waiting where there is room, the same look at the
  cancellation for each and the same turns. ask a def: a checkpoint and a call. ask an async def: two tasks that wake
  each other. Another process: a bare Trio echo of as many bytes between the same two, turn and
  turn about with the asks; nothing of ours is in Trio's loop then. An echo of typed messages: cbor2 and msgspec on
  both sides, a task that reads, and nothing else.
tasks: Trio alone, as one writes it for many askers. An async def: over two memory channels. Another process: an
  echo whose answers are read by a task of its own, which wakes who waits for them.
Pykka: an actor is a thread; its ask blocks. casty: asyncio and Rust, Python 3.12 and newer; its tell takes it all.
ours/x: our figure divided by x's. For ms, us and MB less is better for us, for /s more."""


@dataclass(frozen=True, slots=True)
class Run:
    """What was measured: figures by system, round by round, and what is to be said of it."""

    figures: dict[str, list[Figures]]
    notes: list[str]

    def add(self, system: str, figures: Figures) -> None:
        self.figures.setdefault(system, []).append(figures)


async def measure(directory: Path, amounts: Amounts) -> Run:
    """All of it. Raises ChildFailed if something of ours goes wrong; of others that is noted."""
    run = Run({}, [])
    rivals = {system: rival for system, rival in RIVALS.items() if find_spec(rival[0]) is not None}
    if PYKKA not in rivals:
        run.notes.append("Pykka is not installed, and not measured: `make bench-actors` installs it")
    if CASTY not in rivals:
        run.notes.append("casty is not installed, and not measured: it is there on Python 3.12 and newer")
    for number in range(1, amounts.rounds + 1):
        where = fresh(directory / str(number))
        told = f"round {number} of {amounts.rounds}"
        progress(f"{told}: floors and ours, in one process")
        alike = {"tell": amounts.tells, "ask": amounts.asks, "async ask": amounts.asks}
        floor = await _cases(where, "actors_floor.py", alike)
        channels = await _cases(where, "actors_floor.py", {"channels": amounts.asks})
        ours = await _cases(where, "actors_local.py", {**alike, "idle": amounts.idle})
        for system, (_, script, cases) in rivals.items():
            progress(f"{told}: {system}")
            counts = {case: amounts.tells if case == "tell" else amounts.slow_asks for case in cases}
            try:
                run.add(system, await _cases(where, script, counts))
            except* ChildFailed as errors:
                run.notes.extend(f"{system}, round {number}, gave no figures: {error}" for error in leaves(errors))
        progress(f"{told}: between two processes")
        near, echo, shared = await _remote(where, amounts)
        run.add(OURS, ours | near)
        run.add(FLOOR, floor | echo)
        run.add(TASKS, {name.replace("channels", "async ask"): value for name, value in channels.items()} | shared)
    return run


async def _cases(directory: Path, script: str, counts: Mapping[str, int]) -> dict[str, float]:
    """What a script measures of each case, in a process that is warm, and of its own."""
    figures: dict[str, float] = {}
    async with open_child(script.removesuffix(".py"), script, directory) as child:
        for case, count in counts.items():
            if case != "idle":
                await child.ask(case, SECONDS_MAX, count=count // 10)
            measured = await child.ask(case, SECONDS_MAX, count=count)
            figures |= {f"{case} {figure}": value for figure, value in measured.items()}
    return figures


async def _remote(directory: Path, amounts: Amounts) -> tuple[dict[str, float], dict[str, float], dict[str, float]]:
    """Ours, the echoes, and the one that is shared."""
    async with AsyncExitStack() as stack:
        far = await stack.enter_async_context(open_child("far", "actors_far.py", directory))
        near = await stack.enter_async_context(
            open_child("near", "actors_near.py", directory, far=far.ready["address"])
        )
        await far.ask("meet", SECONDS_MAX, address=near.ready["address"])
        asked, answered = await _sizes(near, far)
        echo = await far.ask("listen", SECONDS_MAX, asked=asked, answered=answered)
        typed = await far.ask("listen_typed", SECONDS_MAX)
        ports = {"port": echo["port"], "typed_port": typed["port"]}
        compared = await near.ask("compare", SECONDS_MAX, count=amounts.remote, asked=asked, answered=answered, **ports)
        alone = await near.ask("alone", SECONDS_MAX, seconds=amounts.seconds)
        beside = await near.ask(
            "beside", SECONDS_MAX, seconds=amounts.seconds, size=amounts.large, streams=amounts.streams
        )
    asks = compared["asks"]
    ours = (
        _named("remote", asks)
        | _named("typed", asks)
        | _named("alone", alone["times"])
        | _named("beside", beside["times"])
    )
    ours |= {"beside rate": beside["rate"], "bytes asked": asked, "bytes answered": answered}
    echoes = _named("remote", compared["echoes"]) | _named("typed", compared["typed"])
    return ours, echoes, _named("remote", compared["shared"])


async def _sizes(near: Child, far: Child) -> tuple[int, int]:
    """Bytes of an ask, and of its answer."""
    asked = await near.ask("size", SECONDS_MAX)
    answered = await far.ask("size", SECONDS_MAX)
    return asked["size"], answered["size"]


def _named(name: str, times: Mapping[str, float]) -> dict[str, float]:
    return {f"{name} {figure}": value for figure, value in times.items()}


def report(run: Run, amounts: Amounts, loads: tuple[str, str], seconds: float) -> str:
    """The table, and all that its reader must know."""
    results = {system: gather(rounds) for system, rounds in run.figures.items()}
    ours = results[OURS]
    about = [
        *(f"{name}: {text}" for name, text in description().items()),
        f"load average: {loads[0]} before, {loads[1]} after; it was measured for {seconds:.0f} s. Our own processes "
        "are in it: on a quiet machine it begins near 0",
        f"rounds: {amounts.rounds}; tells {amounts.tells:,}, asks {amounts.asks:,} ({amounts.slow_asks:,} of Pykka and "
        f"casty), {amounts.remote:,} of another process with {ours['bytes asked'].middle:.0f} bytes, "
        f"{ours['bytes answered'].middle:.0f} back; idle actors {amounts.idle:,}; large messages of {amounts.large:,} "
        f"bytes, {amounts.streams} at a time",
        *run.notes,
    ]
    return "\n".join([rendered(results, ROWS, SYSTEMS), "", LEGEND, "", *about])


def as_json(run: Run, amounts: Amounts, loads: tuple[str, str], seconds: float) -> str:
    """The same, every value of every round, for programs."""
    results = {system: gather(rounds) for system, rounds in run.figures.items()}
    return json.dumps(
        {
            "machine": description(),
            "load": loads,
            "seconds": seconds,
            "amounts": asdict(amounts),
            "figures": {
                system: {name: spread.values for name, spread in figures.items()} for system, figures in results.items()
            },
            "notes": run.notes,
        },
        indent=1,
    )


def parsed(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser("bench-actors", description="Measure plain actors, and what they compare to.")
    parser.add_argument("--rounds", type=positive, default=3, help="rounds of everything")
    parser.add_argument("--quick", action="store_true", help="see whether it runs: a round of very little of each")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every value to this file, too")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str]) -> None:
    options = parsed(arguments)
    amounts = quick() if options.quick else Amounts(options.rounds)
    with tempfile.TemporaryDirectory(prefix="troupe-bench-") as directory:
        try:
            begun, load = time.monotonic(), load_average()
            run = trio.run(measure, Path(directory), amounts)
        except* ChildFailed as errors:
            sys.exit("\n".join(f"bench-actors: {error}" for error in leaves(errors)))
    told = (run, amounts, (load, load_average()), time.monotonic() - begun)
    print(report(*told))
    if options.json:
        options.json.write_text(as_json(*told) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
