"""The vault's own dialect: syncs, news, and the private memory of its sessions."""

import re
import pathlib
import statistics
import subprocess
import time

import memory
from measure import medians, note


def sessions(daemon):
    """The processes of a daemon that serve a client that is in."""
    children = [pid for helper in memory.children(daemon.pid) for pid in memory.children(helper)]
    return [pid for pid in children if memory.name(pid) == "tfd-session"]


def held(bench, env, *words):
    """The load program with these words, which holds what it has; what it says."""
    process = subprocess.Popen(
        bench.command("vault", *words),
        env=bench.environment(env),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    said = process.stdout.readline().strip()
    if not said:
        raise SystemExit(f"load vault {words[0]} ended")
    return process, said


def first_sync(bench, env, daemon, entries):
    """Milliseconds of a first sync, and the most MiB its session has had."""
    process, said = held(bench, env, "first", "large", entries)
    try:
        peaks = []
        for pid in sessions(daemon):
            status = pathlib.Path(f"/proc/{pid}/status").read_text()
            peak = re.search(r"^VmHWM:\s+(\d+)", status, re.M)
            peaks += [int(peak[1]) / 1024] if peak else []
        return {"first sync, ms": float(said), "first sync, MiB": max(peaks)}
    finally:
        process.stdin.close()
        process.wait(30)


def idle(bench, env, daemon):
    """KiB of the median session among many that do nothing."""
    count = bench.scaled(1000, 20)
    process, _ = held(bench, env, "idle", count)
    try:
        # A session closes its database a second after the last request.
        time.sleep(3)
        found = sessions(daemon)
        if len(found) < count:
            raise SystemExit(f"{len(found)} sessions found instead of {count}")
        return {"sessions": count, "KiB": statistics.median(map(memory.private_kib, found))}
    finally:
        process.stdin.close()
        process.wait(60)


def measure(bench):
    """Microseconds, milliseconds, MiB and KiB."""
    note("vault")
    env, daemon = bench.servers.vault()
    small, large = bench.scaled(1000, 50), bench.scaled(10000, 500)
    devices = bench.scaled(100, 10)
    figures = medians(
        bench.rounds,
        {
            "unchanged sync, µs": lambda: bench.load(env, "vault", "unchanged", "small", small, 200),
            "first sync": lambda: first_sync(bench, env, daemon, large),
            "news, ms": lambda: bench.load(env, "vault", "devices", devices),
        },
    )
    return {**figures, **idle(bench, env, daemon), "entries": large, "devices": devices}
