//! The server's side of the handshake, in a gate. The gate has the certificate
//! and no key: it asks the holder of the key.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use rustls::client::danger::HandshakeSignatureValid;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{
    ClientHello, NoServerSessionStorage, ProducesTickets, ResolvesServerCert, ServerConnection,
};
use rustls::sign::{CertifiedKey, Signer, SigningKey};
use rustls::{
    DigitallySignedStruct, DistinguishedName, Error, PeerIncompatible, ServerConfig,
    SignatureAlgorithm, SignatureScheme,
};

use crate::net::tls::certificate;
use crate::net::tls::certificate::Chain;
use crate::net::tls::keys::Keys;
use crate::net::tls::login::Proof;
use crate::net::tls::records::{BEHIND, Inbox};
use crate::net::tls::secrets::TICKET_LIFE;
use crate::net::tls::{Alpn, End, Exported, Secrets, Suite, provider, read_record};
use crate::net::{Link, LinkError};

/// What only the holder of the private key can do.
pub trait Keyholder: fmt::Debug + Send + Sync {
    /// A signature over the content of the server's CertificateVerify.
    fn sign(&self, scheme: u16, content: &[u8]) -> Option<Vec<u8>>;

    /// A session as a ticket.
    fn seal(&self, session: &[u8]) -> Option<Vec<u8>>;

    /// The session in a ticket, if it is one of ours.
    fn open(&self, ticket: &[u8]) -> Option<Vec<u8>>;
}

/// What all gates show and ask.
#[derive(Clone, Debug)]
pub struct Door {
    chain: Chain,
    clients: Option<Arc<dyn ClientCertVerifier>>,
}

/// What a client has agreed on and proved.
#[derive(Default)]
pub struct Accepted {
    /// What it has proved by a certificate of its own, if it has one.
    pub proof: Option<Proof>,
    /// The application protocol, if it has named one.
    pub alpn: Option<Vec<u8>>,
    /// What both ends have exported, of [`Door::accept_exporting`].
    pub exported: Option<[u8; EXPORTED]>,
}

/// Bytes that other proofs are bound to a connection by.
pub const EXPORTED: usize = 32;

/// Why a handshake failed.
#[derive(Debug, thiserror::Error)]
pub enum HelloError {
    /// The connection ended or what came was not TLS.
    #[error(transparent)]
    Link(#[from] LinkError),
    /// What was wrong with what came.
    #[error("{0}")]
    Refused(String),
}

impl Door {
    /// With a certificate and, where clients may show one, those who vouch for
    /// theirs, both in PEM.
    ///
    /// # Errors
    /// What is wrong with either.
    pub fn new(certificate: &[u8], client_ca: Option<&[u8]>) -> Result<Door, String> {
        let chain = Chain::from_pem(certificate)?;
        let clients = client_ca.map(certificate::client_verifier).transpose()?;
        Ok(Door { chain, clients })
    }

    /// Agrees on keys with itself and uses them once, so that the library has
    /// set itself up before the first gate is forked.
    pub fn warm(&self) {
        for group in provider().kx_groups.iter().take(2) {
            if let Ok(share) = group.start() {
                let _ = group.start_and_complete(share.pub_key());
            }
        }
        for suite in [Suite::Aes128, Suite::Aes256] {
            let secret = [1; 48];
            let keys = Keys::new(suite, &secret[..suite.secret_len()], 0);
            let (mut content, mut behind) = (vec![0; 1024], [0; BEHIND]);
            let header = crate::net::tls::records::header(content.len());
            let _ = keys.and_then(|mut keys| keys.seal(header, &mut content, 0, &mut behind));
        }
    }

    /// Shakes hands on a fresh link, which speaks TLS then. A client that names
    /// an application protocol must name one of these. One that is refused has
    /// been sent the alert.
    pub fn accept(
        &self,
        link: &mut Link,
        holder: Arc<dyn Keyholder>,
        alpn: Alpn<'_>,
    ) -> Result<Accepted, HelloError> {
        self.shake_hands(link, holder, alpn, None)
    }

