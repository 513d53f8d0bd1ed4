//! The process that knows which servers are in the pool: it reads the pool
//! file again when that has changed, looks SRV records up, and informs the UDP
//! process; for that it also tries servers by TCP. What others write and what name servers answer is parsed here and
//! nowhere else.

use std::fs::File;
use std::io::{self, Read};
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, Instant};

use nix::unistd::Pid;
use rustix::fs::{Mode, OFlags};

use crate::config::Tf;
use crate::ipc::codec::codec;
use crate::ipc::poll::left;
use crate::ipc::{Helper, Pipe, Poll};
use crate::sandbox::confinement::{Confinement, Duty};
use crate::sandbox::{Reach, Sandbox};
use crate::tf::pool::file as pool;
use crate::tf::pool::file::{MAX_FILE, Server};
use crate::tf::pool::knock::accepting;
use crate::tf::pool::resolver::{Found, Lookup, RETRY, name_servers, resolve};
use crate::users::Identity;

/// How often it is looked whether the file has changed.
const LOOK: Duration = Duration::from_secs(1);

/// Servers in one message; a shorter one ends a list.
const PART: usize = 256;

/// How long a server may take to accept a connection.
const PATIENCE: Duration = Duration::from_secs(1);

/// What the process says.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum News {
    /// The servers of the pool, or a part of them.
    Servers(Vec<Server>),
    /// Of the servers tried by TCP last, those that accepted a connection.
    Accepting(Vec<SocketAddr>),
}

codec!(enum News { 1 => Servers(servers), 2 => Accepting(servers) });

/// The end of the process: it sends news and receives servers to try by TCP.
pub(crate) type Reports = Pipe<News, Vec<SocketAddr>>;

/// The pool file: its directory, kept open, and its name there.
struct PoolFile {
    directory: OwnedFd,
    name: std::ffi::OsString,
}

/// Starts the process, where there is a pool.
///
/// # Errors
/// One line that says what could not be started.
pub(crate) fn start(
    tf: &Tf,
    lists: Reports,
    identity: Option<&Identity>,
    sandbox: &Sandbox,
) -> Result<Option<Pid>, String> {
    if !tf.has_pool() {
        return Ok(None);
    }
    let file = tf.tlb_pool.as_deref().map(open_directory).transpose()?;
    let resolv_conf = std::fs::read_to_string("/etc/resolv.conf").unwrap_or_default();
    let watch = tf.tlb_dns.as_deref().map(Watch::new);
    let failed = |e: io::Error| format!("pool: {e}");
    let reach = if watch.is_some() {
        Reach::Names
    } else {
        Reach::Tcp
    };
    let reaching = sandbox.reaching(reach).map_err(failed)?;
    let confinement = Confinement::new(identity, &reaching)?;
    let directory = file.as_ref().map(|file| file.directory.as_fd());
    let duty = Duty::Knocking(directory);
    let helper = <Helper>::spawn("pool", |child| {
        let handles: Vec<_> = directory.into_iter().chain([lists.as_fd()]).collect();
        child.enter(c"tfd-pool", &confinement.with(duty), &handles)?;
        follow(file.as_ref(), watch, &name_servers(&resolv_conf), &lists)
    })?;
    Ok(Some(helper.pid))
}

fn open_directory(path: &Path) -> Result<PoolFile, String> {
    let in_file = |e: rustix::io::Errno| format!("tf.tlb_pool: {}: {e}", path.display());
    let directory = path
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty());
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let directory = rustix::fs::open(directory.unwrap_or(Path::new(".")), flags, Mode::empty());
    let name = path
        .file_name()
        .ok_or(rustix::io::Errno::INVAL)
        .map_err(in_file)?;
    Ok(PoolFile {
        directory: directory.map_err(in_file)?,
        name: name.to_owned(),
    })
}

