//! The usher: the process that the daemon forks, still root, when a client
//! has passed LOGIN, or the hash where only INJAIL is left. In one function
//! it opens the client's root, gives up everything else, takes the client's
//! identity for good, and then becomes the session. Where INJAIL is left it
//! keeps, until the token has fitted, the rights to read the token's file and
//! to change its root, and parses no byte but token and path.

use std::io;
use std::net::TcpStream;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::rc::Rc;

use nix::sys::prctl::{set_name, set_pdeathsig};
use nix::sys::signal::{SigSet, Signal};
use nix::unistd::{Pid, getppid};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::thread::CapabilitySet;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use super::admission::{Ask, MAX_ASK};
use super::channel::Channel;
use super::place::{self, Place};
use super::sandbox::Sandbox;
use super::session::{self, Card};
use super::slots::Slot;
use crate::store::path::JAIL_FILE;
use crate::store::quota::Limits;
use crate::store::{Quota, Root, RootPath};
use crate::sys::process::keep_only;
use crate::sys::signal::follow_stop;
use crate::tf::cipher::cycle;
use crate::tf::settings::Settings;
use crate::tf::status::Status;
use crate::tf::wire::Wire;
use crate::users::{Identity, Names, hash};

/// The most tokens a client may try.
const MAX_TRIES: usize = 10;

/// The longest token file, in bytes.
const MAX_TOKENS: usize = 64 * 1024;

/// What an usher needs to start a session.
pub struct Usher<'a> {
    /// The channel to the gate.
    pub gate: &'a Channel,
    /// An empty directory without a name.
    pub nowhere: &'a OwnedFd,
    /// The root of the configuration.
    pub root: &'a std::path::Path,
    /// The directory beneath it that is the client's root; empty for itself.
    pub home: &'a str,
    /// Whom the session becomes.
    pub identity: &'a Identity,
    /// Whether the gate waits for the answer to LOGIN.
    pub after_login: bool,
    /// Whether INJAIL is left.
    pub jail: bool,
    /// What it enters.
    pub sandbox: &'a Sandbox,
    /// What the session follows.
    pub settings: Settings,
    /// The counters that its quota is held to, and its limits.
    pub counters: Option<(BorrowedFd<'a>, Limits)>,
    /// Where it tells the auditor what it did.
    pub records: Option<BorrowedFd<'a>>,
    /// Who it is.
    pub card: Card,
}

/// From root to the end of the session.
///
/// # Errors
/// Why there is no session; a gate that waits for the answer to LOGIN is told
/// 37.
pub fn run(usher: Usher<'_>, slot: Slot, daemon: Pid) -> io::Result<()> {
    let quota =
        usher.counters.map_or(Ok(Quota::none()), |(memory, limits)| Quota::map(memory, limits))?;
    let begun = begin(&usher, daemon);
    if usher.after_login {
        let answer = if begun.is_ok() { 0 } else { Status::LoginFailed.code() };
        usher.gate.send(&[answer], &[])?;
    }
    let (home, names) = begun?;
    let Some((home, mut wire)) = wait_for_session(&usher, home)? else { return Ok(()) };
    slot.admit();
    wire.stop_on(&crate::sys::signal::STOP);
    let card = Card { quota, ..usher.card };
    let records = usher.records.map(|records| records.try_clone_to_owned()).transpose()?;
    session::run(&mut wire, card, home, records, usher.settings, Rc::new(names));
    Ok(())
}

