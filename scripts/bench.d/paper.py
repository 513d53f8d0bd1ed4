"""What a fleet of many machines would take for many users, from what a unit of each
resource costs as measured: arithmetic, no measure of its own."""

import dataclasses

USERS, MACHINES = 1_000_000, 100

# All users have a session, ask for something every so many seconds, log in every hour,
# and each has a new password once a year.
ASK_EVERY, LOGIN_EVERY, CHANGE_EVERY = 10, 3_600, 365 * 86_400

# What Linux has by default for a process or for all: descriptors (fs.nr_open), processes
# (kernel.pid_max of systemd) and ports (net.ipv4.ip_local_port_range) of one address to
# another.
DESCRIPTORS, PROCESSES, PORTS = 1_048_576, 4_194_304, 28_232

# MiB of memory that the launcher may have, which begins with the supervisor's table of
# accounts (src/sandbox).
LAUNCHER = 256

# The supervisor has so many descriptors for each session at most.
OF_A_SESSION = 3


@dataclasses.dataclass
class Row:
    """A resource: what a unit of it costs, in which unit, how many units there are, and
    how much of the resource there is."""

    what: str
    cost: float
    unit: str
    units: float
    there_is: float
    # How many of the unit make one of what there is.
    scale: float = 1

    @property
    def takes(self):
        """What all units take."""
        return self.cost * self.units / self.scale

    @property
    def share(self):
        """The part of what there is that they take."""
        return self.takes / self.there_is


def rows(f):
    """All resources, the scarcest first."""
    sessions = USERS / MACHINES
    idle, active, accounts = f["idle"][-1], f["active"][-1], f["accounts"][-1]
    logins, changes = USERS / LOGIN_EVERY, USERS / CHANGE_EVERY
    made, store = f["logins"]["made"], f["store"]
    cores, mib = f["cores"], f["GiB"] * 1024
    of_session = idle["KiB"] or idle["private KiB"]
    idle_us = 1000 * idle["CPU ms a second"] / idle["sessions"]
    account = accounts["accounts"]
    change = accounts["changed, CPU s"] * USERS / account
    table = 1024 * accounts["supervisor, MiB"] / account
    found = [
        Row("Memory of sessions, MiB", of_session, "KiB", sessions, mib, 1024),
        Row("Memory for accounts, MiB", 1024 * accounts["MiB"] / account, "KiB", USERS, mib, 1024),
        Row("Accounts in the launcher, MiB", table, "KiB", USERS, LAUNCHER, 1024),
        Row("Idle sessions, cores", idle_us, "µs a second", sessions, cores, 1e6),
        Row("Requests, cores", active["CPU µs a request"], "µs", sessions / ASK_EVERY, cores, 1e6),
        Row("Logins, cores", made, "µs", logins / MACHINES, cores, 1e6),
        Row("Changes of the users file, cores", change, "s", changes, cores),
        Row("Logins at the store, cores", store["login"]["µs"], "µs", logins, 1, 1e6),
        Row("Sessions at the store, cores", store["idle"]["µs"], "µs a second", USERS, 1, 1e6),
        Row("Descriptors", OF_A_SESSION, "a session", sessions, DESCRIPTORS),
        Row("Processes", 1, "a session", sessions, PROCESSES),
        Row("Ports of a proxy to a machine", 1, "a session", sessions, PORTS),
    ]
    return sorted(found, key=lambda row: row.share, reverse=True)
