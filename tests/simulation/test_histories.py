"""Seeded histories of the real cores: nothing breaks, everything comes to an end, and a seed says it all."""

from __future__ import annotations

import functools
import os
import subprocess
import sys
from collections import Counter

import pytest

from broadcast._protocol.leader import Leadership
from broadcast._simulation.history import History, run
from broadcast._simulation.invariants import Violation

SEEDS = 100
CHUNK = 10


@functools.cache
def history(seed: int) -> History:
    return run(seed)


@pytest.mark.parametrize("first", range(0, SEEDS, CHUNK))
def test_histories_are_safe_and_come_to_an_end(first: int) -> None:
    for seed in range(first, first + CHUNK):
        assert history(seed).seed == seed


def test_what_should_be_survived_did_happen() -> None:
    """Else the histories prove nothing (P38). The least is about half of what they met when this was written."""
    marks = sum((history(seed).marks for seed in range(SEEDS)), Counter[str]())
    least = {
        "answers": 10_000,
        "reads": 3_000,
        "elections": 200,
        "truncations": 20,
        "crashes": 250,
        "power cuts": 50,
        "crashes that dropped unsynced data": 20,
        "repeated commands": 250,
        "repeated over a failover": 40,
        "gaps": 50,
        "reports of gaps": 200,
        "withdrawn": 300,
        "expired sessions": 10,
        "unknown outcomes": 1,
        "sessions ended": 5,
        "replicas given up": 250,
        "pauses": 60,
        "links cut": 200,
        "messages lost": 10_000,
        "disk stalls": 40,
        "disks wiped": 20,
        "clocks set": 40,
    }
    assert {name: marks[name] for name in least if marks[name] < least[name]} == {}


def test_one_seed_is_one_history() -> None:
    assert run(7) == history(7)
    assert run(8).digest != history(7).digest


def digest_in_another_process(hash_seed: str) -> str:
    program = "from broadcast._simulation.history import run; print(*(run(seed).digest for seed in (3, 5)))"
    environment = {**os.environ, "PYTHONHASHSEED": hash_seed}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_the_hash_seed_of_the_process_changes_nothing() -> None:
    expected = f"{history(3).digest} {history(5).digest}"
    assert digest_in_another_process("1") == digest_in_another_process("2") == expected


def test_a_failure_says_how_to_see_it_again_and_what_came_before(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Leadership, "committable", lambda self, configuration, durable: durable)
    with pytest.raises(Violation, match=r"seed 1, at .*\n.*python -m broadcast._simulation --seed 1 --trace") as caught:
        run(1)
    assert "commit" in "\n".join(caught.value.trace)


def test_the_command_plays_histories_and_fails_with_them() -> None:
    command = [sys.executable, "-m", "broadcast._simulation", "--seed", "3", "--count", "2"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    first, second = done.stdout.splitlines()
    assert first.startswith(f"3 {history(3).digest}")
    assert second.startswith(f"4 {history(4).digest}")
