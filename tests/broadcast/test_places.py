"""Where a client goes next, by what it was given and what it was told."""

from __future__ import annotations

from broadcast._protocol.places import MEMBERS_MAX, Places, Route


def route(*names: str) -> Route:
    return Route(Places({name: f"{name}:1" for name in names}))


# -- what is remembered --------------------------------------------------------------------------------------------


def test_whom_the_user_named_is_not_forgotten_and_others_when_they_were_not_spoken_of_for_longest() -> None:
    places = Places({"x": "x:1", "y": "y:1"})
    places.learn("x", "x:1")
    for number in range(1, 5_001):
        places.learn(f"m{number}", f"m:{number}")
        places.learn("m1", "m:1")
    assert len(places) == 2 + MEMBERS_MAX
    assert all(name in places for name in ("x", "y", "m1", "m5000"))
    assert "m2" not in places
    seen = ["x"]
    while (following := places.after(seen[-1])) != "x":
        seen.append(following)
    assert len(seen) == len(places)


def test_one_that_has_moved_is_tried_where_the_group_says_in_turns_with_where_it_was() -> None:
    places = Places({"x": "x:1"})
    places.learn("x", "x:2")
    seen = []
    for _ in range(3):
        seen.append(places["x"])
        places.missed("x")
    assert seen == ["x:1", "x:2", "x:1"]


# -- who is visited ------------------------------------------------------------------------------------------------


def test_members_are_visited_in_turn_and_those_that_were_heard_of_meanwhile() -> None:
    one, seen = route("x", "y"), list[str]()
    for _ in range(4):
        seen.append(one.target)
        one.learn({"x": "x:1", "z": "z:1"})
        one.visited(served=True)
    assert seen == ["x", "y", "z", "x"]


def test_one_that_did_not_take_the_client_in_is_tried_where_else_it_may_be() -> None:
    one = route("x")
    one.learn({"x": "x:2"})
    one.visited(served=True)
    assert one.places["x"] == "x:1"
    one.visited(served=False)
    assert one.places["x"] == "x:2"


def test_who_leads_is_gone_to_though_it_was_never_heard_of() -> None:
    one = route("x", "y")
    assert one.leads_on("z", "z:1")
    one.visited(served=True, leader="z")
    assert (one.target, one.places["z"]) == ("z", "z:1")


def test_one_without_a_place_is_not_gone_to_nor_is_the_one_that_is_visited_nor_nobody() -> None:
    one = route("x")
    assert not one.leads_on("z", None)
    assert not one.leads_on("x", "x:1")
    assert not one.leads_on(None, None)


def test_a_leader_that_could_not_be_reached_is_not_gone_to_because_another_says_that_it_leads() -> None:
    one = route("x", "y")
    one.visited(served=True, leader="y")
    one.visited(served=False)
    assert one.target == "x"
    assert not one.leads_on("y", "y:1")


def test_a_leader_whose_link_was_lost_is_not_gone_to_at_once_though_others_have_not_noticed() -> None:
    one = route("x", "y")
    one.visited(served=True)
    assert one.target == "y"
    assert not one.leads_on("x", "x:1")
