//! Cancelling: another thread ends everything that waits for a server, by closing
//! the connections it waits on.

use std::collections::HashMap;
use std::net::{Shutdown, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use super::error::{ClientError, Result};

/// Ends the connections that were opened with it; clones share their state.
///
/// ```
/// use std::time::Duration;
/// use tfd::client::{Cancel, ClientError};
///
/// let cancel = Cancel::default();
/// let other = cancel.clone();
/// let waiting = std::thread::spawn(move || other.sleep(Duration::from_secs(60)));
/// cancel.cancel();
/// assert!(matches!(waiting.join(), Ok(Err(ClientError::Interrupted))));
/// ```
#[derive(Clone, Debug, Default)]
pub struct Cancel(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    cancelled: bool,
    next: u64,
    sockets: HashMap<u64, TcpStream>,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Cancel {
    /// Ends all connections; none can be opened until [`Cancel::renew`].
    pub fn cancel(&self) {
        let mut state = self.0.lock();
        state.cancelled = true;
        for socket in state.sockets.values() {
            // It may be closed already.
            let _ = socket.shutdown(Shutdown::Both);
        }
        self.0.changed.notify_all();
    }

    /// Whether it was cancelled.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.0.lock().cancelled
    }

    /// Allows connections again.
    pub fn renew(&self) {
        self.0.lock().cancelled = false;
    }

    /// Waits, as before another attempt.
    ///
    /// # Errors
    /// `Interrupted`, as soon as it is cancelled.
    pub fn sleep(&self, time: Duration) -> Result<()> {
        let state = self.0.lock();
        let waited = self
            .0
            .changed
            .wait_timeout_while(state, time, |state| !state.cancelled);
        match waited.unwrap_or_else(PoisonError::into_inner).0.cancelled {
            true => Err(ClientError::Interrupted),
            false => Ok(()),
        }
    }

    /// Registers a connection, to be ended with the others.
    ///
    /// # Errors
    /// `Interrupted` when it is cancelled already.
    pub(super) fn follow(&self, socket: &TcpStream) -> Result<Ticket> {
        let mut state = self.0.lock();
        if state.cancelled {
            return Err(ClientError::Interrupted);
        }
        let socket = socket
            .try_clone()
            .map_err(|e| ClientError::Lost(e.into()))?;
        let number = state.next;
        state.next += 1;
        state.sockets.insert(number, socket);
        Ok(Ticket {
            of: Arc::downgrade(&self.0),
            number,
        })
    }
}

/// A connection's place among those that are ended. Dropped with it.
pub(super) struct Ticket {
    of: Weak<Shared>,
    number: u64,
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if let Some(of) = self.of.upgrade() {
            of.lock().sockets.remove(&self.number);
        }
    }
}
