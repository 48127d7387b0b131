"""What users try their own actors with: sound ones pass, naive ones are found, and so is a broken protocol."""

from __future__ import annotations

import importlib
import os
import random
import re
import subprocess
import sys
import time
from datetime import datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actors import Actor, ActorRef, InvalidMessage, Ref, Refused, command, query
from broadcast._machine import Machine
from broadcast._protocol.reads import Reads
from broadcast.testing import ActorFault, Alone, Call, NotDeterministic, NotRunElsewhere, Violation, calls, simulate


class Accounts(Actor):
    """Sound: also where it draws lots, looks at the time, is refused, and has a bug."""

    def __init__(self) -> None:
        self.balances: dict[str, int] = {}
        self.last = 0
        self.lots: list[int] = []

    @command
    def deposit(self, name: str, amount: int) -> int:
        self.balances[name] = self.balances.get(name, 0) + amount
        self.last = self.context.time
        return self.balances[name]

    @command
    def withdraw(self, name: str, amount: int) -> int:
        if amount > self.balances.get(name, 0):
            raise Refused(name, self.balances.get(name, 0))
        self.balances[name] -= amount
        return self.balances[name]

    @command
    def draw(self) -> str:
        self.lots.append(self.context.random.randrange(100))
        return self.context.sender

    @command
    def fail(self) -> None:
        self.balances.clear()
        raise ZeroDivisionError

    @query
    def total(self) -> int:
        return sum(self.balances.values())


def banking(chance: random.Random) -> Call:
    name = chance.choice("xyz")
    return chance.choice(
        (
            (Accounts.deposit, name, chance.randrange(100)),
            (Accounts.deposit, name, chance.randrange(100)),
            (Accounts.withdraw, name, chance.randrange(100)),
            (Accounts.draw,),
            (Accounts.fail,),
            (Accounts.total,),
        )
    )


def play(seeds: int) -> None:
    for seed in range(seeds):
        simulate(Accounts, banking, seed=seed, may_crash=[Accounts.fail])


KEPT: list[str] = []


class Naive(Actor):
    """Each command looks at something that it may not look at."""

    def __init__(self) -> None:
        self.seen: list[Any] = []

    @command
    def add(self, what: str) -> None:
        self.seen.append(what)

    @command
    def clock(self) -> None:
        self.seen.append(time.time())

    @command
    def chance(self) -> None:
        self.seen.append(random.random())

    @command
    def identity(self) -> None:
        self.seen.append(id(self))

    @command
    def order(self, what: str) -> None:
        self.seen.append(",".join({*what}))

    @command
    def keep(self, items: list[str]) -> None:
        """All instances of a process have this list."""
        KEPT.extend(items)
        self.seen.append(len(KEPT))

    @command
    def empty(self, items: list[str]) -> None:
        """Its arguments are its own: this is sound."""
        self.seen.append(items)
        while len(items) > 1:
            items.pop()

    @command
    def hashed(self, what: str) -> int:
        return hash(what)

    @query
    def count(self) -> int:
        return len(self.seen)


@pytest.mark.parametrize("faults", [True, False])
def test_a_sound_actor_passes(faults: bool) -> None:
    for seed in range(2):
        history = simulate(Accounts, banking, seed=seed, faults=faults, may_crash=[Accounts.fail])
        assert history.answers > 20
        assert history.reads > 5
    assert simulate(Accounts, banking, seed=1, faults=faults, may_crash=[Accounts.fail]) == history


@pytest.mark.parametrize("naive", ["clock", "chance", "identity", "order", "keep"])
def test_a_naive_actor_is_found_with_the_first_command_that_shows_it(naive: str) -> None:
    def workload(chance: random.Random) -> Call:
        if chance.random() < 0.5:
            return (Naive.count,)
        if chance.random() < 0.9:
            return Naive.add, "more"
        arguments = {"order": ("some letters",), "keep": (["this"],)}.get(naive, ())
        return getattr(Naive, naive), *arguments

    with pytest.raises(NotDeterministic, match="Naive is not deterministic") as found:
        simulate(Naive, workload, seed=1, faults=False)
    assert found.value.command.startswith(f"{naive}(")
    assert "simulate(Naive, ..., seed=1, replicas=3, clients=3, faults=False)" in str(found.value)
    assert found.value.trace


