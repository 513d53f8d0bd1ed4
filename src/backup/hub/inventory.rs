//! What a keeper says that it has of its owner's.

use std::collections::BTreeMap;

use crate::hub::peer::PeerError;
use crate::hub::peer::peer_line::PeerLine;
use crate::hub::wire::request::Inventory;
use crate::hub::wire::{Kind, Kinds, Line, Message, Name, Reply, Request, Shelf, User};

/// The most files of a keeper's list.
const MOST: u64 = 10_000_000;

/// A file at a keeper.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stored {
    pub(super) kind: Kind,
    pub(super) size: u64,
    pub(super) is_trash: bool,
}

/// Files at a keeper.
pub(super) type Files = BTreeMap<Name, Stored>;

/// Asks a keeper for all files of this user.
pub(super) fn ask(line: &mut PeerLine, user: &User) -> Result<Files, PeerError> {
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
        if let (Some(kind), Some(size)) = (it.kind, it.size) {
            let is_trash = it.state == Some(Shelf::Trash);
            let stored = Stored {
                kind,
                size,
                is_trash,
            };
            files.insert(it.filename, stored);
        }
    }
    Ok(files)
}
