"""The figures as the Markdown of the README."""

import pathlib
import re

import targets
from measure import run

BEGIN = "<!-- figures: begin, by scripts/bench --write -->"
END = "<!-- figures: end -->"


def replaced(readme, text):
    """The README with this text between its two marks."""
    before, begin, rest = readme.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise SystemExit("README.md has not the two marks of the figures")
    return f"{before}{BEGIN}\n{text.strip()}\n{END}{after}"


def table(*rows):
    """A Markdown table; numbers stand to the right."""
    head, *body = [[cell if isinstance(cell, str) else number(cell) for cell in row] for row in rows]
    columns = list(zip(*body))
    marks = ["---:" if all(re.fullmatch(r"[\d.,]*", c) for c in column) else "---" for column in columns]
    lines = [head, marks, *body]
    return "\n".join(f"| {' | '.join(line)} |".replace("|  |", "| |").replace("|  |", "| |") for line in lines)


def number(value):
    """A number with as many digits as mean something."""
    if value < 10:
        return f"{value:.2f}"
    return f"{value:.1f}" if value < 100 else f"{value:,.0f}"


def machine(date, rounds):
    """What was measured, where and when."""
    cpu = re.search(r"^model name\s*: (.*)", pathlib.Path("/proc/cpuinfo").read_text(), re.M)
    cores = run("nproc").strip()
    words = {
        "rustc": run("rustc", "--version").split()[:2],
        "tfd": run("target/release/tfd", "--version").split(),
        "OpenSSL": run("openssl", "version").split()[:2],
        "OpenSSH": ["OpenSSH", version("openssh-server")],
        "vsftpd": ["vsftpd", version("vsftpd")],
        "rsync": ["rsync", version("rsync")],
    }
    versions = ", ".join(" ".join(each) for each in words.values())
    medians = f"medians of {rounds}" if rounds > 1 else "one round"
    return (
        f"{date}, {cpu[1] if cpu else 'unknown processor'}, {cores} cores, "
        f"Linux {run('uname', '-r').strip()};\n{versions}.\n"
        f"Loopback, files on tmpfs, {medians} taken by turns, client and server on the\n"
        "same cores. Ratios within one run mean more than the figures themselves."
    )


def version(package):
    """The upstream version of a Debian package."""
    return run("dpkg-query", "-W", "-f", "${Version}", package).split(":")[-1]


def connections(f):
    """Handshakes."""
    rows = [("Sessions begun and ended", "One client, per second", "of RSA signs", "16 clients, per second", "of RSA signs", "To the first answer, µs")]
    rows.append(("RSA-2048 signs alone", f["signs, one core"], "", f["signs"], "", ""))
    for name in [key.removesuffix(", one") for key in f if key.endswith(", one")]:
        one, many = f[f"{name}, one"], f[name]
        rows.append((name, one, one / f["signs, one core"], many, many / f["signs"], f[f"{name}, ready"]))
    return table(*rows) + "\n\nMulti-user: up to LOGIN, the password's hash apart. Sandboxes are on where nothing\nelse is said."


def requests(f):
    """Round trips, probes, listings, digests."""
    trips, lists, sums = f["round trips"], f["listings"], f["digests"]
    rows = [("Small work", "Per second", "Beside", "Per second", "Ratio")]

    def row(name, value, beside, base):
        rows.append((name, value, beside, base, value / base))

    for name in trips:
        transport, _, word = name.partition(" ")
        if word:
            row(f"{word} round trips, {transport}", trips[name], "bare TCP echo", trips["tcp"])
    row("UDP probes, 64 outstanding", trips["probes"], "bare UDP echo", trips["udp"])
    listing = f"Entries of {lists['entries']:,} by LS"
    for peer in ("sftp ls", "vsftpd NLST", "rsync", "ls -f"):
        row(listing, lists["LS"], peer, lists[peer])
    row("SHA256, MiB", sums["SHA256"], "openssl speed", sums["openssl"])
    return table(*rows)


def streams(f):
    """The two parts of a stream."""
    base = f["recurrence"]
    rows = [("The cipher", "MiB/s", "of the bare recurrence")]
    for name, shown in (
        ("recurrence", "bare recurrence, one core"),
        ("generator", "generator alone"),
        ("ours", "enciphering"),
        ("loop", "the document's loop"),
        ("ours on the cycle", "enciphering on a cycle"),
    ):
        rows.append((shown, f[name], f[name] / base))
    parts = [(f"{f['size']} MiB of a stream", "At its beginning, MiB/s", "of the bare recurrence", "On a cycle, MiB/s", "of the beginning")]
    for flow in ("PUT", "GET", "SNDFILE", "RCVFILE"):
        first, cycle = f[f"first {flow}"], f[f"cycle {flow}"]
        parts.append((flow, first, first / base, cycle, cycle / first))
    return table(*rows) + "\n\n" + table(*parts)


def transfers(f):
    """One large file by every flow and peer."""
    peers = [name.removesuffix(" up") for name in f if name.endswith(" up")]
    beside = [name for name in peers if name in ("sftp", "vsftpd with TLS", "vsftpd")]
    rows = [(f"{f['size']} MiB", "MiB/s", *[f"of {name}" for name in beside])]
    for name in f:
        transport, _, flow = name.partition(" ")
        way = targets.WAY.get(flow)
        if transport in ("plain", "TLS") and way:
            shown = f"{flow}, TLS" if transport == "TLS" else flow
            rows.append((shown, f[name], *[f[name] / f[f"{peer} {way}"] for peer in beside]))
    for peer in peers:
        for way in ("up", "down"):
            rows.append((f"{peer}, {way}", f[f"{peer} {way}"], *["" for _ in beside]))
    rows.append(("cp", f["cp"], *["" for _ in beside]))
    return table(*rows)


def proxy(f):
    """Transfers through the proxy."""
    rows = [("Through the proxy", "MiB/s", "without it", "Ratio")]
    for flow in ("SNDFILE", "SDOWN"):
        by, direct = f[f"{flow} by proxy"], f[flow]
        rows.append((flow, by, direct, by / direct))
    return table(*rows)


def trees(f):
    """Many small files."""
    rows = [(f"{f['count']:,} files of {f['bytes'] // 1024} KiB, one connection", "µs a file")]
    rows += [(name, value) for name, value in f.items() if name not in ("count", "bytes")]
    return table(*rows)


def memory(f):
    """Idle sessions."""
    return f"An idle session of {f['sessions']}: {f['KiB']:.0f} KiB of private memory."


def instructions(f):
    """Instruction counts."""
    return table(("Instructions for each", "counted by callgrind"), *f.items())


PARTS = (connections, requests, streams, transfers, proxy, trees, instructions, memory)


def markdown(date, rounds, figures):
    """All that was measured."""
    parts = [machine(date, rounds)]
    held = targets.rows(figures)
    if held:
        parts.append(table(("What is aimed at", "Measured", "Aim", "Reached"), *held))
    parts += [part(figures[part.__name__]) for part in PARTS if part.__name__ in figures]
    return "\n\n".join(parts)
