"""`troupe trace`: traces of a real group in one order, as words and as a picture; what is no trace is told."""

from __future__ import annotations

import re
from collections import Counter
from contextlib import AsyncExitStack
from pathlib import Path
from xml.etree import ElementTree

import pytest
import trio
from click.testing import CliRunner, Result
from counts import Count
from hypothesis import given
from hypothesis import strategies as st

from actors._protocol.trace import Note, encode_note, merge
from broadcast import connect, open_group
from broadcast._protocol import messages as m
from broadcast._protocol.position import Batch, Position
from broadcast._protocol.visits import Enter
from broadcast._trace import described
from broadcast.cli import _spacetime, trace
from broadcast.cli._process import loopback_addresses
from broadcast.cli.trace import command as troupe_trace
from broadcast.cli.trace import read
from membership import Limits

SVG = "{http://www.w3.org/2000/svg}"


def run(*arguments: str | Path) -> Result:
    """As at a terminal, which obeys what it is told."""
    return CliRunner().invoke(troupe_trace, [str(each) for each in arguments], prog_name="troupe trace", color=True)


async def live(directory: Path) -> None:
    """A group of three forms, elects, and is used, also by a client."""
    limits = Limits(election_timeout=200_000)
    with loopback_addresses("abc") as members, trio.fail_after(60):
        async with AsyncExitStack() as stack:
            groups = [
                await stack.enter_async_context(
                    open_group("count", Count, node=name, members=members, data=None, limits=limits, trace=directory)
                )
                for name in members
            ]
            for group in groups * 3:
                await group.ask(Count.add, 1)
            async with connect("count", Count, members=members, name="reports") as client:
                assert await client.ask(Count.value) == 9


