"""The private memory of sessions that do nothing."""

import pathlib
import re
import statistics
import subprocess

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


def measure(bench):
    """KiB of the median session among many."""
    note("idle sessions")
    count = bench.scaled(200, 20)
    env, daemon = bench.servers.tfd("idle")
    holder = subprocess.Popen(
        bench.command("idle", count),
        env=bench.environment(env),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        if holder.stdout.readline().strip() != "ready":
            raise SystemExit("the idle sessions did not begin")
        # The daemon's own children are its helpers; one of them forks the sessions,
        # and the next one ahead of its client.
        grandchildren = [pid for helper in children(daemon.pid) for pid in children(helper)]
        sessions = [pid for pid in grandchildren if name(pid) == "tfd-session"]
        if len(sessions) != count:
            raise SystemExit(f"{len(sessions)} sessions found instead of {count}")
        return {"sessions": count, "KiB": statistics.median(map(private_kib, sessions))}
    finally:
        holder.stdin.close()
        holder.wait(30)
