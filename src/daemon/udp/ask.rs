//! How a session asks the UDP process for a server of the pool (TLB): with one
//! end of a channel, on which the answer comes back.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use rustix::net::sockopt::{Timeout, set_socket_timeout};

use crate::daemon::channel::{Channel, pair};
use crate::tf::env::Pool;

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(2);

/// The longest answer: `6 ` with an IPv6 address and a port.
const MAX_TUPLE: usize = 64;

/// The pool, as a session sees it.
#[derive(Debug)]
pub struct AskPool(Channel);

impl AskPool {
    /// The pool behind the socket that sessions ask on.
    #[must_use]
    pub fn new(questions: OwnedFd) -> AskPool {
        AskPool(Channel::from_handle(questions))
    }

    fn ask(&self) -> io::Result<Vec<u8>> {
        let (ours, theirs) = pair()?;
        set_socket_timeout(&ours, Timeout::Recv, Some(PATIENCE))?;
        self.0.send(&[0], &[theirs.as_fd()])?;
        drop(theirs);
        let mut tuple = vec![0; MAX_TUPLE];
        let (len, _) = ours.receive(&mut tuple)?;
        tuple.truncate(len);
        Ok(tuple)
    }
}

impl Pool for AskPool {
    fn tuple(&self) -> Option<Vec<u8>> {
        self.ask().ok().filter(|tuple| !tuple.is_empty())
    }
}
