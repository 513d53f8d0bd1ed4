//! How to reach a server and log in: one record for the options of the command
//! line, the entries of the configuration and the environment. It never holds
//! passwords and tokens, only the files that contain them.

use std::path::{Path, PathBuf};

use clap::Args;
use serde::{Deserialize, Serialize};

use super::failure::{Failure, Result};
use super::help::SHARED;
use super::place::with_port;
use super::secrets::{CommandLine, descriptor};
use crate::client::{PublicKey, Tls, Transport, Trust, Via};

/// How to reach the server.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = SHARED)]
pub(super) struct ConnectionOptions {
    /// The default server: HOST[:PORT], tf://USER@HOST:PORT, or a name from the
    /// configuration
    #[arg(long, global = true)]
    pub(super) server: Option<String>,
    /// The configuration [default: ~/.config/tf/config.toml]
    #[arg(long, value_name = "FILE", env = "TF_CONFIG", global = true)]
    pub(super) config: Option<PathBuf>,
    #[command(flatten)]
    pub(super) settings: Settings,
    /// Time-out for connecting, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 15, global = true,
          value_parser = clap::value_parser!(u64).range(1..))]
    pub(super) timeout: u64,
    /// Take *, ? and [ in remote paths literally
    #[arg(long, global = true)]
    pub(super) literal: bool,
}

/// What is known of a server.
#[derive(Args, Clone, Debug, Default, Deserialize, Serialize)]
#[command(next_help_heading = SHARED)]
#[serde(deny_unknown_fields)]
pub(crate) struct Settings {
    #[arg(skip)]
    #[serde(skip_serializing_if = "Addresses::is_empty")]
    pub(super) address: Addresses,
    /// The server's public key, PEM
    // In the configuration it may be the key itself.
    #[arg(long, value_name = "FILE", global = true)]
    pub(super) key: Option<PathBuf>,
    /// Connect with TLS to a server that one of the system's authorities has
    /// certified
    #[arg(long, global = true)]
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) tls: bool,
    /// Connect with TLS to the server whose certificate has this public key
    #[arg(
        long,
        value_name = "SHA256:…",
        conflicts_with = "tls_ca",
        global = true
    )]
    pub(super) tls_pin: Option<String>,
    /// Connect with TLS to a server that one of these authorities, PEM, has
    /// certified
    #[arg(long, value_name = "FILE", global = true)]
    pub(super) tls_ca: Option<PathBuf>,
    /// A certificate of your own, PEM, that logs you in over TLS
    #[arg(long, value_name = "FILE", global = true)]
    pub(super) cert: Option<PathBuf>,
    /// Its private key, PEM
    #[arg(long, value_name = "FILE", global = true)]
    pub(super) cert_key: Option<PathBuf>,
    /// The server's hash; other users of this machine can see it, so prefer
    /// --hash-file, the configuration or TF_HASH
    #[arg(long, global = true)]
    pub(super) hash: Option<String>,
    /// A file whose first line is the server's hash
    #[arg(long, value_name = "FILE", conflicts_with = "hash", global = true)]
    pub(super) hash_file: Option<PathBuf>,
    /// The version string the server is configured with [default: 0.0]
    #[arg(
        id = "protocol_version",
        long = "protocol-version",
        value_name = "TEXT",
        global = true
    )]
    pub(super) version: Option<String>,
    /// The account to log in with, if the server requires one
    #[arg(long, value_name = "NAME", global = true)]
    pub(super) user: Option<String>,
    /// A file whose first line is its password [default: ask]
    #[arg(long, value_name = "FILE", global = true)]
    pub(super) password_file: Option<PathBuf>,
    /// An open file descriptor to read its password from
    #[arg(long, value_name = "N", value_parser = descriptor,
          conflicts_with = "password_file", global = true)]
    #[serde(skip)]
    pub(super) password_fd: Option<PathBuf>,
    /// A program that prints its password in its first line, with its arguments; no
    /// shell reads them
    #[arg(long, value_name = "COMMAND", global = true,
          conflicts_with_all = ["password_file", "password_fd"])]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) password_command: Option<CommandLine>,
    /// Take its password from the keyring, where tf login puts it
    #[arg(long, global = true)]
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) password_keyring: bool,
    /// The directory to be jailed in, if the server requires one
    #[arg(long, value_name = "DIR", global = true)]
    pub(super) jail: Option<String>,
    /// A file whose first line is its token [default: ask]
    #[arg(long, value_name = "FILE", global = true)]
    pub(super) token_file: Option<PathBuf>,
    /// An open file descriptor to read its token from
    #[arg(long, value_name = "N", value_parser = descriptor,
          conflicts_with = "token_file", global = true)]
    #[serde(skip)]
    pub(super) token_fd: Option<PathBuf>,
    /// A program that prints its token, as --password-command
    #[arg(long, value_name = "COMMAND", global = true,
          conflicts_with_all = ["token_file", "token_fd"])]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) token_command: Option<CommandLine>,
    /// Reach the server through this machine by ssh, as its jump host
    #[arg(long, value_name = "ssh:[USER@]HOST[:PORT]", global = true)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) via: Option<Via>,
    /// A program that prints password or token.
    #[arg(skip)]
    pub(super) askpass: Option<PathBuf>,
    /// Honour locks: do not use directories that contain an entry of this name
    #[arg(
        id = "honour_lock",
        long = "honour-lock",
        value_name = "NAME",
        global = true
    )]
    pub(super) lock: Option<String>,
    /// Whether its load balancer is asked which server to take.
    #[arg(skip)]
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) balance: bool,
}

