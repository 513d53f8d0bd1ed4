"""What a login costs, to a server and to the store that several share, and how a server
grows with its users file."""

import contextlib
import pathlib
import re
import subprocess
import time

from hub import processor_seconds
from measure import run
from memory import children, held
from servers import free_port

# More than the last would be too much for the launcher.
ACCOUNTS = (1_000, 100_000, 500_000)

# Sessions that a store knows of, and seconds for which they are watched.
KNOWN, WATCHED = 1_000, 30

# How many clients wait for an answer, one after the other, each as long as clients do.
PATIENCE = 60

LOGIN = {"TF_USER": "bench", "TF_PASSWORD": "bench"}


def users_of(bench, text):
    """The lines of a configuration for this users file."""
    path = bench.scratch / "scale-users"
    path.write_text(text)
    path.chmod(0o600)
    return path, f'mode = "multi-user"\nusers = "{path}"'


def account(bench, *words, options=""):
    """The line of an account."""
    return run(bench.program, "account", *words).replace(":nobody:::", f":nobody::{options}:")


def cost(bench, env, daemon, count):
    """µs of processor time of a login and what ends it."""
    before = processor_seconds(daemon.pid)
    bench.load(env | LOGIN, "handshakes", 1, count)
    # Sessions end a moment after their clients.
    time.sleep(0.5)
    return 1e6 * (processor_seconds(daemon.pid) - before) / count


def hashes(bench):
    """µs of processor time of a login whose hash is cheap, and of one as tfd makes it."""
    costs = {}
    for what, words, count in (("cheap", (), (2_000, 50)), ("made", ("made",), (200, 10))):
        _, lines = users_of(bench, account(bench, *words))
        with bench.servers.for_a_while():
            env, daemon = bench.servers.tfd("scale", lines)
            costs[what] = cost(bench, env, daemon, bench.scaled(*count))
    return costs


def memory_mib(pid):
    """The memory of a process and those beneath it, what they share once; none once it has
    ended."""
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        return field(pid, "smaps_rollup", "Pss") + sum(map(memory_mib, children(pid)))
    return 0


def field(pid, file, name):
    """The MiB that the system reports of a process by this name."""
    text = pathlib.Path(f"/proc/{pid}/{file}").read_text()
    return int(re.search(rf"^{name}: +(\d+)", text.replace("\t", " "), re.M)[1]) / 1024


def wait_for_answer(bench, env):
    """Waits until a login is answered. One that had to wait too long asks again."""
    command, env = bench.command("ready", 1), bench.environment(env | LOGIN)
    for _ in range(PATIENCE):
        done = subprocess.run(command, env=env, stdin=subprocess.DEVNULL, capture_output=True)
        if done.returncode == 0:
            return
    raise SystemExit(f"no login is answered:\n{done.stderr.decode()}")


def accounts(bench, count):
    """A start, a login and a change of a users file of so many accounts, and the memory."""
    line = account(bench)
    others = (line.replace("bench:", f"user{number:07}:", 1) for number in range(count - 1))
    path, lines = users_of(bench, line + "".join(others))
    with bench.servers.for_a_while():
        begin = time.monotonic()
        env, daemon = bench.servers.tfd("scale", lines)
        wait_for_answer(bench, env)
        start = time.monotonic() - begin
        # Private memory, shared with children or not, is what a limit holds for.
        mib, of_supervisor = memory_mib(daemon.pid), field(daemon.pid, "status", "VmData")
        ready = bench.load(env | LOGIN, "ready", bench.scaled(200, 5))
        with path.open("a") as file:
            file.write("# changed\n")
        used = processor_seconds(daemon.pid)
        begin = time.monotonic()
        wait_for_answer(bench, env)
        changed = time.monotonic() - begin
        # Sessions, and what has been replaced, end a moment later.
        time.sleep(0.5)
        used = processor_seconds(daemon.pid) - used
    return {
        "accounts": count,
        "start": start,
        "MiB": mib,
        "supervisor, MiB": of_supervisor,
        "ready": ready,
        "changed": changed,
        "changed, CPU s": used,
    }


class Store:
    """A redis-server."""

    def __init__(self, bench):
        self.port = free_port()
        options = ("--bind", "127.0.0.1", "--save", "", "--appendonly", "no")
        log = bench.scratch / "redis.log"
        words = ("redis-server", "--port", self.port, "--logfile", log, *options)
        self.process = bench.servers.start(self.port, *words)

    def questions(self):
        """How many scripts it has run."""
        told = run("redis-cli", "-p", self.port, "INFO", "commandstats")
        return sum(map(int, re.findall(r"^cmdstat_eval(?:sha)?:calls=(\d+)", told, re.M)))

    def used(self, what, count):
        """How many questions, and how many µs of its processor time, each of so many
        takes that this does."""
        questions, seconds = self.questions(), processor_seconds(self.process.pid)
        what()
        questions = self.questions() - questions
        seconds = processor_seconds(self.process.pid) - seconds
        return {"questions": questions / count, "µs": 1e6 * seconds / count}


def shared(bench):
    """What a login and an idle session cost a store, and what it costs a server to ask."""
    _, lines = users_of(bench, account(bench, options="max=100000"))
    logins, known = bench.scaled(2_000, 50), bench.scaled(KNOWN, 20)
    watched = bench.scaled(WATCHED, 2)
    with bench.servers.for_a_while():
        store = Store(bench)
        lines += f'\nshared_state = "redis://127.0.0.1:{store.port}"'
        env, daemon = bench.servers.tfd("scale", lines)
        costs = []
        login = store.used(lambda: costs.append(cost(bench, env, daemon, logins)), logins)
        if login["questions"] < 1:
            raise SystemExit("the server does not ask the store")
        with held(bench, env | LOGIN, "idle", known):
            idle = store.used(lambda: time.sleep(watched), known * watched)
    return {"login": login, "tfd": costs[0], "idle": idle, "sessions": known}


def measure(bench):
    """Logins, accounts and the store."""
    counts = bench.scaled(ACCOUNTS, ACCOUNTS[:1])
    return {
        "logins": hashes(bench),
        "store": shared(bench),
        "accounts": [accounts(bench, count) for count in counts],
    }
