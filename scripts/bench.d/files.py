"""Many small files over one connection, beside the peers."""

import os
import shutil

from measure import medians, note, seconds_of
from peers import Ftp, Rsync, Sftp

BYTES = 4096

# vsftpd waits for delayed acknowledgements with each file, and with TLS for more
# of them: so many files tell enough.
FTP_FILES = 100
FTP_TLS_FILES = 8


def gone(path):
    """A path where nothing is any more."""
    shutil.rmtree(path, ignore_errors=True)
    return path


def empty(path):
    """A directory with nothing in it, for everybody."""
    gone(path).mkdir()
    path.chmod(0o777)
    return path


def ours(bench, tree):
    """The measures of the flows: microseconds a file."""

    def up(env, flow):
        empty(bench.scratch / "root/tree")
        return bench.load(env, "tree", flow, tree, "tree")

    def down(env, flow):
        # It replaces the files of `tree` by themselves.
        return bench.load(env, "tree", flow, tree, "tree")

    return {
        f"{transport} {flow}": lambda move=move, env=env, flow=flow: move(env, flow.lower())
        for transport, env in bench.transports().items()
        for move, flows in ((up, ("SNDFILE", "PUT", "SUP")), (down, ("RCVFILE", "GET", "SDOWN")))
        for flow in flows
    }


def theirs(bench, tree):
    """The measures of the peers: microseconds a file."""
    names = sorted(path.name for path in tree.iterdir())
    back, scratch = bench.scratch / "tree-back", bench.scratch
    sftp, ftp, ftps = Sftp(bench.servers), Ftp(bench.servers), Ftp(bench.servers, True)
    rsync = Rsync(bench.servers)
    for store in ("sftp", "rsync", "ftp"):
        shutil.copytree(tree, scratch / store / "tree")

    def each(seconds, number=len(names)):
        return seconds * 1e6 / number

    def ftp_up(peer, number):
        empty(scratch / "ftp/in/tree-up")
        return each(peer.put_all([tree / name for name in names[:number]], "tree-up"), number)

    def ftp_down(peer, number):
        return each(peer.get_all("tree", names[:number], empty(back)), number)

    return {
        "cp": lambda: each(seconds_of("cp", "-r", tree, gone(back))),
        "sftp up": lambda: each(sftp.put(tree, gone(scratch / "sftp/tree-up").name)),
        "sftp down": lambda: each(sftp.get("tree", gone(back))),
        "vsftpd with TLS up": lambda: ftp_up(ftps, FTP_TLS_FILES),
        "vsftpd with TLS down": lambda: ftp_down(ftps, FTP_TLS_FILES),
        "vsftpd in plain up": lambda: ftp_up(ftp, FTP_FILES),
        "vsftpd in plain down": lambda: ftp_down(ftp, FTP_FILES),
        "rsync in plain up": lambda: each(rsync.put(tree, gone(scratch / "rsync/tree-up").name)),
        "rsync in plain down": lambda: each(rsync.get("tree/", gone(back))),
    }


def measure(bench):
    """Microseconds a file of all."""
    count = bench.scaled(2000, 100)
    note(f"{count} files of {BYTES} bytes")
    tree = bench.scratch / "tree"
    tree.mkdir()
    for number in range(count):
        (tree / f"file-{number:04}").write_bytes(os.urandom(BYTES))
    measures = ours(bench, tree) | theirs(bench, tree)
    return {"count": count, "bytes": BYTES, **medians(bench.rounds, measures)}
