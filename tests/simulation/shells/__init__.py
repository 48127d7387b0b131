"""The second simulation: the real Trio shells, on a network in memory and disks that keep a record, in virtual time.

The first (`broadcast._simulation`) runs the cores without Trio; it cannot see what goes wrong between them: a task that
is not woken, a frame sent in half, a completion that comes too late, a cancellation at the wrong moment. Here run real
nodes, groups and clients, all in one Trio run whose clock jumps, whose tasks are scheduled in an order that follows
from a seed, and whose threads run only while the loop stands still (`threads.py`).

    python tests/simulation/shells --seed 7            one history
    python tests/simulation/shells --count 500         the seeds from 0 on

What stays outside: real sockets (tests/actors and tests/processes have them), SQLite, and the order in which Trio
tells the tasks of one cancelled nursery (by identity: a node that dies is cut off from network and disk before).
"""
