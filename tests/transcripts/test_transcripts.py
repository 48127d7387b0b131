"""Each script leads to what stands beneath it, word for word."""

from __future__ import annotations

import difflib
from pathlib import Path

import pytest
from script import Player

SCRIPTS = sorted(Path(__file__).parent.glob("*.txt"))


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.stem)
def test_what_follows_from_the_script_is_what_is_written_there(
    script: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = script.read_text()
    found = Player(monkeypatch).play(expected)
    if request.config.getoption("--accept", default=False):
        script.write_text(found)
        return
    difference = "".join(
        difflib.unified_diff(expected.splitlines(True), found.splitlines(True), script.name, "what happens now")
    )
    if difference:
        pytest.fail(f"{difference}\nIf this is right: pytest tests/transcripts --accept", pytrace=False)
