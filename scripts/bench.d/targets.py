"""What is aimed at, as ratios within one run."""

# Flows that send, each with the one that brings back.
FLOWS = (
    ("PUT", "GET"),
    ("PUTCAN", "GETCAN"),
    ("SNDFILE", "RCVFILE"),
    ("SUP", "SDOWN"),
    ("tf put", "tf get"),
)


def aims(f):
    """(what, measured, aim, whether more is better) of the sections there are."""
    if streams := f.get("streams"):
        base = streams["recurrence"]
        yield "Generator alone, of the bare recurrence", streams["generator"] / base, 0.95, True
        for flow in ("PUT", "GET"):
            first, cycle = streams[f"first {flow}"], streams[f"cycle {flow}"]
            yield f"{flow} at the beginning, of the bare recurrence", first / base, 0.85, True
            alone = streams[f"in place {flow}"] / base
            yield f"{flow}, server alone, existing memory, of the same", alone, 0.85, True
            yield f"{flow} on a cycle, of the beginning", cycle / first, 4, True
        for part, shown in (("first", "at the beginning"), ("cycle", "on a cycle")):
            for message, raw in (("SNDFILE", "PUT"), ("RCVFILE", "GET")):
                ratio = streams[f"{part} {message}"] / streams[f"{part} {raw}"]
                yield f"{message} of {raw}, {shown}", ratio, 0.7, True
    if transfers := f.get("transfers"):
        for flow, way in (("PUT", "up"), ("GET", "down")):
            if ours := transfers.get(f"TLS {flow}"):
                for peer, aim in (("sftp", 3), ("vsftpd with TLS", 1.2)):
                    ratio = ours / transfers[f"{peer} {way}"]
                    yield f"{flow} over TLS, of {peer}", ratio, aim, True
        for way, flow in (("put", "PUT"), ("get", "GET")):
            if ours := transfers.get(f"TLS tf {way}"):
                yield f"tf {way} over TLS, of {flow}", ours / transfers[f"TLS {flow}"], 0.6, True
    for place in ("trees", "far"):
        if trees := f.get(place):
            yield from tree_aims(place, trees["seconds"])
    if bulk := f.get("bulk"):
        yield from bulk_aims(bulk)
    if small := f.get("small"):
        for word in ("mput", "mget"):
            yield f"bbftp {word}, µs a file", small[f"tfd {word}"], 200, False
    if connections := f.get("connections"):
        signs = connections["signs"]
        single = connections["single-user"]
        yield "Sessions, 16 clients, single-user, of RSA signs", single / signs, 0.6, True
        multi = connections["multi-user"]
        yield "Sessions, 16 clients, up to LOGIN, of RSA signs", multi / signs, 0.5, True
        if resumed := connections.get("TLS, resumed"):
            yield "Sessions, 16 clients, TLS resumed, of single-user", resumed / single, 1.5, True
    if requests := f.get("requests"):
        trips = requests["round trips"]
        ratio = trips["apart"] / trips["tcp-apart"]
        yield "ECHO with Nagle, header and body apart, of a bare echo", ratio, 0.5, True
    if files := f.get("files"):
        for flow in ("SNDFILE", "RCVFILE"):
            yield f"Small file by {flow}, µs", files[f"plain {flow}"], 150, False
    if vault := f.get("vault"):
        yield "Vault, sync after nothing has changed, µs", vault["unchanged sync, µs"], 2000, False
        yield "Vault, first sync of 10,000 entries, ms", vault["first sync, ms"], 1000, False
        yield "The same, MiB of its session", vault["first sync, MiB"], 50, False
        yield "Vault, a change at 100 devices, ms", vault["news, ms"], 50, False
        ratio = vault["KiB"] / vault["TF over TLS, KiB"]
        yield "Vault, memory of an idle session, of TF's over TLS", ratio, 1, False
    if hub := f.get("hub"):
        yield from hub_aims(hub["costs"])
        yield "Hub: files placed a second on one core", hub["placed"], 2000, True
    if proxy := f.get("proxy"):
        for flow in ("SNDFILE", "SDOWN"):
            ratio = proxy[f"{flow} by proxy"] / proxy[flow]
            yield f"{flow} through the proxy, of direct", ratio, 0.9, True
    if digests := f.get("digests"):
        yield "SHA256, of openssl speed", digests["SHA256"] / digests["openssl"], 0.9, True


def tree_aims(place, seconds):
    """Those of trees: parts of rsync's seconds."""
    for name in [name for name in seconds if not name.endswith(", rsync")]:
        what, _, program = name.partition(", ")
        aim = 1
        if place == "trees":
            aim = {"tf -j 4": 0.7}.get(program, 0.6 if what.startswith("unchanged") else 1)
        shown = what if program == "tf" else f"{what} by {program}"
        ratio = seconds[name] / seconds[f"{what}, rsync"]
        yield f"{place}: {shown}, of rsync", ratio, aim, False


def bulk_aims(f):
    """Those of BBFTP."""
    for streams in (1, 4):
        for way, word in (("up", "put"), ("down", "get")):
            ours = f[f"{streams} streams {way}"]
            what = f"bbftp {word}, {streams} streams"
            yield f"{what}, of a loop of sendfile", ours / f["sendfile"], 0.9, True
            if theirs := f.get(f"public pair, {streams} streams {way}"):
                yield f"{what}, of the public pair", ours / theirs, 1, True
    for way, word in (("up", "put"), ("down", "get")):
        ratio = f[f"4 streams, TLS {way}"] / f[f"sftp {way}"]
        yield f"bbftp {word} over TLS, 4 streams, of sftp", ratio, 2, True
    ratio = f["long way, 8 streams"] / f["long way, 1 streams"]
    yield "bbftp put over a long way, 8 streams of 1", ratio, 3, True


def hub_aims(costs):
    """Those of backups: parts of what restic takes."""
    for unit in ("s", "CPU s"):
        for size in ("small", "large"):
            for what, program, aim in (
                ("first", "tf", 1),
                ("first", "tf, 2 copies", 1.3),
                ("restore", "tf", 1),
            ):
                base = costs[f"{what}, {size}, restic: {unit}"]
                ratio = costs[f"{what}, {size}, {program}: {unit}"] / base
                yield f"Backup: {what}, {size}, by {program}, {unit} of restic", ratio, aim, False
        base = costs[f"unchanged, many, restic: {unit}"]
        ratio = costs[f"unchanged, many, tf: {unit}"] / base
        yield f"Backup: unchanged, {unit} of restic", ratio, 0.8, False
    for what in ("first, small", "first, large", "unchanged, many", "restore, large"):
        ratio = costs[f"{what}, tf: MiB"] / costs[f"{what}, restic: MiB"]
        yield f"Backup: {what}, memory of restic", ratio, 1, False


def rows(figures):
    """The rows of the table."""
    for what, measured, aim, more in aims(figures):
        reached = measured >= aim if more else measured <= aim
        bound = f"{'at least' if more else 'at most'} {aim:g}"
        yield what, measured, bound, "yes" if reached else "no"
