//! `[server] shared_state`: the store that several servers share. Its password is in a
//! file of its own, so that no other process than the one at the store has it.

use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;

use super::values::Values;

/// The port of a store, unless named.
const PORT: u16 = 6379;

/// The longest name of a fleet, in bytes.
const MAX_NAME: usize = 64;

/// The keys that need `shared_state`.
const OTHERS: [&str; 3] = [
    "shared_state_name",
    "shared_state_password_file",
    "shared_state_ca",
];

/// The store that several servers share.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SharedState {
    /// By name or address.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// Whether it is reached over TLS.
    pub tls: bool,
    /// Who logs in there, if not its default user.
    pub user: Option<String>,
    /// The number of the database.
    pub database: u32,
    /// The file with the password.
    pub password_file: Option<PathBuf>,
    /// Who vouches for it, if not those that the system trusts.
    pub authorities: Option<PathBuf>,
    /// The name of the servers that share it.
    pub name: String,
}

impl SharedState {
    /// Whether what goes there stays on this machine.
    pub fn is_here(&self) -> bool {
        let address = self.host.parse::<IpAddr>();
        self.host == "localhost" || address.is_ok_and(|address| address.is_loopback())
    }
}

impl fmt::Display for SharedState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host.contains(':') {
            true => write!(f, "[{}]:{}", self.host, self.port),
            false => write!(f, "{}:{}", self.host, self.port),
        }
    }
}

/// Reports keys that contradict each other.
pub(super) fn check(values: &mut Values<'_>, is_proxy: bool) {
    if !values.is_set("server", "shared_state") {
        for name in OTHERS {
            if values.is_set("server", name) {
                values.problem("server", name, " is of no use without shared_state");
            }
        }
        return;
    }
    if is_proxy {
        let text = " is of no use for a proxy, which lets nobody in by itself";
        values.problem("server", "shared_state", text);
    }
    let Some(Ok(store)) = values.text("server", "shared_state").map(store) else {
        return;
    };
    if store.user.is_some() {
        let remedy = "put the password of that user into a file that root alone reads";
        values.need("server", "shared_state_password_file", remedy);
    }
    if !store.tls && values.is_set("server", "shared_state_ca") {
        let text = " is of no use with redis://: use rediss://, which is TLS";
        values.problem("server", "shared_state_ca", text);
    }
}

/// The store, from checked values; the outer `None` for a wrong one.
pub(super) fn build(values: &Values<'_>) -> Option<Option<SharedState>> {
    let Some(text) = values.text("server", "shared_state") else {
        return Some(None);
    };
    let path = |name| values.path("server", name);
    Some(Some(SharedState {
        password_file: path("shared_state_password_file"),
        authorities: path("shared_state_ca"),
        name: values.text("server", "shared_state_name")?.to_owned(),
        ..store(text).ok()?
    }))
}

/// Whether a text names a store.
pub(super) fn check_store(text: &str) -> Result<(), String> {
    store(text).map(drop)
}

/// Whether a text is the name of a fleet.
pub(super) fn check_name(text: &str) -> Result<(), String> {
    let is_part = |c: u8| c.is_ascii_alphanumeric() || b".-_".contains(&c);
    match (1..=MAX_NAME).contains(&text.len()) && text.bytes().all(is_part) {
        true => Ok(()),
        false => Err(format!(
            "use 1 to {MAX_NAME} letters, digits, dots, hyphens and underscores"
        )),
    }
}

/// The store that a text names, without the rest.
fn store(text: &str) -> Result<SharedState, String> {
    let wanted = || "use \"redis://host\", \"rediss://user@host:port/database\" or the like";
    let (scheme, rest) = text.split_once("://").ok_or_else(wanted)?;
    let tls = match scheme {
        "redis" => false,
        "rediss" => true,
        _ => return Err(wanted().to_owned()),
    };
    let (user, place) = match rest.rsplit_once('@') {
        Some((user, _)) if user.contains(':') => {
            return Err("leave the password out: it is in shared_state_password_file".to_owned());
        }
        Some((user, place)) if !user.is_empty() => (Some(user.to_owned()), place),
        Some(_) => return Err(wanted().to_owned()),
        None => (None, rest),
    };
    let (place, database) = place.split_once('/').unwrap_or((place, "0"));
    let (host, port) = match place.strip_prefix('[').and_then(|v6| v6.split_once(']')) {
        Some((host, "")) => (host, None),
        Some((host, rest)) => (host, Some(rest.strip_prefix(':').ok_or_else(wanted)?)),
        None => match place.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (place, None),
        },
    };
    let is_host = |c: u8| c.is_ascii_alphanumeric() || b".-_:".contains(&c);
    if host.is_empty() || !host.bytes().all(is_host) {
        return Err(wanted().to_owned());
    }
    let port = port.map_or(Ok(PORT), |port| port.parse().map_err(|_| wanted()))?;
    Ok(SharedState {
        host: host.to_owned(),
        port: Some(port).filter(|port| *port > 0).ok_or_else(wanted)?,
        tls,
        user,
        database: database.parse().map_err(|_| wanted())?,
        password_file: None,
        authorities: None,
        name: String::new(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_store_is_named_by_its_url_without_a_password() {
        let plain = store("redis://db.example.org").expect("store");
        assert_eq!(
            (plain.to_string(), plain.tls),
            ("db.example.org:6379".to_owned(), false)
        );
        let full = store("rediss://tfd@[::1]:6380/3").expect("store");
        assert_eq!(full.to_string(), "[::1]:6380");
        assert_eq!(
            (full.user.as_deref(), full.database, full.tls),
            (Some("tfd"), 3, true)
        );
        assert!(full.is_here() && !plain.is_here());
        for secret in ["redis://:geheim@h", "rediss://u:geheim@h:1/2"] {
            let why = store(secret).expect_err("a password");
            assert!(why.contains("shared_state_password_file"), "{why}");
            assert!(!why.contains("geheim"), "{why}");
        }
        for wrong in [
            "",
            "redis",
            "redis:h",
            "http://h",
            "redis://",
            "redis://@h",
            "redis://h:0",
            "redis://h:x",
            "redis://h/x",
            "redis://a b",
            "redis://[::1]x",
            "unix:/run/redis",
        ] {
            assert!(store(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_fleet_has_a_name_that_can_not_leave_its_prefix() {
        assert!(check_name("eu-1.example").is_ok());
        for wrong in ["", "a:b", "a*", "a b", "\u{e4}", &"x".repeat(65)] {
            assert!(check_name(wrong).is_err(), "{wrong}");
        }
    }
}
