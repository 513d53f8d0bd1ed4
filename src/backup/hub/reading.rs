//! Files that come back: lists from the hub, bytes from a keeper that has them, and from
//! the next one where those are damaged or can't be had.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, ErrorKind};
use std::ops::Range;
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use openssl::sha::sha256;

use super::client::HubClient;
use super::inventory::{self, Files};
use super::peers::{Keeper, Peers, fetch, reason};
use crate::backup::keepers::{Opens, Sample, held};
use crate::hub::wire::request::{Get, Nst, Rec, Src};
use crate::hub::wire::{
    Flag, Kind, Kinds, Message, Name, NotStored, Purpose, Reply, Request, User,
};

/// Parts begin and end at multiples of this, so that they show no border of a chunk.
const ROUND: u64 = 64 * 1024;

/// The most keepers that are asked for one file.
const MOST: usize = 16;

/// How long keepers that are away are waited for, once, and how often the hub is asked.
const AWAY: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_secs(1);

/// How many lines may end one after the other that bring no byte of a file.
const IN_VAIN: u32 = 3;

/// What reads.
pub(super) struct Reading {
    client: HubClient,
    peers: Peers,
    sizes: Mutex<BTreeMap<Name, u64>>,
    /// Who has had a file.
    known: Mutex<BTreeMap<Name, User>>,
    /// Whose copy is none.
    bad: Mutex<BTreeSet<(Name, User)>>,
    /// Until when keepers that are away are waited for.
    away_until: Mutex<Option<Instant>>,
}

/// What is wanted of a file.
#[derive(Clone, Copy)]
struct Wanted {
    name: Name,
    size: u64,
    /// From an offset so many bytes.
    part: Option<(u64, u64)>,
}

fn other(why: impl Into<String>) -> io::Error {
    io::Error::other(why.into())
}

/// Why the hub does not do what it is asked.
pub(super) fn refused(reply: &Reply) -> io::Error {
    let code = reply.code();
    other(format!("the hub: {} {}", code.number(), code.text()))
}

/// The hub has no room: on its own disk, or for this user.
pub(super) fn no_space(hub: Option<Flag>) -> io::Error {
    other(match hub {
        Some(Flag) => {
            "the disk of the hub is full: its operator has to make room; what is stored can be restored"
        }
        None => "no space is left at the hub for this user: share more, or forget and prune",
    })
}

/// The same of a file that was to be removed.
pub(super) fn refused_removal(reply: &Reply) -> io::Error {
    match reply {
        Reply::NotAllowed => other(
            "the hub lets this user add and not remove: ask its operator for tfd hub user prune-window",
        ),
        reply => refused(reply),
    }
}

/// The hub knows of no keeper that could send a file now.
fn absent() -> io::Error {
    io::Error::new(ErrorKind::NotFound, "no keeper that is online has it")
}

impl Reading {
    pub(super) fn new(client: HubClient) -> Reading {
        Reading {
            client,
            peers: Peers::new(Purpose::Recover),
            sizes: Mutex::default(),
            known: Mutex::default(),
            bad: Mutex::default(),
            away_until: Mutex::default(),
        }
    }

    pub(super) fn client(&self) -> &HubClient {
        &self.client
    }

    /// The names and sizes of the files of a kind.
    pub(super) fn list(&self, kinds: Kinds) -> io::Result<BTreeMap<Name, u64>> {
        let mut rec = Rec::new(self.client.account().user.clone());
        rec.kind = Some(kinds);
        let mut files = BTreeMap::new();
        for answer in self.client.ask(rec)? {
            match answer {
                Message::Request(Request::Idx(it)) => {
                    let size = it
                        .size
                        .ok_or_else(|| other("the hub lists a file without its size"))?;
                    files.insert(it.filename, size);
                }
                Message::Reply(Reply::FilesExist { .. } | Reply::NoSuchFile) => {}
                Message::Reply(reply) => return Err(refused(&reply)),
                Message::Request(_) => return Err(other("the hub answers a list by a command")),
            }
        }
        held(&self.sizes).extend(&files);
        Ok(files)
    }

    /// Takes note of a file that this run has added.
    pub(super) fn has_come(&self, name: Name, size: u64) {
        held(&self.sizes).insert(name, size);
    }

    pub(super) fn size(&self, name: Name) -> io::Result<u64> {
        let known = held(&self.sizes).get(&name).copied();
        if let Some(size) = known {
            return Ok(size);
        }
        let all = self.list(Kinds::All)?;
        all.get(&name).copied().ok_or_else(absent)
    }