def test_a_command_may_change_what_it_was_given() -> None:
    simulate(Naive, lambda chance: (Naive.empty, ["one", "two"]), seed=1, faults=False)


def test_an_answer_that_differs_is_found_too() -> None:
    """The states agree: only who asks would notice, after a failover."""
    with pytest.raises(NotDeterministic, match="in two processes"):
        simulate(Naive, lambda chance: (Naive.hashed, str(chance.random())), seed=1, faults=False)


def test_a_class_that_no_other_process_can_have_is_run_again_in_this_one_and_that_is_told() -> None:
    class Local(Naive):
        pass

    with pytest.warns(NotRunElsewhere, match="not run in another process, .+: it is defined in a function; define it"):
        assert not simulate(Local, lambda chance: (Local.order, "some letters"), seed=1, faults=False).elsewhere
    with pytest.raises(NotDeterministic):
        simulate(Local, lambda chance: (Local.clock,), seed=1, faults=False)


SCRIPT = """
import random, sys, time

from actors import Actor, command
from broadcast.testing import simulate


class Slow(Actor):
    def __init__(self):
        self.seen = []

    @command
    def order(self):
        self.seen.append(list({"some", "words", "in", "any", "order"}))


def main():
    simulate(Slow, lambda chance: (Slow.order,), seed=3, replicas=1, clients=1, faults=False)
    print("it passed")
"""
GUARD = 'if __name__ == "__main__":\n    main()\n'


def scripted(
    text: str, path: Path, *, hash_seed: int = 0, how: tuple[str, ...] = ()
) -> subprocess.CompletedProcess[str]:
    path.write_text(text)
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2]), "PYTHONHASHSEED": str(hash_seed)}
    command = [sys.executable, *(how or (str(path),))]
    return subprocess.run(command, capture_output=True, text=True, env=environment, cwd=path.parent, check=False)


@pytest.mark.parametrize("ending", [GUARD, "main()\n"], ids=["guarded", "plain"])
def test_a_script_is_run_in_another_process_too(ending: str, tmp_path: Path) -> None:
    told = scripted(SCRIPT + ending, tmp_path / "my_test.py").stderr
    assert "NotDeterministic" in told
    assert "in two processes" in told
    assert "simulate(Slow, ..., seed=3" in told


def test_a_script_goes_on_only_where_it_was_started(tmp_path: Path) -> None:
    text = SCRIPT.replace("list(", "sorted(") + "main()\nopen('went on', 'a').write('once')\n"
    done = scripted(text, tmp_path / "my_test.py")
    assert (done.stdout, done.stderr) == ("it passed\n", "")
    assert (tmp_path / "went on").read_text() == "once"


def test_a_report_is_the_same_under_each_seed_of_hashes(tmp_path: Path) -> None:
    told = {scripted(SCRIPT + GUARD, tmp_path / "my_test.py", hash_seed=seed).stderr for seed in range(3)}
    assert len(told) == 1
    assert "Slow is not deterministic" in told.pop()


@pytest.mark.parametrize(
    ("text", "how", "says"),
    [
        (SCRIPT, ("-c", "from pathlib import Path; exec(Path('my_test.py').read_text()); main()"), "it was typed in"),
        (f"{SCRIPT}\nSlow.__qualname__ = 'Gone'\n{GUARD}", (), "is not it; let its module have it by its name"),
        (f"import os\nif __name__ == '__mp_main__': os._exit(9)\n{SCRIPT}{GUARD}", (), "that process ended with 9: "),
        (f"import sys\nassert sys.argv[1:] == ['x']\n{SCRIPT}{GUARD}", ("my_test.py", "x"), "raised AssertionError"),
    ],
)
def test_where_that_cannot_be_it_is_told(text: str, how: tuple[str, ...], says: str, tmp_path: Path) -> None:
    done = scripted(text, tmp_path / "my_test.py", how=how)
    assert done.stdout == "it passed\n"
    assert "NotRunElsewhere: simulate(" in done.stderr
    assert says in done.stderr


