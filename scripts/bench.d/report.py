"""The figures as the Markdown of BENCHMARKS.md."""

import pathlib
import re

import paper
import targets
from measure import BIN, run

BEGIN = "<!-- figures: begin, by scripts/bench --write -->"
END = "<!-- figures: end -->"
CHART = "![tfd compared with its peers](benches/figures.svg)"


def replaced(page, text):
    """The page with this text between its two marks."""
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise SystemExit("BENCHMARKS.md lacks the two marks around the figures")
    return f"{before}{BEGIN}\n{text.strip()}\n{END}{after}"


def table(*rows):
    """A Markdown table; numbers stand to the right."""
    head, *body = [
        [cell if isinstance(cell, str) else number(cell) for cell in row] for row in rows
    ]
    columns = list(zip(*body))
    marks = [
        "---:" if all(re.fullmatch(r"[\d.,]*", c) for c in column) else "---" for column in columns
    ]
    lines = [head, marks, *body]
    return "\n".join(
        f"| {' | '.join(line)} |".replace("|  |", "| |").replace("|  |", "| |") for line in lines
    )


def number(value):
    """A number with as many digits as mean something."""
    if value < 10:
        return f"{value:.2f}"
    return f"{value:.1f}" if value < 100 else f"{value:,.0f}"


def conditions(date, rounds):
    """Where, when and with what a run measures."""
    cpu = re.search(r"^model name\s*: (.*)", pathlib.Path("/proc/cpuinfo").read_text(), re.M)
    cores = run("nproc").strip()
    words = {
        "rustc": run("rustc", "--version").split()[:2],
        "tfd": run(BIN / "tfd", "--version").split(),
        "OpenSSL": run("openssl", "version").split()[:2],
        "OpenSSH": ["OpenSSH", version("openssh-server")],
        "vsftpd": ["vsftpd", version("vsftpd")],
        "rsync": ["rsync", version("rsync")],
        "restic": ["restic", version("restic")],
    }
    versions = ", ".join(" ".join(each) for each in words.values())
    medians = (
        f"medians of {rounds}"
        if rounds > 1
        else "one round of a smoke run, whose figures mean nothing"
    )
    return (
        f"{date}, {cpu[1] if cpu else 'unknown processor'}, {cores} cores, "
        f"Linux {run('uname', '-r').strip()};\n{versions};\n{medians}."
    )


def version(package):
    """The upstream version of a Debian package."""
    return run("dpkg-query", "-W", "-f", "${Version}", package).split(":")[-1]


def connections(f):
    """Handshakes."""
    rows = [
        (
            "Sessions begun and ended",
            "One client, per second",
            "of RSA signs",
            "16 clients, per second",
            "of RSA signs",
            "To the first answer, µs",
        )
    ]
    rows.append(("RSA-2048 signs alone", f["signs, one core"], "", f["signs"], "", ""))
    for name in [key.removesuffix(", one") for key in f if key.endswith(", one")]:
        one, many = f[f"{name}, one"], f[name]
        rows.append(
            (
                name,
                one,
                one / f["signs, one core"],
                many,
                many / f["signs"],
                f.get(f"{name}, ready", ""),
            )
        )
    return (
        table(*rows)
        + "\n\nMulti-user: up to LOGIN, the password's hash apart. Sandboxes are on where\n"
        "nothing else is said."
    )


