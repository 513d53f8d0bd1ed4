//! A copy on the server that takes the place of another file.

use std::io;
use std::path::Path;

use super::connect::Connection;
use super::error::{ClientError, Result};

impl Connection {
    /// Copies a file on the server over another one: beside it first, and
    /// renamed when it is whole, so that readers see the old file or the new.
    ///
    /// # Errors
    /// The server's refusal, `NoWord`, or the connection is lost. The old file
    /// is untouched then.
    pub fn copy_over(&mut self, from: &str, to: &str) -> Result<()> {
        let mut random = [0; 8];
        getrandom::fill(&mut random)
            .map_err(|e| ClientError::local(Path::new("random bytes"), io::Error::other(e)))?;
        let directory = to.rfind('/').map_or("", |at| &to[..=at]);
        let beside = format!("{directory}.tf-{:016x}.copy", u64::from_ne_bytes(random));
        self.copy(from, &beside)?;
        let renamed = self.rename(&beside, to);
        if renamed.as_ref().is_err_and(|e| e.status().is_some()) {
            let _ = self.delete(&beside);
        }
        renamed
    }
}
