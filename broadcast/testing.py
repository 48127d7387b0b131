"""Try an actor of your own under faults, in virtual time: the real protocol, a simulated network, disks and clocks.

    from broadcast.testing import simulate

    def workload(chance):
        return Account.deposit, chance.randrange(100)

    def test_accounts_agree():
        for seed in range(20):
            simulate(Account, workload, seed=seed)

Everything follows from the seed: which faults strike when, and what is asked. Checked are the promises of the
protocol, after every step; that every outcome, read and state is what one instance alone gives for the same order; and
that another instance, and one in another process, come to the same: an actor that looks at a clock, at randomness of
its own, at `id()`, or at the order of a set, is found, with the first command that shows it.

With pytest, the fixture `simulated` plays histories of new seeds at each run, and says which: put
`pytest_plugins = ["broadcast.pytest_plugin"]` in a `conftest.py`. `calls` gives a Hypothesis strategy for a class's
messages.
"""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, TypeAlias

from actors import Actor, InvalidMessage
from actors._actor import AnyMarked
from actors._interface import Interface, Method
from broadcast._simulation.history import History, run
from broadcast._simulation.invariants import Violation
from broadcast._simulation.options import MAJORITY, MILLISECOND, Options
from broadcast._simulation.witness import NotDeterministic, Witness

if TYPE_CHECKING:
    from hypothesis.strategies import SearchStrategy

__all__ = ["NotDeterministic", "Simulated", "Violation", "calls", "simulate"]

Call: TypeAlias = tuple[Any, ...]
"""A method, as `Class.method`, and its arguments."""
Workload: TypeAlias = Callable[[random.Random], Call]

CALM = Options(
    loss=0,
    duplication=0,
    reordering=0,
    latency=MILLISECOND,
    disk_latency=MILLISECOND,
    stall=0,
    strike_interval=0,
    idle=30 * MILLISECOND,
    duration=1500 * MILLISECOND,
)
TRIES = 100  # of a workload, to give a command where one is wanted, or a query


@dataclass(frozen=True, slots=True)
class Simulated:
    """One history that went well.

    seed: all follows from it. digest: of all that happened. answers: commands that were answered.
    reads: queries that were. met: how often which fault, or what follows from one, was met.
    """

    seed: int
    digest: str
    answers: int
    reads: int
    met: dict[str, int]


def simulate(
    actor: type[Actor],
    workload: Workload,
    *,
    seed: int | None = None,
    replicas: int = 3,
    clients: int = 3,
    faults: bool = True,
) -> Simulated:
    """Play one history of a group that runs this class.

    workload: gives the next call, a command or a query, from the `random.Random` that it is given and nothing else.
    seed: all follows from it; a new one unless given. replicas: 1 to 7. clients: as many sessions at least.
    faults: crashes, power cuts, lost messages, cut links and all that; else only what a quiet network does.

    Raises Violation, whose text says what broke and how to see it again, and whose `trace` holds the last events;
    NotDeterministic, a Violation, for a class whose instances come to differ; TypeError for one that cannot be
    replicated, or a workload that gives no call; ValueError for one without commands.
    """
    if not 1 <= replicas <= 7:
        raise ValueError(f"replicas is between 1 and 7, not {replicas}")
    if clients < 1:
        raise ValueError(f"clients is at least 1, not {clients}")
    Interface.of(actor).replicable()
    seed = random.SystemRandom().randrange(2**32) if seed is None else seed
    options = Options.drawn(random.Random(seed)) if faults else CALM  # noqa: S311 - it has to be reproducible
    options = dataclasses.replace(options, replicas=replicas, clients=clients, quorum=MAJORITY)
    again = f"simulate({actor.__qualname__}, ..., seed={seed}, replicas={replicas}, clients={clients}, faults={faults})"
    history = run(seed, options=options, play=_Play(actor, workload), again=again)
    return _simulated(history)


def _simulated(history: History) -> Simulated:
    marks = history.marks
    return Simulated(history.seed, history.digest, marks["answers"], marks["reads"], dict(marks))


class _Play:
    """A play (see `broadcast._simulation.play`) of any class."""

    def __init__(self, actor: type[Actor], workload: Workload) -> None:
        self.actor = actor
        self.interface = Interface.of(actor)
        self._workload = workload
        self._queries = any(method.kind == "query" for method in self.interface.methods.values())

    def expectation(self) -> Witness:
        return Witness(self.actor, self.interface)

    def command(self, chance: random.Random, owner: str, number: int) -> tuple[str, bytes]:
        found = self._find(chance, "command")
        if found is None:
            raise ValueError(f"the workload gave no command of {self.actor.__qualname__} in {TRIES} calls")
        return found

    def query(self, chance: random.Random) -> bytes | None:
        found = self._find(chance, "query") if self._queries else None
        return found[1] if found else None

    def _find(self, chance: random.Random, kind: str) -> tuple[str, bytes] | None:
        for _ in range(TRIES):
            call = self._workload(chance)
            if not isinstance(call, tuple) or not call:  # pyright: ignore[reportUnnecessaryIsInstance]
                raise TypeError(f"a workload gives a call, (Class.method, *arguments), and not {call!r}")
            asked, *arguments = call
            method = self.interface.method_for(asked)
            if method.kind == kind:
                return method.tag, method.pack(tuple(arguments), {})
        return None


def calls(actor: type[Actor], *methods: AnyMarked) -> SearchStrategy[Call]:
    """A Hypothesis strategy of calls, (method, *arguments), after the methods' annotations.

    methods: which, as `Class.method`; all commands and queries of the class unless given. Needs hypothesis.
    """
    from hypothesis import strategies as st

    interface = Interface.of(actor)
    chosen = [interface.method_for(each) for each in methods] or list(interface.methods.values())
    return st.one_of([_calls_of(actor, method) for method in chosen])


def _calls_of(actor: type[Actor], method: Method) -> SearchStrategy[Call]:
    from hypothesis import strategies as st

    arguments = st.tuples(*map(st.from_type, method.annotations))
    return arguments.filter(partial(_fits, method)).map(lambda drawn: (getattr(actor, method.name), *drawn))


def _fits(method: Method, arguments: tuple[object, ...]) -> bool:
    """Can this be sent? A type may say less than that: an int has 64 bits, a str no surrogates."""
    try:
        method.pack(arguments, {})
    except InvalidMessage:
        return False
    return True
