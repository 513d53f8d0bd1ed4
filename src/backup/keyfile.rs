//! The key file of a machine: the owner's seed, under a passphrase or under the
//! file's mode alone, and where his keepers are. The phrase is never in it.

use std::fmt::Write as _;
use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use argon2::{Algorithm, Argon2, Params, Version};
use openssl::base64::{decode_block, encode_block};
use openssl::hash::MessageDigest;
use openssl::memcmp;
use openssl::pkey::PKey;
use openssl::sign::Signer;
use openssl::symm::{Cipher, decrypt_aead, encrypt_aead};
use zeroize::Zeroizing;

use super::account::Account;
use super::seed::{SEED, Seed};
use super::{BackupError, Result, local};
use crate::replace::{Access, replace, sync_above};

/// Its first line, which the sealed part is bound to.
const FIRST_LINE: &str = "tfd-hub-key 1";

/// RFC 9106, second choice.
const KDF: &str = "argon2id m=65536 t=3 p=4 salt=";

const SALT: usize = 16;
const TAG: usize = 16;
const COMMIT: usize = 32;

/// Each file is sealed under a key of its own.
const NONCE: [u8; 12] = [0; 12];

/// A key file.
pub(crate) struct KeyFile {
    /// The directories of the keepers.
    pub(crate) keepers: Vec<PathBuf>,
    /// The account at a hub in their place.
    pub(crate) account: Option<Account>,
    secret: Secret,
}

enum Secret {
    Plain(Seed),
    Sealed {
        salt: [u8; SALT],
        sealed: Vec<u8>,
        commit: Vec<u8>,
    },
}

impl KeyFile {
    /// One for these keepers.
    pub(crate) fn new(
        seed: Seed,
        keepers: Vec<PathBuf>,
        passphrase: Option<&str>,
    ) -> Result<KeyFile> {
        let secret = match passphrase {
            None => Secret::Plain(seed),
            Some(passphrase) => {
                let mut salt = [0; SALT];
                getrandom::fill(&mut salt)
                    .map_err(|e| BackupError::Failed(format!("no random bytes: {e}")))?;
                seal(&seed, passphrase, salt)?
            }
        };
        Ok(KeyFile {
            keepers,
            account: None,
            secret,
        })
    }

    /// The same for an account at a hub.
    pub(crate) fn of(account: Account, seed: Seed, passphrase: Option<&str>) -> Result<KeyFile> {
        let mut file = KeyFile::new(seed, Vec::new(), passphrase)?;
        file.account = Some(account);
        Ok(file)
    }

    pub(crate) fn has_passphrase(&self) -> bool {
        matches!(self.secret, Secret::Sealed { .. })
    }

    /// The seed in it; the passphrase is asked for only if there is one.
    ///
    /// # Errors
    /// [`BackupError::WrongKey`] with another passphrase.
    pub(crate) fn open(
        &self,
        passphrase: impl FnOnce() -> Result<Zeroizing<String>>,
    ) -> Result<Seed> {
        match &self.secret {
            Secret::Plain(seed) => Ok(seed.clone()),
            Secret::Sealed {
                salt,
                sealed,
                commit,
            } => unseal(&passphrase()?, *salt, sealed, commit),
        }
    }

    fn text(&self) -> Zeroizing<String> {
        let mut text = Zeroizing::new(format!("{FIRST_LINE}\n"));
        if let Some(account) = &self.account {
            text.push_str(&account.text());
        }
        for keeper in &self.keepers {
            let _ = writeln!(text, "keeper {}", escaped(keeper));
        }
        let _ = match &self.secret {
            Secret::Plain(seed) => {
                let seed = Zeroizing::new(base64(seed.bytes()));
                writeln!(text, "kdf none\nseed {}", *seed)
            }
            Secret::Sealed {
                salt,
                sealed,
                commit,
            } => {
                let (salt, sealed, commit) = (base64(salt), base64(sealed), base64(commit));
                writeln!(text, "kdf {KDF}{salt}\nbox {sealed}\ncommit {commit}")
            }
        };
        text
    }

