"""T3: whatever the hash seed is, and without asserts: the same state after every entry, and the same answers."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from pathlib import Path

from hashing import lines

PROGRAM = Path(__file__).parent / "hashing.py"


def start(hash_seed: str, seeds: list[int], *options: str) -> subprocess.Popen[str]:
    command = [sys.executable, *options, str(PROGRAM), *map(str, seeds)]
    environment = {**os.environ, "PYTHONHASHSEED": hash_seed}
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)


def test_no_hash_seed_and_no_option_changes_what_a_log_comes_to() -> None:
    fresh = random.SystemRandom().randrange(2**32)
    seeds = [1, 2, 3, fresh]
    expected = [line for seed in seeds for line in lines(seed)]
    assert len(set(expected)) > 400
    started = [start(str(hash_seed), seeds) for hash_seed in range(10)]
    started += [start("random", seeds, "-O"), start("0", seeds, "-OO")]
    for process in started:
        found, _ = process.communicate()
        assert process.returncode == 0
        assert found.splitlines() == expected, f"seeds {seeds}"
