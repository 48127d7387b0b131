"""`pytest tests/transcripts --accept` writes down what the scripts lead to now: look at it before it stays."""

from __future__ import annotations

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--accept", action="store_true", help="transcripts: take what happens now for what is expected")
