//! How a session asks the UDP process for a server of the pool (TLB): with one
//! end of a channel, on which the answer comes back.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use rustix::net::sockopt::{Timeout, set_socket_timeout};

use crate::ipc::channel::{Channel, pair};
use crate::tf::env::Pool;

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(2);

/// The longest answer: `6 ` with an IPv6 address and a port.
const MAX_TUPLE: usize = 64;

/// What the UDP process receives from sessions.
#[derive(Debug)]
pub(crate) enum Asked {
    /// The channel for the answer.
    By(Channel),
    /// Not a question. A session taken over by an attacker may send anything.
    Nothing,
    /// All sessions have ended.
    Over,
}

/// Receives the next question.
pub(crate) fn hear(questions: &Channel) -> Asked {
    match questions.try_receive(&mut [0; 1]) {
        Ok((1.., handles)) => handles
            .into_iter()
            .next()
            .map_or(Asked::Nothing, |back| Asked::By(Channel::from_handle(back))),
        Ok((0, _)) if !questions.is_over() => Asked::Nothing,
        Err(e)
            if matches!(
                e.kind(),
                io::ErrorKind::WouldBlock | io::ErrorKind::InvalidData
            ) =>
        {
            Asked::Nothing
        }
        _ => Asked::Over,
    }
}

/// The pool, as a session sees it.
#[derive(Debug)]
pub struct AskPool(Channel);

impl AskPool {
    /// The pool behind the socket that sessions ask on.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_that_sends_nonsense_keeps_no_other_from_asking() {
        let (questions, sessions) = pair().expect("pair");
        let handle = sessions.as_fd();
        assert!(matches!(hear(&questions), Asked::Nothing));
        sessions.send(&[], &[]).expect("an empty message");
        sessions.send(&[0, 0], &[]).expect("a long message");
        sessions.send(&[0], &[]).expect("no way back");
        sessions.send(&[0], &[handle; 4]).expect("many descriptors");
        for _ in 0..3 {
            assert!(matches!(hear(&questions), Asked::Nothing));
        }
        assert!(matches!(hear(&questions), Asked::By(_)));
        let pool = AskPool::new(sessions.into_handle());
        let asking = std::thread::spawn(move || pool.tuple());
        let back = loop {
            match hear(&questions) {
                Asked::By(back) => break back,
                Asked::Nothing => std::thread::yield_now(),
                Asked::Over => panic!("somebody is left"),
            }
        };
        back.send(b"4 192.0.2.1;1", &[]).expect("answer");
        assert_eq!(
            asking.join().expect("thread").as_deref(),
            Some(&b"4 192.0.2.1;1"[..])
        );
        assert!(matches!(hear(&questions), Asked::Over));
    }
}
