"""Backups to keepers over a hub, beside restic over sftp. Stores, repositories and what
is restored are on disk, where to synchronise costs what it does; sources are in memory."""

import contextlib
import os
import pathlib
import subprocess
import tempfile
import time

from measure import BIN, TOP, executable, medians, note, run
from peers import start_sshd, ssh_options
from servers import free_port, wait_for
from trees import make_tree

FILES, UNCHANGED, LARGE_MIB, PLACED = 10_000, 100_000, 4096, 20_000


def processor_seconds(pid):
    """What a process, those beneath it and those that have ended there took; nothing once
    it has ended: then it is its parent's."""
    path = pathlib.Path(f"/proc/{pid}")
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        times = (path / "stat").read_text().rpartition(")")[2].split()[11:15]
        children = (path / f"task/{pid}/children").read_text().split()
        own = sum(map(int, times)) / os.sysconf("SC_CLK_TCK")
        return own + sum(map(processor_seconds, children))
    return 0


def cost(what, daemons, *words, env):
    """Seconds, seconds of processor time on both sides, and the most MiB of a program."""
    before = sum(processor_seconds(daemon.pid) for daemon in daemons)
    begin = time.monotonic()
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen(
            [str(word) for word in words],
            env={**os.environ, **env},
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=said,
        )
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        seconds = time.monotonic() - begin
        if process.returncode != 0:
            said.seek(0)
            raise SystemExit(f"{what} failed:\n{said.read().decode()}")
    # Sessions end a moment after their clients.
    time.sleep(0.5)
    after = sum(processor_seconds(daemon.pid) for daemon in daemons)
    return {
        f"{what}: s": seconds,
        f"{what}: CPU s": usage.ru_utime + usage.ru_stime + after - before,
        f"{what}: MiB": usage.ru_maxrss / 1024,
    }


class Hub:
    """A hub with an owner and as many keepers as copies are wanted, gone afterwards."""

    def __init__(self, bench, place, copies):
        self.servers, self.place, self.copies = bench.servers, place, copies
        self.name = "tf" if copies == 1 else f"tf, {copies} copies"
        self.env = {"HOME": str(place), "XDG_CONFIG_HOME": "", "XDG_CACHE_HOME": ""}
        self.daemons = []

    def serve(self, name, port, text):
        """Starts a tfd with a configuration."""
        path = self.place / f"{name}.toml"
        path.write_text(f'[server]\nlog = "warn"\ncontrol = ""\n{text}')
        self.daemons.append(self.servers.begin(BIN / "tfd", "serve", "--config", path))
        wait_for(port)
        return path

    def begin(self):
        """Starts all and lets the owner and the keepers join."""
        scratch, port = self.servers.scratch, free_port()
        tls = f'tls_certificate = "{scratch}/tls.pem"\ntls_key = "{scratch}/tls-key.pem"\n'
        hub = f'name = "hub.example.org"\ndata = "{self.place}/hub"\nuser = "games"\nfree = "100G"\n'
        listen = f'tls_listen = ["127.0.0.1:{port}"]\n'
        configuration = self.serve("hub", port, f"{tls}\n[hub]\n{listen}{hub}")
        for user in ["anna", *(f"keeper{number}" for number in range(self.copies))]:
            env = self.env if user == "anna" else {**self.env, "HOME": str(self.place / user)}
            pathlib.Path(env["HOME"]).mkdir(exist_ok=True)
            add = ("hub", "user", "add", user, "--config", configuration)
            code = run(BIN / "tfd", *add).strip()
            join = ("hub", "join", f"127.0.0.1:{port}", "--user", user, "--code", code)
            safe = ("--pin", self.servers.pin, "--no-passphrase", "--factor", self.copies)
            phrase = ("--phrase-file", self.place / f"{user}.phrase")
            run(BIN / "tf", *join, *safe, *phrase, env=env)
            if user != "anna":
                self.keep(user, env)
        self.wait_for_keepers()

    def keep(self, user, env):
        """Starts a keeper."""
        key, port = self.place / f"{user}.key", free_port()
        run(BIN / "tf", "hub", "holder-key", key, env=env)
        text = f'listen = ["127.0.0.1:{port}"]\nkey = "{key}"\nuser = "mail"\nkeep_free = "1M"\n'
        store = f'store = "{self.place}/{user}/kept"\n'
        self.serve(user, port, f"\n[holder]\n{text}{store}")

    def wait_for_keepers(self):
        """Waits until all keepers have a line to the hub."""
        for _ in range(300):
            told = run(BIN / "tfd", "hub", "keepers", "--json", "--config", self.place / "hub.toml")
            if told.count('"state":"online"') == self.copies:
                return
            time.sleep(0.1)
        raise SystemExit(f"keepers are not online: {told}")

    def backup(self, what, source):
        """The cost of a backup."""
        return cost(f"{what}, {self.name}", self.daemons, BIN / "tf", "backup", source, env=self.env)

    def restore(self, what, target):
        """The cost of a restore."""
        words = ("restore", "latest", "--target", target)
        return cost(f"{what}, {self.name}", self.daemons, BIN / "tf", *words, env=self.env)


