//! The file that keeps who is blocked: whatever it holds, failures go on to
//! count, and what is written is read back.

use std::fs::File;
use std::io::{Seek, Write};
use std::time::Duration;

use rustix::fs::{MemfdFlags, memfd_create};
use tfd::users::throttle::{Limits, Throttle};

const LIMITS: Limits = Limits {
    failures: 2,
    block: Duration::from_secs(60),
};
const NOW: u64 = 1_800_000_000;

/// Takes one input.
pub fn run(data: &[u8]) {
    let mut file = File::from(memfd_create("blocked", MemfdFlags::CLOEXEC).expect("file"));
    file.write_all(data).expect("write");
    file.rewind().expect("seek");
    let address = "192.0.2.1".parse().expect("address");
    let mut throttle = Throttle::new(LIMITS, Some(file.try_clone().expect("handle")));
    for _ in 0..LIMITS.failures {
        throttle.failed(address, "ann", NOW).expect("written");
    }
    let blocked = throttle.login_blocked("ann", address, NOW);
    assert!(blocked.is_some());
    file.rewind().expect("seek");
    let mut again = Throttle::new(LIMITS, Some(file));
    assert_eq!(again.login_blocked("ann", address, NOW), blocked);
    again.succeeded(address, "ann", NOW).expect("written");
    assert_eq!(again.login_blocked("ann", address, NOW), None);
}
