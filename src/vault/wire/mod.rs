//! The vault's packets: their frame, their encryption, the forms of public keys,
//! and the parameters inside. Nothing here knows what a packet means.

mod cipher;
mod connection;
mod frame;
mod public_key;

pub use cipher::Keys;
pub use connection::{Connection, State, WireError};
#[cfg(feature = "testing")]
pub use frame::{Frame, Frames};
pub use public_key::{Format, PublicKey, decrypted_nonce};

#[cfg(test)]
mod tests;
