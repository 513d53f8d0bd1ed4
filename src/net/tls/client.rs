//! The client's side of the handshake: whom it trusts, who it is, and the
//! sessions it may resume.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{Resumption, UnbufferedClientConnection};
use rustls::crypto::verify_tls13_signature;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::unbuffered::{ConnectionState, EncodeError, UnbufferedStatus};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, PeerIncompatible, RootCertStore,
    SignatureScheme,
};

use crate::net::tls::certificate::{certificates, ed25519_key, fingerprint, roots};
use crate::net::tls::records::Inbox;
use crate::net::tls::server::EXPORTED;
use crate::net::tls::{Alpn, End, Secrets, algorithms, provider, read_record};
use crate::net::{Link, LinkError};

/// Which servers a client believes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trust {
    /// The one whose public key has this SHA-256, base64 without padding, as
    /// [`fingerprint`] makes it; with or without `SHA256:` before it.
    Pin(String),
    /// Those that one of these certificates, in PEM, vouches for.
    Authorities(Vec<u8>),
    /// Those that the system trusts.
    System,
}

/// The application protocol that a server has chosen, and what both ends have exported.
type Shaken = (Option<Vec<u8>>, Option<[u8; EXPORTED]>);

/// How a client speaks TLS. Copies share the sessions that can be resumed.
#[derive(Clone)]
pub struct Tls {
    config: Arc<ClientConfig>,
    shown: Arc<Mutex<Vec<Vec<u8>>>>,
}

/// Why a handshake failed.
#[derive(Debug, thiserror::Error)]
pub enum HelloError {
    /// The connection ended.
    #[error(transparent)]
    Link(#[from] LinkError),
    /// The server has another key than the one pinned, or named.
    #[error("its certificate is not the one pinned")]
    NotPinned,
    /// What was wrong.
    #[error("{0}")]
    Refused(String),
}

impl Tls {
    /// A client that trusts these servers and, where the server asks for it,
    /// shows a certificate; that and its key are in PEM.
    ///
    /// # Errors
    /// What is wrong with what was given.
    pub fn new(trust: &Trust, own: Option<(&[u8], &[u8])>) -> Result<Tls, String> {
        let roots = match trust {
            Trust::Pin(pin) => {
                let pin = pin
                    .strip_prefix("SHA256:")
                    .unwrap_or(pin)
                    .trim_end_matches('=');
                if pin.len() != 43 {
                    return Err("no SHA-256 in base64, 43 characters".to_owned());
                }
                return Tls::with(
                    Some(Checked::Pin(pin.to_owned())),
                    RootCertStore::empty(),
                    own,
                );
            }
            Trust::Authorities(pem) => roots(pem)?,
            Trust::System => {
                let mut roots = RootCertStore::empty();
                roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
                roots
            }
        };
        if roots.is_empty() {
            return Err("the system has no certificates of authorities: name a file".to_owned());
        }
        Tls::with(None, roots, own)
    }

    /// One that believes the server whose certificate, which nobody vouches for, has
    /// this Ed25519 key. No session is resumed.
    ///
    /// # Errors
    /// The library's.
    pub fn for_key(key: [u8; 32]) -> Result<Tls, String> {
        let mut tls = Tls::with(Some(Checked::Key(key)), RootCertStore::empty(), None)?;
        let mut config = ClientConfig::clone(&tls.config);
        config.resumption = Resumption::disabled();
        tls.config = Arc::new(config);
        Ok(tls)
    }

    /// One that believes every server, to look at its certificate, or to ask what needs
    /// no secret.
    ///
    /// # Errors
    /// The library's.
    pub(crate) fn looking() -> Result<Tls, String> {
        Tls::with(Some(Checked::Nothing), RootCertStore::empty(), None)
    }

