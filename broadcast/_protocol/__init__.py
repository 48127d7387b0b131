"""The rules of total-order broadcast: the log, the replica, sessions, reads. Pure."""
