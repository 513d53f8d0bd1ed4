"""Requests of one message, UDP probes and listings, beside what the network and
the system do alone."""

from measure import medians, note, seconds_of
from peers import Ftp, Rsync, Sftp


def round_trips(bench):
    """Requests answered per second."""
    note("round trips and probes")
    trips, probes = bench.scaled(40_000, 2000), bench.scaled(300_000, 5000)
    entry = bench.scratch / "root/entry"
    entry.touch()
    measures = {
        "tcp": lambda: bench.load({}, "tcp", 32, trips),
        "apart": lambda: bench.load(bench.plain, "apart", "ECHO 0123456789abcdef", trips),
        "tcp-apart": lambda: bench.load({}, "tcp-apart", 32, trips),
        "udp": lambda: bench.load({}, "udp", probes),
        "probes": lambda: bench.load(bench.plain, "probes", probes),
    }
    for name, env in bench.transports().items():
        for request in ("ECHO 0123456789abcdef", "FSTAT entry"):
            word = request.split()[0]
            measures[f"{name} {word}"] = lambda env=env, request=request: bench.load(
                env, "roundtrips", request, trips
            )
    return medians(bench.rounds, measures)


def listings(bench):
    """Entries per second of one large directory."""
    note("listings")
    count = bench.scaled(100_000, 1000)
    sftp, ftp, rsync = Sftp(bench.servers), Ftp(bench.servers), Rsync(bench.servers)
    for store in ("root", "sftp", "ftp", "rsync"):
        many = bench.scratch / store / "many"
        many.mkdir()
        for number in range(count):
            (many / f"entry-{number:06}").touch()
    return {
        "entries": count,
        **medians(
            bench.rounds,
            {
                "LS": lambda: bench.load(bench.plain, "listing", "many"),
                "ls -f": lambda: count / seconds_of("ls", "-f", many),
                "sftp ls": lambda: count / sftp.list("many"),
                "vsftpd NLST": lambda: count / ftp.list("many"),
                "rsync": lambda: count / rsync.list("many"),
            },
        ),
    }


def measure(bench):
    """All of them."""
    return {"round trips": round_trips(bench), "listings": listings(bench)}
