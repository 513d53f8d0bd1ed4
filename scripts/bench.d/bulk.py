"""BBFTP: a large file in parallel streams, many small ones, and a long way with
losses; beside a plain loop of sendfile, sftp, and the public pair where it is
installed (the variables TFD_BENCH_BBFTP_*)."""

import contextlib
import multiprocessing
import os
import socket
import threading
import time

from files import BYTES, empty
from measure import BIN, medians, note, run
from peers import Sftp
from servers import free_port
from transfers import beyond
from way import FAR, long_way

# The public programs, and USER:PASSWORD of an account of this machine.
CLIENT = os.environ.get("TFD_BENCH_BBFTP_CLIENT")
SERVER = os.environ.get("TFD_BENCH_BBFTP_SERVER")
LOGIN = os.environ.get("TFD_BENCH_BBFTP_LOGIN", ":")

# The public pair waits three times for 44 ms with each file: so many tell enough.
PUBLIC_FILES = 20

# The long way: seconds there and back, and the part of the packets that is lost.
ROUND_TRIP = 0.04
LOSS = 0.001


class Pair:
    """A client and a server, and where the server's files lie."""

    def __init__(self, store, port, words, *, login="bench:bench", client=None, prefix=()):
        self.store, self.prefix = store, prefix
        # The public server shows the whole file system.
        self.root = store if client else ""
        user, self.password = login.split(":", 1)
        self.command = [client or BIN / "bbftp", "-R", "none", "-u", user, "-w", port, *words]
        self.host = "127.0.0.1"

    def run(self, commands, *words):
        """What it prints of these commands."""
        # Without a terminal the password is a line of standard input.
        return run(
            *["setsid", "-w", *self.prefix, *self.command, *words, "-e", commands, self.host],
            text=f"{self.password}\n",
            seconds=1200,
        )

    def clocked(self, commands, streams):
        """The seconds that it tells of a transfer: from the start of its streams
        to the server's last word."""
        for line in self.run(commands, "-m", "-p", streams).splitlines():
            words = line.removeprefix("Password: ").split()
            if words and words[0] in ("put", "get") and words[1].isdigit():
                return float(words[2])
        raise SystemExit(f"no time was told of {commands}")

    def many(self, commands, count):
        """Microseconds a file, with the start of the program and the login."""
        begin = time.monotonic()
        self.run(commands)
        return (time.monotonic() - begin) * 1e6 / count


def tfd(bench, name, listen, server=""):
    """The store of a tfd for BBFTP with an account, and the command to start it."""
    store = bench.scratch / name
    store.mkdir()
    store.chmod(0o1777)
    users = bench.scratch / f"{name}-users"
    users.write_text(run(bench.program, "account"))
    users.chmod(0o600)
    configuration = bench.scratch / f"{name}.toml"
    configuration.write_text(f"""[server]
user = "nobody"
log = "warn"
control = ""
root = "{store}"
mode = "multi-user"
users = "{users}"
{server}

[bbftp]
{listen}
password_logins = "rsa"
""")
    return store, [BIN / "tfd", "serve", "--config", configuration]


def ours(bench):
    """Our own two, in plain and over TLS."""
    plain, tls = free_port(), free_port()
    listen = f'listen = ["127.0.0.1:{plain}"]\ntls_listen = ["127.0.0.1:{tls}"]'
    server = 'tls_certificate = "tls.pem"\ntls_key = "tls-key.pem"'
    store, words = tfd(bench, "bbftp", listen, server)
    bench.servers.start(plain, *words)
    pin = ["--tls-pin", bench.servers.pin]
    return Pair(store, plain, []), Pair(store, tls, pin)


def public(bench):
    """The public pair, if it is installed. Its server takes over connections of
    inetd, which this is, so that it listens where it is told."""
    if not (CLIENT and SERVER):
        note("no public pair: TFD_BENCH_BBFTP_CLIENT and TFD_BENCH_BBFTP_SERVER name none")
        return None
    store = bench.scratch / "bbftp-public"
    store.mkdir()
    store.chmod(0o777)
    listener = socket.create_server(("127.0.0.1", 0))

    def serve():
        while True:
            connection, _ = listener.accept()
            with connection:
                multiprocessing.Process(target=become, args=(connection,), daemon=True).start()

    def become(connection):
        os.dup2(connection.fileno(), 0)
        os.execv(SERVER, [SERVER, "-R", "none"])

    threading.Thread(target=serve, daemon=True).start()
    port = listener.getsockname()[1]
    return Pair(store, port, [], login=LOGIN, client=CLIENT)


