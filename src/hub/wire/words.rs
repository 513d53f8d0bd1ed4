//! Words of which a parameter takes one, with the numbers that they have in messages
//! between processes and in the hub's database.

use super::value::Value;
use crate::ipc::codec::{Decode, Encode, Reader, Writer};

macro_rules! words {
    ($($(#[$doc:meta])* $name:ident {
        $($(#[$word_doc:meta])* $word:ident = $number:literal $text:literal,)*
    })*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name {
            $($(#[$word_doc])* $word,)*
        }

        impl $name {
            /// All of them.
            #[cfg(feature = "testing")]
            pub const ALL: &[$name] = &[$($name::$word),*];

            /// Its number.
            pub const fn number(self) -> u8 {
                match self {
                    $($name::$word => $number,)*
                }
            }

            /// The one that has a number.
            pub const fn of(number: u8) -> Option<$name> {
                match number {
                    $($number => Some($name::$word),)*
                    _ => None,
                }
            }

            /// Its word on a line.
            pub const fn word(self) -> &'static str {
                match self {
                    $($name::$word => $text,)*
                }
            }
        }

        impl Value for $name {
            fn read(text: &str) -> Option<$name> {
                match text {
                    $($text => Some($name::$word),)*
                    _ => None,
                }
            }

            fn print(&self, out: &mut String) {
                out.push_str(self.word());
            }
        }

        impl Encode for $name {
            fn encode<'a>(&'a self, out: &mut Writer<'a>) {
                out.put(&[self.number()]);
            }
        }

        impl Decode for $name {
            fn decode(from: &mut Reader<'_>) -> Option<$name> {
                $name::of(u8::decode(from)?)
            }
        }
    )*};
}

words! {
    /// What a user's machine is on this line.
    Role {
        /// It backs up and restores.
        Owner = 1 "owner",
        /// It stores files of others.
        Holder = 2 "keeper",
        /// Both on one line, as in version 1.0.
        Both = 3 "both",
    }

    /// What a file is.
    Kind {
        /// A pack of chunks.
        Data = 1 "data",
        /// An index of packs.
        Index = 2 "index",
        /// A snapshot.
        Snapshot = 3 "snapshot",
        /// The repository's configuration, of which an owner has one.
        Config = 4 "config",
        /// The owner's list of holders and snapshots.
        Book = 5 "book",
    }

    /// What a line between peers is for.
    Purpose {
        /// Files go to a holder.
        Backup = 1 "backup",
        /// Files come back to their owner.
        Recover = 2 "recover",
        /// Checksums, and no file.
        Check = 3 "check",
        /// A file goes from one holder to another.
        Move = 4 "move",
        /// A holder gets back what it has lost.
        Reverse = 5 "reverse",
        /// Files come back to their owner without the hub.
        Emergency = 6 "emergency",
    }

    /// Which of the two statements of a new line between peers.
    Side {
        /// That of the end that has connected.
        Dialler = 1 "ds1",
        /// That of the end that listens.
        Listener = 2 "ds2",
    }

    /// Why a file is not stored by a holder, or could not be.
    NotStored {
        /// No way leads to it.
        Unreachable = 1 "unreachable",
        /// It does not take the line, or the file.
        Refused = 2 "refused",
        /// Its key is another than the hub says.
        Key = 3 "key",
        /// It has no room.
        Full = 4 "full",
        /// It does not have the file.
        Missing = 5 "missing",
        /// Its bytes are others.
        Corrupt = 6 "corrupt",
        /// It is silent.
        Timeout = 7 "timeout",
    }

    /// What is wrong with a user's copies.
    Wrong {
        /// A holder has not been online for days.
        Gone = 1 "gone",
        /// Bytes of a copy are others.
        Corrupt = 2 "corrupt",
        /// A copy is lost.
        Missing = 3 "missing",
        /// Fewer copies than asked for, or fewer networks than copies.
        Below = 4 "below",
        /// A holder does not take lines or files.
        Refused = 5 "refused",
        /// A holder has no room.
        Full = 6 "full",
    }

    /// Why a holder is to remove a file without the owner's proof.
    Removal {
        /// The copy has moved to another holder.
        Moved = 1 "moved",
    }

    /// How the copies of a file get to their holders, if not all from the owner.
    Spread {
        /// From the owner to the first holder, from there to the others.
        Chain = 1 "chain",
    }

    /// Why the hub ends a line.
    Leaving {
        /// It stops, or starts again.
        Stopping = 1 "stopping",
        /// A new line of the same holder takes its place.
        Replaced = 2 "replaced",
    }

    /// Where a holder has a file.
    Shelf {
        /// Among the stored ones.
        Live = 1 "live",
        /// Among the deleted ones.
        Trash = 2 "trash",
    }
}

impl Kind {
    /// The most bytes that a file of this kind may have.
    pub const fn max_size(self) -> u64 {
        match self {
            Kind::Book => 1 << 20,
            _ => 64 << 20,
        }
    }
}
