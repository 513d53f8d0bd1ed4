//! What goes to the server: sealed, pieces before what refers to them, and each change
//! with the revision that it was made to, so that nothing is overwritten there.

use std::collections::BTreeSet;
use std::sync::Arc;

use openssl::sha::sha256;
use zeroize::Zeroizing;

use super::base::{Content, Known, from_item};
use super::merge::are_same;
use super::shared::{Items, references};
use super::{Remote, Sync, no_key};
use crate::client::vault::VaultError;
use crate::client::vault::database::Item;
use crate::client::vault::kdbx::Digest;
use crate::ipc::codec::Encode;
use crate::vault::own::message::{Change, Id, Pushed, Sealed};

/// The bytes of a change in a message but for what is sealed, at most.
const CHANGE_BYTES: usize = 64;

/// The bytes of a piece. One fits into the smallest message that a server may allow,
/// and all devices cut at the same places.
const PIECE: usize = 32 << 10;

/// The longest text of an item that is sealed with it.
const MAX_TEXT: usize = PIECE;

/// A change, and what the server has after it.
pub(super) struct Outgoing {
    change: Change,
    known: Known,
}

impl Outgoing {
    /// About its bytes in a message.
    fn len(&self) -> usize {
        let sealed = self.change.sealed.as_ref();
        CHANGE_BYTES + sealed.map_or(0, |sealed| sealed.0.len())
    }
}

impl<R: Remote> Sync<'_, R> {
    /// What the server lacks.
    pub(super) fn changes(&mut self, merged: &Items) -> Result<Vec<Outgoing>, VaultError> {
        let mut bodies: BTreeSet<Digest> = BTreeSet::new();
        let mut wanted = BTreeSet::new();
        let (mut changes, mut items) = (Vec::new(), Vec::new());
        for (key, item) in merged {
            let id = self.keys.id(key.0, &key.1).map_err(no_key)?;
            wanted.insert(id);
            bodies.extend(references(&item.element));
            match self.server.get(&id) {
                _ if self.frozen.contains_key(&id) => {}
                Some((_, Known::Item(there, body))) if are_same(there, item) => bodies.extend(body),
                _ => {
                    let (content, body) = self.content_of(item);
                    bodies.extend(body);
                    items.push(self.sealed(id, &content, Known::Item(item.clone(), body))?);
                }
            }
        }
        for digest in &bodies {
            if let Some(body) = self.bodies.get(digest).cloned() {
                self.add_missing_pieces(digest, &body, &mut changes)?;
            }
        }
        changes.extend(items);
        changes.extend(self.deletions(&wanted, &bodies));
        Ok(changes)
    }

    /// The content of an item; a large text is a body of its own.
    fn content_of(&mut self, item: &Item) -> (Content, Option<Digest>) {
        match from_item(item) {
            Content::Item {
                kind,
                uuid,
                parent,
                xml,
            } if xml.len() > MAX_TEXT => {
                let body = sha256(&xml);
                let text = Zeroizing::new([&[0][..], &xml].concat());
                self.bodies.insert(body, Arc::new(text));
                let content = Content::Large {
                    kind,
                    uuid,
                    parent,
                    body,
                };
                (content, Some(body))
            }
            content => (content, None),
        }
    }

    fn sealed(&self, id: Id, content: &Content, known: Known) -> Result<Outgoing, VaultError> {
        let base = self.server.get(&id).map_or(0, |(revision, _)| *revision);
        let sealed = self.keys.seal(&id, base, &content.to_bytes());
        let change = Change {
            id,
            base,
            sealed: Some(Sealed(sealed.map_err(no_key)?)),
        };
        Ok(Outgoing { change, known })
    }

    fn add_missing_pieces(
        &self,
        digest: &Digest,
        body: &[u8],
        changes: &mut Vec<Outgoing>,
    ) -> Result<(), VaultError> {
        let (flags, bytes) = (body[0], &body[1..]);
        let count = u32::try_from(bytes.len().div_ceil(PIECE).max(1)).unwrap_or(u32::MAX);
        let pieces = bytes
            .chunks(PIECE)
            .chain(bytes.is_empty().then_some(&[][..]));
        for (number, piece) in (0..).zip(pieces) {
            let id = self.keys.piece_id(digest, number).map_err(no_key)?;
            if matches!(self.server.get(&id), Some((_, Known::Piece(..)))) {
                continue;
            }
            let content = Content::Piece {
                digest: *digest,
                number,
                count,
                flags,
                bytes: Zeroizing::new(piece.to_vec()),
            };
            changes.push(self.sealed(id, &content, Known::Piece(*digest, number))?);
        }
        Ok(())
    }

    /// What the server has and nobody wants.
    fn deletions(&self, wanted: &BTreeSet<Id>, bodies: &BTreeSet<Digest>) -> Vec<Outgoing> {
        let is_over = |id: &Id, known: &Known| match known {
            Known::Gone => false,
            Known::Item(..) => !wanted.contains(id) && !self.frozen.contains_key(id),
            // An entry that waits may need any of them.
            Known::Piece(digest, _) => !bodies.contains(digest) && self.frozen.is_empty(),
        };
        let all = self.server.iter();
        all.filter(|(id, (_, known))| is_over(id, known))
            .map(|(id, (base, _))| Outgoing {
                change: Change {
                    id: *id,
                    base: *base,
                    sealed: None,
                },
                known: Known::Gone,
            })
            .collect()
    }

    /// Pushes changes: whether all were stored, and nobody else has stored anything in
    /// between.
    pub(super) fn push(&mut self, changes: Vec<Outgoing>) -> Result<bool, VaultError> {
        let mut is_alone = true;
        let mut changes = changes.into_iter().peekable();
        while changes.peek().is_some() {
            let (mut batch, mut size) = (Vec::new(), 0);
            while let Some(next) =
                changes.next_if(|next| batch.is_empty() || size + next.len() <= self.batch)
            {
                size += next.len();
                batch.push(next);
            }
            let messages = batch.iter().map(|next| next.change.clone());
            let results = self.remote.push(messages.collect())?;
            if results.len() != batch.len() {
                return Err(VaultError::Forged("it has not answered each change"));
            }
            for (outgoing, result) in batch.into_iter().zip(results) {
                if !self.settle(outgoing, result, &mut is_alone)? {
                    return Ok(false);
                }
            }
        }
        Ok(is_alone)
    }

    /// Notes what has become of a change; `false` if the server was set back.
    fn settle(
        &mut self,
        Outgoing { change, known }: Outgoing,
        result: Pushed,
        is_alone: &mut bool,
    ) -> Result<bool, VaultError> {
        match result {
            Pushed::Stored { revision } => {
                *is_alone &= self.upto.checked_add(1) == Some(revision);
                if *is_alone {
                    self.upto = revision;
                }
                let is_piece = |known: &Known| matches!(known, Known::Piece(..));
                let mut of_piece = is_piece(&known);
                let before = self.server.insert(change.id, (revision, known));
                of_piece |= before.is_some_and(|(_, it)| is_piece(&it));
                self.summary.sent += usize::from(!of_piece);
                return Ok(true);
            }
            Pushed::Stale {
                current: Some(version),
            } if version.revision < change.base => {
                // To before what it had confirmed.
                self.forget();
                return Ok(false);
            }
            Pushed::Stale {
                current: Some(version),
            } => self.take(version)?,
            Pushed::Stale { current: None } => drop(self.server.remove(&change.id)),
        }
        *is_alone = false;
        Ok(true)
    }
}
