//! The first configuration of a new server: conf/tfd.toml, whose comments explain
//! every key, with the values of this machine.

use std::net::{IpAddr, SocketAddr};
use std::path::Path;

use toml_edit::{Array, Value};

const TEMPLATE: &str = include_str!("../../../conf/tfd.toml");

/// The version string that clients send by default.
pub(crate) const VERSION: &str = "0.0";

/// The values for the template.
pub(crate) struct Values<'a> {
    pub(crate) user: Option<&'a str>,
    pub(crate) directory: &'a Path,
    pub(crate) root: &'a Path,
    pub(crate) addresses: &'a [IpAddr],
    pub(crate) port: u16,
    pub(crate) hash: &'a str,
    pub(crate) users: Option<&'a Path>,
}

/// The port for TLS next to this one.
pub(crate) fn tls_port(port: u16) -> u16 {
    if port == 0 { 0 } else { port + 1 }
}

/// The configuration with these values.
///
/// # Errors
/// A path that cannot be written in TOML, or the address in use.
pub(crate) fn fill(values: &Values<'_>) -> Result<String, String> {
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
        ("listen", listen(values.port)),
        ("tls_listen", listen(tls_port(values.port))),
        ("tls_certificate", beside("tls.pem")?),
        ("tls_key", beside("tls-key.pem")?),
        ("version", Value::from(VERSION)),
        ("hash", Value::from(values.hash)),
        ("root", path(values.root)?),
        ("private_key", beside("private.pem")?),
    ];
    if let Some(users) = values.users {
        keys.extend([("mode", Value::from("multi-user")), ("users", path(users)?)]);
    }
    if let Some(user) = values.user {
        keys.push(("user", Value::from(user)));
    }
    let lines = TEMPLATE.lines().map(|line| match assigned(line) {
        Some("user") if values.user.is_none() => format!("#{line}\n"),
        Some(key) => match keys.iter().find(|(name, _)| *name == key) {
            Some((key, value)) => format!("{key} = {value}\n"),
            None => format!("{line}\n"),
        },
        None => format!("{line}\n"),
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
    use crate::config::{Config, Mode};

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
        let (server, tf) = (&config.server, &config.tf);
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
