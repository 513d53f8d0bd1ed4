//! The commands that are one request and one reply, and the names of secure
//! directories (document, "Secured Directory"): a name and a passphrase go in,
//! a name that nobody guesses comes out.

use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use super::connect::{Connection, ok_data, refusal};
use super::error::{ClientError, Result};
use super::listing::Kind;
use crate::text::hex;

/// The reply to FSTAT.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stat {
    /// What it is.
    pub kind: Kind,
    /// Its size in bytes.
    pub size: u64,
    /// Last access, in seconds since the epoch.
    pub accessed: i64,
    /// Last change of content, in seconds since the epoch.
    pub modified: i64,
}

impl Stat {
    /// Reads `T size atime mtime`.
    #[must_use]
    pub fn parse(text: &[u8]) -> Option<Stat> {
        let text = std::str::from_utf8(text).ok()?;
        let mut fields = text.split(' ');
        let kind = match fields.next()? {
            "F" => Kind::File,
            "D" => Kind::Directory,
            "U" => Kind::Other,
            _ => return None,
        };
        let size = fields.next()?.parse().ok()?;
        let accessed = fields.next()?.parse().ok()?;
        let modified = fields.next()?.parse().ok()?;
        fields.next().is_none().then_some(Stat {
            kind,
            size,
            accessed,
            modified,
        })
    }
}

