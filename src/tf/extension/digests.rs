//! Digests of the long files that a session has just stored or sent: SHA256 answers
//! from them while the file is the same. A client asks for them (TFD_FEATURES);
//! for others nothing is made. A change that another makes to a file while it is
//! being written in place is not seen; any later one is.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::os::fd::BorrowedFd;

use crate::store::read::digest::{Follower, Passing, State};

/// The most files; each may have a thread for a while.
const MOST: usize = 8;

/// The digests of a session.
#[derive(Debug, Default)]
pub struct Digests(RefCell<Option<VecDeque<(State, Follower)>>>);

impl Digests {
    /// Makes them from now on.
    pub(super) fn turn_on(&self) {
        self.0.borrow_mut().get_or_insert_default();
    }

    /// Whether they are made.
    pub fn is_on(&self) -> bool {
        self.0.borrow().is_some()
    }

    /// What a file that is about to be written or read from its beginning needs for
    /// its digest; `None` if that is not wanted.
    pub fn begin(&self, file: BorrowedFd<'_>) -> Option<Passing> {
        let passing = self.is_on().then(|| Passing::of_long(file));
        passing.and_then(Result::ok)
    }

    /// Keeps the digest of a file that has been written.
    pub fn keep_written(&self, passing: Option<Passing>) {
        self.keep(passing.and_then(Passing::written));
    }

    /// Keeps the digest of a file that has been read.
    pub fn keep_read(&self, passing: Option<Passing>) {
        self.keep(passing.and_then(Passing::read));
    }

    fn keep(&self, made: Option<(State, Follower)>) {
        if let (Some(kept), Some(made)) = (self.0.borrow_mut().as_mut(), made) {
            if kept.len() == MOST {
                kept.pop_front();
            }
            kept.push_back(made);
        }
    }

    /// The digest of an open file, if it is known; waits for one that is being made.
    pub fn of(&self, file: BorrowedFd<'_>) -> Option<[u8; 32]> {
        let now = State::of(file).ok()?;
        let kept = self.0.borrow();
        let (_, follower) = kept
            .iter()
            .flatten()
            .rev()
            .find(|(state, _)| *state == now)?;
        let digest = follower.wait().ok()?;
        // It may have changed while the rest was read.
        (State::of(file) == Ok(now)).then_some(digest)
    }
}
