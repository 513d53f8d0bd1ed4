//! `tfd setup`: makes everything that a server needs: the system user, the root,
//! keys, a certificate, and a configuration with a hash of its own. Existing files
//! are kept. The configuration is conf/tfd.toml, whose comments explain every key,
//! with the values of this machine.

use std::fs::{self, DirBuilder};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::unix::fs::{DirBuilderExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use clap::Args;
use nix::unistd::geteuid;
use toml_edit::{Array, Value};

use crate::admin::keygen::write_new;
use crate::admin::status::{fail, say};
use crate::admin::{check, keygen, show_client, unit};
use crate::config::Config;
use crate::handover::Handover;
use crate::text::hex;
use crate::tf::key;
use crate::users::Identity;
use crate::users::identity::HELPER;

/// Bytes of a new hash, before they are written in hexadecimal digits.
const HASH: usize = 16;

/// Bits of a new key: old clients accept no other size.
const BITS: u32 = 2048;

// What to set up. No doc comment: clap would show it.
#[derive(Args)]
pub(super) struct Setup {
    /// The directory for configuration and keys
    #[arg(long, value_name = "DIR", default_value = "/etc/tfd")]
    dir: PathBuf,
    /// The directory that clients see
    #[arg(long, value_name = "DIR", default_value = "/srv/tfd")]
    root: PathBuf,
    /// The system user that clients act as, made when missing
    #[arg(long, value_name = "USER", default_value = "tfd")]
    user: String,
    /// A name or an address by which clients reach the server [default: the host's name]
    #[arg(long, value_name = "NAME")]
    name: Vec<String>,
    /// An address to listen on
    #[arg(long, value_name = "IP", default_values = ["0.0.0.0", "::"])]
    address: Vec<IpAddr>,
    /// The port; TLS has the next one
    #[arg(long, default_value_t = 10345, value_parser = clap::value_parser!(u16).range(..65535))]
    port: u16,
    /// Let clients log in, each as its own system user
    #[arg(long)]
    multi_user: bool,
    /// Where the drop-in of tfd.service goes [default: its place below
    /// /etc/systemd/system, if --dir is /etc/tfd]
    #[arg(long, value_name = "FILE")]
    drop_in: Option<PathBuf>,
}

/// What was set up.
struct Outcome {
    config: PathBuf,
    /// The file for clients, and what is in it.
    client: PathBuf,
    handover: Handover,
}

/// Sets a server up, prints what its clients need and checks the
/// configuration; the exit code. An interrupted run may be repeated.
pub(super) fn run(setup: &Setup) -> ExitCode {
    match setup.make() {
        Ok(made) => {
            let code = say(&setup.summary(&made));
            let checked = check::report(&made.config);
            if code == ExitCode::SUCCESS {
                checked
            } else {
                code
            }
        }
        Err(text) => fail(text),
    }
}

impl Setup {
    /// Makes everything that is missing, the configuration last.
    fn make(&self) -> Result<Outcome, String> {
        let config = self.dir.join("tfd.toml");
        if config.symlink_metadata().is_ok() {
            let shown = config.display();
            return Err(format!(
                "{shown} exists: change it and run tfd check, or choose another --dir; \
                 tfd show-client prints what clients need"
            ));
        }
        let identity = self.owner()?;
        let at = |path: &Path| {
            let shown = path.display().to_string();
            move |e: io::Error| format!("{shown}: {e}")
        };
        fs::create_dir_all(&self.dir).map_err(at(&self.dir))?;
        let mode = if self.multi_user {
            FOR_ACCOUNTS
        } else {
            FOR_ONE
        };
        make_root(&self.root, identity.as_ref(), mode).map_err(at(&self.root))?;
        let directory = fs::canonicalize(&self.dir).map_err(at(&self.dir))?;
        let root = fs::canonicalize(&self.root).map_err(at(&self.root))?;
        let names = self.names();
        key_pair(&directory)?;
        certificate_pair(&directory, &names)?;
        let users = self.multi_user.then(|| directory.join("users"));
        if let Some(users) = users
            .as_ref()
            .filter(|users| users.symlink_metadata().is_err())
        {
            let head = "# Accounts, see tfd-users(5); change them with tfd user.\n";
            write_new(users, head.as_bytes(), 0o600).map_err(at(users))?;
        }
        let hash = new_hash()?;
        let values = Values {
            user: identity.as_ref().map(|identity| identity.name.as_str()),
            directory: &directory,
            root: &root,
            addresses: &self.address,
            port: self.port,
            hash: &hash,
            users: users.as_deref(),
        };
        let text = fill(&values)?;
        let config = directory.join("tfd.toml");
        let read = Config::parse(&config, &text).map_err(|problems| {
            let problems: Vec<_> = problems.iter().map(ToString::to_string).collect();
            problems.join("\n")
        })?;
        let handover = show_client::of_server(&read, names.first().map(String::as_str), None)?;
        let client = directory.join("client.toml");
        show_client::replace(&client, &handover)?;
        self.write_drop_in(&read)?;
        write_new(&config, text.as_bytes(), 0o600).map_err(at(&config))?;
        Ok(Outcome {
            config,
            client,
            handover,
        })
    }

    /// Who the root belongs to; `None` when this process can't give it away.
    fn owner(&self) -> Result<Option<Identity>, String> {
        if !geteuid().is_root() {
            return Ok(None);
        }
        if let Err(why) = system_user(HELPER) {
            eprintln!("tfd: warning: {why}");
        }
        system_user(&self.user)
            .map(Some)
            .map_err(|why| format!("{why}, or name another with --user"))
    }

    fn names(&self) -> Vec<String> {
        if self.name.is_empty() {
            vec![
                rustix::system::uname()
                    .nodename()
                    .to_string_lossy()
                    .into_owned(),
            ]
        } else {
            self.name.clone()
        }
    }

    /// Writes what lets the unit forbid all but the root, unless it exists.
    fn write_drop_in(&self, config: &Config) -> Result<(), String> {
        let usual = || {
            let is_usual = geteuid().is_root() && self.dir == Path::new("/etc/tfd");
            let has_systemd = Path::new("/etc/systemd/system").is_dir();
            (is_usual && has_systemd).then(|| PathBuf::from(unit::PLACE))
        };
        let Some(place) = self.drop_in.clone().or_else(usual) else {
            return Ok(());
        };
        let failed = |e: io::Error| format!("{}: {e}", place.display());
        if let Some(parent) = place.parent() {
            fs::create_dir_all(parent).map_err(failed)?;
        }
        match write_new(&place, unit::drop_in(config)?.as_bytes(), 0o644) {
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            other => other.map_err(failed),
        }
    }

    /// What clients need, and the next step. Without the hash: this text ends up
    /// in logs, such as apt's.
    fn summary(&self, made: &Outcome) -> String {
        let Outcome {
            config,
            client,
            handover,
        } = made;
        let shown = |text: &Option<String>| text.clone().unwrap_or_default();
        let tf = handover.tf.clone().unwrap_or_default();
        let mut text = format!(
            "Clients need {client}, which has the hash: hand it over in private.\n\
             On a client that may log in here by ssh:\n\
             \x20 ssh {name} sudo tfd show-client | tf trust files --from -\n\
             or with a copy of the file:\n\
             \x20 tf trust files --from client.toml\n\
             \x20 address      {tls}, without TLS {plain}\n\
             \x20 TLS pin      {pin}\n\
             \x20 fingerprint  {fingerprint}\n",
            client = client.display(),
            name = handover.name,
            tls = shown(&tf.tls_address),
            plain = shown(&tf.address),
            pin = shown(&handover.tls_pin),
            fingerprint = tf.fingerprint,
        );
        if self.multi_user {
            text += &format!(
                "Give each client a directory and an account, whose system user it is:\n\
                 \x20 install -d -o NAME {}/NAME\n\
                 \x20 tfd user add NAME --home NAME --config {}\n",
                self.root.display(),
                config.display()
            );
        }
        text
    }
}

/// The system user of this name, made when missing.
pub(super) fn system_user(name: &str) -> Result<Identity, String> {
    match Identity::of(name) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => {}
        other => return other.map_err(|e| format!("system user {name}: {e}")),
    }
    let made = Command::new("useradd")
        .args([
            "--system",
            "--user-group",
            "--no-create-home",
            "--home-dir",
            "/nonexistent",
        ])
        .args(["--shell", "/usr/sbin/nologin", "--", name])
        .output();
    let why = match made {
        Ok(output) if output.status.success() => {
            return Identity::of(name).map_err(|e| format!("system user {name}: {e}"));
        }
        Ok(output) => String::from_utf8_lossy(&output.stderr).trim().to_owned(),
        Err(e) => format!("useradd: {e}"),
    };
    Err(format!("no system user {name}: make one ({why})"))
}

