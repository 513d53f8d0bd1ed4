"""Trees by `tf` over TLS and by rsync over ssh: what a person waits for, with the
start of the program and the login. Near, and over a long way that loses packets.
And one large file by `tf` beside the bare flows, which compare no digest."""

import os

from bulk import wait_at
from files import empty
from measure import BIN, medians, note, seconds_of
from peers import Ssh
from way import FAR, long_way

BYTES = 1024

# Of this many files one is changed before a run.
CHANGED = 100

# The long way: seconds there and back, and the part of the packets that is lost.
ROUND_TRIP = 0.04
LOSS = 0.01

# The large file that is sent over it.
LARGE_MIB = 16

# Where the servers listen at the far end.
TFD_PORT, SSH_PORT = 10346, 10022


class Tf:
    """`tf`, and where its server keeps files."""

    def __init__(self, env, root, prefix=()):
        self.env, self.root, self.prefix = env, root, prefix

    def run(self, *words):
        """The seconds of a command."""
        return seconds_of(*self.prefix, BIN / "tf", *words, env=self.env)

    def put(self, tree, *words):
        """Sends a tree or a file to where nothing is."""
        self.fresh()
        return self.run("put", "-r", *words, tree, ":up/")

    def get(self, name, target, *words):
        """Receives a tree or a file."""
        return self.run("get", "-r", *words, f":{name}", f"{target}/")

    def mirror_up(self, tree):
        """Makes the server's copy like the tree."""
        return self.run("mirror", tree, ":copy")

    def mirror_down(self, target):
        """Makes the target like the server's copy."""
        return self.run("mirror", ":copy", target)

    def fresh(self):
        """Sees to it that nothing is where trees are sent to."""
        os.chown(empty(self.root / "up"), self.root.stat().st_uid, -1)


class Rsync:
    """rsync over ssh, likewise."""

    def __init__(self, ssh, root):
        self.ssh, self.root = ssh, root

    def run(self, source, target, *words):
        """The seconds of a command."""
        command = [*self.ssh.prefix, "rsync", "-a", *words, "-e", self.ssh.shell()]
        return seconds_of(*command, source, target)

    def put(self, tree):
        """Sends a tree or a file to where nothing is."""
        empty(self.root / "up")
        return self.run(tree, self.ssh.remote(self.root / "up/"))

    def get(self, name, target):
        """Receives a tree or a file."""
        return self.run(self.ssh.remote(self.root / name), f"{target}/")

    def mirror_up(self, tree):
        """Makes the server's copy like the tree."""
        return self.run(f"{tree}/", self.ssh.remote(f"{self.root}/copy/"), "--delete")

    def mirror_down(self, target):
        """Makes the target like the server's copy."""
        return self.run(self.ssh.remote(f"{self.root}/copy/"), f"{target}/", "--delete")


class Change:
    """New content for some files of a tree, the same for all who send it then."""

    def __init__(self, tree):
        self.files = sorted(tree.iterdir())[::CHANGED]

    def __call__(self):
        for file in self.files:
            file.write_bytes(os.urandom(BYTES))


def make_tree(bench, name, count):
    """A directory of small files."""
    tree = bench.scratch / name
    tree.mkdir()
    for number in range(count):
        (tree / f"file-{number:05}").write_bytes(os.urandom(BYTES))
    return tree


def first(bench, tree, tf, rsync):
    """The measures of a tree that the other side does not have."""
    back = bench.scratch / "back-tree"
    return {
        "first up, tf": lambda: tf.put(tree),
        "first up, tf -j 4": lambda: tf.put(tree, "-j", "4"),
        "first up, rsync": lambda: rsync.put(tree),
        "first down, tf": lambda: tf.get("copy", empty(back)),
        "first down, tf -j 4": lambda: tf.get("copy", empty(back), "-j", "4"),
        "first down, rsync": lambda: rsync.get("copy", empty(back)),
    }


def again(bench, tree, tf, rsync):
    """The measures of a tree that the other side has, but for some files."""
    change = Change(tree)
    measures = {}
    for name, peer in (("tf", tf), ("rsync", rsync)):
        back = empty(bench.scratch / f"back-{name}")
        peer.mirror_up(tree)
        peer.mirror_down(back)

        def changed(peer=peer):
            change()
            return peer.mirror_up(tree)

        measures[f"unchanged up, {name}"] = lambda peer=peer: peer.mirror_up(tree)
        measures[f"changed up, {name}"] = changed
        # The first brings what has changed, and is not counted.
        measures[f"unchanged down, {name}"] = lambda peer=peer, back=back: (
            peer.mirror_down(back) and peer.mirror_down(back)
        )
    return measures


def large(bench, file, tf, rsync):
    """The measures of one file there and back."""
    back = bench.scratch / "back-file"
    bench.link(file, rsync.root / file.name)
    return {
        "large up, tf": lambda: tf.put(file),
        "large up, rsync": lambda: rsync.put(file),
        "large down, tf": lambda: tf.get(file.name, empty(back)),
        "large down, rsync": lambda: rsync.get(file.name, empty(back)),
    }


def measure(bench):
    """Seconds over loopback."""
    count = trees_of(bench, "loopback")
    tree = make_tree(bench, "near-tree", count)
    tf = Tf(bench.tls, bench.scratch / "root")
    rsync = Rsync(Ssh(bench.servers), bench.scratch / "sftp")
    measures = again(bench, tree, tf, rsync) | first(bench, tree, tf, rsync)
    return {"count": count, "seconds": medians(bench.rounds, measures)}


def far(bench):
    """Seconds over a long way."""
    count = trees_of(bench, f"{ROUND_TRIP * 1000:.0f} ms and {LOSS:.1%} of losses")
    tree = make_tree(bench, "far-tree", count)
    file = bench.file(bench.scaled(LARGE_MIB, 4), "far-file")
    root = bench.scratch / "far-ssh"
    root.mkdir()
    with long_way(ROUND_TRIP, LOSS) as (near_end, far_end), bench.servers.for_a_while():
        env = bench.servers.tfd_at(FAR, TFD_PORT, far_end)
        ssh = Ssh(bench.servers, FAR, SSH_PORT, near_end, far_end)
        for port in (TFD_PORT, SSH_PORT):
            wait_at(near_end, FAR, port)
        tf, rsync = Tf(env, bench.scratch / "root", near_end), Rsync(ssh, root)
        measures = again(bench, tree, tf, rsync) | first(bench, tree, tf, rsync)
        measures |= large(bench, file, tf, rsync)
        return {"count": count, "seconds": medians(bench.rounds, measures)}


def trees_of(bench, where):
    """How many files a tree has."""
    count = bench.scaled(10_000, 200)
    note(f"trees of {count} files of {BYTES} bytes: {where}")
    return count