class Restic:
    """restic over sftp, with its cache."""

    name = "restic"

    def __init__(self, bench, place, _):
        self.servers, self.place = bench.servers, place
        self.port = self.servers.once("sshd", start_sshd)
        self.daemons = [each for each in self.servers.processes if each.args[0] == "/usr/sbin/sshd"]
        self.env = {"RESTIC_PASSWORD": "bench", "RESTIC_CACHE_DIR": str(place / "cache")}

    def words(self, *words):
        """A command of restic."""
        ssh = ["ssh", "-p", self.port, *ssh_options(self.servers.scratch), "root@127.0.0.1"]
        command = " ".join(map(str, [*ssh, "-s", "sftp"]))
        repository = f"sftp:root@127.0.0.1:{self.place}/repository"
        return ["restic", "-q", "-o", f"sftp.command={command}", "-r", repository, *words]

    def begin(self):
        """Makes the repository."""
        run(*self.words("init"), env=self.env)

    def backup(self, what, source):
        """The cost of a backup."""
        return cost(f"{what}, restic", self.daemons, *self.words("backup", source), env=self.env)

    def restore(self, what, target):
        """The cost of a restore."""
        words = self.words("restore", "latest", "--target", target)
        return cost(f"{what}, restic", self.daemons, *words, env=self.env)


def there_and_back(bench, program, copies, what, source, kept):
    """The costs of a first backup and its restore, of what is left there until later."""
    with place_on_disk(kept) as place, bench.servers.for_a_while():
        each = program(bench, place, copies)
        each.begin()
        first = each.backup(f"first, {what}", source)
        target = place / "back"
        back = each.restore(f"restore, {what}", target)
        run("diff", "-r", source, f"{target}{source}")
        return {**first, **back}


def again(bench, program, copies, what, source, kept):
    """The cost of a backup of what has not changed."""
    with place_on_disk(kept) as place, bench.servers.for_a_while():
        each = program(bench, place, copies)
        each.begin()
        each.backup(what, source)
        return each.backup(f"unchanged, {what}", source)


@contextlib.contextmanager
def place_on_disk(kept=None):
    """A directory on the disk that the build is on, which others may enter. What lies in a
    kept one is left there: where many files were removed a minute ago, ext4 takes several
    times as long to make others."""
    within = contextlib.nullcontext(kept) if kept else fresh_directory()
    with within as above:
        place = pathlib.Path(tempfile.mkdtemp(dir=above))
        os.chmod(place, 0o755)
        yield place


@contextlib.contextmanager
def fresh_directory():
    """A directory beside the build, gone afterwards."""
    with tempfile.TemporaryDirectory(dir=TOP / "target", prefix="bench-") as place:
        os.chmod(place, 0o755)
        yield pathlib.Path(place)


def measure(bench):
    """Seconds, seconds of processor time and MiB."""
    files, unchanged = bench.scaled(FILES, 200), bench.scaled(UNCHANGED, 500)
    mib = bench.scaled(LARGE_MIB, 64)
    note(f"hub: {files:,} small files, {mib} MiB, {unchanged:,} unchanged files")
    # One for all measures.
    bench.servers.once("sshd", start_sshd)
    small, many = make_tree(bench, "hub-small", files), make_tree(bench, "hub-many", unchanged)
    with fresh_directory() as large, fresh_directory() as kept:
        with open(f"{large}/file", "wb") as file:
            for _ in range(mib):
                file.write(os.urandom(2**20))
        measures = {}
        for program, copies in ((Hub, 1), (Hub, 2), (Restic, 1)):
            key = f"{program.__name__} {copies}"
            for what, source, place in (("small", small, kept), ("large", large, None)):
                measures[f"{what}, {key}"] = (
                    lambda p=program, c=copies, w=what, s=source, k=place: (
                        there_and_back(bench, p, c, w, s, k)
                    )
                )
            if copies == 1:
                measures[f"many, {key}"] = lambda p=program: again(bench, p, 1, "many", many, kept)
        program, count = executable("hub"), bench.scaled(PLACED, 400)
        measures["placed"] = lambda: float(run(program, count))
        costs = medians(bench.rounds, measures)
        return {
            "placed": costs.pop("placed"),
            "files": files,
            "MiB": mib,
            "unchanged": unchanged,
            "costs": costs,
        }
