//! What comes from the server. It must believe nothing that does not open with the
//! account's secret, and no old version in the place of a new one.

use std::collections::BTreeSet;
use std::sync::Arc;

use openssl::sha::sha256;
use zeroize::Zeroizing;

use super::base::{Content, Known, to_item};
use super::shared::references;
use super::{Remote, Sync, no_key};
use crate::client::vault::VaultError;
use crate::client::vault::kdbx::Digest;
use crate::ipc::codec::Decode;
use crate::vault::own::message::{Id, Item as Version};

/// The most items and pieces of an account.
const MAX_ITEMS: usize = 1 << 20;

/// A piece of a body: how many there are, the byte of flags, the bytes.
pub(super) type Piece = (u32, u8, Zeroizing<Vec<u8>>);

/// An attachment or a large text, with its byte of flags.
type Body = Arc<Zeroizing<Vec<u8>>>;

fn closed() -> VaultError {
    VaultError::Forged("what it has sent does not open with the account's secret")
}

fn damaged() -> VaultError {
    VaultError::Forged("what it has sent is damaged")
}

impl<R: Remote> Sync<'_, R> {
    /// Takes what the server has.
    pub(super) fn pull(&mut self) -> Result<(), VaultError> {
        let mut seen = BTreeSet::new();
        // A device that knows nothing asks for all there is.
        let mut whole = self.upto == 0;
        loop {
            let changes = self.remote.pull(self.upto, whole)?;
            let begins = changes.whole && !whole;
            if begins {
                // With the first one of all.
                seen.clear();
            }
            if changes.more && !begins && changes.upto <= self.upto {
                return Err(VaultError::Forged("it sends the same again and again"));
            }
            whole = changes.whole;
            for version in changes.items {
                seen.insert(version.id);
                self.take(version)?;
            }
            if self.server.len() > MAX_ITEMS {
                return Err(VaultError::Forged("it sends more than an account can have"));
            }
            self.upto = changes.upto;
            if !changes.more {
                break;
            }
        }
        if whole {
            self.server.retain(|id, _| seen.contains(id));
        }
        self.fetch_bodies()
    }

    /// Takes a version of something, if it is news.
    pub(super) fn take(&mut self, version: Version) -> Result<(), VaultError> {
        let known = self.server.get(&version.id);
        if known.is_some_and(|(revision, _)| *revision >= version.revision) {
            return Ok(());
        }
        let replaces = match known {
            Some((revision, Known::Item(..) | Known::Piece(..))) => *revision,
            _ => 0,
        };
        self.frozen.remove(&version.id);
        let Some(sealed) = version.sealed else {
            self.server
                .insert(version.id, (version.revision, Known::Gone));
            return Ok(());
        };
        if version.base < replaces {
            return Err(VaultError::Forged(
                "it has sent an old version as a new one; if it was set back to a backup, unlink the file and link it again",
            ));
        }
        let content = self.keys.open(&version.id, version.base, &sealed.0);
        let content = Content::from_bytes(&content.ok_or_else(closed)?).ok_or_else(damaged)?;
        match self.read(&version.id, content)? {
            Some(known) => drop(self.server.insert(version.id, (version.revision, known))),
            None => drop(self.frozen.insert(version.id, version.revision)),
        }
        Ok(())
    }

    /// What a content says; `None` if it can't be used yet.
    fn read(&mut self, id: &Id, content: Content) -> Result<Option<Known>, VaultError> {
        let (item, body) = match content {
            Content::Piece {
                digest,
                number,
                count,
                flags,
                bytes,
            } => {
                if self.keys.piece_id(&digest, number).map_err(no_key)? != *id {
                    return Err(damaged());
                }
                self.pieces.insert((digest, number), (count, flags, bytes));
                return Ok(Some(Known::Piece(digest, number)));
            }
            Content::Item {
                kind,
                uuid,
                parent,
                xml,
            } => (to_item(kind, uuid, parent, &xml), None),
            Content::Large {
                kind,
                uuid,
                parent,
                body,
            } => match self.body(&body)? {
                Some(text) => (to_item(kind, uuid, parent, &text[1..]), Some(body)),
                None => return Ok(None),
            },
        };
        let item = item.ok_or_else(damaged)?;
        if self.keys.id(item.key.0, &item.key.1).map_err(no_key)? != *id {
            return Err(damaged());
        }
        Ok(Some(Known::Item(item, body)))
    }

    /// Gets the attachments of what has come.
    fn fetch_bodies(&mut self) -> Result<(), VaultError> {
        let before = &self.base.server;
        let news = self
            .server
            .iter()
            .filter(|(id, (revision, _))| before.get(*id).is_none_or(|(old, _)| old != revision));
        let wanted = news.filter_map(|(id, (revision, known))| match known {
            Known::Item(item, _) => Some((*id, *revision, references(&item.element))),
            Known::Gone | Known::Piece(..) => None,
        });
        let wanted: Vec<(Id, u64, BTreeSet<Digest>)> = wanted.collect();
        for (id, revision, digests) in wanted {
            for digest in digests {
                if self.body(&digest)?.is_none() {
                    // As it was before, until they are there.
                    match self.base.server.get(&id) {
                        Some(before) => drop(self.server.insert(id, before.clone())),
                        None => drop(self.server.remove(&id)),
                    }
                    self.frozen.insert(id, revision);
                }
            }
        }
        Ok(())
    }

    /// An attachment or a large text, with its byte of flags.
    pub(super) fn body(&mut self, digest: &Digest) -> Result<Option<Body>, VaultError> {
        if let Some(body) = self.bodies.get(digest) {
            return Ok(Some(body.clone()));
        }
        let mut whole = Zeroizing::new(vec![0]);
        let mut number = 0;
        loop {
            let Some((count, flags, bytes)) = self.piece(digest, number)? else {
                return Ok(None);
            };
            whole[0] = flags;
            whole.extend_from_slice(&bytes);
            number += 1;
            if number >= count {
                break;
            }
        }
        if sha256(&whole[1..]) != *digest {
            return Err(VaultError::Forged("an attachment is damaged"));
        }
        let body = Arc::new(whole);
        self.bodies.insert(*digest, body.clone());
        Ok(Some(body))
    }

    /// One that has come, or from the server.
    fn piece(&mut self, digest: &Digest, number: u32) -> Result<Option<Piece>, VaultError> {
        if let Some(piece) = self.pieces.remove(&(*digest, number)) {
            return Ok(Some(piece));
        }
        let id = self.keys.piece_id(digest, number).map_err(no_key)?;
        let Some((revision, Known::Piece(..))) = self.server.get(&id) else {
            return Ok(None);
        };
        let Some(version) = self.remote.version(id, *revision)? else {
            return Ok(None);
        };
        let sealed = version.sealed.unwrap_or_default();
        let opened = self.keys.open(&id, version.base, &sealed.0);
        match Content::from_bytes(&opened.ok_or_else(closed)?) {
            Some(Content::Piece {
                count,
                flags,
                bytes,
                ..
            }) => Ok(Some((count, flags, bytes))),
            _ => Err(damaged()),
        }
    }
}
