"""What the tests with processes of their own share."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def importable_from_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """The processes that a test starts can import the actors beside it."""
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Where there is no compiler, power cuts are not tested, and pytest's closing lines say so."""
    if shutil.which("gcc") is None:
        for item in items:
            if "library" in getattr(item, "fixturenames", ()):
                item.add_marker(pytest.mark.skip(reason="power cuts need gcc and libc's headers, to build powercut.c"))