def phases(f):
    """What a session costs, by process and by phase."""
    ways = f["ways"]
    costs = {way: of["processes"] for way, of in ways.items()}

    def sums(way, unit):
        """Those of tfd's processes."""
        ours = costs[way].items()
        return sum(v for what, v in ours if what.endswith(unit) and not what.startswith("client"))

    kinds = dict.fromkeys(what.partition(":")[0] for of in costs.values() for what in of)
    units = (": µs", ": faults")
    processes = [("The processes of a session", *[f"{w}{u}" for w in ways for u in units])]
    for kind in kinds:
        cells = [costs[way].get(f"{kind}{unit}", "") for way in ways for unit in units]
        processes.append((kind, *cells))
    processes.append(("tfd in all", *[sums(way, unit) for way in ways for unit in units]))
    parts = {way: of["phases"] for way, of in ways.items()}
    rows = [("The phases of tfd's part", *[f"{way}, µs" for way in ways])]
    for phase in next(iter(parts.values())):
        times = [parts[way][phase] * sums(way, ": µs") for way in ways]
        rows.append((phase, *times))
    return (
        table(*processes)
        + "\n\n"
        + table(*rows)
        + f"\n\nProcessor time and page faults of one session begun and ended, {f['clients']} clients at\n"
        "once, as the kernel counts them. perf's samples share the time out to phases: a\n"
        "sample belongs to the first of them of which it has a function, in the order\n"
        "exit, fork, page faults, sandbox, page of the connection, TCP, messages. Code in\n"
        "huge pages has no names: what tfd itself computes of TLS counts as own code."
    )


def requests(f):
    """Round trips, probes, listings."""
    trips, lists = f["round trips"], f["listings"]
    rows = [("Small work", "Per second", "Beside", "Per second", "Ratio")]

    def row(name, value, beside, base):
        rows.append((name, value, beside, base, value / base))

    for name in trips:
        transport, _, word = name.partition(" ")
        if word:
            row(f"{word} round trips, {transport}", trips[name], "bare TCP echo", trips["tcp"])
    row(
        "ECHO with Nagle, header and body apart",
        trips["apart"],
        "bare TCP echo of the same",
        trips["tcp-apart"],
    )
    row("UDP probes, 64 outstanding", trips["probes"], "bare UDP echo", trips["udp"])
    listing = f"Entries of {lists['entries']:,} by LS"
    for peer in ("sftp ls", "vsftpd NLST", "rsync", "ls -f"):
        row(listing, lists["LS"], peer, lists[peer])
    return table(*rows)


def digests(f):
    """SHA256."""
    ratio = f["SHA256"] / f["openssl"]
    return (
        f"SHA256 of a cached file of {f['size']} MiB: {f['SHA256']:,.0f} MiB/s, "
        f"{ratio:.2f} of `openssl speed`'s {f['openssl']:,.0f}."
    )


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
    parts = [
        (
            f"{f['size']} MiB of a stream",
            "At its beginning, MiB/s",
            "of the bare recurrence",
            "On a cycle, MiB/s",
            "of the beginning",
        )
    ]
    for flow in ("PUT", "GET", "SNDFILE", "RCVFILE"):
        first, cycle = f[f"first {flow}"], f[f"cycle {flow}"]
        parts.append((flow, first, first / base, cycle, cycle / first))
    for part, shown in (("alone", "new memory"), ("in place", "existing memory")):
        for flow in ("PUT", "GET"):
            alone = f[f"{part} {flow}"]
            parts.append((f"{flow}, server alone, {shown}", alone, alone / base, "", ""))
    return (
        table(*rows)
        + "\n\n"
        + table(*parts)
        + "\n\nServer alone: the client enciphers before the clock starts, or deciphers and\n"
        "compares when it has stopped. All others share the cores with a client that has\n"
        "as much to compute as the server. New memory: PUT makes a file, GET fills 256 MiB\n"
        f"of the client's; the machine clears such memory at {f['new memory']:,.0f} MiB/s. Existing memory:\n"
        "PUT writes over a file of that size, the client of GET keeps nothing."
    )