macro_rules! plain_commands {
    ($($(#[$doc:meta])* $name:ident($($argument:ident),*) = $format:literal;)*) => {
        impl Connection {
            $(
                $(#[$doc])*
                ///
                /// # Errors
                /// The server's refusal, or the connection is lost.
                pub fn $name(&mut self, $($argument: &str),*) -> Result<()> {
                    self.command(&format!($format)).map(drop)
                }
            )*
        }
    };
}

plain_commands! {
    /// Makes a directory (document, "MKDIR").
    make_directory(path) = "MKDIR {path}";
    /// Deletes a file (document, "DEL").
    delete(path) = "DEL {path}";
    /// Removes a directory with all in it (document, "RMDIR").
    remove_directory(path) = "RMDIR {path}";
    /// Makes an empty file (document, "TOUCH").
    touch(path) = "TOUCH {path}";
    /// Sets both times to now (document, "FUPD").
    update_times(path) = "FUPD {path}";
    /// Sets the lock name of this session, empty for none (document, "LOCK").
    lock(name) = "LOCK {name}";
}

impl Connection {
    /// Copies a file on the server (document, "COPY").
    ///
    /// # Errors
    /// The server's refusal, `NoWord`, or the connection is lost.
    pub fn copy(&mut self, from: &str, to: &str) -> Result<()> {
        self.two_paths("COPY", from, to)
    }

    /// Copies a tree on the server (document, "CPDIR").
    ///
    /// # Errors
    /// Those of [`Connection::copy`].
    pub fn copy_directory(&mut self, from: &str, to: &str) -> Result<()> {
        self.two_paths("CPDIR", from, to)
    }

    /// Renames, replacing an existing file (document, "RENAM").
    ///
    /// # Errors
    /// Those of [`Connection::copy`].
    pub fn rename(&mut self, from: &str, to: &str) -> Result<()> {
        self.two_paths("RENAM", from, to)
    }

    /// Removes a directory, secure or not, that has an entry of the token's
    /// name (document, "RMSECDIR").
    ///
    /// # Errors
    /// Those of [`Connection::copy`].
    pub fn remove_secure_directory(&mut self, token: &str, path: &str) -> Result<()> {
        self.two_paths("RMSECDIR", token, path)
    }

    fn two_paths(&mut self, word: &'static str, first: &str, second: &str) -> Result<()> {
        no_word(first, " | ", word)?;
        self.command(&format!("{word} {first} | {second}"))
            .map(drop)
    }

    /// Sets the mode, octal (document, "CHMOD").
    ///
    /// # Errors
    /// The server's refusal, `NoWord`, or the connection is lost.
    pub fn change_mode(&mut self, path: &str, mode: &str) -> Result<()> {
        self.command(&mode_request(path, mode)?).map(drop)
    }

    /// Sets owner and group, by name or number (document, "CHOWN").
    ///
    /// # Errors
    /// The server's refusal, `NoWord`, or the connection is lost.
    pub fn change_owner(&mut self, path: &str, user: &str, group: &str) -> Result<()> {
        self.command(&owner_request(path, user, group)?).map(drop)
    }

    /// Logs in (document, "LOGIN"). The password is in no error.
    ///
    /// # Errors
    /// The server's refusal, or the connection is lost.
    pub fn log_in(&mut self, user: &str, password: &str) -> Result<()> {
        let request = Zeroizing::new(format!("LOGIN {user} {password}"));
        self.secret_command(&request, format!("LOGIN {user}"))
    }

    /// Enters a jail (document, "INJAIL"). The token is in no error.
    ///
    /// # Errors
    /// The server's refusal, or the connection is lost.
    pub fn enter_jail(&mut self, token: &str, path: &str) -> Result<()> {
        let request = Zeroizing::new(format!("INJAIL {token} | {path}"));
        self.secret_command(&request, format!("INJAIL {path}"))
    }

    /// Sends a request of which errors show `shown` only.
    fn secret_command(&mut self, request: &str, shown: String) -> Result<()> {
        let reply = self.request(request.as_bytes())?;
        ok_data(&shown, &reply).map(drop)
    }

    /// Sends a text (document, "ECHO"); returns whether the same came back.
    ///
    /// # Errors
    /// When the connection is lost.
    pub fn echo(&mut self, text: &str) -> Result<bool> {
        let reply = self.request(format!("ECHO {text}").as_bytes())?;
        Ok(reply.strip_prefix(b"ECHO ").unwrap_or(&reply) == text.as_bytes())
    }

    /// Kind, size and times (document, "FSTAT").
    ///
    /// # Errors
    /// The server's refusal, or the connection is lost.
    pub fn stat(&mut self, path: &str) -> Result<Stat> {
        let request = format!("FSTAT {path}");
        let data = self.command(&request)?;
        Stat::parse(&data).ok_or_else(|| refusal(&request, &data))
    }

    /// As [`Connection::stat`] for many paths, with few round trips. What the
    /// server refuses is an error in its place.
    ///
    /// # Errors
    /// When the connection is lost.
    pub fn stat_all(&mut self, paths: &[String]) -> Result<Vec<Result<Stat>>> {
        let requests = paths.iter().map(|path| format!("FSTAT {path}"));
        self.command_all(requests, |request, data| {
            Stat::parse(data).ok_or_else(|| refusal(request, data))
        })
    }

    /// Sends many requests of one reply each, with few round trips, and reads
    /// what stands behind `OK` in each reply. What the server refuses is an
    /// error in its place.
    ///
    /// # Errors
    /// When the connection is lost.
    pub fn command_all<T>(
        &mut self,
        requests: impl IntoIterator<Item = String>,
        mut read: impl FnMut(&str, &[u8]) -> Result<T>,
    ) -> Result<Vec<Result<T>>> {
        let requests: Vec<String> = requests.into_iter().collect();
        let replies = self.ask_all(&requests)?;
        let answers = requests.iter().zip(&replies);
        Ok(answers
            .map(|(request, reply)| read(request, ok_data(request, reply)?))
            .collect())
    }

    /// Free space where the server's root lies, in bytes (document, "FREESP").
    ///
    /// # Errors
    /// The server's refusal, or the connection is lost.
    pub fn free_space(&mut self) -> Result<u64> {
        let data = self.command("FREESP")?;
        let text = String::from_utf8_lossy(&data);
        text.parse().map_err(|_| refusal("FREESP", &data))
    }

    /// The session's key for UDP probes (document, "PROCKEY").
    ///
    /// # Errors
    /// The server's refusal, or the connection is lost.
    pub fn process_key(&mut self) -> Result<Vec<u8>> {
        self.command("PROCKEY")
    }

    /// Replaces the session key by a new one of `length` bytes (document,
    /// "NIGMA").
    ///
    /// # Errors
    /// The server's refusal, or the connection is lost.
    pub fn swap_key(&mut self, length: u32) -> Result<()> {
        self.command(&format!("NIGMA {length}"))?;
        let announced = self.wire().read_i32()?;
        if u32::try_from(announced) != Ok(length) {
            return Err(refusal("NIGMA", announced.to_string().as_bytes()));
        }
        let mut key = zeroize::Zeroizing::new(vec![0; length as usize]);
        self.wire().read_raw(&mut key)?;
        self.wire().follow_key(&key);
        Ok(())
    }
}

/// The request that sets a mode.
///
/// # Errors
/// `NoWord`.
pub fn mode_request(path: &str, mode: &str) -> Result<String> {
    no_word(path, " ", "CHMOD")?;
    Ok(format!("CHMOD {path} {mode}"))
}

/// The request that sets owner and group.
///
/// # Errors
/// `NoWord`.
pub fn owner_request(path: &str, user: &str, group: &str) -> Result<String> {
    no_word(path, " ", "CHOWN")?;
    no_word(user, " ", "CHOWN")?;
    Ok(format!("CHOWN {path} {user} {group}"))
}

/// Refuses a path that the server would read as another one.
fn no_word(argument: &str, end: &'static str, word: &'static str) -> Result<()> {
    if argument.contains(end) {
        return Err(ClientError::NoWord {
            path: argument.to_owned(),
            end,
            word,
        });
    }
    Ok(())
}

/// The name of a secure directory: the SHA-256 of `name:passphrase` in
/// hexadecimal, that of these digits for each further round, and `.sd`.
#[must_use]
pub fn secret_name(name: &str, passphrase: &str, rounds: u32) -> String {
    let mut text = Zeroizing::new(format!("{name}:{passphrase}"));
    for _ in 0..rounds.max(1) {
        text = Zeroizing::new(hex_digest(&text));
    }
    format!("{}.sd", *text)
}

/// The name of the entry in it that allows its removal by RMSECDIR; it follows
/// from the directory's name.
#[must_use]
pub fn secret_token(directory: &str) -> String {
    hex_digest(directory)
}

fn hex_digest(text: &str) -> String {
    hex(&Sha256::digest(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stats_are_read_and_nothing_else() {
        let stat = Stat {
            kind: Kind::File,
            size: 5,
            accessed: -1,
            modified: 2,
        };
        assert_eq!(Stat::parse(b"F 5 -1 2"), Some(stat));
        for odd in [
            "",
            "F",
            "F 5 1",
            "X 5 1 2",
            "F -5 1 2",
            "F 5 1 2 3",
            "F  5 1 2",
        ] {
            assert_eq!(Stat::parse(odd.as_bytes()), None, "{odd}");
        }
    }

    #[test]
    fn names_can_be_derived_by_hand() {
        // printf ann:secret | sha256sum
        let once = "816f9bf0766e9b74f04ecb467e9977d9b3c0ac5af8b6373246d575de00d2c8ad";
        assert_eq!(secret_name("ann", "secret", 1), format!("{once}.sd"));
        assert_ne!(
            secret_name("ann", "secret", 2),
            secret_name("ann", "secret", 1)
        );
        assert_eq!(
            secret_name("ann", "secret", 2),
            format!("{}.sd", hex_digest(once))
        );
        assert_eq!(secret_token("x").len(), 64);
    }
}