/// Follows file and service until nobody wants to know.
fn follow(
    file: Option<&PoolFile>,
    mut watch: Option<Watch>,
    name_servers: &[SocketAddr],
    lists: &Reports,
) -> io::Result<()> {
    let started = Instant::now();
    let mut in_file = InFile::default();
    loop {
        let mut changed = file.is_some_and(|file| in_file.look(file));
        if let Some(watch) = &mut watch
            && let Some(lookup) = watch.due(started.elapsed(), name_servers.to_vec())
        {
            let found = resolve(lookup, crate::tf::probes::random);
            if let Err(e) = &found {
                log::warn!(error:% = e; "no servers found by SRV");
            }
            changed |= watch.ended(found, started.elapsed());
        }
        if changed {
            let of_service = watch.as_ref().map_or(&[][..], Watch::servers);
            let servers: Vec<Server> = in_file.servers.iter().chain(of_service).copied().collect();
            log::info!(servers = servers.len(); "pool");
            send(lists, &servers)?;
        }
        let end = Instant::now() + LOOK;
        while !left(end).is_zero() {
            let mut poll = Poll::default();
            poll.read((), lists);
            if !poll.wait(Some(left(end)))?.is_empty() {
                let Some(tried) = lists.receive()? else {
                    return Ok(());
                };
                lists.send(&News::Accepting(accepting(&tried, PATIENCE)))?;
            }
        }
    }
}

/// What the pool file said last.
#[derive(Default)]
struct InFile {
    stamp: Option<Stamp>,
    servers: Vec<Server>,
}

impl InFile {
    /// Reads the file if it was changed, and again and again while there is none;
    /// whether it was changed.
    fn look(&mut self, file: &PoolFile) -> bool {
        let now = file.open();
        let stamp = now.as_ref().ok().and_then(|file| stamp(file).ok());
        if stamp.is_some() && stamp == self.stamp {
            return false;
        }
        let changed = stamp != self.stamp;
        self.stamp = stamp;
        self.servers = now.and_then(read).unwrap_or_else(|e| {
            if changed {
                log::warn!(error:% = e; "the pool file can't be read");
            }
            Vec::new()
        });
        changed
    }
}

impl PoolFile {
    fn open(&self) -> io::Result<File> {
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
        Ok(rustix::fs::openat(&self.directory, &self.name, flags, Mode::empty())?.into())
    }
}

/// Shows whether a file was replaced or changed: inode, size, time.
type Stamp = (u64, u64, i64, i64);

fn stamp(file: &File) -> io::Result<Stamp> {
    let metadata = file.metadata()?;
    Ok((
        metadata.ino(),
        metadata.size(),
        metadata.mtime(),
        metadata.mtime_nsec(),
    ))
}

fn read(file: File) -> io::Result<Vec<Server>> {
    let mut bytes = Vec::new();
    file.take(MAX_FILE).read_to_end(&mut bytes)?;
    let pool = pool::parse(&bytes);
    for (line, problem) in &pool.problems {
        log::warn!(line, reason:% = problem; "pool file: a line is passed over");
    }
    Ok(pool.servers)
}

fn send(lists: &Reports, servers: &[Server]) -> io::Result<()> {
    let mut parts = servers.chunks(PART);
    loop {
        let part = parts.next().unwrap_or_default();
        lists.send(&News::Servers(part.to_vec()))?;
        if part.len() < PART {
            return Ok(());
        }
    }
}

/// The other end, in the UDP process.
pub(crate) type ReportsFrom = Pipe<Vec<SocketAddr>, News>;

/// What the UDP process gets.
pub(crate) struct Lists<'a> {
    channel: Option<&'a ReportsFrom>,
    begun: Vec<Server>,
}

impl<'a> Lists<'a> {
    pub(crate) fn new(channel: &'a ReportsFrom) -> Lists<'a> {
        Lists {
            channel: Some(channel),
            begun: Vec::new(),
        }
    }

    /// Where they come from, as long as there is somebody.
    pub(crate) fn channel(&self) -> Option<&'a ReportsFrom> {
        self.channel
    }

