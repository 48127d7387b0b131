"""A client that follows the order while members are killed: it is delivered what the replicas are, without a gap."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
import trio
from tally import Tally
from tallying import INCREMENTS, Kill, Load, assert_all_agree, reported, started

from actors._plain import encode_plain, to_plain
from broadcast import GroupRef, connect
from broadcast.cli._order import Order, differences
from broadcast.cli._process import open_replicas

RUN_SECONDS_MAX = 120


@pytest.mark.parametrize("leader", [True, False])
async def test_whoever_is_killed_a_client_is_delivered_the_one_order(leader: bool, tmp_path: Path) -> None:
    chance = random.Random(f"following {leader}")
    with trio.fail_after(RUN_SECONDS_MAX):
        async with open_replicas("tally", dict.fromkeys("abc", "tally:Tally"), tmp_path) as replicas:
            members = await started(replicas)
            load, kill = Load(members), Kill(replicas, chance, leader=leader)
            load.at(chance.randint(100, 900), kill)
            orders = [Order() for _ in range(len(members) + 1)]
            async with connect("tally", Tally, members=members) as all_of_them, trio.open_nursery() as nursery:
                for order, (name, address) in zip(orders[1:], members.items(), strict=True):
                    nursery.start_soon(_follow_from, {name: address}, order)
                nursery.start_soon(_follow, all_of_them, orders[0])
                nursery.start_soon(kill.bring_back)
                assert await load.run() == INCREMENTS
            await assert_all_agree(replicas, load.answers, INCREMENTS)
            kill.assert_replaced()
            tally = Tally()
            tally.total = INCREMENTS
            state = encode_plain(to_plain(vars(tally), "Tally"))
            reports = [order.report(f"client {number}", state) for number, order in enumerate(orders)]
            assert differences([*await reported(replicas, INCREMENTS), *reports]) == []


async def _follow_from(members: dict[str, str], order: Order) -> None:
    async with connect("tally", Tally, members=members) as client:
        await _follow(client, order)


async def _follow(client: GroupRef[Tally], order: Order) -> None:
    """To the last of all increments."""
    async for delivery in client.deliveries(1):
        order.add(delivery)
        if order.count == INCREMENTS:
            return