    fn with(
        checked: Option<Checked>,
        roots: RootCertStore,
        own: Option<(&[u8], &[u8])>,
    ) -> Result<Tls, String> {
        let shown = Arc::new(Mutex::new(Vec::new()));
        let as_text = |e: Error| e.to_string();
        let builder = ClientConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&rustls::version::TLS13])
            .map_err(as_text)?;
        let builder = match checked {
            None => builder.with_root_certificates(roots),
            Some(checked) => builder
                .dangerous()
                .with_custom_certificate_verifier(Arc::new(Own {
                    checked,
                    shown: shown.clone(),
                })),
        };
        let mut config = match own {
            None => builder.with_no_client_auth(),
            Some((certificate, key)) => {
                let key = PrivateKeyDer::from_pem_slice(key)
                    .map_err(|_| "no private key in PEM without a passphrase".to_owned())?;
                builder
                    .with_client_auth_cert(certificates(certificate)?, key)
                    .map_err(as_text)?
            }
        };
        config.enable_secret_extraction = true;
        Ok(Tls {
            config: Arc::new(config),
            shown,
        })
    }

    /// Shakes hands with a server of this name, on a fresh link, which speaks
    /// TLS then. The application protocol that the server has chosen.
    ///
    /// # Errors
    /// Why it failed.
    pub fn connect(
        &self,
        link: &mut Link,
        host: &str,
        alpn: Alpn<'_>,
    ) -> Result<Option<Vec<u8>>, HelloError> {
        let (alpn, _) = self.shake_hands(link, host, alpn, None)?;
        Ok(alpn)
    }

    /// The same with the only protocol that is spoken, and what both ends export under
    /// this label, which proofs can be bound to.
    ///
    /// # Errors
    /// Why it failed.
    pub fn connect_exporting(
        &self,
        link: &mut Link,
        host: &str,
        alpn: &[u8],
        label: &str,
    ) -> Result<[u8; EXPORTED], HelloError> {
        let (chosen, exported) = self.shake_hands(link, host, &[alpn], Some(label))?;
        let exported = exported.filter(|_| chosen.as_deref() == Some(alpn));
        exported.ok_or_else(|| {
            let name = String::from_utf8_lossy(alpn);
            HelloError::Refused(format!("it does not speak {name}"))
        })
    }

    fn shake_hands(
        &self,
        link: &mut Link,
        host: &str,
        alpn: Alpn<'_>,
        label: Option<&str>,
    ) -> Result<Shaken, HelloError> {
        let name = ServerName::try_from(host.to_owned())
            .map_err(|_| HelloError::Refused(format!("{host} is not the name of a server")))?;
        let secrets = Arc::new(Secrets::default());
        let mut config = ClientConfig::clone(&self.config);
        config.key_log = Arc::clone(&secrets) as _;
        config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
        let mut client =
            UnbufferedClientConnection::new(Arc::new(config), name).map_err(refused)?;
        let mut inbox = Inbox::default();
        shake_hands(&mut client, link, &mut inbox)?;
        let alpn = client.alpn_protocol().map(<[u8]>::to_vec);
        let (numbers, tickets) = client.dangerous_into_kernel_connection().map_err(refused)?;
        let suite = tickets.negotiated_cipher_suite().suite();
        let numbers = (numbers.rx.0, numbers.tx.0);
        let records = secrets.records(End::Client, suite, numbers, inbox);
        let mut records = records.ok_or_else(|| HelloError::Refused("no key".to_owned()))?;
        records.keep_tickets(tickets);
        link.start_tls(records);
        link.export(|label| secrets.exported(suite, label));
        let exported = label.and_then(|label| secrets.exported_bytes(suite, label));
        Ok((alpn, exported))
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tls")
    }
}

/// Shakes hands and returns the certificates that the server has shown, in DER,
/// its own first. Nobody vouches for them.
pub fn look(link: &mut Link, host: &str, alpn: Alpn<'_>) -> Result<Vec<Vec<u8>>, HelloError> {
    let tls = Tls::looking().map_err(HelloError::Refused)?;
    tls.connect(link, host, alpn)?;
    link.close();
    Ok(std::mem::take(
        &mut tls.shown.lock().unwrap_or_else(PoisonError::into_inner),
    ))
}

