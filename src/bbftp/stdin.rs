//! Started by ssh: standard input and output are the control connection of the
//! user who has logged in there. A connection beside it shows which address the
//! client has.

use std::fs::File;
use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::session::{self, Env, Settings};
use super::wire::{Code, Control, Header, WireError};
use crate::net::Link;
use crate::sandbox::Sandbox;
use crate::session::audit::{Observer, Outcome, Subject};
use crate::session::dialer::Dialer;
use crate::store::{Root, RootPath, wanted};
use crate::users::Rights;

/// How long the client may take to connect beside, and then to say so.
const PATIENCE: Duration = Duration::from_secs(300);
const WORD: Duration = Duration::from_secs(10);

/// Bytes carried at once between the standard streams and the session.
const PIECE: usize = 64 * 1024;

/// What the client's connection beside is held to.
#[derive(Debug)]
pub struct Beside {
    /// The port to listen on; another where it is taken.
    pub port: u16,
    /// The address that the client must have, if that is known.
    pub from: Option<IpAddr>,
}

/// The addresses between which data goes.
#[derive(Clone, Copy, Debug)]
pub struct Ends {
    /// The client's.
    pub peer: IpAddr,
    /// The one of this machine that the client has come to.
    pub local: SocketAddr,
}

/// Serves the client at the standard streams to the end of its session, with the
/// rights of this process. `dial` makes the dialer of a client.
///
/// # Errors
/// Why the client could not be served.
pub fn serve(
    (input, output): (OwnedFd, OwnedFd),
    beside: &Beside,
    dial: impl FnOnce(Ends) -> io::Result<Dialer>,
) -> io::Result<()> {
    let mut output = File::from(output);
    let listener = listen(beside.port)?;
    let port = u32::from(listener.local_addr()?.port());
    let header = Header {
        code: Code::LOGGED_STDIN.number(),
        len: 4,
    };
    output.write_all(&[&header.encode()[..], &port.to_be_bytes()].concat())?;
    let ends = wait_for_client(&listener, beside.from)?;
    drop(listener);
    let dialer = dial(ends)?;
    let root = Root::open(Path::new("/"))?;
    let home = home();
    let (socket, theirs) = UnixStream::pair()?;
    confine(&root)?;
    let carried = carry((input.into(), output), theirs)?;
    let mut control = Control::new(Link::new(TcpStream::from(OwnedFd::from(socket)))?);
    control.link().stop_on(&crate::sys::signal::STOP);
    wanted::work_for(control.link().socket());
    let mut env = Env::new(root, Settings::of_a_user(), Rights::Full);
    env.directory = home;
    env.dialer = Some(dialer);
    let served = session::serve(&mut control, &mut env, &mut Unobserved);
    // What was answered last is on its way.
    let _ = control.link().socket().shutdown(Shutdown::Write);
    let _ = carried.join();
    match served {
        Ok(()) | Err(WireError::Closed | WireError::Stopped) => Ok(()),
        Err(e) => Err(io::Error::other(e)),
    }
}

/// A port for the connection beside.
fn listen(port: u16) -> io::Result<TcpListener> {
    let [all, all_of_ipv4]: [IpAddr; 2] =
        [Ipv6Addr::UNSPECIFIED.into(), Ipv4Addr::UNSPECIFIED.into()];
    TcpListener::bind((all, port))
        .or_else(|_| TcpListener::bind((all_of_ipv4, port)))
        .or_else(|_| TcpListener::bind((all, 0)))
        .or_else(|_| TcpListener::bind((all_of_ipv4, 0)))
}

/// Waits until the client has connected beside and said so; the ends of that.
fn wait_for_client(listener: &TcpListener, from: Option<IpAddr>) -> io::Result<Ends> {
    let end = Instant::now() + PATIENCE;
    loop {
        let left = end.saturating_duration_since(Instant::now());
        let mut waiting = [PollFd::new(listener, PollFlags::IN)];
        let limit = Timespec::try_from(left).ok();
        if left.is_zero() || poll(&mut waiting, limit.as_ref())? == 0 {
            return Err(io::ErrorKind::TimedOut.into());
        }
        let (socket, address) = listener.accept()?;
        let peer = address.ip().to_canonical();
        let local = socket.local_addr()?;
        if from.is_none_or(|from| from == peer) && says_so(socket).is_ok() {
            return Ok(Ends { peer, local });
        }
    }
}

fn says_so(socket: TcpStream) -> Result<(), WireError> {
    let mut control = Control::new(Link::new(socket)?);
    control.link().set_deadline(Some(Instant::now() + WORD))?;
    let header = control.read_header()?;
    if header.code != Code::IpAddr.number() {
        return Err(WireError::Field("code"));
    }
    control.discard(header.len)?;
    control.send(Code::IpAddrOk, b"")
}

/// Gives up what the session does not need: it makes no process and no connection,
/// and changes no identity.
fn confine(root: &Root) -> io::Result<()> {
    let sandbox = Sandbox::new()?;
    nix::sys::prctl::set_no_new_privs()?;
    crate::sys::signal::follow_stop()?;
    sandbox.limit_memory()?;
    sandbox.enter()?;
    sandbox.limit_files(Some(root.directory()))?;
    sandbox.deny_fork_and_identity()
}

/// Carries bytes between the standard streams and the session; the thread ends
/// when all that the session has sent is written.
fn carry((input, output): (File, File), session: UnixStream) -> io::Result<JoinHandle<()>> {
    let (to_session, from_session) = (session.try_clone()?, session);
    std::thread::Builder::new().spawn(move || {
        let _ = copy(input, &to_session);
        let _ = to_session.shutdown(Shutdown::Write);
    })?;
    std::thread::Builder::new().spawn(move || {
        let _ = copy(&from_session, output);
        // Who reads nothing sends nothing that matters.
        let _ = from_session.shutdown(Shutdown::Both);
    })
}

fn copy(mut from: impl Read, mut to: impl Write) -> io::Result<()> {
    let mut piece = vec![0; PIECE];
    loop {
        match from.read(&mut piece) {
            Ok(0) => return Ok(()),
            Ok(len) => to.write_all(&piece[..len])?,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
}

/// The home of the user, from the top of the file system.
fn home() -> RootPath {
    use std::os::unix::ffi::OsStrExt;
    let home = std::env::var_os("HOME").unwrap_or_default();
    let home = std::fs::canonicalize(home).unwrap_or_default();
    let path = RootPath::parse(home.as_os_str().as_bytes(), &session::POLICY);
    path.unwrap_or_else(|_| RootPath::root())
}

/// Nobody but the user has to know what the user does.
struct Unobserved;

impl Observer for Unobserved {
    fn begins(&mut self, _: &Subject) {}

    fn ended(&mut self, _: &Subject, _: Outcome, _: u64) -> io::Result<()> {
        Ok(())
    }
}
