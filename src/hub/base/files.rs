//! Which file is meant where version 1.0 names none, and when the next one may come: an
//! owner places one file after the other, and hears by `NFI` that no copy of it is asked
//! for any more.

use std::collections::{BTreeMap, BTreeSet};

use crate::hub::wire::request::Nst;
use crate::hub::wire::{Code, Line, Message, Name, Reply, Request, User};

/// For whom a keeper was named.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    Owner,
    Holder,
}

/// The file that an owner places.
#[derive(Debug)]
struct Placing {
    name: Name,
    /// The keepers that are to get a copy, and have not yet.
    left: BTreeSet<User>,
}

/// What a line has said of files so far.
#[derive(Debug, Default)]
pub(super) struct Files {
    placing: Option<Placing>,
    /// The file that each keeper was named for last.
    named: BTreeMap<User, (Name, Part)>,
}

impl Files {
    /// Completes a request of the peer.
    ///
    /// # Errors
    /// The refusal of one that comes too early, or says nothing.
    pub fn complete(&mut self, request: Request) -> Result<Request, Reply> {
        match &request {
            Request::Put(it) => self.place(it.filename)?,
            Request::Pix(it) => self.place(it.filename)?,
            Request::Rec(it) => drop(self.named.remove(&it.username)),
            Request::Nst(it) => {
                let named = self.named.get(&it.username);
                let (name, _) = *named.ok_or(Reply::NoSuchFile)?;
                return Ok(Request::Nst(Nst {
                    name: Some(name),
                    ..it.clone()
                }));
            }
            _ => {}
        }
        Ok(request)
    }

    fn place(&mut self, name: Name) -> Result<(), Reply> {
        match &self.placing {
            Some(placing) if placing.name != name => Err(Reply::Later { after: None }),
            // Placed again, it has all of its keepers named again.
            _ => {
                let left = BTreeSet::new();
                self.placing = Some(Placing { name, left });
                Ok(())
            }
        }
    }

    /// Takes note of answers to a request of the peer, the last of them or not. Whether
    /// the next file may come now.
    pub fn answer(&mut self, request: &Request, answers: &[Line], is_last: bool) -> bool {
        if let Request::Nst(it) = request {
            self.settle(it.name, &it.username);
        }
        let mut code = None;
        for line in answers {
            match &line.message {
                Message::Reply(reply) => code = Some(reply.code()),
                Message::Request(answer) => self.name(answer),
            }
        }
        match request {
            Request::Put(_) | Request::Pix(_) if is_last => match code {
                None | Some(Code::TransferCompleted | Code::NoHolder) => self.is_over(),
                Some(_) => {
                    self.is_over();
                    false
                }
            },
            Request::Dfi(it) if code == Some(Code::TransferCompleted) => {
                self.settle(Some(it.filename), &it.username) && self.is_over()
            }
            Request::Nst(it) if is_last => self.is_placed(it.name) && self.is_over(),
            Request::Dbu(_) | Request::Abt(_)
                if matches!(code, Some(Code::UpdateDone | Code::Aborted)) =>
            {
                self.placing = None;
                self.named.retain(|_, (_, part)| *part == Part::Holder);
                false
            }
            _ => false,
        }
    }

    /// Takes note of a keeper that the hub names for a file.
    fn name(&mut self, answer: &Request) {
        let (user, name) = match answer {
            Request::Dst(it) => (&it.username, Some(it.filename)),
            Request::Src(it) => (&it.username, it.name),
            _ => return,
        };
        let Some(name) = name else { return };
        self.named.insert(user.clone(), (name, Part::Owner));
        let placing = self.placing.as_mut();
        let placing = placing.filter(|placing| placing.name == name);
        if let (Some(placing), Request::Dst(_)) = (placing, answer) {
            placing.left.insert(user.clone());
        }
    }

    /// Takes note that a keeper has its copy of a file, or gets none; whether that is
    /// the file that is placed.
    fn settle(&mut self, name: Option<Name>, holder: &User) -> bool {
        let placing = self.placing.as_mut();
        let placing = placing.filter(|placing| Some(placing.name) == name);
        placing.map(|placing| placing.left.remove(holder)).is_some()
    }

    fn is_placed(&self, name: Option<Name>) -> bool {
        let placing = self.placing.as_ref();
        placing.is_some_and(|placing| Some(placing.name) == name)
    }

    fn is_over(&mut self) -> bool {
        let over = self.placing.take_if(|placing| placing.left.is_empty());
        over.is_some()
    }

    /// Takes note of a request or notice of the hub's.
    pub fn push(&mut self, request: &Request) {
        let (user, name) = match request {
            Request::Tra(it) => (&it.username, it.filename),
            Request::Srr(it) => (&it.username, it.filename),
            _ => return,
        };
        self.named.insert(user.clone(), (name, Part::Holder));
    }
}
