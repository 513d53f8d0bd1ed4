//! Copies at keepers that are asked without their hub, which is gone: all there is can
//! be read, and nothing is added or removed.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, ErrorKind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use openssl::sha::sha256;

use super::book::Book;
use super::inventory::{self, Files, Stored};
use super::peers::fetch;
use super::port::Port;
use super::reading::wire_kind;
use super::{Nothing, wire_name};
use crate::backup::account::{Account, first_certificate, resolve, shown_over};
use crate::backup::keeper::{Kind, Name};
use crate::backup::keepers::{Access, Copies, Locks, Report, held};
use crate::backup::seed::Seed;
use crate::backup::{BackupError, Result};
use crate::hub::peer::introduction::Parties;
use crate::hub::peer::peer_line::{HOST, PeerLine};
use crate::hub::peer::{ALPN, PeerError};
use crate::hub::wire::{self, Key, Purpose, User, Value, Way};
use crate::net::tls::certificate::ed25519_key;
use crate::text::{hex, reason};

/// How often a line that is lost is made again for a file.
const TRIES: u32 = 3;

/// Keepers that have answered.
pub(in crate::backup) struct Emergency {
    account: Account,
    seed: Seed,
    keepers: Vec<Keeper>,
    report: Arc<Report>,
    /// Whose copy is none.
    bad: Mutex<BTreeSet<(wire::Name, String)>>,
}

struct Keeper {
    name: String,
    place: Place,
    line: Mutex<Option<PeerLine>>,
    /// It answers no more.
    is_gone: AtomicBool,
    files: Files,
}

/// The way to a keeper, and who it has to be.
struct Place {
    road: Road,
    user: User,
    key: Key,
}

/// Who connects to whom.
enum Road {
    /// This machine, to `HOST:PORT`.
    To(String),
    /// The keeper, to this port.
    Here(Port),
}

impl Road {
    /// That of `HOST:PORT`, or of `:PORT`.
    fn of(address: &str) -> std::result::Result<Road, String> {
        let Some(port) = address.strip_prefix(':') else {
            return Ok(Road::To(address.to_owned()));
        };
        let number = port.parse().ok().filter(|port| *port > 0);
        let number = number.ok_or("no number of a port behind @:")?;
        let port = Port::open(number).map_err(|e| format!("port {number}: {}", reason(&e)))?;
        Ok(Road::Here(port))
    }

    /// The key of the certificate that the keeper shows.
    fn shown_key(&self) -> std::result::Result<Key, String> {
        let certificate = match self {
            Road::To(address) => first_certificate(address, ALPN).map_err(|e| e.to_string())?,
            Road::Here(port) => port.take(|socket| shown_over(socket, HOST, ALPN))?,
        };
        let key = ed25519_key(&certificate);
        key.map(Key)
            .ok_or_else(|| "its certificate is not that of a keeper".to_owned())
    }

    /// A line to the keeper with this key.
    fn line(&self, key: &Key) -> std::result::Result<PeerLine, String> {
        let failed = |e: PeerError| e.to_string();
        match self {
            Road::To(address) => {
                let addresses = resolve(address).map_err(|e| e.to_string())?;
                PeerLine::dial(&addresses, key).map_err(failed)
            }
            Road::Here(port) => port.take(|socket| PeerLine::called(socket, key).map_err(failed)),
        }
    }
}

