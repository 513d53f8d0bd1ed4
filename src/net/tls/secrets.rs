//! What only the keeper has: the private key of the certificate, which signs
//! handshakes and nothing else, and the keys of tickets. Those follow from the
//! private key and the certificate, so that every keeper has the same, and that
//! a new certificate ends all tickets.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::hkdf::{HKDF_SHA256, Salt};
use rustls::SignatureScheme;
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject;
use rustls::sign::SigningKey;
use zeroize::Zeroizing;

use crate::net::tls::certificate::Chain;
use crate::net::tls::provider;

/// How long a ticket is good for, at least; at most twice as long.
pub const TICKET_LIFE: Duration = Duration::from_secs(6 * 3600);

/// The longest session that is made a ticket, in bytes.
pub const MAX_SESSION: usize = 1024;
/// The longest ticket, in bytes.
pub const MAX_TICKET: usize = MAX_SESSION + NONCE_LEN + 16;

/// What a server signs begins with this (RFC 8446, 4.4.3); a hash follows.
const SIGNED: &[u8] = b"TLS 1.3, server CertificateVerify\0";
const PADDING: usize = 64;
const HASHES: [usize; 2] = [32, 48];

/// No content that is signed is longer.
pub const MAX_SIGNED: usize = PADDING + SIGNED.len() + 48;

/// The private key, and what the keys of tickets follow from.
pub struct TlsSecrets {
    key: Arc<dyn SigningKey>,
    tickets: Zeroizing<Vec<u8>>,
}

/// Whether this is what a server signs in a handshake.
fn is_handshake(content: &[u8]) -> bool {
    let hash = content
        .split_at_checked(PADDING)
        .filter(|(padding, _)| padding.iter().all(|byte| *byte == b' '))
        .and_then(|(_, rest)| rest.strip_prefix(SIGNED));
    hash.is_some_and(|hash| HASHES.contains(&hash.len()))
}

impl TlsSecrets {
    /// From a key and the certificate that is shown, both in PEM.
    ///
    /// # Errors
    /// What is wrong with either.
    pub fn new(key: &[u8], certificate: &[u8]) -> Result<TlsSecrets, String> {
        let der = PrivateKeyDer::from_pem_slice(key)
            .map_err(|_| "no private key in PEM without a passphrase".to_owned())?;
        let chain = Chain::from_pem(certificate)?;
        let first = chain
            .certificates()
            .first()
            .map(|first| first.to_vec())
            .unwrap_or_default();
        let tickets = Zeroizing::new([der.secret_der(), &first].concat());
        let key = provider()
            .key_provider
            .load_private_key(der)
            .map_err(|e| e.to_string())?;
        Ok(TlsSecrets { key, tickets })
    }

    /// A signature over the content of a server's CertificateVerify; none over
    /// anything else.
    pub fn sign(&self, scheme: u16, content: &[u8]) -> Option<Vec<u8>> {
        if !is_handshake(content) {
            return None;
        }
        self.key
            .choose_scheme(&[SignatureScheme::from(scheme)])?
            .sign(content)
            .ok()
    }

    /// A session as a ticket that nobody else can read or make.
    pub fn seal(&self, session: &[u8]) -> Option<Vec<u8>> {
        self.seal_at(session, period(SystemTime::now()))
    }

    fn seal_at(&self, session: &[u8], period: u64) -> Option<Vec<u8>> {
        if session.len() > MAX_SESSION {
            return None;
        }
        let mut nonce = [0; NONCE_LEN];
        getrandom::fill(&mut nonce).ok()?;
        let mut ticket = nonce.to_vec();
        let mut sealed = session.to_vec();
        let nonce = Nonce::assume_unique_for_key(nonce);
        self.ticket_key(period)?
            .seal_in_place_append_tag(nonce, Aad::empty(), &mut sealed)
            .ok()?;
        ticket.extend_from_slice(&sealed);
        Some(ticket)
    }

