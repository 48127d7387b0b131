"""Who hears its leader, or leads with a quorum that answers, grants nobody (rule 2; Ongaro 2014, 4.2.3, 9.6).

Not even that it would. When the link layer told that the leader is gone, there is none to be loyal to (rule 5); nor
where that leader itself wants another in its place, which is said only by who was told to stand, and not told so before
the newest word of its leader (rule 17; 3.10).
"""

from __future__ import annotations

from broadcast._protocol.messages import Message
from broadcast._protocol.output import Input, Received, Suspected
from broadcast._simulation.invariants.base import Invariant, Process, Scene
from broadcast._simulation.invariants.claim import check
from broadcast._simulation.invariants.contact import Contact, leads_on
from membership._protocol.messages import CampaignNow, VoteReply, VoteRequest


class Stickiness(Invariant):
    def __init__(self, scene: Scene) -> None:
        super().__init__(scene)
        self._contact = Contact()
        self._heard: dict[str, tuple[int, str, int]] = {}  # name -> epoch and leader that it heard last, and when
        self._stamps: dict[str, int] = {}  # of what came last
        self._words: dict[str, tuple[int, int]] = {}  # name -> epoch and stamp of the newest word of a leader
        self._heirs: set[tuple[str, int]] = set()  # and the epoch that each may stand for at once
        self._loyal: dict[tuple[str, str, int, bool], bool] = {}  # was a voter, when it was asked last for that grant?

    def started(self, process: Process) -> None:
        self._heard.pop(process.name, None)
        self._words.pop(process.name, None)

    def elected(self, process: Process) -> None:
        self._contact.elected(process)

    def given(self, process: Process, given: Input) -> None:
        heard = self._heard.get(process.name)
        if isinstance(given, Suspected):
            if heard is not None and heard[1] == given.name:
                del self._heard[process.name]
        elif isinstance(given, Received) and type(given.message) is VoteRequest:
            asked = given.message
            self._loyal[process.name, given.sender, asked.epoch, asked.pre] = not asked.handed and self._is_loyal(
                process
            )
        elif isinstance(given, Received) and type(given.message) is CampaignNow:
            said = given.message.epoch, given.stamp
            if said >= self._words.get(process.name, (0, 0)):  # else its leader has said something since
                self._heirs.add((process.name, given.message.epoch + 1))
        if isinstance(given, Received):
            self._stamps[process.name] = given.stamp

    def heard(self, process: Process, sender: str, message: Message) -> None:
        self._contact.heard(process, sender, message)
        if leads_on(message) and (message.epoch, sender) == (process.replica.epoch, process.replica.leader):
            self._heard[process.name] = message.epoch, sender, process.clock
            word = message.epoch, self._stamps[process.name]
            self._words[process.name] = max(word, self._words.get(process.name, word))

    def sending(self, process: Process, to: str, stamp: int, message: Message) -> None:
        if type(message) is VoteRequest and message.handed:
            told = (process.name, message.epoch) in self._heirs
            check(told, "who was not told to stand says no such thing", name=process.name, message=message)
        if type(message) is VoteReply and message.granted:
            loyal = self._loyal[process.name, to, message.campaign, message.pre]
            check(not loyal, "who hears its leader grants nobody", name=process.name, to=to, message=message)

    def _is_loyal(self, process: Process) -> bool:
        replica = process.replica
        if replica.formation is None:
            return False
        floor = replica.formation.configuration.limits.election_timeout
        if replica.leadership is not None:
            return self._contact.within(process, floor)
        heard = self._heard.get(process.name)
        return heard is not None and heard[0] == replica.epoch and process.clock - heard[2] < floor
