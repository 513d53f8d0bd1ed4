//! What a device knows of its account's items as they were at the last sync. Without
//! it nothing is lost: a merge then drops nothing, and forgets deletions alone. It is
//! kept beside the file, sealed with a key that is in the file.

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use super::keys::{Key, open, seal};
use crate::client::vault::VaultError;
use crate::client::vault::database::{Item, Kind, Uuid};
use crate::client::vault::file::{sync_directory, write};
use crate::client::vault::kdbx::Digest;
use crate::client::vault::xml::Element;
use crate::ipc::codec::{Decode, Encode, codec};
use crate::text::hex;
use crate::vault::own::message::Id;

/// What a sealed item holds.
pub enum Content {
    /// An item.
    Item {
        /// Its kind, as a number.
        kind: u8,
        /// Which one.
        uuid: Uuid,
        /// The group that it is in.
        parent: Uuid,
        /// All else.
        xml: Zeroizing<Vec<u8>>,
    },
    /// An item whose text is in pieces.
    Large {
        /// Its kind, as a number.
        kind: u8,
        /// Which one.
        uuid: Uuid,
        /// The group that it is in.
        parent: Uuid,
        /// The digest of its text.
        body: Digest,
    },
    /// A piece of an attachment or of a large text.
    Piece {
        /// The digest of the whole.
        digest: Digest,
        /// Which piece.
        number: u32,
        /// How many there are.
        count: u32,
        /// A byte of flags of the whole.
        flags: u8,
        /// The bytes.
        bytes: Zeroizing<Vec<u8>>,
    },
}

codec!(enum Content {
    1 => Item { kind, uuid, parent, xml },
    2 => Large { kind, uuid, parent, body },
    3 => Piece { digest, number, count, flags, bytes },
});

/// What is known of something at the server.
#[derive(Clone)]
pub enum Known {
    /// It was deleted.
    Gone,
    /// An item; the digest of its text where that is in pieces.
    Item(Item, Option<Digest>),
    /// A piece.
    Piece(Digest, u32),
}

/// All that is at the server, with its revisions.
pub type Server = BTreeMap<Id, (u64, Known)>;

/// The state of the last sync.
#[derive(Clone, Default)]
pub struct Base {
    /// The server's store.
    pub store: Id,
    /// The latest revision that is known.
    pub upto: u64,
    /// What was there.
    pub server: Server,
}

/// The version of the form in which it is kept.
const ABOUT: &[u8] = b"tf-vault base 1";

struct Saved {
    store: Id,
    upto: u64,
    items: Vec<(Id, SavedKnown)>,
}

struct SavedKnown {
    revision: u64,
    content: Option<Content>,
    body: Option<Digest>,
}

codec!(struct Saved { store, upto, items });
codec!(struct SavedKnown { revision, content, body });

/// The kind with this number.
pub fn kind_of(number: u8) -> Option<Kind> {
    let kinds = [Kind::Meta, Kind::Icon, Kind::Group, Kind::Entry];
    kinds.into_iter().find(|kind| *kind as u8 == number)
}

/// The item in a content.
pub fn to_item(kind: u8, uuid: Uuid, parent: Uuid, xml: &[u8]) -> Option<Item> {
    let element = Element::parse(str::from_utf8(xml).ok()?).ok()?;
    Some(Item {
        key: (kind_of(kind)?, uuid),
        parent,
        element,
    })
}

/// The content of an item.
pub fn from_item(item: &Item) -> Content {
    Content::Item {
        kind: item.key.0 as u8,
        uuid: item.key.1,
        parent: item.parent,
        xml: Zeroizing::new(item.element.to_xml().as_bytes().to_vec()),
    }
}

/// The directory of an account's device.
pub fn directory(state: &Path, device: &Id) -> PathBuf {
    state.join("tf/vault").join(hex(device))
}

impl Base {
    /// Reads it; an empty one where it is missing or of another time.
    pub fn read(directory: &Path, key: &Key) -> Base {
        let sealed = fs::read(directory.join("base")).unwrap_or_default();
        let read = open(key, ABOUT, &sealed).and_then(|bytes| Saved::from_bytes(&bytes));
        read.and_then(from_saved).unwrap_or_default()
    }

    /// Keeps it.
    ///
    /// # Errors
    /// `Local`: the old one is there.
    pub fn write(&self, directory: &Path, key: &Key) -> Result<(), VaultError> {
        let path = directory.join("base");
        let failed = |e| VaultError::local(&path, e);
        let other = |why: String| failed(std::io::Error::other(why));
        let mut builder = DirBuilder::new();
        builder
            .recursive(true)
            .mode(0o700)
            .create(directory)
            .map_err(failed)?;
        let sealed = seal(key, ABOUT, &self.to_saved().to_bytes()).map_err(other)?;
        let new = directory.join("base.new");
        // A run that was ended may have left it.
        let _ = fs::remove_file(&new);
        write(&new, &sealed, 0o600)
            .and_then(|()| fs::rename(&new, &path))
            .and_then(|()| sync_directory(&path))
            .map_err(failed)
    }

    fn to_saved(&self) -> Saved {
        let item = |(id, (revision, known)): (&Id, &(u64, Known))| {
            let (content, body) = match known {
                Known::Gone => (None, None),
                Known::Item(item, body) => (Some(from_item(item)), *body),
                Known::Piece(digest, number) => {
                    let piece = Content::Piece {
                        digest: *digest,
                        number: *number,
                        count: 0,
                        flags: 0,
                        bytes: Zeroizing::default(),
                    };
                    (Some(piece), None)
                }
            };
            let revision = *revision;
            (
                *id,
                SavedKnown {
                    revision,
                    content,
                    body,
                },
            )
        };
        Saved {
            store: self.store,
            upto: self.upto,
            items: self.server.iter().map(item).collect(),
        }
    }
}

fn from_saved(saved: Saved) -> Option<Base> {
    let known = |(id, saved): (Id, SavedKnown)| {
        let known = match saved.content {
            None => Known::Gone,
            Some(Content::Item {
                kind,
                uuid,
                parent,
                xml,
            }) => Known::Item(to_item(kind, uuid, parent, &xml)?, saved.body),
            Some(Content::Piece { digest, number, .. }) => Known::Piece(digest, number),
            Some(Content::Large { .. }) => return None,
        };
        Some((id, (saved.revision, known)))
    };
    Some(Base {
        store: saved.store,
        upto: saved.upto,
        server: saved.items.into_iter().map(known).collect::<Option<_>>()?,
    })
}
