"""The public Python client against a tfd of its own.

usage: public_client.py PATH_TO_TFD

Every call of tfprotocol-client 1.2.2 that works in that client is made once
or more; each line of output is one check of a reply or of what is on disk.
The data is small: the client slows down with every byte it has moved.
"""

import hashlib
import io
import os
import pathlib
import pwd
import re
import signal
import stat
import subprocess
import sys
import tempfile
import threading
import time

from tfprotocol_client.models.exceptions import TfException
from tfprotocol_client.models.status_server_code import StatusServerCode
from tfprotocol_client.tfprotocol import TfProtocol

LIMIT_SECONDS = 240
HASH = "the hash of this test"
failures = []
passed = 0


def check(what, ok, seen=None):
    """Counts and prints one check."""
    global passed
    if ok:
        passed += 1
        print(f"ok      {what}")
    else:
        failures.append(what)
        print(f"FAILED  {what}: {seen!r}")


class Answers:
    """Collects what a command of the client tells its handler."""

    def __init__(self):
        self.all = []

    def __call__(self, *values):
        self.all.append(values)

    @property
    def last(self):
        return self.all[-1][-1]


def answer(command, *arguments):
    """The last status that a command gives."""
    answers = Answers()
    command(*arguments, answers)
    return answers.last


def expect_ok(what, command, *arguments):
    """Checks that a command is answered by OK."""
    status = answer(command, *arguments)
    check(what, status.status is StatusServerCode.OK, str(status))
    return status


def expect_code(what, code, command, *arguments):
    """Checks that a command is refused with a code."""
    status = answer(command, *arguments)
    ok = status.status is StatusServerCode.FAILED and status.code == code
    check(what, ok, (str(status.status), status.code, status.message))


def start_server(tfd, scratch):
    """Starts tfd and returns the process, its port and the public key."""
    root = scratch / "root"
    root.mkdir()
    as_root = os.geteuid() == 0
    if as_root:
        nobody = pwd.getpwnam("nobody")
        os.chown(root, nobody.pw_uid, nobody.pw_gid)
    subprocess.run([tfd, "keygen", "--out", str(scratch / "keys")], check=True,
                   stdout=subprocess.DEVNULL, timeout=60)
    user = 'user = "nobody"' if as_root else ""
    (scratch / "tfd.toml").write_text(f"""
[server]
{user}
root = "{root}"
[tf]
listen = ["127.0.0.1:0"]
version = "0.0"
hash = "{HASH}"
private_key = "keys/private.pem"
""")
    server = subprocess.Popen([tfd, "serve", "--config", str(scratch / "tfd.toml")],
                              stderr=subprocess.PIPE, text=True)
    port = None
    for line in server.stderr:
        found = re.search(r"listening address=127\.0\.0\.1:(\d+)", line)
        port = int(found.group(1)) if found else port
        if "ready root=" in line:
            break
    drain = threading.Thread(target=server.stderr.read, daemon=True)
    drain.start()
    if port is None:
        raise SystemExit("tfd did not start")
    return server, root, port, (scratch / "keys" / "public.pem").read_text()


def client(port, key, hash_=HASH, version="0.0"):
    """A connected client."""
    tf = TfProtocol(version, key, hash_, "127.0.0.1", port)
    tf.connect()
    return tf


def check_handshake(port, key):
    """Refusals of version and hash; keys of every length the client makes."""
    for what, arguments in (("a wrong hash is refused", {"hash_": "wrong"}),
                            ("a wrong version is refused", {"version": "9.9"})):
        try:
            client(port, key, **arguments)
            check(what, False, "connected")
        except TfException:
            check(what, True)
    for length in (16, 24, 40):
        tf = TfProtocol("0.0", key, HASH, "127.0.0.1", port, keylen=length)
        tf.connect()
        answers = Answers()
        tf.echo_command("hello", answers)
        check(f"a session key of {length} bytes", "hello" in str(answers.last), answers.last)
        tf.end_command()


