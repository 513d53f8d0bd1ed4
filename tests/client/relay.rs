//! A link between client and server that is slow, far and breaks: a relay of
//! TCP connections.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::common::wait_until;

/// What a link does to the bytes of each connection.
#[derive(Clone, Copy, Default)]
pub(crate) struct Link {
    /// How long a byte is on its way.
    pub(crate) delay: Duration,
    /// Bytes a second each way; 0 for no limit.
    pub(crate) rate: u64,
}

/// How many bytes a connection lives for; asked for each anew.
type Lives = Box<dyn FnMut() -> Option<u64> + Send>;

/// A link to one server. It ends with the process.
pub(crate) struct Relay {
    pub(crate) address: SocketAddr,
    connections: Arc<AtomicU64>,
    rate: Arc<AtomicU64>,
    trips: Arc<Trips>,
}

/// Round trips: how often the client went on when it had been answered.
#[derive(Default)]
struct Trips(Mutex<Turns>);

#[derive(Default)]
struct Turns {
    is_clients: bool,
    count: u64,
    /// Connections that the client has closed.
    closed: u64,
}

impl Trips {
    fn lock(&self) -> MutexGuard<'_, Turns> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes bytes that came from one side; none at its end.
    fn came(&self, by_client: bool, bytes: usize) {
        let mut turns = self.lock();
        if bytes > 0 {
            turns.count += u64::from(by_client && !turns.is_clients);
            turns.is_clients = by_client;
        } else if by_client {
            turns.closed += 1;
        }
    }
}

impl Relay {
    /// A link on which each connection is cut, in both directions, once it has
    /// moved as many bytes as `lives` says then.
    pub(crate) fn start(server: SocketAddr, link: Link, lives: Lives) -> Relay {
        let listener = TcpListener::bind("127.0.0.1:0").expect("listen");
        let address = listener.local_addr().expect("address");
        let connections = Arc::new(AtomicU64::new(0));
        let rate = Arc::new(AtomicU64::new(link.rate));
        let trips = Arc::new(Trips::default());
        let (count, rated) = (Arc::clone(&connections), Arc::clone(&rate));
        let counted = Arc::clone(&trips);
        let lives = Mutex::new(lives);
        std::thread::spawn(move || {
            for near in listener.incoming() {
                let near = near.expect("accept");
                let Ok(far) = TcpStream::connect(server) else {
                    continue;
                };
                count.fetch_add(1, Ordering::Relaxed);
                let left = (lives.lock().expect("lives"))();
                relay(near, far, link.delay, (&rated, &counted), left);
            }
        });
        Relay {
            address,
            connections,
            rate,
            trips,
        }
    }

    /// How many round trips there were since this was last asked, once the
    /// client has closed all connections.
    pub(crate) fn trips(&self) -> u64 {
        wait_until("the client's end", || {
            self.trips.lock().closed == self.connections()
        });
        let mut turns = self.trips.lock();
        turns.is_clients = false;
        std::mem::take(&mut turns.count)
    }

    /// Has bytes move at another rate from now on; 0 for no limit.
    pub(crate) fn set_rate(&self, rate: u64) {
        self.rate.store(rate, Ordering::Relaxed);
    }

    /// How many connections there have been.
    pub(crate) fn connections(&self) -> u64 {
        self.connections.load(Ordering::Relaxed)
    }
}

fn relay(
    near: TcpStream,
    far: TcpStream,
    delay: Duration,
    (rate, trips): (&Arc<AtomicU64>, &Arc<Trips>),
    lives: Option<u64>,
) {
    let left = lives.map(|lives| Arc::new(AtomicU64::new(lives)));
    for (from, to, by_client) in [(&near, &far, true), (&far, &near, false)] {
        from.set_nodelay(true).expect("option");
        let (read, write) = (
            from.try_clone().expect("clone"),
            to.try_clone().expect("clone"),
        );
        let (left, rate, trips) = (left.clone(), Arc::clone(rate), Arc::clone(trips));
        let note = move |bytes| trips.came(by_client, bytes);
        // As many bytes as are on their way, and some more.
        let (bytes, arriving) = sync_channel(256);
        std::thread::spawn(move || take((read, &note), delay, &rate, left.as_deref(), &bytes));
        std::thread::spawn(move || give(write, &arriving));
    }
}

/// Bytes, and when they arrive; `None` for a cut.
type Arrival = Option<(Instant, Vec<u8>)>;

fn take(
    (mut from, note): (TcpStream, &dyn Fn(usize)),
    delay: Duration,
    rate: &AtomicU64,
    left: Option<&AtomicU64>,
    to: &SyncSender<Arrival>,
) {
    let mut buffer = vec![0; 16 * 1024];
    let mut free = Instant::now();
    loop {
        let len = from.read(&mut buffer).unwrap_or(0);
        note(len);
        if len == 0 {
            return;
        }
        let now = Instant::now();
        let rate = rate.load(Ordering::Relaxed);
        if let Some(microseconds) = (len as u64 * 1_000_000).checked_div(rate) {
            free = free.max(now) + Duration::from_micros(microseconds);
            std::thread::sleep(free.saturating_duration_since(now));
        }
        let cut = left.is_some_and(|left| {
            let spent = |left: u64| Some(left.saturating_sub(len as u64));
            left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, spent) <= Ok(len as u64)
        });
        if cut {
            let _ = to.send(None);
            let _ = from.shutdown(Shutdown::Both);
            return;
        }
        let at = free.max(now) + delay;
        if to.send(Some((at, buffer[..len].to_vec()))).is_err() {
            return;
        }
    }
}

fn give(mut to: TcpStream, arriving: &Receiver<Arrival>) {
    while let Ok(Some((at, bytes))) = arriving.recv() {
        std::thread::sleep(at.saturating_duration_since(Instant::now()));
        if to.write_all(&bytes).is_err() {
            return;
        }
    }
    let _ = to.shutdown(Shutdown::Both);
}
