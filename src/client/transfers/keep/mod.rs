//! What a transfer keeps of an entry besides its name and bytes: permission bits
//! and times always, and links, holes, extended attributes and owners on request.
//! A private file is made narrow and widened at its end.

pub(super) mod adjust;
pub(super) mod directories;
pub(super) mod holes;
pub(super) mod links;
pub(super) mod local;
mod parts;
pub(super) mod times;

use super::scan::Found;
use crate::client::extension::{Attributes, set_request};
use crate::client::observe::Note;

/// The permission bits that are kept without the owner: those for programs with
/// the owner's rights mean something else under another one.
const PLAIN_BITS: u32 = 0o777;

/// Of a part, as long as it is one.
pub(super) const NARROW: Attributes = only_mode(0o600);

/// Of a private directory while its entries arrive.
pub(super) const NARROW_DIRECTORY: Attributes = only_mode(0o700);

const fn only_mode(mode: u32) -> Attributes {
    Attributes {
        mode: Some(mode),
        modified: None,
        owner: None,
        xattrs: Vec::new(),
    }
}

/// What is kept of files and directories.
#[derive(Clone, Copy, Debug)]
pub struct Keep {
    /// Permission bits and the time of the last change, to the nanosecond.
    pub attributes: bool,
    /// Owner and group, by number, with all bits of the mode.
    pub owner: bool,
    /// Extended attributes of users.
    pub xattrs: bool,
    /// Symbolic links, which are left out otherwise.
    pub links: bool,
    /// Files with several names stay one file.
    pub hard_links: bool,
    /// Holes in files stay holes.
    pub sparse: bool,
}

impl Default for Keep {
    fn default() -> Keep {
        Keep {
            attributes: true,
            owner: false,
            xattrs: false,
            links: false,
            hard_links: false,
            sparse: false,
        }
    }
}

impl Keep {
    /// What a copy of an entry is to have.
    pub(super) fn of(&self, found: &Found) -> Attributes {
        let bits = match self.owner {
            true => 0o7777,
            false => PLAIN_BITS,
        };
        let is_link = found.link.is_some();
        let mode = found.mode.filter(|_| self.attributes && !is_link);
        let xattrs = found.xattrs.iter().filter(|_| self.xattrs && !is_link);
        Attributes {
            mode: mode.map(|mode| mode & bits),
            modified: self.attributes.then_some(found.modified),
            owner: found.owner.filter(|_| self.owner),
            xattrs: xattrs
                .map(|(name, value)| (name.clone(), Some(value.clone())))
                .collect(),
        }
    }

    /// What is to be set at a copy that has `there`, so that it is like the source;
    /// the time only where it `differs`.
    pub(super) fn difference(
        &self,
        source: &Found,
        there: &Found,
        differs: impl Fn(&Found, &Found) -> bool,
    ) -> Attributes {
        let wanted = self.of(source);
        let has = self.of(there);
        let gone = has
            .xattrs
            .iter()
            .filter(|(name, _)| !wanted.xattrs.iter().any(|(wanted, _)| wanted == name));
        let gone: Vec<_> = gone.map(|(name, _)| (name.clone(), None)).collect();
        let new = wanted
            .xattrs
            .into_iter()
            .filter(|xattr| !has.xattrs.contains(xattr));
        Attributes {
            // A mode that is not known can't be compared.
            mode: wanted
                .mode
                .filter(|mode| has.mode.is_some_and(|has| has != *mode)),
            owner: wanted
                .owner
                .filter(|owner| has.owner.is_some_and(|has| has != *owner)),
            modified: wanted.modified.filter(|_| differs(source, there)),
            xattrs: new.chain(gone).collect(),
        }
    }
}

/// Whether a mode lets fewer in than a server's usual one: its entry is made narrow.
pub(super) fn is_private(mode: u32, is_directory: bool) -> bool {
    let usual = if is_directory { 0o055 } else { 0o044 };
    mode & usual != usual
}

/// The requests that give a path these attributes. The owner goes by itself, as few
/// servers may give files away; the others behind it, as it costs bits of the mode.
pub(super) fn set_requests(attributes: &Attributes, path: &[u8]) -> Vec<Vec<u8>> {
    let owner = Attributes {
        owner: attributes.owner,
        ..Attributes::default()
    };
    let parts = [owner, attributes.without_owner()]
        .into_iter()
        .filter(|part| !part.is_empty());
    parts.map(|part| set_request(&part, path)).collect()
}

/// What is lost if a request that sets attributes is refused.
pub(super) fn lost_by(request: &[u8]) -> Note {
    match request.starts_with(b"TFD_SET user=") {
        true => Note::OwnerRefused,
        false => Note::ModeRefused,
    }
}