    fn parse(text: &str) -> Option<KeyFile> {
        let mut lines = text.lines();
        if lines.next() != Some(FIRST_LINE) {
            return None;
        }
        let mut keepers = Vec::new();
        let mut account = Vec::new();
        let mut fields = Vec::new();
        for line in lines {
            match line.split_once(' ')? {
                ("keeper", path) => keepers.push(unescaped(path)?),
                field @ ("hub" | "pin" | "user" | "factor", _) => account.push(field),
                field => fields.push(field),
            }
        }
        let secret = match fields.as_slice() {
            [("kdf", "none"), ("seed", seed)] => {
                let seed = Zeroizing::new(unbase64(seed)?);
                Secret::Plain(Seed::from_bytes(&seed)?)
            }
            [("kdf", kdf), ("box", sealed), ("commit", commit)] => Secret::Sealed {
                salt: unbase64(kdf.strip_prefix(KDF)?)?.try_into().ok()?,
                sealed: unbase64(sealed).filter(|it| it.len() == SEED + TAG)?,
                commit: unbase64(commit).filter(|it| it.len() == COMMIT)?,
            },
            _ => return None,
        };
        let account = match account.is_empty() {
            true => None,
            false => Some(Account::parse(&account)?),
        };
        Some(KeyFile {
            keepers,
            account,
            secret,
        })
    }

    /// Reads one.
    pub(crate) fn read(path: &Path) -> Result<KeyFile> {
        let text = fs::read_to_string(path).map_err(local(path))?;
        let text = Zeroizing::new(text);
        let file = KeyFile::parse(&text).ok_or_else(|| {
            let path = path.display();
            BackupError::Failed(format!("{path}: not a key file of this version"))
        })?;
        let mode = fs::metadata(path)
            .map_err(local(path))?
            .permissions()
            .mode();
        if mode & 0o077 != 0 {
            let path = path.display();
            let text = format!("{path}: other users can read it: chmod 600 {path}");
            return Err(BackupError::Failed(text));
        }
        Ok(file)
    }

    /// Saves it where no file is yet. It is on disk when this returns.
    pub(crate) fn save(&self, path: &Path) -> Result<()> {
        let directory = path.parent().unwrap_or(Path::new("."));
        fs::create_dir_all(directory).map_err(local(directory))?;
        write_secret(path, self.text().as_bytes())
    }

    /// Saves it in the place of the one it was read from.
    pub(crate) fn replace(&self, path: &Path) -> Result<()> {
        replace(path, self.text().as_bytes(), Access::Secret)
            .and_then(|()| sync_above(path))
            .map_err(local(path))
    }
}

/// Writes a file that nobody else may read, and that must not exist yet.
pub(crate) fn write_secret(path: &Path, bytes: &[u8]) -> Result<()> {
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .and_then(|mut file| {
            file.write_all(bytes)?;
            file.sync_all()
        })
        .and_then(|()| sync_above(path))
        .map_err(local(path))
}

fn stretch(passphrase: &str, salt: [u8; SALT]) -> Result<Zeroizing<[u8; 64]>> {
    let failed = |e| BackupError::Failed(format!("the passphrase: {e}"));
    let params = Params::new(65536, 3, 4, Some(64)).map_err(failed)?;
    let mut key = Zeroizing::new([0; 64]);
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
        .hash_password_into(passphrase.as_bytes(), &salt, &mut *key)
        .map_err(failed)?;
    Ok(key)
}

/// What tells a wrong passphrase from a box that somebody else has made.
fn commitment(key: &[u8], sealed: &[u8]) -> Result<Vec<u8>> {
    let key = PKey::hmac(key)?;
    let mut signer = Signer::new(MessageDigest::sha256(), &key)?;
    signer.update(FIRST_LINE.as_bytes())?;
    signer.update(&[0])?;
    signer.update(sealed)?;
    Ok(signer.sign_to_vec()?)
}

fn seal(seed: &Seed, passphrase: &str, salt: [u8; SALT]) -> Result<Secret> {
    let key = stretch(passphrase, salt)?;
    let mut tag = [0; TAG];
    let aad = FIRST_LINE.as_bytes();
    let cipher = Cipher::aes_256_gcm();
    let mut sealed = encrypt_aead(
        cipher,
        &key[..32],
        Some(&NONCE),
        aad,
        seed.bytes(),
        &mut tag,
    )?;
    sealed.extend_from_slice(&tag);
    let commit = commitment(&key[32..], &sealed)?;
    Ok(Secret::Sealed {
        salt,
        sealed,
        commit,
    })
}

