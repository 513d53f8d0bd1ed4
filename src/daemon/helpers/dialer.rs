//! The dialer: makes and accepts the data connections of sessions, between the
//! addresses of their control connection only, which it knows from the daemon and
//! never from the session. It waits for no peer and no session, so that none delays
//! another, and has no files.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::event::PollFlags;
use rustix::io::Errno;
use rustix::net::{
    SocketFlags, SocketType, acceptfrom_with, bind, connect, getsockname, listen, sockopt,
};

use crate::ipc::codec::codec;
use crate::ipc::poll::{Poll, left};
use crate::ipc::{Helper, Pipe, Service};
use crate::net::listen::socket_for;
use crate::sandbox::confinement::{Confinement, Duty};
use crate::sandbox::{Reach, Sandbox};
use crate::session::dialer::{Answer, From, Outcome, Request, What};
use crate::users::Identity;

/// The most listening ports, attempts and untaken connections of a session.
const MAX_OPEN: usize = 64;

/// The port that the system chooses.
const ANY: RangeInclusive<u16> = 0..=0;

/// Connections that the system holds for one listening port.
const BACKLOG: i32 = 16;

/// The dialer, in the daemon.
#[derive(Debug)]
pub struct Dialer {
    /// What it may do.
    pub settings: Settings,
    /// Its process, and the sessions' way to it.
    pub service: Service<NewSession>,
}

impl Dialer {
    /// Starts it.
    pub fn start(
        settings: Settings,
        identity: Option<&Identity>,
        sandbox: &Sandbox,
    ) -> Result<Dialer, String> {
        let service = Service::new(start(&settings, identity, sandbox)?);
        Ok(Dialer { settings, service })
    }
}

/// What the dialer may do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The ports of clients that it connects to.
    pub to: RangeInclusive<u16>,
    /// How long an attempt, or a wait for a connection, may take.
    pub timeout: Duration,
}

/// A session that may have connections: the daemon's word.
#[derive(Debug)]
pub struct NewSession {
    /// The client's address.
    pub peer: IpAddr,
    /// The address of this machine that the client has come to, whatever the port:
    /// what listens, does so there.
    pub local: SocketAddr,
    /// The first and the last of the ports that it listens on for the session,
    /// and connects from where that is asked for; 0 for those that the system
    /// chooses.
    pub ports: (u16, u16),
    /// The channel to the session.
    pub channel: Pipe<Answer, Request>,
}

codec!(struct NewSession { peer, local, ports, channel });

/// Starts the dialer's process.
pub fn start(
    settings: &Settings,
    identity: Option<&Identity>,
    sandbox: &Sandbox,
) -> Result<Helper<NewSession, ()>, String> {
    let sandbox = sandbox.reaching(Reach::Data);
    let sandbox = sandbox.map_err(|e| format!("dialer: {e}"))?;
    let confinement = Confinement::new(identity, &sandbox)?;
    Helper::spawn("dialer", |child| {
        child.enter(c"tfd-dialer", &confinement.with(Duty::Dialing), &[])?;
        run(&child.channel, settings)
    })
}

/// What the dialer waits for; a session, and which of its sockets.
#[derive(Clone, Copy)]
enum Source {
    Daemon,
    Session(usize),
    Attempt(usize, usize),
    Listener(usize, usize),
}

/// Serves sessions until the daemon has no use for it and none is left.
fn run(daemon: &Pipe<(), NewSession>, settings: &Settings) -> io::Result<()> {
    let mut daemon = Some(daemon);
    let mut sessions: Vec<Session> = Vec::new();
    while daemon.is_some() || !sessions.is_empty() {
        if !wait_and_act(daemon, settings, &mut sessions)? {
            daemon = None;
        }
        sessions.iter_mut().for_each(Session::expire);
        sessions.retain(|session| session.is_open);
    }
    Ok(())
}