/// Leads a handshake to its end; nothing behind it is read. A server that is
/// refused gets an alert.
fn shake_hands(
    client: &mut UnbufferedClientConnection,
    link: &mut Link,
    inbox: &mut Inbox,
) -> Result<(), HelloError> {
    let mut out = Vec::new();
    let mut len = 0;
    let mut failed = None;
    loop {
        let front = inbox.front_raw(len);
        let UnbufferedStatus { discard, state, .. } = client.process_tls_records(front);
        let mut is_done = false;
        let mut wants_record = false;
        match (state, failed.take()) {
            (Ok(ConnectionState::EncodeTlsData(mut data)), before) => {
                encode(&mut out, |to| data.encode(to))?;
                failed = before;
            }
            (Ok(ConnectionState::TransmitTlsData(data)), before) => {
                link.write_handshake(&out)?;
                out.clear();
                data.done();
                failed = before;
            }
            (_, Some(before)) => {
                let _ = link.write_handshake(&out);
                return Err(before);
            }
            (Err(e), None) => failed = Some(refused(e)),
            (Ok(ConnectionState::BlockedHandshake), None) => wants_record = true,
            (Ok(ConnectionState::WriteTraffic(_)), None) => is_done = true,
            _ => {
                return Err(HelloError::Refused(
                    "the server ended the handshake".to_owned(),
                ));
            }
        }
        inbox.skip(discard);
        len -= discard;
        if is_done {
            return Ok(());
        }
        if wants_record {
            len = read_record(link, inbox)?;
        }
    }
}

/// Appends what there is to send.
fn encode(
    out: &mut Vec<u8>,
    mut to: impl FnMut(&mut [u8]) -> Result<usize, EncodeError>,
) -> Result<(), HelloError> {
    let refused = |e: EncodeError| HelloError::Refused(e.to_string());
    let at = out.len();
    let written = match to(&mut out[at..]) {
        Err(EncodeError::InsufficientSize(size)) => {
            out.resize(at + size.required_size, 0);
            to(&mut out[at..]).map_err(refused)?
        }
        other => other.map_err(refused)?,
    };
    out.truncate(at + written);
    Ok(())
}

#[allow(
    clippy::needless_pass_by_value,
    reason = "used as a function of an error"
)]
fn refused(error: Error) -> HelloError {
    use CertificateError as C;
    HelloError::Refused(match error {
        Error::InvalidCertificate(C::ApplicationVerificationFailure) => {
            return HelloError::NotPinned;
        }
        Error::InvalidCertificate(C::NotValidYet | C::NotValidYetContext { .. }) => {
            "its certificate is not valid yet: is the clock of this machine right?".to_owned()
        }
        Error::InvalidCertificate(C::Expired | C::ExpiredContext { .. }) => {
            "its certificate has expired, or the clock of this machine is wrong".to_owned()
        }
        Error::InvalidCertificate(e) => format!("its certificate is not trusted: {e}"),
        Error::AlertReceived(alert) => format!("it refused: {alert:?}"),
        Error::PeerIncompatible(e) => format!("it does not speak TLS 1.3 as we do: {e:?}"),
        other => other.to_string(),
    })
}

/// What is checked of a certificate in place of those who vouch for it.
#[derive(Debug)]
enum Checked {
    Pin(String),
    /// An Ed25519 key.
    Key([u8; 32]),
    Nothing,
}

#[derive(Debug)]
struct Own {
    checked: Checked,
    shown: Arc<Mutex<Vec<Vec<u8>>>>,
}

impl ServerCertVerifier for Own {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let fits = match &self.checked {
            Checked::Pin(pin) => fingerprint(certificate).as_ref() == Some(pin),
            Checked::Key(key) => ed25519_key(certificate).as_ref() == Some(key),
            Checked::Nothing => true,
        };
        if !fits {
            return Err(CertificateError::ApplicationVerificationFailure.into());
        }
        let all = [certificate]
            .into_iter()
            .chain(others)
            .map(|one| one.to_vec())
            .collect();
        *self.shown.lock().unwrap_or_else(PoisonError::into_inner) = all;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(PeerIncompatible::ServerDoesNotSupportTls12Or13.into())
    }

    fn verify_tls13_signature(
        &self,
        content: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(content, certificate, signed, &algorithms())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        algorithms().supported_schemes()
    }
}
