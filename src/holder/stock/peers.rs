//! What the session of a peer may have of the store: a part to write a file into, a
//! file to read, a list. Each is asked for by name, and given as an open file.

use std::os::fd::OwnedFd;

use super::message::{Coming, FromSession, Listed, MOST_LISTED, ToSession};
use super::tickets::Expected;
use super::{Result, Stock, Trouble};
use crate::holder::store::catalog::{Filed, Owner, OwnerId, State};
use crate::holder::store::shelves::Shelf;
use crate::hub::peer::signer::Signer;
use crate::hub::proofs::Statement;
use crate::hub::wire::{Code, Key, Kind, Kinds, Name, Signature, User};

/// A peer that a gate has let in.
#[derive(Debug)]
pub(super) struct Peer {
    /// Its name.
    pub user: User,
    /// The key that it has shown to have.
    pub key: Key,
    /// The file that comes.
    pub taking: Option<Taking>,
}

/// A file that comes.
#[derive(Clone, Debug)]
pub(super) struct Taking {
    name: Name,
    size: u64,
    kind: Kind,
    owner: User,
    key: Key,
    sig: Signature,
}

impl Taking {
    /// Its bytes.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Whether it is this file.
    pub fn is(&self, key: &Key, name: Name) -> bool {
        self.key == *key && self.name == name
    }
}

impl Stock {
    /// Answers the session of this number, which has entered.
    pub(super) fn hear_session(&mut self, number: u64, ask: FromSession) -> Result<ToSession> {
        let answer = match ask {
            // Another one is of no use.
            FromSession::Enter(_) => Err(Code::NotAllowed.into()),
            FromSession::Take(coming) => self.take(number, &coming),
            FromSession::Whole => self.publish(number),
            FromSession::Spoiled => self.spoiled(number),
            FromSession::Fetch { name, size } => self.fetch(number, name, size),
            FromSession::FetchIndex { user, name } => self.fetch_index(number, &user, name),
            FromSession::List {
                user,
                kinds,
                behind,
            } => self.list(number, &user, kinds, behind),
        };
        match answer {
            Err(Trouble::Refused(code)) => Ok(ToSession::Refused(code.number())),
            Err(Trouble::Io(e)) if is_full(&e) => Ok(ToSession::Refused(Code::NoSpace.number())),
            Err(Trouble::Io(e)) => {
                log::error!(error:% = e; "store");
                self.look_at_store()?;
                Ok(ToSession::Refused(Code::NoSuchFile.number()))
            }
            other => other,
        }
    }

    fn peer(&self, number: u64) -> Result<&Peer> {
        Ok(self.peers.get(&number).ok_or(Code::NotAllowed)?)
    }

    /// A part for a file that a ticket is for.
    fn take(&mut self, number: u64, coming: &Coming) -> Result<ToSession> {
        let peer = self.peer(number)?;
        let expected = self.tickets.expected(&peer.user, &peer.key, coming.name);
        let fits = expected.filter(|it| {
            let is_kind = coming.kind.is_none_or(|kind| kind == it.kind);
            let is_owner = coming.owner.as_ref().is_none_or(|owner| *owner == it.owner);
            it.size == coming.size && is_kind && is_owner
        });
        let it = fits.ok_or(Code::NotMine)?.clone();
        let (taking, part, from) = self.open_part(it, coming.sig)?;
        if let Some(peer) = self.peers.get_mut(&number) {
            peer.taking = Some(taking);
        }
        Ok(ToSession::Take { part, from })
    }

    /// A part for a file that its owner has signed, and how much of it is there. Who has
    /// had it before, on a line that is lost, has no claim to it any more.
    pub(super) fn open_part(
        &mut self,
        it: Expected,
        sig: Option<Signature>,
    ) -> Result<(Taking, OwnedFd, u64)> {
        let sig = sig.ok_or(Code::NotMine)?;
        let statement = Statement::File {
            hub: &self.settings.hub,
            owner: &it.owner,
            name: it.name,
            size: it.size,
        };
        if !statement.is_signed(&it.key, &sig) {
            return Err(Code::NotMine.into());
        }
        let (part, from) = self.shelves.open_part(&it.key, it.name, it.size)?;
        for peer in self.peers.values_mut() {
            peer.taking.take_if(|taking| taking.is(&it.key, it.name));
        }
        self.errands.drop_claims(&it.key, it.name);
        let taking = Taking {
            name: it.name,
            size: it.size,
            kind: it.kind,
            owner: it.owner,
            key: it.key,
            sig,
        };
        Ok((taking, part, from))
    }

    fn taken(&mut self, number: u64) -> Result<Taking> {
        let peer = self.peers.get_mut(&number).ok_or(Code::NotAllowed)?;
        Ok(peer.taking.take().ok_or(Code::NoSuchFile)?)
    }

    /// A file is on disk, under its name, and has its row, before the receipt goes out.
    fn publish(&mut self, number: u64) -> Result<ToSession> {
        let taking = self.taken(number)?;
        let file = self.put_away(&taking)?;
        let (name, size) = (file.name, file.size);
        let peer = self.peer(number)?;
        let (user, is_owners) = (peer.user.clone(), peer.key == taking.key);
        self.tickets.used(&user, name);
        if !is_owners {
            // An owner shows the receipt to the hub itself.
            self.report_file(file)?;
        }
        let receipt = Statement::Receipt {
            hub: &self.settings.hub,
            holder: &self.settings.user,
            owner: &taking.owner,
            name,
            size,
        };
        Ok(ToSession::Receipt(self.keys.sign(&receipt)?))
    }

