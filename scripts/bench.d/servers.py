"""tfd's servers, each for one purpose, and the peers'. All end with `Servers`."""

import contextlib
import pathlib
import re
import socket
import subprocess
import time

from measure import BIN, run


def free_port():
    """A port of 127.0.0.1 on which nothing listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_for(port, process=None):
    """Waits until something listens there: a minute, or ten as long as this process runs."""
    for _ in range(12_000 if process else 1_200):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        if process and process.poll() is not None:
            break
        time.sleep(0.05)
    raise SystemExit(f"nothing listens on port {port}")


class Servers:
    """Processes that run until the `with` block ends, in one directory."""

    def __init__(self, scratch):
        self.scratch = pathlib.Path(scratch)
        self.processes = []
        self.peers = {}
        self.pin = None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for process in reversed(self.processes):
            process.terminate()
        for process in self.processes:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(10)
                continue
            process.kill()
            process.wait()

    def start(self, port, *words):
        """Starts a daemon that listens on this port; its process."""
        process = self.begin(*words)
        wait_for(port, process)
        return process

    def begin(self, *words):
        """Starts a daemon; its process."""
        process = subprocess.Popen([str(word) for word in words], stdin=subprocess.DEVNULL)
        self.processes.append(process)
        return process

    @contextlib.contextmanager
    def for_a_while(self):
        """Ends what is begun within the `with` block."""
        before = len(self.processes)
        try:
            yield
        finally:
            for process in reversed(self.processes[before:]):
                self.processes.remove(process)
                process.terminate()
                process.wait(10)

    def once(self, name, start, *words):
        """The port of a peer, started when it is first asked for."""
        if name not in self.peers:
            self.peers[name] = start(self, *words)
        return self.peers[name]

    def tfd_with_tls(self, name):
        """A tfd that also speaks TLS; what tells the load of it, without and
        with TLS, and its process."""
        port = free_port()
        plain, process = self.tfd(
            name,
            server='tls_certificate = "tls.pem"\ntls_key = "tls-key.pem"',
            tf=f'tls_listen = ["127.0.0.1:{port}"]',
        )
        tls = {**plain, "TF_SERVER": f"127.0.0.1:{port}", "TF_TLS_PIN": self.pin}
        return plain, tls, process

    def tfd(self, name, server="", tf="", root="root"):
        """A tfd with further lines in its two sections; what tells the load of
        it, and its process."""
        port = free_port()
        tf = f'listen = ["127.0.0.1:{port}"]\n{tf}'
        configuration = self.configure(name, tf, server, root)
        process = self.start(port, BIN / "tfd", "serve", "--config", configuration)
        return self.access(f"127.0.0.1:{port}"), process

    def tfd_at(self, host, port, prefix):
        """A tfd that speaks TLS at the far end of a long way; what tells `tf` of it."""
        configuration = self.configure(
            "far",
            f'tls_listen = ["{host}:{port}"]',
            'tls_certificate = "tls.pem"\ntls_key = "tls-key.pem"',
        )
        self.begin(*prefix, BIN / "tfd", "serve", "--config", configuration)
        return {**self.access(f"{host}:{port}"), "TF_TLS_PIN": self.pin}

    def configure(self, name, tf, server, root="root"):
        """The configuration of a tfd with this root, and its keys."""
        (self.scratch / "root").mkdir(exist_ok=True)
        run("chown", "nobody", self.scratch / "root")
        if not (self.scratch / "private.pem").exists():
            told = run(BIN / "tfd", "keygen", "--out", self.scratch, "--tls", "127.0.0.1")
            self.pin = re.search(r"TLS pin: +(\S+)", told)[1]
        configuration = self.scratch / f"{name}.toml"
        configuration.write_text(f"""[server]
user = "nobody"
log = "warn"
control = ""
max_sessions_per_address = 0
max_unauthenticated_per_address = 4096
max_unauthenticated_per_network = 4096
root = "{root}"
{server}

[tf]
version = "0.0"
hash = "bench"
private_key = "private.pem"
{tf}
""")
        return configuration

    def access(self, server):
        """What tells the load of a tfd."""
        return {
            "TF_SERVER": server,
            "TF_KEY": str(self.scratch / "public.pem"),
            "TF_HASH": "bench",
            "TF_CONFIG": "/dev/null",
        }

    def vault(self):
        """A tfd that serves the vault alone, in all dialects; what tells the load of it,
        and its process."""
        old, port = free_port(), free_port()
        configuration = self.scratch / "vault.toml"
        configuration.write_text(f"""[server]
user = "nobody"
log = "warn"
control = ""
max_sessions_per_address = 4096
max_unauthenticated_per_address = 4096
max_unauthenticated_per_network = 4096
tls_certificate = "tls.pem"
tls_key = "tls-key.pem"

[vault]
listen = ["127.0.0.1:{old}"]
tls_listen = ["127.0.0.1:{port}"]
data = "{self.scratch}/vault"
user = "games"
registration = "open"
new_device = "allow"
""")
        process = self.start(port, BIN / "tfd", "serve", "--config", configuration)
        # The first start makes a key, before anything listens.
        return {"VAULT_SERVER": f"127.0.0.1:{port}", "VAULT_OLD": f"127.0.0.1:{old}"}, process

    def proxy(self, behind):
        """A tfd that relays to another; what tells the load of it."""
        port = free_port()
        configuration = self.scratch / "proxy.toml"
        configuration.write_text(f"""[server]
user = "nobody"
log = "warn"
control = ""

[tf]
listen = ["127.0.0.1:{port}"]
proxy_to = "{behind["TF_SERVER"]}"
""")
        self.start(port, BIN / "tfd", "serve", "--config", configuration)
        return {**behind, "TF_SERVER": f"127.0.0.1:{port}"}
