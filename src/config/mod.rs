//! The configuration file: its keys, their defaults, and errors that name
//! line and key. See tfd.toml(5). Nothing here reads or changes the world but
//! the file itself.

mod bbftp;
mod check;
mod holder;
mod hub;
mod listener;
mod proxy;
mod server;
mod shared_state;
mod table;
mod tf;
mod values;
mod vault;

use std::ops::{Range, RangeInclusive};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::sys::memory::read_shared_text;
use crate::trusted;

pub use bbftp::{Bbftp, PasswordLogins, SourcePort};
pub use check::is_service_name;
pub(crate) use check::parse_port_range;
pub use holder::Holder;
pub use hub::Hub;
pub use listener::{LISTEN_KEY, Listener, Protocol, RELAY_KEY};
pub use proxy::{Backend, Host, Proxy};
pub use server::{DEFAULT_CONTROL, Durability, Local, LogFormat, Mode, OnUpload, Pam, Server, Tls};
pub use shared_state::SharedState;
pub use tf::{Dialect, Tf};
pub use values::Problem;
use values::Values;
pub use vault::{Mail, MailSecurity, Vault, VaultDialect};

/// A checked configuration.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where it was read from.
    pub path: PathBuf,
    /// `[server]`
    pub server: Server,
    /// `[tf]`, if TF Protocol is listened for.
    pub tf: Option<Tf>,
    /// `[bbftp]`, if BBFTP is listened for.
    pub bbftp: Option<Bbftp>,
    /// `[vault]`, if the vault is listened for.
    pub vault: Option<Vault>,
    /// `[hub]`, if the backup hub is listened for.
    pub hub: Option<Hub>,
    /// `[holder]`, if peers of a keeper are listened for.
    pub holder: Option<Holder>,
    listeners: Vec<Listener>,
    data_ports: Vec<RangeInclusive<u16>>,
    /// What it has for protocols that are not listened for.
    pub unused: Vec<Problem>,
    /// A memory with the whole text, if this one was read without the values of
    /// secrets.
    pub whole: Option<Arc<OwnedFd>>,
}

impl Config {
    /// Reads and checks a configuration file. Relative paths in it are
    /// relative to its directory. Fails with every problem found.
    pub fn load(path: &Path) -> Result<Config, Vec<Problem>> {
        let text =
            read(path).map_err(|e| vec![Problem::new(path, format!("can't be read: {e}"))])?;
        Config::parse(path, &text)
    }

    /// The same with the values of secrets, for a process that may know them.
    ///
    /// # Errors
    /// One line: why the whole text can't be read.
    pub fn with_secrets(&self) -> Result<Config, String> {
        let Some(whole) = &self.whole else {
            return Ok(self.clone());
        };
        let text = read_shared_text(whole).map_err(|e| e.to_string())?;
        let config = Config::parse(&self.path, &text);
        config.map_err(|problems| problems.iter().map(ToString::to_string).collect())
    }

    /// What the file of blocked logins is next to, if there are logins: the users
    /// file, or else the accounts of the vault or the hub.
    pub fn blocked_beside(&self) -> Option<PathBuf> {
        let vault = || Some(self.vault.as_ref()?.data.join("accounts"));
        let hub = || Some(self.hub.as_ref()?.data.join("users"));
        self.server.users.clone().or_else(vault).or_else(hub)
    }

    /// Whether files beneath the root are served.
    pub fn serves_files(&self) -> bool {
        self.proxy().is_none() && !self.has_own_accounts_alone()
    }

    /// Whether all that is served has accounts and roots of its own.
    pub fn has_own_accounts_alone(&self) -> bool {
        let has_them = |listener: &Listener| listener.protocol.has_own_accounts();
        self.listeners.iter().all(has_them)
    }

    /// Whether one user serves all, so that no process changes its identity or root.
    pub fn serves_as_one(&self) -> bool {
        let is_holder = |listener: &Listener| listener.protocol == Protocol::Holder;
        self.listeners.iter().all(is_holder)
    }

    /// Where the transparent proxy relays to, if this is one.
    pub fn proxy(&self) -> Option<&Proxy> {
        self.tf.as_ref()?.proxy.as_ref()
    }

