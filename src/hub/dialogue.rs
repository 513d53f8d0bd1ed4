//! One line to the hub, after the login: what its peer may send, and whose answer is
//! whose. It passes lines on and changes none; what they do is the broker's.

use std::collections::BTreeMap;

use super::state::State;
use super::wire::request::Use;
use super::wire::{Bad, Code, Command, Id, Line, Message, Party, Reply, Request, Role, Sort};

/// The most requests of one side that wait for an answer.
pub(super) const MOST_WAITING: usize = 64;

/// The most lines of a peer that can't be read, or come in the wrong state.
const MOST_FAULTS: u32 = 10;

/// What is done with a line of the peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next {
    /// The broker gets it.
    Pass(Line),
    /// The peer gets this line at once: mostly an answer.
    Answer(Line),
    /// The line ends, for this reason.
    End(&'static str),
}

/// A line to the hub.
#[derive(Debug)]
pub struct Dialogue {
    role: Role,
    state: State,
    /// The number of the peer's last request.
    latest: Option<Id>,
    /// Its requests that wait for an answer.
    waiting: BTreeMap<Id, Command>,
    /// The hub's requests that do.
    asked: BTreeMap<Id, &'static Use>,
    faults: u32,
}

impl Dialogue {
    /// The one of a peer that has logged in by this request, and has to share first, or
    /// not.
    pub fn new(role: Role, needs_share: bool, latest: Option<Id>) -> Dialogue {
        Dialogue {
            role,
            state: State::Keyless.has_key(needs_share),
            latest,
            waiting: BTreeMap::new(),
            asked: BTreeMap::new(),
            faults: 0,
        }
    }

