"""Each naive actor is told as such: which command, what differs, and what to do instead."""

from __future__ import annotations

import random
from typing import Any

import naive_zoo as zoo
import pytest

from broadcast.testing import ActorFault, Call, CommandCrashed, NotDeterministic, Simulated, simulate

TIME, CHANCE = "self.context.time", "self.context.random"

DIFFERS: list[tuple[Any, tuple[Any, ...], str]] = [
    (zoo.Clocks.clock, (), rf"self\.seen(\[\d+\])? is .+\n  what it does: calls time\.time\(\) \(use {TIME}\)"),
    (zoo.Clocks.imported_clock, (), rf"calls time\.time\(\) \(use {TIME}\)"),
    (zoo.Clocks.nanoseconds, (), rf"calls time\.time_ns\(\) \(use {TIME}\)"),
    (zoo.Clocks.minutes, (), rf"in two processes.*\n.+\n.*calls time\.time\(\) \(use {TIME}\)"),
    (zoo.Clocks.monotonic_days, (), rf"in two processes.*\n.+\n.*calls time\.monotonic\(\) \(use {TIME}\)"),
    (zoo.Clocks.today, (), rf"its outcome\[1\] is '.+\n  what it does: calls date\.today\(\) \(use {TIME}\)"),
    (zoo.Clocks.year, (), rf"calls datetime\.now\(\) \(use {TIME}\)"),
    (zoo.Clocks.weekday, (), rf"calls datetime\.now\(\) \(use {TIME}\)"),
    (zoo.Clocks.month_of_datetime_today, (), rf"calls datetime\.today\(\) \(use {TIME}\)"),
    (zoo.Clocks.year_of_local_time, (), rf"calls time\.localtime\(\) \(use {TIME}\)"),
    (zoo.Clocks.year_as_text, (), rf"calls time\.strftime\(\) \(use {TIME}\)"),
    (zoo.Clocks.only_a_decision, (), rf"calls date\.today\(\) \(use {TIME}\)"),
    (zoo.Clocks.zone, (), r"in two processes.*\n  its outcome\[1\] is"),
    (zoo.Clocks.zone_of_a_stamp, (), r"in two processes.*\n  its outcome\[1\] is"),
    (zoo.Chances.chance, (), rf"calls random\.random\(\) \(use {CHANCE}\)"),
    (zoo.Chances.choice, (), rf"calls random\.choice\(\) \(use {CHANCE}\)"),
    (zoo.Chances.source, (), rf"self\.seen.+\n.+{CHANCE}"),
    (zoo.Chances.unique, (), rf"calls uuid\.uuid4\(\) \(use uuid\.UUID\(int={CHANCE}"),
    (zoo.Chances.token, (), r"calls secrets\.token_hex\(\)"),
    (zoo.Chances.bytes, (), r"calls os\.urandom\(\)"),
    (zoo.Identities.identity, (), r"calls id\(\) \(use a name"),
    (zoo.Identities.hashed, ("this",), r"in two processes.*\n.+\n  what it does: calls hash\(\)"),
    (zoo.Identities.text, (), r"self\.seen.+ is .*<object object at"),
    (zoo.Identities.process, (), r"in two processes.*\n.+\n  what it does: calls os\.getpid\(\)"),
    (zoo.Identities.host, (), r"'elsewhere' in the other\n  what it does: calls socket\.gethostname\(\)"),
    (zoo.Identities.node, (), r"'elsewhere' in the other\n  what it does: calls platform\.node\(\)"),
    (zoo.Identities.refused_with_identity, (), r"its outcome\[2\]\[0\] is 'no such thing"),
    (zoo.Orders.order, (zoo.WORDS,), r"in two processes.*\n  self\.seen.+\n.*order of a set \(sorted"),
    (zoo.Orders.any_of, (zoo.WORDS,), r"in two processes.*\n  its outcome\[1\] is '"),
    (zoo.Orders.keys, (zoo.WORDS,), r"in two processes.*\n  self\.seen.+ (is|has its keys in the order)"),
    (zoo.Orders.refusal, (zoo.WORDS,), r"in two processes.*\n  its outcome\[2\]\[0\] is 'one of"),
    (zoo.Shared.on_the_class, ("this",), r"in one process.*\n  its outcome\[1\] is \d+ in one and \d+ in the other"),
    (zoo.Shared.in_the_module, ("this",), r"in one process.*\n  self\.seen.+\n.*nothing that instances share"),
    (zoo.Shared.in_a_default, ("this",), r"in one process.*\n  self\.seen.+\n.*nothing that instances share"),
    (zoo.Dying.live, (), r"in one process.*\n  its outcome\[1\] is \d+ in one and \d+ in the other"),
    (zoo.Outside.file, (), r"reads the file '.+naive_zoo.py' \(do it outside, and send what came of it"),
    (zoo.Outside.environment, (), "looks at the environment variable LIMIT"),
    (zoo.Outside.variable, (), "looks at the environment variable LIMIT"),
    (zoo.Outside.everything_in_it, (), "looks at the environment"),
    (zoo.Outside.process, (), "starts a process"),
    (zoo.Outside.directory, (), "lists a directory"),
    (zoo.Outside.thread, (), "starts a thread"),
    (zoo.Outside.formatted, (), r"in two processes.*\n.+'1\.234,50' in the other"),
    (zoo.Outside.in_its_locale, (), r"in two processes.*\n.+'0,5' in the other"),
]


