//! What both ends of a handshake have in common: records are read one at a
//! time, so that nothing behind the handshake is read by rustls; and the
//! traffic secrets are kept for the records that follow.

use std::sync::{Mutex, PoisonError};

use rustls::KeyLog;
use zeroize::Zeroizing;

use crate::net::tls::keys::Suite;
use crate::net::tls::records::{HEADER, Inbox, Records};
use crate::net::{Link, LinkError};

/// The type of a record that a handshake begins with.
const HANDSHAKE: u8 = 22;

/// The first traffic secrets of a connection.
#[derive(Default)]
pub(crate) struct Secrets(Mutex<[Zeroizing<Vec<u8>>; 2]>);

const LABELS: [&str; 2] = ["CLIENT_TRAFFIC_SECRET_0", "SERVER_TRAFFIC_SECRET_0"];

impl KeyLog for Secrets {
    fn log(&self, label: &str, _: &[u8], secret: &[u8]) {
        if let Some(at) = LABELS.iter().position(|known| *known == label) {
            let mut secrets = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            secrets[at] = Zeroizing::new(secret.to_vec());
        }
    }

    fn will_log(&self, label: &str) -> bool {
        LABELS.contains(&label)
    }
}

impl std::fmt::Debug for Secrets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secrets")
    }
}

/// Which end of a connection this is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    Client,
    Server,
}

impl Secrets {
    /// The records that follow the handshake, with the numbers of the next ones
    /// from the peer and to it.
    pub(crate) fn records(
        &self,
        end: End,
        suite: rustls::CipherSuite,
        (rx, tx): (u64, u64),
        inbox: Inbox,
    ) -> Option<Records> {
        let secrets = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let [client, server] = &*secrets;
        let (from, to) = if end == End::Server {
            (client, server)
        } else {
            (server, client)
        };
        Records::new(Suite::of(suite)?, (from, rx), (to, tx), inbox)
    }
}

/// Reads until a record is whole: its length, header included.
pub(crate) fn read_record(link: &mut Link, inbox: &mut Inbox) -> Result<usize, LinkError> {
    loop {
        match inbox.whole_record() {
            Ok(Some(len)) => return Ok(HEADER + len),
            Ok(None) => {}
            Err(fault) => return Err(LinkError::Tls(fault.text)),
        }
        let n = link.read_handshake(inbox.room(0))?;
        inbox.arrived(n);
        check_begin(inbox.raw())?;
    }
}

/// What no TLS begins with is refused at its first byte.
fn check_begin(raw: &[u8]) -> Result<(), LinkError> {
    match raw {
        [0, ..] => Err(LinkError::Tls("a client without TLS on a TLS listener")),
        [HANDSHAKE | 20 | 21 | 23, 3, ..] | [HANDSHAKE | 20 | 21 | 23] => Ok(()),
        _ => Err(LinkError::Tls("what came is not TLS")),
    }
}
