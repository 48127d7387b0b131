"""`troupe demo` as a user runs it."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from broadcast.cli.demo import LINE_SIZE_MAX, LINES_MIN, own_lines

TROUPE = [sys.executable, "-c", "from broadcast.cli import main; main(prog_name='troupe')"]
SECONDS_MAX = 300
MANY_LINES = 100_000  # that are not all written before somebody has read the first words of it
OURS = str(Path(__file__).parent)


def troupe(*arguments: str, given: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    return subprocess.run([*TROUPE, *arguments], input=given, capture_output=True, timeout=SECONDS_MAX, check=False)


def test_the_story(tmp_path: Path) -> None:
    """No file: its own source. What happened is told in words; the data is kept where that is asked for."""
    ended = troupe("demo", "--data", str(tmp_path / "data"))
    told = ended.stdout.decode()
    assert ended.returncode == 0, told + ended.stderr.decode()
    for words in ("have elected", "kill -9 of", "The group goes on", "is back as", "The same everywhere", "in epoch"):
        assert words in told
    assert "Traceback" not in told + ended.stderr.decode()
    assert all(len(line) <= 100 for line in told.splitlines())
    assert {path.name for path in (tmp_path / "data").iterdir()} == {"a", "a.log", "b", "b.log", "c", "c.log"}


def test_a_file_and_the_result_as_json(tmp_path: Path) -> None:
    text = tmp_path / "text"
    text.write_bytes("one\n\ntwo ü\n".encode() + b"\xff not UTF-8\r\n" + b"no newline at the end")
    ended = troupe("demo", str(text), "--json")
    assert ended.returncode == 0, ended.stderr.decode()
    result: dict[str, Any] = json.loads(ended.stdout)
    assert result["same"] is True
    assert result["lines"] == 5
    assert result["after"]["epoch"] > result["before"]["epoch"]
    assert result["after"]["leader"] != result["before"]["leader"]
    replicas = [report for report in result["reports"] if report["who"] != "client"]
    assert [report["who"] for report in replicas] == ["a", "b", "c"]
    assert replicas[0]["last"][-1]["epoch"] >= result["after"]["epoch"], "no line met the group after the kill"
    shown = [*replicas[0]["first"], *replicas[0]["last"][1:]]
    assert [placed["text"] for placed in shown] == ["one", "", "two ü", "\ufffd not UTF-8\r", "no newline at the end"]


def test_one_line_of_standard_input_is_enough() -> None:
    result: dict[str, Any] = json.loads(troupe("demo", "-", "--json", given=b"alone\n").stdout)
    assert (result["same"], result["lines"]) == (True, 1)


def test_a_planted_difference_is_found() -> None:
    ended = troupe("demo", "-", "--plant", "b", given=b"line\n" * 20)
    assert ended.returncode == 1
    assert b"DIFFERENT" in ended.stdout
    assert b"Not the same (final state): a, c, client: " in ended.stdout


@pytest.mark.parametrize(
    ("given", "arguments", "says"),
    [
        (b"", ["-"], "there are no lines in standard input"),
        (b"ok\n" + b"x" * (LINE_SIZE_MAX + 1), ["-"], "line 2 of standard input is longer"),
        (b"", ["no-such-file"], "no-such-file"),
        (b"x", ["-", "--data", OURS], f"{OURS} is not empty"),
        (b"x", ["-", "--data", "/proc/self"], "'/proc/self' is not writable"),
        (b"x", ["-", "--data", "/dev/null/x"], "/dev/null/x cannot be used: Not a directory"),
        (b"", ["/proc/self/mem"], "/proc/self/mem cannot be used: Input/output error"),
    ],
)
def test_what_cannot_be_played_is_told_before_it_begins(given: bytes, arguments: list[str], says: str) -> None:
    ended = troupe("demo", *arguments, given=given)
    assert ended.returncode == 2
    assert says in ended.stderr.decode()
    assert not ended.stdout


class Demo:
    """A demo that runs, up to its client's first line; in a process group of its own, as in a terminal."""

    def __init__(self, lines: Path) -> None:
        command, pipe = [*TROUPE, "demo", str(lines)], subprocess.PIPE
        self.process = subprocess.Popen(command, stdout=pipe, stderr=pipe, process_group=0)
        self.children: list[int] = []
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if b" is process " in line:
                self.children.append(os.pidfd_open(int(line.split(b" is process ")[1].split(b",")[0])))
            if b"A client writes" in line:
                break

    def assert_children_end(self, seconds: float) -> None:
        assert len(self.children) == 3
        for child in self.children:
            readable, _, _ = select.select([child], [], [], seconds)
            assert readable, "a replica goes on after its demo has ended"


@pytest.fixture
def demo(tmp_path: Path) -> Iterator[Demo]:
    lines = tmp_path / "lines"
    lines.write_text("line\n" * MANY_LINES)
    demo = Demo(lines)
    yield demo
    demo.process.kill()
    demo.process.communicate()
    for child in demo.children:
        os.close(child)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_wish_to_leave_ends_all_of_it(demo: Demo, number: signal.Signals) -> None:
    """Ctrl-C goes to the whole group. The children end too, and nobody sees a traceback."""
    os.killpg(demo.process.pid, number)
    _, errors = demo.process.communicate(timeout=SECONDS_MAX)
    assert demo.process.returncode == 128 + number
    assert errors == b""
    demo.assert_children_end(0)


def test_replicas_do_not_outlive_a_killed_demo(demo: Demo) -> None:
    demo.process.kill()
    demo.process.communicate(timeout=SECONDS_MAX)
    demo.assert_children_end(60)


def test_help_says_what_it_does() -> None:
    told = troupe("demo", "--help").stdout.decode()
    assert "SIGKILL" in told
    assert "--plant" not in told
    assert "demo" in troupe("--help").stdout.decode()


def test_its_own_text_is_long_enough() -> None:
    assert len(own_lines()) >= LINES_MIN
