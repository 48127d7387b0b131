"""Seeded histories of the real cores: nothing breaks, everything comes to an end, and a seed says it all."""

from __future__ import annotations

import os
import random
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from itertools import count
from pathlib import Path

import pytest
from click.testing import CliRunner

from broadcast._protocol import leader
from broadcast._protocol.leader import Leadership
from broadcast._simulation import bounds
from broadcast._simulation import summary as summary_module
from broadcast._simulation.__main__ import main
from broadcast._simulation.campaign import Played, play_all
from broadcast._simulation.history import History, run
from broadcast._simulation.invariants import Violation
from broadcast._simulation.options import MILLISECOND, Options
from broadcast._simulation.summary import MARKS, Summary

FIXED = range(100)
FRESH = 50
SIMULATOR = sys.executable, "-m", "broadcast._simulation"


@pytest.fixture(scope="module")
def played() -> list[Played]:
    """The same seeds each time, and others that nobody has chosen."""
    first = random.SystemRandom().randrange(2**32)
    jobs = os.cpu_count() or 1
    return list(play_all([*FIXED, *range(first, first + FRESH)], jobs))


@pytest.fixture(scope="module")
def summary(played: list[Played]) -> Summary:
    summary = Summary()
    for each in played:
        summary.add(each)
    return summary


def history(played: list[Played], seed: int) -> History:
    found = played[seed].history
    assert found is not None
    return found


def test_histories_are_safe_and_come_to_an_end(played: list[Played], capsys: pytest.CaptureFixture[str]) -> None:
    with capsys.disabled():
        first, last = played[-FRESH].seed, played[-1].seed
        print(f"\nseeds 0 to {FIXED[-1]}, and fresh ones: {first} to {last}", file=sys.stderr)
    assert [each.failure for each in played if each.history is None] == []


def test_what_should_be_survived_did_happen(summary: Summary) -> None:
    assert summary.shortfalls() == []
    assert summary.marks["answers"] >= 250 * summary.count  # 350 when this was written


def test_one_seed_is_one_history(played: list[Played]) -> None:
    """In whatever process, and whatever was played there before."""
    assert run(7) == history(played, 7)
    assert run(8).digest != history(played, 7).digest


def digest_in_another_process(hash_seed: str) -> str:
    program = "from broadcast._simulation.history import run; print(*(run(seed).digest for seed in (3, 5)))"
    environment = {**os.environ, "PYTHONHASHSEED": hash_seed}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_the_hash_seed_of_the_process_changes_nothing(played: list[Played]) -> None:
    expected = f"{history(played, 3).digest} {history(played, 5).digest}"
    assert digest_in_another_process("1") == digest_in_another_process("2") == expected


def test_a_failure_says_how_to_see_it_again_and_what_came_before(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Leadership, "committable", lambda self, configuration, durable: durable)
    with pytest.raises(Violation, match=r"seed 1, at .*\n.*python -m broadcast._simulation --seed 1 --trace") as caught:
        run(1)
    assert "commit" in "\n".join(caught.value.trace)


def test_faults_may_end_before_the_group_has_formed() -> None:
    """And before anybody has asked for anything: nobody is lost to a group that is yet to be."""
    assert run(0, options=Options(duration=MILLISECOND)).marks["elections"] >= 1


def test_bounds_hold_for_their_history_only() -> None:
    before = leader.BATCH_SIZE_MAX
    with bounds.in_force((("BATCH_SIZE_MAX", 200),)):
        assert leader.BATCH_SIZE_MAX == 200
    assert before == leader.BATCH_SIZE_MAX


# -- what proves too little --------------------------------------------------------------------------------------------


def test_histories_that_met_too_little_are_no_proof(played: list[Played]) -> None:
    little = Summary()
    little.add(played[0])
    little.marks["commands"] *= 100
    little.leader_changes = 0
    found = little.shortfalls()
    missing = [f"no history met: {mark}" for mark in MARKS if not little.marks[mark]]
    assert missing
    assert found == [
        *missing,
        f"only {little.acknowledged:.0%} of the commands were acknowledged under faults",
        "only 0 leader changes in 1 histories",
    ]


# -- the command -------------------------------------------------------------------------------------------------------


def test_the_command_plays_histories(played: list[Played]) -> None:
    command = [*SIMULATOR, "--seed", "3", "--count", "2", "--jobs", "2"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    seeds, first, second, *rest = done.stdout.splitlines()
    assert seeds == "seeds 3 to 4"
    assert first.startswith(f"3 {history(played, 3).digest}")
    assert second.startswith(f"4 {history(played, 4).digest}")
    assert rest[0].startswith("2 histories in ")
    assert rest[0].endswith(" 0 failed")


def test_the_command_fails_with_a_history_and_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    def committable(self: Leadership, configuration: object, durable: int) -> int:
        raise KeyError("a bug of any kind")

    monkeypatch.setattr(Leadership, "committable", committable)
    done = CliRunner().invoke(main, ["--seed", "1", "--count", "2"])
    assert done.exit_code == 1
    for seed in (1, 2):
        assert f"python -m broadcast._simulation --seed {seed} --trace" in done.output
    assert "a bug of any kind" in done.output
    assert "2 failed" in done.output


def test_the_command_fails_if_too_little_was_met(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(summary_module, "HISTORIES_LEAST", 2)
    done = CliRunner().invoke(main, ["--seed", "1", "--count", "2", "--strict", "--quiet"])
    assert done.exit_code == 1
    assert "FAILED no history met: " in done.output


def test_of_few_histories_it_is_told_and_not_required_that_they_meet_everything() -> None:
    done = CliRunner().invoke(main, ["--seed", "1", "--strict", "--quiet"])
    assert done.exit_code == 0
    assert "\nno history met: " in done.output
    assert "required of 150 histories or more; these are 1." in done.output
    assert "FAILED" not in done.output


def test_fresh_seeds_are_told() -> None:
    done = CliRunner().invoke(main, ["--fresh", "3", "--seconds", "0"])
    assert done.exit_code == 0
    assert done.output.startswith("fresh seeds ")
    assert "0 histories" in done.output


def test_an_interrupt_ends_it_at_once() -> None:
    command = [*SIMULATOR, "--fresh", "100000", "--jobs", "2"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        output = process.stdout
        assert output is not None
        assert output.readline().startswith("fresh seeds ")
        assert output.readline()  # of a history
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to all of them
        out, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert " 0 failed" in out
    assert "interrupted" in err
    assert "Traceback" not in err


def test_who_plays_for_a_runner_that_is_killed_ends_too() -> None:
    """Whatever it was doing: nobody would take what comes of it."""
    command = [*SIMULATOR, "--fresh", "100000", "--jobs", "2"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        output = process.stdout
        assert output is not None
        assert output.readline().startswith(b"fresh seeds ")
        assert output.readline()  # of a history: both play
        tasks = Path(f"/proc/{process.pid}/task").glob("*/children")
        players = [os.pidfd_open(int(pid)) for task in tasks for pid in task.read_text().split()]
        process.kill()
        assert process.wait() == -signal.SIGKILL
    assert len(players) >= 2
    try:
        for player in players:
            assert select.select([player], [], [], 60)[0], "it goes on playing"
    finally:
        for player in players:
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(player, signal.SIGKILL)
            os.close(player)


def test_seeds_are_given_out_as_they_are_wanted() -> None:
    """A campaign without an end is left at any time."""

    def endless() -> Iterator[int]:
        for seed in count():
            given.append(seed)
            yield seed

    given: list[int] = []
    results = play_all(endless(), jobs=2)
    assert next(results).seed == 0
    results.close()
    assert len(given) < 20