/// Modes of the root: one user serves it, or each account's user enters it.
const FOR_ONE: u32 = 0o750;
const FOR_ACCOUNTS: u32 = 0o755;

/// Makes the root, writable by the identity, unless it exists.
fn make_root(root: &Path, identity: Option<&Identity>, mode: u32) -> io::Result<()> {
    if let Some(parent) = root.parent() {
        fs::create_dir_all(parent)?;
    }
    match DirBuilder::new().mode(mode).create(root) {
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => return Ok(()),
        other => other?,
    }
    match identity {
        Some(identity) => chown(
            root,
            Some(identity.uid.as_raw()),
            Some(identity.gid.as_raw()),
        ),
        None => Ok(()),
    }
}

/// Makes the key pair unless it exists. If an earlier run was interrupted, only
/// the public key is made.
fn key_pair(directory: &Path) -> Result<(), String> {
    let private = directory.join("private.pem");
    if private.symlink_metadata().is_err() {
        return keygen::make(directory, BITS).map(drop);
    }
    let key = key::read_key(&private)?;
    let public = directory.join("public.pem");
    if public.symlink_metadata().is_err() {
        let pem = key.public_key_to_pem().map_err(|e| e.to_string())?;
        write_new(&public, &pem, 0o644).map_err(|e| format!("{}: {e}", public.display()))?;
    }
    Ok(())
}