/// One address or several, as they are written.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(untagged, expecting = "an address or a list of addresses")]
pub(super) enum Addresses {
    One(String),
    Several(Vec<String>),
}

impl Default for Addresses {
    fn default() -> Addresses {
        Addresses::Several(Vec::new())
    }
}

impl Addresses {
    fn is_empty(&self) -> bool {
        matches!(self, Addresses::Several(all) if all.is_empty())
    }
}

/// A variable that is set to something.
pub(super) fn environment(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// A variable that names a directory by its whole path.
pub(super) fn directory(name: &str) -> Option<PathBuf> {
    let directory = std::env::var_os(name).map(PathBuf::from);
    directory.filter(|directory| directory.is_absolute())
}

/// Keeps `mine` if it is there, takes `other` if not.
fn fill<T>(mine: &mut Option<T>, other: Option<T>) {
    if mine.is_none() {
        *mine = other;
    }
}

impl Settings {
    /// The settings of the environment.
    pub(super) fn of_environment() -> Settings {
        let path = |name| environment(name).map(PathBuf::from);
        Settings {
            key: path("TF_KEY"),
            tls_pin: environment("TF_TLS_PIN"),
            tls_ca: path("TF_TLS_CA"),
            cert: path("TF_CERT"),
            cert_key: path("TF_CERT_KEY"),
            hash: environment("TF_HASH"),
            version: environment("TF_VERSION"),
            user: environment("TF_USER"),
            jail: environment("TF_JAIL"),
            ..Settings::default()
        }
    }

    /// What an entry says of an account whose password is in the keyring.
    pub(super) fn of_keyring(user: &str) -> Settings {
        Settings {
            user: Some(user.to_owned()),
            password_keyring: true,
            ..Settings::default()
        }
    }

    /// Takes what is missing from another record. What belongs together comes
    /// from one of the two, and a password only with its account.
    pub(super) fn fill(&mut self, other: Settings) {
        fill(&mut self.key, other.key);
        if !self.is_over_tls() {
            (self.tls, self.tls_pin, self.tls_ca) = (other.tls, other.tls_pin, other.tls_ca);
        }
        if self.cert.is_none() || self.cert_key.is_none() {
            (self.cert, self.cert_key) = (other.cert, other.cert_key);
        }
        if self.hash.is_none() && self.hash_file.is_none() {
            (self.hash, self.hash_file) = (other.hash, other.hash_file);
        }
        fill(&mut self.version, other.version);
        fill(&mut self.user, other.user.clone());
        if !self.has_password() && other.user.is_some() && self.user == other.user {
            self.password_file = other.password_file;
            self.password_command = other.password_command;
            self.password_keyring = other.password_keyring;
        }
        fill(&mut self.jail, other.jail.clone());
        if !self.has_token() && other.jail.is_some() && self.jail == other.jail {
            self.token_file = other.token_file;
            self.token_command = other.token_command;
        }
        fill(&mut self.via, other.via);
        fill(&mut self.askpass, other.askpass);
        fill(&mut self.lock, other.lock);
        self.balance |= other.balance;
    }

    /// Takes what is missing from the environment, behind the server's entry
    /// if it has one.
    pub(super) fn fill_from_environment(&mut self, entry: Option<&Settings>) {
        let mut environment = Settings::of_environment();
        // An entry with a key and without TLS means that there is none.
        if entry.is_some_and(|entry| entry.key.is_some()) {
            (environment.tls_pin, environment.tls_ca) = (None, None);
            (environment.cert, environment.cert_key) = (None, None);
        }
        if self.is_over_tls() || environment.is_over_tls() {
            environment.key = None;
        }
        self.fill(environment);
    }

    /// Makes its paths relative to a directory.
    pub(super) fn resolve(&mut self, directory: &Path) {
        let key = self.key.as_mut().filter(|key| pem(key).is_none());
        let paths = [
            &mut self.tls_ca,
            &mut self.cert,
            &mut self.cert_key,
            &mut self.hash_file,
            &mut self.password_file,
            &mut self.token_file,
            &mut self.askpass,
        ];
        for path in paths.into_iter().filter_map(Option::as_mut).chain(key) {
            *path = directory.join(&*path).components().collect();
        }
    }

    /// The addresses, `host:port`.
    pub(crate) fn addresses(&self) -> impl Iterator<Item = String> {
        let addresses = match &self.address {
            Addresses::One(one) => std::slice::from_ref(one),
            Addresses::Several(several) => several,
        };
        addresses.iter().map(|address| with_port(address))
    }

    /// Whether it has an address.
    pub(crate) fn has_address(&self) -> bool {
        !self.address.is_empty()
    }

    /// Whether the server is reached with TLS.
    pub(crate) fn is_over_tls(&self) -> bool {
        self.tls || self.tls_pin.is_some() || self.tls_ca.is_some()
    }

    /// Whether the hash is known.
    pub(crate) fn has_hash(&self) -> bool {
        self.hash.is_some() || self.hash_file.is_some()
    }

    /// Whether the password comes from somewhere without asking a person.
    pub(crate) fn has_password(&self) -> bool {
        self.password().is_some() || self.password_command.is_some() || self.password_keyring
    }

    /// Whether the token does.
    pub(crate) fn has_token(&self) -> bool {
        self.token().is_some() || self.token_command.is_some()
    }

    /// The file with the password.
    pub(super) fn password(&self) -> Option<&PathBuf> {
        self.password_file.as_ref().or(self.password_fd.as_ref())
    }

    /// The file with the token of the jail.
    pub(super) fn token(&self) -> Option<&PathBuf> {
        self.token_file.as_ref().or(self.token_fd.as_ref())
    }

    /// The public key, if there is one.
    pub(crate) fn public_key(&self) -> Result<Option<PublicKey>> {
        let Some(key) = &self.key else {
            return Ok(None);
        };
        Ok(Some(match pem(key) {
            Some(text) => PublicKey::from_text(text, "the key of the server's entry".as_ref())?,
            None => PublicKey::from_file(key)?,
        }))
    }

    /// What protects a connection: TLS if any setting of TLS is there, otherwise
    /// a public key.
    pub(super) fn transport(&self, address: &str) -> Result<Transport> {
        let key = self.public_key()?;
        let trust = match (&self.tls_pin, &self.tls_ca) {
            (Some(pin), _) => Some(Trust::Pin(pin.clone())),
            (None, Some(file)) => Some(Trust::Authorities(content(file)?)),
            (None, None) => self.tls.then_some(Trust::System),
        };
        let Some(trust) = trust else {
            return key.map(Transport::Tcp).ok_or_else(|| {
                Failure::Usage(format!(
                    "no public key for {address}: give --key, set TF_KEY, save it with tf trust, \
                     or connect with --tls"
                ))
            });
        };
        let own = match (&self.cert, &self.cert_key) {
            (Some(certificate), Some(key)) => Some((content(certificate)?, content(key)?)),
            _ => None,
        };
        let own = own
            .as_ref()
            .map(|(certificate, key)| (certificate.as_slice(), key.as_slice()));
        match Tls::new(&trust, own) {
            Ok(tls) => Ok(Transport::Tls(tls, key)),
            Err(e) => Err(Failure::Usage(format!("TLS: {e}"))),
        }
    }
}

/// The text of a key that is not a path.
fn pem(key: &Path) -> Option<&str> {
    key.to_str().filter(|text| text.contains("-----BEGIN"))
}

fn content(path: &Path) -> Result<Vec<u8>> {
    std::fs::read(path).map_err(Failure::local(path))
}
