//! The commands that move more than one reply: files, listings, sizes, keys.
//! Each sends its own replies and returns when the session can take the next
//! request.
mod frames;
pub(crate) mod fsize;
pub(crate) mod get;
pub(crate) mod getcan;
mod hp;
pub(crate) mod list;
pub(crate) mod nigma;
pub(crate) mod put;
pub(crate) mod putcan;
pub(crate) mod rcvfile;
pub(crate) mod sdown;
pub(crate) mod sndfile;
mod stream;
pub(crate) mod sup;
