"""What it costs to get in, beside the RSA signatures that the cores can make."""

import os

from measure import medians, note, run

CLIENTS = 16


def rsa_signs(seconds, *words, bits=2048):
    """RSA signatures per second."""
    told = run("openssl", "speed", "-mr", "-seconds", seconds, *words, f"rsa{bits}")
    # +F2:<n>:<bits>:<signs a second>:<verifications a second>
    rates = [line.split(":")[3] for line in told.splitlines() if line.startswith("+F2:")]
    return float(rates[-1])


def measure(bench):
    """Handshakes per second and microseconds to the first answer."""
    note("connections")
    cores = os.cpu_count()
    doors = bench.doors()
    seconds = bench.scaled(2, 1)
    one, many = bench.scaled(1000, 50), bench.scaled(4000, 160)
    figures = medians(
        bench.rounds,
        {
            "signs, one core": lambda: rsa_signs(seconds),
            "signs": lambda: rsa_signs(seconds, "-multi", cores),
            **{
                f"{name}, one": lambda env=env, fresh=fresh: bench.load(
                    env, "handshakes", 1, one, *fresh
                )
                for name, (env, *fresh) in doors.items()
            },
            **{
                name: lambda env=env, fresh=fresh: bench.load(
                    env, "handshakes", CLIENTS, many, *fresh
                )
                for name, (env, *fresh) in doors.items()
            },
            **{
                f"{name}, ready": lambda env=env: bench.load(env, "ready", one)
                for name, (env, *fresh) in doors.items()
                if not fresh
            },
        },
    )
    return {"cores": cores, **figures}