def check_entries(tf, root):
    """Commands on files and directories."""
    expect_ok("MKDIR", tf.mkdir_command, "d")
    expect_code("MKDIR of what exists", 4, tf.mkdir_command, "d")
    check("the directory is there", (root / "d").is_dir())
    if os.geteuid() == 0:
        owner = pwd.getpwuid((root / "d").stat().st_uid).pw_name
        check("it belongs to the server's user", owner == "nobody", owner)
    expect_ok("TOUCH", tf.touch_command, "d/f")
    expect_code("TOUCH of what exists", 12, tf.touch_command, "d/f")
    expect_ok("COPY", tf.copy_command, "d/f", "d/g")
    expect_code("COPY to what exists", 12, tf.copy_command, "d/f", "d/g")
    different = (root / "d/f").stat().st_ino != (root / "d/g").stat().st_ino
    check("the copy is a file of its own", different)
    expect_ok("RENAM", tf.renam_command, "d/g", "d/h")
    expect_ok("DEL", tf.del_command, "d/h")
    expect_code("DEL of what is missing", 9, tf.del_command, "d/h")
    expect_ok("CHMOD", tf.chmod_command, "d/f", "640")
    mode = stat.S_IMODE((root / "d/f").stat().st_mode)
    check("the mode is set", mode == 0o640, oct(mode))
    expect_code("CHOWN to nobody there is", 42, tf.chown_command, "d/f", "no-such-user", "x")
    expect_ok("FUPD", tf.fupd_command, "d/f")
    answers = Answers()
    tf.fstat_command("d/f", answers)
    file_stat, status = answers.all[-1]
    check("FSTAT", status.status is StatusServerCode.OK and file_stat.size == 0, str(file_stat))
    expect_ok("CPDIR", tf.cpdir_command, "d", "e")
    check("the tree is there", (root / "e/f").is_file())
    (root / "src").write_text("x")
    expect_ok("XCOPY", tf.xcopy_command, "new", "src", "e")
    check("XCOPY copied", (root / "e/new").read_text() == "x")
    expect_ok("XCPDIR", tf.xcpdir_command, "tree", "d", "e")
    check("XCPDIR copied", (root / "e/tree/f").is_file())
    expect_ok("XDEL", tf.xdel_command, "e", "f")
    gone = not (root / "e/f").exists() and not (root / "e/tree/f").exists()
    check("XDEL deleted", gone)
    expect_ok("XRMDIR", tf.xrmdir_command, "e", "tree")
    check("XRMDIR removed", not (root / "e/tree").exists())
    expect_ok("RMDIR", tf.rmdir_command, "e")
    expect_ok("RMDIR of what is missing", tf.rmdir_command, "e")
    expect_ok("MKDIR of a secure directory", tf.mkdir_command, "s.sd")
    expect_ok("TOUCH of its token", tf.touch_command, "s.sd/token")
    expect_code("RMSECDIR with a wrong token", 47, tf.rmsd_command, "wrong", "s.sd")
    expect_ok("RMSECDIR", tf.rmsd_command, "token", "s.sd")
    expect_ok("LOCK", tf.lock_command, "LCK")
    expect_ok("TOUCH of the lock", tf.touch_command, "d/LCK")
    expect_code("MKDIR in a locked directory", 30, tf.mkdir_command, "d/x")
    expect_ok("DEL of the lock", tf.del_command, "d/LCK")
    expect_ok("LOCK off", tf.lock_command, "")


def check_clock(tf):
    """Dates and what the server tells of itself."""
    answers = Answers()
    tf.date_command(answers)
    check("DATE", abs(answers.all[-1][0] - time.time()) < 10, answers.all[-1][0])
    for name in ("udate_command", "ndate_command"):
        status = answer(getattr(tf, name))
        check(name, re.fullmatch(r"\d+\.(\d{6}|\d{9})", status.message), status.message)
    tf.datef_command(answers)
    check("DATEF", answers.last.status is StatusServerCode.OK)
    tf.dtof_command(1600000000, answers)
    check("DTOF", str(answers.all[-1][0]) == "2020-09-13 12:26:40", answers.all[-1][0])
    tf.ftod_command("2020-09-13 12:26:40", answers)
    check("FTOD", answers.last.message == "1600000000", answers.last.message)
    tf.dtof_command(time.time(), answers)
    check("DTOF of this client's own time", answers.last.status is StatusServerCode.OK,
          str(answers.last))
    tf.ftod_command("1999-12-10 12:12:0", answers)
    check("FTOD with fields of one digit", answers.last.message == "944827920",
          answers.last.message)
    check("FREESP", int(answer(tf.freesp_command).message) > 0)
    key = answer(tf.prockey_command)
    check("PROCKEY", key.status is StatusServerCode.OK and len(key.message) >= 22, key.message)
    check("TLB without a pool", answer(tf.tlb_command).code == 52)
    expect_code("LOGIN in single-user mode", 39, tf.login_command, "a", "b")
    expect_code("INJAIL without jails", 51, tf.injail_command, "token", "d")


