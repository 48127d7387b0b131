"""Ctrl-C in a run of the tests, and numbers that whoever starts them wants."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
HERE = TESTS / "processes"
SECONDS_MAX = 120

UNDER_TRIO = """
import trio

async def test_that_waits():
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.sleep_forever)
        print("waiting", flush=True)

async def test_that_comes_next():
    print("not reached", flush=True)
"""


def test_an_interrupt_of_a_test_under_trio_ends_the_run(tmp_path: Path) -> None:
    """Trio makes a group of it, which pytest would take for a failure, and go on."""
    shutil.copy(TESTS / "conftest.py", tmp_path)
    (tmp_path / "test_of_ours.py").write_text(UNDER_TRIO)
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-s",
        "-p",
        "no:cacheprovider",
        "-o",
        "trio_mode=true",
        "test_of_ours.py",
    ]
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, text=True) as process:
        output = process.stdout
        assert output is not None
        while "waiting" not in (line := output.readline()):
            assert line
        process.send_signal(signal.SIGINT)
        told, _ = process.communicate(timeout=SECONDS_MAX)
    assert process.returncode == pytest.ExitCode.INTERRUPTED
    assert "not reached" not in told
    assert "KeyboardInterrupt" in told


@pytest.mark.parametrize(
    ("file", "name", "given", "says"),
    [
        ("test_nemesis.py", "MINUTES", "abc", "MINUTES must be a number greater than 0, like 0.5 or 30, and is 'abc'."),
        ("test_nemesis.py", "MINUTES", "0", "MINUTES must be a number greater than 0, like 0.5 or 30, and is '0'."),
        ("test_nemesis.py", "MINUTES", "nan", "MINUTES must be a number greater than 0, like 0.5 or 30, and is 'nan'."),
        ("test_nemesis.py", "SEED", "x", "SEED must be a whole number from 1 on, and is 'x'."),
        ("test_clients_kill.py", "RUNS", "-1", "RUNS must be a whole number from 1 on, and is '-1'."),
        ("test_stopped_leader.py", "TRIALS", "0.5", "TRIALS must be a whole number from 1 on, and is '0.5'."),
        ("test_disk_faults.py", "DEATHS", "abc", "DEATHS must be a whole number from 1 on, and is 'abc'."),
    ],
)
def test_a_number_that_is_none_is_told_in_a_sentence(file: str, name: str, given: str, says: str) -> None:
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(HERE / file)]
    environment = {**os.environ, name: given}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=SECONDS_MAX, check=False)
    assert done.returncode == pytest.ExitCode.USAGE_ERROR
    assert (done.stdout + done.stderr).strip() == f"ERROR: {says}"


@pytest.mark.parametrize(("given", "numbers"), [("3", "1 2 3"), ("1", "1"), ("120", " ".join(map(str, range(1, 121))))])
def test_so_many_deaths_are_the_first_ones(given: str, numbers: str) -> None:
    program = "import test_disk_faults as tests; print(*tests.NUMBERS)"
    environment = {**os.environ, "DEATHS": given, "PYTHONPATH": str(HERE)}
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, cwd=TESTS.parent, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == numbers
