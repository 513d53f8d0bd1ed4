//! The keys of the transparent proxy (document, "Transparent Proxy System"):
//! where it relays to, and from which addresses.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};

/// The longest name of a host.
const MAX_NAME: usize = 253;

/// Where clients are relayed to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proxy {
    /// The server behind it.
    pub backend: Backend,
    /// The local addresses connections go out from, in turn; none for the
    /// system's choice.
    pub from: Vec<IpAddr>,
    /// Whether the backend gets the client's address.
    pub announce: bool,
}

/// A server by address or name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Backend {
    /// Its machine.
    pub host: Host,
    /// Its port, TCP and UDP.
    pub port: u16,
}

/// A machine by address or name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Host {
    /// This address.
    Address(IpAddr),
    /// The addresses of this name.
    Name(String),
}

impl Backend {
    /// Reads `host:port`; an IPv6 address stands in brackets.
    pub fn parse(text: &str) -> Option<Backend> {
        let (host, port) = text.rsplit_once(':')?;
        let port = port.parse().ok().filter(|port| *port > 0)?;
        let host = match host
            .strip_prefix('[')
            .and_then(|host| host.strip_suffix(']'))
        {
            Some(v6) => Host::Address(v6.parse::<Ipv6Addr>().ok()?.into()),
            None => match host.parse() {
                Ok(IpAddr::V4(v4)) => Host::Address(v4.into()),
                Ok(IpAddr::V6(_)) => return None,
                Err(_) => Host::Name(name(host)?),
            },
        };
        Some(Backend { host, port })
    }
}

/// A name that a host may have, not a mistyped address.
fn name(text: &str) -> Option<String> {
    let is_part = |c: char| c.is_ascii_alphanumeric() || "-._".contains(c);
    let is_number = text.chars().all(|c| c.is_ascii_digit() || c == '.');
    let is_name = (1..=MAX_NAME).contains(&text.len()) && text.chars().all(is_part) && !is_number;
    is_name.then(|| text.to_owned())
}

impl fmt::Display for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.host {
            Host::Address(address) => SocketAddr::new(*address, self.port).fmt(f),
            Host::Name(name) => write!(f, "{name}:{}", self.port),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::Config;

    const PROXY: &str = "[server]\nuser = \"nobody\"\n\n[tf]\nlisten = [\"127.0.0.1:1\"]\n";

    fn problems(lines: &str) -> Vec<String> {
        // Keys of [server] come before the line [tf] in `lines`.
        let (server, tf) = lines.split_once("[tf]\n").unwrap_or(("", lines));
        let text = PROXY.replace("[tf]", &format!("{server}[tf]")) + tf + "\n";
        let problems = Config::parse(Path::new("/etc/tfd/tfd.toml"), &text).err();
        problems
            .unwrap_or_default()
            .iter()
            .map(ToString::to_string)
            .collect()
    }

    #[test]
    fn a_backend_is_an_address_or_a_name_with_a_port() {
        for (text, host) in [
            ("192.0.2.1:10345", Host::Address([192, 0, 2, 1].into())),
            ("[::1]:10345", Host::Address(Ipv6Addr::LOCALHOST.into())),
            (
                "files.example.org:10345",
                Host::Name("files.example.org".to_owned()),
            ),
        ] {
            let backend = Backend::parse(text).expect(text);
            assert_eq!((&backend.host, backend.port), (&host, 10345), "{text}");
            assert_eq!(backend.to_string(), text);
        }
        for bad in [
            "", "a", "a:", ":1", "a:0", "a:70000", "::1:1", "[a]:1", "1.2.3:1", "a b:1",
        ] {
            assert_eq!(Backend::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_proxy_needs_neither_key_nor_hash_nor_root() {
        assert_eq!(problems("proxy_to = \"192.0.2.1:1\""), [""; 0]);
        let all = "proxy_to = \"a:2\"\nproxy_from = [\"127.0.0.2\"]\nproxy_protocol = true";
        assert_eq!(problems(all), [""; 0]);
        let missing = problems("");
        for key in ["version", "hash", "root", "private_key"] {
            let said = format!("{key} is missing");
            assert!(
                missing.iter().any(|problem| problem.contains(&said)),
                "{missing:?}"
            );
        }
    }

    #[test]
    fn what_contradicts_a_proxy_is_told_with_its_key() {
        for (lines, said) in [
            (
                "proxy_to = \"a\"",
                "tfd.toml:6: tf.proxy_to: \"a\" is not a host:port",
            ),
            (
                "proxy_to = \"127.0.0.1:1\"",
                "tfd.toml:6: tf.proxy_to: this server itself",
            ),
            (
                "jail = true\n[tf]\nproxy_to = \"a:1\"",
                "server.jail: a proxy serves no file",
            ),
            (
                "quota = \"1G\"\n[tf]\nproxy_to = \"a:1\"",
                "server.quota: a proxy serves no file",
            ),
            (
                "proxy_to = \"a:1\"\ntlb_pool = \"p\"",
                "tf.tlb_pool: a proxy serves no file",
            ),
            (
                "proxy_to = \"a:1\"\ntlb_dns = \"_tf._tcp.a\"",
                "tf.tlb_dns: a proxy serves",
            ),
            (
                "mode = \"multi-user\"\nusers = \"u\"\n[tf]\nproxy_to = \"a:1\"",
                "server.mode: a proxy",
            ),
            (
                "proxy_to = \"a:1\"\nproxy_from = [\"x\"]",
                "tfd.toml:7: tf.proxy_from: \"x\" is not",
            ),
            (
                "proxy_to = \"[::2]:1\"\nproxy_from = [\"127.0.0.2\"]",
                "of the family of proxy_to",
            ),
            (
                "proxy_protocol = true",
                "tfd.toml:6: tf.proxy_protocol: of no use without",
            ),
            (
                "proxy_from = []",
                "tfd.toml:6: tf.proxy_from: of no use without",
            ),
            (
                "accept_proxy_from = [\"all\"]\n[tf]\n",
                "server.accept_proxy_from: \"all\" is not a network",
            ),
        ] {
            let problems = problems(lines);
            assert!(
                problems.iter().any(|problem| problem.contains(said)),
                "{lines}: {problems:?}"
            );
        }
    }
}
