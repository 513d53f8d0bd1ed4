//! Everything but transfers.

use super::error::{Error, Fate, Result};
use super::session::Session;
use crate::bbftp::wire::{
    Code, Kind, MAX_LISTING, MAX_TEXT, Options, decode_listing, decode_names, encode_with_options,
};

/// An entry that matches a pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// Its path, which begins as the pattern did.
    pub path: Vec<u8>,
    /// Whether it is a symbolic link; version 1 does not say.
    pub is_link: bool,
    /// What it is, or what the link points to; version 1 does not say.
    pub kind: Option<Kind>,
}

impl Session {
    /// Changes the working directory; what the server says, which is the new one.
    ///
    /// # Errors
    /// What the server says is wrong, or the connection is lost.
    pub fn change_directory(&mut self, path: &[u8], options: Options) -> Result<Vec<u8>> {
        self.command((Code::ChDir, Code::ChDirV2), path, options)
    }

    /// Makes a directory, and with [`Options::DIR`] those above it.
    ///
    /// # Errors
    /// What the server says is wrong, or the connection is lost.
    pub fn make_directory(&mut self, path: &[u8], options: Options) -> Result<Vec<u8>> {
        self.command((Code::MkDir, Code::MkDirV2), path, options)
    }

    /// Deletes a file.
    ///
    /// # Errors
    /// What the server says is wrong, the connection is lost, or it is version 1,
    /// which can't.
    pub fn remove(&mut self, path: &[u8], options: Options) -> Result<Vec<u8>> {
        self.needs_2("rm")?;
        self.command((Code::Rm, Code::Rm), path, options)
    }

    /// One line about a file.
    ///
    /// # Errors
    /// As for [`Session::remove`].
    pub fn stat(&mut self, path: &[u8], options: Options) -> Result<Vec<u8>> {
        self.question(Code::Stat, "stat", path, options)
    }

    /// One line about a file system.
    ///
    /// # Errors
    /// As for [`Session::remove`].
    pub fn space(&mut self, path: &[u8], options: Options) -> Result<Vec<u8>> {
        self.question(Code::Df, "df", path, options)
    }

    /// Sets the server's umask.
    ///
    /// # Errors
    /// As for [`Session::remove`].
    pub fn set_umask(&mut self, umask: u32) -> Result<Vec<u8>> {
        self.needs_2("setremoteumask")?;
        self.ask(Code::ChUmask, &umask.to_be_bytes(), (Code::Ok, MAX_TEXT))
    }

    /// Sets the server's class of service.
    ///
    /// # Errors
    /// As for [`Session::remove`].
    pub fn set_class(&mut self, class: i32) -> Result<Vec<u8>> {
        self.needs_2("setremotecos")?;
        self.ask(Code::ChCos, &class.to_be_bytes(), (Code::Ok, MAX_TEXT))
    }

    /// The entries that match a pattern, in whatever order the server has.
    ///
    /// # Errors
    /// What the server says is wrong, or the connection is lost.
    pub fn list(&mut self, pattern: &[u8], options: Options) -> Result<Vec<Listed>> {
        if self.version == 1 {
            let answer = (Code::ListRepl, MAX_LISTING);
            let names = self.ask(Code::List, pattern, answer)?;
            let names = decode_names(&names).map_err(|e| self.reading(&e))?;
            let listed = |path| Listed {
                path,
                is_link: false,
                kind: None,
            };
            return Ok(names.into_iter().map(listed).collect());
        }
        let request = encode_with_options(options, pattern);
        let entries = self.ask(Code::ListV2, &request, (Code::ListReplV2, MAX_LISTING))?;
        self.is_spent |= entries.is_empty() && self.is_3_3();
        let entries = decode_listing(&entries).map_err(|e| self.reading(&e))?;
        let listed = entries.into_iter().map(|entry| Listed {
            path: entry.path,
            is_link: entry.is_link,
            kind: Some(entry.kind),
        });
        Ok(listed.collect())
    }

    /// The SHA-256 of a file in digits, where [`Session::offer`] has it.
    ///
    /// # Errors
    /// What the server says is wrong, or the connection is lost.
    pub fn sha256(&mut self, path: &[u8]) -> Result<String> {
        let digits = self.ask(Code::Sha256, path, (Code::Ok, MAX_TEXT))?;
        match String::from_utf8(digits) {
            Ok(digits) if is_sha256(&digits) => Ok(digits),
            _ => Err(Error::unknown(Code::Ok.number())),
        }
    }

    /// A command in the words of either version.
    fn command(
        &mut self,
        (old, new): (Code, Code),
        path: &[u8],
        options: Options,
    ) -> Result<Vec<u8>> {
        let text = match self.version {
            1 => self.ask(old, path, (Code::Ok, MAX_TEXT)),
            _ => {
                let request = encode_with_options(options, path);
                self.ask(new, &request, (Code::Ok, MAX_TEXT))
            }
        };
        text.map_err(|e| self.after_failure(e))
    }

    fn question(
        &mut self,
        code: Code,
        word: &str,
        path: &[u8],
        options: Options,
    ) -> Result<Vec<u8>> {
        self.needs_2(word)?;
        let request = encode_with_options(options, path);
        self.ask(code, &request, (Code::Ok, MAX_TEXT))
    }

    fn needs_2(&self, word: &str) -> Result<()> {
        match self.version {
            1 => {
                let text =
                    format!("{word}: the server speaks version 1, which has no such command");
                Err(Error::new(super::error::VERSIONS, Fate::Final, text))
            }
            _ => Ok(()),
        }
    }

    /// One of the public servers closes the connection after a failed command, or
    /// answers the next one with what belongs to this one.
    fn after_failure(&mut self, e: Error) -> Error {
        if !self.is_3_3() || self.version == 1 {
            return e;
        }
        self.is_spent = true;
        let fate = match e.fate {
            Fate::Final => Fate::FinalReconnect,
            Fate::Again => Fate::Reconnect,
            other => other,
        };
        Error { fate, ..e }
    }
}

pub(super) fn is_sha256(digits: &str) -> bool {
    let is_digit = |c: u8| c.is_ascii_digit() || (b'a'..=b'f').contains(&c);
    digits.len() == crate::bbftp::wire::extension::DIGITS && digits.bytes().all(is_digit)
}
