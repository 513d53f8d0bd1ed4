//! The form of lines in version 1.0. Nothing here knows whose turn it is.

use crate::hub::wire::{Line, Message, Request, Value, Way};

/// The words of answers that are no replies. `RSP` answers a challenge, and is itself
/// answered.
const ANSWERS: [&[u8]; 6] = [b"CRC", b"TIP", b"OFF", b"DST", b"SRC", b"IDX"];

/// A line of a peer.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(clippy::large_enum_variant, reason = "passed on, one at a time")]
pub enum Heard {
    /// A request or a notice.
    Request(Request),
    /// An answer to the hub's request.
    Answer(Message),
    /// An answer that can't be read: nobody can say what it is.
    BadAnswer,
    /// Anything else that can't be read.
    Bad,
}

/// Reads a line without its CR and LF.
pub fn read(line: &[u8]) -> Heard {
    let word = line.split(|byte| *byte == b' ').next().unwrap_or_default();
    let is_reply = word.first().is_some_and(u8::is_ascii_digit);
    let is_answer = is_reply || ANSWERS.contains(&word);
    match Line::parse_bare(line).map(|line| line.message) {
        Ok(message) if is_answer => Heard::Answer(message),
        Err(_) if is_answer => Heard::BadAnswer,
        Ok(Message::Request(request)) => Heard::Request(request),
        Ok(Message::Reply(_)) | Err(_) => Heard::Bad,
    }
}

/// A line for a peer, with its CR and LF: without number and named parameters, addresses
/// without their port, and of the number of a copy how many there are.
pub fn print(line: &Line) -> String {
    let request = match &line.message {
        Message::Reply(reply) => {
            let code = reply.code();
            return format!("{} {}\r\n", code.number(), code.text());
        }
        Message::Request(request) => request,
    };
    let mut words = vec![request.command().word().to_owned()];
    words.extend(request.values());
    let (way, at) = match request {
        Request::Let(it) => (&it.ip, 1),
        Request::Rcv(it) => (&it.ip, 1),
        Request::Src(it) => (&it.ip, 1),
        Request::Dst(it) => (&it.ip, 2),
        Request::Srr(it) => (&it.ip, 2),
        Request::Tip(it) => (&it.ip, 2),
        Request::Tra(it) => (&it.ip, 2),
        _ => return words.join(" ") + "\r\n",
    };
    if let Way::Direct(address) = way {
        words[at] = address.ip().to_string();
    }
    if let Request::Dst(it) = request {
        words[5] = it.factor.of.text();
    }
    words.join(" ") + "\r\n"
}
