//! `tfd keygen`: an RSA key pair, and a certificate for TLS. Replaces no file, and
//! private keys are never readable by others.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use openssl::base64::encode_block;
use openssl::pkey::{HasPublic, PKey};
use openssl::rsa::Rsa;
use openssl::sha::sha256;
use openssl::x509::X509;
use zeroize::Zeroizing;

use crate::admin::status::{fail, say};
use crate::net::tls::certificate;

/// Makes `private.pem` and `public.pem` in a directory, which is made when
/// missing; with names also a certificate for them, `tls.pem`, and its key,
/// `tls-key.pem`, and then an existing pair is kept. The exit code is 1 when a
/// file is in the way.
pub fn run(directory: &Path, bits: u32, names: &[String]) -> ExitCode {
    let mut text = String::new();
    let made = make_all(directory, bits, names, &mut text);
    let code = say(&text);
    match made {
        Ok(()) => code,
        Err(text) => fail(text),
    }
}

/// As [`run`]; what has been made, and what comes next, is added to `text`.
fn make_all(
    directory: &Path,
    bits: u32,
    names: &[String],
    text: &mut String,
) -> Result<(), String> {
    let has_pair = ["private.pem", "public.pem"]
        .iter()
        .all(|name| directory.join(name).exists());
    let next = if has_pair && !names.is_empty() {
        "next: set tls_listen, tls_certificate and tls_key in tfd.toml, then run tfd check\n"
    } else {
        let Made {
            private,
            public,
            fingerprint,
        } = make(directory, bits)?;
        *text += &format!(
            "private key: {} (keep it secret)\npublic key:  {} (give it to clients)\n\
             fingerprint: SHA256:{fingerprint}\n",
            private.display(),
            public.display()
        );
        "next: set private_key in tfd.toml, then run tfd check\n"
    };
    if !names.is_empty() {
        let Made {
            private,
            public,
            fingerprint,
        } = make_certificate(directory, names)?;
        *text += &format!(
            "TLS key:     {} (keep it secret)\ncertificate: {} (clients may have it)\n\
             TLS pin:     SHA256:{fingerprint} (for tf --tls-pin)\n",
            private.display(),
            public.display()
        );
    }
    *text += next;
    Ok(())
}

/// Makes a self-signed certificate for these names or addresses.
pub fn make_certificate(directory: &Path, names: &[String]) -> Result<Made, String> {
    let (private, public) = vacant(directory, "tls-key.pem", "tls.pem")?;
    let (pem, key) = certificate::self_signed(names)
        .map_err(|e| format!("no certificate for {}: {e}", names.join(" ")))?;
    let fingerprint = pin(&pem)?;
    write_pair((&private, &key), (&public, &pem))?;
    Ok(Made {
        private,
        public,
        fingerprint,
    })
}

/// The pin of a certificate in PEM, as clients give it.
///
/// # Errors
/// When it is not a certificate.
pub fn pin(pem: &[u8]) -> Result<String, String> {
    let der = X509::from_pem(pem).and_then(|certificate| certificate.to_der());
    let fingerprint = der.ok().and_then(|der| certificate::fingerprint(&der));
    fingerprint.ok_or_else(|| "the certificate is damaged".to_owned())
}

/// The fingerprint of a key's public half.
///
/// # Errors
/// OpenSSL's.
pub fn fingerprint<T: HasPublic>(key: &Rsa<T>) -> Result<String, String> {
    let der = key.public_key_to_der().map_err(|e| e.to_string())?;
    Ok(encode_block(&sha256(&der)).trim_end_matches('=').to_owned())
}

/// A key pair on disk.
#[derive(Debug)]
pub struct Made {
    /// PKCS#8 PEM, mode 0600.
    pub private: PathBuf,
    /// `SubjectPublicKeyInfo` PEM, or the certificate.
    pub public: PathBuf,
    /// SHA-256 of the public key's DER form, base64 without padding.
    pub fingerprint: String,
}