def sendfile_loop(source, target):
    """The seconds of a file by one sendfile and one loop of recv and write, two
    processes: what the machine can do."""
    listener = socket.create_server(("127.0.0.1", 0))
    address = listener.getsockname()

    def send():
        with socket.create_connection(address) as link, open(source, "rb") as file:
            size, at = os.fstat(file.fileno()).st_size, 0
            while at < size:
                at += os.sendfile(link.fileno(), file.fileno(), at, size - at)

    sender = multiprocessing.Process(target=send)
    sender.start()
    link, _ = listener.accept()
    begin = time.monotonic()
    buffer = memoryview(bytearray(1 << 20))
    with link, open(target, "wb", buffering=0) as file:
        while count := link.recv_into(buffer):
            file.write(buffer[:count])
    seconds = time.monotonic() - begin
    sender.join()
    listener.close()
    return seconds


def large(bench, pair, name, file, back, streams):
    """The measures of a large file there and back."""
    bench.link(file, pair.store / "file")

    def put():
        (pair.store / "up").unlink(missing_ok=True)
        return pair.clocked(f"put {file} {pair.root}/up", streams)

    def get():
        (pair.store / "up").unlink(missing_ok=True)
        return pair.clocked(f"get {pair.root}/file {bench.fresh(back)}", streams)

    return {f"{name} up": lambda: bench.rate(put), f"{name} down": lambda: bench.rate(get)}


def many(bench, pair, name, count):
    """The measures of many small files there and back."""
    tree = pair.store / "many"
    tree.mkdir()
    for number in range(count):
        (tree / f"file-{number:04}").write_bytes(os.urandom(BYTES))
    back = bench.scratch / "many-back"

    def up():
        empty(pair.store / "many-up")
        return pair.many(f"mput {tree}/file-* {pair.root}/many-up", count)

    def down():
        return pair.many(f"mget {pair.root}/many/file-* {empty(back)}", count)

    return {f"{name} mput": up, f"{name} mget": down}


def over_long_way(bench):
    """MiB per second of a file over a long way, by streams."""
    mib = bench.scaled(64, 8)
    note(f"BBFTP over {ROUND_TRIP * 1000:.0f} ms and {LOSS:.1%} of losses, {mib} MiB")
    source = bench.file(mib, "long")
    with long_way(ROUND_TRIP, LOSS) as (near, far), bench.servers.for_a_while():
        port = 5021
        store, words = tfd(bench, "bbftp-far", f'listen = ["{FAR}:{port}"]')
        bench.servers.begin(*far, *words)
        pair = Pair(store, port, [], prefix=near)
        pair.host = FAR
        wait_at(near, FAR, port)

        def put(streams):
            (store / "up").unlink(missing_ok=True)
            return mib / pair.clocked(f"put {source} up", streams)

        measures = {
            f"long way, {streams} streams": lambda streams=streams: put(streams)
            for streams in (1, 8)
        }
        return medians(bench.rounds, measures)


def wait_at(prefix, host, port):
    """Waits until a port can be reached from a namespace."""
    for _ in range(200):
        with contextlib.suppress(SystemExit):
            run(*prefix, "bash", "-c", f"exec 3<>/dev/tcp/{host}/{port}", seconds=5)
            return
        time.sleep(0.1)
    raise SystemExit(f"nothing listens on {host}:{port}")


def measure(bench):
    """MiB per second of large files."""
    note(f"BBFTP: {bench.size} MiB")
    file, back = bench.file(), bench.scratch / "back"
    plain, tls = ours(bench)
    theirs = public(bench)
    sftp = Sftp(bench.servers)
    bench.link(file, bench.scratch / "sftp/file")
    nothing = bench.file(0, "empty")
    bench.link(nothing, bench.scratch / "sftp/empty")
    target, up = bench.scratch / "loop", bench.scratch / "sftp/up"
    measures = {"sendfile": lambda: bench.rate(lambda: sendfile_loop(file, target))}
    for streams in (1, 4):
        measures |= large(bench, plain, f"{streams} streams", file, back, streams)
        if theirs:
            name = f"public pair, {streams} streams"
            measures |= large(bench, theirs, name, file, back, streams)
    measures |= large(bench, tls, "4 streams, TLS", file, back, 4)
    measures["sftp up"] = lambda: bench.rate(
        lambda: beyond(lambda source: sftp.put(source, bench.fresh(up).name), file, nothing)
    )
    measures["sftp down"] = lambda: bench.rate(
        lambda: beyond(lambda source: sftp.get(source, bench.fresh(back)), "file", "empty")
    )
    for warm in ("sendfile", "1 streams up"):
        measures[warm]()
    figures = medians(bench.rounds, measures)
    target.unlink()
    return {"size": bench.size, **figures, **over_long_way(bench)}


def small(bench):
    """Microseconds a file of small ones."""
    count = bench.scaled(2000, 100)
    note(f"BBFTP: {count} files of {BYTES} bytes")
    plain, _ = ours(bench)
    measures = many(bench, plain, "tfd", count)
    if theirs := public(bench):
        measures |= many(bench, theirs, "public pair", PUBLIC_FILES)
    return {"count": count, "bytes": BYTES, **medians(bench.rounds, measures)}