    /// The same, and exports what other proofs can be bound to, under this label.
    ///
    /// # Errors
    /// As above.
    pub fn accept_exporting(
        &self,
        link: &mut Link,
        holder: Arc<dyn Keyholder>,
        alpn: Alpn<'_>,
        label: &str,
    ) -> Result<Accepted, HelloError> {
        self.shake_hands(link, holder, alpn, Some(label))
    }

    fn shake_hands(
        &self,
        link: &mut Link,
        holder: Arc<dyn Keyholder>,
        alpn: Alpn<'_>,
        label: Option<&str>,
    ) -> Result<Accepted, HelloError> {
        let secrets = Arc::new(Secrets::default());
        let observer = Arc::new(Observer::default());
        let mut config = self.config(holder, &secrets, &observer).map_err(refused)?;
        config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
        let mut server = ServerConnection::new(Arc::new(config)).map_err(refused)?;
        let mut inbox = Inbox::default();
        while server.is_handshaking() {
            let len = read_record(link, &mut inbox)?;
            let mut record = &inbox.raw()[..len];
            while !record.is_empty() {
                server.read_tls(&mut record).map_err(LinkError::from)?;
            }
            inbox.skip(len);
            let processed = server.process_new_packets();
            let mut answer = Vec::new();
            while server.wants_write() {
                server.write_tls(&mut answer).map_err(LinkError::from)?;
            }
            if !answer.is_empty() {
                link.write_handshake(&answer)?;
            }
            processed.map_err(refused)?;
        }
        let alpn = server.alpn_protocol().map(<[u8]>::to_vec);
        let suite = server.negotiated_cipher_suite().map(|suite| suite.suite());
        link.export(|label| Exported::by_server(&server, suite?, label));
        let export =
            |label: &str| server.export_keying_material([0; EXPORTED], label.as_bytes(), None);
        let exported = label.map(export).transpose().map_err(refused)?;
        let numbers = server.dangerous_extract_secrets().map_err(refused)?;
        let numbers = (numbers.rx.0, numbers.tx.0);
        let records = suite.and_then(|suite| secrets.records(End::Server, suite, numbers, inbox));
        let records = records.ok_or_else(|| HelloError::Refused("TLS: no key".to_owned()))?;
        link.start_tls(records);
        Ok(Accepted {
            proof: observer.take(),
            alpn,
            exported,
        })
    }

    fn config(
        &self,
        holder: Arc<dyn Keyholder>,
        secrets: &Arc<Secrets>,
        observer: &Arc<Observer>,
    ) -> Result<ServerConfig, Error> {
        let builder = ServerConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&rustls::version::TLS13])?;
        let builder = match &self.clients {
            Some(clients) => builder.with_client_cert_verifier(Arc::new(Watched {
                clients: Arc::clone(clients),
                observer: Arc::clone(observer),
            })),
            None => builder.with_no_client_auth(),
        };
        let key = Arc::new(Remote {
            chain: self.chain.clone(),
            holder: Arc::clone(&holder),
        });
        let certified = Arc::new(CertifiedKey::new(self.chain.certificates().to_vec(), key));
        let mut config = builder.with_cert_resolver(Arc::new(Always(certified)));
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.ticketer = Arc::new(Ticketer {
            holder,
            observer: Arc::clone(observer),
        });
        config.send_tls13_tickets = 1;
        config.key_log = Arc::clone(secrets) as _;
        config.enable_secret_extraction = true;
        Ok(config)
    }
}

