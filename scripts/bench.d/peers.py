"""The programs that tfd is compared with: sftp, vsftpd with and without TLS, the
rsync daemon, cp. Each can move one file or a directory of small ones."""

import pathlib

from measure import run, seconds_of
from servers import free_port


def sshd(servers, host, port):
    """The command of an sshd of our own that listens there."""
    scratch = servers.scratch
    pathlib.Path("/run/sshd").mkdir(exist_ok=True)
    (scratch / "sftp").mkdir(exist_ok=True)
    for name in ("host", "login"):
        if not (scratch / name).exists():
            run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", scratch / name)
    (scratch / "authorized").write_text((scratch / "login.pub").read_text())
    (scratch / "authorized").chmod(0o600)
    configuration = scratch / f"sshd_config-{port}"
    configuration.write_text(f"""Port {port}
ListenAddress {host}
HostKey {scratch}/host
AuthorizedKeysFile {scratch}/authorized
PermitRootLogin prohibit-password
StrictModes no
PidFile none
UsePAM no
Subsystem sftp internal-sftp
""")
    return ["/usr/sbin/sshd", "-D", "-q", "-f", configuration]


def start_sshd(servers):
    """An sshd of our own; its port."""
    port = free_port()
    servers.start(port, *sshd(servers, "127.0.0.1", port))
    return port


def ssh_options(scratch):
    """What ssh and sftp are told: to trust the host and to use our key."""
    options = ["StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null", "LogLevel=ERROR"]
    return ["-i", scratch / "login", *[word for option in options for word in ("-o", option)]]


class Ssh:
    """How rsync reaches an sshd: the one of this machine, or one that is started
    at the far end of a long way."""

    def __init__(self, servers, host="127.0.0.1", port=None, near=(), far=()):
        self.scratch, self.host, self.prefix = servers.scratch, host, near
        if port:
            servers.begin(*far, *sshd(servers, host, port))
        self.port = port or servers.once("sshd", start_sshd)

    def shell(self):
        """The value of rsync's -e."""
        return " ".join(map(str, ["ssh", "-p", self.port, *ssh_options(self.scratch)]))

    def remote(self, path):
        """A path at the server."""
        return f"root@{self.host}:{path}"


def start_vsftpd(servers, tls):
    """A vsftpd of our own; its port."""
    scratch, port = servers.scratch, free_port()
    root = scratch / "ftp"
    (root / "in").mkdir(parents=True, exist_ok=True)
    root.chmod(0o555)
    (root / "in").chmod(0o777)
    pathlib.Path("/var/run/vsftpd/empty").mkdir(parents=True, exist_ok=True)
    configuration = scratch / f"vsftpd-{port}.conf"
    configuration.write_text(f"""listen=YES
listen_address=127.0.0.1
listen_port={port}
background=NO
anonymous_enable=YES
local_enable=NO
write_enable=YES
anon_upload_enable=YES
anon_other_write_enable=YES
anon_umask=022
anon_root={root}
no_anon_password=YES
secure_chroot_dir=/var/run/vsftpd/empty
""" + (vsftpd_tls(scratch) if tls else ""))
    servers.start(port, "/usr/sbin/vsftpd", configuration)
    return port


def vsftpd_tls(scratch):
    """What makes vsftpd take TLS only."""
    key, certificate = scratch / "ftp.key", scratch / "ftp.crt"
    run(
        *["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"],
        *["-subj", "/CN=bench", "-keyout", key, "-out", certificate],
    )
    return f"""ssl_enable=YES
allow_anon_ssl=YES
force_anon_data_ssl=YES
force_anon_logins_ssl=YES
ssl_ciphers=HIGH
require_ssl_reuse=NO
rsa_private_key_file={key}
rsa_cert_file={certificate}
"""


def start_rsyncd(servers):
    """An rsync daemon of our own; its port."""
    scratch, port = servers.scratch, free_port()
    (scratch / "rsync").mkdir(exist_ok=True)
    configuration = scratch / "rsyncd.conf"
    configuration.write_text(f"""use chroot = no
address = 127.0.0.1
port = {port}
log file = /dev/null
pid file = {scratch}/rsyncd.pid
[bench]
path = {scratch}/rsync
read only = no
uid = root
gid = root
""")
    servers.start(port, "rsync", "--daemon", "--no-detach", "--config", configuration)
    return port


class Sftp:
    """sftp with a cipher, its default when none is named."""

    def __init__(self, servers, cipher=None):
        self.scratch = servers.scratch
        self.cipher = ["-c", cipher] if cipher else []
        self.port = servers.once("sshd", start_sshd)

    def _batch(self, *lines):
        return seconds_of(
            *["sftp", "-q", "-b", "-", "-P", self.port, *ssh_options(self.scratch)],
            *self.cipher,
            "root@127.0.0.1",
            text="\n".join(lines) + "\n",
        )

    def put(self, local, name):
        """Sends a file, or a directory with all in it; seconds."""
        return self._batch(f"put -r {local} {self.scratch}/sftp/{name}")

    def get(self, name, local):
        """Receives a file or a directory; seconds."""
        return self._batch(f"get -r {self.scratch}/sftp/{name} {local}")

    def list(self, name):
        """Lists a directory; seconds."""
        return self._batch(f"ls -1 {self.scratch}/sftp/{name}")


class Ftp:
    """vsftpd, driven by curl over one control connection."""

    def __init__(self, servers, tls=False):
        self.port = servers.once("vsftpd with TLS" if tls else "vsftpd", start_vsftpd, tls)
        self.secure = ["--insecure", "--ssl-reqd"] if tls else []

    def _url(self, name):
        return f"ftp://127.0.0.1:{self.port}/{name}"

    def _curl(self, *words, text=None):
        return seconds_of("curl", "--silent", "--show-error", *self.secure, *words, text=text)

    def put(self, local, name):
        """Sends a file; seconds."""
        return self._curl("-T", local, self._url(f"in/{name}"))

    def get(self, name, local):
        """Receives a file; seconds."""
        return self._curl("-o", local, self._url(name))

    def put_all(self, files, name):
        """Sends files into a directory; seconds."""
        transfers = [
            f'upload-file = "{file}"\nurl = "{self._url(f"in/{name}/{file.name}")}"\n'
            for file in files
        ]
        return self._curl("-K", "-", text="".join(transfers))

    def get_all(self, name, names, directory):
        """Receives files of these names; seconds."""
        transfers = [
            f'output = "{directory}/{file}"\nurl = "{self._url(f"{name}/{file}")}"\n'
            for file in names
        ]
        return self._curl("-K", "-", text="".join(transfers))

    def list(self, name):
        """Lists the names in a directory; seconds."""
        return self._curl("--list-only", self._url(f"{name}/"))


class Rsync:
    """The rsync daemon."""

    def __init__(self, servers):
        self.port = servers.once("rsyncd", start_rsyncd)
        self.root = servers.scratch / "rsync"

    def _rsync(self, source, target):
        return seconds_of("rsync", "--recursive", "--whole-file", source, target)

    def _url(self, name):
        return f"rsync://127.0.0.1:{self.port}/bench/{name}"

    def put(self, local, name):
        """Sends a file, or a directory with all in it; seconds."""
        return self._rsync(local, self._url(name))

    def get(self, name, local):
        """Receives a file or a directory; seconds."""
        return self._rsync(self._url(name), local)

    def list(self, name):
        """Lists a directory; seconds."""
        return seconds_of("rsync", self._url(f"{name}/"))
