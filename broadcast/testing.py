"""Try an actor of your own under faults, in virtual time: the real protocol, a simulated network, disks and clocks.

    from broadcast.testing import simulate

    def workload(chance):
        return Account.deposit, chance.randrange(100)

    def test_accounts_agree():
        for seed in range(20):
            simulate(Account, workload, seed=seed)

Everything follows from the seed: which faults strike when, and what is asked. Checked are the promises of the
protocol, after every step; that every outcome, read and state is what one instance alone gives for the same order; and
that other instances, in this process and in two more, come to the same. A class that looks at a clock, at chance, at
`id()`, at the order of a set, or at what its instances share, is told with the first command that shows it; so are
commands that crash. What is found and what cannot be: docs/testing.md.

With pytest, the fixture `simulated` plays histories of new seeds at each run, and says which: put
`pytest_plugins = ["broadcast.pytest_plugin"]` in a `conftest.py`. `calls` gives a Hypothesis strategy for a class's
messages; `Alone` runs them without a group, as in `Alone(Account).ask(*call)`.
"""

from __future__ import annotations

import dataclasses
import random
import warnings
from collections import Counter
from collections.abc import Callable, Collection
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, TypeAlias, cast

from actors import Actor, InvalidMessage
from actors._actor import AnyMarked
from actors._interface import Interface, Method
from broadcast._simulation import loading
from broadcast._simulation.actor_fault import ActorFault, CommandCrashed, NotDeterministic
from broadcast._simulation.alone import Alone
from broadcast._simulation.history import run
from broadcast._simulation.invariants import Violation
from broadcast._simulation.options import MAJORITY, MILLISECOND, Options
from broadcast._simulation.witness import Witness

if TYPE_CHECKING:
    from hypothesis.strategies import SearchStrategy

__all__ = [
    "ActorFault",
    "Alone",
    "Call",
    "CommandCrashed",
    "NotDeterministic",
    "NotRunElsewhere",
    "Simulated",
    "Violation",
    "Workload",
    "calls",
    "simulate",
]

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
NOT_ELSEWHERE = (
    "it was not run in another process, so that the order of sets, hash(), the day, the time zone, files and the "
    "environment were not looked for"
)
ASKED_MAX = 2  # of the queries of a method, those that are asked again after each command
TRIES = 100  # of a workload, to give a command where one is wanted, or a query


@dataclass(frozen=True, slots=True)
class Simulated:
    """One history that went well.

    seed: all follows from it. digest: of all that happened. answers: commands that were answered.
    reads: queries that were. met: how often which fault, or what follows from one, was met.
    elsewhere: whether the order was run in other processes too.
    """

    seed: int
    digest: str
    answers: int
    reads: int
    met: dict[str, int]
    elsewhere: bool


class NotRunElsewhere(UserWarning):
    """The order was not run in another process: what would have shown only there was not looked for."""


def simulate(
    actor: type[Actor],
    workload: Workload,
    *,
    seed: int | None = None,
    replicas: int = 3,
    clients: int = 3,
    faults: bool = True,
    may_crash: Collection[AnyMarked] = (),
) -> Simulated:
    """Play one history of a group that runs this class.

    workload: gives the next call, a command or a query, from the `random.Random` that it is given and nothing else.
    seed: all follows from it; a new one unless given. replicas: 1 to 7. clients: as many sessions at least.
    faults: crashes, power cuts, lost messages, cut links and all that; else only what a quiet network does.
    may_crash: methods, as `Class.method`, that may raise something else than `Refused`.

    Raises Violation, whose text says what broke and how to see it again, and whose `trace` holds the last events.
    It is an ActorFault if it is the class's: NotDeterministic if instances come to differ, CommandCrashed if a method
    raises what it may not. TypeError or ValueError for what cannot be played: the text says why.
    Warns NotRunElsewhere if the class cannot be had in another process.
    """
    __tracebackhide__ = True
    if loading.is_shadow:
        raise loading.ReachedError
    interface, may = _checked(actor, workload, seed, replicas, clients, faults, may_crash)
    seed = random.SystemRandom().randrange(2**32) if seed is None else seed
    options = Options.drawn(random.Random(seed)) if faults else CALM  # noqa: S311 - it has to be reproducible
    options = dataclasses.replace(options, replicas=replicas, clients=clients, quorum=MAJORITY)
    again = f"simulate({actor.__qualname__}, ..., seed={seed}, replicas={replicas}, clients={clients}, faults={faults})"
    play = _Play(interface, workload, seed, may)
    history = run(seed, options=options, play=play, again=again)
    if play.witness.untried:
        warnings.warn(f"simulate({actor.__qualname__}): {NOT_ELSEWHERE}: {play.witness.untried}", NotRunElsewhere, 2)
    marks = history.marks
    is_elsewhere = not play.witness.untried
    return Simulated(seed, history.digest, marks["answers"], marks["reads"], dict(marks), is_elsewhere)


