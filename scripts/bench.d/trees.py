"""Many small files over one connection, beside the peers."""

import os
import shutil

from measure import medians, note, seconds_of
from peers import Ftp, Rsync, Sftp

BYTES = 4096


def measure(bench):
    """Microseconds a file."""
    count = bench.scaled(2000, 100)
    note(f"{count} files of {BYTES} bytes")
    tree, back = bench.scratch / "tree", bench.scratch / "tree-back"
    tree.mkdir()
    names = [f"file-{number:04}" for number in range(count)]
    for name in names:
        (tree / name).write_bytes(os.urandom(BYTES))

    def empty(path):
        shutil.rmtree(path, ignore_errors=True)
        path.mkdir()
        path.chmod(0o777)
        return path

    def gone(path):
        shutil.rmtree(path, ignore_errors=True)
        return path

    def each(seconds):
        return seconds * 1e6 / count

    measures = {}
    root = bench.scratch / "root"
    for transport, env in bench.transports().items():
        for flow in ("SNDFILE", "PUT", "SUP"):

            def up(env=env, flow=flow):
                empty(root / "tree")
                return bench.load(env, "tree", flow.lower(), tree, "tree")

            measures[f"{transport} {flow}"] = up
        for flow in ("RCVFILE", "GET", "SDOWN"):
            # It replaces the files of `tree` by themselves.
            measures[f"{transport} {flow}"] = lambda env=env, flow=flow: bench.load(
                env, "tree", flow.lower(), tree, "tree"
            )
    sftp, ftp, rsync = Sftp(bench.servers), Ftp(bench.servers), Rsync(bench.servers)
    ftps = Ftp(bench.servers, True)
    for store in (bench.scratch / "sftp/tree", rsync.root / "tree", bench.scratch / "ftp/tree"):
        shutil.copytree(tree, store)

    def ftp_up(peer):
        empty(bench.scratch / "ftp/in/tree-up")
        return each(peer.put_all(tree, "tree-up"))

    measures |= {
        "cp -r up": lambda: each(seconds_of("cp", "-r", tree, gone(back))),
        "sftp up": lambda: each(sftp.put(tree, gone(bench.scratch / "sftp/tree-up").name)),
        "sftp down": lambda: each(sftp.get("tree", gone(back))),
        "vsftpd up": lambda: ftp_up(ftp),
        "vsftpd down": lambda: each(ftp.get_all("tree", names, empty(back))),
        "vsftpd with TLS up": lambda: ftp_up(ftps),
        "vsftpd with TLS down": lambda: each(ftps.get_all("tree", names, empty(back))),
        "rsync up": lambda: each(rsync.put(tree, gone(rsync.root / "tree-up").name)),
        "rsync down": lambda: each(rsync.get("tree/", gone(back))),
    }
    return {"count": count, "bytes": BYTES, **medians(bench.rounds, measures)}
