//! The backend's addresses: a fixed one, or those of a name, which a process of
//! its own looks up repeatedly and shares with the others. That process reads
//! what name servers send; it holds no secret and serves no client.

use std::io;
use std::net::{IpAddr, ToSocketAddrs};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use nix::unistd::Pid;
use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use rustix::fs::{Mode, OFlags};

use crate::config::{Backend, Host};
use crate::ipc::codec::{address_from_bytes, address_to_bytes};
use crate::ipc::{Helper, page};
use crate::sandbox::confinement::{Confinement, Duty};
use crate::sandbox::{Reach, Sandbox};
use crate::sys::memory::{ReadWords, map_page, map_to_read, seal_against_others, sealable_pages};
use crate::sys::number::halves;
use crate::sys::signal::STOP;
use crate::users::Identity;

/// The most addresses of a name that are tried.
const MAX_ADDRESSES: usize = 8;

/// How long a lookup is valid, how soon a failed one is repeated, and the least
/// time between lookups that relays ask for.
const GOOD_FOR: Duration = Duration::from_secs(30);
const AGAIN: Duration = Duration::from_secs(2);
const ACCEPT_BACKOFF: Duration = Duration::from_secs(1);

/// How often a relay that waits for the first address checks.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// What stands in the words of the page: how often it has changed, odd while
/// it changes; how many addresses; two words for each.
const CHANGES: usize = 0;
const COUNT: usize = 1;
const FIRST: usize = 2;

/// The addresses of the backend.
#[derive(Debug)]
pub(crate) enum Addresses {
    /// From the configuration.
    Fixed(IpAddr),
    /// From the resolver process.
    Shared {
        /// The page it writes.
        page: OwnedFd,
        /// Asks it to look up again.
        wake: OwnedFd,
    },
}

/// Starts the process that looks up the backend's name, if it has one.
///
/// # Errors
/// One line that says what could not be started.
pub(crate) fn start(
    backend: &Backend,
    identity: Option<&Identity>,
    sandbox: &Sandbox,
) -> Result<(Addresses, Option<Pid>), String> {
    let name = match &backend.host {
        Host::Address(address) => return Ok((Addresses::Fixed(*address), None)),
        Host::Name(name) => name,
    };
    let failed = |e: io::Error| format!("resolver: {e}");
    let page = sealable_pages("tfd-backend", 1).map_err(failed)?;
    let flags = EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK;
    let wake = eventfd(0, flags).map_err(|e| failed(e.into()))?;
    let sandbox = sandbox.reaching(Reach::Names).map_err(failed)?;
    let mut confinement = Confinement::new(identity, &sandbox)?;
    // Lookups need the files of the real root.
    confinement.empty_root = None;
    let helper = <Helper>::spawn_ready("resolver", |child| {
        let words = map_page(page.as_fd())?;
        seal_against_others(page.as_fd())?;
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let top = rustix::fs::open("/", flags, Mode::empty())?;
        let confined = confinement.with(Duty::Resolving(Some(top.as_fd())));
        child.enter(c"tfd-resolver", &confined, &[wake.as_fd(), top.as_fd()])?;
        drop(top);
        child.ready()?;
        run(name, words, &wake)
    })?;
    Ok((Addresses::Shared { page, wake }, Some(helper.pid)))
}

/// Looks a name up repeatedly until the daemon ends.
fn run(name: &str, words: &[AtomicU64], wake: &OwnedFd) -> io::Result<()> {
    let mut failing = false;
    loop {
        let found: io::Result<Vec<IpAddr>> = (name, 0)
            .to_socket_addrs()
            .map(|all| all.map(|address| address.ip()).collect());
        let wait = match found {
            Ok(addresses) => {
                failing = false;
                publish(words, &addresses);
                GOOD_FOR
            }
            Err(e) => {
                if !failing {
                    log::warn!(name:%, error:% = e; "can't look up proxy_to");
                }
                failing = true;
                AGAIN
            }
        };
        std::thread::sleep(ACCEPT_BACKOFF);
        let wait = Timespec::try_from(wait).unwrap_or_default();
        let _ = poll(&mut [PollFd::new(wake, PollFlags::IN)], Some(&wait));
        let _ = rustix::io::read(wake, &mut [0; 8]);
    }
}

