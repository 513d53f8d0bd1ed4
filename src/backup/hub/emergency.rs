//! Copies at keepers that are asked without their hub, which is gone: all there is can
//! be read, and nothing is added or removed.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, ErrorKind};
use std::sync::{Arc, Mutex};
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use openssl::sha::sha256;

use super::book::Book;
use super::peers::fetch;
use super::reading::wire_kind;
use super::{Nothing, wire_name};
use crate::backup::account::{Account, first_certificate, resolve};
use crate::backup::keeper::{Kind, Name};
use crate::backup::keepers::{Access, Copies, Locks, Report, held};
use crate::backup::seed::Seed;
use crate::backup::{BackupError, Result};
use crate::hub::peer::PeerError;
use crate::hub::peer::introduction::Parties;
use crate::hub::peer::peer_line::PeerLine;
use crate::hub::wire::request::Inventory;
use crate::hub::wire::{
    self, Key, Kinds, Line, Message, Purpose, Reply, Request, Shelf, User, Value, Way,
};
use crate::net::tls::certificate::ed25519_key;
use crate::text::{hex, reason};

/// The most files of a keeper's list.
const MOST: u64 = 10_000_000;

/// Keepers that have answered.
pub(in crate::backup) struct Emergency {
    keepers: Vec<Keeper>,
    report: Arc<Report>,
    /// Whose copy is none.
    bad: Mutex<BTreeSet<(wire::Name, String)>>,
}

struct Keeper {
    name: String,
    line: Mutex<Option<PeerLine>>,
    files: BTreeMap<wire::Name, (wire::Kind, u64)>,
}

impl Emergency {
    /// Asks keepers, each of which is `NAME@HOST:PORT`, what they have of this owner.
    pub(in crate::backup) fn open(
        account: &Account,
        seed: &Seed,
        keepers: &[String],
        report: Arc<Report>,
    ) -> Result<Emergency> {
        let mut found: Vec<Keeper> = Vec::new();
        let mut waiting: Vec<(String, Option<Key>)> = Vec::new();
        waiting.extend(keepers.iter().map(|keeper| (keeper.clone(), None)));
        let mut seen: BTreeSet<String> = keepers.iter().map(|it| user_in(it)).collect();
        while let Some((keeper, key)) = waiting.pop() {
            match ask(account, seed, &keeper, key) {
                Ok(it) => {
                    let others = others(&it, seed).into_iter();
                    waiting.extend(others.filter(|(other, _)| seen.insert(user_in(other))));
                    found.push(it);
                }
                Err(why) => report.note(&keeper, &why),
            }
        }
        if found.is_empty() {
            let text = format!("{}: no keeper has answered", keepers.join(", "));
            let notes = report.take().join("; ");
            return Err(BackupError::NoHub(format!("{text}: {notes}")));
        }
        Ok(Emergency {
            keepers: found,
            report,
            bad: Mutex::default(),
        })
    }

    /// Those that say they have it.
    fn with(&self, name: wire::Name) -> impl Iterator<Item = (&Keeper, u64)> {
        let all = self.keepers.iter();
        all.filter_map(move |it| it.files.get(&name).map(|(_, size)| (it, *size)))
    }

    fn get(&self, name: wire::Name, part: Option<(u64, u64)>) -> io::Result<Bytes> {
        let mut error = io::Error::from(ErrorKind::NotFound);
        for (keeper, size) in self.with(name) {
            if held(&self.bad).contains(&(name, keeper.name.clone())) {
                continue;
            }
            let mut line = held(&keeper.line);
            let Some(open) = line.as_mut() else {
                error = io::Error::other(format!("keeper {}: its line is lost", keeper.name));
                continue;
            };
            match fetch(open, name, size, part) {
                Ok(bytes) if part.is_some() || sha256(&bytes) == name.0 => return Ok(bytes.into()),
                Ok(_) => {
                    let what = format!("{} is damaged", hex(&name.0[..4]));
                    self.report.note(&keeper.name, &what);
                    held(&self.bad).insert((name, keeper.name.clone()));
                    error = ErrorKind::InvalidData.into();
                }
                Err(wire::NotStored::Missing) => {}
                Err(why) => {
                    *line = None;
                    let what = format!("its line is lost: {}", why.word());
                    self.report.note(&keeper.name, &what);
                    error = io::Error::other(what);
                }
            }
        }
        Err(error)
    }
}

/// The name of `NAME@HOST:PORT`.
fn user_in(keeper: &str) -> String {
    let name = keeper.split_once('@').map_or(keeper, |(name, _)| name);
    name.to_owned()
}

/// The keepers that the books at one of them name.
fn others(keeper: &Keeper, seed: &Seed) -> Vec<(String, Option<Key>)> {
    let mut book = Book::default();
    let mut line = held(&keeper.line);
    for (name, (kind, size)) in &keeper.files {
        if *kind != wire::Kind::Book || *size > kind.max_size() {
            continue;
        }
        let file = line
            .as_mut()
            .and_then(|line| fetch(line, *name, *size, None).ok());
        if let Some(other) = file.and_then(|file| Book::open(&file, seed)) {
            book.merge(other);
        }
    }
    let keepers = book.keepers.into_iter();
    let dialled = keepers.filter_map(|(user, (key, way))| match way {
        Way::Direct(address) => Some((format!("{}@{address}", user.as_str()), Some(key))),
        _ => None,
    });
    dialled.collect()
}

