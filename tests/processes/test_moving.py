"""Members come back at other addresses, with the disks that they had: one, which the group is told, or all, by hand."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import msgspec
import trio
from rig import Rig, open_rig
from tally import Tally

from broadcast import GroupRef, connect

SECONDS_MAX = 120


async def stop(rig: Rig, *names: str) -> None:
    for name in names:
        await rig[name].process.stop()
        await rig[name].process.wait_ended()


def resettle(rig: Rig, name: str, addresses: Mapping[str, str]) -> None:
    """From its next start on it knows these addresses, its own among them."""
    process = rig[name].process
    process.settings = msgspec.structs.replace(process.settings, members=dict(addresses))


async def add(counter: GroupRef[Tally]) -> int:
    with trio.fail_after(SECONDS_MAX):
        return await counter.ask(Tally.add, 1)


async def test_a_member_that_comes_back_at_another_port_is_found_once_the_group_is_told(tmp_path: Path) -> None:
    """Also by a member that was away meanwhile and was told the old address, and by a client that knew only others."""
    async with open_rig("tally:Tally", None, tmp_path, "abc", later="x", wired=False) as rig:
        await rig.start()
        async with connect("group", Tally, members={"a": rig.addresses["a"]}) as counter:
            assert await add(counter) == 1
            await stop(rig, "b")
            home = rig.addresses["x"]
            resettle(rig, "b", {name: rig.addresses[name] for name in "abc"} | {"b": home})
            await rig["b"].start()
            assert await rig["a"].change("move", "b", home, within=SECONDS_MAX) == ["a", "b", "c"]
            await stop(rig, "c")
            assert await add(counter) == 2  # by a and b
            await rig["c"].start()
            await stop(rig, "a")
            assert await add(counter) == 3  # by b and c
        await rig.start()
        assert await rig.wrongs() == []
        assert rig.deliveries.count == 3


async def test_all_addresses_are_changed_by_hand_some_to_those_that_others_had(tmp_path: Path) -> None:
    """The log says where they were; a newcomer that is told of one of them needs them moved there, too."""
    async with open_rig("tally:Tally", None, tmp_path, "abc", later="xd", wired=False) as rig:
        await rig.start()
        async with connect("group", Tally, members={"a": rig.addresses["a"]}) as counter:
            assert await add(counter) == 1
        await stop(rig, *"abc")
        old = rig.addresses
        new = {"a": old["x"], "b": old["a"], "c": old["b"]}
        rig.addresses = {**old, **new}
        for name in "abc":
            resettle(rig, name, new)
        await rig.start()
        async with connect("group", Tally, members={"c": new["c"]}) as counter:
            assert await add(counter) == 2
            for count, name in enumerate("abc", 3):  # any two find each other
                await stop(rig, name)
                assert await add(counter) == count
                await rig[name].start()
        for name in "abc":
            await rig["a"].change("move", name, new[name], within=SECONDS_MAX)
        await rig["a"].change("hand_over", "b", within=SECONDS_MAX)
        newcomer = await rig.enlist("d", told="a")
        assert "d" in await rig["c"].change("add", "d", rig.addresses["d"], within=SECONDS_MAX)
        await newcomer.process.wait_view()
        assert await rig.wrongs() == []
        assert rig.deliveries.count == 5
