//! The keys of the transparent proxy (document, "Transparent Proxy System"):
//! where it relays to and from which addresses, and whom a server behind one
//! believes.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use toml::Spanned;

use super::Problem;
use super::file::Reader;
use crate::users::account::Network;

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
    /// Whether the backend is told the client's address.
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
    /// Whatever addresses the name has.
    Name(String),
}

impl Backend {
    /// Reads `host:port`; an IPv6 address stands in brackets.
    #[must_use]
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

/// A name that could be a host's, and no mistyped address.
fn name(text: &str) -> Option<String> {
    let fine = |c: char| c.is_ascii_alphanumeric() || "-._".contains(c);
    let numeric = text.chars().all(|c| c.is_ascii_digit() || c == '.');
    let fits = (1..=MAX_NAME).contains(&text.len()) && text.chars().all(fine) && !numeric;
    fits.then(|| text.to_owned())
}

impl fmt::Display for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.host {
            Host::Address(address) => SocketAddr::new(*address, self.port).fmt(f),
            Host::Name(name) => write!(f, "{name}:{}", self.port),
        }
    }
}

/// The keys as they stand in the file.
pub(super) struct Keys {
    pub(super) to: Option<Spanned<String>>,
    pub(super) from: Option<Spanned<Vec<Spanned<String>>>>,
    pub(super) announce: Option<Spanned<bool>>,
}

impl Reader<'_> {
    /// Where the proxy relays to, if there is one.
    pub(super) fn proxy(&mut self, keys: Keys, listen: &[SocketAddr]) -> Option<Proxy> {
        let Some(to) = keys.to else {
            let lone = [
                keys.from.map(|from| (from.span(), "tf.proxy_from")),
                keys.announce
                    .map(|announce| (announce.span(), "tf.proxy_protocol")),
            ];
            for (span, key) in lone.into_iter().flatten() {
                self.problem(
                    span,
                    format!("{key}: of no use without proxy_to: remove it"),
                );
            }
            return None;
        };
        let backend = Backend::parse(to.get_ref());
        match &backend {
            None => self.problem(
                to.span(),
                format!(
                    "tf.proxy_to: \"{}\" is no host:port, such as \"192.0.2.1:10345\", \
                     \"[2001:db8::1]:10345\" or \"files.example.org:10345\"",
                    to.get_ref()
                ),
            ),
            Some(backend) if leads_back(backend, listen) => {
                self.problem(
                    to.span(),
                    "tf.proxy_to: this server itself: name the one behind it",
                );
            }
            Some(_) => {}
        }
        let host = backend.as_ref().map(|backend| &backend.host);
        let from = keys
            .from
            .map(|from| self.sources(from, host))
            .unwrap_or_default();
        let announce = keys.announce.is_some_and(Spanned::into_inner);
        let nowhere = Backend {
            host: Host::Name(String::new()),
            port: 0,
        };
        Some(Proxy {
            backend: backend.unwrap_or(nowhere),
            from,
            announce,
        })
    }

    fn sources(
        &mut self,
        raw: Spanned<Vec<Spanned<String>>>,
        backend: Option<&Host>,
    ) -> Vec<IpAddr> {
        let span = raw.span();
        let mut sources = Vec::new();
        for text in raw.into_inner() {
            match text.get_ref().parse::<IpAddr>() {
                Ok(address) if !address.is_unspecified() => sources.push(address),
                _ => {
                    let text_there = text.get_ref();
                    let told =
                        format!("tf.proxy_from: \"{text_there}\" is no address of a machine");
                    self.problem(text.span(), told);
                }
            }
        }
        if let Some(Host::Address(backend)) = backend
            && !sources.is_empty()
            && !sources
                .iter()
                .any(|source| source.is_ipv4() == backend.is_ipv4())
        {
            let text = "tf.proxy_from: no address of the family of proxy_to: add one";
            self.problem(span, text);
        }
        sources
    }

    /// A list of networks.
    pub(super) fn networks(&mut self, key: &str, raw: Vec<Spanned<String>>) -> Vec<Network> {
        let mut networks = Vec::new();
        for text in raw {
            match text.get_ref().parse() {
                Ok(network) => networks.push(network),
                Err(e) => self.problem(text.span(), format!("{key}: \"{}\": {e}", text.get_ref())),
            }
        }
        networks
    }

    /// Tells of a key that has no effect where nothing but relaying is done.
    pub(super) fn of_no_use(&mut self, key: &str) {
        let text = format!("{key}: a proxy serves no file: remove this key or tf.proxy_to");
        self.problems.push(Problem::new(self.path, text));
    }
}

/// Whether an address is one listened on here.
fn leads_back(backend: &Backend, listen: &[SocketAddr]) -> bool {
    let Host::Address(to) = backend.host else {
        return false;
    };
    listen.iter().any(|address| {
        let everywhere = address.ip().is_unspecified() && to.is_loopback();
        let same_family = address.is_ipv4() == to.is_ipv4();
        address.port() == backend.port && same_family && (address.ip() == to || everywhere)
    })
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
            let said = format!("the key {key} is missing");
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
                "tfd.toml:6: tf.proxy_to: \"a\" is no host:port",
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
                "tfd.toml:7: tf.proxy_from: \"x\" is no",
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
                "server.accept_proxy_from: \"all\": not a network",
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
