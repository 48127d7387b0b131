"""Three processes under TLS: the authority changes while they run, one is killed, no secret shows anywhere (T49)."""

from __future__ import annotations

import shutil
import stat
import sys
from collections.abc import Iterable
from pathlib import Path

import trio
from click.testing import CliRunner
from tally import Tally

from actors import Tls
from broadcast import GroupRef, connect
from broadcast.cli._process import ReplicaProcess, open_replicas, start_all
from broadcast.cli.certs import command as troupe_certs
from broadcast.cli.trace import command as troupe_trace

SECONDS_MAX = 120


def troupe(*arguments: str | Path) -> None:
    done = CliRunner().invoke(troupe_certs, [str(each) for each in arguments])
    assert done.exit_code == 0, done.output


def issue(authority: Path, nodes: Iterable[str]) -> None:
    troupe("init", authority)
    troupe("client", authority, "reports")
    for node in nodes:
        troupe("node", authority, node)


def give(authority: Path, node: str, machine: Path, trusted: Iterable[Path]) -> None:
    """Files for a node's machine, each put in the place of the old one at once."""
    machine.mkdir(mode=0o700, exist_ok=True)
    beside = machine / "beside"
    for name, source in (("node.key", f"node-{node}.key"), ("node.pem", f"node-{node}.pem")):
        shutil.copy2(authority / source, beside)
        beside.replace(machine / name)
    trust(machine, trusted)


def trust(machine: Path, authorities: Iterable[Path]) -> None:
    beside = machine / "beside"
    beside.write_bytes(b"".join((each / "authority.pem").read_bytes() for each in authorities))
    beside.replace(machine / "authority.pem")


def client(authority: Path, trusted: Path) -> Tls:
    files = authority / "client-reports.pem", authority / "client-reports.key", trusted / "authority.pem"
    return Tls(certificate=files[0], key=files[1], authority=files[2])


async def add(replicas: dict[str, ReplicaProcess], tls: Tls) -> int:
    members = next(iter(replicas.values())).settings.members
    counter: GroupRef[Tally]
    async with connect("tally", Tally, members=members, tls=tls) as counter:
        return await counter.ask(Tally.add, 1)


async def restart(replica: ReplicaProcess, after_epoch: int) -> None:
    replica.kill()
    await replica.wait_ended()
    await replica.start()
    await replica.wait_view(after_epoch=after_epoch)


async def test_a_group_of_processes_changes_its_authority_and_survives_a_kill(tmp_path: Path) -> None:
    old, new, machines = tmp_path / "old", tmp_path / "new", {name: tmp_path / f"machine-{name}" for name in "abc"}
    issue(old, machines)
    issue(new, machines)
    for name, machine in machines.items():
        give(old, name, machine, [old])
    with trio.fail_after(SECONDS_MAX):
        async with open_replicas("tally", dict.fromkeys("abc", "tally:Tally"), tmp_path) as replicas:
            for name, replica in replicas.items():
                replica.command = sys.executable, "-m", "certified"
                replica.environment = {"CERTIFICATES": str(machines[name]), "TROUPE_TRACE": str(tmp_path / "traces")}
            await start_all(replicas.values())
            assert await add(replicas, client(old, old)) == 1
            for machine in machines.values():
                trust(machine, [old, new])
            for name, machine in machines.items():
                give(new, name, machine, [old, new])
            assert await add(replicas, client(old, machines["a"])) == 2  # each new connection, by the new files
            assert await add(replicas, client(new, new)) == 3
            for machine in machines.values():
                trust(machine, [new])
            view = await replicas["a"].wait_view()
            leader = replicas[view.leader]
            await restart(leader, after_epoch=view.epoch)
            assert await add(replicas, client(new, new)) == 4
            secrets = secrets_in(old, new)
            assert shown_to_others([each.pid for each in replicas.values()]) & secrets == set()
    assert_private(tmp_path)
    for name in machines:
        text = (tmp_path / f"{name}.log").read_text()
        assert not any(secret in text for secret in secrets)
        warnings = [line for line in text.splitlines() if "[warning" in line]  # half of a change may have been met
        assert all("new certificates cannot be used: the old ones stay" in line for line in warnings), warnings
    told = CliRunner().invoke(troupe_trace, sorted(map(str, (tmp_path / "traces").iterdir())))
    assert told.exit_code == 0, told.output
    assert "reports" in told.output
    assert not any(secret in told.output for secret in secrets)


def secrets_in(*authorities: Path) -> set[str]:
    """Every line of every key."""
    lines = {line for each in authorities for path in each.glob("*.key") for line in path.read_text().splitlines()}
    return {line for line in lines if not line.startswith("-----")}


def shown_to_others(pids: Iterable[int | None]) -> set[str]:
    """What a list of processes shows."""
    return {part for pid in pids for part in Path(f"/proc/{pid}/cmdline").read_text().split("\0")}


def assert_private(directory: Path) -> None:
    """Data and traces are their owner's."""
    for name in ("a", "b", "c", "traces"):
        assert stat.S_IMODE((directory / name).stat().st_mode) == 0o700
