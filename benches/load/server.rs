//! The server that is measured, told by `TF_SERVER`, `TF_KEY` and `TF_HASH` as
//! for `tf`; `TF_TLS_PIN` in place of the key where it speaks TLS, `TF_USER` and
//! `TF_PASSWORD` where it wants a login.

use std::path::PathBuf;

use argon2::Argon2;
use argon2::password_hash::PasswordHasher;
use tfd::client::{ClientError, Connection, PublicKey, Target, Tls, Trust};

use crate::Figure;

/// A variable of the environment; empty when it is not set.
pub(crate) fn variable(name: &str) -> String {
    std::env::var(name).unwrap_or_default()
}

/// The server.
pub(crate) fn target() -> Result<Target, ClientError> {
    let (server, hash) = (variable("TF_SERVER"), variable("TF_HASH"));
    if let Ok(pin) = std::env::var("TF_TLS_PIN") {
        let tls = Tls::new(&Trust::Pin(pin), None).map_err(|e| failure(&e))?;
        return Ok(Target::tls(&server, tls, &hash));
    }
    let key = PublicKey::from_file(variable("TF_KEY").as_ref())?;
    Ok(Target::new(&server, key, &hash))
}

/// A session behind its last door.
pub(crate) fn enter(target: &Target) -> Result<Connection, ClientError> {
    let mut connection = Connection::open(target)?;
    if let (Ok(user), Ok(password)) = (std::env::var("TF_USER"), std::env::var("TF_PASSWORD")) {
        connection.log_in(&user, &password)?;
    }
    Ok(connection)
}

/// Makes a failure of the system one of the client's.
pub(crate) fn local(what: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> ClientError {
    let path = what.into();
    move |source| ClientError::Local { path, source }
}

/// A failure in a few words.
pub(crate) fn failure(what: &str) -> ClientError {
    local("bench")(std::io::Error::other(what.to_owned()))
}

/// A line of the users file for `bench` with password `bench`, whose hash costs
/// next to nothing.
pub(crate) fn account() -> String {
    let cheap = argon2::Params::new(8, 1, 1, None).expect("parameters");
    let hasher = Argon2::new(argon2::Algorithm::Argon2id, argon2::Version::V0x13, cheap);
    let hash = hasher.hash_password(b"bench").expect("hash");
    format!("bench:{hash}:nobody:::")
}

/// The same with the hash that tfd makes.
pub(crate) fn account_as_made() -> Figure {
    let hash = tfd::users::hash::make(b"bench").map_err(|e| failure(&e))?;
    Ok(format!("bench:{hash}:nobody:::"))
}
