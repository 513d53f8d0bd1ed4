"""The figures of BENCHMARKS.md: see --help. Started by scripts/bench, which builds
what is measured and installs what it is compared with."""

import argparse
import datetime
import json
import signal
import sys

import bulk
import chart
import connections
import digests
import files
import hub
import instructions
import memory
import phases
import report
import requests
import scale
import streams
import transfers
import trees
import vault
from bench import FULL_MIB, QUICK_MIB, Bench
from measure import TOP, note, tmpfs
from servers import Servers

# Each with its measure, and whether its files are large ones.
SECTIONS = {
    "connections": (connections.measure, False),
    "phases": (phases.measure, False),
    "requests": (requests.measure, False),
    "digests": (digests.measure, True),
    "streams": (streams.measure, True),
    "transfers": (transfers.measure, True),
    "bulk": (bulk.measure, True),
    "small": (bulk.small, False),
    "proxy": (transfers.through_proxy, True),
    "files": (files.measure, False),
    "trees": (trees.measure, False),
    "far": (trees.far, False),
    "memory": (memory.measure, False),
    "scale": (scale.measure, False),
    "vault": (vault.measure, False),
    "hub": (hub.measure, False),
    "instructions": (instructions.measure, False),
}


def arguments():
    """What the command line asks for."""
    parser = argparse.ArgumentParser(
        prog="scripts/bench",
        description="Measures tfd and its peers in one run over loopback, and prints the "
        "medians of 5 as Markdown. Needs root; installs Debian packages that are missing.",
    )
    parser.add_argument(
        "sections",
        metavar="SECTION",
        nargs="*",
        help=f"measure these alone: {', '.join(SECTIONS)}",
    )
    parser.add_argument(
        "--quick",
        action="store_true",
        help="one round with small sizes: tells that all works, the figures mean nothing",
    )
    parser.add_argument(
        "--write",
        action="store_true",
        help="keep the figures of these sections in benches/figures.json, and write "
        "BENCHMARKS.md and benches/figures.svg from all that are kept",
    )
    chosen = parser.parse_args()
    if chosen.write and chosen.quick:
        parser.error("--write needs a whole round: figures of --quick mean nothing")
    names = chosen.sections or list(SECTIONS)
    unknown = [name for name in names if name not in SECTIONS]
    if unknown:
        parser.error(f"no section {', '.join(unknown)}; there are {', '.join(SECTIONS)}")
    return names, chosen.quick, chosen.write


def measure(names, quick):
    """The figures of these sections."""
    mib = QUICK_MIB if quick else FULL_MIB
    figures = {}
    for large in (False, True):
        chosen = {name: SECTIONS[name][0] for name in names if SECTIONS[name][1] == large}
        if not chosen:
            continue
        size = 10 * mib + 512 if large else 1024
        with tmpfs(size, large) as scratch, Servers(scratch) as servers:
            bench = Bench(servers, quick)
            for name, section in chosen.items():
                figures[name] = section(bench)
                note(report.part_of(name, figures[name]))
    return figures


def main():
    """Measures and reports."""
    names, quick, write = arguments()
    for number in (signal.SIGINT, signal.SIGTERM):
        # What was started is ended on the way out.
        signal.signal(number, lambda number, _: sys.exit(128 + number))
    date = datetime.datetime.now(datetime.UTC).date().isoformat()
    conditions = report.conditions(date, 1 if quick else 5)
    measured = {
        name: {"date": date, "run": conditions, "figures": figures}
        for name, figures in measure(names, quick).items()
    }
    if write:
        publish(measured)
    else:
        print(report.markdown(measured))


def publish(measured):
    """Keeps what was measured, and writes page and chart from all that is kept."""
    kept = TOP / "benches/figures.json"
    entries = json.loads(kept.read_text()) | measured
    entries = {name: entries[name] for name in SECTIONS if name in entries}
    kept.write_text(json.dumps(entries, indent=1, ensure_ascii=False) + "\n")
    page = TOP / "BENCHMARKS.md"
    page.write_text(report.replaced(page.read_text(), report.markdown(entries)))
    (TOP / "benches/figures.svg").write_text(chart.draw(entries))
    note("wrote benches/figures.json, BENCHMARKS.md and benches/figures.svg")


if __name__ == "__main__":
    main()