impl Emergency {
    /// Asks keepers, each of which is `NAME@HOST:PORT`, or `NAME@:PORT` for one that
    /// connects to this port, what they have of this owner.
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
            ..Emergency::none(account, seed, report)
        })
    }

    /// Nobody to ask.
    pub(super) fn none(account: &Account, seed: &Seed, report: Arc<Report>) -> Emergency {
        Emergency {
            account: account.clone(),
            seed: seed.clone(),
            keepers: Vec::new(),
            report,
            bad: Mutex::default(),
        }
    }

    /// Those that say they have it.
    fn with(&self, name: wire::Name) -> impl Iterator<Item = (&Keeper, u64)> {
        let all = self.keepers.iter();
        all.filter_map(move |it| it.files.get(&name).map(|stored| (it, stored.size)))
    }

    /// What each of them has.
    pub(super) fn files(&self) -> impl Iterator<Item = &Files> {
        self.keepers.iter().map(|it| &it.files)
    }

    pub(super) fn get(&self, name: wire::Name, part: Option<(u64, u64)>) -> io::Result<Bytes> {
        let mut error = io::Error::from(ErrorKind::NotFound);
        let is_bad = |it: &(&Keeper, u64)| held(&self.bad).contains(&(name, it.0.name.clone()));
        let (bad, good): (Vec<_>, Vec<_>) = self.with(name).partition(is_bad);
        // A part of a damaged file may be good: its seal says that.
        let bad = bad.into_iter().filter(|_| part.is_some());
        for (keeper, size) in good.into_iter().chain(bad) {
            if keeper.is_gone.load(Ordering::Relaxed) {
                error = io::Error::other(format!("{} is gone", keeper.name));
                continue;
            }
            match self.get_from(keeper, name, size, part) {
                Ok(bytes) if part.is_some() || sha256(&bytes) == name.0 => return Ok(bytes.into()),
                Ok(_) => {
                    let what = format!("{} is damaged", hex(&name.0[..4]));
                    self.report.note(&keeper.name, &what);
                    held(&self.bad).insert((name, keeper.name.clone()));
                    error = ErrorKind::InvalidData.into();
                }
                Err(wire::NotStored::Missing) => {}
                Err(why) => {
                    let what = format!("does not send {}: {}", hex(&name.0[..4]), why.word());
                    self.report.note(&keeper.name, &what);
                    held(&self.bad).insert((name, keeper.name.clone()));
                    error = io::Error::other(format!("{} {what}", keeper.name));
                }
            }
        }
        Err(error)
    }

    /// Fetches it over the line that is open, or over a new one.
    fn get_from(
        &self,
        keeper: &Keeper,
        name: wire::Name,
        size: u64,
        part: Option<(u64, u64)>,
    ) -> std::result::Result<Vec<u8>, wire::NotStored> {
        let mut line = held(&keeper.line);
        let mut bytes = Vec::new();
        let mut tries = 0;
        loop {
            let open = match line.take() {
                Some(open) => Ok(open),
                None => dial(&self.account, &self.seed, &keeper.place),
            };
            let mut open = open.map_err(|_| {
                keeper.is_gone.store(true, Ordering::Relaxed);
                wire::NotStored::Unreachable
            })?;
            match fetch(&mut open, name, size, part, &mut bytes) {
                Ok(()) => {
                    *line = Some(open);
                    return Ok(bytes);
                }
                Err(wire::NotStored::Missing) => {
                    *line = Some(open);
                    return Err(wire::NotStored::Missing);
                }
                Err(why) if tries == TRIES => return Err(why),
                Err(_) => tries += 1,
            }
        }
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
    for (name, Stored { kind, size, .. }) in &keeper.files {
        if *kind != wire::Kind::Book || *size > kind.max_size() {
            continue;
        }
        let mut file = Vec::new();
        let come = line
            .as_mut()
            .and_then(|line| fetch(line, *name, *size, None, &mut file).ok());
        if let Some(other) = come.and_then(|()| Book::open(&file, seed)) {
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

/// Asks a keeper, whose key, where no book names it, is the one that it shows: what it
/// sends is checked by name and by seal, and it learns nothing but who asks.
fn ask(
    account: &Account,
    seed: &Seed,
    keeper: &str,
    key: Option<Key>,
) -> std::result::Result<Keeper, String> {
    let (name, address) = keeper.split_once('@').ok_or("not NAME@HOST:PORT")?;
    let user = User::read(name).ok_or("no name of a user before the @")?;
    let road = Road::of(address)?;
    let key = match key {
        Some(key) => key,
        None => road.shown_key()?,
    };
    let failed = |e: PeerError| e.to_string();
    let place = Place { road, user, key };
    let mut line = dial(account, seed, &place)?;
    let files = inventory::ask(&mut line, &account.user).map_err(failed)?;
    Ok(Keeper {
        name: format!("keeper {name}"),
        place,
        line: Mutex::new(Some(line)),
        is_gone: AtomicBool::new(false),
        files,
    })
}

fn dial(account: &Account, seed: &Seed, place: &Place) -> std::result::Result<PeerLine, String> {
    let text = |e: BackupError| e.to_string();
    let failed = |e: PeerError| e.to_string();
    let mut line = place.road.line(&place.key)?;
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    let parties = Parties {
        own: account.user.clone(),
        other: place.user.clone(),
        key: place.key,
        time: since.map_or(0, |since| since.as_secs()),
    };
    let keys = seed.hub_keys().map_err(text)?;
    line.introduce(&parties, Purpose::Emergency, None, &keys)
        .map_err(failed)?;
    Ok(line)
}

fn read_only() -> io::Error {
    io::Error::other("without their hub keepers only give back what they have")
}

impl Copies for Emergency {
    fn list(&self, kind: Kind) -> io::Result<BTreeMap<String, u64>> {
        let kind = wire_kind(kind);
        let all = self.keepers.iter().flat_map(|it| &it.files);
        let of_kind = all.filter(|(_, it)| it.kind == kind && !it.is_trash);
        Ok(of_kind.map(|(name, it)| (hex(&name.0), it.size)).collect())
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
