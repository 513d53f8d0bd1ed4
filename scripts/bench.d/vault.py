"""The vault: syncs, news and the private memory of sessions in its own dialect, and
handshakes in the old ones."""

import os
import pathlib
import re
import subprocess

import memory
from connections import CLIENTS, rsa_signs
from measure import medians, note


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
        for pid in memory.sessions(daemon):
            status = pathlib.Path(f"/proc/{pid}/status").read_text()
            peak = re.search(r"^VmHWM:\s+(\d+)", status, re.M)
            peaks += [int(peak[1]) / 1024] if peak else []
        return {"first sync, ms": float(said), "first sync, MiB": max(peaks)}
    finally:
        process.stdin.close()
        process.wait(30)


def idle(bench, env, daemon):
    """KiB of the median session among many that do nothing, here and in TF."""
    count = bench.scaled(1000, 20)
    # A session closes its database a second after the last request.
    own = memory.idle(bench, env, daemon, count, "vault", "idle", rest=3)
    plain, tls, other = bench.servers.tfd_with_tls("beside")
    return {
        "sessions": count,
        "KiB": own,
        "TF over TLS, KiB": memory.idle(bench, tls, other, count, "idle"),
        "TF, KiB": memory.idle(bench, plain, other, count, "idle"),
    }


def measure(bench):
    """Microseconds, milliseconds, MiB and KiB; handshakes per second, and the RSA
    signatures that the cores can make."""
    note("vault")
    env, daemon = bench.servers.vault()
    small, large = bench.scaled(1000, 50), bench.scaled(10000, 500)
    devices = bench.scaled(100, 10)
    seconds, cores = bench.scaled(2, 1), os.cpu_count()
    one, many = bench.scaled(100, 10), bench.scaled(400, 32)
    figures = medians(
        bench.rounds,
        {
            "unchanged sync, µs": lambda: bench.load(env, "vault", "unchanged", "small", small, 200),
            "first sync": lambda: first_sync(bench, env, daemon, large),
            "news, ms": lambda: bench.load(env, "vault", "devices", devices),
            "signs, one core": lambda: rsa_signs(seconds, bits=4096),
            "signs": lambda: rsa_signs(seconds, "-multi", cores, bits=4096),
            "old handshakes, one": lambda: bench.load(env, "vault", "handshakes", 1, one),
            "old handshakes": lambda: bench.load(env, "vault", "handshakes", CLIENTS, many),
        },
    )
    return {**figures, **idle(bench, env, daemon), "entries": large, "devices": devices}
