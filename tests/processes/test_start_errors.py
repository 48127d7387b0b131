"""What can be wrong from the start: each is an error that names the thing and says what to do. Nothing else happens."""

from __future__ import annotations

import random
import socket
import subprocess
import sys
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path

import pytest
import trio
from tally import Tally

from actors import Actor, CannotListen, DataDirectoryError, DataDirectoryInUse, InvalidMessage, command
from broadcast import connect, local_group, open_group
from broadcast.cli._process import loopback_addresses, open_replicas, start_all

SECONDS_MAX = 120
MEMBERS = {"a": "127.0.0.1:0"}


async def opened(**options: object) -> None:
    """Open a group, and be done if that is possible."""
    async with open_group("tally", Tally, **{"node": "a", "members": MEMBERS, "data": None, **options}):  # type: ignore[arg-type]
        pass


async def told_by(opening: Callable[[], Awaitable[None]], kind: type[Exception]) -> str:
    """The text of the one error that opening raises: it is no group, and of this kind."""
    with trio.fail_after(SECONDS_MAX), pytest.raises(kind) as caught:
        await opening()
    return str(caught.value)


async def test_nothing_is_wrong() -> None:
    with trio.fail_after(SECONDS_MAX):
        await opened()


# -- addresses -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "address", ["", "127.0.0.1", "127.0.0.1:", ":7101", "127.0.0.1:port", "127.0.0.1:65536", "::1:7"]
)
@pytest.mark.parametrize("whose", ["a", "b"])
async def test_a_wrong_address(address: str, whose: str) -> None:
    members = {"a": "127.0.0.1:0", "b": "127.0.0.1:1", whose: address}
    told = await told_by(partial(opened, members=members), ValueError)
    assert repr(address) in told
    assert "host:port" in told


async def test_a_wrong_address_given_to_a_client() -> None:
    async def connected() -> None:
        async with connect("tally", Tally, members={"a": "nowhere"}):
            pass

    assert "'nowhere'" in await told_by(connected, ValueError)


async def test_an_address_that_other_machines_reach() -> None:
    told = await told_by(partial(opened, listen="0.0.0.0:0"), ValueError)
    assert "0.0.0.0:0" in told
    assert "insecure=True" in told


async def test_a_port_in_use() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        told = await told_by(partial(opened, members={"a": address}), CannotListen)
    assert address in told
    assert "another process listens there: stop it, or choose another port" in told


# -- names and data --------------------------------------------------------------------------------------------------


async def test_a_name_that_is_not_in_the_list() -> None:
    told = await told_by(partial(opened, node="d", members={"a": "127.0.0.1:1", "b": "127.0.0.1:2"}), ValueError)
    assert "'d'" in told
    assert "a, b" in told
    assert "members=" in told


async def test_a_data_directory_in_use(tmp_path: Path) -> None:
    async with open_group("tally", Tally, node="a", members=MEMBERS, data=tmp_path / "a"):
        told = await told_by(partial(opened, data=tmp_path / "a"), DataDirectoryInUse)
    assert str(tmp_path / "a") in told
    assert "stop that one first, or give this node its own directory" in told


async def test_the_data_directory_of_another_node(tmp_path: Path) -> None:
    await opened(data=tmp_path / "a")
    told = await told_by(
        partial(opened, node="b", members={"b": "127.0.0.1:0"}, data=tmp_path / "a"), DataDirectoryError
    )
    assert str(tmp_path / "a") in told
    assert "belongs to node 'a', not to 'b'" in told


async def test_a_directory_that_holds_something_else(tmp_path: Path) -> None:
    (tmp_path / "letter.txt").write_text("dear ...")
    told = await told_by(partial(opened, data=tmp_path), DataDirectoryError)
    assert "letter.txt" in told
    assert "choose another" in told


# -- classes and arguments -------------------------------------------------------------------------------------------


class Waiting(Actor):
    @command
    async def add(self, amount: int) -> int:
        return amount


class Demanding(Tally):
    def __init__(self, start: int) -> None:
        super().__init__()
        self.total = start


@pytest.mark.parametrize(
    ("actor", "says"), [(Waiting, "Waiting cannot be replicated: async def add"), (Demanding, "start"), (int, "Actor")]
)
async def test_a_class_that_cannot_be_replicated(actor: type[Tally], says: str) -> None:
    async def opened_with() -> None:
        async with open_group("tally", actor, node="a", members=MEMBERS, data=None):
            pass

    async def connected_with() -> None:
        async with connect("tally", actor, members={"a": "127.0.0.1:1"}):
            pass

    assert says in await told_by(opened_with, TypeError)
    if actor is not Demanding:  # a client makes none
        assert says in await told_by(connected_with, TypeError)


