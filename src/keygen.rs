//! `tfd keygen`: an RSA key pair, written so that it never replaces another
//! and that the private key never is readable by others.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use openssl::base64::encode_block;
use openssl::pkey::PKey;
use openssl::rsa::Rsa;
use openssl::sha::sha256;
use zeroize::Zeroizing;

/// Makes `private.pem` and `public.pem` in a directory, which is made when
/// missing. The exit code is 1 when anything is in the way.
#[must_use]
pub fn run(directory: &Path, bits: u32) -> ExitCode {
    match make(directory, bits) {
        Ok(made) => {
            println!("private key: {} (keep it secret)", made.private.display());
            println!("public key:  {} (give it to clients)", made.public.display());
            println!("fingerprint: SHA256:{}", made.fingerprint);
            println!("next: set private_key in tfd.toml, then run tfd check");
            ExitCode::SUCCESS
        }
        Err(text) => {
            eprintln!("tfd: {text}");
            ExitCode::FAILURE
        }
    }
}

/// A key pair on disk.
#[derive(Debug)]
pub struct Made {
    /// PKCS#8 PEM, mode 0600.
    pub private: PathBuf,
    /// SubjectPublicKeyInfo PEM.
    pub public: PathBuf,
    /// SHA-256 of the public key's DER form, base64 without padding.
    pub fingerprint: String,
}

/// Makes a key pair of `bits` bits.
///
/// # Errors
/// One line that says what is in the way. Neither file is left then.
pub fn make(directory: &Path, bits: u32) -> Result<Made, String> {
    let private = directory.join("private.pem");
    let public = directory.join("public.pem");
    for path in [&private, &public] {
        if path.symlink_metadata().is_ok() {
            return Err(format!("{} exists: move it away or choose another --out", path.display()));
        }
    }
    let key = Rsa::generate(bits).and_then(PKey::from_rsa).map_err(|e| e.to_string())?;
    let private_pem = key.private_key_to_pem_pkcs8().map(Zeroizing::new);
    let private_pem = private_pem.map_err(|e| e.to_string())?;
    let public_pem = key.public_key_to_pem().map_err(|e| e.to_string())?;
    let der = key.public_key_to_der().map_err(|e| e.to_string())?;

    let told = |path: &Path, e: io::Error| format!("{}: {e}", path.display());
    fs::create_dir_all(directory).map_err(|e| told(directory, e))?;
    write_new(&private, &private_pem, 0o600).map_err(|e| told(&private, e))?;
    if let Err(e) = write_new(&public, &public_pem, 0o644) {
        let _ = fs::remove_file(&private);
        return Err(told(&public, e));
    }
    let fingerprint = encode_block(&sha256(&der)).trim_end_matches('=').to_owned();
    Ok(Made { private, public, fingerprint })
}

/// Writes a file that must not exist yet; a failure leaves none.
///
/// # Errors
/// The system's.
pub fn write_new(path: &Path, content: &[u8], mode: u32) -> io::Result<()> {
    let mut file: File = OpenOptions::new().write(true).create_new(true).mode(mode).open(path)?;
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
        let mode = fs::metadata(&made.private).expect("stat").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let private = crate::config::read_key(&made.private).expect("usable");
        let pem = fs::read(&made.public).expect("read");
        let public = Rsa::public_key_from_pem(&pem).expect("public key");
        assert_eq!(private.n().to_vec(), public.n().to_vec());
    }

    #[test]
    fn existing_files_are_never_overwritten() {
        for name in ["private.pem", "public.pem"] {
            let dir = tempfile::tempdir().expect("tempdir");
            fs::write(dir.path().join(name), "mine").expect("write");
            assert!(make(dir.path(), 2048).expect_err("refused").contains("exists"));
            assert_eq!(fs::read(dir.path().join(name)).expect("read"), b"mine");
            assert_eq!(fs::read_dir(dir.path()).expect("dir").count(), 1);
        }
    }
}
