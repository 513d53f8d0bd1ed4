//! The process that relays UDP: every question goes to the backend from a
//! socket of its own, and the first answer goes back to its sender. So a late
//! answer never reaches anybody else.

use std::collections::VecDeque;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use nix::sys::socket::SockaddrStorage;
use rustix::net::{RecvFlags, SendFlags, SocketType, bind, connect, recv, send};

use crate::config::Proxy;
use crate::ipc::{Helper, Pipe, Poll};
use crate::net::listen::socket_for;
use crate::net::udp::{At, Port, address_of};
use crate::proxy::connect::sources;
use crate::proxy::resolve::{Addresses, Reader};
use crate::sandbox::confinement::{Confinement, Duty};
use crate::sandbox::{Reach, Sandbox};
use crate::users::Identity;

/// The longest question and answer that is relayed, in bytes.
const MAX_LEN: usize = 512;

/// How long a question waits for its answer.
const PATIENCE: Duration = Duration::from_secs(2);

/// The most questions that wait at once; a further one replaces the oldest.
const MAX_WAITING: usize = 256;

/// Questions read from one socket before the next socket's turn.
const AT_ONCE: usize = 64;

/// What the process waits for.
enum Source {
    Daemon,
    /// One of our sockets.
    Port(usize),
    /// The answer to a question.
    Answer(usize),
}

/// A question that waits for its answer.
struct Question {
    /// The socket it was sent from.
    socket: OwnedFd,
    asker: SockaddrStorage,
    /// Which of our sockets received it, and at which address.
    port: usize,
    at: At,
    until: Instant,
}

/// Starts the process, on the sockets of the listeners. It ends, with the last
/// question that waits, once the channel to it is closed.
///
/// # Errors
/// One line that says what could not be started and why.
pub(crate) fn start(
    proxy: &Proxy,
    backend: &Addresses,
    identity: Option<&Identity>,
    sandbox: &Sandbox,
    udp: &[BorrowedFd<'_>],
) -> Result<Helper, String> {
    let failed = |e: io::Error| format!("udp: {e}");
    let ports = udp
        .iter()
        .map(|socket| Port::new(*socket))
        .collect::<io::Result<Vec<_>>>();
    let ports = ports.map_err(failed)?;
    let sandbox = sandbox.reaching(Reach::Udp).map_err(failed)?;
    let confinement = Confinement::new(identity, &sandbox)?;
    Helper::spawn_ready("udp", |child| {
        let backend = backend.reader()?;
        let mut handles: Vec<_> = ports.iter().map(AsFd::as_fd).collect();
        handles.extend(backend.handle().map(AsFd::as_fd));
        let confined = confinement.with(Duty::Alone(None));
        child.enter(c"tfd-udp", &confined, &handles)?;
        child.ready()?;
        run(&ports, proxy, &backend, &child.channel)
    })
}

/// Relays until the daemon closes the channel and no question waits.
fn run(ports: &[Port], proxy: &Proxy, backend: &Reader, daemon: &Pipe<(), ()>) -> io::Result<()> {
    let mut waiting: VecDeque<Question> = VecDeque::new();
    let mut turn = 0;
    let mut retired = false;
    loop {
        let now = Instant::now();
        while waiting.front().is_some_and(|oldest| oldest.until <= now) {
            waiting.pop_front();
        }
        if retired && waiting.is_empty() {
            return Ok(());
        }
        let mut poll = Poll::default();
        for (index, question) in waiting.iter().enumerate() {
            poll.read(Source::Answer(index), &question.socket);
        }
        // Another process takes the questions once this one is retired.
        if !retired {
            poll.read(Source::Daemon, daemon);
            for (index, port) in ports.iter().enumerate() {
                poll.read(Source::Port(index), port);
            }
        }
        let timeout = waiting.front().map(|oldest| oldest.until - now);
        let ready = poll.wait(timeout)?;
        // An answer, or an error in its place, ends the question; from the
        // last to the first, so that the other numbers stay right.
        for (source, _) in ready.iter().rev() {
            if let Source::Answer(index) = source {
                let question = waiting.remove(*index);
                question
                    .iter()
                    .for_each(|question| pass_back(question, ports));
            }
        }
        for (source, _) in ready {
            match source {
                Source::Daemon => retired = true,
                Source::Port(port) if !retired => {
                    take_questions(ports, port, proxy, backend, &mut turn, &mut waiting);
                }
                Source::Port(_) | Source::Answer(_) => {}
            }
        }
    }
}

fn pass_back(question: &Question, ports: &[Port]) {
    let mut answer = [0; MAX_LEN + 1];
    let received = recv(&question.socket, &mut answer, RecvFlags::DONTWAIT);
    if let Ok((len @ 1..=MAX_LEN, _)) = received {
        // The sender may have left, or the network be full: UDP promises nothing.
        ports[question.port].answer(&answer[..len], &question.asker, question.at);
    }
}

fn take_questions(
    ports: &[Port],
    port: usize,
    proxy: &Proxy,
    backend: &Reader,
    turn: &mut usize,
    waiting: &mut VecDeque<Question>,
) {
    let Some(to) = backend.now().first().copied() else {
        return while matches!(ports[port].receive(&mut [0; 1]), Ok(Some(_))) {};
    };
    let mut text = [0; MAX_LEN + 1];
    for _ in 0..AT_ONCE {
        let Ok(Some((len, asker, at))) = ports[port].receive(&mut text) else {
            return;
        };
        let from = address_of(&asker).filter(|from| len <= MAX_LEN && from.port() != 0);
        let Some(from) = from else { continue };
        *turn = turn.wrapping_add(1);
        let source = sources(&proxy.from, to, *turn)[0];
        let socket = match ask(
            source,
            SocketAddr::new(to, proxy.backend.port),
            &text[..len],
        ) {
            Ok(socket) => socket,
            Err(e) => {
                log::debug!(peer:% = from, error:% = e; "question not relayed");
                continue;
            }
        };
        if waiting.len() == MAX_WAITING {
            waiting.pop_front();
        }
        waiting.push_back(Question {
            socket,
            asker,
            port,
            at,
            until: Instant::now() + PATIENCE,
        });
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
