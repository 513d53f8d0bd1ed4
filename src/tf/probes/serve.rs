//! The loop of the UDP process: datagrams, probes of the pool's servers,
//! questions of sessions, and new lists of servers.

use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use crate::config::Tf;
use crate::ipc::service::Callers;
use crate::ipc::{Pipe, Poll};
use crate::net::udp::{Port, address_of};
use crate::session::keys::{ReadKeys, read_key};
use crate::tf::pool::ask::{Answer, Caller, Question as Asked};
use crate::tf::pool::probe;
use crate::tf::pool::probe::Load;
use crate::tf::pool::reader::{Lists, News, ReportsFrom};
use crate::tf::pool::{Balancer, Summary};
use crate::tf::probes::answer::Limit;
use crate::tf::probes::answer::{MAX_DATAGRAM, Pages, Question, Sessions, spell};

/// Datagrams taken from one socket before the others are looked at.
const AT_ONCE: usize = 256;

/// What the process waits for.
enum Source {
    Port(usize),
    Probes(usize),
    Daemon,
    Sessions,
    Lists,
}

/// What the process works with.
pub(crate) struct Server<'a> {
    sessions: Sessions<'a>,
    /// None any more once the daemon has no use for this process.
    ports: Vec<Port>,
    probes: &'a [UdpSocket],
    callers: Callers<Answer, Asked>,
    lists: Lists<'a>,
    /// Servers that are tried by TCP.
    tried: Vec<SocketAddr>,
    has_pool: bool,
    balancer: Balancer,
    limit: Limit,
    started: Instant,
    /// When the daemon was about to end, after the start.
    draining: Option<Duration>,
}

/// The sockets that the pool's servers are asked from, one for each family
/// that the system has.
pub(crate) fn probe_sockets() -> io::Result<Vec<UdpSocket>> {
    let bound = ["0.0.0.0:0", "[::]:0"].map(UdpSocket::bind);
    let sockets: Vec<UdpSocket> = bound.into_iter().flatten().collect();
    sockets
        .iter()
        .try_for_each(|socket| socket.set_nonblocking(true))?;
    Ok(sockets)
}