/// What the log says of a handshake that failed.
#[allow(
    clippy::needless_pass_by_value,
    reason = "used as a function of an error"
)]
fn refused(error: Error) -> HelloError {
    use PeerIncompatible as P;
    HelloError::Refused(match error {
        Error::PeerIncompatible(
            P::SupportedVersionsExtensionRequired | P::Tls12NotOfferedOrEnabled,
        ) => "a client without TLS 1.3".to_owned(),
        Error::PeerIncompatible(P::ServerTlsVersionIsDisabledByOurConfig) => {
            "a client without TLS 1.3".to_owned()
        }
        Error::NoApplicationProtocol => {
            "a client that asks for another application protocol".to_owned()
        }
        Error::InvalidCertificate(e) => format!("client certificate refused: {e}"),
        Error::AlertReceived(alert) => format!("TLS alert of the client: {alert:?}"),
        other => format!("TLS: {other}"),
    })
}

/// The certificate, whatever the client asks for.
#[derive(Debug)]
struct Always(Arc<CertifiedKey>);

impl ResolvesServerCert for Always {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0))
    }
}

/// The private key, which is elsewhere.
#[derive(Debug)]
struct Remote {
    chain: Chain,
    holder: Arc<dyn Keyholder>,
}

impl SigningKey for Remote {
    fn choose_scheme(&self, offered: &[SignatureScheme]) -> Option<Box<dyn Signer>> {
        let scheme = self
            .chain
            .schemes()
            .iter()
            .find(|scheme| offered.contains(scheme))?;
        Some(Box::new(RemoteSigner {
            scheme: *scheme,
            holder: Arc::clone(&self.holder),
        }))
    }

    fn algorithm(&self) -> SignatureAlgorithm {
        self.chain.algorithm()
    }
}

#[derive(Debug)]
struct RemoteSigner {
    scheme: SignatureScheme,
    holder: Arc<dyn Keyholder>,
}

impl Signer for RemoteSigner {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, Error> {
        let signature = self.holder.sign(u16::from(self.scheme), message);
        signature.ok_or_else(|| Error::General("the keeper does not sign".to_owned()))
    }

    fn scheme(&self) -> SignatureScheme {
        self.scheme
    }
}

/// Tickets of sessions without a client certificate.
#[derive(Debug)]
struct Ticketer {
    holder: Arc<dyn Keyholder>,
    observer: Arc<Observer>,
}

impl ProducesTickets for Ticketer {
    fn enabled(&self) -> bool {
        true
    }

    fn lifetime(&self) -> u32 {
        u32::try_from(TICKET_LIFE.as_secs()).unwrap_or(u32::MAX)
    }

    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        if self.observer.saw_any() {
            None
        } else {
            self.holder.seal(plain)
        }
    }

    fn decrypt(&self, ticket: &[u8]) -> Option<Vec<u8>> {
        self.holder.open(ticket)
    }
}

/// What a client has proved.
#[derive(Debug, Default)]
struct Observer(Mutex<Option<Proof>>);

impl Observer {
    fn saw_any(&self) -> bool {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .is_some()
    }

    fn set(&self, proof: Proof) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(proof);
    }

    fn take(&self) -> Option<Proof> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// Checks clients' certificates, and keeps what others are to check again.
#[derive(Debug)]
struct Watched {
    clients: Arc<dyn ClientCertVerifier>,
    observer: Arc<Observer>,
}

impl ClientCertVerifier for Watched {
    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.clients.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        certificate: &CertificateDer<'_>,
        chain: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let verified = self.clients.verify_client_cert(certificate, chain, now)?;
        let all = [certificate]
            .into_iter()
            .chain(chain)
            .map(|one| one.to_vec())
            .collect();
        self.observer.set(Proof {
            chain: all,
            ..Proof::default()
        });
        Ok(verified)
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(PeerIncompatible::Tls12NotOffered.into())
    }

    fn verify_tls13_signature(
        &self,
        content: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let valid = self
            .clients
            .verify_tls13_signature(content, certificate, signed)?;
        let chain = self.observer.take().unwrap_or_default().chain;
        self.observer.set(Proof {
            chain,
            scheme: u16::from(signed.scheme),
            content: content.to_vec(),
            signature: signed.signature().to_vec(),
        });
        Ok(valid)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.clients.supported_verify_schemes()
    }
}