    /// A whole file, compared with its name.
    pub(super) fn read(&self, name: Name) -> io::Result<Bytes> {
        let size = self.size(name)?;
        self.get(Wanted {
            name,
            size,
            part: None,
        })
    }

    /// Some bytes of a file.
    pub(super) fn read_at(&self, name: Name, offset: u32, length: u32) -> io::Result<Bytes> {
        let (wanted, within) = self.part(name, offset, length)?;
        Ok(self.get(wanted)?.slice(within))
    }

    /// The part of a file that is fetched for these bytes, and where they are in it.
    fn part(&self, name: Name, offset: u32, length: u32) -> io::Result<(Wanted, Range<usize>)> {
        let size = self.size(name)?;
        let (offset, length) = (u64::from(offset), u64::from(length));
        if offset + length > size {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        let begin = offset / ROUND * ROUND;
        let end = (offset + length).next_multiple_of(ROUND).min(size);
        let part = Some((begin, end - begin));
        let at = usize::try_from(offset - begin).unwrap_or(0);
        let len = usize::try_from(length).unwrap_or(0);
        Ok((Wanted { name, size, part }, at..at + len))
    }

    /// Looks at the copy that is read, and finds another one if it is damaged. Whether
    /// it was, and there is one.
    pub(super) fn mend(&self, name: Name) -> bool {
        let before = held(&self.known).get(&name).cloned();
        let read = self.read(name);
        let after = held(&self.known).get(&name).cloned();
        read.is_ok() && before.is_some() && before != after
    }

    fn get(&self, wanted: Wanted) -> io::Result<Bytes> {
        let known = held(&self.known).get(&wanted.name).cloned();
        let open = self.peers.open();
        let others = open.iter().filter(|user| Some(*user) != known.as_ref());
        let mut failed = None;
        for user in known.iter().chain(others) {
            if held(&self.bad).contains(&(wanted.name, user.clone())) {
                continue;
            }
            match self.get_at(wanted, user) {
                Ok(bytes) => return Ok(bytes),
                Err(NotStored::Corrupt) => failed = Some((user.clone(), NotStored::Corrupt)),
                Err(_) => {}
            }
        }
        self.get_by_hub(wanted, failed)
            .or_else(|e| self.get_damaged(wanted).ok_or(e))
    }

    /// A part of a damaged file: it may be a good one, which its seal says.
    fn get_damaged(&self, wanted: Wanted) -> Option<Bytes> {
        wanted.part?;
        let bad = held(&self.bad).clone();
        let mut of_it = bad.iter().filter(|(name, _)| *name == wanted.name);
        of_it.find_map(|(_, user)| self.get_at(wanted, user).ok())
    }

    /// Asks the hub who has it, and reports those that have not.
    fn get_by_hub(
        &self,
        wanted: Wanted,
        mut failed: Option<(User, NotStored)>,
    ) -> io::Result<Bytes> {
        let Wanted { name, size, .. } = wanted;
        let mut asked = false;
        for _ in 0..MOST {
            let request: Request = match failed.take() {
                // The state in which copies are given up begins with a source.
                Some((user, reason)) if asked => {
                    let mut nst = Nst::new(user);
                    nst.name = Some(name);
                    nst.reason = Some(reason);
                    nst.into()
                }
                _ => Get::new(name, size).into(),
            };
            asked = true;
            let source = match self.client.ask(request)?.pop() {
                Some(Message::Request(Request::Src(it))) => it,
                Some(Message::Reply(Reply::NoSuchFile)) => return Err(absent()),
                Some(Message::Reply(Reply::NotOnline { .. })) if self.may_wait() => {
                    thread::sleep(PAUSE);
                    continue;
                }
                Some(Message::Reply(Reply::NotOnline { .. })) => {
                    return Err(other("no keeper that has it is online"));
                }
                Some(Message::Reply(reply)) => return Err(refused(&reply)),
                _ => return Err(other("the hub names no source")),
            };
            let user = source.username.clone();
            if held(&self.bad).contains(&(name, user.clone())) {
                failed = Some((user, NotStored::Corrupt));
                continue;
            }
            match self.get_from(wanted, &keeper(source)) {
                Ok(bytes) => return Ok(bytes),
                Err(reason) => failed = Some((user, reason)),
            }
        }
        Err(other("no keeper sends it"))
    }

    /// Whether keepers that are away are waited for still: they may be back soon, as after
    /// the hub was gone.
    fn may_wait(&self) -> bool {
        let mut until = held(&self.away_until);
        *until.get_or_insert_with(|| Instant::now() + AWAY) > Instant::now()
    }

    /// Gets it from a keeper that may have it.
    fn get_at(&self, wanted: Wanted, user: &User) -> Result<Bytes, NotStored> {
        self.get_over(wanted, user, || self.way_to(user))
    }

    /// Gets it from a keeper that the hub has named for it. One that can be asked for
    /// all of its files is the better one.
    fn get_from(&self, wanted: Wanted, keeper: &Keeper) -> Result<Bytes, NotStored> {
        self.get_over(wanted, &keeper.user, || {
            self.way_to(&keeper.user).or_else(|_| Ok(keeper.clone()))
        })
    }

    fn way_to(&self, user: &User) -> Result<Keeper, NotStored> {
        match self
            .client
            .ask(Rec::new(user.clone()))
            .ok()
            .and_then(|mut it| it.pop())
        {
            Some(Message::Request(Request::Src(it))) => Ok(keeper(it)),
            _ => Err(NotStored::Unreachable),
        }
    }

    fn get_over(
        &self,
        wanted: Wanted,
        user: &User,
        way: impl FnMut() -> Result<Keeper, NotStored>,
    ) -> Result<Bytes, NotStored> {
        let Wanted { name, size, part } = wanted;
        let mut bytes = Vec::new();
        let mut in_vain = 0;
        let done = self.peers.with_lines(&self.client, user, way, |line| {
            let before = bytes.len();
            let come = fetch(line, name, size, part, &mut bytes);
            in_vain = if bytes.len() > before { 0 } else { in_vain + 1 };
            match come {
                // It is not the way: the file ends there.
                Err(NotStored::Timeout) if in_vain == IN_VAIN => {
                    held(&self.bad).insert((name, user.clone()));
                    Err(NotStored::Refused)
                }
                come => come,
            }
        });
        done?;
        if part.is_none() && sha256(&bytes) != name.0 {
            held(&self.bad).insert((name, user.clone()));
            return Err(NotStored::Corrupt);
        }
        held(&self.known).insert(name, user.clone());
        Ok(bytes.into())
    }

    /// What a keeper says that it has.
    pub(super) fn inventory(&self, user: &User) -> Result<Files, NotStored> {
        let way = || self.way_to(user);
        let owner = &self.client.account().user;
        self.peers.with_lines(&self.client, user, way, |line| {
            inventory::ask(line, owner).map_err(|e| reason(&e))
        })
    }

    /// A whole file from this keeper.
    pub(super) fn read_from(&self, name: Name, user: &User) -> Result<Bytes, NotStored> {
        let size = self.size(name).map_err(|_| NotStored::Missing)?;
        self.read_as(name, size, user)
    }

    /// The same of one that the hub need not list.
    pub(super) fn read_as(&self, name: Name, size: u64, user: &User) -> Result<Bytes, NotStored> {
        let part = None;
        self.get_at(Wanted { name, size, part }, user)
    }

    /// Reads a chunk back from this keeper.
    pub(super) fn prove(
        &self,
        name: Name,
        user: &User,
        sample: &Sample,
        opens: &Opens<'_>,
    ) -> Result<(), NotStored> {
        let (wanted, within) = self
            .part(name, sample.offset, sample.length)
            .map_err(|_| NotStored::Missing)?;
        let bytes = self.get_at(wanted, user)?;
        if !opens(&sample.chunk, &bytes[within]) {
            held(&self.bad).insert((name, user.clone()));
            return Err(NotStored::Corrupt);
        }
        Ok(())
    }

    /// Says to the hub that the copy of this keeper is none.
    pub(super) fn give_up(&self, name: Name, user: &User) {
        held(&self.known).remove(&name);
        let mut nst = Nst::new(user.clone());
        nst.name = Some(name);
        nst.reason = Some(NotStored::Corrupt);
        // A source of it, which is another keeper, or that there is none.
        let _ = self.client.ask(nst);
    }
}

fn keeper(source: Src) -> Keeper {
    Keeper {
        user: source.username,
        key: source.key,
        way: source.ip,
        lan: source.lan,
    }
}

/// The kinds of files that a repository has.
pub(super) fn wire_kind(kind: crate::backup::keeper::Kind) -> Kind {
    use crate::backup::keeper::Kind as Own;
    match kind {
        Own::Config => Kind::Config,
        Own::Data => Kind::Data,
        Own::Index => Kind::Index,
        Own::Snapshot => Kind::Snapshot,
    }
}