/// Makes a key pair of `bits` bits.
///
/// # Errors
/// One line with the reason. Neither file is left then.
pub fn make(directory: &Path, bits: u32) -> Result<Made, String> {
    let (private, public) = vacant(directory, "private.pem", "public.pem")?;
    let key = Rsa::generate(bits).map_err(|e| e.to_string())?;
    let fingerprint = fingerprint(&key)?;
    let key = PKey::from_rsa(key).map_err(|e| e.to_string())?;
    let private_pem = key.private_key_to_pem_pkcs8().map(Zeroizing::new);
    let private_pem = private_pem.map_err(|e| e.to_string())?;
    let public_pem = key.public_key_to_pem().map_err(|e| e.to_string())?;

    fs::create_dir_all(directory).map_err(|e| format!("{}: {e}", directory.display()))?;
    write_pair((&private, &private_pem), (&public, &public_pem))?;
    Ok(Made {
        private,
        public,
        fingerprint,
    })
}

/// The paths of a new pair, unless one exists.
fn vacant(directory: &Path, private: &str, public: &str) -> Result<(PathBuf, PathBuf), String> {
    let (private, public) = (directory.join(private), directory.join(public));
    for path in [&private, &public] {
        if path.symlink_metadata().is_ok() {
            let taken = path.display();
            return Err(format!(
                "{taken} exists: move it or choose another directory"
            ));
        }
    }
    Ok((private, public))
}

/// Writes both halves of a pair, or neither.
fn write_pair(private: (&Path, &[u8]), public: (&Path, &[u8])) -> Result<(), String> {
    let write = |(path, content): (&Path, &[u8]), mode| {
        write_new(path, content, mode).map_err(|e| format!("{}: {e}", path.display()))
    };
    write(private, 0o600)?;
    write(public, 0o644).inspect_err(|_| drop(fs::remove_file(private.0)))
}

/// Writes a file that must not exist yet; a failure leaves none.
pub fn write_new(path: &Path, content: &[u8], mode: u32) -> io::Result<()> {
    let mut file: File = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(path)?;
    let written = file.write_all(content).and_then(|()| file.sync_all());
    if written.is_err() {
        let _ = fs::remove_file(path);
    }
    written
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_pair_fits_together_and_only_the_owner_reads_the_private_key() {
        let dir = tempfile::tempdir().expect("tempdir");
        let made = make(&dir.path().join("keys"), 2048).expect("made");
        let mode = fs::metadata(&made.private)
            .expect("stat")
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600);
        let private = crate::tf::key::read_key(&made.private).expect("usable");
        let pem = fs::read(&made.public).expect("read");
        let public = Rsa::public_key_from_pem(&pem).expect("public key");
        assert_eq!(private.n().to_vec(), public.n().to_vec());
    }

    #[test]
    fn a_certificate_and_its_key_can_be_served_with() {
        let dir = tempfile::tempdir().expect("tempdir");
        let names = ["files.example.org", "192.0.2.7", "2001:db8::7"].map(str::to_owned);
        let made = make_certificate(dir.path(), &names).expect("made");
        let key = certificate::read_key_file(&made.private).expect("key");
        let pem = certificate::read_file(&made.public).expect("certificate");
        certificate::check_pair(&pem, &key).expect("they fit");
        assert_eq!(certificate::expiry_warning(&pem), None);
        assert_eq!(made.fingerprint.len(), 43);
        assert!(
            make_certificate(dir.path(), &names)
                .expect_err("twice")
                .contains("exists")
        );
    }

    #[test]
    fn existing_files_are_never_overwritten() {
        for name in ["private.pem", "public.pem"] {
            let dir = tempfile::tempdir().expect("tempdir");
            fs::write(dir.path().join(name), "mine").expect("write");
            assert!(
                make(dir.path(), 2048)
                    .expect_err("refused")
                    .contains("exists")
            );
            assert_eq!(fs::read(dir.path().join(name)).expect("read"), b"mine");
            assert_eq!(fs::read_dir(dir.path()).expect("dir").count(), 1);
        }
    }
}