def test_a_stale_read_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    def as_it_is(self: Any, token: int) -> None:
        self._fresh[token] = 0

    monkeypatch.setattr(Reads, "wait", as_it_is)
    with pytest.raises(Violation, match="a read sees a state of its time"):
        play(10)


def test_a_command_that_is_applied_twice_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    run: Any = Machine._run  # pyright: ignore[reportPrivateUsage]

    def twice_at_b(self: Any, actor: Any, call: object, index: int) -> Any:
        if type(self) is Machine and index % 7 == 0:  # and not the witness's own
            run(self, actor, call, index)
        return run(self, actor, call, index)

    monkeypatch.setattr(Machine, "_run", twice_at_b)
    with pytest.raises(Violation, match="replicas have equal states at equal indices"):
        simulate(Accounts, banking, seed=1, faults=False, may_crash=[Accounts.fail])


class Waiting(Actor):
    @command
    async def wait(self) -> None:
        pass


class Needy(Actor):
    def __init__(self, size: int) -> None:
        self.size = size

    @command
    def grow(self) -> None:
        self.size += 1


@pytest.mark.parametrize(
    ("others", "error", "says"),
    [
        ({"replicas": 0}, ValueError, "replicas is between 1 and 7, not 0"),
        ({"replicas": 8}, ValueError, "replicas is between 1 and 7, not 8"),
        ({"replicas": 3.0}, TypeError, "replicas is an int, and not 3.0"),
        ({"clients": 0}, ValueError, "clients is at least 1, not 0"),
        ({"clients": "many"}, TypeError, "clients is an int, and not 'many'"),
        ({"seed": "one"}, TypeError, "seed is an int, and not 'one'"),
        ({"seed": True}, TypeError, "seed is an int, and not True"),
        ({"faults": "lightning"}, TypeError, "faults is True or False, and not 'lightning'"),
        ({"may_crash": [Naive.add]}, TypeError, "Accounts has no message"),
        ({"may_crash": Accounts.fail}, TypeError, r"may_crash is a list of methods, \[Class.method\], and not"),
        ({"may_crash": "fail"}, TypeError, r"may_crash is a list of methods"),
        ({"workload": (Accounts.total,)}, TypeError, "a workload is a function of a random.Random"),
        ({"workload": lambda chance: (Accounts.total,)}, ValueError, "the workload gave no command of Accounts"),
        ({"workload": lambda chance: None}, TypeError, "a workload gives a call, .*, and not None"),
        ({"workload": lambda chance: Accounts.total}, TypeError, "a workload gives a call"),
        ({"workload": lambda chance: ()}, TypeError, "a workload gives a call"),
        ({"workload": lambda chance: ("deposit", "x", 1)}, TypeError, "has no message 'deposit'; .* as Class.method"),
        ({"workload": lambda chance: ([], 1)}, TypeError, r"Accounts has no message \[\]"),
        ({"workload": lambda chance: (Accounts.deposit, "x", "y")}, TypeError, "Accounts.deposit: amount: Expected"),
        ({"workload": lambda chance: (Accounts.deposit, "x")}, TypeError, "Accounts.deposit: missing a required"),
        ({"actor": 5}, TypeError, "simulate takes a class derived from Actor, and not 5"),
        ({"actor": Path}, TypeError, "simulate takes a class derived from Actor, and not <class"),
        ({"actor": Accounts()}, TypeError, "simulate takes a class derived from Actor, and not <"),
        ({"actor": Waiting}, TypeError, "Waiting cannot be replicated: async def wait"),
        ({"actor": Needy}, TypeError, r"Needy\(\) raised TypeError: .+'size'. Each replica makes its instance so"),
    ],
)
def test_what_cannot_be_played_is_told(others: dict[str, Any], error: type[Exception], says: str) -> None:
    with pytest.raises(error, match=says) as found:
        simulate(**{"actor": Accounts, "workload": banking, "seed": 1, **others})
    assert "workload" not in others or callable(others["workload"]) == any(
        "in the history of seed 1; see it again: simulate(Accounts, ..., seed=1" in note
        for note in getattr(found.value, "__notes__", ())
    )


