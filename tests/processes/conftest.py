"""What the tests with processes of their own share."""

from __future__ import annotations

import os
from pathlib import Path

import powercut
import pytest
import trio
from stalls import Machine
from wanted import check_wanted

from broadcast.cli import _process

START_SECONDS_MAX = 180.0  # within which a process listens, however busy the machine is


def pytest_configure() -> None:
    check_wanted()


@pytest.fixture(autouse=True)
def importable_from_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """The processes that a test starts can import the actors beside it, and have time for that."""
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent), prepend=os.pathsep)
    monkeypatch.setattr(_process, "START_SECONDS", START_SECONDS_MAX)


@pytest.fixture(scope="session")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What power cuts are made with. Without a compiler the tests that need it fail; they are not skipped."""
    return powercut.build(tmp_path_factory.mktemp("powercut"))


@pytest.fixture
def machine(tmp_path: Path, nursery: trio.Nursery) -> Machine:
    """Watched for as long as the test lasts."""
    machine = Machine(tmp_path / "watched")
    nursery.start_soon(machine.run)
    return machine