@pytest.fixture(scope="module")
def traces(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    directory = tmp_path_factory.mktemp("traces")
    trio.run(live, directory)
    return sorted(directory.glob("*.trace"))


# -- a real group ----------------------------------------------------------------------------------------------------


def test_the_words_tell_what_the_group_did(traces: list[Path]) -> None:
    told = run(*traces)
    assert told.exit_code == 0, told.output
    lines = told.output.splitlines()
    assert len(lines) == sum(path.read_bytes().count(b"\n") for path in traces)
    stamps = [int(line.split(".")[0]) for line in lines]
    assert stamps == sorted(stamps)
    for expected in (
        r"[abc] -> [abc]  append  count  epoch \d+  \d+ B$",
        r"[abc] <- [abc]  appended  count  epoch \d+  \d+ B  sent at \d+$",
        r"[abc]  epoch \d+ begins: [abc] leads  count$",
        r"[abc]  delivers \d+  count  epoch \d+$",
        r"[abc] <- reports  enter  count  \d+ B  sent at \d+$",
        r"[abc] -> reports  welcome  count  \d+ B$",
    ):
        assert any(re.search(expected, line) for line in lines), expected
    delivered = Counter(re.findall(r"([abc])  delivers (\d+)", told.output))
    assert set(delivered.values()) == {1}
    assert run(*reversed(traces)).output == told.output


def test_what_is_not_wanted_is_left_out(traces: list[Path]) -> None:
    told = run(*traces, "--without", "append", "--without", "appended", "--from", 20, "--until", 40).output
    assert "append" not in told
    assert {int(line.split(".")[0]) for line in told.splitlines()} <= set(range(20, 41))
    nothing = run(*traces, "--from", 10**9)
    assert (nothing.exit_code, nothing.output) == (1, "Error: nothing is left to show\n")


def test_the_picture_has_a_lane_for_each_node_and_an_arrow_for_each_message(traces: list[Path], tmp_path: Path) -> None:
    out = tmp_path / "out.svg"
    told = run(*traces, "--svg", out)
    assert told.exit_code == 0, told.output
    events = merge([read(path) for path in traces])
    root = ElementTree.parse(out).getroot()
    texts = [each.text or "" for each in root.iter(f"{SVG}text")]
    assert [texts.count(name) >= 2 for name in "abc"] == [True] * 3
    arrows = [each for each in root.iter(f"{SVG}line") if each.get("class") == "arrow"]
    received = sum(each.note.event == "receive" for each in events)
    to_others = sum(each.note.event == "send" and each.note.peer == "reports" for each in events)
    assert len(arrows) == received + to_others
    assert len([each for each in root.iter(f"{SVG}line") if each.get("class") == "reign"]) >= 1
    rows = [each for each in texts if re.match(r"[abc] [\u2190\u2192] ", each)]
    assert len(rows) == sum(each.note.event in ("send", "receive", "drop") for each in events)


def test_what_leads_out_of_the_picture_is_not_lost(tmp_path: Path) -> None:
    a = write(
        tmp_path / "a", Note("send", "a", 1, 1, 0, peer="b", kind="k"), Note("send", "a", 1, 5, 0, peer="b", kind="k")
    )
    b = write(tmp_path / "b", Note("receive", "b", 1, 9, 0, peer="a", peer_life=1, sent=5, kind="k"))
    for options, lost in ((("--until", 5), 1), ((), 1), (("--from", 2), 0)):
        assert run(a, b, "--svg", tmp_path / "out.svg", *options).exit_code == 0
        drawn = (tmp_path / "out.svg").read_text()
        assert drawn.count('class="lost"') == lost


def test_a_node_that_replays_the_log_does_not_lead_again(tmp_path: Path) -> None:
    """Epochs 1 and 2 have begun when it learns of them."""

    def view(node: str, counter: int, epoch: int, leader: str) -> Note:
        return Note("view", node, 1, counter, 0, to="g", epoch=epoch, leader=leader)

    a = write(tmp_path / "a", view("a", 1, 1, "a"), view("a", 9, 2, "b"))
    b = write(tmp_path / "b", view("b", 2, 2, "b"), Note("drop", "b", 1, 10, 0, kind="k"))
    c = write(tmp_path / "c", view("c", 3, 1, "c"), Note("drop", "c", 1, 4, 0, kind="k"))
    assert run(a, b, c, "--svg", tmp_path / "out.svg").exit_code == 0
    root = ElementTree.parse(tmp_path / "out.svg").getroot()
    lanes = {each.get("x1") for each in root.iter(f"{SVG}line") if each.get("class") == "reign"}
    names = {each.text: each.get("x") for each in root.iter(f"{SVG}text") if each.get("class") == "name"}
    assert lanes == {names["a"], names["b"]}


def test_names_of_anybody_are_only_text_in_the_picture(tmp_path: Path) -> None:
    evil = '<script x="&">\x1b[2J\x00'
    one = write(tmp_path / "a", Note("receive", "a", 1, 1, 0, peer=evil, peer_life=0, sent=1, to=evil, kind=evil))
    assert run(one, "--svg", tmp_path / "out.svg").exit_code == 0
    assert "<script" not in (tmp_path / "out.svg").read_text()
    ElementTree.parse(tmp_path / "out.svg")
    assert "\x1b" not in run(one).output


def test_a_line_of_the_programs_log_has_its_place(tmp_path: Path) -> None:
    one = write(tmp_path / "a", Note("log", "a", 1, 7, 0, text="the disk\nis full", level="warning"), *NOTES[8:])
    assert run(one).output.endswith("  a  warning: the disk is full\n")
    assert run(one, "--svg", tmp_path / "out.svg").exit_code == 0
    assert "warning: the disk is full" in (tmp_path / "out.svg").read_text()


def test_too_many_events_for_a_picture_are_told(
    traces: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trace, "EVENTS_MAX", 10)
    told = run(*traces, "--svg", tmp_path / "out.svg")
    assert told.exit_code == 1
    assert "choose some by --from" in told.output
    assert not (tmp_path / "out.svg").exists()
    assert _spacetime.EVENTS_MAX == 5_000


def test_no_trace_is_written_over_by_a_picture(traces: list[Path], tmp_path: Path) -> None:
    """As by `--svg traces/*.trace`: the first of them is where the picture would go."""
    link = tmp_path / "link"
    link.symlink_to(traces[1])
    one, none = "one of the traces, and stays as it is: name a new file", "there already, and is no picture"
    for first, others, why in ((traces[0], traces[1:], none), (traces[0], traces, one), (link, traces, one)):
        before = [path.read_bytes() for path in traces]
        told = run("--svg", first, *others)
        assert (told.exit_code, f"{first} is {why}" in told.output) == (1, True), told.output
        assert [path.read_bytes() for path in traces] == before


def test_a_picture_is_written_over_a_picture_and_over_nothing_else(traces: list[Path], tmp_path: Path) -> None:
    out = tmp_path / "out.svg"
    out.touch()
    for _ in range(2):
        assert run(*traces, "--svg", out).exit_code == 0
    out.write_text("a letter")
    assert f"{out} is there already, and is no picture" in run(*traces, "--svg", out).output
    assert out.read_text() == "a letter"
    assert run(*traces, "--svg", "/dev/null").exit_code == 0


def test_a_picture_that_cannot_be_written_is_told(traces: list[Path], tmp_path: Path) -> None:
    told = run(*traces, "--svg", tmp_path / "nowhere" / "out.svg")
    assert (told.exit_code, "cannot be written: No such file" in told.output) == (1, True)


# -- damaged and foreign files ---------------------------------------------------------------------------------------


def write(path: Path, *notes: Note) -> Path:
    path.write_bytes(b"".join(map(encode_note, notes)))
    return path


NOTES = [Note("drop", "a", 1, counter, 0, kind="k") for counter in range(5)]


@pytest.mark.parametrize(
    ("content", "told"),
    [
        pytest.param(b"", "holds no notes", id="empty"),
        pytest.param(b"\x89PNG\r\n\x1a\n\x00\x00", "line 1 of {} is not of a trace: ", id="a picture"),
        pytest.param(b'{"event":"\x5cu001b[2J"}\n', "line 1 of {} is not of a trace: ", id="what a terminal obeys"),
        pytest.param(b"hello\nworld\n", "line 1 of {} is not of a trace: ", id="words"),
        pytest.param(b'{"a": 1}\n', "line 1 of {} is not of a trace: ", id="other JSON"),
        pytest.param(b"x" * 100_000, "line 1 of {} is not of a trace: it has 4097 bytes", id="one endless line"),
        pytest.param(b'{"event":', "line 1 of {} is not of a trace: ", id="half of a line, and no other"),
        pytest.param(
            encode_note(NOTES[0]) + b"\n" + encode_note(NOTES[1]), "line 2 of {} is not of a trace: ", id="a gap"
        ),
        pytest.param(
            encode_note(NOTES[0]) + encode_note(NOTES[1]).replace(b"drop", b"drip") + encode_note(NOTES[2]),
            "line 2 of {} is not of a trace: Invalid enum value 'drip'",
            id="a damaged line",
        ),
        pytest.param(
            encode_note(NOTES[0]) + encode_note(Note("drop", "b", 1, 1, 0, kind="k")),
            "line 2 of {} is of node b in its life 1, and line 1 of {} of a in 1",
            id="two traces joined",
        ),
    ],
)
def test_a_file_that_is_no_trace_is_told_with_file_and_line(content: bytes, told: str, tmp_path: Path) -> None:
    path = tmp_path / "a.trace"
    path.write_bytes(content)
    refused = run(path)
    assert refused.exit_code == 1
    assert refused.output.startswith("Error: ")
    assert told.format(path, path) in refused.output
    assert len(refused.output.splitlines()) == 1
    assert "\x1b" not in refused.output


def test_a_last_line_that_is_cut_off_is_left_out_and_said_to_be(tmp_path: Path) -> None:
    path = write(tmp_path / "a.trace", *NOTES)
    path.write_bytes(path.read_bytes()[:-10])
    told = run(path)
    assert told.exit_code == 0
    assert f"line 5 of {path} is cut off, and left out" in told.stderr
    assert len(told.stdout.splitlines()) == 4


def test_the_same_trace_twice_is_told(traces: list[Path]) -> None:
    told = run(traces[0], traces[0])
    assert told.exit_code == 1
    assert "begin traces of the same life: give one of them" in told.output


def test_a_file_that_is_not_there_is_told() -> None:
    assert "does not exist" in run("nowhere.trace").output


# -- what messages are -----------------------------------------------------------------------------------------------

BATCH = Batch(3, 0, 1, 1, 0, 1, b"x" * 100)


@pytest.mark.parametrize(
    ("message", "kind", "epoch"),
    [
        (m.Append(3, Position(2, 1), (BATCH,), 0), "append", 3),
        (m.AppendReply(2**40, 7), "appended", 2**40),
        (m.Heartbeat(300, 1, 2, 3), "beat", 300),
        (m.HeartbeatReply(23, 1), "beaten", 23),
        (m.Committed(24, 1), "commit", 24),
        (m.Submit(()), "submit", None),
        (m.ReadIndex(70_000, 1), "read?", 70_000),
        (m.ReadIndexReply(5, 9), "read", None),
    ],
)
def test_a_message_between_replicas_is_told_by_its_beginning(message: m.Message, kind: str, epoch: int | None) -> None:
    assert described("replica", m.encode_message(b"c" * 16, b"s" * 16, message)) == (kind, epoch)


def test_a_clients_message_is_told_too() -> None:
    from actors._protocol.codec import encode_struct

    assert described("group", encode_struct(Enter())) == ("enter", None)


@given(st.sampled_from(["replica", "group"]), st.binary(max_size=60))
def test_whatever_else_it_is_is_of_its_envelopes_kind_and_nothing_is_raised(tag: str, body: bytes) -> None:
    kind, epoch = described(tag, body)
    assert kind == tag or kind.encode() in body
    assert epoch is None or epoch >= 0


@pytest.mark.parametrize(
    ("tag", "body"),
    [
        ("group", b"\x9f\x65enter\xff"),  # of a length that is not told
        ("group", b"\x9c\x65enter"),  # of none that can be
        ("replica", m.encode_message(b"c" * 16, b"s" * 16, m.Heartbeat(2**40, 1, 2, 3))[: 35 + 1 + 5 + 4]),
    ],
)
def test_heads_that_are_strange_or_cut_are_not_believed(tag: str, body: bytes) -> None:
    assert described(tag, body) == (tag, None)


@pytest.mark.parametrize(
    ("message", "whole"),
    [(m.Append(3, Position(2, 1), (BATCH,), 0), ("append", 3)), (m.Submit(()), ("submit", None))],
)
def test_a_message_that_is_cut_anywhere_is_no_trouble(message: m.Message, whole: tuple[str, int | None]) -> None:
    body = m.encode_message(b"c" * 16, b"s" * 16, message)
    for size in range(len(body)):
        assert described("replica", body[:size]) in (("replica", None), whole)
