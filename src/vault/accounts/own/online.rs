//! The sessions of the own dialect that are connected: who has to know that something
//! has changed, and whose device or account is gone. Nobody is waited for: a session
//! that has not read one piece of news gets no other.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::Answer;
use crate::vault::accounts::{self, Asked};
use crate::vault::own::message::{Id, Over};

/// The sessions, by account and number.
#[derive(Default)]
pub struct Online(Mutex<HashMap<i64, HashMap<u64, Session>>>);

struct Session {
    device: Id,
    channel: Arc<Asked>,
    /// Whether it waits for news, which it gets once.
    listens: bool,
}

impl Online {
    fn all(&self) -> MutexGuard<'_, HashMap<i64, HashMap<u64, Session>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a session in; its number.
    pub fn add(&self, account: i64, device: Id, channel: &Arc<Asked>) -> u64 {
        let mut all = self.all();
        let sessions = all.entry(account).or_default();
        let number = sessions.keys().max().map_or(0, |last| last + 1);
        let session = Session {
            device,
            channel: Arc::clone(channel),
            listens: false,
        };
        sessions.insert(number, session);
        number
    }

    /// Forgets a session.
    pub fn remove(&self, account: i64, number: u64) {
        let mut all = self.all();
        if let Some(sessions) = all.get_mut(&account) {
            sessions.remove(&number);
        }
        all.retain(|_, sessions| !sessions.is_empty());
    }

    /// Lets a session have the next news.
    pub fn listen(&self, account: i64, number: u64) {
        let mut all = self.all();
        let sessions = all.get_mut(&account);
        if let Some(session) = sessions.and_then(|sessions| sessions.get_mut(&number)) {
            session.listens = true;
        }
    }

    /// Passes on that one session of an account has changed something.
    pub fn changed(&self, account: i64, by: u64) {
        let mut all = self.all();
        for (number, session) in all.entry(account).or_default() {
            if *number != by && std::mem::take(&mut session.listens) {
                session.send(Answer::Changed);
            }
        }
    }

    /// Ends the sessions of an account, of one device or of all.
    pub fn end(&self, account: i64, device: Option<&Id>, why: Over) {
        let all = self.all();
        let sessions = all.get(&account).into_iter().flatten();
        for (_, session) in sessions {
            if device.is_none_or(|device| session.device == *device) {
                session.send(Answer::Over(why));
            }
        }
    }

    /// Ends all sessions of all accounts.
    pub fn end_all(&self, why: Over) {
        let all = self.all();
        let sessions = all.values().flat_map(HashMap::values);
        sessions.for_each(|session| session.send(Answer::Over(why)));
    }

    /// Whether a device has a session.
    pub fn has(&self, account: i64, device: &Id) -> bool {
        let all = self.all();
        let mut sessions = all.get(&account).into_iter().flatten();
        sessions.any(|(_, session)| session.device == *device)
    }
}

impl Session {
    /// One whose queue is full is hostile, and gets none.
    fn send(&self, answer: Answer) {
        let _ = self.channel.try_send(&accounts::Answer::Own(answer));
    }
}
