"""Where the processor time of a session goes: process by process as the kernel counts
it, and phase by phase as samples of what the processors run share it out."""

import collections
import contextlib
import os
import pathlib
import re
import resource
import signal
import subprocess
import time

from connections import CLIENTS
from measure import medians, note, run
from memory import children, name

TICKS = os.sysconf("SC_CLK_TCK")

# Samples a second of each processor.
FREQUENCY = 4000

# How long the last processes of a load may take to be waited for.
REST = 0.2

# The processes of a daemon, those that it forks for clients, and the load.
PROCESSES = {
    "tfd": "supervisor",
    "tfd-keeper": "keepers",
    "tfd-auth": "authenticator",
    "tfd-zygote": "zygote",
    "tfd-launcher": "launcher",
}
CHILDREN = {"zygote": "gate", "launcher": "session"}
CLIENT = "client"

# The kernel's functions by which a phase is known. A sample belongs to the first phase
# of which one was under way.
PHASES = {
    "exit and reaping": "do_exit|do_group_exit|release_task|kernel_wait4",
    "fork": "kernel_clone|ret_from_fork|schedule_tail",
    "page faults": "(asm_)?exc_page_fault",
    "sandbox": "__secure_computing|__seccomp_filter|do_seccomp|.*landlock.*",
    "page of the connection": ".*memfd.*|shmem_.*|vm_mmap_pgoff|__vm_munmap",
    "TCP": "tcp_.*|inet6?_.*|ip6?_.*|net_rx_action|__sys_accept4",
    "messages and waits": "unix_.*|scm_.*|__sys_socketpair|do_epoll_.*|do_sys_poll|ep_.*|do_futex",
}
OF_PHASE = {phase: re.compile(words) for phase, words in PHASES.items()}
OTHER_CALLS = "other system calls"
CRYPTOGRAPHY = "RSA and TLS"
OWN_CODE = "own code"
OTHERS = (CRYPTOGRAPHY, OWN_CODE, OTHER_CALLS)

# A function and its file, which may have no name any more.
FRAME = re.compile(r"\s*[0-9a-f]+ (.*?) \((\S+(?: \(deleted\))?)\)")

# Libraries and functions that compute RSA and TLS.
OF_CRYPTOGRAPHY = re.compile("libcrypto|libssl|aws_lc|rustls|mlkem|x25519|sha(256|512)_block")


def counters(daemon):
    """Processor seconds and page faults so far of each kind of process."""
    counted = collections.defaultdict(lambda: (0.0, 0))

    def add(kind, ticks, faults):
        seconds, before = counted[kind]
        counted[kind] = (seconds + ticks / TICKS, before + faults)

    for pid in [daemon.pid, *children(daemon.pid)]:
        kind = PROCESSES.get(name(pid))
        if kind is None:
            continue
        # Behind the name stands the third field of proc_pid_stat(5).
        text = pathlib.Path(f"/proc/{pid}/stat").read_text()
        field = dict(enumerate(text.rpartition(")")[2].split(), 3))
        number = {at: int(field[at]) for at in (10, 11, 14, 15, 16, 17)}
        add(kind, number[14] + number[15], number[10])
        if kind in CHILDREN:
            add(CHILDREN[kind], number[16] + number[17], number[11])
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    add(CLIENT, (used.ru_utime + used.ru_stime) * TICKS, used.ru_minflt)
    return dict(counted)


def costs(bench, door, daemon, count):
    """Microseconds and page faults a session of each kind of process."""
    env, *words = door
    before = counters(daemon)
    bench.load(env, "handshakes", CLIENTS, count, *words)
    time.sleep(REST)
    after = counters(daemon)
    figures = {}
    for kind, (seconds, faults) in after.items():
        used, had = before.get(kind, (0, 0))
        figures[f"{kind}: µs"] = (seconds - used) * 1e6 / count
        # Those of the load's start are none of a session.
        if kind != CLIENT:
            figures[f"{kind}: faults"] = (faults - had) / count
    return figures


def phase_of(frames):
    """The phase of a sample by its frames, pairs of a function and its file, the
    innermost first."""
    for phase, pattern in OF_PHASE.items():
        if any(pattern.fullmatch(function) for function, _ in frames):
            return phase
    function, file = frames[0]
    if "kernel" in file:
        return OTHER_CALLS
    is_secret = OF_CRYPTOGRAPHY.search(file) or OF_CRYPTOGRAPHY.search(function)
    return CRYPTOGRAPHY if is_secret else OWN_CODE


def shares(script):
    """The part of each phase in the samples of tfd's processes, as `perf script` prints
    them: a name, its frames, an empty line."""
    counts = collections.Counter()
    for sample in script.split("\n\n"):
        command, *lines = sample.strip("\n").split("\n")
        found = [FRAME.fullmatch(line) for line in lines]
        frames = [(frame[1], frame[2]) for frame in found if frame]
        if command.strip().startswith("tfd") and frames:
            counts[phase_of(frames)] += 1
    return {phase: counts[phase] / counts.total() for phase in (*PHASES, *OTHERS)}


def sampled(bench, door, count):
    """The part of each phase in the time of tfd's processes."""
    env, *words = door
    record = bench.scratch / "samples"
    with sampling(record):
        bench.load(env, "handshakes", CLIENTS, count, *words)
    return shares(run("perf", "script", "-i", record, "-F", "comm,ip,sym,dso"))


@contextlib.contextmanager
def sampling(record):
    """Samples all processors as long as the `with` block lasts."""
    words = ["perf", "record", "-q", "-a", "-g", "-e", "cpu-clock", "-F", str(FREQUENCY)]
    perf = subprocess.Popen([*words, "-o", str(record)], stderr=subprocess.DEVNULL)
    try:
        time.sleep(REST)
        yield
    finally:
        perf.send_signal(signal.SIGINT)
        perf.wait(60)


def measure(bench):
    """The costs of each kind of process and of each phase, for each way in."""
    note("phases")
    count = bench.scaled(4000, 160)
    multi, logs_in = bench.multi_user()
    doors = {
        "single-user": ((bench.plain,), bench.daemon),
        "multi-user": ((multi,), logs_in),
        "TLS, resumed": ((bench.tls,), bench.daemon),
    }
    figures = {}
    for way, (door, daemon) in doors.items():
        # The first sessions find nothing prepared.
        bench.load(door[0], "handshakes", CLIENTS, 160)
        figures[way] = {
            "processes": medians(bench.rounds, {"": lambda: costs(bench, door, daemon, count)}),
            "phases": sampled(bench, door, count),
        }
    return {"clients": CLIENTS, "ways": figures}
