"""One large file by every flow, beside the peers, and through the proxy."""

import pathlib

from measure import BIN, medians, note, seconds_of
from peers import Ftp, Rsync, Sftp

PROXY_ROUNDS = 11

FLOWS = ("PUT", "GET", "PUTCAN", "GETCAN", "SNDFILE", "RCVFILE", "SUP", "SDOWN")


def measure(bench):
    """MiB per second: flows of one session, `tf` as a whole with its check of
    SHA-256, and the peers, `up` and `down`."""
    note(f"transfers of {bench.size} MiB")
    file, back = bench.file(), bench.scratch / "back"
    measures = {"cp": lambda: bench.rate(lambda: seconds_of("cp", file, bench.fresh(back)))}
    for name, env in bench.transports().items():
        for flow in FLOWS:
            measures[f"{name} {flow}"] = lambda env=env, flow=flow: bench.transfer(env, flow)
        measures[f"{name} tf put"] = lambda env=env: bench.rate(
            lambda: seconds_of(BIN / "tf", "put", file, bench.fresh("root/up").name, env=env)
        )
        measures[f"{name} tf get"] = lambda env=env: bench.rate(
            lambda: seconds_of(BIN / "tf", "get", "file", bench.fresh(back), env=env)
        )
    empty = bench.file(0, "empty")
    for name, (peer, store, received) in peers(bench).items():
        bench.link(file, store / "file")
        bench.link(empty, store / "empty")
        measures[f"{name} up"] = lambda peer=peer, received=received: bench.rate(
            lambda: beyond(lambda source: peer.put(source, bench.fresh(received).name), file, empty)
        )
        measures[f"{name} down"] = lambda peer=peer: bench.rate(
            lambda: beyond(lambda source: peer.get(source, bench.fresh(back)), "file", "empty")
        )
    # Memory that was never used is slow on virtual machines: use it once before.
    for measure_once in (measures["cp"], measures["plain PUT"]):
        measure_once()
    figures = medians(bench.rounds, measures)
    return {"size": bench.size, **figures}


def beyond(transfer, file, empty):
    """The seconds that a file takes beyond those of an empty one: the peers are
    programs, which begin, connect and log in each time."""
    begin, whole = transfer(empty), transfer(file)
    return whole - begin if whole > begin else whole


def peers(bench):
    """The peers, where their files lie, and where what they are sent does."""
    scratch = pathlib.Path(bench.scratch)
    return {
        "sftp": (Sftp(bench.servers), scratch / "sftp", scratch / "sftp/up"),
        "sftp, aes128-gcm": (
            Sftp(bench.servers, "aes128-gcm@openssh.com"),
            scratch / "sftp",
            scratch / "sftp/up",
        ),
        "vsftpd with TLS": (Ftp(bench.servers, True), scratch / "ftp", scratch / "ftp/in/up"),
        "vsftpd in plain": (Ftp(bench.servers), scratch / "ftp", scratch / "ftp/in/up"),
        "rsync in plain": (Rsync(bench.servers), scratch / "rsync", scratch / "rsync/up"),
    }


def through_proxy(bench):
    """The same through a proxy, by turns with the server itself. The session key's
    stream is on a cycle from its first byte: with keys as clients draw them, the slow
    part before the cycle has 2 to 588 MB, and two transfers differ by that alone."""
    note("proxy")
    bench.file()
    proxied = bench.servers.proxy(bench.plain)
    return medians(
        bench.scaled(PROXY_ROUNDS, 1),
        {
            f"{flow}{way}": lambda env=env, flow=flow: bench.transfer(env, flow, chain="cycle")
            for flow in ("SNDFILE", "SDOWN")
            for way, env in (("", bench.plain), (" by proxy", proxied))
        },
    )
