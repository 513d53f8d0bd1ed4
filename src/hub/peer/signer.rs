//! Who signs for a peer: its own process, or another one that it asks.

use std::io;

use crate::hub::proofs::{Challenge, SigningKey, Statement};
use crate::hub::wire::{Checksum, LoginKey, Signature};

/// What signs, and answers challenges.
pub trait Signer {
    /// The response to a challenge, with a signature once the hub knows the key.
    ///
    /// # Errors
    /// Why there is none.
    fn respond(&self, challenge: &Challenge<'_>) -> io::Result<(Checksum, Option<Signature>)>;

    /// A signature.
    ///
    /// # Errors
    /// Why there is none.
    fn sign(&self, statement: &Statement<'_>) -> io::Result<Signature>;
}

/// The keys of a peer in this process: an owner's, or a holder's.
#[derive(Debug)]
pub struct Keys {
    /// What signs.
    pub key: SigningKey,
    /// What logs in: at first the one of a code.
    pub login: LoginKey,
}

impl Signer for Keys {
    fn respond(&self, challenge: &Challenge<'_>) -> io::Result<(Checksum, Option<Signature>)> {
        let response = challenge.response(&self.login.0)?;
        let signature = self.sign(&Statement::Response(challenge))?;
        Ok((response, Some(signature)))
    }

    fn sign(&self, statement: &Statement<'_>) -> io::Result<Signature> {
        Ok(statement.sign(&self.key)?)
    }
}
