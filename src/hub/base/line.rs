//! One line of version 1.0, after the login: whose turn it is, and what its lines are in
//! the version that the broker knows. What a peer may send is the dialogue's.

use std::collections::VecDeque;

use super::files::Files;
use super::form::Heard;
use crate::hub::dialogue::{Dialogue, MOST_WAITING, Next};
use crate::hub::wire::request::Nfi;
use crate::hub::wire::{Bad, Code, Command, Fault, Id, Line, Message, Party, Reply, Request, Sort};

/// A request and its number.
type Numbered = (Id, Request);

/// A line to the hub.
#[derive(Debug)]
pub struct Base {
    dialogue: Dialogue,
    files: Files,
    /// The number of the peer's next request.
    next: Option<Id>,
    /// The peer's request that is not answered yet.
    open: Option<Numbered>,
    /// What of the peer waits behind it.
    held: VecDeque<Heard>,
    /// The hub's request that the peer has not answered yet.
    asked: Option<Numbered>,
    /// What of the hub waits behind that.
    waiting: VecDeque<Line>,
}

impl Base {
    /// The one behind a dialogue whose peer has logged in by this request.
    pub fn new(dialogue: Dialogue, latest: Id) -> Base {
        Base {
            dialogue,
            files: Files::default(),
            next: latest.next(),
            open: None,
            held: VecDeque::new(),
            asked: None,
            waiting: VecDeque::new(),
        }
    }

    /// Whether the peer waits for answers.
    pub fn owes_answers(&self) -> bool {
        self.dialogue.owes_answers()
    }

    /// Takes a line of the peer; what is done then.
    pub fn hear(&mut self, heard: Heard) -> Vec<Next> {
        match heard {
            Heard::Answer(message) => self.answered(message),
            Heard::BadAnswer => vec![Next::End("an answer that can't be read")],
            Heard::Request(_) | Heard::Bad => {
                let waiting = self.held.len() + usize::from(self.open.is_some());
                if waiting >= MOST_WAITING {
                    return vec![Next::End("too many requests without an answer")];
                }
                self.held.push_back(heard);
                self.go_on()
            }
        }
    }

    /// Takes what has waited, up to the next request that the broker answers.
    fn go_on(&mut self) -> Vec<Next> {
        let mut all = Vec::new();
        while self.open.is_none()
            && !matches!(all.last(), Some(Next::End(_)))
            && let Some(heard) = self.held.pop_front()
        {
            all.push(match heard {
                Heard::Request(request) => self.take(request),
                _ => self.refuse(),
            });
        }
        all
    }

    fn refuse(&mut self) -> Next {
        let (id, fault) = (None, Fault::Form);
        self.dialogue.hear(Err(Bad { id, fault }))
    }

    fn take(&mut self, request: Request) -> Next {
        let command = request.command();
        let mut uses = command.uses().iter();
        let sort = uses.find(|it| it.to == Party::Hub).map(|it| it.sort);
        if sort != Some(Sort::Request) {
            let message = Message::Request(request);
            return self.dialogue.hear(Ok(Line { id: None, message }));
        }
        let Some(id) = self.next else {
            return Next::End("too many requests");
        };
        self.next = id.next();
        let message = Message::Request(request.clone());
        let id = Some(id);
        let next = self.dialogue.hear(Ok(Line { id, message }));
        match next {
            Next::Pass(line) => self.pass(command, line, request),
            next => next,
        }
    }

    /// Passes on what the peer may send now.
    fn pass(&mut self, command: Command, line: Line, request: Request) -> Next {
        match self.files.complete(request) {
            Ok(request) => {
                let message = Message::Request(request.clone());
                // That one is answered once others have been, of the same peer.
                if command != Command::Rrc {
                    self.open = line.id.map(|id| (id, request));
                }
                Next::Pass(Line { message, ..line })
            }
            Err(reply) => {
                let message = Message::Reply(reply);
                let refusal = Line { message, ..line };
                match self.dialogue.answer(std::slice::from_ref(&refusal), true) {
                    true => Next::Answer(refusal),
                    false => Next::End("an answer to nothing"),
                }
            }
        }
    }

    /// Takes the peer's answer to the request that it has.
    fn answered(&mut self, message: Message) -> Vec<Next> {
        let Some((id, request)) = self.asked.take() else {
            return vec![Next::End("an answer to nothing")];
        };
        let is_there = matches!(&message, Message::Reply(reply)
                                if reply.code() == Code::TransferCompleted);
        let message = match is_there && matches!(request, Request::Rcv(_)) {
            // It can't know which file is to come.
            true => Message::Reply(Reply::Later { after: None }),
            false => message,
        };
        let id = Some(id);
        let mut all = vec![self.dialogue.hear(Ok(Line { id, message }))];
        if let Some(line) = self.waiting.pop_front() {
            all.push(Next::Answer(self.ask(line)));
        }
        all
    }

    /// Takes answers of the broker to a request of the peer, the last of them or not;
    /// what is done then. `None` if nobody has asked for them.
    pub fn answer(&mut self, answers: Vec<Line>, is_last: bool) -> Option<Vec<Next>> {
        if !self.dialogue.answer(&answers, is_last) {
            return None;
        }
        let id = answers.last().and_then(|line| line.id);
        let open = self.open.take_if(|(open, _)| Some(*open) == id);
        let is_over = match &open {
            Some((_, request)) => self.files.answer(request, &answers, is_last),
            None => false,
        };
        let mut all: Vec<Next> = answers.into_iter().map(Next::Answer).collect();
        if is_over {
            let message = Message::Request(Nfi::new().into());
            all.push(Next::Answer(Line { id: None, message }));
        }
        match is_last {
            true => all.extend(self.go_on()),
            false => self.open = open,
        }
        Some(all)
    }

    /// Takes a request or a notice of the broker's; what is done then. `None` if it may
    /// not be sent.
    pub fn push(&mut self, line: Line) -> Option<Vec<Next>> {
        if !self.dialogue.push(&line) {
            return None;
        }
        if let Message::Request(request) = &line.message {
            self.files.push(request);
        }
        Some(match (&line.message, line.id) {
            // The line has its own way to tell when the next file may come.
            (Message::Request(Request::Nfi(_)), _) => Vec::new(),
            (_, Some(_)) if self.asked.is_some() => {
                self.waiting.push_back(line);
                Vec::new()
            }
            _ => vec![Next::Answer(self.ask(line))],
        })
    }

    /// Takes note of a request that the peer gets now.
    fn ask(&mut self, line: Line) -> Line {
        if let (Some(id), Message::Request(request)) = (line.id, &line.message) {
            self.asked = Some((id, request.clone()));
        }
        line
    }
}
