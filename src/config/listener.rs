//! What is listened on: every address with its protocol, and whether TLS is
//! spoken there. The one place of the configuration that lists the protocols.

use std::net::SocketAddr;

use super::Config;
use super::values::Values;

/// A protocol that tfd serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Protocol {
    /// TF Protocol, or the proxy in front of a server of it.
    Tf,
}

/// All of them.
const PROTOCOLS: &[Protocol] = &[Protocol::Tf];

impl Protocol {
    /// All of them, by number.
    pub const ALL: [Protocol; 1] = [Protocol::Tf];

    /// Its section of the configuration.
    pub fn section(self) -> &'static str {
        match self {
            Protocol::Tf => "tf",
        }
    }

    /// Whether it needs the UDP port of the same number as well.
    pub fn uses_udp(self) -> bool {
        match self {
            Protocol::Tf => true,
        }
    }
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
        let prefix = if self.tls { "tls_" } else { "" };
        format!("{}.{prefix}listen", self.protocol.section())
    }
}

impl Config {
    /// Everything to listen on, by id.
    pub fn listeners(&self) -> Vec<Listener> {
        let plain = self.tf.listen.iter().map(|a| (*a, Protocol::Tf, false));
        let with_tls = self.tf.tls_listen.iter().map(|a| (*a, Protocol::Tf, true));
        (0..)
            .zip(plain.chain(with_tls))
            .map(|(id, (address, protocol, tls))| Listener {
                id,
                address,
                protocol,
                tls,
            })
            .collect()
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
    let mut has_any = false;
    for section in PROTOCOLS.iter().map(|protocol| protocol.section()) {
        for name in ["listen", "tls_listen"] {
            has_any |= values.has_elements(section, name);
            for address in values.list::<SocketAddr>(section, name) {
                if address.port() != 0 && taken.contains(&address) {
                    let text = format!(": {address} is listed twice");
                    values.problem(section, name, &text);
                }
                taken.push(address);
            }
        }
    }
    if !has_any && !values.has_unknown {
        let text = ": nothing to listen on: list an address, such as \"0.0.0.0:10345\"";
        values.problem("tf", "listen", text);
    }
}
