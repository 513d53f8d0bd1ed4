//! The commands that move more than one reply: files, listings, sizes, keys.
//! Each sends its own replies and returns when the session can take the next
//! request.
pub(crate) mod fsize;
pub(crate) mod get;
pub(crate) mod getcan;
pub(crate) mod list;
pub(crate) mod nigma;
pub(crate) mod put;
pub(crate) mod putcan;
pub(crate) mod rcvfile;
pub(crate) mod sdown;
pub(crate) mod sndfile;
pub(crate) mod sup;