def pairs(f, of):
    """Rows of what goes up and what comes down: (name, up, down), flows of every
    transport first, then the peers."""
    transports = {name.partition(" ")[0] for name in f} & {"plain", "TLS"}
    for transport in sorted(transports, reverse=True):
        for up, down in targets.FLOWS:
            if f"{transport} {up}" in f:
                shown = f"{up}, {down}" + (" over TLS" if transport == "TLS" else "")
                yield (
                    shown,
                    *of(f[f"{transport} {up}"], "up"),
                    *of(f[f"{transport} {down}"], "down"),
                )
    for name in (name.removesuffix(" up") for name in f if name.endswith(" up")):
        yield (name, *of(f[f"{name} up"], "up"), *of(f[f"{name} down"], "down"))


def transfers(f):
    """One large file by every flow and peer."""
    beside = ("sftp", "vsftpd with TLS")

    def of(value, way):
        return value, *[value / f[f"{peer} {way}"] for peer in beside]

    ratios = [f"of {peer}" for peer in beside]
    head = (f"{f['size']} MiB", "Up, MiB/s", *ratios, "Down, MiB/s", *ratios)
    return table(head, *pairs(f, of)) + f"\n\ncp: {f['cp']:,.0f} MiB/s."


def bulk(f):
    """BBFTP."""
    rows = [(f"BBFTP, {f['size']} MiB", "put, MiB/s", "of sendfile", "get, MiB/s", "of sendfile")]
    for name in [name.removesuffix(" up") for name in f if name.endswith(" up")]:
        up, down = f[f"{name} up"], f[f"{name} down"]
        rows.append((name, up, up / f["sendfile"], down, down / f["sendfile"]))
    one, eight = f["long way, 1 streams"], f["long way, 8 streams"]
    return (
        table(*rows)
        + f"\n\nA loop of sendfile and recv: {f['sendfile']:,.0f} MiB/s. Over a link of 40 ms that\n"
        f"loses 0.1 %: {one:.1f} MiB/s by 1 stream, {eight:.1f} by 8. Speeds are those that the\n"
        "client tells."
    )


def small(f):
    """Small files by BBFTP."""
    what = f"BBFTP, {f['count']:,} files of {f['bytes'] // 1024} KiB"
    rows = [(what, "mput, µs a file", "mget, µs a file")]
    for name in [name.removesuffix(" mput") for name in f if name.endswith(" mput")]:
        rows.append((name, f[f"{name} mput"], f[f"{name} mget"]))
    return table(*rows) + "\n\nWith the client's start and login; fewer files of the public pair."


def proxy(f):
    """Transfers through the proxy."""
    rows = [("Through the proxy", "MiB/s", "without it", "Ratio")]
    for flow in ("SNDFILE", "SDOWN"):
        by, direct = f[f"{flow} by proxy"], f[flow]
        rows.append((flow, by, direct, by / direct))
    return (
        table(*rows)
        + "\n\nMedians of 11. The keystream is on a cycle from its first byte, so that no\n"
        "transfer is slower for its session key."
    )


def files(f):
    """Many small files."""
    head = (f"{f['count']:,} files of {f['bytes'] // 1024} KiB", "Up, µs a file", "Down, µs a file")
    return (
        table(head, *pairs(f, lambda value, _: (value,)))
        + f"\n\ncp: {f['cp']:.1f} µs a file. The flows go over one connection, vsftpd's files over\n"
        "one control connection of curl's, and fewer of them."
    )


TREE_COLUMNS = ("tf", "of rsync", "tf -j 4", "of rsync", "rsync")


def trees(f):
    """Trees by tf and rsync."""
    return (
        beside_rsync(f)
        + "\n\ntf over TLS, rsync over ssh, with start and login. Changed: 1 % of the files, with\n"
        "new content and newer times."
    )


def far(f):
    """The same over a long way."""
    return (
        beside_rsync(f)
        + "\n\nThe same over 40 ms there and back, with 1 % of the packets lost each way. Large:\n"
        "one file of 16 MiB."
    )