/// One wait and its events; whether the daemon may still send sessions.
fn wait_and_act(
    daemon: Option<&Pipe<(), NewSession>>,
    settings: &Settings,
    sessions: &mut Vec<Session>,
) -> io::Result<bool> {
    let mut poll = Poll::default();
    if let Some(daemon) = daemon {
        poll.read(Source::Daemon, daemon);
    }
    for (index, session) in sessions.iter().enumerate() {
        session.wait_for(index, &mut poll);
    }
    let due = sessions.iter().filter_map(Session::due).min();
    // From the last to the first: what has ended is taken out.
    for (source, _) in poll.wait(due.map(left))?.into_iter().rev() {
        match source {
            Source::Attempt(session, index) => sessions[session].connected(index),
            Source::Listener(session, index) => sessions[session].accept(index),
            Source::Session(session) => sessions[session].hear(settings),
            Source::Daemon => match daemon.map(Pipe::receive) {
                Some(Ok(Some(new))) => sessions.push(Session::new(new)),
                Some(Err(e)) if e.kind() == io::ErrorKind::InvalidData => {}
                _ => return Ok(false),
            },
        }
    }
    Ok(daemon.is_some())
}

/// A session and its sockets.
struct Session {
    peer: IpAddr,
    local: SocketAddr,
    ports: RangeInclusive<u16>,
    channel: Pipe<Answer, Request>,
    attempts: Vec<Attempt>,
    listeners: Vec<Listener>,
    /// Cleared when the session is gone or has sent nonsense.
    is_open: bool,
}

/// A connection under way, for the request with this number.
struct Attempt {
    id: u32,
    socket: OwnedFd,
    until: Instant,
}

/// A listening port.
struct Listener {
    port: u16,
    socket: OwnedFd,
    /// A connection of the client that the session has not asked for yet.
    accepted: Option<OwnedFd>,
    /// The request that waits for one, and how long.
    waiting: Option<(u32, Instant)>,
}

impl Session {
    fn new(new: NewSession) -> Session {
        let NewSession {
            peer,
            local,
            ports: (first, last),
            channel,
        } = new;
        Session {
            peer: peer.to_canonical(),
            local,
            ports: first..=last,
            channel,
            attempts: Vec::new(),
            listeners: Vec::new(),
            is_open: true,
        }
    }

