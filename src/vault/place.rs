//! Where a vault is on disk: its key and certificate, which root alone reads, and
//! what its system user keeps. Made at the first start.

use std::fs;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use nix::sys::wait::{WaitStatus, waitpid};
use openssl::asn1::Asn1Time;
use openssl::bn::{BigNum, MsbOption};
use openssl::error::ErrorStack;
use openssl::hash::MessageDigest;
use openssl::pkey::{PKey, Private};
use openssl::rsa::Rsa;
use openssl::x509::{X509, X509NameBuilder};
use zeroize::Zeroizing;

use crate::sys::process::fork;
use crate::trusted;
use crate::users::Identity;
use crate::users::directory::{self, Owner, ROOT};

/// Bits of the server's key, as all clients expect them.
const KEY_BITS: u32 = 4096;

/// How long its certificate is valid: clients remember it by its digest.
const DAYS: u32 = 20 * 365;

/// The directories and files of a vault.
#[derive(Clone, Debug)]
pub struct Place {
    data: PathBuf,
}

impl Place {
    /// The one in this directory.
    pub fn at(data: &Path) -> Place {
        Place {
            data: data.to_owned(),
        }
    }

    /// The private key.
    pub fn key(&self) -> PathBuf {
        self.data.join("key.pem")
    }

    /// The certificate that shows its public half.
    pub fn certificate(&self) -> PathBuf {
        self.data.join("certificate.pem")
    }

    /// Beneath it sessions have their roots.
    pub fn roots(&self) -> PathBuf {
        self.data.join("roots")
    }

    /// What the system user keeps.
    pub fn store(&self) -> PathBuf {
        self.roots().join("store")
    }

    /// The roots of sessions of the vault's own accounts, by their number.
    fn users(&self) -> PathBuf {
        self.store().join("users")
    }

    /// The roots of those of accounts of the users file, by uid and name.
    fn system(&self) -> PathBuf {
        self.roots().join("system")
    }

    /// Makes what is missing; `identity` is that of the vault's system user. The key is
    /// for existing clients alone.
    ///
    /// # Errors
    /// One line that says what could not be made.
    pub fn make(&self, identity: &Identity, has_key: bool) -> Result<(), String> {
        self.make_directories(identity)?;
        if has_key && self.key().symlink_metadata().is_err() {
            self.make_key()?;
        }
        Ok(())
    }

    /// Makes what is missing but the key.
    ///
    /// # Errors
    /// One line that says what could not be made.
    pub fn make_directories(&self, identity: &Identity) -> Result<(), String> {
        for (path, is_theirs) in [
            (self.data.clone(), false),
            (self.roots(), false),
            (self.system(), false),
            (self.store(), true),
            (self.users(), true),
        ] {
            let owner = if is_theirs { identity.owner() } else { ROOT };
            make(owner, &path)?;
        }
        Ok(())
    }

    /// Makes the root of the sessions of an account of the users file.
    ///
    /// # Errors
    /// One line that says what could not be made.
    pub fn make_system(&self, identity: &Identity, name: &str) -> Result<(), String> {
        let path = self
            .roots()
            .join(system_home_of(identity.uid.as_raw(), name));
        make(identity.owner(), &path)
    }

    /// Makes key and certificate in a process that then ends, so that no other
    /// ever had the key in its memory.
    fn make_key(&self) -> Result<(), String> {
        let own = self.clone();
        let child = fork(move || match own.write_key() {
            Ok(()) => 0,
            Err(e) => {
                log::error!(error:% = e; "no key for the vault");
                1
            }
        });
        let ended = child.and_then(|pid| Ok(waitpid(pid, None)?));
        match ended {
            Ok(WaitStatus::Exited(_, 0)) => Ok(()),
            Ok(_) => Err(format!(
                "{}: can't be made: see the log",
                self.key().display()
            )),
            Err(e) => Err(format!("{}: {e}", self.key().display())),
        }
    }

    /// The certificate comes first: with a key there is one.
    fn write_key(&self) -> Result<(), String> {
        let key = Rsa::generate(KEY_BITS).and_then(PKey::from_rsa);
        let made = key.and_then(|key| {
            let pem = Zeroizing::new(key.private_key_to_pem_pkcs8()?);
            Ok((pem, certificate(&key)?.to_pem()?))
        });
        let (key, certificate) = made.map_err(|e| e.to_string())?;
        let _ = fs::remove_file(self.certificate());
        write_new(&self.certificate(), &certificate, 0o644)?;
        write_new(&self.key(), &key, 0o600)
    }

    /// A handle of the store.
    ///
    /// # Errors
    /// One line.
    pub fn open_store(&self) -> Result<OwnedFd, String> {
        directory::open(&self.store())
    }

    /// The private key; `None` before the first start.
    ///
    /// # Errors
    /// One line.
    pub fn read_key(&self) -> Result<Option<Rsa<Private>>, String> {
        let path = self.key();
        if path.symlink_metadata().is_err() {
            return Ok(None);
        }
        let remedy = "remove it and the certificate next to it, for new ones";
        let pem = trusted::read_secret(&path, remedy)?;
        let key = Rsa::private_key_from_pem_callback(&pem, |_| Ok(0));
        let key = key.map_err(|_| format!("{}: not an RSA key: {remedy}", path.display()))?;
        Ok(Some(key))
    }
}

fn make(owner: Owner, path: &Path) -> Result<(), String> {
    directory::make(owner, path).map_err(|e| format!("vault.data: {e}"))
}

/// The root of sessions of one of the vault's own accounts, beneath all roots.
pub fn home_of(account: u64) -> String {
    format!("store/users/{account}")
}

/// The same of an account of the users file. Several may have one system user.
pub fn system_home_of(uid: u32, name: &str) -> String {
    format!("system/{uid}-{name}")
}

/// A certificate that the key has signed itself.
fn certificate(key: &PKey<Private>) -> Result<X509, ErrorStack> {
    let mut name = X509NameBuilder::new()?;
    name.append_entry_by_text("CN", "tfd vault")?;
    let name = name.build();
    let mut serial = BigNum::new()?;
    serial.rand(128, MsbOption::MAYBE_ZERO, false)?;
    let mut builder = X509::builder()?;
    builder.set_version(2)?;
    builder.set_serial_number(&*serial.to_asn1_integer()?)?;
    builder.set_subject_name(&name)?;
    builder.set_issuer_name(&name)?;
    builder.set_pubkey(key)?;
    builder.set_not_before(&*Asn1Time::days_from_now(0)?)?;
    builder.set_not_after(&*Asn1Time::days_from_now(DAYS)?)?;
    builder.sign(key, MessageDigest::sha256())?;
    Ok(builder.build())
}

/// Writes a file whole or not at all.
fn write_new(path: &Path, content: &[u8], mode: u32) -> Result<(), String> {
    use std::io::Write;
    use std::os::unix::fs::OpenOptionsExt;
    let new = path.with_extension("new");
    let _ = fs::remove_file(&new);
    let options = fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(&new);
    let written = options.and_then(|mut file| {
        file.write_all(content)?;
        file.sync_all()?;
        fs::rename(&new, path)
    });
    written.map_err(|e| format!("{}: {e}", path.display()))
}
