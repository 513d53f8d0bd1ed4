//! Alerts (RFC 8446, 6), and their texts in the log.

pub(crate) const CLOSE_NOTIFY: u8 = 0;
pub(crate) const USER_CANCELED: u8 = 90;

/// Why records can't go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    /// The alert for the peer, unless it came from the peer.
    pub(crate) alert: Option<u8>,
    /// The text for the log.
    pub(crate) text: &'static str,
}

impl Fault {
    pub(crate) const UNEXPECTED: Fault = Fault {
        alert: Some(10),
        text: "TLS record that has no meaning here",
    };
    pub(crate) const BAD_RECORD: Fault = Fault {
        alert: Some(20),
        text: "TLS record that does not decipher",
    };
    pub(crate) const TOO_LONG: Fault = Fault {
        alert: Some(22),
        text: "TLS record too long",
    };
    pub(crate) const NO_DATA: Fault = Fault {
        alert: Some(10),
        text: "too many TLS records without data",
    };
    pub(crate) const KEPT_KEY: Fault = Fault {
        alert: None,
        text: "TLS: a new key is due, and the kernel keeps the old one",
    };
    pub(crate) const INTERNAL: Fault = Fault {
        alert: Some(80),
        text: "TLS: no key",
    };

    /// An alert of the peer.
    pub(crate) fn by_peer(description: u8) -> Fault {
        let text = match description {
            10 => "TLS alert of the peer: unexpected message",
            20 => "TLS alert of the peer: bad record",
            22 => "TLS alert of the peer: record overflow",
            42..=46 => "TLS alert of the peer: it refuses the certificate",
            48 => "TLS alert of the peer: unknown certificate authority",
            80 => "TLS alert of the peer: internal error",
            116 => "TLS alert of the peer: it wants a certificate",
            _ => "TLS alert of the peer",
        };
        Fault { alert: None, text }
    }
}
