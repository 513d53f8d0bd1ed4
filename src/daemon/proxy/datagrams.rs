//! The process that relays UDP: every question goes to the backend from a
//! socket of its own, and the first answer to it back to who asked. So no
//! answer reaches anybody else, however late it comes.

use std::collections::VecDeque;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use nix::unistd::{Pid, getpid};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::net::{
    RecvFlags, SendFlags, SocketType, bind, connect, recv, recvfrom, send, sendto, sockopt,
};

use super::connect::{socket_for, sources, timespec};
use super::resolve::{Addresses, Reader};
use crate::config::Proxy;
use crate::daemon::channel::pair;
use crate::daemon::confinement::{Confinement, finish};
use crate::daemon::sandbox::{Reach, Sandbox};
use crate::sys::process::fork;
use crate::users::Identity;

/// The longest question and answer that is relayed, in bytes.
const MAX_LEN: usize = 512;

/// How long a question waits for its answer.
const PATIENCE: Duration = Duration::from_secs(2);

/// The most questions that wait at once; a further one takes the place of the
/// oldest.
const MAX_WAITING: usize = 256;

/// Questions taken from one socket before the process looks elsewhere.
const AT_ONCE: usize = 64;

/// A question on its way.
struct Question {
    /// The socket it went out from.
    socket: OwnedFd,
    asker: SocketAddr,
    /// Which of our addresses it came to.
    at: usize,
    until: Instant,
}

/// Starts the process, on the same addresses as TCP.
///
/// # Errors
/// One line that says what could not be started and why.
pub(super) fn start(
    proxy: &Proxy,
    backend: &Addresses,
    identity: Option<&Identity>,
    sandbox: &Sandbox,
    addresses: &[SocketAddr],
) -> Result<Pid, String> {
    let open = |address: &SocketAddr| {
        listen(*address).map_err(|e| format!("tf.listen {address}: can't listen for UDP: {e}"))
    };
    let sockets = addresses.iter().map(open).collect::<Result<Vec<_>, _>>()?;
    let failed = |e: io::Error| format!("udp: {e}");
    let sandbox = sandbox.reaching(Reach::Udp).map_err(failed)?;
    let confinement = Confinement::new(identity, &sandbox)?;
    let (ours, theirs) = pair().map_err(failed)?;
    let parent = getpid();
    let child = || {
        let run = || {
            let backend = backend.reader()?;
            let mut handles: Vec<_> = sockets.iter().map(AsFd::as_fd).collect();
            handles.extend(backend.handle().map(AsFd::as_fd));
            handles.push(theirs.as_fd());
            confinement.enter_as_leaf(parent, &handles, None)?;
            let _ = nix::sys::prctl::set_name(c"tfd-udp");
            theirs.send(b"ready", &[])?;
            run(&sockets, proxy, &backend)
        };
        finish("udp", run())
    };
    let pid = fork(child).map_err(failed)?;
    drop(theirs);
    match ours.receive(&mut [0; 8]) {
        Ok((1.., _)) => Ok(pid),
        _ => Err("udp ended before it was ready".to_owned()),
    }
}

/// A socket for questions. At a reload two processes listen for a moment.
fn listen(address: SocketAddr) -> rustix::io::Result<OwnedFd> {
    let socket = socket_for(address.ip(), SocketType::DGRAM)?;
    sockopt::set_socket_reuseport(&socket, true)?;
    if address.is_ipv6() {
        sockopt::set_ipv6_v6only(&socket, true)?;
    }
    bind(&socket, &address)?;
    Ok(socket)
}

/// Relays until the daemon ends the process.
fn run(sockets: &[OwnedFd], proxy: &Proxy, backend: &Reader) -> io::Result<()> {
    let mut waiting: VecDeque<Question> = VecDeque::new();
    let mut turn = 0;
    loop {
        let now = Instant::now();
        while waiting.front().is_some_and(|oldest| oldest.until <= now) {
            waiting.pop_front();
        }
        let timeout = waiting.front().map(|oldest| timespec(oldest.until - now));
        let handles = sockets.iter().chain(waiting.iter().map(|question| &question.socket));
        let mut fds: Vec<PollFd<'_>> =
            handles.map(|handle| PollFd::new(handle, PollFlags::IN)).collect();
        match poll(&mut fds, timeout.as_ref()) {
            Ok(_) => {}
            Err(Errno::INTR) => continue,
            Err(e) => return Err(e.into()),
        }
        let ready: Vec<bool> = fds.iter().map(|fd| !fd.revents().is_empty()).collect();
        drop(fds);
        let (asked, answered) = ready.split_at(sockets.len());
        // An answer, or news that there will be none, ends the question.
        let mut answered = answered.iter();
        waiting.retain(|question| match answered.next() {
            Some(true) => {
                pass_back(question, sockets);
                false
            }
            _ => true,
        });
        for at in (0..sockets.len()).filter(|at| asked[*at]) {
            take_questions(sockets, at, proxy, backend, &mut turn, &mut waiting);
        }
    }
}

fn pass_back(question: &Question, sockets: &[OwnedFd]) {
    let mut answer = [0; MAX_LEN + 1];
    let received = recv(&question.socket, &mut answer, RecvFlags::DONTWAIT);
    if let Ok((len @ 1..=MAX_LEN, _)) = received {
        // Who asked may be gone, or the way be full: UDP promises nothing.
        let _ = sendto(&sockets[question.at], &answer[..len], SendFlags::DONTWAIT, &question.asker);
    }
}

fn take_questions(
    sockets: &[OwnedFd],
    at: usize,
    proxy: &Proxy,
    backend: &Reader,
    turn: &mut usize,
    waiting: &mut VecDeque<Question>,
) {
    let Some(to) = backend.now().first().copied() else {
        return while recv(&sockets[at], &mut [0; 1], RecvFlags::DONTWAIT).is_ok() {};
    };
    let mut text = [0; MAX_LEN + 1];
    for _ in 0..AT_ONCE {
        let received = recvfrom(&sockets[at], &mut text, RecvFlags::DONTWAIT);
        let Ok((len, _, asker)) = received else { return };
        let asker = asker.and_then(|asker| SocketAddr::try_from(asker).ok());
        let Some(asker) = asker.filter(|asker| len <= MAX_LEN && asker.port() != 0) else {
            continue;
        };
        *turn = turn.wrapping_add(1);
        let source = sources(&proxy.from, to, *turn)[0];
        let socket = match ask(source, SocketAddr::new(to, proxy.backend.port), &text[..len]) {
            Ok(socket) => socket,
            Err(e) => {
                log::debug!("question not relayed peer={asker} error=\"{e}\"");
                continue;
            }
        };
        if waiting.len() == MAX_WAITING {
            waiting.pop_front();
        }
        waiting.push_back(Question { socket, asker, at, until: Instant::now() + PATIENCE });
    }
}

/// Sends a question from a socket of its own.
fn ask(source: Option<IpAddr>, to: SocketAddr, text: &[u8]) -> rustix::io::Result<OwnedFd> {
    let socket = socket_for(to.ip(), SocketType::DGRAM)?;
    if let Some(source) = source {
        bind(&socket, &SocketAddr::new(source, 0))?;
    }
    connect(&socket, &to)?;
    send(&socket, text, SendFlags::DONTWAIT)?;
    Ok(socket)
}
