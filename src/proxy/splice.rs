//! Moves bytes between two connections through pipes, so that they never enter
//! this process. Passes on the end of each direction by itself, and the
//! out-of-band byte at its place in the stream.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use rustix::event::PollFlags;
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, Shutdown, recv, send, shutdown, sockopt};
use rustix::pipe::{PipeFlags, SpliceFlags, fcntl_setpipe_size, pipe_with, splice};

use crate::ipc::Poll;
use crate::sys::signal::STOP;
use crate::sys::socket::is_at_mark;

/// Size of a pipe, if the system allows it.
const PIPE_SIZE: usize = 256 * 1024;

/// Bytes read to step over a mark; an empty pipe always has room for them.
const STEP: usize = 4096;

/// Of more bytes than this the system acknowledges the last ones by itself.
const FEW_BYTES: u64 = 16 * 1024;

/// How long both may be idle once one direction has ended.
const HALF_CLOSED: Duration = Duration::from_secs(300);

/// How long both may be idle after a request to stop: longer than TCP takes to
/// retransmit, and than a busy machine may delay either end.
const STOPPING: Duration = Duration::from_secs(1);

/// Bytes moved from the client to the backend, and back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Moved {
    /// From the client.
    pub(crate) up: u64,
    /// To the client.
    pub(crate) down: u64,
}

/// Relays until both directions have ended, or after a request to stop until
/// nothing moves. Both sockets are made non-blocking.
///
/// # Errors
/// Why a connection broke.
pub(crate) fn relay(
    client: &OwnedFd,
    backend: &OwnedFd,
    moved: &mut Moved,
) -> Result<&'static str, String> {
    for socket in [client, backend] {
        rustix::io::ioctl_fionbio(socket, true).map_err(|e| format!("system: {e}"))?;
    }
    let direction = || Direction::new().map_err(|e| format!("system: {e}"));
    let mut splice = Splice {
        client: Side::new("client", client),
        backend: Side::new("backend", backend),
        up: direction()?,
        down: direction()?,
        quiet_since: Instant::now(),
    };
    loop {
        splice.pump()?;
        *moved = splice.moved();
        if splice.up.ended && splice.down.ended {
            return Ok("connection closed");
        }
        let is_stopping = STOP.load(Ordering::Relaxed);
        let limit = match (is_stopping, splice.up.ended || splice.down.ended) {
            (true, _) => Some(STOPPING),
            (false, true) => Some(HALF_CLOSED),
            (false, false) => None,
        };
        let left = limit.map(|limit| limit.saturating_sub(splice.quiet_since.elapsed()));
        if left.is_some_and(|left| left.is_zero()) {
            return Ok(match is_stopping {
                true => "stopped",
                false => "one side silent",
            });
        }
        splice.wait(left)?;
    }
}

/// Two connections, and the directions between them.
struct Splice<'a> {
    client: Side<'a>,
    backend: Side<'a>,
    up: Direction,
    down: Direction,
    /// When something was moved last.
    quiet_since: Instant,
}

/// One of the connections.
struct Side<'a> {
    name: &'static str,
    socket: &'a OwnedFd,
    ready: PollFlags,
    /// Hung up for good, and of no more interest: polling would not wait.
    hung: bool,
    /// Whether bytes came and none were sent since, see [`Side::acknowledge`].
    unacknowledged: bool,
}

impl<'a> Side<'a> {
    fn new(name: &'static str, socket: &'a OwnedFd) -> Side<'a> {
        Side {
            name,
            socket,
            ready: PollFlags::all(),
            hung: false,
            unacknowledged: false,
        }
    }

    /// Acknowledges what came before a wait: a side with Nagle's algorithm may
    /// have sent half a message, and hold the rest back until then.
    fn acknowledge(&mut self) {
        if std::mem::take(&mut self.unacknowledged) {
            let _ = sockopt::set_tcp_quickack(self.socket, true);
        }
    }

    /// Takes note of what a wait has brought.
    fn heard(&mut self, events: PollFlags, interest: PollFlags) -> Result<(), String> {
        self.ready = events;
        self.hung = events.contains(PollFlags::HUP) && interest.is_empty();
        if !events.contains(PollFlags::ERR) {
            return Ok(());
        }
        let error = sockopt::socket_error(self.socket)
            .ok()
            .and_then(Result::err);
        let error = error.map_or_else(|| "broken".to_owned(), |e| e.to_string());
        Err(format!("{}: {error}", self.name))
    }
}

