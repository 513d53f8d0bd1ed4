"""Instructions of small pieces of work, counted by callgrind: figures that do not
depend on what else the machine does."""

import re
import subprocess

from measure import executable, note

# What is counted, and what it is counted for.
WORK = {
    "recurrence": "byte of the bare recurrence",
    "generator": "byte of our generator",
    "loop": "byte of the document's loop",
    "cipher": "byte enciphered",
    "cycle": "byte enciphered on a cycle",
    "message": "message of 32 bytes enciphered",
    "request": "FSTAT of a path of three names read",
    "path": "path of three names checked",
}


def count(program, name):
    """Instructions a unit of one piece of work."""
    done = subprocess.run(
        [
            *["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null"],
            *["--collect-atstart=no", "--toggle-collect=*measured*", program, name],
        ],
        capture_output=True,
        text=True,
        timeout=300,
    )
    collected = re.search(r"Collected : (\d+)", done.stderr)
    if done.returncode != 0 or not collected or int(collected[1]) == 0:
        raise SystemExit(f"callgrind counted nothing for {name}:\n{done.stderr}")
    return int(collected[1]) / int(done.stdout)


def measure(bench):
    """Instructions a unit of each."""
    note("instructions")
    program = executable("counts")
    return {what: count(program, name) for name, what in WORK.items()}
