//! Certificates and their keys in files: read, checked, made.

use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;

use openssl::asn1::Asn1Time;
use openssl::base64::encode_block;
use openssl::bn::{BigNum, MsbOption};
use openssl::ec::{EcGroup, EcKey};
use openssl::error::ErrorStack;
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkey::{Id, PKey, Private};
use openssl::sha::sha256;
use openssl::x509::extension::{BasicConstraints, ExtendedKeyUsage, SubjectAlternativeName};
use openssl::x509::{GeneralNameRef, X509, X509Name};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use rustls::{RootCertStore, SignatureAlgorithm, SignatureScheme};
use zeroize::Zeroizing;

use crate::net::tls::provider;
use crate::trusted;

/// How long a certificate made here is good for, in days.
const DAYS: u32 = 3650;

/// A certificate and those between it and a root.
#[derive(Clone, Debug)]
pub struct Chain {
    certificates: Arc<[CertificateDer<'static>]>,
    schemes: &'static [SignatureScheme],
    algorithm: SignatureAlgorithm,
}

impl Chain {
    /// Reads PEM: the server's certificate first.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn from_pem(pem: &[u8]) -> Result<Chain, String> {
        use SignatureScheme as S;
        let certificates = certificates(pem)?;
        let first = X509::from_der(&certificates[0]).map_err(|_| "damaged certificate")?;
        let key = first.public_key().map_err(|_| "damaged certificate")?;
        let (schemes, algorithm): (&[S], _) = match (key.id(), key.bits()) {
            (Id::EC, 256) => (&[S::ECDSA_NISTP256_SHA256], SignatureAlgorithm::ECDSA),
            (Id::EC, 384) => (&[S::ECDSA_NISTP384_SHA384], SignatureAlgorithm::ECDSA),
            (Id::ED25519, _) => (&[S::ED25519], SignatureAlgorithm::ED25519),
            (Id::RSA, 2048..) => (
                &[S::RSA_PSS_SHA256, S::RSA_PSS_SHA384, S::RSA_PSS_SHA512],
                SignatureAlgorithm::RSA,
            ),
            _ => return Err("no key of ECDSA P-256 or P-384, Ed25519 or RSA 2048".to_owned()),
        };
        Ok(Chain {
            certificates: certificates.into(),
            schemes,
            algorithm,
        })
    }

    pub(crate) fn certificates(&self) -> &[CertificateDer<'static>] {
        &self.certificates
    }

    pub(crate) fn schemes(&self) -> &'static [SignatureScheme] {
        self.schemes
    }

    pub(crate) fn algorithm(&self) -> SignatureAlgorithm {
        self.algorithm
    }
}

/// All certificates of a PEM text, one at least.
///
/// # Errors
/// When there is none.
pub(crate) fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    all.ok()
        .filter(|all| !all.is_empty())
        .ok_or_else(|| "no certificate in PEM".to_owned())
}

/// The certificates of a PEM text as those who vouch for others.
///
/// # Errors
/// What is wrong with one of them.
pub(crate) fn roots(pem: &[u8]) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(pem)? {
        roots.add(certificate).map_err(|e| e.to_string())?;
    }
    Ok(roots)
}

/// What checks clients' certificates.
///
/// # Errors
/// What is wrong with those who vouch for them.
pub(crate) fn client_verifier(pem: &[u8]) -> Result<Arc<dyn ClientCertVerifier>, String> {
    WebPkiClientVerifier::builder_with_provider(Arc::new(roots(pem)?), provider())
        .build()
        .map_err(|e| e.to_string())
}

/// SHA-256 of a certificate's public key in DER, base64 without padding; `None`
/// where there is none in it.
pub fn fingerprint(certificate: &[u8]) -> Option<String> {
    let key = X509::from_der(certificate).ok()?.public_key().ok()?;
    Some(
        encode_block(&sha256(&key.public_key_to_der().ok()?))
            .trim_end_matches('=')
            .to_owned(),
    )
}

/// The Ed25519 key of a certificate; `None` for one with another kind of key.
pub fn ed25519_key(certificate: &[u8]) -> Option<[u8; 32]> {
    let key = X509::from_der(certificate).ok()?.public_key().ok()?;
    if key.id() != Id::ED25519 {
        return None;
    }
    key.raw_public_key().ok()?.try_into().ok()
}

/// Whom a certificate names and when it expires; `None` where it is none.
pub fn describe(certificate: &[u8]) -> Option<(String, String)> {
    let certificate = X509::from_der(certificate).ok()?;
    let entries = certificate.subject_name().entries();
    let named = entries.map(|entry| {
        let key = entry.object().nid().short_name().unwrap_or("?");
        let value = entry.data().to_string().unwrap_or_default();
        format!("{key} = {}", value.escape_debug())
    });
    Some((
        named.collect::<Vec<_>>().join(", "),
        certificate.not_after().to_string(),
    ))
}

/// The first name or address that a certificate in PEM is for.
pub fn first_name(pem: &[u8]) -> Option<String> {
    let certificate = X509::from_pem(pem).ok()?;
    let names = certificate.subject_alt_names()?;
    let of = |name: &GeneralNameRef| match (name.dnsname(), name.ipaddress()) {
        (Some(name), _) => Some(name.to_owned()),
        (None, Some(bytes)) => match bytes.len() {
            4 => <[u8; 4]>::try_from(bytes)
                .ok()
                .map(|it| IpAddr::from(it).to_string()),
            _ => <[u8; 16]>::try_from(bytes)
                .ok()
                .map(|it| IpAddr::from(it).to_string()),
        },
        _ => None,
    };
    names.iter().find_map(of)
}

