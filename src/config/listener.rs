//! What is listened on: every address with its protocol, and whether TLS is
//! spoken there. The one place of the configuration that lists the protocols.

use std::net::SocketAddr;
use std::ops::RangeInclusive;

use super::Config;
use super::parse_port_range;
use super::values::{Problem, Values};

/// The key that lists addresses without TLS.
pub const LISTEN_KEY: &str = "listen";
/// The key that lists those of the hub's relay.
pub const RELAY_KEY: &str = "relay_listen";
const TLS_KEY: &str = "tls_listen";

macro_rules! protocols {
    ($($(#[cfg($when:meta)])? $about:literal $name:ident $section:literal udp $udp:literal;)*) => {
        /// A protocol that tfd serves. Each has a section of the configuration
        /// with `listen` and `tls_listen`.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(u8)]
        pub enum Protocol { $($(#[cfg($when)])? #[doc = $about] $name,)* }

        impl Protocol {
            /// All of them, by number.
            pub const ALL: &[Protocol] = &[$($(#[cfg($when)])? Protocol::$name,)*];

            /// Its section of the configuration.
            pub fn section(self) -> &'static str {
                match self { $($(#[cfg($when)])? Protocol::$name => $section,)* }
            }

            /// Whether it needs the UDP port of the same number as well.
            pub fn uses_udp(self) -> bool {
                match self { $($(#[cfg($when)])? Protocol::$name => $udp,)* }
            }
        }
    };
}

protocols! {
    "TF Protocol, or the proxy in front of a server of it." Tf "tf" udp true;
    "BBFTP." Bbftp "bbftp" udp false;
    "The vault." Vault "vault" udp false;
    "The backup hub." Hub "hub" udp false;
    "A keeper of others' backups." Holder "holder" udp false;
    #[cfg(feature = "testing")] "A protocol of tests." Echo "echo" udp false;
}

impl Protocol {
    /// Whether it has accounts of its own, and sessions beneath a root of its own.
    pub fn has_own_accounts(self) -> bool {
        matches!(self, Protocol::Vault | Protocol::Hub | Protocol::Holder)
    }

    /// The keys that list addresses without TLS of the daemon's.
    fn plain(self) -> &'static [&'static str] {
        match self {
            // Its peers seal what they say there for each other.
            Protocol::Hub => &[LISTEN_KEY, RELAY_KEY],
            _ => &[LISTEN_KEY],
        }
    }

    /// The keys that list its addresses, with or without TLS.
    fn keys(self, tls: bool) -> &'static [&'static str] {
        if tls { &[TLS_KEY] } else { self.plain() }
    }

    /// Whether any address is listed for it.
    pub(super) fn is_listed(self, values: &Values<'_>) -> bool {
        let has = |name| values.has_elements(self.section(), name);
        has(LISTEN_KEY) || has(TLS_KEY)
    }
}

/// The keys of protocols for which no address is listed, except TF's with `has_tf`.
pub(super) fn unused(values: &Values<'_>, has_tf: bool) -> Vec<Problem> {
    let mut unlisted = Protocol::ALL.to_vec();
    unlisted.retain(|protocol| {
        let is_served = has_tf && *protocol == Protocol::Tf;
        !is_served && !protocol.is_listed(values)
    });
    let sections = unlisted.into_iter().map(Protocol::section);
    sections
        .filter_map(|section| values.unused(section))
        .collect()
}

/// Whether any listener speaks TLS.
pub(super) fn has_tls(values: &Values<'_>) -> bool {
    let has_tls = |protocol: &Protocol| values.has_elements(protocol.section(), TLS_KEY);
    Protocol::ALL.iter().any(has_tls)
}

/// An address to listen on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listener {
    /// Its place in [`Config::listeners`]: what a gate learns of it.
    pub id: u16,
    /// Where.
    pub address: SocketAddr,
    /// For which protocol.
    pub protocol: Protocol,
    /// Whether its clients speak TLS.
    pub tls: bool,
    /// The key that lists it, in the section of its protocol.
    pub key: &'static str,
}

impl Listener {
    /// The key that lists it, with its section.
    pub fn full_key(&self) -> String {
        format!("{}.{}", self.protocol.section(), self.key)
    }
}

impl Config {
    /// Everything to listen on, by id.
    pub fn listeners(&self) -> Vec<Listener> {
        self.listeners.clone()
    }

    /// The ports of this machine for data connections of a protocol; 0 alone for
    /// any.
    pub fn data_ports(&self, protocol: Protocol) -> RangeInclusive<u16> {
        let listed = self.data_ports.get(protocol as usize);
        listed.cloned().unwrap_or(0..=0)
    }

    /// What an open socket at this address is for: what it was for before, if
    /// the address is still listed so (port 0 may be listed twice).
    pub fn listener_at(&self, address: SocketAddr, before: (u8, &str)) -> Option<Listener> {
        let mut listed = self.listeners();
        listed.retain(|listener| listener.address == address);
        let same = |listener: &&Listener| (listener.protocol as u8, listener.key) == before;
        let found = listed.iter().find(same).or(listed.first());
        found.copied()
    }
}

/// Reports addresses that are listed twice, and that none is listed.
pub(super) fn check(values: &mut Values<'_>) {
    let mut taken: Vec<SocketAddr> = Vec::new();
    for protocol in Protocol::ALL {
        let section = protocol.section();
        let keys = [false, true].map(|tls| protocol.keys(tls));
        for name in keys.into_iter().flatten() {
            for address in values.list::<SocketAddr>(section, name) {
                if address.port() != 0 && taken.contains(&address) {
                    let text = format!(": {address} is listed twice");
                    values.problem(section, name, &text);
                }
                taken.push(address);
            }
        }
    }
    let is_listed = |protocol: &Protocol| protocol.is_listed(values);
    if !Protocol::ALL.iter().any(is_listed) && !values.has_unknown {
        let text = ": nothing to listen on: list an address, such as \"0.0.0.0:10345\"";
        values.problem("tf", "listen", text);
    }
}

/// The ports for data connections of every protocol, by number, from checked
/// values.
pub(super) fn data_ports(values: &Values<'_>) -> Vec<RangeInclusive<u16>> {
    let ports = |protocol: &Protocol| {
        let text = values.text(protocol.section(), "data_ports");
        text.and_then(parse_port_range).unwrap_or(0..=0)
    };
    Protocol::ALL.iter().map(ports).collect()
}

/// Everything to listen on, from checked values.
pub(super) fn build(values: &Values<'_>) -> Vec<Listener> {
    let mut listeners = Vec::new();
    for tls in [false, true] {
        for protocol in Protocol::ALL.iter().copied() {
            for key in protocol.keys(tls) {
                let addresses = values.list::<SocketAddr>(protocol.section(), key);
                listeners.extend(addresses.into_iter().map(|address| Listener {
                    id: 0,
                    address,
                    protocol,
                    tls,
                    key,
                }));
            }
        }
    }
    for (id, listener) in (0..).zip(&mut listeners) {
        listener.id = id;
    }
    listeners
}
