"""What is amiss goes to standard error, a line each; everything goes to structlog where a program configured it."""

from __future__ import annotations

import io
import re
import subprocess
import sys

import pytest
import structlog

from actors._log import Log

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