fn publish(words: &[AtomicU64], addresses: &[IpAddr]) {
    let addresses = &addresses[..addresses.len().min(MAX_ADDRESSES)];
    page::change(&words[CHANGES], || {
        for (at, address) in addresses.iter().enumerate() {
            let [high, low] = halves(address_to_bytes(*address));
            words[FIRST + 2 * at].store(high, Ordering::Relaxed);
            words[FIRST + 2 * at + 1].store(low, Ordering::Relaxed);
        }
        words[COUNT].store(addresses.len() as u64, Ordering::Relaxed);
    });
}

/// The addresses, as a relay reads them.
#[derive(Debug)]
pub(crate) enum Reader {
    /// This one.
    Fixed(IpAddr),
    /// Those on a page.
    Shared(ReadWords, OwnedFd),
}

impl Addresses {
    /// Prepares reading them.
    pub(crate) fn reader(&self) -> io::Result<Reader> {
        match self {
            Addresses::Fixed(address) => Ok(Reader::Fixed(*address)),
            Addresses::Shared { page, wake } => Ok(Reader::Shared(
                map_to_read(page.as_fd())?,
                wake.try_clone()?,
            )),
        }
    }
}

impl Reader {
    /// The current addresses; none if the name has none yet.
    pub(crate) fn now(&self) -> Vec<IpAddr> {
        match self {
            Reader::Fixed(address) => vec![*address],
            // An interrupted writer soon finishes; one that died is
            // replaced.
            Reader::Shared(words, _) => {
                let addresses = page::read(1000, || words.load(CHANGES), || read(*words));
                addresses.unwrap_or_default()
            }
        }
    }

    /// Waits for the first addresses.
    pub(crate) fn wait(&self, deadline: Instant) -> Vec<IpAddr> {
        loop {
            let addresses = self.now();
            let stop = STOP.load(Ordering::Relaxed) || Instant::now() >= deadline;
            if stop || !addresses.is_empty() {
                return addresses;
            }
            std::thread::sleep(LOOK_AGAIN);
        }
    }

    /// Asks for a new lookup, since no address answered.
    pub(crate) fn look_again(&self) {
        if let Reader::Shared(_, wake) = self {
            let _ = rustix::io::write(wake, &1u64.to_ne_bytes());
        }
    }

    /// The descriptor to keep open for that.
    pub(crate) fn handle(&self) -> Option<&OwnedFd> {
        match self {
            Reader::Fixed(_) => None,
            Reader::Shared(_, wake) => Some(wake),
        }
    }
}

/// The addresses on a page.
fn read(words: ReadWords) -> Vec<IpAddr> {
    let count = usize::try_from(words.load(COUNT)).unwrap_or(0);
    let address = |at: usize| {
        let (high, low) = (words.load(FIRST + 2 * at), words.load(FIRST + 2 * at + 1));
        address_from_bytes((u128::from(high) << 64 | u128::from(low)).to_be_bytes())
    };
    (0..count.min(MAX_ADDRESSES)).map(address).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_looked_up_is_read_whole_by_the_others() {
        let page = sealable_pages("test", 1).expect("page");
        let words = map_page(page.as_fd()).expect("words");
        let wake = eventfd(0, EventfdFlags::NONBLOCK).expect("eventfd");
        let reader = Addresses::Shared { page, wake }.reader().expect("reader");
        assert_eq!(reader.now(), [] as [IpAddr; 0]);
        for all in [&["192.0.2.1", "2001:db8::1"][..], &["2001:db8::2"], &[]] {
            let all: Vec<IpAddr> = all.iter().map(|a| a.parse().expect("address")).collect();
            publish(words, &all);
            assert_eq!(reader.now(), all);
        }
        publish(words, &[[127, 0, 0, 1].into(); 20]);
        assert_eq!(reader.now().len(), MAX_ADDRESSES);
        words[CHANGES].fetch_add(1, Ordering::Relaxed);
        assert_eq!(reader.now(), [] as [IpAddr; 0], "no half of a change");
    }
}