def beside_rsync(f):
    """Seconds of tf beside those of rsync."""
    seconds = f["seconds"]
    rows = [(f"{f['count']:,} files of 1 KiB, seconds", *TREE_COLUMNS)]
    for what in [name.removesuffix(", rsync") for name in seconds if name.endswith(", rsync")]:
        base = seconds[f"{what}, rsync"]
        cells = []
        for program in ("tf", "tf -j 4"):
            value = seconds.get(f"{what}, {program}")
            cells += [value, value / base] if value else ["", ""]
        rows.append((what, *cells, base))
    return table(*rows)


def memory(f):
    """Idle sessions."""
    return f"An idle session of {f['sessions']}: {f['KiB']:.0f} KiB of private memory."


def scale(f):
    """How a server grows."""
    idle = {
        "sessions": "Idle sessions",
        "opened a second": "opened a second",
        "private KiB": "private KiB each",
        "KiB": "KiB in all each",
        "CPU ms a second": "CPU, ms a second",
        "p50": "p50, µs",
        "p99": "p99, µs",
        "ready": "to the first answer, µs",
    }
    active = {
        "clients": "Clients that ask",
        "rate": "requests a second",
        "p50": "p50, µs",
        "p99": "p99, µs",
        "CPU µs a request": "CPU of tfd, µs a request",
        "private KiB": "private KiB each",
    }
    accounts = {
        "accounts": "Accounts",
        "start": "start, s",
        "MiB": "memory of tfd, MiB",
        "ready": "login, µs",
        "changed": "login after a change of the users file, s",
        "changed, CPU s": "the same, CPU of tfd, s",
    }
    files = f["files"]
    starts = [("Start beneath so many files", "until it answers, s", "until all are read, s")]
    starts[0] += ("CPU, s", "memory of the sweeper, MiB")
    starts += [(what, *start.values()) for what, start in files["starts"].items()]
    return (
        f"{steps(f['idle'], idle)}\n\n"
        "Private: of the session's process. In all: what the machine has less, less the client's\n"
        "process: the kernel's part, and the sockets of both ends. CPU: all of tfd. The latencies\n"
        "are those of one further session. One run of each step.\n\n"
        f"{steps(f['active'], active)}\n\n"
        "Each asks for FSTAT, one request after the other, on the cores of the server.\n\n"
        f"{logins(f)}\n\n"
        f"{steps(f['accounts'], accounts)}\n\n"
        "All accounts have one system user. Start: until the first login is answered.\n\n"
        f"{table(*starts)}\n\n"
        f"{files['files']:,} empty files on ext4, {files['entries']:,} of them in one directory, whose\n"
        f"LS lists {files['listed']:,.0f} entries a second; its session has at most\n"
        f"{files['listing, MiB']:.0f} MiB.\n\n"
        f"{on_paper(f)}"
    )


def on_paper(f):
    """What so many users would take of so many machines, the scarcest first."""
    rows = paper.rows(f)
    head = ("On paper", "a unit costs, measured", "units", "takes", "there is", "share")
    shown = [
        (row.what, f"{number(row.cost)} {row.unit}", row.units, row.takes, row.there_is, row.share)
        for row in rows
    ]
    return (
        f"{table(head, *shown)}\n\n"
        f"{paper.USERS:,} users on {paper.MACHINES} machines as the one that measured: {f['cores']} cores,\n"
        f"{f['GiB']:.1f} GiB. A share above 1 is too much.\n"
        f"*{rows[0].what}* ends first, then *{rows[1].what}*."
    )


def logins(f):
    """What logins cost."""
    store = f["store"]
    login, idle = store["login"], store["idle"]
    return table(
        ("Logins and the store", "measured"),
        ("A login whose hash is cheap, CPU of tfd, µs", f["logins"]["cheap"]),
        ("A login whose hash is as tfd makes it, CPU of tfd, µs", f["logins"]["made"]),
        ("The cheap one with a store, CPU of tfd, µs", store["tfd"]),
        ("The same, questions to the store", login["questions"]),
        ("The same, CPU of the store, µs", login["µs"]),
        (
            f"An idle session of {store['sessions']:,}, CPU of the store, µs a second",
            idle["µs"],
        ),
        ("The same, questions a second", idle["questions"]),
    )


