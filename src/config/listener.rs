//! What is listened on: every address with its protocol, and whether TLS is
//! spoken there. The one place of the configuration that lists the protocols.

use std::net::SocketAddr;
use std::ops::RangeInclusive;

use super::Config;
use super::parse_port_range;
use super::values::{Problem, Values};

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

    /// The key that lists addresses without TLS of the daemon's.
    fn plain(self) -> &'static str {
        match self {
            // Its peers seal what they say there for each other.
            Protocol::Hub => "relay_listen",
            _ => "listen",
        }
    }

    /// Whether any address is listed for it.
    pub(super) fn is_listed(self, values: &Values<'_>) -> bool {
        let has = |name| values.has_elements(self.section(), name);
        has("listen") || has("tls_listen")
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
    let has_tls = |protocol: &Protocol| values.has_elements(protocol.section(), "tls_listen");
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
}

impl Listener {
    /// The key that lists it.
    pub fn key(&self) -> String {
        let key = match self.tls {
            true => "tls_listen",
            false => self.protocol.plain(),
        };
        format!("{}.{key}", self.protocol.section())
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
    pub fn listener_at(&self, address: SocketAddr, before: (u8, bool)) -> Option<Listener> {
        let mut listed = self.listeners();
        listed.retain(|listener| listener.address == address);
        let same = |listener: &&Listener| (listener.protocol as u8, listener.tls) == before;
        let found = listed.iter().find(same).or(listed.first());
        found.copied()
    }
}

/// Reports addresses that are listed twice, and that none is listed.
pub(super) fn check(values: &mut Values<'_>) {
    let mut taken: Vec<SocketAddr> = Vec::new();
    for protocol in Protocol::ALL {
        let section = protocol.section();
        for name in [protocol.plain(), "tls_listen"] {
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
            let key = if tls { "tls_listen" } else { protocol.plain() };
            let addresses = values.list::<SocketAddr>(protocol.section(), key);
            listeners.extend(
                addresses
                    .into_iter()
                    .map(|address| (protocol, address, tls)),
            );
        }
    }
    (0..)
        .zip(listeners)
        .map(|(id, (protocol, address, tls))| Listener {
            id,
            address,
            protocol,
            tls,
        })
        .collect()
}