def check_streams(tf, root):
    """Files and listings in messages. This client reads every message as
    text, so the file is one."""
    content = "".join(f"line {n}\n" for n in range(800)).encode()
    answers = Answers()
    tf.sndfile_command(False, "sent", io.BytesIO(content), answers)
    check("SNDFILE", (root / "sent").read_bytes() == content)
    tf.sndfile_command(False, "sent", io.BytesIO(b""), answers)
    check("SNDFILE does not overwrite unasked", (root / "sent").read_bytes() == content)
    received = []
    tf.rcvfile_command(False, "sent", None,
                       lambda _d, _p, status, _s: received.append(status))
    data = b"".join(s.payload for s in received if s.status is StatusServerCode.CONT)
    check("RCVFILE", data == content, len(data))
    received.clear()
    tf.sndfile_command(False, "once", io.BytesIO(b"Some random text"), answers)
    tf.rcvfile_command(True, "once", None,
                       lambda _d, _p, status, _s: received.append(status))
    check("RCVFILE that deletes", received[-1].status is StatusServerCode.OK
          and not (root / "once").exists(), str(received[-1]))
    for command, what in ((tf.ls_command, "LS"), (tf.lsr_command, "LSR")):
        answers = Answers()
        command("", answers)
        text = b"".join(a[-1].payload for a in answers.all
                        if a[-1].status is StatusServerCode.CONT)
        check(what, b"F: sent\n" in text and b"D: d/\n" in text, text)
    status = answer(tf.sha256_command, "sent")
    digest = subprocess.run(["sha256sum", root / "sent"], check=True, capture_output=True,
                            text=True, timeout=60).stdout.split()[0]
    check("SHA256", status.message == f"0x{digest}", status.message)


def check_trees(tf, root):
    """Listings of a tree, after each command that makes or removes some of it.
    The order of names is the file system's; content follows its directory."""
    def listed(what, expected):
        answers = Answers()
        tf.lsr_command("/tree", answers)
        text = b"".join(a[-1].payload for a in answers.all
                        if a[-1].status is StatusServerCode.CONT).decode()
        lines = text.splitlines()
        ok = sorted(lines) == sorted(expected) and follows_at_once(lines)
        check(what, ok and answers.last.status is StatusServerCode.OK, text)

    expect_ok("RMDIR of no tree", tf.rmdir_command, "tree")
    for path in ("tree", "tree/a", "tree/b", "tree/b/in", "tree/c"):
        expect_ok(f"MKDIR {path}", tf.mkdir_command, path)
    expect_ok("TOUCH in the tree", tf.touch_command, "tree/b/f.java")
    listed("LSR of a tree", ["D: a/", "D: b/", "F: b/f.java", "D: b/in/", "D: c/"])
    expect_ok("RMDIR in the tree", tf.rmdir_command, "/tree/a")
    expect_ok("RENAM of a directory", tf.renam_command, "/tree/c", "/tree/new")
    listed("LSR after RENAM", ["D: b/", "F: b/f.java", "D: b/in/", "D: new/"])
    expect_ok("CPDIR in the tree", tf.cpdir_command, "/tree/b", "/tree/new/copy")
    expect_ok("XCPDIR by a pattern", tf.xcpdir_command, "x", "/tree/b/in", "new")
    expect_ok("XCOPY by a pattern", tf.xcopy_command, "g.java", "tree/b/f.java", "/in")
    expect_ok("XDEL in the tree", tf.xdel_command, "/tree", "f.java")
    listed("LSR after copies and XDEL",
           ["D: b/", "D: b/in/", "F: b/in/g.java", "D: new/", "D: new/x/", "D: new/copy/",
            "D: new/copy/in/", "F: new/copy/in/g.java"])
    expect_ok("XRMDIR in the tree", tf.xrmdir_command, "/tree", "b")
    listed("LSR after XRMDIR", ["D: new/", "D: new/x/", "D: new/copy/", "D: new/copy/in/",
                                "F: new/copy/in/g.java"])
    digest = expect_ok("SHA256 of an empty file", tf.sha256_command,
                       "/tree/new/copy/in/g.java").message
    check("its digest", digest == f"0x{hashlib.sha256().hexdigest()}", digest)
    check("nothing else is on disk", sorted(entry.name for entry in (root / "tree").iterdir())
          == ["new"])


def follows_at_once(lines):
    """Whether the content of each directory stands right behind it."""
    paths = [line[3:] for line in lines]
    for at, path in enumerate(paths):
        inside = [p.startswith(path) for p in paths]
        if path.endswith("/") and not all(inside[at:at + sum(inside)]):
            return False
    return True


