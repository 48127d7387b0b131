"""What is amiss goes to standard error, a line each; everything goes to structlog where a program configured it."""

from __future__ import annotations

import io
import re
import subprocess
import sys

import pytest
import structlog

from actors._log import TEXT_LENGTH_MAX, TRACEBACK_LENGTH_MAX, Log

TIME = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z"


@pytest.fixture
def unconfigured() -> None:
    """As in a program that has not configured structlog: other tests have."""
    structlog.reset_defaults()


@pytest.mark.usefixtures("unconfigured")
def test_warnings_and_worse_are_a_line_each_and_the_rest_is_not_said(capsys: pytest.CaptureFixture[str]) -> None:
    log = Log("part")
    log.debug("looked")
    log.info("changed", node="a")
    log.warning("link refused", node="a", reason="no room", count=3)
    log.error("it stops", peer="b\nforged", nothing="")
    told = capsys.readouterr()
    assert told.out == ""
    refused, stops = told.err.splitlines()
    assert re.fullmatch(TIME + r" \[warning \] link refused node=a reason='no room' count=3", refused)
    assert re.fullmatch(TIME + r" \[error   \] it stops peer='b\\nforged' nothing=", stops)


@pytest.mark.usefixtures("unconfigured")
def test_an_exception_is_shown_with_its_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    try:
        raise ZeroDivisionError("why")
    except ZeroDivisionError as error:
        Log("part").error("it crashed", tag="t", exc_info=error)
    first, *more = capsys.readouterr().err.splitlines()
    assert first.endswith("it crashed tag=t")
    assert more[0].startswith("Traceback")
    assert more[-1] == "ZeroDivisionError: why"


CUT = "x" * (TEXT_LENGTH_MAX - 24) + "... (1000000 characters)"


@pytest.mark.usefixtures("unconfigured")
def test_whatever_others_sent_a_line_stays_short(capsys: pytest.CaptureFixture[str]) -> None:
    Log("part").warning("dead letter", reason="x" * 10**6, count=3)
    assert capsys.readouterr().err.endswith(f" reason='{CUT}' count=3\n")
    with structlog.testing.capture_logs() as lines:
        Log("part").warning("dead letter", reason="x" * 10**6, count=3)
    assert lines == [
        {"event": "dead letter", "reason": CUT, "count": 3, "logger": "part", "log_level": "warning"},
    ]


@pytest.mark.usefixtures("unconfigured")
def test_whatever_an_exception_says_its_traceback_stays_short_and_harmless(capsys: pytest.CaptureFixture[str]) -> None:
    Log("part").error("it crashed", exc_info=ValueError("x" * 10**6))
    assert capsys.readouterr().err.splitlines()[-1].startswith("ValueError: xxx")
    Log("part").error("it crashed", exc_info=ValueError("\n" * 10**6 + "why\x1b[31m\tred"))
    _, *more = capsys.readouterr().err.splitlines()
    assert len(more) == TRACEBACK_LENGTH_MAX
    assert more[-1] == "why\\x1b[31m\tred"
    Log("part").error("it crashed", exc_info=ValueError("x" * 10**6))
    assert max(map(len, capsys.readouterr().err.splitlines())) == TEXT_LENGTH_MAX


class _Full(io.StringIO):
    """Standard error on a full disk, or a pipe that nobody reads."""

    def flush(self) -> None:
        raise OSError(28, "No space left on device")


def _closed() -> io.StringIO:
    closed = io.StringIO()
    closed.close()
    return closed


@pytest.mark.usefixtures("unconfigured")
@pytest.mark.parametrize("stderr", [_Full(), _closed(), None], ids=["full", "closed", "none"])
def test_a_line_that_cannot_be_said_ends_nobody(
    stderr: io.StringIO | None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "stderr", stderr)
    Log("part").error("it stops", exc_info=ZeroDivisionError())
    assert capsys.readouterr().out == ""


def test_a_program_that_configured_structlog_gets_every_line(capsys: pytest.CaptureFixture[str]) -> None:
    with structlog.testing.capture_logs() as lines:
        log = Log("part")
        log.debug("looked", node="a")
        log.error("it stops")
    assert lines == [
        {"event": "looked", "node": "a", "logger": "part", "log_level": "debug"},
        {"event": "it stops", "logger": "part", "log_level": "error"},
    ]
    assert capsys.readouterr().err == ""


def test_structlog_is_imported_by_whom_it_is_used_by() -> None:
    program = "import sys, actors._log as own; own.Log('part').warning('amiss'); sys.exit('structlog' in sys.modules)"
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert (ended.returncode, ended.stdout) == (0, "")
    assert ended.stderr.endswith("[warning ] amiss\n")
