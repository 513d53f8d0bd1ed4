//! Standard output beside transfers: they go on when nobody takes it, and
//! what kept it from being written is told when they have ended.

use std::io::{self, ErrorKind, Write};
use std::sync::{Mutex, PoisonError};

/// Standard output, a line at a time.
#[derive(Default)]
pub(super) struct Out {
    failed: Mutex<Option<io::Error>>,
}

impl Out {
    /// Writes a line, whose end is at its end.
    pub(super) fn line(&self, line: &[u8]) {
        match io::stdout().lock().write_all(line) {
            // The reader has seen enough.
            Err(e) if e.kind() != ErrorKind::BrokenPipe => {
                self.failed
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .get_or_insert(e);
            }
            _ => {}
        }
    }

    /// Why a line could not be written, if one could not.
    pub(super) fn failure(&self) -> Option<io::Error> {
        self.failed
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take()
    }
}
