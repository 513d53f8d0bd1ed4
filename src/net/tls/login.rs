//! What a client has proved with a certificate of its own: that it has the
//! private key of it. The gate sees the proof first; the authenticator, which does not
//! believe gates, checks all of it again before it opens an account.

use std::sync::Arc;

use openssl::nid::Nid;
use openssl::x509::X509;
use rustls::SignatureScheme;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::danger::ClientCertVerifier;
use webpki::EndEntityCert;

use crate::ipc::codec::codec;
use crate::net::tls::algorithms;
use crate::net::tls::certificate::client_verifier;

/// The most bytes of a proof's certificates, content and signature.
const MAX_PROOF: usize = 16 * 1024;

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

codec!(struct Proof { scheme, content, signature, chain } if Proof::is_valid);

impl Proof {
    /// Whether there is a certificate, and none of it is too long.
    pub fn is_valid(&self) -> bool {
        let parts = [&self.content, &self.signature].into_iter();
        let len: usize = parts.chain(&self.chain).map(Vec::len).sum();
        len <= MAX_PROOF && (1..=MAX_CHAIN).contains(&self.chain.len())
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

    /// The name in the certificate behind this proof: its subject's
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
            return Err("what was signed is not a handshake");
        }
        let mut chain = proof
            .chain
            .iter()
            .map(|one| CertificateDer::from(one.as_slice()));
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
    let (_, of_scheme) = algorithms
        .mapping
        .iter()
        .find(|(known, _)| *known == scheme)?;
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ipc::codec::{Decode, Encode};
    use openssl::asn1::Asn1Time;
    use openssl::bn::BigNum;
    use openssl::ec::{EcGroup, EcKey};
    use openssl::hash::MessageDigest;
    use openssl::pkey::{PKey, Private};
    use openssl::sign::Signer;
    use openssl::x509::X509Name;
    use openssl::x509::extension::BasicConstraints;
    use proptest::prelude::*;

    fn name(name: &str) -> X509Name {
        let mut builder = X509Name::builder().expect("name");
        builder
            .append_entry_by_nid(Nid::COMMONNAME, name)
            .expect("name");
        builder.build()
    }

    fn key() -> PKey<Private> {
        let group = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1).expect("curve");
        PKey::from_ec_key(EcKey::generate(&group).expect("key")).expect("key")
    }

    /// A certificate of `key` that the owner of `ca_key`, named CA, vouches for.
    fn certify(subject: &str, key: &PKey<Private>, ca_key: &PKey<Private>) -> X509 {
        let mut builder = X509::builder().expect("certificate");
        builder.set_version(2).expect("version");
        let serial = BigNum::from_u32(7)
            .and_then(|n| n.to_asn1_integer())
            .expect("serial");
        builder.set_serial_number(&serial).expect("serial");
        builder.set_subject_name(&name(subject)).expect("subject");
        builder.set_issuer_name(&name("CA")).expect("issuer");
        builder.set_pubkey(key).expect("key");
        let day = |days| Asn1Time::days_from_now(days).expect("time");
        builder.set_not_before(&day(0)).expect("time");
        builder.set_not_after(&day(9)).expect("time");
        let mut constraints = BasicConstraints::new();
        if subject == "CA" {
            constraints.critical().ca();
        }
        builder
            .append_extension(constraints.build().expect("extension"))
            .expect("extension");
        builder.sign(ca_key, MessageDigest::sha256()).expect("sign");
        builder.build()
    }

    fn content(context: &[u8]) -> Vec<u8> {
        [&[b' '; PADDING][..], context, &[7; 32]].concat()
    }

    fn proof(certificate: &X509, key: &PKey<Private>, content: Vec<u8>) -> Proof {
        let mut signer = Signer::new(MessageDigest::sha256(), key).expect("signer");
        let signature = signer.sign_oneshot_to_vec(&content).expect("signature");
        let chain = vec![certificate.to_der().expect("der")];
        Proof {
            chain,
            scheme: 0x0403,
            content,
            signature,
        }
    }

    #[test]
    fn only_a_handshake_signed_with_the_certificates_own_key_names_somebody() {
        let (ca_key, own, other) = (key(), key(), key());
        let ca = certify("CA", &ca_key, &ca_key);
        let authority = Authority::from_pem(&ca.to_pem().expect("pem")).expect("authority");
        let ann = certify("ann", &own, &ca_key);
        let fine = proof(&ann, &own, content(SIGNED));
        assert_eq!(authority.name(&fine), Ok("ann".to_owned()));
        assert_eq!(Proof::from_bytes(&fine.to_bytes()).as_ref(), Some(&fine));

        let forged = proof(&ann, &other, content(SIGNED));
        assert_eq!(authority.name(&forged), Err("the signature does not fit"));
        let mut changed = fine.clone();
        changed.content[120] ^= 1;
        assert_eq!(authority.name(&changed), Err("the signature does not fit"));
        for scheme in [0x0401, 0x0804, 0x0503, 0x0807, 0] {
            let other_scheme = Proof {
                scheme,
                ..fine.clone()
            };
            assert_eq!(
                authority.name(&other_scheme),
                Err("the signature does not fit")
            );
        }
        let servers = content(b"TLS 1.3, server CertificateVerify\0");
        for odd in [servers, b"log me in".to_vec(), Vec::new()] {
            let odd = proof(&ann, &own, odd);
            assert_eq!(
                authority.name(&odd),
                Err("what was signed is not a handshake")
            );
        }
        let own_word = certify("ann", &own, &own);
        let own_word = proof(&own_word, &own, content(SIGNED));
        let nobody = Err("nobody we trust vouches for the certificate");
        assert_eq!(authority.name(&own_word), nobody);
        let no_certificate = Proof {
            chain: vec![b"x".to_vec()],
            ..fine.clone()
        };
        assert_eq!(authority.name(&no_certificate), nobody);
        assert_eq!(
            authority.name(&Proof {
                chain: Vec::new(),
                ..fine
            }),
            Err("no certificate")
        );
    }

    #[test]
    fn a_proof_too_long_or_without_a_certificate_is_not_read() {
        let with = |chain: Vec<Vec<u8>>| Proof {
            chain,
            ..Proof::default()
        };
        let read = |proof: &Proof| Proof::from_bytes(&proof.to_bytes());
        let longest = with(vec![vec![0; MAX_PROOF]]);
        assert_eq!(read(&longest).as_ref(), Some(&longest));
        for bad in [
            with(vec![vec![0; MAX_PROOF], vec![0]]),
            with(vec![Vec::new(); MAX_CHAIN + 1]),
            with(Vec::new()),
        ] {
            assert_eq!(read(&bad), None);
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            if let Some(proof) = Proof::from_bytes(&bytes) {
                prop_assert_eq!(&proof.to_bytes()[..], &bytes[..]);
            }
        }
    }
}
