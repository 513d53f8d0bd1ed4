"""How a server grows with its files: many entries in a directory, and many files beneath
a root. They are on a file system of their own, in a file on the disk of the build, so
that all of them are gone at once however the run ends."""

import contextlib
import os
import pathlib
import re
import subprocess
import time

from hub import place_on_disk, processor_seconds
from measure import run, unmount
from memory import children, name, sessions

# Entries of one directory, and files beneath the root in directories of so many.
ENTRIES = 1_000_000
FILES, IN_ONE = 10_000_000, 1_000


class Disk:
    """A file system on the disk with room for so many files."""

    def __init__(self, place, count):
        self.image, self.root = place / "image", place / "root"
        self.root.mkdir()
        with self.image.open("wb") as file:
            # ext4 has at most an inode for each block. What is not written takes no room.
            file.truncate(4096 * 2 * max(count, 100_000))
        features = ("-O", "^has_journal", "-b", 4096, "-N", count + count // 10)
        run("mkfs.ext4", "-q", "-F", "-E", "nodiscard", *features, self.image)

    def mount(self):
        """Makes it the root's directory."""
        run("mount", "-o", "loop,noatime", self.image, self.root)
        run("chown", "nobody", self.root)

    def forget(self):
        """Has the machine read it from the disk again."""
        unmount(self.root)
        with self.image.open("rb") as file:
            os.fsync(file)
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        self.mount()


@contextlib.contextmanager
def disk(count):
    """A mounted one, gone afterwards."""
    with place_on_disk() as place:
        made = Disk(place, count)
        made.mount()
        try:
            yield made
        finally:
            unmount(made.root)


def fill(directory, count):
    """Makes so many empty files; the directory has a handle of its own."""
    directory.mkdir()
    handle = os.open(directory, os.O_PATH)
    try:
        for number in range(count):
            os.mknod(f"entry-{number:07}", 0o644, dir_fd=handle)
    finally:
        os.close(handle)


def peak_mib(pid):
    """The most memory that a process has had; none once it has ended."""
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        text = pathlib.Path(f"/proc/{pid}/status").read_text()
        if found := re.search(r"^VmHWM:\s+(\d+)", text, re.M):
            return int(found[1]) / 1024
    return 0


def listing(bench, root):
    """Entries a second of LS, and the most MiB of the session that lists."""
    with bench.servers.for_a_while():
        env, daemon = bench.servers.tfd("scale", root=root)
        client = subprocess.Popen(
            bench.command("listing", "many"),
            env=bench.environment(env),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            text=True,
        )
        peak = 0
        while client.poll() is None:
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                peak = max([peak, *map(peak_mib, sessions(daemon))])
            time.sleep(0.01)
        if client.returncode != 0:
            raise SystemExit("LS of the large directory failed")
        return float(client.stdout.read()), peak


def sweepers(daemon):
    """The processes of a daemon that read the whole root."""
    found = []
    for pid in children(daemon.pid):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            found += [pid] if name(pid) == "tfd-sweeper" else []
    return found


def started(bench, root, options=""):
    """Seconds until a tfd with this root answers, with options of its one account; until
    nothing reads the root any more, those of processor time until then, and the most MiB
    of what reads."""
    users = bench.servers.scratch / "scale-users"
    account = run(bench.program, "account")
    users.write_text(account.replace(":nobody:::", f":nobody::{options}:"))
    users.chmod(0o600)
    lines = f'mode = "multi-user"\nusers = "{users}"'
    with bench.servers.for_a_while():
        begin = time.monotonic()
        env, daemon = bench.servers.tfd("scale", lines, root=root)
        env |= {"TF_USER": "bench", "TF_PASSWORD": "bench"}
        answered, peak, client = None, 0, None
        while answered is None or sweepers(daemon):
            if client is None and answered is None:
                client = subprocess.Popen(
                    bench.command("ready", 1),
                    env=bench.environment(env),
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                )
            elif client is not None and client.poll() is not None:
                # One that had to wait too long asks again.
                answered = time.monotonic() - begin if client.returncode == 0 else None
                client = None
            peak = max([peak, *map(peak_mib, sweepers(daemon))])
            time.sleep(0.005)
        read = time.monotonic() - begin
        # Sessions end a moment after their clients.
        time.sleep(0.5)
        return {
            "s": answered,
            "read, s": read,
            "CPU s": processor_seconds(daemon.pid),
            "MiB": peak,
        }


def measure(bench):
    """Many entries in a directory, and many files beneath a root."""
    entries, count = bench.scaled(ENTRIES, 1_000), bench.scaled(FILES, 4_000)
    with disk(entries + count) as made:
        fill(made.root / "many", entries)
        rate, peak = listing(bench, made.root)
        for number in range((count - entries) // IN_ONE):
            fill(made.root / f"d{number:05}", IN_ONE)
        starts = {"start": started(bench, made.root)}
        starts["start with quota"] = started(bench, made.root, "quota=1T")
        made.forget()
        starts["the same, from disk"] = started(bench, made.root, "quota=1T")
    listed = {"entries": entries, "listed": rate, "listing, MiB": peak}
    return {**listed, "files": count, "starts": starts}
