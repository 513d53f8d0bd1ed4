//! Files on their way from the server, small ones: requests for their bytes
//! (SDOWN) and digests (SHA256) go out ahead of the answers. What is not
//! sound never reaches the disk.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use openssl::sha::sha256;

use super::download_alone::receive_alone;
use super::line::Line;
use super::local::Target;
use super::queue::{Item, Queue};
use super::requests::{digest_of, request};
use super::run::{Id, Run};
use super::writer::{Arrived, Writer};
use crate::client::connect::Connection;
use crate::client::error::Result;
use crate::client::observe::Event;
use crate::tf::wire::{MAX_MESSAGE, WireError};

/// The most files on their way over one connection.
const ON_THE_WAY: usize = 512;

/// A file that turns out longer goes alone.
const TOO_LONG: usize = 16 * 1024 * 1024;

/// Files longer than this are told of while they come.
const TOLD: usize = 64 * 1024;

/// A remote file, by its `id`, and where it goes.
pub(super) struct Download {
    pub(super) id: Id,
    pub(super) target: Arc<Target>,
    /// Its path in the target.
    pub(super) relative: Vec<u8>,
    pub(super) size: u64,
    /// In seconds since the epoch.
    pub(super) modified: i64,
}

impl Download {
    /// What makes the name of its part.
    pub(super) fn way(&self) -> [&[u8]; 2] {
        [&self.id.name, &self.relative]
    }
}

impl Item for Download {
    const IN_TWO: bool = false;

    fn id(&self) -> &Id {
        &self.id
    }

    fn size(&self) -> u64 {
        self.size
    }

    fn move_small(run: &Run<'_>, queue: &Queue<Download>, line: &mut Line<'_>) -> Result<()> {
        let (writer, inbox) = Writer::new();
        std::thread::scope(|scope| {
            scope.spawn(move || inbox.write_all(run));
            // The writer ends, and with it the thread, when this returns.
            let writer = writer;
            line.steadily(|connection, moved| {
                let due = VecDeque::new();
                let mut pipeline = Pipeline {
                    run,
                    queue,
                    connection,
                    moved,
                    writer: &writer,
                    due,
                };
                let done = pipeline.go();
                queue.give_back(pipeline.due.into_iter());
                done
            })
        })
    }

    fn move_alone(&self, run: &Run<'_>, line: &mut Line<'_>) -> Result<()> {
        receive_alone(run, self, line)
    }
}

struct Pipeline<'p> {
    run: &'p Run<'p>,
    queue: &'p Queue<Download>,
    connection: &'p mut Connection,
    moved: &'p AtomicU64,
    writer: &'p Writer,
    /// Files whose answers will come, in order.
    due: VecDeque<Download>,
}

impl Pipeline<'_> {
    /// Asks for files until there are none, and takes all answers.
    fn go(&mut self) -> Result<()> {
        loop {
            self.run.go_on()?;
            if self.due.len() <= ON_THE_WAY / 2 {
                self.fill();
            }
            if self.due.is_empty() {
                return Ok(());
            }
            if self.connection.reply_is_due(true)? {
                self.take_file()?;
            }
        }
    }

    fn fill(&mut self) {
        while self.due.len() < ON_THE_WAY {
            let Some(item) = self.queue.take_small() else {
                return;
            };
            let wire = self.connection.wire();
            wire.write_message_later(&request("SDOWN", &item.id.name));
            if self.run.options.verify {
                wire.write_message_later(&request("SHA256", &item.id.name));
            }
            self.due.push_back(item);
        }
    }

    /// Takes the bytes of one file and its digest.
    fn take_file(&mut self) -> Result<()> {
        let data = self.take_data()?;
        let digest = match self.run.options.verify {
            true => Some(self.take_digest()?),
            false => None,
        };
        let Some(item) = self.due.pop_front() else {
            return Ok(());
        };
        match data {
            Some(data) if digest.is_none_or(|digest| digest == Some(sha256(&data))) => {
                self.moved.fetch_add(1, Ordering::Relaxed);
                self.writer.write(Arrived { item, data });
            }
            // What is wrong is told where it goes alone.
            _ => self.queue.set_alone(item),
        }
        Ok(())
    }

    fn take_data(&mut self) -> Result<Option<Vec<u8>>> {
        let mut data = Vec::new();
        loop {
            let header = self.connection.wire().read_i32()?;
            let len = match usize::try_from(header) {
                Ok(0) => return Ok(Some(data)),
                Ok(len) if len <= MAX_MESSAGE => len,
                Ok(_) => return Err(WireError::Length(header).into()),
                Err(_) => return Ok(None),
            };
            let begin = data.len();
            if begin + len > TOO_LONG {
                self.due
                    .pop_front()
                    .into_iter()
                    .for_each(|item| self.queue.set_alone(item));
                return Err(WireError::Broken("a file much longer than it was told").into());
            }
            data.resize(begin + len, 0);
            self.connection.wire().read_raw(&mut data[begin..])?;
            if data.len() > TOLD
                && let Some(item) = self.due.front()
            {
                let (file, position) = (item.id.number, data.len() as u64);
                self.run.tell(&Event::At { file, position });
            }
        }
    }

    /// The digest the server made, unless it could make none.
    fn take_digest(&mut self) -> Result<Option<[u8; 32]>> {
        let mut reply = Vec::new();
        self.connection.wire().read_message(&mut reply)?;
        Ok(digest_of(b"SHA256", &reply).ok())
    }
}