@pytest.mark.parametrize("replicas", [1, 2, 7])
def test_a_group_of_any_size(replicas: int) -> None:
    assert simulate(Accounts, banking, seed=5, replicas=replicas, faults=False, may_crash=[Accounts.fail]).answers > 20


class Typed(Actor):
    def __init__(self) -> None:
        self.got: list[object] = []

    @command
    def take(self, number: int, text: str, many: list[bool], perhaps: bytes | None, named: dict[str, float]) -> None:
        self.got = [number, text, many, perhaps, named]

    @query
    def look(self) -> int:
        return len(self.got)


@settings(max_examples=50)
@given(st.lists(calls(Typed, Typed.take), max_size=5), calls(Typed))
def test_calls_are_drawn_after_the_annotations(some: list[Call], any_call: Call) -> None:
    typed = Typed()
    for method, *arguments in some:
        method.function(typed, *arguments)
        assert typed.got == arguments
    assert any_call[0] in (Typed.take, Typed.look)


class Clerk(Actor):
    """Looks at its context."""

    def __init__(self) -> None:
        self.notes: list[tuple[str, datetime, int]] = []

    @command
    def note(self, items: list[str]) -> list[tuple[str, datetime, int]]:
        if not items:
            raise Refused("nothing")
        items.append(self.context.sender)
        self.notes.append((items[0], self.context.time, self.context.random.randrange(1000)))
        return self.notes

    @query
    def last(self) -> str:
        return self.notes[-1][0]


def test_an_actor_can_be_asked_alone() -> None:
    clerk, other = Alone(Clerk), Alone(Clerk)
    given = ["a"]
    answer = clerk.ask(Clerk.note, given)
    assert other.ask(Clerk.note, ["a"]) == answer  # its chance is the position's, its time what it is set to
    assert given == ["a"]  # it is the command's own
    assert answer == clerk.actor.notes
    answer.clear()
    assert clerk.ask(Clerk.last) == "a"
    clerk.time += timedelta(minutes=2)
    first, second = clerk.ask(Clerk.note, items=["b"])
    assert second[1] - first[1] == timedelta(minutes=2)
    with pytest.raises(Refused, match="nothing"):
        clerk.ask(Clerk.note, [])
    with pytest.raises(InvalidMessage, match=r"Clerk\.note: items: Expected"):
        clerk.ask(Clerk.note, 5)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    with pytest.raises(RuntimeError, match="only while a message is handled"):
        _ = clerk.actor.context


BELL = ActorRef("a/bell", Clerk)


class Timed(Actor):
    """Has its mistakes where nobody asks for them: when they are due."""

    def __init__(self) -> None:
        self.done: list[float] = []
        self.group: Ref[Timed] | None = None

    @command
    def plan(self, milliseconds: int) -> None:
        self.group = self.context.group(Timed)
        self.context.after(milliseconds / 1000, Timed.do, milliseconds)
        self.context.tell(BELL, Clerk.note, ["planned"])

    @command
    def do(self, milliseconds: int) -> None:
        self.done.append(milliseconds)
        if milliseconds % 10 == 1:
            self.context.tell(self.context.group(Timed), Timed.do, 7)

    @query
    def count(self) -> int:
        return len(self.done)


class TimedChancy(Timed):
    @command
    def do(self, milliseconds: int) -> None:
        self.done.append(random.random())


class TimedHalf(Timed):
    @command
    def do(self, milliseconds: int) -> None:
        self.done.append(milliseconds)
        raise Refused("too late")


class TimedCrashing(Timed):
    @command
    def do(self, milliseconds: int) -> None:
        raise ZeroDivisionError


def planning(chance: random.Random) -> Call:
    return chance.choice(((Timed.plan, chance.randrange(500)), (Timed.count,)))


@pytest.mark.parametrize("seed", range(3))
def test_a_class_with_effects_is_sound(seed: int) -> None:
    assert simulate(Timed, planning, seed=seed).met["effects"] > 10


@pytest.mark.parametrize(
    ("actor", "text"),
    [
        (TimedChancy, r"TimedChancy is not deterministic: .* the command do\(\d+\)"),
        (TimedHalf, r"the command do\(\d+\): it changes the state and is refused"),
        (TimedCrashing, r"the command do\(\d+\) of TimedCrashing crashed"),
    ],
)
def test_what_is_wrong_when_it_is_due_is_found(actor: type[Timed], text: str) -> None:
    with pytest.raises(ActorFault, match=text):
        simulate(actor, planning, seed=1, faults=False)