/// Dials a keeper, whose key, where no book names it, is the one that it shows: what it
/// sends is checked by name and by seal, and it learns nothing but who asks.
fn ask(
    account: &Account,
    seed: &Seed,
    keeper: &str,
    key: Option<Key>,
) -> std::result::Result<Keeper, String> {
    let text = |e: BackupError| e.to_string();
    let (name, address) = keeper.split_once('@').ok_or("not NAME@HOST:PORT")?;
    let other = User::read(name).ok_or("no name of a user before the @")?;
    let key = match key {
        Some(key) => key,
        None => {
            let certificate = first_certificate(address, crate::hub::peer::ALPN).map_err(text)?;
            Key(ed25519_key(&certificate).ok_or("its certificate is not that of a keeper")?)
        }
    };
    let failed = |e: PeerError| e.to_string();
    let mut line = PeerLine::dial(&resolve(address).map_err(text)?, &key).map_err(failed)?;
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    let parties = Parties {
        own: account.user.clone(),
        other,
        key,
        time: since.map_or(0, |since| since.as_secs()),
    };
    let keys = seed.hub_keys().map_err(text)?;
    line.introduce(&parties, Purpose::Emergency, None, &keys)
        .map_err(failed)?;
    let files = list(&mut line, &account.user).map_err(failed)?;
    Ok(Keeper {
        name: format!("keeper {name}"),
        line: Mutex::new(Some(line)),
        files,
    })
}

type Files = BTreeMap<wire::Name, (wire::Kind, u64)>;

fn list(line: &mut PeerLine, user: &User) -> std::result::Result<Files, PeerError> {
    let mut inventory = Inventory::new(user.clone());
    inventory.kind = Some(Kinds::All);
    let id = line.request(inventory)?;
    let left = match line.reply(id)? {
        Reply::FilesExist { number } => number.unwrap_or(0),
        Reply::NoSuchFile => 0,
        reply => return Err(PeerError::Refused(reply)),
    };
    if left > MOST {
        return Err(PeerError::Broken("a list that is too long"));
    }
    let mut files = Files::new();
    for number in (1..=left).rev() {
        let Line {
            id: Some(of),
            message: Message::Request(Request::Idx(it)),
        } = line.line()?
        else {
            return Err(PeerError::Broken("something else than a list"));
        };
        if of != id || it.number != number {
            return Err(PeerError::Broken("a list that is out of order"));
        }
        if let (Some(kind), Some(size)) = (it.kind, it.size)
            && it.state != Some(Shelf::Trash)
        {
            files.insert(it.filename, (kind, size));
        }
    }
    Ok(files)
}

fn read_only() -> io::Error {
    io::Error::other("without their hub keepers only give back what they have")
}

impl Copies for Emergency {
    fn list(&self, kind: Kind) -> io::Result<BTreeMap<String, u64>> {
        let kind = wire_kind(kind);
        let all = self.keepers.iter().flat_map(|it| &it.files);
        let of_kind = all.filter(|(_, (of, _))| *of == kind);
        Ok(of_kind
            .map(|(name, (_, size))| (hex(&name.0), *size))
            .collect())
    }

    fn read(&self, name: &Name) -> io::Result<Bytes> {
        self.get(wire_name(name)?, None)
    }

    fn read_at(&self, name: &Name, offset: u32, length: u32) -> io::Result<Bytes> {
        self.get(wire_name(name)?, Some((offset.into(), length.into())))
    }

    fn write(&self, _: &Name, _: &[Bytes]) -> io::Result<()> {
        Err(read_only())
    }

    fn remove(&self, _: &Name) -> io::Result<()> {
        Err(read_only())
    }

    fn mend(&self, name: &Name) -> bool {
        let damaged = || held(&self.bad).len();
        let before = damaged();
        self.read(name).is_ok() && damaged() > before
    }

    fn verify(&self, lost: &mut Vec<String>) -> Result<u64> {
        for kind in Kind::ALL {
            let files = self.list(kind).unwrap_or_default();
            for digits in files.into_keys() {
                let name = Name { kind, digits };
                if let Err(e) = self.read(&name) {
                    lost.push(format!("{}: no good copy: {}", name.digits, reason(&e)));
                }
            }
        }
        Ok(0)
    }

    fn is_far(&self) -> bool {
        true
    }

    fn lock(&self, access: Access) -> Result<Option<Box<dyn Locks>>> {
        match access {
            Access::Read => Ok(Some(Box::new(Nothing))),
            _ => Err(BackupError::Failed(read_only().to_string())),
        }
    }

    fn location(&self) -> String {
        let names: Vec<&str> = self.keepers.iter().map(|it| it.name.as_str()).collect();
        names.join(", ")
    }
}
