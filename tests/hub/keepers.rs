//! Keepers that do what the hub asks of them, with files that are nothing but names.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use tfd::hub::wire::{Name, Value};

use crate::common::PATIENCE;
use crate::peer::*;

/// A keeper with its store.
pub struct Keeper {
    pub person: Person,
    /// Its line, while it is online.
    pub line: Option<Line>,
    /// The names of what it has.
    pub files: BTreeSet<String>,
    /// Those of them whose bytes are others.
    pub bad: BTreeSet<String>,
    /// What the hub has asked and notified.
    pub log: Vec<String>,
}

/// All of them.
pub struct Keepers {
    pub all: Vec<Keeper>,
    owner: String,
}

impl Keepers {
    /// These keepers, each with a share of a GiB; all files are of this owner.
    pub fn new(server: &Hub, names: &[&str], owner: &str) -> Keepers {
        let mut keepers = Keepers {
            all: Vec::new(),
            owner: owner.to_owned(),
        };
        for name in names {
            keepers.join(server, name);
        }
        keepers
    }

    /// One more.
    pub fn join(&mut self, server: &Hub, name: &str) {
        let person = Person::new(name);
        let line = Some(server.holder(&person, GIB));
        self.all.push(Keeper {
            person,
            line,
            files: BTreeSet::new(),
            bad: BTreeSet::new(),
            log: Vec::new(),
        });
    }

    #[track_caller]
    pub fn of(&mut self, name: &str) -> &mut Keeper {
        let mut all = self.all.iter_mut();
        all.find(|it| it.person.name == name).expect("keeper")
    }

    /// Goes offline.
    pub fn leave(&mut self, name: &str) {
        self.of(name).line = None;
    }

    /// Comes back.
    pub fn come(&mut self, server: &Hub, name: &str) {
        let keeper = self.of(name);
        keeper.line = Some(server.log_in_holder(&keeper.person));
    }

    /// Has a file placed by its owner, with a copy at each keeper that is asked.
    #[track_caller]
    pub fn store(&mut self, owner: &mut Line, who: &Person, put: &str, copies: usize) {
        let words: Vec<&str> = put.split(' ').collect();
        let (text, size) = (words[1], u64::read(words[2]).expect("size"));
        let name = Name::read(text).expect("name");
        let id = owner.request(put);
        assert!(owner.is_idle());
        for keeper in &mut self.all {
            let Some(line) = &mut keeper.line else {
                continue;
            };
            if line.is_asked() {
                line.obey("RCV", "211 OK to send file");
                keeper.files.insert(text.to_owned());
            }
        }
        for _ in 0..copies {
            let goes = owner.answer(id);
            assert!(goes.starts_with("DST"), "{goes}");
            let words: Vec<&str> = goes.split(' ').collect();
            let holder = words[3].to_owned();
            let receipt = self.of(&holder).person.receipt(who, name, size);
            let reply = owner.done(&format!("DFI {text} {holder} receipt={receipt}"));
            assert_eq!(code(&reply), 212, "{reply}");
        }
        owner.notice("NFI");
    }

    /// All keepers do once what they are asked.
    pub fn serve(&mut self) {
        for at in 0..self.all.len() {
            let Some(line) = &mut self.all[at].line else {
                continue;
            };
            let (requests, notices) = line.news();
            for request in requests {
                self.all[at].log.push(request.clone());
                self.obey(at, &request);
            }
            for notice in notices {
                self.all[at].log.push(notice.clone());
                if notice.starts_with("SRR ") {
                    self.fetch(at, &notice);
                }
            }
        }
    }