def _checked(
    actor: object,
    workload: object,
    seed: object,
    replicas: object,
    clients: object,
    faults: object,
    may_crash: object,
) -> tuple[Interface, frozenset[str]]:
    """What the class takes, and the tags of what may crash. TypeError or ValueError, in a sentence."""
    if not isinstance(actor, type) or not issubclass(actor, Actor):
        raise TypeError(f"simulate takes a class derived from Actor, and not {actor!r}")
    if not callable(workload):
        raise TypeError(f"a workload is a function of a random.Random that gives the next call, and not {workload!r}")
    for name, number in (("seed", 0 if seed is None else seed), ("replicas", replicas), ("clients", clients)):
        if not isinstance(number, int) or isinstance(number, bool):
            raise TypeError(f"{name} is an int, and not {number!r}")
        if name == "replicas" and not 1 <= number <= 7:
            raise ValueError(f"replicas is between 1 and 7, not {number}")
        if name == "clients" and number < 1:
            raise ValueError(f"clients is at least 1, not {number}")
    if not isinstance(faults, bool):
        raise TypeError(f"faults is True or False, and not {faults!r}")
    if not isinstance(may_crash, (list, tuple, set, frozenset)):
        raise TypeError(f"may_crash is a list of methods, [Class.method], and not {may_crash!r}")
    interface = Interface.of(actor)
    interface.replicable()
    try:
        actor()
    except Exception as error:
        text = f"{actor.__name__} cannot be replicated: {actor.__name__}() raised {type(error).__name__}: {error}"
        raise TypeError(f"{text}. Each replica makes its instance so, without arguments") from error
    return interface, frozenset(interface.method_for(each).tag for each in cast("Collection[object]", may_crash))


class _Play:
    """A play (see `broadcast._simulation.play`) of any class."""

    def __init__(self, interface: Interface, workload: Workload, seed: int, may_crash: frozenset[str]) -> None:
        self.actor = interface.actor
        self.later = ()
        self.interface = interface
        self._workload = workload
        self._asked: dict[bytes, None] = {}  # queries to ask again
        self._asked_of = Counter[str]()  # how many of those, by tag
        self._queries = any(method.kind == "query" for method in interface.methods.values())
        self.witness = Witness(interface, seed=seed, may_crash=may_crash, queries=self._asked.keys())

    def expectation(self) -> Witness:
        return self.witness

    def command(self, chance: random.Random, owner: str, number: int) -> tuple[str, bytes]:
        found = self._find(chance, "command")
        if found is None:
            raise ValueError(f"the workload gave no command of {self.actor.__qualname__} in {TRIES} calls")
        return found

    def plan(self, owner: str, number: int) -> tuple[str, bytes, int] | None:
        return None

    def query(self, chance: random.Random) -> bytes | None:
        found = self._find(chance, "query") if self._queries else None
        if found is None:
            return None
        tag, call = found
        if self._asked_of[tag] < ASKED_MAX and call not in self._asked:
            self._asked_of[tag] += 1
            self._asked[call] = None
        return call

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

    parts = st.just(getattr(actor, method.name)), *map(st.from_type, method.annotations)
    return st.tuples(*parts).filter(partial(_fits, method))


def _fits(method: Method, call: Call) -> bool:
    """Can this be sent? A type may say less than that: an int has 64 bits, a str no surrogates."""
    try:
        method.pack(call[1:], {})
    except InvalidMessage:
        return False
    return True
