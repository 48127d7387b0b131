"""What a command came to, as its asker is told; and the bound on answers that nobody acknowledges."""

from __future__ import annotations

import re

import pytest
from machine_scene import begun, calls, outcomes

from actors._actor import Actor, command, query
from actors._interface import Interface
from actors._protocol.codec import decode, encode
from actors._protocol.errors import ActorCrashed, Overloaded, Refused
from broadcast import _outcomes
from broadcast._crashes import name_of
from broadcast._outcomes import pack_overload, unpack_outcome
from broadcast._protocol import sessions
from broadcast._protocol.entries import SessionAsked
from broadcast._protocol.sessions import Outcome


class _Nameless(type):
    """Of classes that say nothing of their name."""

    def __getattribute__(cls, name: str) -> object:
        if name == "__qualname__":
            raise LookupError
        return super().__getattribute__(name)


class Odd(Exception, metaclass=_Nameless): ...


class Echo(Actor):
    def __init__(self) -> None:
        self.heard = 0

    @command
    def say(self, text: str) -> str:
        self.heard += 1
        return text

    @command
    def drop(self) -> None:
        self.heard += 1
        raise KeyError

    @command
    def fail(self, name: list[int]) -> None:
        """By an error whose class has a name of these characters."""
        self.heard += 1
        raise type("Named", (Exception,), {"__qualname__": "".join(map(chr, name))})

    @command
    def refuse(self, name: str) -> None:
        self.heard += 1
        raise type("Named", (Refused,), {"__qualname__": name})("no")

    @query
    def again(self, text: str) -> str:
        return text


def overloaded(size: int) -> list[object]:
    return [Outcome.OVERLOADED, size]


def test_a_session_that_acknowledges_nothing_is_not_served_beyond_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sessions, "ANSWERS_SIZE_MAX", 100)
    size = len(encode([0, "x" * 60]))
    over = len(pack_overload(100))
    scene = begun(Echo)
    run = calls(1, ["say", "x" * 60], ["say", "x" * 60], ["say", "y"], ["drop"], None, ["say", "z"])
    assert outcomes(scene.apply(run))[2:] == [
        overloaded(2 * size),
        overloaded(2 * size + over),
        [Outcome.VOID],
        overloaded(2 * size + 2 * over + len(_outcomes.VOID)),
    ]
    assert scene.machine.actor.heard == 2
    assert [index for index, _, _ in scene.delivered()] == [3, 4]
    assert outcomes(scene.apply(run)) == outcomes(scene.apply(run))  # their numbers are used up
    # Each number goes on, and what was acknowledged makes room.
    reports = scene.apply(calls(7, ["say", "a"], ["drop"], ["say", "b"], acknowledged=6))
    assert outcomes(reports) == [[0, "a"], [Outcome.CRASHED, "KeyError"], [0, "b"]]
    assert scene.machine.actor.heard == 4


def test_others_are_served_meanwhile(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sessions, "ANSWERS_SIZE_MAX", 10)
    scene = begun(Echo)
    scene.apply(calls(1, ["say", "x" * 60]))
    scene.apply(SessionAsked(b"m" * 16, "other"))
    reports = scene.apply(calls(1, ["say", "a"], session=4))
    assert outcomes(reports) == [[0, "a"]]


def test_the_asker_of_what_found_no_room_is_told_so() -> None:
    say = Interface.of(Echo).methods["say"]
    with pytest.raises(Overloaded, match=r"^Echo\.say was not applied: the answers .* take 4711 bytes; "):
        unpack_outcome(say, pack_overload(4711))


@pytest.mark.parametrize("tag", ["say", "again"])
def test_the_asker_of_too_large_an_answer_is_told_so(tag: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_outcomes, "ANSWER_SIZE_MAX", 64)
    scene = begun(Echo)
    call = [tag, "x" * 63]
    came = encode(outcomes(scene.apply(calls(1, call)))[0]) if tag == "say" else scene.machine.query(encode(call), "me")
    assert decode(came) == [Outcome.CRASHED, "TooLarge"]
    undone = "; whatever the command had changed was undone" if tag == "say" else ""
    text = f"Echo.{tag} raised TooLarge: a bug in its class (an answer may take 64 bytes; give a larger one in parts)"
    with pytest.raises(ActorCrashed, match=f"^{re.escape(text + undone)}$"):
        unpack_outcome(Interface.of(Echo).methods[tag], came)
    assert scene.machine.actor.heard == 0


@pytest.mark.parametrize(
    ("name", "told"),
    [([0xD800, 0x61], "\\ud800a"), ([0x71] * 9_000, "q" * 200), ([0xE9] * 201, "\xe9" * 200)],
    ids=["half a surrogate", "long", "not ASCII"],
)
def test_a_crash_is_told_whatever_the_class_of_the_error_is_called(name: list[int], told: str) -> None:
    scene = begun(Echo)
    reports = scene.apply(calls(1, ["fail", name], ["say", "a"]))
    assert outcomes(reports) == [[Outcome.CRASHED, told], [0, "a"]]
    assert scene.machine.actor.heard == 1
    with pytest.raises(ActorCrashed, match=re.escape(f"Echo.fail raised {told}: ")):
        unpack_outcome(Interface.of(Echo).methods["fail"], encode(outcomes(reports)[0]))


def test_a_class_that_does_not_tell_its_name_has_one() -> None:
    assert name_of(Odd()) == "Odd"


def test_a_refusal_that_cannot_even_be_named_is_a_crash(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_outcomes, "ANSWER_SIZE_MAX", 64)
    scene = begun(Echo)
    reports = scene.apply(calls(1, ["refuse", "x" * 80], ["refuse", "short"]))
    assert outcomes(reports) == [[Outcome.CRASHED, "TooLarge"], [Outcome.REFUSED, ":short", ["no"]]]
    assert scene.machine.actor.heard == 1