def test_effects_of_one_that_is_asked_alone_come_when_they_are_wanted() -> None:
    timed = Alone(Timed)
    timed.ask(Timed.plan, 300)
    timed.ask(Timed.plan, 201)
    assert timed.told == [("a/bell", "note", ["planned"])] * 2
    assert timed.run_due() == 0
    timed.time += timedelta(milliseconds=250)
    assert timed.run_due() == 2
    assert timed.actor.done == [201, 7]
    timed.time += timedelta(milliseconds=50)
    assert timed.run_due() == 1
    assert timed.ask(Timed.count) == 3


@settings(max_examples=20)
@given(st.lists(calls(Clerk, Clerk.note)))
def test_drawn_calls_can_be_asked_alone(some: list[Call]) -> None:
    clerk = Alone(Clerk)
    noted = 0
    for call in some:
        try:
            noted = len(cast("list[object]", clerk.ask(*call)))
        except Refused:
            assert call == (Clerk.note, [])
    assert len(clerk.actor.notes) == noted


SUITE = """
import random

from actors import Actor, command


class Chancy(Actor):
    def __init__(self):
        self.value = 0

    @command
    def roll(self):
        self.value = random.random()


class Sound(Actor):
    def __init__(self):
        self.value = 0

    @command
    def roll(self):
        self.value = self.context.random.random()


def test_sound(simulated):
    assert len(simulated(Sound, lambda chance: (Sound.roll,), faults=False)) > 0


def test_chancy(simulated):
    simulated(Chancy, lambda chance: (Chancy.roll,), faults=False)
"""


def test_the_fixture_plays_new_seeds_or_the_one_that_is_wanted(tmp_path: Path) -> None:
    (tmp_path / "conftest.py").write_text('pytest_plugins = ["broadcast.pytest_plugin"]\n')
    (tmp_path / "test_rolls.py").write_text(SUITE)

    def run(*options: str) -> str:
        command = [sys.executable, "-m", "pytest", "-q", "-s", "-p", "no:cacheprovider", str(tmp_path), *options]
        done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)
        return done.stdout + done.stderr

    told = run("--troupe-seeds=2")
    assert "1 failed, 1 passed" in told
    (again,) = set(re.findall(r"or: pytest (test_rolls.py::test_chancy --troupe-seed=\d+)$", told, re.MULTILINE))
    assert again.rpartition("=")[2] in run(*again.split())
    assert "Chancy is not deterministic" in told
    assert "seeds 7 to 7" in run("--troupe-seed=7", "-k", "sound")
    assert "a number of histories is at least 1, not '0'" in run("--troupe-seeds=0")
    assert "def simulate(" not in told  # only what is the user's


# -- the page ----------------------------------------------------------------------------------------------------------

PAGE = (Path(__file__).parents[2] / "docs" / "testing.md").read_text()


def snippets(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)


def test_the_page_shows_an_actor_that_fails_and_one_that_passes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    naive, suite, sound, _ = snippets("python")
    (shown,) = snippets("text")
    monkeypatch.syspath_prepend(str(tmp_path))

    def play(seats: str) -> None:
        (tmp_path / "seats.py").write_text(seats)
        for module in ("seats", "test_seats"):
            monkeypatch.delitem(sys.modules, module, raising=False)
        importlib.invalidate_caches()
        names: dict[str, Any] = {}
        exec(suite, names)
        names["test_seats_agree"]()

    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    lots = count()  # that never agree: two that draw the same seat differ by the clock only, which reads otherwise
    monkeypatch.setattr(random, "choice", lambda seats: sorted(seats)[next(lots) % len(seats)])
    with pytest.raises(NotDeterministic) as found:
        play(naive)
    told = " ".join(f"NotDeterministic: {found.value}".split())
    parts = [re.escape(part) for part in " ".join(shown.split()).split("...")]
    assert re.fullmatch(r".+?".join(parts), told)
    play(sound)
