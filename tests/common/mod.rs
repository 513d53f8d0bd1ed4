//! A tfd of its own for each test: real processes, real sockets, a real
//! directory. As root it serves as `nobody`, else as the user who runs the
//! tests.
#![allow(dead_code, reason = "each test binary uses its part")]

pub mod ca;
mod client;
pub mod disk;
pub mod flows;
mod keys;
pub mod namespaces;
pub mod pam;
mod processes;
pub mod schema;
mod server;
pub mod sockets;
pub mod tf;

use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::chown;
use std::path::Path;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::{Duration, Instant};

#[allow(unused_imports, reason = "each test binary uses its part")]
pub use self::{client::*, keys::*, processes::*, server::*};

pub const HASH: &str = "testhash";
pub const VERSION: &str = "0.0";

/// How long anything in a test may take, on a slow machine, too.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// What the tests make may be read by the users they serve, whatever the umask
/// of who runs them.
pub fn set_umask() {
    nix::sys::stat::umask(nix::sys::stat::Mode::from_bits_truncate(0o022));
}

/// Whether the tests run as root.
pub fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}

/// Waits until a condition holds.
#[track_caller]
pub fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < end, "waited in vain: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// A loopback address at which nothing else of this machine listens or comes
/// from: a port that was free there stays free.
pub fn own_address() -> Ipv4Addr {
    static COUNT: AtomicU8 = AtomicU8::new(0);
    let [.., high, low] = std::process::id().to_be_bytes();
    Ipv4Addr::new(
        127,
        100 + COUNT.fetch_add(1, Ordering::Relaxed) % 100,
        high,
        low.max(1),
    )
}

/// Whether this machine has IPv6 on its loopback interface; says so if not.
pub fn has_ipv6() -> bool {
    let has = TcpListener::bind("[::1]:0").is_ok();
    if !has {
        println!("left out: this machine has no IPv6");
    }
    has
}

/// Makes the server's user the owner of a path, when root runs the tests.
pub fn give_to_server(path: &Path) {
    if is_root() {
        let nobody = nix::unistd::User::from_name("nobody")
            .expect("users")
            .expect("nobody");
        chown(path, Some(nobody.uid.as_raw()), Some(nobody.gid.as_raw())).expect("chown");
    }
}
