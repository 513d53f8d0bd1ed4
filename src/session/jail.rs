//! Jails: the token that opens a directory.

use std::io;
use std::os::fd::OwnedFd;

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use crate::session::login::Why;
use crate::store::path::Policy;
use crate::store::{Root, RootPath};
use crate::users::hash;

/// The file with the tokens of a directory, which no client may see.
pub const JAIL_FILE: &[u8] = b"jail.key";

/// Of a path to a jail, whatever the protocol.
const POLICY: Policy = Policy {
    hidden: &[JAIL_FILE],
    hidden_beginning: None,
    kept_ending: None,
};

/// The longest token file, in bytes.
const MAX_TOKENS: usize = 64 * 1024;

/// A directory beneath `home` whose token file holds the token.
///
/// # Errors
/// Why the client may not go on.
pub(crate) fn open(home: &OwnedFd, token: &[u8], path: &[u8]) -> Result<OwnedFd, Why> {
    let path = RootPath::parse(path, &POLICY).map_err(|_| Why::Path)?;
    let root = Root::from_handle(home.try_clone().map_err(|_| Why::TokenFile)?).with_policy(POLICY);
    let directory = root.open_dir(&path).map_err(|e| match e {
        Errno::XDEV => Why::Path,
        _ => Why::TokenFile,
    })?;
    let tokens = read_tokens(&directory).map_err(|_| Why::TokenFile)?;
    if !tokens.split(|c| *c == b'\n').any(|line| opens(line, token)) {
        return Err(Why::Token);
    }
    Ok(directory)
}

fn read_tokens(directory: &OwnedFd) -> io::Result<Zeroizing<Vec<u8>>> {
    use std::io::Read;
    use std::os::unix::ffi::OsStrExt;
    let name = std::ffi::OsStr::from_bytes(JAIL_FILE);
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = std::fs::File::from(rustix::fs::openat(directory, name, flags, Mode::empty())?);
    if !file.metadata()?.is_file() {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let mut tokens = Zeroizing::new(Vec::new());
    file.take(MAX_TOKENS as u64 + 1).read_to_end(&mut tokens)?;
    if tokens.len() > MAX_TOKENS {
        return Err(io::ErrorKind::FileTooLarge.into());
    }
    Ok(tokens)
}

/// Whether a line of the token file, plain or a hash, is for this token.
fn opens(line: &[u8], token: &[u8]) -> bool {
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    if line.is_empty() || token.is_empty() || line.starts_with(b"#") {
        return false;
    }
    if hash::is_meant(line) {
        return std::str::from_utf8(line).is_ok_and(|line| hash::fits(line, token));
    }
    line.ct_eq(token).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_opens_by_its_whole_line_plain_or_hashed() {
        assert!(opens(b"token", b"token") && opens(b"token\r", b"token"));
        for (line, token) in [
            (&b""[..], &b""[..]),
            (b"token", b""),
            (b"", b"token"),
            (b"token", b"toke"),
            (b"token", b"token "),
            (b"# comment", b"# comment"),
            (b"#", b"#"),
        ] {
            assert!(!opens(line, token));
        }
        let hash = hash::make(b"token").expect("hash");
        assert!(opens(hash.as_bytes(), b"token"));
        assert!(!opens(hash.as_bytes(), hash.as_bytes()));
        let cut = &hash.as_bytes()[..hash.len() - 1];
        assert!(!opens(cut, b"token") && !opens(cut, cut));
    }
}