/// Makes the certificate with its key unless it exists.
pub(super) fn certificate_pair(directory: &Path, names: &[String]) -> Result<(), String> {
    if directory.join("tls.pem").symlink_metadata().is_ok() {
        return Ok(());
    }
    keygen::make_certificate(directory, names).map(drop)
}

/// A random hash, in hexadecimal digits.
fn new_hash() -> Result<String, String> {
    let mut bytes = [0; HASH];
    getrandom::fill(&mut bytes).map_err(|e| format!("no random numbers: {e}"))?;
    Ok(hex(&bytes))
}

const TEMPLATE: &str = include_str!("../../conf/tfd.toml");

/// The version string that clients send by default.
const VERSION: &str = "0.0";

/// The values for the template.
struct Values<'a> {
    user: Option<&'a str>,
    directory: &'a Path,
    root: &'a Path,
    addresses: &'a [IpAddr],
    port: u16,
    hash: &'a str,
    users: Option<&'a Path>,
}

/// The port for TLS next to this one.
fn tls_port(port: u16) -> u16 {
    if port == 0 { 0 } else { port + 1 }
}

/// The configuration with these values.
///
/// # Errors
/// A path that cannot be written in TOML, or the address in use.
fn fill(values: &Values<'_>) -> Result<String, String> {
    let path = |path: &Path| {
        let text = path
            .to_str()
            .ok_or_else(|| format!("{}: not in UTF-8", path.display()))?;
        Ok::<_, String>(Value::from(text))
    };
    let beside = |name: &str| path(&values.directory.join(name));
    let listen = |port: u16| {
        let addresses = values.addresses.iter();
        let addresses = addresses.map(|address| SocketAddr::new(*address, port).to_string());
        Value::from(addresses.collect::<Array>())
    };
    let mut keys = vec![
        ("tf", "listen", listen(values.port)),
        ("tf", "tls_listen", listen(tls_port(values.port))),
        ("server", "tls_certificate", beside("tls.pem")?),
        ("server", "tls_key", beside("tls-key.pem")?),
        ("tf", "version", Value::from(VERSION)),
        ("tf", "hash", Value::from(values.hash)),
        ("server", "root", path(values.root)?),
        ("tf", "private_key", beside("private.pem")?),
    ];
    if let Some(users) = values.users {
        keys.push(("server", "mode", Value::from("multi-user")));
        keys.push(("server", "users", path(users)?));
    }
    if let Some(user) = values.user {
        keys.push(("server", "user", Value::from(user)));
    }
    let mut section = "";
    let lines = TEMPLATE.lines().map(|line| {
        let header = line.strip_prefix('[').and_then(|it| it.strip_suffix(']'));
        section = header.unwrap_or(section);
        let is_it = |(of, name, _): &&(_, _, _)| *of == section && assigned(line) == Some(*name);
        match keys.iter().find(is_it) {
            Some((_, key, value)) => format!("{key} = {value}\n"),
            None if values.user.is_none() && assigned(line) == Some("user") => {
                format!("#{line}\n")
            }
            None => format!("{line}\n"),
        }
    });
    Ok(lines.collect())
}

