//! Standard input and output: what can't be read twice, sent or received as
//! one file.

use std::io::{Read, Write};
use std::path::Path;

use sha2::{Digest, Sha256};

use super::run::Run;
use super::{Summary, Transfers};
use crate::client::error::{ClientError, Result};
use crate::client::observe::Event;

impl Transfers<'_> {
    /// Sends a reader's bytes as a file. They can't be read twice, so a lost
    /// connection ends it; the old file is untouched then.
    ///
    /// # Errors
    /// The server's refusal, a local failure, `Mismatch`, or the connection
    /// is lost.
    pub fn put_from(&self, reader: &mut dyn Read, remote: &str) -> Result<Summary> {
        let run = Run::new(self.access, self.options, self.observer);
        let id = run.id(remote.into());
        let mut connection = match self.open.take() {
            Some(connection) => connection,
            None => self.access.open()?,
        };
        if let Some(pace) = &run.pace {
            connection.wire().share_rate(pace.clone());
        }
        run.tell(&Event::Planned { files: 1, bytes: 0 });
        let mut size = 0;
        connection.upload(
            Path::new("standard input"),
            reader,
            remote,
            &mut |position| {
                size = position;
                run.at(&id, position);
            },
        )?;
        run.done(&id, size);
        connection.wire().limit_rate(None);
        self.open.replace(Some(connection));
        Ok(run.into_summary())
    }

    /// Receives a file into a writer. When the connection is lost it goes on
    /// where it was; the digest of the whole is compared at the end.
    ///
    /// # Errors
    /// The server's refusal, a local failure, `Mismatch`, or the connection
    /// is lost for good; what was written stays written.
    pub fn get_to(&self, remote: &str, writer: &mut dyn Write) -> Result<Summary> {
        let run = Run::new(self.access, self.options, self.observer);
        let id = run.id(remote.into());
        let mut lines = self.lines(&run);
        let mut digest = Sha256::new();
        let mut position = 0;
        lines[0].steadily(|connection, moved| {
            connection.get_frames(remote.as_bytes(), position, run.frame(), &mut |data| {
                run.go_on()?;
                writer
                    .write_all(&data)
                    .map_err(|e| ClientError::local(Path::new("standard output"), e))?;
                digest.update(&data);
                position += data.len() as u64;
                moved.fetch_add(data.len() as u64, std::sync::atomic::Ordering::Relaxed);
                run.at(&id, position);
                Ok(data)
            })
        })?;
        lines[0].steadily(|connection, _| {
            super::pump::compare(&run, connection, remote.as_bytes(), digest.clone(), None)
        })?;
        run.done(&id, position);
        self.end(lines);
        Ok(run.into_summary())
    }
}
