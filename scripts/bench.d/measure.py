"""Running things and taking medians of what they tell."""

import contextlib
import json
import os
import pathlib
import statistics
import subprocess
import sys
import time

TOP = pathlib.Path(__file__).resolve().parents[2]
BIN = TOP / "target/release"


def note(text):
    """Says on standard error what is going on."""
    print(f"== {text}", file=sys.stderr, flush=True)


def run(*words, env=None, text=None, seconds=300):
    """Runs a program to its end; its standard output. Fails when it does."""
    done = subprocess.run(
        [str(word) for word in words],
        env={**os.environ, **(env or {})},
        input=text,
        stdin=subprocess.DEVNULL if text is None else None,
        capture_output=True,
        text=True,
        timeout=seconds,
    )
    if done.returncode != 0:
        raise SystemExit(f"{words[0]} failed: {' '.join(map(str, words[1:]))}\n{done.stderr}")
    return done.stdout


def seconds_of(*words, env=None, text=None):
    """How long a program takes."""
    begin = time.monotonic()
    run(*words, env=env, text=text)
    return time.monotonic() - begin


def executable(name):
    """The program that cargo built of a bench target."""
    told = run("cargo", "bench", "--quiet", "--no-run", "--bench", name, "--message-format=json")
    for line in told.splitlines():
        message = json.loads(line)
        if message.get("target", {}).get("name") == name and message.get("executable"):
            return message["executable"]
    raise SystemExit(f"cargo built no bench {name}")


def medians(rounds, measures):
    """The median of each measure, a dictionary of functions that give a number
    or a dictionary of numbers, taken by turns, so that what the machine does
    meanwhile falls on all of them."""
    taken = {}
    for _ in range(rounds):
        for name, measure in measures.items():
            value = measure()
            named = value if isinstance(value, dict) else {name: value}
            for key, number in named.items():
                taken.setdefault(key, []).append(number)
    return {name: statistics.median(numbers) for name, numbers in taken.items()}


@contextlib.contextmanager
def tmpfs(mib, large):
    """A file system in memory that is gone afterwards. Files on it are in huge
    pages when they are `large`; small ones would take one each."""
    path = pathlib.Path(run("mktemp", "-d").strip())
    options = f"mode=755,size={mib}m,huge={'always' if large else 'never'}"
    run("mount", "-t", "tmpfs", "-o", options, "tmpfs", path)
    try:
        yield path
    finally:
        unmount(path)
        path.rmdir()


def unmount(path):
    """Takes a file system away."""
    # A server that just ended may hold a file for a moment.
    for _ in range(50):
        if subprocess.run(["umount", path], stderr=subprocess.DEVNULL).returncode == 0:
            return
        time.sleep(0.1)
    run("umount", "--lazy", path)
