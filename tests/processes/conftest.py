"""What the tests with processes of their own share."""

from __future__ import annotations

from pathlib import Path

import powercut
import pytest


@pytest.fixture(autouse=True)
def importable_from_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """The processes that a test starts can import the actors beside it."""
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))


@pytest.fixture(scope="session")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What power cuts are made with. Without a compiler the tests that need it fail; they are not skipped."""
    return powercut.build(tmp_path_factory.mktemp("powercut"))
