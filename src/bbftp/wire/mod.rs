//! The messages of both sides: `code:u32 len:u32` and a payload, big-endian.
//! No length is allocated for, and no number given on, that was not checked.
//! Nothing here knows what a message is answered with.

mod code;
mod control;
mod error;
pub mod extension;
mod field;
mod listing;
mod login;
mod number;
mod transfer;

pub use code::Code;
pub use control::{Control, Header};
pub use error::{Result, WireError};
pub use listing::{Entry, Kind, decode_listing, decode_names, encode_listing, encode_names};
pub use login::{Greeting, LOGIN_BYTES, Login};
pub use number::{
    Versions, decode_number, decode_path, decode_ports, decode_with_options, encode_ports,
    encode_with_options,
};
pub use transfer::{OldTransfer, Options, TRANSFER_BYTES, Transfer};

/// The most streams of a transfer, and in version 1.
pub const MAX_STREAMS: u32 = 32;
/// See [`MAX_STREAMS`].
pub const MAX_OLD_STREAMS: u32 = 10;

/// The longest path that is taken, as the system has it.
pub const MAX_PATH: usize = 4096;

/// The longest text of a reply that is read.
pub const MAX_TEXT: usize = 64 * 1024;

/// The longest answer to a request for a listing that is read.
pub const MAX_LISTING: usize = 64 * 1024 * 1024;

#[cfg(test)]
mod tests;
