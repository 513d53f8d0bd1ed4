//! What is spoken on a line after the login, in the version of its peer. Nothing here
//! knows what a request does.

use super::base::{self, Base};
use super::dialogue::{Dialogue, Next};
use super::wire::{Id, Line, Lines, Role};

/// A line's version, and where it stands.
pub(super) enum Speech {
    /// Version 1.1.
    Numbered(Dialogue),
    /// Version 1.0.
    Base(Box<Base>),
}

impl Speech {
    /// The one of a peer that has logged in by this request, and has to share first, or
    /// not.
    pub fn new(role: Role, needs_share: bool, latest: Id) -> Speech {
        let dialogue = Dialogue::new(role, needs_share, Some(latest));
        match role {
            Role::Owner | Role::Holder => Speech::Numbered(dialogue),
            Role::Both => Speech::Base(Box::new(Base::new(dialogue, latest))),
        }
    }

    /// Takes the next line out of what has arrived; what is done then, `None` if there
    /// is none.
    pub fn hear(&mut self, lines: &mut Lines) -> Option<Vec<Next>> {
        Some(match self {
            Speech::Numbered(dialogue) => vec![dialogue.hear(lines.line()?)],
            Speech::Base(base) => {
                let heard = lines.line_by(base::read)?;
                base.hear(heard.unwrap_or(base::Heard::Bad))
            }
        })
    }

    /// Takes answers of the broker's; what is done then. `None` if nobody has asked for
    /// them.
    pub fn answer(&mut self, answers: Vec<Line>, is_last: bool) -> Option<Vec<Next>> {
        match self {
            Speech::Numbered(dialogue) => dialogue
                .answer(&answers, is_last)
                .then(|| answers.into_iter().map(Next::Answer).collect()),
            Speech::Base(base) => base.answer(answers, is_last),
        }
    }

    /// Takes a request or a notice of the broker's; what is done then. `None` if it may
    /// not be sent.
    pub fn push(&mut self, line: Line) -> Option<Vec<Next>> {
        match self {
            Speech::Numbered(dialogue) => dialogue.push(&line).then(|| vec![Next::Answer(line)]),
            Speech::Base(base) => base.push(line),
        }
    }

    /// Whether the peer waits for answers.
    pub fn owes_answers(&self) -> bool {
        match self {
            Speech::Numbered(dialogue) => dialogue.owes_answers(),
            Speech::Base(base) => base.owes_answers(),
        }
    }

    /// A line as the peer gets it.
    pub fn print(&self, line: &Line) -> String {
        match self {
            Speech::Numbered(_) => line.print(),
            Speech::Base(_) => base::print(line),
        }
    }
}
