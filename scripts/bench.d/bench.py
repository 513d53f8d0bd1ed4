"""One run: its sizes, its servers, its files, and the load program."""

import filecmp
import os
import time

from measure import executable, run

FULL_MIB = 1024
QUICK_MIB = 48


class Bench:
    """What a section needs. `scratch` is a file system in memory."""

    def __init__(self, servers, quick):
        self.scratch, self.servers, self.quick = servers.scratch, servers, quick
        self.rounds = 1 if quick else 5
        self.size = QUICK_MIB if quick else FULL_MIB
        self.program = executable("load")
        self.plain, self.tls, self.daemon = servers.tfd_with_tls("plain")
        self.with_accounts = None
        self.made, self.compared = [], set()

    def scaled(self, full, quick):
        """A number as the run is."""
        return quick if self.quick else full

    def transports(self):
        """What tells the load of each way to the same files."""
        return {"plain": self.plain, "TLS": self.tls}

    def doors(self):
        """What tells the load of each way in, and a further word for it."""
        multi, _ = self.multi_user()
        open_doors, _ = self.servers.tfd("open", server="sandbox = false")
        return {
            "single-user": (self.plain,),
            "multi-user": (multi,),
            "TLS": (self.tls, "fresh"),
            "TLS, resumed": (self.tls,),
            "single-user without sandbox": (open_doors,),
        }

    def multi_user(self):
        """What tells the load of a server whose clients log in, and its process."""
        if self.with_accounts is None:
            users = self.scratch / "users"
            users.write_text(run(self.program, "account"))
            users.chmod(0o600)
            env, process = self.servers.tfd("multi", server='mode = "multi-user"\nusers = "users"')
            self.with_accounts = {**env, "TF_USER": "bench", "TF_PASSWORD": "bench"}, process
        return self.with_accounts

    def command(self, *words):
        """The load program with these words."""
        return [self.program, *map(str, words)]

    @staticmethod
    def environment(env):
        """This process's environment with further variables."""
        return {**os.environ, **env}

    def words(self, env, *words):
        """What the load program prints, as numbers where they are."""
        told = run(*self.command(*words), env=env, seconds=600).split()
        return [float(word) if word.replace(".", "", 1).isdigit() else word for word in told]

    def load(self, env, *words):
        """One figure of the load program."""
        return self.words(env, *words)[0]

    def file(self, mib=None, name="file"):
        """A file of random bytes in the server's root; its path."""
        path = self.scratch / "root" / name
        if not path.exists():
            with path.open("wb") as file:
                for _ in range(self.size if mib is None else mib):
                    file.write(os.urandom(2**20))
            path.chmod(0o644)
        return path

    @staticmethod
    def link(source, target):
        """A second name for a file."""
        if not target.exists():
            os.link(source, target)

    def fresh(self, path):
        """A path where nothing is, that of any such call before emptied."""
        path = self.scratch / path
        for used in {*self.made, path}:
            used.unlink(missing_ok=True)
        self.made = [path]
        return path

    def rate(self, seconds):
        """MiB per second of what moves the file once and gives the seconds."""
        self.touch_memory(2 * self.size)
        return self.size / seconds()

    def transfer(self, env, flow, name="file", chain="random"):
        """MiB per second of a file by a flow; what arrived is compared once."""
        source = self.scratch / "root" / name
        self.touch_memory(2 * (source.stat().st_size >> 20))
        if flow in ("PUT", "PUTCAN", "SNDFILE", "SUP"):
            arrived = self.fresh("root/up")
            figure = self.load(env, "transfer", flow.lower(), source, "up", chain)
        else:
            arrived = self.fresh("back")
            figure = self.load(env, "transfer", flow.lower(), arrived, name, chain)
        self.compare_once((env["TF_SERVER"], flow, name), source, arrived)
        return figure

    def alone(self, flow, name):
        """MiB per second of the server's part in PUT or GET at the beginning of a
        stream; what arrived is compared once, by the load program where it is GET."""
        source = self.scratch / "root" / name
        remote = "up" if flow == "PUT" else name
        arrived = self.fresh("root/up")
        self.touch_memory(3 * (source.stat().st_size >> 20))
        figure = self.load(self.plain, "alone", flow.lower(), source, remote)
        if flow == "PUT":
            self.compare_once(("alone", flow, name), source, arrived)
        return figure

    def alone_in_place(self, flow, name):
        """The same without memory that is new: PUT over a file that exists, GET by a
        reader that keeps nothing."""
        source = self.scratch / "root" / name
        if flow == "GET":
            return self.load(self.plain, "alone", "drop", source, name)
        arrived = self.scratch / "root/again"
        if not arrived.exists():
            self.load(self.plain, "alone", "put", source, "again")
        figure = self.load(self.plain, "alone", "put", source, "again")
        self.compare_once(("in place", flow, name), source, arrived)
        return figure

    def new_memory(self, mib):
        """MiB per second of a write to new memory of the file system, by one process."""
        path = self.fresh("memory-rate")
        piece = bytes(2**18)
        begin = time.monotonic()
        with path.open("wb", buffering=0) as file:
            for _ in range(4 * mib):
                file.write(piece)
        return mib / (time.monotonic() - begin)

    def compare_once(self, case, source, arrived):
        """Compares what arrived with its source, the first time for each case."""
        if case not in self.compared and not filecmp.cmp(source, arrived, shallow=False):
            raise SystemExit(f"{source.name} arrived changed: {' '.join(case)}")
        self.compared.add(case)

    def touch_memory(self, mib):
        """Sees to it that so much free memory was in use a moment ago: a virtual
        machine's host may take a second a GiB to give what was not."""
        path = self.scratch / "memory"
        with path.open("wb") as file:
            for _ in range(mib):
                file.write(bytes(2**20))
        path.unlink()
