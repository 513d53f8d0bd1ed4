"""The private memory of sessions that do nothing."""

import contextlib
import pathlib
import re
import statistics
import subprocess
import time

from measure import note


def children(pid):
    """The processes that this one started."""
    found = []
    for path in pathlib.Path(f"/proc/{pid}/task").glob("*/children"):
        found += [int(word) for word in path.read_text().split()]
    return found


def name(pid):
    """What a process calls itself."""
    return pathlib.Path(f"/proc/{pid}/comm").read_text().strip()


def private_kib(pid):
    """The private memory of a process."""
    text = pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text()
    return sum(int(kib) for kib in re.findall(r"^Private_(?:Clean|Dirty): +(\d+)", text, re.M))


def sessions(daemon):
    """The processes of a daemon that serve a client that is in."""
    # The daemon's own children are its helpers; one of them forks the sessions, and the
    # next one ahead of its client.
    grandchildren = [pid for helper in children(daemon.pid) for pid in children(helper)]
    return [pid for pid in grandchildren if name(pid) == "tfd-session"]


@contextlib.contextmanager
def held(bench, env, *words):
    """The load program once it holds the sessions that these words ask for."""
    holder = subprocess.Popen(
        bench.command(*words),
        env=bench.environment(env),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        if holder.stdout.readline().strip() != "ready":
            raise SystemExit("the idle sessions did not begin")
        yield holder
    finally:
        holder.stdin.close()
        holder.wait(60)


def idle(bench, env, daemon, count, *words, rest=0):
    """KiB of the median session among so many that the load program holds by these words,
    looked at after so many seconds of rest."""
    with held(bench, env, *words, count):
        time.sleep(rest)
        found = sessions(daemon)
        if len(found) != count:
            raise SystemExit(f"{len(found)} sessions found instead of {count}")
        return statistics.median(map(private_kib, found))


def measure(bench):
    """KiB of the median session among many."""
    note("idle sessions")
    count = bench.scaled(200, 20)
    env, daemon = bench.servers.tfd("idle")
    return {"sessions": count, "KiB": idle(bench, env, daemon, count, "idle")}
