//! Lines out of the bytes of a connection, and what one says. A line that is too long
//! is read past, not kept; bytes of files between lines are taken as they are.

use super::fields::{Bad, Fault};
use super::reply::Reply;
use super::request::Request;
use super::value::{Id, Value};
use crate::ipc::codec::{Decode, Encode, Reader, Writer};

/// The longest line with its CR and LF, in bytes.
pub const MAX_LINE: usize = 4096;

/// What a line says.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(clippy::large_enum_variant, reason = "passed on, one at a time")]
pub enum Message {
    /// A command: a request, a notice, or an answer other than a reply.
    Request(Request),
    /// A reply.
    Reply(Reply),
}

impl From<Request> for Message {
    fn from(request: Request) -> Message {
        Message::Request(request)
    }
}

impl From<Reply> for Message {
    fn from(reply: Reply) -> Message {
        Message::Reply(reply)
    }
}

/// A line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// The number of the request that this is, or answers. Notices have none.
    pub id: Option<Id>,
    /// What it says.
    pub message: Message,
}

impl Line {
    /// Reads one without its CR and LF.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(line: &[u8]) -> Result<Line, Bad> {
        let text = str::from_utf8(line).ok().filter(|text| text.is_ascii());
        let is_wrong = |c| matches!(c, '\0' | '\r' | '\n');
        let Some(text) = text.filter(|text| !text.contains(is_wrong)) else {
            let fault = Fault::Byte;
            return Err(Bad { id: None, fault });
        };
        let bad = |fault| Bad {
            id: id_in(text),
            fault,
        };
        let (id, message) = match text.starts_with(|c: char| c.is_ascii_digit()) {
            true => {
                let (id, reply) = Reply::parse(text).map_err(bad)?;
                (id, Message::Reply(reply))
            }
            false => {
                let (id, request) = Request::parse(text).map_err(bad)?;
                (id, Message::Request(request))
            }
        };
        Ok(Line { id, message })
    }

    /// Reads one of version 1.0, without number and named parameters.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse_bare(line: &[u8]) -> Result<Line, Bad> {
        let read = Line::parse(line)?;
        let is_bare = match &read.message {
            Message::Request(request) => {
                let spaces = line.iter().filter(|byte| **byte == b' ').count();
                spaces == request.command().values()
            }
            Message::Reply(_) => !line.contains(&b';'),
        };
        let (id, fault) = (None, Fault::Form);
        is_bare.then_some(read).ok_or(Bad { id, fault })
    }

    /// The line with its CR and LF.
    pub fn print(&self) -> String {
        let mut out = String::with_capacity(128);
        match &self.message {
            Message::Request(request) => request.print(&mut out, self.id),
            Message::Reply(reply) => reply.print(&mut out, self.id),
        }
        out.push_str("\r\n");
        out
    }
}

impl Encode for Line {
    fn encode<'a>(&'a self, out: &mut Writer<'a>) {
        out.put(&self.print().to_bytes());
    }
}

impl Decode for Line {
    fn decode(from: &mut Reader<'_>) -> Option<Line> {
        let text = String::decode(from)?;
        let line = text.strip_suffix("\r\n")?;
        (text.len() <= MAX_LINE).then(|| Line::parse(line.as_bytes()).ok())?
    }
}

/// The number in a line that can't be read.
fn id_in(text: &str) -> Option<Id> {
    let mut ids = text.split(' ').filter_map(|word| word.strip_prefix("id="));
    ids.next_back().and_then(Id::read)
}

/// The bytes that have arrived, cut into lines.
#[derive(Debug, Default)]
pub struct Lines {
    bytes: Vec<u8>,
    /// How many of them have no end of a line.
    searched: usize,
    /// Whether the rest of a line is read past.
    skips: bool,
}

impl Lines {
    /// Takes bytes in. Once all lines are taken out, fewer than [`MAX_LINE`] bytes
    /// are kept.
    pub fn add(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// Whether there may be a line.
    pub fn has_line(&self) -> bool {
        let new = &self.bytes[self.searched..];
        new.contains(&b'\n') || self.bytes.len() >= MAX_LINE
    }

    /// Gives back memory that it does not need.
    pub fn rest(&mut self) {
        self.bytes.shrink_to_fit();
    }

    /// The next line, once it is there.
    ///
    /// # Errors
    /// What is wrong with it. The next one can be read.
    pub fn line(&mut self) -> Option<Result<Line, Bad>> {
        let line = self.line_by(Line::parse)?;
        Some(line.and_then(|line| line))
    }

    /// The same, read in another way.
    ///
    /// # Errors
    /// When it is too long. The next one can be read.
    pub fn line_by<T>(&mut self, read: impl Fn(&[u8]) -> T) -> Option<Result<T, Bad>> {
        loop {
            let new = &self.bytes[self.searched..];
            let Some(end) = new.iter().position(|byte| *byte == b'\n') else {
                return self.wait();
            };
            let end = self.searched + end;
            self.searched = 0;
            let skipped = std::mem::take(&mut self.skips);
            let line = match end < MAX_LINE {
                _ if skipped => None,
                true => {
                    let line = &self.bytes[..end];
                    Some(Ok(line.strip_suffix(b"\r").unwrap_or(line)))
                }
                false => Some(Err(too_long())),
            };
            let line = line.map(|line| line.map(&read));
            self.bytes.drain(..=end);
            if line.is_some() {
                return line;
            }
        }
    }

    /// Keeps what has no end, as far as it can become a line.
    fn wait<T>(&mut self) -> Option<Result<T, Bad>> {
        let is_new = !self.skips && self.bytes.len() >= MAX_LINE;
        if self.skips || is_new {
            self.skips = true;
            self.bytes.clear();
        }
        self.searched = self.bytes.len();
        is_new.then(|| Err(too_long()))
    }

    /// Takes bytes of a file that have arrived behind the last line, `most` at most.
    pub fn take(&mut self, most: usize) -> Vec<u8> {
        let most = most.min(self.bytes.len());
        self.searched = 0;
        let rest = self.bytes.split_off(most);
        std::mem::replace(&mut self.bytes, rest)
    }
}

fn too_long() -> Bad {
    let fault = Fault::TooLong;
    Bad { id: None, fault }
}
