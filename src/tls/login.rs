//! What a client has proved with a certificate of its own: that it has the
//! private key of it. The gate sees the proof first; the porter, which does not
//! believe gates, checks all of it again before it opens an account.

use std::sync::Arc;

use openssl::nid::Nid;
use openssl::x509::X509;
use rustls::SignatureScheme;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::danger::ClientCertVerifier;
use webpki::EndEntityCert;

use super::certificate::client_verifier;
use super::server::algorithms;

/// No proof is longer, in bytes.
pub const MAX_PROOF: usize = 16 * 1024;

/// The most certificates of a chain.
const MAX_CHAIN: usize = 8;

/// What a client signs begins with this (RFC 8446, 4.4.3); a hash follows.
const SIGNED: &[u8] = b"TLS 1.3, client CertificateVerify\0";
const PADDING: usize = 64;

/// A client's certificates, and its signature over the handshake.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Proof {
    /// Its certificate first, in DER.
    pub chain: Vec<Vec<u8>>,
    /// The number of the signature scheme.
    pub scheme: u16,
    /// What was signed.
    pub content: Vec<u8>,
    /// The signature.
    pub signature: Vec<u8>,
}

impl Proof {
    /// The proof as bytes: scheme (2), then each with its length (2) content,
    /// signature, and the certificates. `None` for one that is too long.
    #[must_use]
    pub fn to_bytes(&self) -> Option<Vec<u8>> {
        let mut bytes = self.scheme.to_be_bytes().to_vec();
        for part in [&self.content, &self.signature].into_iter().chain(&self.chain) {
            bytes.extend_from_slice(&u16::try_from(part.len()).ok()?.to_be_bytes());
            bytes.extend_from_slice(part);
        }
        (bytes.len() <= MAX_PROOF && self.chain.len() <= MAX_CHAIN).then_some(bytes)
    }

    /// The same, read.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<Proof> {
        let (scheme, mut rest) = bytes.split_first_chunk::<2>()?;
        let mut parts = Vec::new();
        while !rest.is_empty() {
            let (len, behind) = rest.split_first_chunk::<2>()?;
            let (part, behind) = behind.split_at_checked(u16::from_be_bytes(*len).into())?;
            parts.push(part.to_vec());
            rest = behind;
        }
        let mut parts = parts.into_iter();
        let (content, signature) = (parts.next()?, parts.next()?);
        let chain: Vec<_> = parts.collect();
        let fine = (1..=MAX_CHAIN).contains(&chain.len());
        fine.then(|| Proof { chain, scheme: u16::from_be_bytes(*scheme), content, signature })
    }
}

/// Who vouches for clients.
#[derive(Debug)]
pub struct Authority(Arc<dyn ClientCertVerifier>);

impl Authority {
    /// From their certificates in PEM.
    ///
    /// # Errors
    /// What is wrong with them.
    pub fn from_pem(pem: &[u8]) -> Result<Authority, String> {
        client_verifier(pem).map(Authority)
    }

    /// The name in the certificate of whoever made this proof: its subject's
    /// one common name.
    ///
    /// # Errors
    /// What is wrong with the proof.
    pub fn name(&self, proof: &Proof) -> Result<String, &'static str> {
        let hash = proof
            .content
            .split_at_checked(PADDING)
            .filter(|(padding, _)| padding.iter().all(|byte| *byte == b' '))
            .and_then(|(_, rest)| rest.strip_prefix(SIGNED));
        if !hash.is_some_and(|hash| matches!(hash.len(), 32 | 48)) {
            return Err("what was signed is no handshake");
        }
        let mut chain = proof.chain.iter().map(|one| CertificateDer::from(one.as_slice()));
        let first = chain.next().ok_or("no certificate")?;
        let others: Vec<_> = chain.collect();
        self.0
            .verify_client_cert(&first, &others, UnixTime::now())
            .map_err(|_| "nobody we trust vouches for the certificate")?;
        check_signature(&first, proof).ok_or("the signature does not fit")?;
        common_name(&first).ok_or("the certificate has not one common name")
    }
}

/// Whether the key of a certificate has signed this.
fn check_signature(certificate: &CertificateDer<'_>, proof: &Proof) -> Option<()> {
    let scheme = SignatureScheme::from(proof.scheme);
    let is_old = matches!(
        scheme,
        SignatureScheme::RSA_PKCS1_SHA1
            | SignatureScheme::ECDSA_SHA1_Legacy
            | SignatureScheme::RSA_PKCS1_SHA256
            | SignatureScheme::RSA_PKCS1_SHA384
            | SignatureScheme::RSA_PKCS1_SHA512
    );
    let algorithms = algorithms();
    let (_, of_scheme) = algorithms.mapping.iter().find(|(known, _)| *known == scheme)?;
    let algorithm = of_scheme.first().filter(|_| !is_old)?;
    EndEntityCert::try_from(certificate)
        .ok()?
        .verify_signature(*algorithm, &proof.content, &proof.signature)
        .ok()
}

fn common_name(certificate: &[u8]) -> Option<String> {
    let certificate = X509::from_der(certificate).ok()?;
    let mut names = certificate.subject_name().entries_by_nid(Nid::COMMONNAME);
    let name = names.next()?.data().to_string().ok()?;
    names.next().is_none().then_some(name)
}