def steps(steps, columns):
    """A table of steps: what they count, and their other columns by their titles."""
    count, *others = columns
    rows = [[f"{step[count]:,}", *cells(step, others)] for step in steps]
    return table([*columns.values()], *rows)


def cells(step, names):
    """What a step has measured; nothing where it could not."""
    return ["" if step[name] is None else step[name] for name in names]


def vault(f):
    """Syncs of the vault, its idle sessions, and handshakes of its old dialects."""
    one, many = f["old handshakes, one"], f["old handshakes"]
    return table(
        ("The vault", "measured"),
        ("Sync of 1,000 entries after nothing has changed, µs", f["unchanged sync, µs"]),
        (f"First sync of {f['entries']:,} entries, ms", f["first sync, ms"]),
        ("The same: the most that its session has had, MiB", f["first sync, MiB"]),
        (f"A change is at {f['devices']} devices, ms", f["news, ms"]),
        (f"An idle session of {f['sessions']}, KiB of private memory", f["KiB"]),
        ("The same of TF over TLS", f["TF over TLS, KiB"]),
        ("The same of TF", f["TF, KiB"]),
        ("Handshakes in an old dialect, one client, per second", one),
        ("The same, of RSA-4096 signs of one core", one / f["signs, one core"]),
        ("Handshakes in an old dialect, 16 clients, per second", many),
        ("The same, of RSA-4096 signs of all cores", many / f["signs"]),
    )


def hub(f):
    """Backups to keepers, beside restic."""
    programs = ("tf", "tf, 2 copies", "restic")
    units = ("s", "CPU s", "MiB")
    head = [f"{program}: {unit}" for program in programs for unit in units]
    rows = [("Backups", *head)]
    shown = {
        "first, small": f"First, {f['files']:,} files of 1 KiB",
        "restore, small": "Their restore",
        "first, large": f"First, one file of {f['MiB']:,} MiB",
        "restore, large": "Its restore",
        "unchanged, many": f"Of {f['unchanged']:,} files that have not changed",
    }
    for what, told in shown.items():
        cells = [
            f["costs"].get(f"{what}, {program}: {unit}", "")
            for program in programs
            for unit in units
        ]
        rows.append((told, *cells))
    return (
        table(*rows)
        + "\n\nrestic over sftp. Stores, repositories and restored files are on disk. Processor\n"
        "time is that of both sides, memory that of the client.\n\n"
        f"A hub with one core for itself places {f['placed']:,.0f} files a second: an owner for each\n"
        "400 files, with 16 under way, as many keepers that store nothing, the database on disk."
    )


def instructions(f):
    """Instruction counts."""
    return table(("Instructions for each", "counted by callgrind"), *f.items())


PARTS = (
    *(connections, phases, requests, streams, transfers, bulk, small),
    *(proxy, files, trees, far, instructions, digests, memory, scale, vault, hub),
)


def markdown(entries):
    """All sections, each with the run that measured it."""
    figures = {name: entry["figures"] for name, entry in entries.items()}
    parts = [CHART]
    if held := targets.rows(figures):
        parts.append(table(("What is aimed at", "Measured", "Aim", "Reached"), *held))
    names = [part.__name__ for part in PARTS if part.__name__ in entries]
    runs = {}
    for name in names:
        runs.setdefault(entries[name]["run"], []).append(f"`{name}`")
    parts += [f"{run}\nSections: {', '.join(sections)}." for run, sections in runs.items()]
    parts += [f"### {name}\n\n{part_of(name, figures[name])}" for name in names]
    return "\n\n".join(parts)


def part_of(name, figures):
    """What was measured in a section."""
    return next(part for part in PARTS if part.__name__ == name)(figures)