    fn wait_for<'a>(&'a self, index: usize, poll: &mut Poll<'a, Source>) {
        poll.read(Source::Session(index), &self.channel);
        for (at, attempt) in self.attempts.iter().enumerate() {
            let source = Source::Attempt(index, at);
            poll.add(source, attempt.socket.as_fd(), PollFlags::OUT);
        }
        if self.is_full() {
            return;
        }
        for (at, listener) in self.listeners.iter().enumerate() {
            // The next one waits with the system until this one is taken.
            if listener.accepted.is_none() {
                poll.read(Source::Listener(index, at), &listener.socket);
            }
        }
    }

    /// When the first time-out is over.
    fn due(&self) -> Option<Instant> {
        let waits = self.listeners.iter().filter_map(|of| of.waiting);
        let attempts = self.attempts.iter().map(|attempt| attempt.until);
        attempts.chain(waits.map(|(_, until)| until)).min()
    }

    fn is_full(&self) -> bool {
        let accepted = self.listeners.iter().filter_map(|of| of.accepted.as_ref());
        self.attempts.len() + self.listeners.len() + accepted.count() >= MAX_OPEN
    }

    /// Ends what takes too long.
    fn expire(&mut self) {
        let now = Instant::now();
        let late = |attempt: &mut Attempt| attempt.until <= now;
        let attempts: Vec<u32> = self.attempts.extract_if(.., late).map(|of| of.id).collect();
        let late = |of: &mut Listener| of.waiting.take_if(|(_, until)| *until <= now);
        let waits: Vec<_> = self.listeners.iter_mut().filter_map(late).collect();
        for id in attempts
            .into_iter()
            .chain(waits.into_iter().map(|(id, _)| id))
        {
            self.fail(id, Errno::TIMEDOUT);
        }
    }

    /// Takes a request.
    fn hear(&mut self, settings: &Settings) {
        let Ok(Some(Request { id, what })) = self.channel.try_receive() else {
            self.is_open = false;
            return;
        };
        let done = match what {
            What::Connect { port, from } => self.connect(id, port, from, settings),
            What::Listen => self.listen(id),
            What::Accept(port) => self.accept_on(id, port, settings),
            What::Close(port) => {
                self.listeners.retain(|listener| listener.port != port);
                Ok(())
            }
        };
        if let Err(e) = done {
            self.fail(id, e);
        }
    }

    /// Answers a request. A session that leaves its answers unread is cut off.
    fn answer(&mut self, id: u32, outcome: Outcome) {
        self.is_open &= self.channel.try_send(&Answer { id, outcome }).is_ok();
    }

    fn fail(&mut self, id: u32, error: Errno) {
        self.answer(id, Outcome::Failed(error.raw_os_error()));
    }

    fn connect(
        &mut self,
        id: u32,
        port: u16,
        from: From,
        settings: &Settings,
    ) -> Result<(), Errno> {
        if !settings.to.contains(&port) || port == 0 {
            return Err(Errno::ACCESS);
        }
        if self.is_full() {
            return Err(Errno::MFILE);
        }
        let mut to = SocketAddr::new(self.peer, port);
        if let (SocketAddr::V6(to), SocketAddr::V6(local)) = (&mut to, &self.local) {
            to.set_scope_id(local.scope_id());
        }
        let socket = match from {
            From::Any => begun(bound(self.local, &ANY)?, to)?,
            From::Range => begun(bound(self.local, &self.ports)?, to)?,
            From::Port(own) => bound(self.local, &(own..=own))
                .and_then(|socket| begun(socket, to))
                .or_else(|_| begun(bound(self.local, &ANY)?, to))?,
        };
        self.attempts.push(Attempt {
            id,
            socket,
            until: Instant::now() + settings.timeout,
        });
        Ok(())
    }

    /// An attempt has come to its end.
    fn connected(&mut self, index: usize) {
        let Attempt { id, socket, .. } = self.attempts.swap_remove(index);
        match sockopt::socket_error(&socket).and_then(|error| error) {
            Ok(()) => self.pass(id, socket),
            Err(e) => self.fail(id, e),
        }
    }

    /// Passes a connection to the session, as one whose calls wait.
    fn pass(&mut self, id: u32, socket: OwnedFd) {
        match rustix::io::ioctl_fionbio(&socket, false) {
            Ok(()) => self.answer(id, Outcome::Connected(socket)),
            Err(e) => self.fail(id, e),
        }
    }

    fn listen(&mut self, id: u32) -> Result<(), Errno> {
        if self.is_full() {
            return Err(Errno::MFILE);
        }
        let socket = bound(self.local, &self.ports)?;
        listen(&socket, BACKLOG)?;
        let port = SocketAddr::try_from(getsockname(&socket)?)?.port();
        self.listeners.push(Listener {
            port,
            socket,
            accepted: None,
            waiting: None,
        });
        self.answer(id, Outcome::Listening(port));
        Ok(())
    }

    fn accept_on(&mut self, id: u32, port: u16, settings: &Settings) -> Result<(), Errno> {
        let listener = self.listeners.iter_mut().find(|of| of.port == port);
        let listener = listener.ok_or(Errno::BADF)?;
        if listener.waiting.is_some() {
            return Err(Errno::ALREADY);
        }
        match listener.accepted.take() {
            Some(socket) => self.pass(id, socket),
            None => listener.waiting = Some((id, Instant::now() + settings.timeout)),
        }
        Ok(())
    }

    /// Takes a connection that has come to a listening port, if it is the
    /// client's.
    fn accept(&mut self, index: usize) {
        let listener = &mut self.listeners[index];
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let (socket, from) = match acceptfrom_with(&listener.socket, flags) {
            Ok((socket, from)) => (
                socket,
                from.and_then(|from| SocketAddr::try_from(from).ok()),
            ),
            Err(Errno::AGAIN | Errno::INTR | Errno::CONNABORTED) => return,
            Err(e) => {
                log::error!(error:% = e; "can't accept a data connection");
                let waiting = self.listeners.swap_remove(index).waiting;
                waiting.iter().for_each(|(id, _)| self.fail(*id, e));
                return;
            }
        };
        let Some(from) = from.filter(|from| from.ip().to_canonical() == self.peer) else {
            log::warn!(stage:% = "data", peer:% = self.peer, from:?; "refused");
            return;
        };
        log::debug!(peer:% = from, port = listener.port; "data connection");
        match listener.waiting.take() {
            Some((id, _)) => self.pass(id, socket),
            None => listener.accepted = Some(socket),
        }
    }
}

