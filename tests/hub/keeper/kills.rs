//! Kills in the middle of a file that goes from keeper to keeper: it arrives afterwards,
//! once, and nothing is left of what was cut.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::Duration;

use nix::sys::signal::Signal;

use super::circle::{Circle, circle, leave};
use super::crash::kill_all;
use super::*;

/// The bytes of a file, and after how many of them a connection stands still.
const FILE: usize = 3_000_000;
const STOP: usize = 2_000_000;

/// A way to a keeper on which the first connection stands still half-way.
struct Way {
    port: u16,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    to: OnceLock<SocketAddr>,
    passed: AtomicUsize,
    stands: AtomicBool,
    is_free: AtomicBool,
}

impl Way {
    fn new() -> Way {
        let listener = TcpListener::bind("127.0.0.1:0").expect("listen");
        let port = listener.local_addr().expect("address").port();
        let shared = Arc::new(Shared::default());
        let others = Arc::clone(&shared);
        thread::spawn(move || {
            for (number, near) in listener.incoming().enumerate() {
                let near = near.expect("a connection");
                let to = others.to.get().expect("a keeper");
                let far = TcpStream::connect(to).expect("connect");
                for (from, to) in [(&near, &far), (&far, &near)] {
                    let (from, to) = (from.try_clone(), to.try_clone());
                    let (from, to) = (from.expect("clone"), to.expect("clone"));
                    let shared = (number == 0).then(|| Arc::clone(&others));
                    thread::spawn(move || pass_on(from, to, shared.as_deref()));
                }
            }
        });
        Way { port, shared }
    }

    /// A keeper that others find by this way.
    fn keeper(&self) -> Different {
        Different {
            lines: format!("public_port = {}", self.port),
            ..Different::default()
        }
    }

    fn lead_to(&self, keeper: &Keeper) {
        let is_first = self.shared.to.set(keeper.address()).is_ok();
        assert!(is_first);
    }

    fn wait_until_it_stands(&self) {
        wait_until("a file is half-way", || {
            self.shared.stands.load(Ordering::SeqCst)
        });
    }

    fn free(&self) {
        self.shared.is_free.store(true, Ordering::SeqCst);
    }
}

impl Drop for Way {
    fn drop(&mut self) {
        self.free();
    }
}

fn pass_on(mut from: TcpStream, mut to: TcpStream, shared: Option<&Shared>) {
    let mut piece = [0; 16384];
    while let Ok(len) = from.read(&mut piece)
        && len > 0
        && to.write_all(&piece[..len]).is_ok()
    {
        let Some(shared) = shared else { continue };
        if shared.passed.fetch_add(len, Ordering::SeqCst) + len >= STOP {
            shared.stands.store(true, Ordering::SeqCst);
            while !shared.is_free.load(Ordering::SeqCst) {
                thread::sleep(Duration::from_millis(5));
            }
        }
    }
    // Either may be closed already.
    let _ = from.shutdown(Shutdown::Both);
    let _ = to.shutdown(Shutdown::Both);
}

/// Bob leaves, and its one file goes to dave's: it stands half-way.
fn sending() -> Option<(Circle, Way, Vec<u8>)> {
    let mut circle = circle("", &["bob"])?;
    let content = content(1, FILE);
    circle.store(std::slice::from_ref(&content), 1);
    let way = Way::new();
    circle.join_as("dave", &way.keeper());
    way.lead_to(circle.at("dave"));
    leave(circle.at("bob"));
    way.wait_until_it_stands();
    Some((circle, way, content))
}

/// Bob's disk is a new one, and its one file comes from carol's: it stands half-way.
fn fetching() -> Option<(Circle, Way, Vec<u8>)> {
    let mut circle = circle("", &["bob"])?;
    let content = content(1, FILE);
    let way = Way::new();
    circle.join_as("carol", &way.keeper());
    way.lead_to(circle.at("carol"));
    circle.store(std::slice::from_ref(&content), 2);
    let bob = circle.at("bob");
    bob.server.signal(Signal::SIGTERM);
    bob.server.wait_for_end();
    fs::remove_dir_all(&bob.kept).expect("removed");
    bob.server.start_again();
    way.wait_until_it_stands();
    Some((circle, way, content))
}

/// How many files a keeper has, of any owner, and parts of files.
fn count(keeper: &Keeper) -> (u32, usize) {
    let db = rusqlite::Connection::open(keeper.store().join("stock.db")).expect("database");
    let text = "SELECT count(*) FROM file WHERE until IS NULL";
    let rows: u32 = db.query_row(text, [], |row| row.get(0)).expect("rows");
    let parts = fs::read_dir(keeper.files().join("part")).expect("parts");
    (rows, parts.count())
}

/// Waits until these keepers alone have the file, once and whole.
#[track_caller]
fn arrives(circle: &mut Circle, content: &[u8], names: &[&str], at: &str) {
    circle.wait_for_copies(content, names);
    assert_eq!(count(circle.at(at)), (1, 0), "files and parts of {at}");
}

#[test]
fn a_file_arrives_though_the_process_that_sends_it_is_killed() {
    let Some((mut circle, _way, content)) = sending() else {
        return;
    };
    kill_all(&circle.at("bob").server, "tfd-carrier");
    arrives(&mut circle, &content, &["dave"], "dave");
}

#[test]
fn a_file_arrives_though_the_stock_that_sends_it_is_killed() {
    let Some((mut circle, _way, content)) = sending() else {
        return;
    };
    kill_all(&circle.at("bob").server, "tfd-stock");
    arrives(&mut circle, &content, &["dave"], "dave");
}

#[test]
fn a_file_arrives_though_the_stock_that_takes_it_is_killed() {
    let Some((mut circle, way, content)) = sending() else {
        return;
    };
    kill_all(&circle.at("dave").server, "tfd-stock");
    way.free();
    arrives(&mut circle, &content, &["dave"], "dave");
}

#[test]
fn a_lost_file_comes_back_though_the_process_that_fetches_it_is_killed() {
    let Some((mut circle, _way, content)) = fetching() else {
        return;
    };
    kill_all(&circle.at("bob").server, "tfd-carrier");
    arrives(&mut circle, &content, &["bob", "carol"], "bob");
}

#[test]
fn a_lost_file_comes_back_though_the_stock_that_fetches_it_is_killed() {
    let Some((mut circle, _way, content)) = fetching() else {
        return;
    };
    kill_all(&circle.at("bob").server, "tfd-stock");
    arrives(&mut circle, &content, &["bob", "carol"], "bob");
}