def label(value: object) -> str | None:
    return getattr(value, "__qualname__", None)


def quickly(actor: Any, workload: Any, **others: Any) -> Simulated:
    """One replica and one client do for what has nothing to do with a group."""
    return simulate(actor, workload, **{"seed": 1, "replicas": 1, "clients": 1, "faults": False, **others})


def played(asked: Any, arguments: tuple[Any, ...], chance: random.Random) -> Call:
    """Mostly what is sound."""
    actor = getattr(zoo, asked.__qualname__.partition(".")[0])
    if chance.random() < 0.5:
        return (actor.count,)
    return (asked, *arguments) if chance.random() < 0.2 else (actor.add, "more")


@pytest.mark.parametrize(("asked", "arguments", "told"), DIFFERS, ids=label)
def test_a_command_that_differs_is_told(asked: Any, arguments: tuple[Any, ...], told: str) -> None:
    actor = getattr(zoo, asked.__qualname__.partition(".")[0])
    with pytest.raises(NotDeterministic, match=told) as found:
        quickly(actor, lambda chance: played(asked, arguments, chance))
    assert found.value.command.startswith(f"{asked.__name__}(")
    assert f"{actor.__name__} is not deterministic" in str(found.value)


@pytest.mark.parametrize("seed", range(2))
def test_it_is_told_under_faults_too(seed: int) -> None:
    """Whatever claim it breaks first."""
    for asked, arguments in (
        (zoo.Chances.chance, ()),
        (zoo.Clocks.only_a_decision, ()),
        (zoo.Shared.on_the_class, ("this",)),
        (zoo.Crashes.type_by_chance, ()),
    ):
        actor = getattr(zoo, asked.__qualname__.partition(".")[0])
        with pytest.raises(NotDeterministic) as found:
            simulate(
                actor,
                lambda chance: played(asked, arguments, chance),  # noqa: B023
                seed=seed,
                may_crash=[asked],
            )
        assert found.value.command.startswith(f"{asked.__name__}(")


def test_what_only_a_query_shows_is_told_with_the_query() -> None:
    def workload(chance: random.Random) -> Call:
        return chance.choice([(zoo.Shared.silently_on_the_class, "this"), (zoo.Shared.total,)])

    with pytest.raises(NotDeterministic, match=r"the query total\(\), after index .+\n  its answer\[1\] is") as found:
        quickly(zoo.Shared, workload)
    assert found.value.command == "total()"


def test_a_query_that_looks_at_a_clock_is_told() -> None:
    with pytest.raises(NotDeterministic, match=rf"the query age\(\)(.|\n)+calls time\.time\(\) \(use {TIME}\)"):
        quickly(zoo.Readers, lambda chance: chance.choice([(zoo.Readers.add, "x"), (zoo.Readers.age,)]))


