//! The loop of the UDP process: datagrams, probes of the pool's servers,
//! questions of sessions, and new lists of servers.

use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::config::Config;
use crate::ipc::channel::Channel;
use crate::net::udp::{Port, address_of};
use crate::session::keys::ReadKeys;
use crate::sys::memory::map_to_read;
use crate::tf::pool::ask::{Asked, hear};
use crate::tf::pool::probe;
use crate::tf::pool::probe::Load;
use crate::tf::pool::reader::Lists;
use crate::tf::pool::{Balancer, Summary};
use crate::tf::probes::answer::{MAX_DATAGRAM, Question, Sessions, spell};
use crate::tf::probes::limit::Limit;

/// Datagrams taken from one socket before the others are looked at.
const AT_ONCE: usize = 256;

/// What the process works with.
pub(crate) struct Server<'a> {
    sessions: Sessions,
    ports: &'a [Port],
    probes: &'a [UdpSocket],
    questions: Option<&'a Channel>,
    lists: Lists<'a>,
    has_pool: bool,
    balancer: Balancer,
    limit: Limit,
    started: Instant,
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
        config: &Config,
        (keys, slots): (BorrowedFd<'_>, BorrowedFd<'_>),
        ports: &'a [Port],
        probes: &'a [UdpSocket],
        questions: &'a Channel,
        list: &'a Channel,
    ) -> io::Result<Server<'a>> {
        Ok(Server {
            sessions: Sessions {
                keys: ReadKeys::map(keys)?,
                slots: map_to_read(slots)?,
                dialect: config.tf.dialect,
            },
            ports,
            probes,
            questions: Some(questions),
            lists: Lists::new(list),
            has_pool: config.tf.has_pool(),
            balancer: Balancer::default(),
            limit: Limit::default(),
            started: Instant::now(),
        })
    }

    pub(crate) fn run(mut self) -> io::Result<()> {
        loop {
            for probe in self
                .balancer
                .due(self.started.elapsed(), crate::tf::probes::random)
            {
                self.ask(probe.address, &probe.question);
            }
            let wait = self.balancer.wait(self.started.elapsed());
            let ready = self.wait(wait)?;
            let mut ready = ready.into_iter();
            for index in 0..self.ports.len() {
                if ready.next() == Some(true) {
                    self.answer_all(index)?;
                }
            }
            for index in 0..self.probes.len() {
                if ready.next() == Some(true) {
                    self.hear_probes(index);
                }
            }
            if self.questions.is_some() && ready.next() == Some(true) {
                self.answer_session();
            }
            if ready.next() == Some(true)
                && let Some(servers) = self.lists.hear()
            {
                self.balancer.replace(servers, self.started.elapsed());
            }
        }
    }

    /// Which sources have something: ports, probes, questions, lists.
    fn wait(&self, limit: Option<Duration>) -> io::Result<Vec<bool>> {
        let interest = PollFlags::IN;
        let mut fds: Vec<PollFd<'_>> = self
            .ports
            .iter()
            .map(|port| PollFd::new(port, interest))
            .collect();
        fds.extend(
            self.probes
                .iter()
                .map(|socket| PollFd::new(socket, interest)),
        );
        fds.extend(self.questions.map(|channel| PollFd::new(channel, interest)));
        fds.extend(
            self.lists
                .channel()
                .map(|channel| PollFd::new(channel, interest)),
        );
        let limit = limit.and_then(|limit| Timespec::try_from(limit).ok());
        match poll(&mut fds, limit.as_ref()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(e) => return Err(e.into()),
        }
        Ok(fds.iter().map(|fd| !fd.revents().is_empty()).collect())
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
            let Some(answer) = self.answer(datagram, source.ip()) else {
                continue;
            };
            if self
                .limit
                .allows(source.ip(), len, answer.len(), Instant::now())
            {
                self.ports[index].answer(&answer, &from, at);
            }
        }
        Ok(())
    }

    fn answer(&mut self, datagram: &[u8], source: IpAddr) -> Option<Vec<u8>> {
        Some(match Question::read(datagram)? {
            Question::Host => self.host(datagram, source),
            Question::Process(key) => self.sessions.process(key),
            Question::Socket(key) => self.sessions.socket(key),
            Question::Balance => spell(self.tuple(), self.sessions.dialect),
        })
    }

    /// HOSTCHECK. How many sessions there are is told to servers of the pool
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

    fn answer_session(&mut self) {
        let Some(questions) = self.questions else {
            return;
        };
        match hear(questions) {
            Asked::By(back) => {
                let tuple = self.tuple().unwrap_or_default();
                let _ = back.try_send(tuple.as_bytes(), &[]);
            }
            Asked::Nothing => {}
            Asked::Over => self.questions = None,
        }
    }
}
