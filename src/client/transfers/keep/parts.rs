//! A part on the server while its file arrives: made for its owner alone, and given
//! its mode at the end. And a small file that needs no part.

use sha2::{Digest, Sha256};

use super::{NARROW, is_private};
use crate::client::connect::Connection;
use crate::client::error::Result;
use crate::client::extension::{Attributes, set_request, store_request};
use crate::client::observe::Note;
use crate::client::transfer::Source;
use crate::client::transfers::requests::{can_change_mode, change_mode, done, request};
use crate::tf::wire::message_header;

/// Bytes sent at once by one request for a file.
const PIECE: usize = 256 * 1024;

impl Connection {
    /// Makes an empty part that only its owner reads, for a file of this mode. What
    /// is wrong with the place, the first request that writes will report.
    pub(in crate::client::transfers) fn make_narrow(
        &mut self,
        part: &[u8],
        mode: u32,
    ) -> Result<()> {
        let features = self.features()?;
        if features.store {
            return match self.store(&NARROW, part, &mut |_| Ok(0)) {
                Err(e) if e.status().is_none() => Err(e),
                _ => Ok(()),
            };
        }
        if is_private(mode, false) && (features.set || can_change_mode(part)) {
            let narrow = match features.set {
                true => set_request(&NARROW, part),
                false => change_mode(part, 0o600),
            };
            self.ask_all(&[request("TOUCH", part), narrow])?;
        }
        Ok(())
    }

    /// Gives a part its mode; the loss, if that is refused or has no word.
    pub(in crate::client::transfers) fn set_mode_of_part(
        &mut self,
        part: &[u8],
        mode: u32,
    ) -> Result<Option<Note>> {
        let wanted = Attributes {
            mode: Some(mode),
            ..Attributes::default()
        };
        let asked = match self.features()?.set {
            true => set_request(&wanted, part),
            false if can_change_mode(part) => change_mode(part, mode),
            false => return Ok(Some(Note::ModeNotKept)),
        };
        let replies = self.ask_all(std::slice::from_ref(&asked))?;
        let is_set = replies
            .first()
            .is_some_and(|reply| done(&asked, reply).is_ok());
        Ok((!is_set).then_some(Note::ModeRefused))
    }

    /// Sends what `source` gives as a file with these attributes by one request, which
    /// the server refuses or carries out as a whole. An append-only account may make
    /// new files by it.
    pub(in crate::client::transfers) fn store(
        &mut self,
        attributes: &Attributes,
        path: &[u8],
        source: Source<'_>,
    ) -> Result<()> {
        let words: &[&str] = if self.features()?.append_only {
            &["new"]
        } else {
            &[]
        };
        self.wire()
            .write_message_later(&store_request(attributes, words, path));
        let mut buffer = vec![0; PIECE];
        let (mut digest, mut failed) = (Sha256::new(), None);
        // A refusal may come before the end.
        let is_whole = loop {
            if self.wire().has_input() {
                break false;
            }
            let len = match source(&mut buffer) {
                Ok(0) => break true,
                Ok(len) => len,
                Err(e) => {
                    failed = Some(e);
                    break false;
                }
            };
            digest.update(&buffer[..len]);
            self.wire().hold_unit(&message_header(len));
            self.wire().hold_unit(&buffer[..len]);
            self.wire().flush()?;
        };
        if is_whole {
            self.wire().hold_unit(&0_i32.to_be_bytes());
            self.wire().hold_unit(&digest.finalize());
        } else {
            self.wire().hold_unit(&(-1_i32).to_be_bytes());
        }
        self.wire().flush()?;
        let mut reply = Vec::new();
        self.wire().read_message(&mut reply)?;
        match failed {
            Some(e) => Err(e),
            None => done(&request("TFD_STORE", path), &reply),
        }
    }
}