async def test_an_argument_of_the_wrong_type_harms_nobody() -> None:
    async with local_group(Tally) as tally:
        with trio.fail_after(SECONDS_MAX):
            assert await tally.ask(Tally.add, 1) == 1
            with pytest.raises(InvalidMessage, match=r"Tally\.add: amount"):
                await tally.ask(Tally.add, "one")  # type: ignore[arg-type]
            with pytest.raises(TypeError, match=r"Tally\.add.*amount"):
                await tally.ask(Tally.add)  # type: ignore[call-arg]
            assert await tally.ask(Tally.add, 1) == 2


# -- a process, and those that talk nonsense to it -------------------------------------------------------------------


async def test_a_replica_process_says_why_it_cannot_start(tmp_path: Path) -> None:
    """Its port is taken: one plain error, told where the process was started."""
    from broadcast.cli._process import ReplicaEnded

    async with open_replicas("tally", dict.fromkeys("ab", "tally:Tally"), tmp_path) as replicas:
        host, port = replicas["a"].settings.members["a"].split(":")
        with socket.socket() as taken:
            taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            taken.bind((host, int(port)))
            taken.listen()
            with pytest.raises(
                ReplicaEnded, match=f"the replica a has ended: CannotListen: .*:{port}: another process"
            ):
                await replicas["a"].start()


async def test_nonsense_at_its_port_does_not_end_a_replica(tmp_path: Path) -> None:
    """Noise, halves of a greeting, and silence: the replicas go on, and say one line about each at most."""
    chance = random.Random(1)
    async with open_replicas("tally", dict.fromkeys("abc", "tally:Tally"), tmp_path) as replicas:
        with trio.fail_after(SECONDS_MAX):
            await start_all(replicas.values())
        members = replicas["a"].settings.members
        noise = [chance.randbytes(chance.choice((1, 4, 40, 4_000, 400_000))) for _ in range(40)]
        async with connect("tally", Tally, members=members) as tally, trio.open_nursery() as nursery:
            for index, each in enumerate([*noise, b"", b"GET / HTTP/1.1\r\n\r\n", b"\0" * 1_000, b"\xff" * 1_000]):
                nursery.start_soon(disturb, list(members.values())[index % 3], each)
            with trio.fail_after(SECONDS_MAX):
                for number in range(1, 51):
                    assert await tally.ask(Tally.add, 1) == number
        for replica in replicas.values():
            assert (await replica.report(delivered=50, within=30)).count == 50
            log = replica.log.read_text()
            assert "Traceback" not in log
            assert len(log.splitlines()) <= 20


async def disturb(address: str, data: bytes) -> None:
    host, port = address.split(":")
    stream = await trio.open_tcp_stream(host, int(port))
    async with stream:
        try:
            await stream.send_all(data)
            with trio.move_on_after(1):
                await stream.receive_some()
        except trio.BrokenResourceError:
            pass


QUIET = """
import trio
from broadcast import local_group
from tally import Tally

async def main():
    async with local_group(Tally) as tally:
        with trio.fail_after(60):
            await tally.ask(Tally.add, 1)

trio.run(main)
"""


def test_by_default_a_group_says_nothing_while_all_is_well() -> None:
    """In a process of its own: a test may have configured structlog in this one."""
    command = [sys.executable, "-c", QUIET]
    ended = subprocess.run(command, capture_output=True, timeout=SECONDS_MAX + 30, check=False)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, b"", b"")


LONELY = """
import trio
from broadcast import _client, connect
from tally import Tally

_client.BACKOFF_SECONDS_MAX = _client.BACKOFF_SECONDS_MIN  # it tries many times, and says so once

async def main():
    with trio.move_on_after(6):
        async with connect("tally", Tally, members={"a": "127.0.0.1:1"}) as tally:
            await tally.ask(Tally.add, 1)

trio.run(main)
"""


def test_what_it_has_to_say_goes_to_standard_error() -> None:
    ended = subprocess.run([sys.executable, "-c", LONELY], capture_output=True, timeout=SECONDS_MAX, check=False)
    assert (ended.returncode, ended.stdout) == (0, b"")
    assert ended.stderr.count(b"\n") == 1
    assert b"a at 127.0.0.1:1" in ended.stderr


def test_reserved_addresses_can_be_listened_on_and_are_nobody_elses() -> None:
    with loopback_addresses(["a", "b"]) as addresses:
        host, port = addresses["a"].split(":")
        with socket.create_server((host, int(port))):  # as a replica does
            pass
        with socket.socket() as other, pytest.raises(OSError, match="in use"):
            other.bind((host, int(port)))  # as a stranger does, who did not ask for reuse
