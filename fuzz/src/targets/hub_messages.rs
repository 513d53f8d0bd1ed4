//! Messages of gates, sessions and the broker of the hub: what is one is so again once it
//! was written.

use tfd::hub::broker::message::{Answer, Ask, FromSession, ToSession};
use tfd::ipc::codec::{Decode, Encode};

/// Takes one input.
pub fn run(bytes: &[u8]) {
    if let Some(message) = FromSession::from_bytes(bytes) {
        assert_eq!(FromSession::from_bytes(&message.to_bytes()), Some(message));
    }
    if let Some(message) = ToSession::from_bytes(bytes) {
        assert_eq!(ToSession::from_bytes(&message.to_bytes()), Some(message));
    }
    if let Some(answer) = Answer::from_bytes(bytes) {
        assert_eq!(Answer::from_bytes(&answer.to_bytes()), Some(answer));
    }
    if let Some(ask) = Ask::from_bytes(bytes) {
        assert_eq!(&*ask.to_bytes(), bytes);
    }
}