    /// Whether the peer waits for answers.
    pub fn owes_answers(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Where the line stands.
    #[cfg(test)]
    fn state(&self) -> State {
        self.state
    }

    /// Takes a line of the peer.
    pub fn hear(&mut self, line: Result<Line, Bad>) -> Next {
        let line = match line {
            Ok(line) => line,
            Err(bad) => return self.fault(bad.id, Reply::NotUnderstood),
        };
        let command = match &line.message {
            Message::Reply(reply) => {
                let word = reply.code().number().to_string();
                return self.answered(&word, line);
            }
            Message::Request(request) => request.command(),
        };
        let to_hub = command.uses().iter().find(|it| it.to == Party::Hub);
        match to_hub.map(|it| it.sort) {
            None => self.fault(line.id, Reply::NotUnderstood),
            Some(Sort::Answer) => self.answered(command.word(), line),
            Some(Sort::Notice) if line.id.is_some() => self.fault(line.id, Reply::NotUnderstood),
            Some(Sort::Notice) => match self.admit(None, command) {
                Some(next) => next,
                None => Next::Pass(line),
            },
            Some(Sort::Request) => self.ask(command, line),
        }
    }

    fn ask(&mut self, command: Command, line: Line) -> Next {
        let Some(id) = line.id.filter(|id| self.latest < Some(*id)) else {
            return self.fault(line.id, Reply::NotUnderstood);
        };
        self.latest = Some(id);
        if let Some(next) = self.admit(Some(id), command) {
            return next;
        }
        if self.waiting.len() >= MOST_WAITING {
            return Next::End("too many requests without an answer");
        }
        self.waiting.insert(id, command);
        if command == Command::Rrc {
            self.state = self.state.reverses();
        }
        Next::Pass(line)
    }

    /// What is done with a command that is not admitted.
    fn admit(&mut self, id: Option<Id>, command: Command) -> Option<Next> {
        let reply = match self.state.admit(self.role, command) {
            Ok(()) => return None,
            Err(Code::KeyNeeded) => Reply::KeyNeeded,
            Err(Code::ShareNeeded) => Reply::ShareNeeded,
            Err(Code::Later) => Reply::Later { after: None },
            Err(Code::NotAllowed) => return Some(self.fault(id, Reply::NotAllowed)),
            Err(_) => return Some(self.fault(id, Reply::NotUnderstood)),
        };
        Some(Next::Answer(Line {
            id,
            message: Message::Reply(reply),
        }))
    }

    fn fault(&mut self, id: Option<Id>, reply: Reply) -> Next {
        self.faults += 1;
        match self.faults > MOST_FAULTS {
            true => Next::End("too many wrong lines"),
            false => Next::Answer(Line {
                id,
                message: Message::Reply(reply),
            }),
        }
    }

    /// Takes the peer's answer to a request of the hub's. Each has one.
    fn answered(&mut self, word: &str, line: Line) -> Next {
        let asked = line.id.and_then(|id| self.asked.remove(&id));
        let is_answer = |it: &Use| word == "500" || it.answers().any(|answer| answer == word);
        match asked.is_some_and(is_answer) {
            true => Next::Pass(line),
            false => Next::End("an answer to nothing"),
        }
    }

    /// Takes note of answers that the peer gets to one of its requests, the last of them
    /// or not. Whether it has asked for them.
    #[must_use]
    pub fn answer(&mut self, answers: &[Line], is_last: bool) -> bool {
        for line in answers {
            let command = line.id.and_then(|id| self.waiting.get(&id));
            let Some(command) = command.copied() else {
                return false;
            };
            self.state = match &line.message {
                Message::Reply(reply) => self.state.after(command, reply.code()),
                Message::Request(Request::Src(_)) => self.state.recovers(),
                Message::Request(_) => self.state,
            };
        }
        if let Some(id) = answers.last().and_then(|line| line.id)
            && is_last
        {
            self.waiting.remove(&id);
        }
        true
    }

    /// Takes note of a request or a notice that the peer gets. Whether it may: as many
    /// requests wait for an answer as may.
    #[must_use]
    pub fn push(&mut self, line: &Line) -> bool {
        let Message::Request(request) = &line.message else {
            return false;
        };
        let mut uses = request.command().uses().iter();
        let found = uses.find(|it| it.from == Party::Hub && it.sort != Sort::Answer);
        match (found, line.id) {
            (Some(it), Some(id)) if it.sort == Sort::Request => {
                self.asked.insert(id, it);
                self.asked.len() <= MOST_WAITING
            }
            (Some(it), None) => it.sort == Sort::Notice,
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(text: &str) -> Line {
        Line::parse(text.as_bytes()).expect(text)
    }

    fn hear(dialogue: &mut Dialogue, text: &str) -> Next {
        dialogue.hear(Line::parse(text.as_bytes()))
    }

    fn owner() -> Dialogue {
        Dialogue::new(Role::Owner, false, None)
    }

    fn holder() -> Dialogue {
        Dialogue::new(Role::Holder, false, None)
    }

    /// The words of a line that the peer gets at once.
    fn answer(next: Next) -> String {
        match next {
            Next::Answer(line) => line.print(),
            next => panic!("{next:?}"),
        }
    }

    const NAME: &str = "b0fb05b3723e2db06fbcfe30eacb1366e3efb05c45dc2c35c9f34bea514ab7d8";
    const KEY: &str = "N78UC4ahUtSig_Eg5NZKmo8V7MCCDmlJJdRJTzZ5cHU";

    #[test]
    fn a_run_goes_from_its_first_request_to_its_last_answer() {
        let mut dialogue = owner();
        let begin = "BCK 1 1 1 id=3";
        assert_eq!(hear(&mut dialogue, begin), Next::Pass(line(begin)));
        assert_eq!(dialogue.state(), State::Ready);
        let put = format!("PUT {NAME} 1 id=4");
        let early = answer(hear(&mut dialogue, &put));
        assert_eq!(early, "504 Not allowed ; id=4\r\n");
        let begun = line("202 OK to begin backup ; id=3 window=8");
        assert!(dialogue.answer(&[begun], true));
        assert_eq!(dialogue.state(), State::Backup);
        let put = format!("PUT {NAME} 1 id=5");
        assert_eq!(hear(&mut dialogue, &put), Next::Pass(line(&put)));
        let goes = format!("DST {NAME} 192.0.2.1 bob {KEY} 1/2 id=5");
        assert!(dialogue.answer(&[line(&goes)], false));
        assert!(dialogue.answer(&[line("212 Transfer completed ; id=5")], true));
        assert!(
            !dialogue.answer(&[line(&goes)], true),
            "one more than asked for"
        );
        assert!(matches!(hear(&mut dialogue, "DBU id=6"), Next::Pass(_)));
        assert!(dialogue.answer(&[line("215 Update done ; id=6")], true));
        assert_eq!(dialogue.state(), State::Ready);
    }

    #[test]
    fn numbers_rise_and_notices_have_none() {
        let mut dialogue = owner();
        assert!(matches!(hear(&mut dialogue, "GIP bob id=7"), Next::Pass(_)));
        for wrong in ["GIP bob id=7", "GIP bob id=6", "GIP bob", "STP bob id=8"] {
            let refused = answer(hear(&mut dialogue, wrong));
            assert!(refused.starts_with("500 "), "{wrong}: {refused}");
        }
        assert!(matches!(hear(&mut dialogue, "STP bob"), Next::Pass(_)));
        assert!(matches!(hear(&mut dialogue, "OUT"), Next::Pass(_)));
    }

    #[test]
    fn sixty_four_requests_may_wait_for_their_answers() {
        let mut dialogue = owner();
        for id in 1..=64 {
            let next = hear(&mut dialogue, &format!("GIP bob id={id}"));
            assert!(matches!(next, Next::Pass(_)));
        }
        assert!(dialogue.answer(&[line("OFF bob id=64")], true));
        assert!(matches!(
            hear(&mut dialogue, "GIP bob id=65"),
            Next::Pass(_)
        ));
        assert!(matches!(hear(&mut dialogue, "GIP bob id=66"), Next::End(_)));
    }

    #[test]
    fn ten_wrong_lines_are_answered_and_the_next_one_ends_the_line() {
        let mut dialogue = owner();
        for wrong in ["XYZ id=9", "", "RRC id=1", "DST a", "PUT"].repeat(2) {
            assert!(
                matches!(hear(&mut dialogue, wrong), Next::Answer(_)),
                "{wrong}"
            );
        }
        assert!(matches!(hear(&mut dialogue, "XYZ"), Next::End(_)));
        let mut shareless = Dialogue::new(Role::Both, true, None);
        for id in 1..100 {
            let first = answer(hear(&mut shareless, &format!("BCK 1 1 1 id={id}")));
            assert!(first.starts_with("301 "), "{first}");
        }
        assert!(matches!(
            hear(&mut shareless, "SHA 5 id=100"),
            Next::Pass(_)
        ));
        assert!(shareless.answer(&[line("208 Share OK ; id=100")], true));
        assert_eq!(shareless.state(), State::Ready);
    }

    #[test]
    fn each_request_of_the_hub_is_answered_once_and_by_what_may_answer_it() {
        let remove = format!("REM anna {NAME} 1 id=1");
        for (answer, is_right) in [
            ("203 File is deleted ; id=1", true),
            ("500 Command not understood ; id=1", true),
            ("211 OK to send file ; id=1", false),
            (&format!("CRC {NAME} id=1"), false),
            ("203 File is deleted ; id=2", false),
            ("203 File is deleted", false),
        ] {
            let mut dialogue = holder();
            assert!(dialogue.push(&line(&remove)));
            let next = hear(&mut dialogue, answer);
            assert_eq!(matches!(next, Next::Pass(_)), is_right, "{answer}");
            let again = hear(&mut dialogue, answer);
            assert!(matches!(again, Next::End(_)), "{answer} again");
        }
        let mut dialogue = holder();
        assert!(dialogue.push(&line("NFI")));
        assert!(!dialogue.push(&line("NFI id=1")));
        assert!(!dialogue.push(&line("GIP bob id=1")), "a request of peers");
        for id in 1..=64 {
            assert!(dialogue.push(&line(&format!("REM anna {NAME} 1 id={id}"))));
        }
        assert!(!dialogue.push(&line(&format!("REM anna {NAME} 1 id=65"))));
    }

    #[test]
    fn a_source_begins_a_recovery_and_a_holder_gets_back_what_it_lost() {
        let mut dialogue = owner();
        assert!(matches!(hear(&mut dialogue, "REC bob id=1"), Next::Pass(_)));
        let source = format!("SRC 192.0.2.1:7171 bob {KEY} id=1");
        assert!(dialogue.answer(&[line(&source)], true));
        assert_eq!(dialogue.state(), State::Recover);
        let mut dialogue = holder();
        assert!(matches!(hear(&mut dialogue, "RRC id=1"), Next::Pass(_)));
        assert_eq!(dialogue.state(), State::Reverse);
        let later = answer(hear(&mut dialogue, "RRC id=2"));
        assert_eq!(later, "407 Try again later ; id=2\r\n");
        assert!(dialogue.answer(&[line("214 Reverse recovery done ; id=1")], true));
        assert_eq!(dialogue.state(), State::Ready);
    }
}