impl<'a> Server<'a> {
    pub(crate) fn new(
        tf: &Tf,
        (keys, pages): (BorrowedFd<'_>, Pages<'a>),
        ports: Vec<Port>,
        probes: &'a [UdpSocket],
        list: &'a ReportsFrom,
    ) -> io::Result<Server<'a>> {
        Ok(Server {
            sessions: Sessions {
                keys: ReadKeys::map(keys)?,
                pages,
                dialect: tf.dialect,
            },
            ports,
            probes,
            callers: Callers::new()?,
            lists: Lists::new(list),
            tried: Vec::new(),
            has_pool: tf.has_pool(),
            balancer: Balancer::default(),
            limit: Limit::new(),
            started: Instant::now(),
            draining: None,
        })
    }

    /// The descriptors that it works with.
    pub(crate) fn handles(&self) -> Vec<BorrowedFd<'_>> {
        let ports = self.ports.iter().map(AsFd::as_fd);
        let probes = self.probes.iter().map(AsFd::as_fd);
        let lists = self.lists.channel().map(AsFd::as_fd);
        let all = ports.chain(probes).chain(lists);
        all.chain([self.callers.as_fd()]).collect()
    }

    /// Serves until the daemon has no use for it and no session is left.
    pub(crate) fn run(mut self, daemon: &Pipe<(), Caller>) -> io::Result<()> {
        let mut daemon = Some(daemon);
        while daemon.is_some() || !self.callers.is_empty() {
            for probe in self
                .balancer
                .due(self.started.elapsed(), crate::tf::probes::random)
            {
                self.ask(probe.address, &probe.question);
            }
            self.knock();
            for source in self.wait(daemon)? {
                match source {
                    Source::Port(index) => self.answer_all(index)?,
                    Source::Probes(index) => self.hear_probes(index),
                    Source::Daemon => daemon = daemon.filter(|daemon| self.hear_daemon(daemon)),
                    Source::Sessions => self.answer_sessions()?,
                    Source::Lists => self.hear_lists(),
                }
            }
        }
        Ok(())
    }

    fn wait(&self, daemon: Option<&Pipe<(), Caller>>) -> io::Result<Vec<Source>> {
        let mut poll = Poll::default();
        for (index, port) in self.ports.iter().enumerate() {
            poll.read(Source::Port(index), port);
        }
        for (index, socket) in self.probes.iter().enumerate() {
            poll.read(Source::Probes(index), socket);
        }
        poll.read(Source::Sessions, &self.callers);
        if let Some(lists) = self.lists.channel() {
            poll.read(Source::Lists, lists);
        }
        // Last: it may end the ports.
        if let Some(daemon) = daemon {
            poll.read(Source::Daemon, daemon);
        }
        let ready = poll.wait(self.balancer.wait(self.started.elapsed()))?;
        Ok(ready.into_iter().map(|(source, _)| source).collect())
    }

    fn answer_all(&mut self, index: usize) -> io::Result<()> {
        let mut buffer = [0; MAX_DATAGRAM + 1];
        for _ in 0..AT_ONCE {
            let Some((len, from, at)) = self.ports[index].receive(&mut buffer)? else {
                return Ok(());
            };
            let datagram = &buffer[..len.min(buffer.len())];
            let Some(source) = address_of(&from) else {
                continue;
            };
            let Some(question) = Question::read(datagram) else {
                continue;
            };
            let answer = self.answer(datagram, question, source.ip());
            let source = source.ip();
            if self.knows_a_key(question) || self.may_answer(source, len, answer.len()) {
                self.ports[index].answer(&answer, &from, at);
            }
        }
        Ok(())
    }

    /// Whether the sender knows the key of a session that is alive. No answer of a
    /// server has one.
    fn knows_a_key(&self, question: Question<'_>) -> bool {
        let (Question::Process(key) | Question::Socket(key)) = question else {
            return false;
        };
        read_key(key).is_some_and(|(slot, key)| self.sessions.keys.fits(slot, key))
    }

    /// Whether the source has not had too many answers. Those of a server that is
    /// about to end are questions to another: each source gets so many, and then
    /// no more.
    fn may_answer(&mut self, source: IpAddr, question: usize, answer: usize) -> bool {
        let mut now = self.started.elapsed();
        if self.sessions.keys.is_draining() {
            now = *self.draining.get_or_insert(now);
        }
        self.limit.allows(source, question, answer, now)
    }

    fn answer(&mut self, datagram: &[u8], question: Question<'_>, source: IpAddr) -> Vec<u8> {
        match question {
            Question::Host => self.host(datagram, source),
            Question::Process(key) => self.sessions.process(key),
            Question::Socket(key) => self.sessions.socket(key),
            Question::Balance => spell(self.tuple(), self.sessions.dialect),
        }
    }

    /// HOSTCHECK. The number of sessions is sent to servers of the pool
    /// alone.
    fn host(&self, datagram: &[u8], source: IpAddr) -> Vec<u8> {
        let keys = self.sessions.keys;
        let number = |count| u32::try_from(count).unwrap_or(u32::MAX);
        let load = Load {
            sessions: number(keys.sessions()),
            most: number(keys.most()),
        };
        let source = source.to_canonical();
        let is_source = |known: &Summary| known.server.address.ip() == source;
        let known =
            datagram.len() >= probe::QUESTION && self.balancer.summary().iter().any(is_source);
        let question = if known {
            datagram
        } else {
            datagram.get(..1).unwrap_or_default()
        };
        probe::answer(question, load, keys.is_draining())
    }

    fn tuple(&mut self) -> Option<String> {
        let now = self.started.elapsed();
        self.balancer
            .choose(now)
            .filter(|_| self.has_pool)
            .map(|server| server.tuple())
    }

    fn ask(&self, address: SocketAddr, question: &[u8]) {
        let of_family = |socket: &&UdpSocket| {
            socket
                .local_addr()
                .is_ok_and(|own| own.is_ipv4() == address.is_ipv4())
        };
        if let Some(socket) = self.probes.iter().find(of_family) {
            let _ = socket.send_to(question, address);
        }
    }

    fn hear_probes(&mut self, index: usize) {
        let mut buffer = [0; MAX_DATAGRAM];
        for _ in 0..AT_ONCE {
            let Ok((len, from)) = self.probes[index].recv_from(&mut buffer) else {
                return;
            };
            self.balancer
                .answered(from, &buffer[..len], self.started.elapsed());
        }
    }

    /// Has silent servers tried by TCP, one batch at a time.
    fn knock(&mut self) {
        let Some(lists) = self.lists.channel().filter(|_| self.tried.is_empty()) else {
            return;
        };
        let tried = self.balancer.next_knocks(self.started.elapsed());
        if !tried.is_empty() && lists.try_send(&tried).is_ok() {
            self.tried = tried;
        }
    }

    fn hear_lists(&mut self) {
        match self.lists.hear() {
            Some(News::Servers(servers)) => {
                self.balancer.replace(servers, self.started.elapsed());
            }
            Some(News::Accepting(servers)) => {
                let tried = std::mem::take(&mut self.tried);
                self.balancer.knocked(&tried, &servers);
            }
            None => {}
        }
    }

    /// Takes in a session that may ask; whether the daemon still has use for this
    /// process.
    fn hear_daemon(&mut self, daemon: &Pipe<(), Caller>) -> bool {
        match daemon.try_receive() {
            Ok(Some(caller)) => {
                if let Err(e) = self.callers.add(caller) {
                    log::error!(error:% = e; "a session can't ask for a server");
                }
                true
            }
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => true,
            _ => {
                self.ports.clear();
                false
            }
        }
    }

    fn answer_sessions(&mut self) -> io::Result<()> {
        let (balancer, now) = (&mut self.balancer, self.started.elapsed());
        self.callers.answer(|Asked { id }| Answer {
            id,
            server: balancer.choose(now),
        })
    }
}