def check_later(tf, root):
    """Commands of version 2.5 that this client has."""
    for name in ("lsrv2_command", "lsv2_command"):
        expect_ok(name, getattr(tf, name), "/tree", f"/tree/{name}.txt")
    lines = (root / "tree/lsv2_command.txt").read_text().splitlines()
    check("LSV2 lists its own file", sorted(lines)
          == ["tree/lsrv2_command.txt", "tree/lsv2_command.txt", "tree/new/"], lines)
    sizes = {"F": [(root / line).stat().st_size for line in lines if not line.endswith("/")]}
    answers = Answers()
    tf.fsizels_command("/tree/lsv2_command.txt", answers)
    codes = [a[-1].code for a in answers.all]
    check("FSIZELS of the list", sorted(codes) == sorted([*sizes["F"], -2, -3]), codes)
    stats = Answers()
    tf.fstatls_command("/tree/lsv2_command.txt", stats)
    seen = [(a[-1].type, a[-1].size) for a in stats.all[:-1]]
    expected = [(0 if line.endswith("/") else 3, (root / line).stat().st_size) for line in lines]
    check("FSTATLS of the list", seen == expected, seen)
    types = Answers()
    tf.ftypels_command("/tree/lsv2_command.txt", types)
    codes = [a[-1].code for a in types.all]
    check("FTYPELS of the list", codes == [kind for kind, _ in expected] + [-2], codes)
    (root / "int").write_bytes(b"Some random text")
    (root / "int").chmod(0o666)
    sink = io.BytesIO()
    status = answer(tf.intread_command, "missing", sink)
    check("INTREAD of what is missing", status.code == -1 and sink.getvalue() == b"",
          str(status))
    status = answer(tf.intread_command, "int", sink)
    check("INTREAD", status.code == 16 and sink.getvalue() == b"Some random text", str(status))
    status = answer(tf.intwrite_command, "int", io.BytesIO(b"Some other text"), status.message)
    check("INTWRITE", status.code == 0 and (root / "int").read_bytes() == b"Some other text",
          str(status))
    for name in ("one.lock", "two.lock", "mut"):
        expect_ok(f"TOUCH {name}", tf.touch_command, name)
    held = expect_ok("NETLOCK", tf.netlock_command, 60, "/one.lock").message
    expect_ok("NETLOCK_TRY", tf.netlocktry_command, 60, "/two.lock")
    expect_ok("NETUNLOCK", tf.netunlock_command, held)
    expect_ok("NETMUTACQ_TRY", tf.netmutacqtry_command, "/mut", "token")
    expect_ok("NETMUTREL", tf.netmutrel_command, "/mut", "token")
    status = answer(tf.locksys_command, "secid")
    check("LOCKSYS is unknown", status.status is StatusServerCode.UNKNOWN, str(status))
    check("the session goes on", "OK" in str(answer(tf.prockey_command).status))


def check_end(port, key):
    """After END this client knows that it is gone, and connects again."""
    tf = client(port, key)
    tf.end_command()
    try:
        tf.echo_command("hello", Answers())
        check("no answer after END", False)
    except TfException:
        check("no answer after END", True)
    tf.connect()
    answers = Answers()
    tf.echo_command("hello", answers)
    check("ECHO after connecting again", "hello" in str(answers.last), answers.last)
    tf.end_command()