/// The key of a line, also in a comment.
fn assigned(line: &str) -> Option<&str> {
    let (key, _) = line.strip_prefix('#').unwrap_or(line).split_once(" = ")?;
    let is_key = |byte: u8| byte.is_ascii_lowercase() || byte == b'_';
    (!key.is_empty() && key.bytes().all(is_key)).then_some(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    use crate::config::Mode;

    fn values<'a>(user: Option<&'a str>, users: Option<&'a Path>) -> Values<'a> {
        Values {
            user,
            directory: Path::new("/etc/a \"b\""),
            root: Path::new("/srv/\\x"),
            addresses: &[IpAddr::V4(std::net::Ipv4Addr::LOCALHOST)],
            port: 99,
            hash: "f00d",
            users,
        }
    }

    #[test]
    fn every_value_arrives_at_its_key() {
        let users = Path::new("/etc/users");
        let text = fill(&values(Some("ann"), Some(users))).expect("filled");
        let config = Config::parse(Path::new("/etc/tfd.toml"), &text).expect("valid");
        assert_eq!(config.server.user.as_deref(), Some("ann"));
        let (server, tf) = (&config.server, config.tf.as_ref().expect("TF"));
        assert_eq!((tf.version.as_str(), tf.hash.as_str()), (VERSION, "f00d"));
        assert_eq!(
            (server.root.as_path(), server.mode),
            (Path::new("/srv/\\x"), Mode::MultiUser)
        );
        assert_eq!(tf.private_key, Path::new("/etc/a \"b\"/private.pem"));
        assert_eq!(server.users.as_deref(), Some(users));
        let shown: Vec<String> = config
            .listeners()
            .iter()
            .map(|listener| format!("{} {}", listener.address, listener.tls))
            .collect();
        assert_eq!(shown, ["127.0.0.1:99 false", "127.0.0.1:100 true"]);
        assert_eq!(
            server.tls.as_ref().expect("TLS").key,
            Path::new("/etc/a \"b\"/tls-key.pem")
        );
        assert_eq!(text.lines().count(), TEMPLATE.lines().count());
        assert!(
            Config::parse(Path::new("/etc/tfd.toml"), TEMPLATE).is_err(),
            "its hash is known"
        );
    }

    #[test]
    fn without_root_no_user_is_named() {
        let text = fill(&values(None, None)).expect("filled");
        let config = Config::parse(Path::new("/etc/tfd.toml"), &text).expect("valid");
        assert_eq!(
            (config.server.user, config.server.mode),
            (None, Mode::SingleUser)
        );
    }
}