/// Whether nobody but itself vouches for a certificate in PEM.
pub fn is_self_signed(pem: &[u8]) -> bool {
    let Ok(certificate) = X509::from_pem(pem) else {
        return false;
    };
    let key = certificate.public_key();
    key.is_ok_and(|key| certificate.verify(&key).unwrap_or(false))
}

/// Reads a certificate's private key, which nobody else may read.
///
/// # Errors
/// What is wrong with it and what to do.
pub fn read_key_file(path: &Path) -> Result<Zeroizing<Vec<u8>>, String> {
    crate::trusted::read_secret(path, "make one with tfd keygen --tls")
}

/// Reads certificates, which nobody but root may change.
///
/// # Errors
/// What is wrong with the file.
pub fn read_file(path: &Path) -> Result<Vec<u8>, String> {
    let shown = path.display();
    let mut file = trusted::open_to_read(path)
        .map_err(|e| format!("{shown}: {e}: make one with tfd keygen --tls"))?;
    if !trusted::is_ours_to_change(&file).map_err(|e| format!("{shown}: {e}"))? {
        return Err(format!(
            "others than root may change {shown}: chown root {shown} && chmod go-w {shown}"
        ));
    }
    let mut pem = Vec::new();
    std::io::Read::read_to_end(&mut file, &mut pem).map_err(|e| format!("{shown}: {e}"))?;
    Ok(pem)
}

/// Whether a certificate and a key, both in PEM, can serve.
///
/// # Errors
/// Why not.
pub fn check_pair(certificate: &[u8], key: &[u8]) -> Result<(), String> {
    let chain = Chain::from_pem(certificate)?;
    let key = PKey::private_key_from_pem_callback(key, |_| Ok(0))
        .map_err(|_| "the key is not a private key in PEM without a passphrase".to_owned())?;
    let first = X509::from_der(&chain.certificates[0]).and_then(|first| first.public_key());
    if first.is_ok_and(|of_certificate| of_certificate.public_eq(&key)) {
        return Ok(());
    }
    Err("the key is not that of the certificate: give the one it was made with".to_owned())
}

/// What will keep clients from trusting a certificate: it has expired or is
/// not good yet.
pub fn expiry_warning(certificate: &[u8]) -> Option<String> {
    let first = X509::from_pem(certificate).ok()?;
    let now = Asn1Time::days_from_now(0).ok()?;
    if first.not_after() < now {
        return Some(format!(
            "the certificate has expired on {}: renew it",
            first.not_after()
        ));
    }
    (first.not_before() > now).then(|| format!("the certificate begins on {}", first.not_before()))
}

/// A certificate for these names or addresses that nobody else vouches for, and
/// its key, both in PEM.
///
/// # Errors
/// `OpenSSL`'s.
pub fn self_signed(names: &[String]) -> Result<(Vec<u8>, Zeroizing<Vec<u8>>), ErrorStack> {
    let group = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1)?;
    let key: PKey<Private> = PKey::from_ec_key(EcKey::generate(&group)?)?;
    signed_by_itself(names, &key, MessageDigest::sha256())
}

/// The same for a name, of this Ed25519 key: others go by the key alone.
///
/// # Errors
/// `OpenSSL`'s.
pub fn of_ed25519(
    name: &str,
    private: &[u8; 32],
) -> Result<(Vec<u8>, Zeroizing<Vec<u8>>), ErrorStack> {
    let key = PKey::private_key_from_raw_bytes(private, Id::ED25519)?;
    signed_by_itself(&[name.to_owned()], &key, MessageDigest::null())
}

fn signed_by_itself(
    names: &[String],
    key: &PKey<Private>,
    digest: MessageDigest,
) -> Result<(Vec<u8>, Zeroizing<Vec<u8>>), ErrorStack> {
    let mut subject = X509Name::builder()?;
    let first: String = names
        .first()
        .map_or("tfd", String::as_str)
        .chars()
        .take(64)
        .collect();
    subject.append_entry_by_nid(Nid::COMMONNAME, &first)?;
    let subject = subject.build();
    let mut serial = BigNum::new()?;
    serial.rand(127, MsbOption::MAYBE_ZERO, false)?;
    let mut certificate = X509::builder()?;
    certificate.set_version(2)?;
    certificate.set_serial_number(&*serial.to_asn1_integer()?)?;
    certificate.set_subject_name(&subject)?;
    certificate.set_issuer_name(&subject)?;
    certificate.set_pubkey(key)?;
    certificate.set_not_before(&*Asn1Time::days_from_now(0)?)?;
    certificate.set_not_after(&*Asn1Time::days_from_now(DAYS)?)?;
    certificate.append_extension(BasicConstraints::new().critical().build()?)?;
    certificate.append_extension(ExtendedKeyUsage::new().server_auth().build()?)?;
    let mut alternatives = SubjectAlternativeName::new();
    for name in names {
        match name.parse::<std::net::IpAddr>() {
            Ok(_) => alternatives.ip(name),
            Err(_) => alternatives.dns(name),
        };
    }
    let alternatives = alternatives.build(&certificate.x509v3_context(None, None))?;
    certificate.append_extension(alternatives)?;
    certificate.sign(key, digest)?;
    let key = Zeroizing::new(key.private_key_to_pem_pkcs8()?);
    Ok((certificate.build().to_pem()?, key))
}