    /// News; of a list once it is whole.
    pub(crate) fn hear(&mut self) -> Option<News> {
        match self.channel?.try_receive() {
            Ok(Some(News::Servers(part))) => {
                let is_last = part.len() < PART;
                self.begun.extend(part);
                is_last.then(|| News::Servers(std::mem::take(&mut self.begun)))
            }
            Ok(accepting @ Some(_)) => accepting,
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => None,
            _ => {
                self.channel = None;
                None
            }
        }
    }
}

/// A service that is looked up again and again. Times are as those of
/// [`crate::tf::pool::Balancer`].
#[derive(Debug)]
struct Watch {
    name: String,
    next: Option<Duration>,
    servers: Vec<Server>,
}

impl Watch {
    /// A service by the absolute name of its SRV records, to be looked up at
    /// once.
    fn new(name: &str) -> Watch {
        Watch {
            name: name.to_owned(),
            next: Some(Duration::ZERO),
            servers: Vec::new(),
        }
    }

    /// The lookup to do now, if it is time; [`Watch::ended`] is due then.
    fn due(&mut self, now: Duration, name_servers: Vec<SocketAddr>) -> Option<Lookup> {
        self.next.take_if(|next| *next <= now)?;
        Some(Lookup::new(&self.name, name_servers))
    }

    /// How long until the next lookup; `None` while one is going on.
    #[cfg(test)]
    fn wait(&self, now: Duration) -> Option<Duration> {
        self.next.map(|next| next.saturating_sub(now))
    }

    /// Takes the end of a lookup; whether the servers are others than before.
    /// After a failure those found last stay.
    fn ended(&mut self, end: Result<Found, String>, now: Duration) -> bool {
        let (pause, servers) = match end {
            Ok(found) => (found.ttl, Some(found.servers)),
            Err(_) => (RETRY, None),
        };
        self.next = Some(now + pause);
        match servers {
            Some(servers) if servers != self.servers => {
                self.servers = servers;
                true
            }
            _ => false,
        }
    }

    /// The servers found last.
    fn servers(&self) -> &[Server] {
        &self.servers
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ipc::pipe::pair;

    #[test]
    fn lists_of_any_length_arrive_as_sent() {
        let (ours, theirs) = pair().expect("pair");
        let mut lists = Lists::new(&theirs);
        for count in [0, 1, PART - 1, PART, PART + 1] {
            let server = |n: usize| Server {
                address: format!("[2001:db8::{n:x}]:{}", 1 + n)
                    .parse()
                    .expect("address"),
                weight: n as u32,
                priority: 7,
            };
            let servers: Vec<Server> = (0..count).map(server).collect();
            send(&ours, &servers).expect("sent");
            let heard = (0..3).find_map(|_| lists.hear());
            assert_eq!(heard, Some(News::Servers(servers)), "{count}");
        }
    }

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn lookups_follow_the_ttl_and_failures_keep_what_was_found() {
        let mut watch = Watch::new("_tf._tcp.a.org");
        assert!(watch.due(at(0), vec![]).is_some() && watch.due(at(1), vec![]).is_none());
        assert_eq!(watch.wait(at(1)), None);
        let server = Server {
            address: ([192, 0, 2, 1], 1).into(),
            weight: 1,
            priority: 0,
        };
        let found = Found {
            servers: vec![server],
            ttl: at(60),
            lost: vec![],
        };
        assert!(watch.ended(Ok(found.clone()), at(2)));
        assert_eq!(
            (watch.wait(at(2)), watch.due(at(61), vec![]).is_none()),
            (Some(at(60)), true)
        );
        assert!(watch.due(at(62), vec![]).is_some());
        assert!(!watch.ended(Err("nobody".to_owned()), at(63)));
        assert_eq!(
            (watch.servers(), watch.wait(at(63))),
            (&[server][..], Some(RETRY))
        );
        assert!(watch.due(at(80), vec![]).is_some() && !watch.ended(Ok(found.clone()), at(80)));
        let none = Found {
            servers: vec![],
            ..found
        };
        assert!(watch.due(at(140), vec![]).is_some() && watch.ended(Ok(none), at(140)));
        assert_eq!(watch.servers(), []);
    }
}