    /// The same until something holds.
    #[track_caller]
    pub fn serve_until(&mut self, what: &str, mut holds: impl FnMut(&mut Keepers) -> bool) {
        let end = Instant::now() + PATIENCE;
        while !holds(self) {
            if Instant::now() > end {
                let logs: Vec<_> = self
                    .all
                    .iter()
                    .map(|it| (&it.person.name, &it.log))
                    .collect();
                panic!("not in time: {what}\n{logs:#?}");
            }
            self.serve();
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn answer(&mut self, at: usize, request: &str, reply: &str) {
        let id = named(request, "id").to_owned();
        let text = match reply.starts_with("CRC") {
            true => format!("{reply} id={id}"),
            false => format!("{reply} ; id={id}"),
        };
        if let Some(line) = &mut self.all[at].line {
            line.send(&text);
        }
    }

    fn obey(&mut self, at: usize, request: &str) {
        let words: Vec<&str> = request.split(' ').collect();
        let has = |name: &str| self.all[at].files.contains(name);
        match words[0] {
            "RCV" => {
                let reply = match has(named(request, "name")) {
                    true => "212 Transfer completed",
                    false => "211 OK to send file",
                };
                self.answer(at, request, reply);
            }
            "LET" => {
                let reply = match has(named(request, "name")) {
                    true => "211 OK to send file",
                    false => "505 Requested file does not exist",
                };
                self.answer(at, request, reply);
            }
            "REM" => {
                let file = words[2].to_owned();
                self.all[at].files.remove(&file);
                self.answer(at, request, "203 File is deleted");
            }
            "REQ" => {
                let key = &words[2][2..];
                let reply = match (has(words[1]), self.all[at].bad.contains(words[1])) {
                    (false, _) => "505 Requested file does not exist".to_owned(),
                    (true, false) => format!("CRC {key}"),
                    (true, true) => format!("CRC {}", "0".repeat(64)),
                };
                self.answer(at, request, &reply);
            }
            "TRA" => self.pass_on(at, request),
            word => panic!("{word}"),
        }
    }

    /// Sends a file to another keeper, which checks its bytes.
    fn pass_on(&mut self, at: usize, request: &str) {
        let words: Vec<&str> = request.split(' ').collect();
        let (file, to) = (words[1].to_owned(), words[3].to_owned());
        if !self.all[at].files.contains(&file) {
            return self.answer(at, request, "505 Requested file does not exist");
        }
        self.answer(at, request, "211 OK to send file");
        let old = named(request, "old").to_owned();
        let is_bad = self.all[at].bad.contains(&file);
        let said = match is_bad {
            true => format!("NST {to} name={file} reason=corrupt"),
            false => {
                self.take(&to, &file);
                format!("MOV {file} {old} {to}")
            }
        };
        let line = self.all[at].line.as_mut().expect("line");
        let expected = if is_bad { 212 } else { 215 };
        let reply = line.done(&said);
        assert_eq!(code(&reply), expected, "{said}: {reply}");
    }

    /// Has a file that has come, and says so.
    fn take(&mut self, to: &str, file: &str) {
        let owner = self.owner.clone();
        let keeper = self.of(to);
        keeper.files.insert(file.to_owned());
        if let Some(line) = &mut keeper.line {
            let reply = line.done(&format!("DFI {file} {to} owner={owner}"));
            assert_eq!(code(&reply), 212, "{reply}");
        }
    }

    /// Gets a file back from another keeper.
    fn fetch(&mut self, at: usize, notice: &str) {
        let words: Vec<&str> = notice.split(' ').collect();
        let (file, from) = (words[1].to_owned(), words[3].to_owned());
        let me = self.all[at].person.name.clone();
        let source = self.of(&from);
        if !source.files.contains(&file) || source.bad.contains(&file) {
            let line = self.all[at].line.as_mut().expect("line");
            line.done(&format!("NST {from} name={file} reason=corrupt"));
            return;
        }
        self.take(&me, &file);
    }

    /// Who has a file.
    pub fn with(&self, file: &str) -> Vec<&str> {
        let all = self.all.iter().filter(|it| it.files.contains(file));
        all.map(|it| it.person.name.as_str()).collect()
    }
}
