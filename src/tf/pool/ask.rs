//! How a session asks the UDP process for a server of the pool (TLB), over a
//! channel of its own.

use std::cell::Cell;
use std::io;
use std::time::{Duration, Instant};

use crate::ipc::codec::codec;
use crate::ipc::poll::left;
use crate::ipc::{Pipe, Poll};
use crate::tf::env::Pool;
use crate::tf::pool::file::Server;

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(2);

/// A session asks for a server. The answer has its number.
#[derive(Debug)]
pub(crate) struct Question {
    pub(crate) id: u32,
}

/// The server that is next, if one is alive.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) id: u32,
    pub(crate) server: Option<Server>,
}

codec!(struct Question { id });
codec!(struct Answer { id, server });

/// The UDP process's end of a session's channel.
pub(crate) type Caller = Pipe<Answer, Question>;

/// The pool, as a session sees it.
#[derive(Debug)]
pub(crate) struct AskPool {
    channel: Pipe<Question, Answer>,
    next: Cell<u32>,
}

impl AskPool {
    /// The pool at the other end of a channel.
    pub(crate) fn new(channel: Pipe<Question, Answer>) -> AskPool {
        let next = Cell::default();
        AskPool { channel, next }
    }

    fn ask(&self) -> io::Result<Option<Server>> {
        let id = self.next.get();
        self.next.set(id.wrapping_add(1));
        self.channel.try_send(&Question { id })?;
        let end = Instant::now() + PATIENCE;
        while !left(end).is_zero() {
            let mut poll = Poll::default();
            poll.read((), &self.channel);
            if poll.wait(Some(left(end)))?.is_empty() {
                continue;
            }
            let answer = self.channel.try_receive()?;
            match answer.ok_or(io::ErrorKind::UnexpectedEof)? {
                Answer { id: of, server } if of == id => return Ok(server),
                // To a question whose time was up.
                _ => {}
            }
        }
        Err(io::ErrorKind::TimedOut.into())
    }
}

impl Pool for AskPool {
    fn tuple(&self) -> Option<Vec<u8>> {
        let server = self.ask().ok().flatten();
        server.map(|server| server.tuple().into_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ipc::pipe::pair;

    #[test]
    fn an_answer_that_comes_late_is_not_taken_for_another() {
        let (ours, theirs) = pair::<Question, Answer>().expect("pair");
        let pool = AskPool::new(ours);
        let server = |last| Server {
            address: ([192, 0, 2, last], 1).into(),
            weight: 1,
            priority: 0,
        };
        for (id, server) in [(9, Some(server(9))), (0, Some(server(1))), (1, None)] {
            theirs.send(&Answer { id, server }).expect("send");
        }
        assert_eq!(pool.tuple().as_deref(), Some(&b"4 192.0.2.1;1"[..]));
        assert_eq!(pool.tuple(), None);
        drop(theirs);
        assert_eq!(pool.tuple(), None);
    }
}