/// Opens the client's root and takes its identity.
fn begin(usher: &Usher<'_>, daemon: Pid) -> io::Result<(OwnedFd, Names)> {
    let names = Names::read()?;
    let home = open_home(usher)
        .map_err(|e| io::Error::other(format!("{}/{}: {e}", usher.root.display(), usher.home)))?;
    rustix::process::fchdir(usher.nowhere)?;
    rustix::process::chroot(".")?;
    let mut handles = vec![usher.gate.as_fd(), home.as_fd()];
    handles.extend(usher.records);
    handles.extend(cycle::handles());
    keep_only(&handles)?;
    let kept = if usher.jail {
        CapabilitySet::DAC_READ_SEARCH | CapabilitySet::SYS_CHROOT
    } else {
        CapabilitySet::empty()
    };
    usher.identity.take_keeping(kept)?;
    // A change of identity clears this setting, so it comes last.
    set_pdeathsig(Signal::SIGKILL)?;
    if getppid() != daemon {
        return Err(io::Error::other("the daemon is gone"));
    }
    let _ = set_name(c"tfd-session");
    follow_stop()?;
    SigSet::all().thread_unblock()?;
    usher.sandbox.enter()?;
    usher.sandbox.limit_files(Some(home.as_fd()))?;
    if usher.jail {
        usher.sandbox.stay_alone()?;
        place::reached(Place::BeforeJail, usher.card.peer, Some(home.as_fd()));
    } else {
        usher.sandbox.become_leaf()?;
    }
    Ok((home, names))
}

fn open_home(usher: &Usher<'_>) -> Result<OwnedFd, Errno> {
    let path = RootPath::parse(usher.home.as_bytes()).map_err(|_| Errno::INVAL)?;
    let root = Root::open(usher.root)?;
    root.open_at(&path, OFlags::PATH | OFlags::DIRECTORY, Mode::empty())
}

/// Answers the gate until it hands the session over; the session's root and
/// its wire, or `None` when the client has left.
fn wait_for_session(usher: &Usher<'_>, home: OwnedFd) -> io::Result<Option<(OwnedFd, Wire)>> {
    let mut home = home;
    let mut locked = usher.jail;
    let mut buffer = Zeroizing::new(vec![0; MAX_ASK]);
    for _ in 0..=MAX_TRIES {
        let (len, handles) = usher.gate.receive(&mut buffer)?;
        match Ask::from_bytes(&buffer[..len]) {
            Some(Ask::Jail { token, path }) if locked => match enter_jail(&home, token, path) {
                Ok(jail) => {
                    home = jail;
                    locked = false;
                    usher.identity.give_up_rest()?;
                    usher.sandbox.limit_files(Some(home.as_fd()))?;
                    usher.sandbox.become_leaf()?;
                    usher.gate.send(&[0], &[])?;
                }
                Err(status) => {
                    log::warn!(
                        "injail refused peer={} user={} reason=\"{status}\"",
                        usher.card.peer,
                        usher.card.user
                    );
                    usher.gate.send(&[status.code()], &[])?;
                }
            },
            Some(Ask::State(state)) if !locked => {
                let socket = handles.into_iter().next().ok_or(io::ErrorKind::InvalidData)?;
                return Ok(Some((home, Wire::from_state(TcpStream::from(socket), state)?)));
            }
            None if len == 0 => return Ok(None),
            _ => return Err(io::ErrorKind::InvalidData.into()),
        }
    }
    Ok(None)
}

/// INJAIL (document, "INJAIL"): changes the root to a directory beneath
/// `home` whose token file holds the token. The new root's handle, opened
/// anew: one from before would lead out.
///
/// # Errors
/// 1, 48 or 49.
fn enter_jail(home: &OwnedFd, token: &[u8], path: &[u8]) -> Result<OwnedFd, Status> {
    let path = RootPath::parse(path).map_err(|_| Status::AccessDenied)?;
    let root = Root::from_handle(home.try_clone().map_err(|_| Status::JailFile)?);
    let directory = root.open_dir(&path).map_err(|e| match e {
        Errno::XDEV => Status::AccessDenied,
        _ => Status::JailFile,
    })?;
    let tokens = read_tokens(&directory).map_err(|_| Status::JailFile)?;
    if !tokens.split(|c| *c == b'\n').any(|line| opens(line, token)) {
        return Err(Status::JailToken);
    }
    let enter = || {
        rustix::process::fchdir(&directory)?;
        rustix::process::chroot(".")?;
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        rustix::fs::open("/", flags, Mode::empty())
    };
    enter().map_err(|e: Errno| {
        log::error!("can't change the root error=\"{e}\"");
        Status::JailFile
    })
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
    if line.is_empty() || token.is_empty() {
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