/// The socket, on its way to be connected.
fn begun(socket: OwnedFd, to: SocketAddr) -> Result<OwnedFd, Errno> {
    match connect(&socket, &to) {
        Ok(()) | Err(Errno::INPROGRESS) => Ok(socket),
        Err(e) => Err(e),
    }
}

/// A socket at an address of this machine and a free port of a range.
fn bound(mut local: SocketAddr, ports: &RangeInclusive<u16>) -> Result<OwnedFd, Errno> {
    // From anywhere in the range: the next port is not to be foreseen.
    let mut random = [0; 2];
    let _ = getrandom::fill(&mut random);
    let len = ports.len().max(1);
    let first = usize::from(u16::from_ne_bytes(random)) % len;
    let mut last = Errno::ADDRINUSE;
    for port in ports.clone().cycle().skip(first).take(len) {
        let socket = socket_for(local.ip(), SocketType::STREAM)?;
        sockopt::set_socket_reuseaddr(&socket, true)?;
        local.set_port(port);
        match bind(&socket, &local) {
            Ok(()) => return Ok(socket),
            Err(e) => last = e,
        }
    }
    Err(last)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::dialer::{Dialer, Listening};
    use std::io::{Read, Write};
    use std::net::{Ipv4Addr, TcpListener, TcpStream};

    const PEER: &str = "127.0.0.2";
    const OTHER: &str = "127.0.0.3";

    fn settings() -> Settings {
        Settings {
            to: 1024..=u16::MAX,
            timeout: Duration::from_secs(20),
        }
    }

    /// A dialer in a thread, and the daemon's channel to it.
    fn dialer(settings: Settings) -> Pipe<NewSession, ()> {
        let (daemon, theirs) = crate::ipc::pipe::pair().expect("pair");
        std::thread::spawn(move || run(&theirs, &settings));
        daemon
    }

    fn channel(daemon: &Pipe<NewSession, ()>, ports: (u16, u16)) -> Pipe<Request, Answer> {
        let (ours, channel) = crate::ipc::pipe::pair().expect("pair");
        let peer = PEER.parse().expect("address");
        let new = NewSession {
            peer,
            local: (Ipv4Addr::LOCALHOST, 0).into(),
            ports,
            channel,
        };
        daemon.send(&new).expect("send");
        ours
    }

    fn session(daemon: &Pipe<NewSession, ()>) -> Dialer {
        Dialer::new(channel(daemon, (0, 0)))
    }

    /// Connects to a port here from this address.
    fn connect_from(from: &str, port: u16) -> TcpStream {
        let from: IpAddr = from.parse().expect("address");
        let socket = bound((from, 0).into(), &ANY).expect("socket");
        rustix::io::ioctl_fionbio(&socket, false).expect("blocking");
        let to = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port);
        connect(&socket, &to).expect("connect");
        socket.into()
    }

    fn error_of<T>(result: io::Result<T>) -> Option<i32> {
        result.err().and_then(|e| e.raw_os_error())
    }

    #[test]
    fn a_session_is_connected_to_its_client_and_to_nobody_else() {
        let daemon = dialer(settings());
        let mut session = session(&daemon);
        let client = TcpListener::bind((PEER, 0)).expect("client");
        let port = client.local_addr().expect("address").port();
        let mut stream = session.connect(port).expect("connection");
        stream.write_all(b"data").expect("write");
        drop(stream);
        let mut text = String::new();
        let (mut accepted, _) = client.accept().expect("accept");
        accepted.read_to_string(&mut text).expect("read");
        assert_eq!(text, "data");

        let other = TcpListener::bind((OTHER, 0)).expect("other");
        let port = other.local_addr().expect("address").port();
        let refused = error_of(session.connect(port));
        assert_eq!(refused, Some(Errno::CONNREFUSED.raw_os_error()));
        other.set_nonblocking(true).expect("no waiting");
        assert!(other.accept().is_err(), "nobody came");
    }

    #[test]
    fn a_port_outside_the_range_is_refused() {
        let client = TcpListener::bind((PEER, 0)).expect("client");
        let port = client.local_addr().expect("address").port();
        let daemon = dialer(Settings {
            to: 1..=port - 1,
            ..settings()
        });
        let refused = error_of(session(&daemon).connect(port));
        assert_eq!(refused, Some(Errno::ACCESS.raw_os_error()));
        let refused = error_of(session(&daemon).connect(0));
        assert_eq!(refused, Some(Errno::ACCESS.raw_os_error()));
    }

    #[test]
    fn a_session_gets_the_connections_of_its_client_and_of_nobody_else() {
        let daemon = dialer(settings());
        let mut session = session(&daemon);
        let listening = session.listen().expect("port");
        let mut other = connect_from(OTHER, listening.port);
        let mut client = connect_from(PEER, listening.port);
        let mut stream = session.accept(&listening).expect("connection");
        client.write_all(b"data").expect("write");
        drop(client);
        let mut text = String::new();
        stream.read_to_string(&mut text).expect("read");
        assert_eq!(text, "data");
        assert_eq!(stream.peer_addr().expect("peer").ip().to_string(), PEER);
        assert!(matches!(other.read(&mut [0; 1]), Ok(0) | Err(_)), "closed");

        let waiting = std::thread::spawn(move || {
            let accepted = session.accept(&listening);
            (accepted.is_ok(), listening.port, session.close(listening))
        });
        for _ in 0..3 {
            let mut other = connect_from(OTHER, stream.local_addr().expect("port").port());
            assert!(matches!(other.read(&mut [0; 1]), Ok(0) | Err(_)), "closed");
            assert!(!waiting.is_finished(), "it waits for the client");
        }
        let _client = connect_from(PEER, stream.local_addr().expect("port").port());
        let (accepted, port, closed) = waiting.join().expect("session");
        assert!(accepted && closed.is_ok());
        let is_closed = || TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err();
        assert!(happens(is_closed), "the port is closed");
    }

    #[test]
    fn waits_end_and_one_that_waits_delays_no_other() {
        let daemon = dialer(Settings {
            timeout: Duration::from_millis(300),
            ..settings()
        });
        let (mut slow, mut quick) = (session(&daemon), session(&daemon));
        let listening = slow.listen().expect("port");
        let begin = Instant::now();
        let slow = std::thread::spawn(move || error_of(slow.accept(&listening)));
        let client = TcpListener::bind((PEER, 0)).expect("client");
        let port = client.local_addr().expect("address").port();
        quick.connect(port).expect("connection");
        let late = slow.join().expect("session");
        assert_eq!(late, Some(Errno::TIMEDOUT.raw_os_error()));
        assert!(begin.elapsed() >= Duration::from_millis(300));
    }

    #[test]
    fn a_session_has_so_many_ports_at_most_and_none_after_its_end() {
        let daemon = dialer(settings());
        let mut one = session(&daemon);
        let ports: Vec<_> = (0..MAX_OPEN).map(|_| one.listen().expect("port")).collect();
        let full = Some(Errno::MFILE.raw_os_error());
        assert_eq!(error_of(one.listen()), full);
        assert_eq!(error_of(one.connect(ports[0].port)), full);
        assert!(session(&daemon).listen().is_ok(), "another session");
        drop(one);
        for listening in ports {
            let is_closed = || TcpStream::connect((Ipv4Addr::LOCALHOST, listening.port)).is_err();
            assert!(happens(is_closed), "the port is closed");
        }
    }

    /// A session that has one of these ports, and listens there. They are below
    /// those that the system chooses for others.
    fn within_one_port(
        daemon: &Pipe<NewSession, ()>,
        mut ports: std::ops::Range<u16>,
    ) -> (Dialer, Listening) {
        let found = ports.find_map(|port| {
            let mut session = Dialer::new(channel(daemon, (port, port)));
            let listening = session.listen().ok()?;
            assert_eq!(listening.port, port);
            Some((session, listening))
        });
        found.expect("a free port")
    }

    #[test]
    fn ports_are_of_the_range() {
        let daemon = dialer(settings());
        let (mut session, listening) = within_one_port(&daemon, 26_000..28_000);
        let port = listening.port;
        let taken = error_of(session.listen());
        assert_eq!(taken, Some(Errno::ADDRINUSE.raw_os_error()));
        session.close(listening).expect("close");
        let client = TcpListener::bind((PEER, 0)).expect("client");
        let to = client.local_addr().expect("address").port();
        let stream = session.connect_from_range(to).expect("connection");
        assert_eq!(stream.local_addr().expect("address").port(), port);
    }

    #[test]
    fn many_connections_come_from_one_port_or_from_any() {
        let daemon = dialer(settings());
        let clients: Vec<_> = (0..32)
            .map(|_| TcpListener::bind((PEER, 0)).expect("client"))
            .collect();
        let port = |of: &TcpListener| of.local_addr().expect("address").port();
        let ports: Vec<u16> = clients.iter().map(port).collect();
        let (mut session, listening) = within_one_port(&daemon, 28_000..30_000);
        let own = listening.port;
        session.close(listening).expect("close");
        let sockets = session.connect_all(&ports, From::Port(own)).expect("all");
        for (socket, port) in sockets.iter().zip(&ports) {
            assert_eq!(socket.peer_addr().expect("peer").port(), *port);
            assert_eq!(socket.local_addr().expect("own").port(), own);
        }
        let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("port");
        let from = From::Port(port(&taken));
        let sockets = session.connect_all(&ports[..2], from).expect("from any");
        let other = |socket: &TcpStream| socket.local_addr().expect("own").port();
        assert!(sockets.iter().all(|socket| other(socket) != port(&taken)));

        drop(clients);
        let (at, e) = session
            .connect_all(&ports, From::Any)
            .expect_err("nobody listens");
        assert!(
            at < 32 && e.kind() == io::ErrorKind::ConnectionRefused,
            "{e}"
        );
    }

    #[test]
    fn a_port_gives_one_connection_and_a_wait_ends_early() {
        let daemon = dialer(settings());
        let mut session = session(&daemon);
        let ports: Vec<_> = (0..32).map(|_| session.listen().expect("port")).collect();
        let clients: Vec<_> = (ports.iter())
            .map(|listening| [(); 2].map(|()| connect_from(PEER, listening.port)))
            .collect();
        for (listening, client) in ports.into_iter().zip(&clients) {
            let taken = session.accept(&listening).expect("connection");
            assert_eq!(
                taken.peer_addr().expect("peer"),
                client[0].local_addr().expect("own"),
                "the first"
            );
            session.close(listening).expect("close");
        }
        for mut client in clients {
            assert!(matches!(client[1].read(&mut [0]), Ok(0) | Err(_)), "closed");
        }

        let (watched, other) = std::os::unix::net::UnixStream::pair().expect("pair");
        session.watch(watched.into());
        let listening = session.listen().expect("port");
        drop(other);
        let ended = session.accept(&listening).map_err(|e| e.kind());
        assert!(matches!(ended, Err(io::ErrorKind::Interrupted)));
    }

    #[test]
    fn a_session_that_sends_nonsense_is_cut_off_and_no_other() {
        let daemon = dialer(settings());
        let odd = channel(&daemon, (0, 0)).into_channel();
        odd.send(&[9; 9], &[]).expect("send");
        assert!(matches!(odd.receive(&mut [0; 1]), Ok((0, _)) | Err(_)));
        assert!(session(&daemon).listen().is_ok());
    }

    /// Whether something comes true within a minute.
    fn happens(mut is_so: impl FnMut() -> bool) -> bool {
        let end = Instant::now() + Duration::from_secs(60);
        while !is_so() {
            if Instant::now() > end {
                return false;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        true
    }
}