    /// Puts a whole part into its place, and enters it.
    pub(super) fn put_away(&mut self, taking: &Taking) -> Result<Filed> {
        let owner = self.pinned(&taking.owner, taking.key)?;
        let Taking {
            name,
            size,
            kind,
            ref key,
            ref sig,
            ..
        } = *taking;
        let before = self.catalog.file(owner, name)?;
        self.shelves.publish(key, kind, name, size, sig)?;
        if let Some(before) = &before {
            self.leaves(before);
            if before.until.is_some() {
                let shelf = Shelf::Trash;
                self.shelves.remove(shelf, key, before.kind, name)?;
            }
        }
        let file = Filed {
            owner,
            name,
            size,
            kind,
            sig: *sig,
            state: State::Whole,
            since: self.now,
            until: None,
            is_proven: false,
        };
        self.catalog.put(&file)?;
        self.comes(&file);
        Ok(file)
    }

    /// The owner, whose key is the one that was known first.
    fn pinned(&self, user: &User, key: Key) -> Result<OwnerId> {
        match self.catalog.owner(user)? {
            Some(owner) if owner.key == key => Ok(owner.id),
            Some(_) => Err(Code::NotMine.into()),
            None => {
                self.shelves.add_owner(user, &key)?;
                Ok(self.catalog.add_owner(user, key)?)
            }
        }
    }

    fn spoiled(&mut self, number: u64) -> Result<ToSession> {
        let taking = self.taken(number)?;
        self.drop_part(&taking)?;
        Ok(ToSession::Dropped)
    }

    /// Takes a part away that is of no use.
    pub(super) fn drop_part(&self, taking: &Taking) -> Result<()> {
        Ok(self.shelves.drop_part(&taking.key, taking.name)?)
    }

    /// Who this peer is as an owner, if it is one.
    fn as_owner(&self, peer: &Peer) -> Result<Option<Owner>> {
        let owner = self.catalog.owner(&peer.user)?;
        Ok(owner.filter(|owner| owner.key == peer.key))
    }

    /// A file: an owner's own, or for a holder the one that its ticket names.
    fn fetch(&mut self, number: u64, name: Name, size: Option<u64>) -> Result<ToSession> {
        let peer = self.peer(number)?;
        let owner = self.as_owner(peer)?.map(|owner| owner.id);
        let is_named = self.tickets.may_fetch(&peer.user, &peer.key, name);
        let files = self.catalog.named(name)?;
        let is_known = !files.is_empty();
        let mut files = files.into_iter().filter(|file| match owner {
            Some(owner) => file.owner == owner,
            None => is_named,
        });
        let is_right = |file: &Filed| size.is_none_or(|size| file.size == size);
        match files.next() {
            Some(file) if file.state.is_there() && is_right(&file) => self.give(&file),
            None if is_known => Err(Code::NotMine.into()),
            _ => Err(Code::NoSuchFile.into()),
        }
    }

    fn fetch_index(&mut self, number: u64, user: &User, name: Option<Name>) -> Result<ToSession> {
        let owner = self.own(number, user)?;
        let file = match name {
            Some(name) => self.catalog.file(owner.id, name)?,
            None => self.catalog.newest(owner.id, Kind::Snapshot)?,
        };
        let is_right = |file: &Filed| file.state.is_there() && file.kind != Kind::Data;
        self.give(&file.filter(is_right).ok_or(Code::NoSuchFile)?)
    }

    /// The owner that this peer is, of that name.
    fn own(&self, number: u64, user: &User) -> Result<Owner> {
        let peer = self.peer(number)?;
        let owner = self.as_owner(peer)?.filter(|owner| owner.user == *user);
        Ok(owner.ok_or(Code::NoSuchFile)?)
    }

    fn give(&mut self, file: &Filed) -> Result<ToSession> {
        let owner = self.catalog.owner_of(file.owner)?;
        let opened = self.open(&owner, file)?;
        Ok(ToSession::Give {
            file: opened.into(),
            name: file.name,
            size: file.size,
            kind: file.kind,
            sig: file.sig,
            owner: owner.user,
        })
    }

    /// Opens a file. One that is not there is lost.
    pub(super) fn open(&mut self, owner: &Owner, file: &Filed) -> Result<std::fs::File> {
        let shelf = Stock::shelf(file);
        match self.shelves.read(shelf, &owner.key, file.kind, file.name) {
            Ok(opened) => Ok(opened),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
                self.look_at_store()?;
                self.lost.push((owner.clone(), file.clone()));
                Err(Code::NoSuchFile.into())
            }
            Err(e) => Err(e.into()),
        }
    }

    fn list(
        &self,
        number: u64,
        user: &User,
        kinds: Option<Kinds>,
        behind: Option<Name>,
    ) -> Result<ToSession> {
        let owner = self.own(number, user)?;
        let kind = match kinds {
            Some(Kinds::Only(kind)) => Some(kind),
            Some(Kinds::All) | None => None,
        };
        let files = self.catalog.list(owner.id, kind, behind, MOST_LISTED)?;
        let files = files.into_iter().map(|file| Listed {
            name: file.name,
            size: file.size,
            time: u64::try_from(file.since + self.ahead).unwrap_or(0),
            kind: file.kind,
            is_trash: file.until.is_some(),
        });
        Ok(ToSession::Listed(files.collect()))
    }
}

fn is_full(e: &std::io::Error) -> bool {
    use std::io::ErrorKind as K;
    matches!(
        e.kind(),
        K::StorageFull | K::QuotaExceeded | K::FileTooLarge
    )
}