fn unseal(passphrase: &str, salt: [u8; SALT], sealed: &[u8], commit: &[u8]) -> Result<Seed> {
    let wrong = || BackupError::WrongKey("wrong passphrase of the key file".to_owned());
    let key = stretch(passphrase, salt)?;
    if !memcmp::eq(&commitment(&key[32..], sealed)?, commit) {
        return Err(wrong());
    }
    let (sealed, tag) = sealed.split_at(SEED);
    let aad = FIRST_LINE.as_bytes();
    let cipher = Cipher::aes_256_gcm();
    let seed = decrypt_aead(cipher, &key[..32], Some(&NONCE), aad, sealed, tag);
    let seed = Zeroizing::new(seed.map_err(|_| wrong())?);
    Seed::from_bytes(&seed).ok_or_else(wrong)
}

/// Base64 for names and lines: of URLs, without padding.
fn base64(bytes: &[u8]) -> String {
    let text = encode_block(bytes).replace('+', "-").replace('/', "_");
    text.trim_end_matches('=').to_owned()
}

fn unbase64(text: &str) -> Option<Vec<u8>> {
    let mut block = text.replace('-', "+").replace('_', "/");
    block.push_str(&"=".repeat((4 - block.len() % 4) % 4));
    decode_block(&block).ok().filter(|it| base64(it) == text)
}

/// A path as one word.
fn escaped(path: &Path) -> String {
    let mut word = String::new();
    for byte in path.as_os_str().as_bytes() {
        match byte {
            b'%' => word.push_str("%25"),
            0x21..=0x7e => word.push(char::from(*byte)),
            byte => {
                let _ = write!(word, "%{byte:02X}");
            }
        }
    }
    word
}

fn unescaped(word: &str) -> Option<PathBuf> {
    let mut bytes = Vec::new();
    let mut rest = word.as_bytes();
    while let [first, behind @ ..] = rest {
        rest = behind;
        if *first == b'%' {
            let (digits, behind) = rest.split_at_checked(2)?;
            bytes.extend(crate::text::unhex(digits)?);
            rest = behind;
        } else {
            bytes.push(*first);
        }
    }
    Some(PathBuf::from(std::ffi::OsString::from_vec(bytes)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn anna() -> Seed {
        let bytes: Vec<u8> = (0..32).collect();
        Seed::from_bytes(&bytes).expect("32 bytes")
    }

    fn opened(file: &KeyFile, passphrase: &str) -> Result<Seed> {
        file.open(|| Ok(Zeroizing::new(passphrase.to_owned())))
    }

    #[test]
    fn a_sealed_file_is_that_of_the_protocol() {
        let salt: Vec<u8> = (0..16).collect();
        let salt = salt.try_into().expect("16 bytes");
        let secret = seal(&anna(), "correct horse", salt).expect("sealed");
        let file = KeyFile {
            keepers: vec!["/mnt/a b".into(), "/mnt/50%".into()],
            account: None,
            secret,
        };
        let text = file.text();
        assert_eq!(
            *text,
            "tfd-hub-key 1\nkeeper /mnt/a%20b\nkeeper /mnt/50%25\n\
             kdf argon2id m=65536 t=3 p=4 salt=AAECAwQFBgcICQoLDA0ODw\n\
             box nNlx26LPOeLK99kuU5-C6nldLHpL8ksIfU1dgRCY-k1TiOQzlQjww9zGcYdlcdos\n\
             commit Mu9TuBhtedg7Lx7PV6MZq1_FUJ5fHTPk8Wtwlluvjc8\n"
        );
        let again = KeyFile::parse(&text).expect("key file");
        assert_eq!(again.keepers, file.keepers);
        let seed = opened(&again, "correct horse").expect("seed");
        assert_eq!(seed.bytes(), anna().bytes());
        let wrong = opened(&again, "wrong horse");
        assert!(matches!(wrong, Err(BackupError::WrongKey(_))));
    }

    #[test]
    fn a_file_without_a_passphrase_holds_the_seed() {
        let file = KeyFile::new(anna(), vec!["/mnt/a".into()], None).expect("key file");
        let again = KeyFile::parse(&file.text()).expect("key file");
        let seed = again.open(|| panic!("there is none")).expect("seed");
        assert_eq!(seed.bytes(), anna().bytes());
    }

    #[test]
    fn what_is_no_key_file_is_refused() {
        for text in [
            "",
            "tfd-hub-key 2\nkdf none\nseed AA\n",
            "tfd-hub-key 1\nkdf none\nseed AA\n",
            "tfd-hub-key 1\nkdf argon2id m=1 t=1 p=1 salt=AA\nbox AA\ncommit AA\n",
            "tfd-hub-key 1\nkeeper %4\nkdf none\nseed AA\n",
        ] {
            assert!(KeyFile::parse(text).is_none(), "{text}");
        }
    }
}