impl Splice<'_> {
    fn moved(&self) -> Moved {
        Moved {
            up: self.up.moved,
            down: self.down.moved,
        }
    }

    /// Moves what can be moved now.
    fn pump(&mut self) -> Result<(), String> {
        let before = self.moved();
        let (client, backend) = (&self.client, &self.backend);
        if !client.ready.is_empty() || backend.ready.contains(PollFlags::OUT) {
            self.up.look |= client.ready.contains(PollFlags::PRI);
            self.up
                .pump(client.socket, backend.socket)
                .map_err(|e| format!("to the backend: {e}"))?;
        }
        if !backend.ready.is_empty() || client.ready.contains(PollFlags::OUT) {
            self.down.look |= backend.ready.contains(PollFlags::PRI);
            self.down
                .pump(backend.socket, client.socket)
                .map_err(|e| format!("to the client: {e}"))?;
        }
        let now = self.moved();
        let few = |from, to| (1..FEW_BYTES).contains(&(to - from));
        if now.up != before.up || now.down != before.down {
            self.quiet_since = Instant::now();
            self.client.unacknowledged = few(before.up, now.up) && now.down == before.down;
            self.backend.unacknowledged = few(before.down, now.down) && now.up == before.up;
        }
        Ok(())
    }

    /// Waits until something can be moved.
    fn wait(&mut self, timeout: Option<Duration>) -> Result<(), String> {
        let (client, backend) = (self.client.socket, self.backend.socket);
        let of_client = self.up.reading(client) | self.down.writing(backend);
        let of_backend = self.down.reading(backend) | self.up.writing(client);
        self.client.acknowledge();
        self.backend.acknowledge();
        let mut poll = Poll::default();
        for (side, interest) in [
            (&mut self.client, of_client),
            (&mut self.backend, of_backend),
        ] {
            side.ready = PollFlags::empty();
            if !side.hung || !interest.is_empty() {
                side.hung = false;
                let socket = side.socket.as_fd();
                poll.add((side, interest), socket, interest);
            }
        }
        let ready = poll.wait(timeout).map_err(|e| e.to_string())?;
        for ((side, interest), events) in ready {
            side.heard(events, interest)?;
        }
        Ok(())
    }
}

/// One direction of a relay.
struct Direction {
    /// Out of the pipe, and into it.
    pipe: (OwnedFd, OwnedFd),
    /// Bytes in the pipe.
    waiting: usize,
    /// The out-of-band byte, from when it is read until the stream continues after
    /// it.
    urgent: Option<Urgent>,
    /// Whether there may be one to read.
    look: bool,
    /// Whether the source has ended, and the end was passed on.
    ended: bool,
    moved: u64,
}

/// The state of an out-of-band byte.
#[derive(Clone, Copy, Debug)]
enum Urgent {
    /// It was read.
    Read(u8),
    /// It was passed on; the source is at its mark.
    Passed,
}

/// The result of reading from a source.
enum Read {
    Something,
    Nothing,
    End,
}

impl Direction {
    fn new() -> io::Result<Direction> {
        let pipe = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
        // If too many pipes exist already, keep the default size.
        let _ = fcntl_setpipe_size(&pipe.1, PIPE_SIZE);
        Ok(Direction {
            pipe,
            waiting: 0,
            urgent: None,
            look: false,
            ended: false,
            moved: 0,
        })
    }

    /// What to wait for at the source.
    fn reading(&self, from: &OwnedFd) -> PollFlags {
        match self.urgent {
            _ if self.ended || self.waiting > 0 || self.is_held_up(from) => PollFlags::empty(),
            None => PollFlags::IN | PollFlags::PRI,
            Some(_) => PollFlags::IN,
        }
    }

    /// What to wait for at the other side.
    fn writing(&self, from: &OwnedFd) -> PollFlags {
        if self.waiting > 0 || self.is_held_up(from) {
            PollFlags::OUT
        } else {
            PollFlags::empty()
        }
    }

    /// Whether the out-of-band byte is next.
    fn is_held_up(&self, from: &OwnedFd) -> bool {
        matches!(self.urgent, Some(Urgent::Read(_))) && is_at_mark(from.as_fd()).unwrap_or(false)
    }

