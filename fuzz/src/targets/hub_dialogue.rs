//! A line to the hub after its login, from what the peer sends and what the hub does: no
//! lines break it, and nothing passes that its role may not send.
//!
//! The first byte chooses the role, or version 1.0; each piece up to a zero byte is a line of the peer, or,
//! after a `!`, one of the hub's: the last answer to a request, a request or a notice.

use tfd::hub::base::{self, Base};
use tfd::hub::dialogue::{Dialogue, Next};
use tfd::hub::wire::{Id, Line, Message, Party, Role};

/// Takes one input.
pub fn run(data: &[u8]) {
    let Some((choice, pieces)) = data.split_first() else {
        return;
    };
    let role = if choice & 1 == 0 {
        Role::Owner
    } else {
        Role::Holder
    };
    if choice & 4 != 0 {
        return run_base(choice & 2 != 0, pieces);
    }
    let mut dialogue = Dialogue::new(role, choice & 2 != 0, None);
    for piece in pieces.split(|byte| *byte == 0) {
        if let Some(line) = piece.strip_prefix(b"!") {
            let Ok(line) = Line::parse(line) else {
                continue;
            };
            let is_request = matches!(line.message, Message::Request(_));
            if !is_request || !dialogue.push(&line) {
                let _ = dialogue.answer(std::slice::from_ref(&line), true);
            }
            continue;
        }
        match dialogue.hear(Line::parse(piece)) {
            Next::Pass(line) => may_pass(&line),
            Next::Answer(line) => {
                assert!(Line::parse(line.print().trim_end().as_bytes()).is_ok());
            }
            Next::End(_) => return,
        }
    }
}

/// The same in version 1.0: one request of each side is open, and none without a number
/// reaches the broker.
fn run_base(needs_share: bool, pieces: &[u8]) {
    let dialogue = Dialogue::new(Role::Both, needs_share, Some(Id::FIRST));
    let mut base = Base::new(dialogue, Id::FIRST);
    for piece in pieces.split(|byte| *byte == 0) {
        let all = match piece.strip_prefix(b"!").map(Line::parse) {
            None => Some(base.hear(base::read(piece))),
            Some(Ok(line)) => match base.push(line.clone()) {
                None => base.answer(vec![line], true),
                pushed => pushed,
            },
            Some(Err(_)) => None,
        };
        for next in all.into_iter().flatten() {
            match next {
                Next::Pass(line) => may_pass(&line),
                Next::Answer(line) => assert!(!base::print(&line).contains(" id=")),
                Next::End(_) => return,
            }
        }
    }
}

/// What passes is sent to the hub by somebody, or answers it.
fn may_pass(line: &Line) {
    if let Message::Request(request) = &line.message {
        let mut uses = request.command().uses().iter();
        assert!(uses.any(|it| it.to == Party::Hub), "{line:?}");
    }
}
