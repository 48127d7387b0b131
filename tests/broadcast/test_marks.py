"""The marks file: what it takes and gives back."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from broadcast._marks import Marks


def test_what_the_system_takes_in_small_pieces_is_written_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A slot that is only begun would look damaged at the next start."""
    whole = os.pwrite
    monkeypatch.setattr(os, "pwrite", lambda file, data, offset: whole(file, data[:5], offset))
    marks = Marks(tmp_path / "log.marks")
    try:
        marks.begin()
        marks.set(1, b"s" * 16, 77)
        assert marks.read() == {1: (b"s" * 16, 77)}
    finally:
        marks.close()