    /// As [`Config::load`], from a text that was read from `path`.
    pub fn parse(path: &Path, text: &str) -> Result<Config, Vec<Problem>> {
        let mut values = Values::read(path, text)?;
        // A file that lists no address at all most likely lacks those of TF.
        let is_listed = |protocol: &Protocol| protocol.is_listed(&values);
        let has_tf = Protocol::Tf.is_listed(&values) || !Protocol::ALL.iter().any(is_listed);
        let is_proxy = has_tf && values.is_set("tf", "proxy_to");
        let has_tls = listener::has_tls(&values) && !is_proxy;
        listener::check(&mut values);
        server::check(&mut values, has_tls);
        shared_state::check(&mut values, is_proxy);
        let has_vault = Protocol::Vault.is_listed(&values);
        // Sessions of protocols with accounts of their own have their roots elsewhere.
        let mut others = Protocol::ALL.iter().filter(|of| !of.has_own_accounts());
        let has_root = has_tf || others.any(|of| of.is_listed(&values));
        if has_root && !is_proxy {
            values.need("server", "root", "add it");
        }
        if has_vault {
            vault::check(&mut values);
        }
        let has_hub = Protocol::Hub.is_listed(&values);
        if has_hub {
            hub::check(&mut values);
        }
        let has_holder = Protocol::Holder.is_listed(&values);
        if has_holder {
            holder::check(&mut values);
        }
        if has_tf {
            tf::check(&mut values);
        }
        let has_bbftp = Protocol::Bbftp.is_listed(&values);
        if has_bbftp && !is_proxy {
            bbftp::check(&mut values);
        }
        if !values.problems.is_empty() {
            values.problems.sort_by_key(Problem::place);
            return Err(values.problems);
        }
        let config = server::build(&values, has_tls).and_then(|server| {
            Some(Config {
                path: path.to_owned(),
                server,
                tf: if has_tf {
                    Some(tf::build(&values)?)
                } else {
                    None
                },
                bbftp: has_bbftp.then(|| bbftp::build(&values)),
                vault: match has_vault {
                    true => Some(vault::build(&values)?),
                    false => None,
                },
                hub: match has_hub {
                    true => Some(hub::build(&values)?),
                    false => None,
                },
                holder: match has_holder {
                    true => Some(holder::build(&values)?),
                    false => None,
                },
                listeners: listener::build(&values),
                data_ports: listener::data_ports(&values),
                unused: listener::unused(&values, has_tf),
                whole: None,
            })
        });
        // Every value is checked above: this would be a key without a row.
        config.ok_or_else(|| vec![Problem::new(path, "a key is missing in the table of keys")])
    }
}

/// The users file that a configuration names, also one with mistakes in the rest.
///
/// # Errors
/// One line: why there is none.
pub fn users_file(path: &Path) -> Result<PathBuf, String> {
    let text = read(path).map_err(|e| format!("{}: {e}", path.display()))?;
    let mut section = "";
    for line in text.lines().map(str::trim) {
        if line.starts_with('[') {
            section = line.split(']').next().unwrap_or(line);
        }
        if section == "[server"
            && let Some(users) = values::text_of(line, "users")
        {
            let directory = path.parent().unwrap_or(Path::new("."));
            return Ok(directory.join(users));
        }
    }
    match Config::parse(path, &text) {
        Ok(Config { server, .. }) => server.users.ok_or_else(|| {
            let shown = path.display();
            let remedy = "set mode = \"multi-user\" and users = FILE there";
            format!("{shown} does not set server.users: {remedy}, or name FILE with --users")
        }),
        Err(problems) => Err(format!("{} (or name the file with --users)", problems[0])),
    }
}

/// What the file of blocked logins is next to: see [`Config::blocked_beside`].
///
/// # Errors
/// One line: why there is none.
pub fn blocked_beside(path: &Path) -> Result<PathBuf, String> {
    users_file(path).or_else(|e| {
        let config = Config::load(path).ok();
        config.and_then(|config| config.blocked_beside()).ok_or(e)
    })
}

/// A text without the values of secrets, for processes that must not know them.
/// It has to be one that [`Config::parse`] has read without a problem.
pub fn without_secrets(text: &str) -> String {
    let mut shown = text.to_owned();
    let mut places: Vec<Range<usize>> = values::secrets(text);
    places.sort_by_key(|place| place.start);
    for place in places.into_iter().rev() {
        shown.replace_range(place, "\"kept by the keepers\"");
    }
    shown
}

/// Reads the text; root does so through no link of an ordinary user.
pub(crate) fn read(path: &Path) -> std::io::Result<String> {
    if nix::unistd::geteuid().is_root() {
        return trusted::open_to_read(path).and_then(std::io::read_to_string);
    }
    std::fs::read_to_string(path)
}

#[cfg(test)]
mod tests;