    /// The session in a ticket made in this period or the one before.
    pub fn open(&self, ticket: &[u8]) -> Option<Vec<u8>> {
        self.open_at(ticket, period(SystemTime::now()))
    }

    fn open_at(&self, ticket: &[u8], period: u64) -> Option<Vec<u8>> {
        let (nonce, sealed) = ticket.split_first_chunk::<NONCE_LEN>()?;
        [period, period.saturating_sub(1)]
            .into_iter()
            .find_map(|period| {
                let mut sealed = sealed.to_vec();
                let nonce = Nonce::assume_unique_for_key(*nonce);
                let session =
                    self.ticket_key(period)?
                        .open_in_place(nonce, Aad::empty(), &mut sealed);
                session.ok().map(|session| session.to_vec())
            })
    }

    /// The key of the tickets of a period.
    fn ticket_key(&self, period: u64) -> Option<LessSafeKey> {
        let secret = Salt::new(HKDF_SHA256, b"tfd tickets").extract(&self.tickets);
        let period = period.to_be_bytes();
        let info = [&period[..]];
        let key = secret.expand(&info, &AES_256_GCM).ok()?;
        Some(LessSafeKey::new(UnboundKey::from(key)))
    }
}

/// Periods of [`TICKET_LIFE`] since the epoch.
fn period(now: SystemTime) -> u64 {
    now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs() / TICKET_LIFE.as_secs()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::tls::certificate::self_signed;

    fn secrets() -> (TlsSecrets, Vec<u8>) {
        let (certificate, key) = self_signed(&["localhost".to_owned()]).expect("certificate");
        (
            TlsSecrets::new(&key, &certificate).expect("secrets"),
            key.to_vec(),
        )
    }

    #[test]
    fn only_what_a_server_signs_in_a_handshake_is_signed() {
        let (secrets, _) = secrets();
        let scheme = u16::from(SignatureScheme::ECDSA_NISTP256_SHA256);
        let content = |padding: u8, context: &[u8], hash: usize| {
            [&[padding; PADDING][..], context, &vec![7; hash]].concat()
        };
        for hash in HASHES {
            assert!(secrets.sign(scheme, &content(b' ', SIGNED, hash)).is_some());
        }
        for other in [
            content(b'!', SIGNED, 32),
            content(b' ', b"TLS 1.3, client CertificateVerify\0", 32),
            content(b' ', &SIGNED[..SIGNED.len() - 1], 32),
            content(b' ', SIGNED, 31),
            content(b' ', SIGNED, 49),
            content(b' ', SIGNED, 0),
            vec![b' '; 200],
            Vec::new(),
        ] {
            assert_eq!(
                secrets.sign(scheme, &other),
                None,
                "{}",
                other.escape_ascii()
            );
        }
        assert_eq!(
            secrets.sign(0x0804, &content(b' ', SIGNED, 32)),
            None,
            "another algorithm"
        );
    }

    #[test]
    fn a_ticket_is_good_for_a_time_and_for_one_certificate() {
        let (one, key) = secrets();
        let ticket = one.seal_at(b"session", 100).expect("ticket");
        for (period, fine) in [(99, false), (100, true), (101, true), (102, false)] {
            assert_eq!(one.open_at(&ticket, period).is_some(), fine, "{period}");
        }
        assert_eq!(one.open_at(&ticket, 100).as_deref(), Some(&b"session"[..]));
        let mut changed = ticket.clone();
        changed[20] ^= 1;
        for bad in [changed.as_slice(), &ticket[1..], b"", b"short"] {
            assert_eq!(one.open_at(bad, 100), None);
        }
        assert!(one.seal_at(&[0; MAX_SESSION + 1], 100).is_none());
        let (certificate, _) = self_signed(&["other".to_owned()]).expect("certificate");
        let other = TlsSecrets::new(&key, &certificate).expect("secrets");
        assert_eq!(other.open_at(&ticket, 100), None, "another certificate");
    }
}
