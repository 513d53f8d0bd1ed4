//! Certificates for clients, and who issues them.

use openssl::asn1::Asn1Time;
use openssl::bn::BigNum;
use openssl::ec::{EcGroup, EcKey};
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkey::{PKey, Private};
use openssl::x509::extension::{BasicConstraints, KeyUsage};
use openssl::x509::{X509, X509Name};

/// Somebody who vouches for clients.
pub struct Ca {
    pub certificate: X509,
    pub key: PKey<Private>,
}

pub fn new_key() -> PKey<Private> {
    let group = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1).expect("curve");
    PKey::from_ec_key(EcKey::generate(&group).expect("key")).expect("key")
}

fn name(names: &[&str]) -> X509Name {
    let mut builder = X509Name::builder().expect("name");
    for name in names {
        builder
            .append_entry_by_nid(Nid::COMMONNAME, name)
            .expect("name");
    }
    builder.build()
}

/// A certificate for a key; signed by itself where there is no CA.
pub fn certify(ca: Option<&Ca>, key: &PKey<Private>, names: &[&str], days: i64) -> X509 {
    let mut builder = X509::builder().expect("certificate");
    builder.set_version(2).expect("version");
    let serial = BigNum::from_u32(7)
        .and_then(|n| n.to_asn1_integer())
        .expect("serial");
    builder.set_serial_number(&serial).expect("serial");
    builder.set_subject_name(&name(names)).expect("subject");
    builder.set_pubkey(key).expect("key");
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let now = now.expect("clock").as_secs() as i64;
    let day = |at: i64| Asn1Time::from_unix(now + at * 86_400).expect("time");
    builder.set_not_before(&day(-9)).expect("time");
    builder.set_not_after(&day(days)).expect("time");
    match ca {
        Some(ca) => {
            builder
                .set_issuer_name(ca.certificate.subject_name())
                .expect("issuer");
            builder
                .append_extension(BasicConstraints::new().build().expect("ext"))
                .expect("ext");
            builder
                .sign(&ca.key, MessageDigest::sha256())
                .expect("sign");
        }
        None => {
            builder.set_issuer_name(&name(names)).expect("issuer");
            let ca = BasicConstraints::new()
                .critical()
                .ca()
                .build()
                .expect("ext");
            builder.append_extension(ca).expect("ext");
            let usage = KeyUsage::new().key_cert_sign().build().expect("ext");
            builder.append_extension(usage).expect("ext");
            builder.sign(key, MessageDigest::sha256()).expect("sign");
        }
    }
    builder.build()
}

impl Ca {
    pub fn new() -> Ca {
        let key = new_key();
        Ca {
            certificate: certify(None, &key, &["test CA"], 9),
            key,
        }
    }

    /// A certificate for these common names and its key, both in PEM.
    pub fn issue(&self, names: &[&str], days: i64) -> (Vec<u8>, Vec<u8>) {
        let key = new_key();
        let certificate = certify(Some(self), &key, names, days);
        let key = key.private_key_to_pem_pkcs8().expect("pem");
        (certificate.to_pem().expect("pem"), key)
    }
}
