//! Lines of the hub's protocol, of hubs and of peers. One table has all commands
//! ([`request`]), one all replies ([`reply`]): a line is read into these types and
//! printed from them. What is out of its limits is never read; nothing here knows
//! what a request is answered with in which state.

mod address;
mod bytes;
mod fields;
mod line;
pub mod reply;
pub mod request;
#[cfg(test)]
mod tests;
mod value;
mod words;

pub use address::{DEFAULT_PORT, RELAY_LINE, Way};
pub use bytes::{Checksum, Exporter, Key, LoginKey, Name, Nonce, Random, RunId, Signature, Token};
pub use fields::{Bad, Fault};
#[cfg(feature = "testing")]
pub use line::MAX_LINE;
pub use line::{Line, Lines, Message};
pub use reply::{Code, Reply};
pub use request::{Command, Party, Request, Sort};
#[cfg(feature = "testing")]
pub use value::Trusted;
pub use value::{
    AuditKey, CopyNumber, Factor, Flag, Id, Introduction, Kinds, Label, User, Value, Version,
};
pub use words::{Kind, Leaving, NotStored, Purpose, Removal, Role, Shelf, Side, Spread, Wrong};