def check_speed(port, key):
    """This client writes header and body apart, with Nagle's algorithm."""
    tf = client(port, key)
    times = []
    for _ in range(41):
        begin = time.monotonic()
        tf.prockey_command(Answers())
        times.append(time.monotonic() - begin)
    median = sorted(times)[len(times) // 2]
    check("no command waits for a delayed acknowledgement", median < 0.02, median)
    tf.end_command()


def check_frames(port, key, root):
    """PUT, GET, PUTCAN, GETCAN, SDOWN, SUP, FSIZE and FSIZELS, each on a
    connection of its own: the client may leave a stray message behind."""
    content = bytes(range(256)) * 16

    tf = client(port, key)
    tf.put_command(io.BytesIO(content), "put", 0, 1024)
    wait_for(lambda: (root / "put").exists() and (root / "put").read_bytes() == content)
    check("PUT", (root / "put").read_bytes() == content)

    tf = client(port, key)
    sink = io.BytesIO()
    tf.get_command(sink, "put", 0, 1024)
    wait_for(lambda: sink.getvalue() == content)
    check("GET", sink.getvalue() == content, len(sink.getvalue()))

    tf = client(port, key)
    tf.putcan_command(io.BytesIO(content), "putcan", 0, 1024, 2)
    check("the session goes on after PUTCAN", "OK" in str(answer(tf.prockey_command).status))
    check("PUTCAN", (root / "putcan").read_bytes() == content)

    sink = io.BytesIO()
    tf.getcan_command(sink, "putcan", 0, 1024, 2)
    check("GETCAN", sink.getvalue() == content, len(sink.getvalue()))
    check("the session goes on after GETCAN", "OK" in str(answer(tf.prockey_command).status))

    check("SUP", tf.sup_command("sup", io.BytesIO(content), 20))
    check("SUP stored", (root / "sup").read_bytes() == content)
    sink = io.BytesIO()
    check("SDOWN", tf.sdown_command("sup", sink, 20) and sink.getvalue() == content)
    check("SUP by parts", tf.sup_command("sup2", io.BytesIO(b"Some random text"), 5))
    sink = io.BytesIO()
    check("SDOWN by parts", tf.sdown_command("sup2", sink, 5)
          and sink.getvalue() == b"Some random text")
    check("SDOWN of what is missing", not tf.sdown_command("missing", io.BytesIO(), 20))
    status = answer(tf.fsize_command, "sup")
    check("FSIZE", status.code == len(content), status.code)
    (root / "list").write_text("sup\nmissing\n")
    answers = Answers()
    tf.fsizels_command("list", answers)
    codes = [a[-1].code for a in answers.all]
    check("FSIZELS", codes == [len(content), -1, -3], codes)
    tf.end_command()


def check_new_key(port, key):
    """NIGMA: this client starts its seed anew, and is followed."""
    tf = client(port, key)
    for length in (8, 32, 256):
        answers = Answers()
        tf.nigma_command(length, answers)
        check(f"NIGMA {length}", answers.last.status is StatusServerCode.OK)
        status = answer(tf.prockey_command)
        check(f"the session goes on after NIGMA {length}",
              status.status is StatusServerCode.OK, str(status))
    tf.end_command()


class Enough(Exception):
    """Ends this client's loop for notifications, which has no end of its own."""


def check_notifications(port, key, root):
    """ADDNTFY and STARTNTFY, with both answers this client knows."""
    tf = client(port, key)
    expect_ok("MKDIR of an inbox", tf.mkdir_command, "inbox")
    (root / "inbox/msg-1").write_text("x")
    (root / "inbox/other").write_text("x")
    expect_ok("ADDNTFY", tf.addntfy_command, "msg-", "inbox")
    expect_ok("ADDNTFY of the root", tf.addntfy_command, "never-", "")
    expect_code("ADDNTFY of a file", 5, tf.addntfy_command, "msg-", "inbox/msg-1")
    expect_code("ADDNTFY of what is outside", 1, tf.addntfy_command, "msg-", "../inbox")
    told = []

    def on_notification(status, send_ok, send_del):
        told.append(status.message)
        if len(told) == 1:
            send_ok()
        elif len(told) == 2:
            send_del()
            wait_for(lambda: not (root / "inbox/msg-1").exists())
            (root / "inbox/msg-2").write_text("x")
        else:
            raise Enough

    try:
        tf.startnfy_command(0.05, on_notification)
    except Enough:
        pass
    check("STARTNTFY", told == ["0 msg-1", "0 msg-1", "0 msg-2"], told)
    names = sorted(entry.name for entry in (root / "inbox").iterdir())
    check("DEL deletes the file told", names == ["msg-2", "other"], names)


def wait_for(condition):
    """Waits a bounded time for what another thread of the client does."""
    end = time.monotonic() + 60
    while not condition() and time.monotonic() < end:
        time.sleep(0.02)


def main():
    """Runs all checks; exit status 1 when one failed."""
    signal.alarm(LIMIT_SECONDS)
    with tempfile.TemporaryDirectory() as name:
        scratch = pathlib.Path(name)
        scratch.chmod(0o755)
        server, root, port, key = start_server(sys.argv[1], scratch)
        try:
            check_handshake(port, key)
            tf = client(port, key)
            check_entries(tf, root)
            check_clock(tf)
            check_streams(tf, root)
            check_trees(tf, root)
            check_later(tf, root)
            tf.end_command()
            check_end(port, key)
            check_speed(port, key)
            check_frames(port, key, root)
            check_new_key(port, key)
            check_notifications(port, key, root)
        finally:
            server.send_signal(signal.SIGTERM)
            status = server.wait(timeout=60)
        check("tfd ends with status 0", status == 0, status)
    print(f"{passed} passed, {len(failures)} failed")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