def test_a_query_that_changes_the_state_is_told() -> None:
    told = r"the query last\(\) changes the state; make it a command: self\.seen is \['x'\] before and \[\] after"
    with pytest.raises(ActorFault, match=told):
        quickly(zoo.Readers, lambda chance: chance.choice([(zoo.Readers.add, "x"), (zoo.Readers.last,)]))


def test_an_object_that_is_reached_on_two_ways_is_told() -> None:
    def workload(chance: random.Random) -> Call:
        return chance.choice([(zoo.Aliases.twice, "x"), (zoo.Aliases.put, "y"), (zoo.Aliases.count,)])

    with pytest.raises(NotDeterministic, match=r"reached on two ways(.|\n)+the command put\('y'\):\n  self\.baskets"):
        quickly(zoo.Aliases, workload)


def test_a_state_that_cannot_be_written_down_is_told() -> None:
    told = r"the command keep\(\): its state cannot be written down, as a snapshot does: self\.seen\[\d+\]: a generator"
    with pytest.raises(ActorFault, match=told):
        quickly(zoo.Generators, lambda chance: played(zoo.Generators.keep, (), chance))


def test_a_refusal_after_a_change_is_told() -> None:
    told = (
        r"the command late\('x'\): it changes the state and is refused then; raise Refused before .+: self\.seen is \["
    )
    with pytest.raises(ActorFault, match=told):
        quickly(zoo.Refusals, lambda chance: played(zoo.Refusals.late, ("x",), chance))


@pytest.mark.parametrize("faults", [False, True])
def test_a_crash_is_told_with_its_traceback(faults: bool) -> None:
    told = (
        r"the command text\(\) of Crashes crashed at index \d+(.|\n)+may_crash=\[Crashes\.text\](.|\n)+raise KeyError"
    )
    with pytest.raises(CommandCrashed, match=told) as found:
        quickly(zoo.Crashes, lambda chance: played(zoo.Crashes.text, (), chance), faults=faults)
    assert found.value.command == "text()"
    assert "_machine.py" not in str(found.value)


def test_an_answer_that_is_not_what_is_declared_is_a_crash() -> None:
    with pytest.raises(CommandCrashed, match=r"wrong_answer: its answer: Expected `int`, got `str`"):
        quickly(zoo.Crashes, lambda chance: played(zoo.Crashes.wrong_answer, (), chance))


def test_a_query_that_crashes_is_told() -> None:
    with pytest.raises(CommandCrashed, match=r"the query broken\(\) of Crashes crashed(.|\n)+IndexError"):
        quickly(zoo.Crashes, lambda chance: chance.choice([(zoo.Crashes.add, "x"), (zoo.Crashes.broken,)]))


def test_a_command_without_a_bottom_is_told() -> None:
    with pytest.raises(ActorFault, match=r"the command deep\(\)(.|\n)+RecursionError"):
        quickly(zoo.Crashes, lambda chance: played(zoo.Crashes.deep, (), chance))


def test_crashes_that_are_meant_pass() -> None:
    def workload(chance: random.Random) -> Call:
        return chance.choice([(zoo.Crashes.text,), (zoo.Crashes.wrong_answer,), (zoo.Crashes.broken,)])

    may = [zoo.Crashes.text, zoo.Crashes.wrong_answer, zoo.Crashes.broken]
    assert quickly(zoo.Crashes, workload, may_crash=may).answers > 20


@pytest.mark.parametrize(
    ("asked", "arguments"),
    [
        (zoo.Sound.empty, (["one", "two"],)),
        (zoo.Sound.default, ()),
        (zoo.Sound.alias, ()),
        (zoo.Sound.sorted, (zoo.WORDS,)),
        (zoo.Sound.counted, ("this",)),
        (zoo.Sound.timed, ()),
        (zoo.Sound.lazily, ()),
    ],
    ids=label,
)
def test_what_only_looks_naive_passes(asked: Any, arguments: tuple[Any, ...]) -> None:
    history = quickly(zoo.Sound, lambda chance: played(asked, arguments, chance))
    assert history.elsewhere