    /// Empties the pipe, fills it once, and empties it again, as far as possible
    /// without waiting.
    fn pump(&mut self, from: &OwnedFd, to: &OwnedFd) -> io::Result<()> {
        if self.ended || !self.drain(to)? {
            return Ok(());
        }
        match self.fill(from, to)? {
            Read::Something => self.drain(to).map(drop),
            Read::Nothing => Ok(()),
            Read::End => {
                self.ended = true;
                match shutdown(to, Shutdown::Write) {
                    Ok(()) | Err(Errno::NOTCONN) => Ok(()),
                    Err(e) => Err(e.into()),
                }
            }
        }
    }

    /// Empties the pipe as far as the other side takes it; whether it is
    /// empty.
    fn drain(&mut self, to: &OwnedFd) -> io::Result<bool> {
        while self.waiting > 0 {
            let flags = SpliceFlags::MOVE | SpliceFlags::NONBLOCK;
            match splice(&self.pipe.0, None, to, None, self.waiting, flags) {
                Ok(0) | Err(Errno::AGAIN) => return Ok(false),
                Ok(n) => {
                    self.waiting -= n;
                    self.moved += n as u64;
                }
                Err(Errno::INTR) => {}
                Err(e) => return Err(e.into()),
            }
        }
        Ok(true)
    }

    /// Fills the empty pipe from the source. The system stops reading at
    /// the mark of an out-of-band byte, which continues from there.
    fn fill(&mut self, from: &OwnedFd, to: &OwnedFd) -> io::Result<Read> {
        if std::mem::take(&mut self.look) && self.urgent.is_none() {
            self.urgent = read_urgent(from)?.map(Urgent::Read);
        }
        if self.urgent.is_some() && is_at_mark(from.as_fd())? {
            return self.pass_mark(from, to);
        }
        let flags = SpliceFlags::MOVE | SpliceFlags::NONBLOCK;
        match splice(from, None, &self.pipe.1, None, PIPE_SIZE, flags) {
            Ok(0) if is_at_mark(from.as_fd())? => {
                // The byte has arrived, since the end of the stream is after it.
                self.urgent = Some(read_urgent(from)?.map_or(Urgent::Passed, Urgent::Read));
                self.pass_mark(from, to)
            }
            Ok(0) => Ok(Read::End),
            Ok(n) => {
                self.waiting = n;
                Ok(Read::Something)
            }
            Err(Errno::AGAIN | Errno::INTR) => Ok(Read::Nothing),
            Err(e) => Err(e.into()),
        }
    }

    /// All bytes before the mark are moved: now the byte itself, then over it.
    fn pass_mark(&mut self, from: &OwnedFd, to: &OwnedFd) -> io::Result<Read> {
        match self.urgent {
            None | Some(Urgent::Passed) => {}
            Some(Urgent::Read(byte)) => {
                let flags = SendFlags::OOB | SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
                match send(to, &[byte], flags) {
                    Ok(_) => self.urgent = Some(Urgent::Passed),
                    Err(Errno::AGAIN | Errno::INTR) => return Ok(Read::Nothing),
                    Err(e) => return Err(e.into()),
                }
            }
        }
        // Reading, unlike splice, steps over the mark, even if nothing is
        // behind it yet.
        let mut behind = [0; STEP];
        let read = recv(from, &mut behind, RecvFlags::DONTWAIT);
        if !is_at_mark(from.as_fd())? {
            self.urgent = None;
        }
        match read {
            Ok((0, _)) => Ok(Read::End),
            Ok((n, _)) => {
                self.waiting = rustix::io::write(&self.pipe.1, &behind[..n])?;
                Ok(Read::Something)
            }
            Err(Errno::AGAIN | Errno::INTR) => Ok(Read::Nothing),
            Err(e) => Err(e.into()),
        }
    }
}

/// The out-of-band byte, if one has come.
fn read_urgent(from: &OwnedFd) -> io::Result<Option<u8>> {
    let mut byte = [0];
    match recv(from, &mut byte, RecvFlags::OOB | RecvFlags::DONTWAIT) {
        Ok((1, _)) => Ok(Some(byte[0])),
        // None, not arrived yet, or none to come.
        Ok(_) | Err(Errno::INVAL | Errno::AGAIN | Errno::INTR) => Ok(None),
        Err(e) => Err(e.into()),
    }
}
