"""How a server grows: sessions that do nothing, and clients that ask all the time."""

import contextlib
import os
import pathlib
import re
import statistics
import subprocess
import time

import scale_files
import scale_logins
from hub import processor_seconds
from measure import note
from memory import held, private_kib, sessions

IDLE = (10, 100, 1_000, 10_000)
ACTIVE = (1, 2, 4, 8, 16, 32, 64)

# What each client asks for, one request after the other.
REQUEST = "FSTAT entry"

# Seconds for which idle sessions are watched.
REST = 10

# The most sessions that one load program holds: it has two descriptors for each.
OF_ONE = 4_000

# Sessions whose memory is looked at, and from how many on what the machine has less
# tells anything of one.
SAMPLE, TELLING = 200, 1_000


def memory_kib(what):
    """The memory of the machine in all, MemTotal, or what is left of it for programs,
    MemAvailable."""
    text = pathlib.Path("/proc/meminfo").read_text()
    return int(re.search(rf"^{what}: +(\d+)", text, re.M)[1])


def private(found):
    """KiB of private memory of the median among some of these sessions."""
    return statistics.median(map(private_kib, found[:: len(found) // SAMPLE + 1]))


def idle(bench, count):
    """What so many sessions take that do nothing."""
    rest = bench.scaled(REST, 1)
    with bench.servers.for_a_while(), contextlib.ExitStack() as held_open:
        env, daemon = bench.servers.tfd("scale", "max_sessions = 20000")
        before = memory_kib("MemAvailable")
        begin = time.monotonic()
        parts = [min(OF_ONE, count - first) for first in range(0, count, OF_ONE)]
        holders = [held_open.enter_context(held(bench, env, "idle", part)) for part in parts]
        opened = time.monotonic() - begin
        taken = before - memory_kib("MemAvailable")
        taken -= sum(private_kib(holder.pid) for holder in holders)
        found = sessions(daemon)
        if len(found) != count:
            raise SystemExit(f"{len(found)} sessions found instead of {count}")
        used = processor_seconds(daemon.pid)
        time.sleep(rest)
        used = processor_seconds(daemon.pid) - used
        _, middle, last = bench.words(env, "latency", REQUEST, 1, bench.scaled(20_000, 200))
        return {
            "sessions": count,
            "opened a second": count / opened,
            "private KiB": private(found),
            "KiB": taken / count if count >= TELLING else None,
            "CPU ms a second": 1000 * used / rest,
            "p50": middle,
            "p99": last,
            "ready": bench.load(env, "ready", bench.scaled(200, 5)),
        }


def active(bench, clients):
    """How soon each of so many clients is answered that ask all the time."""
    count = bench.scaled(200_000, 20_000)
    with bench.servers.for_a_while():
        env, daemon = bench.servers.tfd("scale")
        used = processor_seconds(daemon.pid)
        load = subprocess.Popen(
            bench.command("latency", REQUEST, clients, count // clients),
            env=bench.environment(env),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            text=True,
        )
        try:
            kib = private(all_of(daemon, clients, load))
            rate, middle, last = map(float, load.communicate(timeout=600)[0].split())
        finally:
            load.kill()
            load.wait()
        used = processor_seconds(daemon.pid) - used
    return {
        "clients": clients,
        "rate": rate,
        "p50": middle,
        "p99": last,
        "CPU µs a request": 1e6 * used / count,
        "private KiB": kib,
    }


def all_of(daemon, count, load):
    """The sessions once there are so many, while the load runs."""
    while load.poll() is None:
        # A gate may end while it is looked at.
        try:
            found = sessions(daemon)
        except (FileNotFoundError, ProcessLookupError):
            continue
        if len(found) == count:
            return found
        time.sleep(0.01)
    raise SystemExit(f"the load of {count} clients ended before they were seen")


def measure(bench):
    """All steps, one after the other."""
    (bench.scratch / "root/entry").touch()
    steps = {"cores": os.cpu_count(), "GiB": memory_kib("MemTotal") / 2**20}
    for name, step, counts in (("idle", idle, IDLE), ("active", active, ACTIVE)):
        note(f"scale: {name}")
        steps[name] = [step(bench, count) for count in bench.scaled(counts, counts[:2])]
    note("scale: logins")
    steps |= scale_logins.measure(bench)
    note("scale: files")
    return {**steps, "files": scale_files.measure(bench)}
