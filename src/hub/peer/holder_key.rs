//! The key file of a holder: what it signs and logs in by. The owner's program writes
//! it; it can neither read nor delete the owner's own backups.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;

use openssl::error::ErrorStack;
use zeroize::Zeroizing;

use super::signer::Keys;
use crate::hub::proofs::SigningKey;
use crate::hub::wire::{Label, LoginKey, Signature, User, Value};
use crate::text::reason;

const FIRST_LINE: &str = "tfd-holder-key 1";

/// What a holder's machine knows of its hub and of its user.
#[derive(Clone, PartialEq, Eq)]
pub struct HolderKey {
    /// Where the hub is: `HOST:PORT`, an address of IPv6 in brackets.
    pub address: String,
    /// What the hub calls itself.
    pub hub: Label,
    /// The key of the hub's certificate: `SHA256:` and base64.
    pub pin: String,
    /// Who keeps.
    pub user: User,
    /// The private key of the holder: Ed25519.
    pub key: LoginKey,
    /// What logs in.
    pub login: LoginKey,
    /// What the identity key has signed of the holder key.
    pub proof: Signature,
}

impl std::fmt::Debug for HolderKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("HolderKey")
    }
}

impl HolderKey {
    /// What signs for the holder.
    ///
    /// # Errors
    /// The library's.
    pub fn keys(&self) -> Result<Keys, ErrorStack> {
        Ok(Keys {
            key: SigningKey::new(&self.key.0)?,
            login: self.login.clone(),
        })
    }

    fn text(&self) -> Zeroizing<String> {
        Zeroizing::new(format!(
            "{FIRST_LINE}\nhub {} {}\npin {}\nuser {}\nkey {}\nlogin {}\nproof {}\n",
            self.address,
            self.hub.as_str(),
            self.pin,
            self.user.as_str(),
            *Zeroizing::new(self.key.text()),
            *Zeroizing::new(self.login.text()),
            self.proof.text(),
        ))
    }

    /// Reads the text of one.
    pub fn parse(text: &str) -> Option<HolderKey> {
        let mut lines = text.lines();
        if lines.next() != Some(FIRST_LINE) {
            return None;
        }
        let mut field = |name: &str| lines.next()?.strip_prefix(name)?.strip_prefix(' ');
        let (address, hub) = field("hub")?.split_once(' ')?;
        let key = HolderKey {
            address: Some(address).filter(|it| is_address(it))?.to_owned(),
            hub: Label::read(hub)?,
            pin: Some(field("pin")?).filter(|it| is_pin(it))?.to_owned(),
            user: User::read(field("user")?)?,
            key: LoginKey::read(field("key")?)?,
            login: LoginKey::read(field("login")?)?,
            proof: Signature::read(field("proof")?)?,
        };
        lines.next().is_none().then_some(key)
    }

    /// Reads one that nobody else can read.
    ///
    /// # Errors
    /// What is wrong with it, and what to do.
    pub fn load(path: &Path) -> Result<HolderKey, String> {
        let shown = path.display();
        let failed = |e: io::Error| format!("{shown}: {}", reason(&e));
        let text = Zeroizing::new(fs::read_to_string(path).map_err(failed)?);
        let mode = fs::metadata(path).map_err(failed)?.permissions().mode();
        if mode & 0o077 != 0 {
            let text = format!("{shown}: other users can read it: chmod 600 {shown}");
            return Err(text);
        }
        let wrong = || format!("{shown}: not a holder's key file: tf hub holder-key writes one");
        HolderKey::parse(&text).ok_or_else(wrong)
    }

    /// Writes it where no file is yet. It is on disk when this returns.
    ///
    /// # Errors
    /// The system's.
    pub fn save(&self, path: &Path) -> io::Result<()> {
        let directory = match path.parent() {
            Some(directory) if directory != Path::new("") => directory,
            _ => Path::new("."),
        };
        fs::create_dir_all(directory)?;
        let mut options = OpenOptions::new();
        options.write(true).create_new(true).mode(0o600);
        let mut file = options.open(path)?;
        file.write_all(self.text().as_bytes())?;
        file.sync_all()?;
        File::open(directory)?.sync_all()
    }
}

/// Whether this is `HOST:PORT`.
pub fn is_address(text: &str) -> bool {
    let parts = text.rsplit_once(':');
    let is_letter = |c: char| c.is_ascii_graphic();
    parts.is_some_and(|(host, port)| {
        !host.is_empty() && host.chars().all(is_letter) && u16::read(port).is_some()
    })
}

/// Whether this is the SHA-256 of a key, as people compare it.
fn is_pin(text: &str) -> bool {
    let digest = text.strip_prefix("SHA256:");
    digest.is_some_and(|it| it.len() == 43 && it.bytes().all(|c| c.is_ascii_graphic()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "tfd-holder-key 1\nhub hub.example.org:7170 hub.example.org\n\
        pin SHA256:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\nuser bob\n\
        key l2sLN2cmPftr4Bk58S8yIt_FgH8d99K_Qfuc1iUqZCM\n\
        login mASZUlyjBQBsVa8RJ8Ga3IB0ISjMMXlyYTVZOLAL4TQ\n\
        proof VEOTscb65Yj0MnTPCKafXgHOXdIdhcWwXKoqfsOsVoSvIdpDcx-SNNEgG_WoTztRGmLdXDrGx4rFOj95kUqoDw\n";

    #[test]
    fn a_file_is_written_as_it_is_read_and_by_its_owner_alone() {
        let key = HolderKey::parse(TEXT).expect("key file");
        assert_eq!(*key.text(), TEXT);
        let directory = tempfile::tempdir().expect("directory");
        let path = directory.path().join("hub").join("holder.key");
        key.save(&path).expect("saved");
        assert_eq!(HolderKey::load(&path), Ok(key.clone()));
        assert!(key.save(&path).is_err(), "there is one");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).expect("mode");
        assert!(HolderKey::load(&path).is_err());
        assert_eq!(format!("{key:?}"), "HolderKey");
    }

    #[test]
    fn what_is_no_key_file_is_refused() {
        for (from, to) in [
            ("key 1", "key 2"),
            (":7170", ""),
            ("SHA256:A", "SHA256:"),
            ("user bob", "user Bob"),
            ("user bob\n", ""),
            ("login m", "login "),
            ("qoDw\n", "qoDw\nmore\n"),
            ("proof V", "proof "),
        ] {
            let text = TEXT.replace(from, to);
            assert_ne!(text, TEXT);
            assert!(HolderKey::parse(&text).is_none(), "{from}");
        }
    }
}
