//! `[bbftp]`: what concerns BBFTP.

use super::listener::Protocol;
use super::values::Values;

/// What concerns BBFTP.
#[derive(Clone, Debug)]
pub struct Bbftp {
    /// Where passwords are accepted.
    pub password_logins: PasswordLogins,
    /// The versions that clients may choose, in order and without a gap.
    pub versions: Vec<u32>,
    /// Which port data connections to clients come from.
    pub active_source_port: SourcePort,
}

/// Where passwords are accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PasswordLogins {
    /// Inside TLS, and without it encrypted by RSA with 1024 bits.
    Rsa,
    /// Inside TLS alone.
    Tls,
}

/// Which port data connections to clients come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SourcePort {
    /// The one below the port of the control connection, if it can be had.
    BelowControl,
    /// Any.
    Any,
}

/// Reports keys that are missing or contradict each other.
pub(super) fn check(values: &mut Values<'_>) {
    let listen = listed_key(values);
    if !values.is("server", "mode", "multi-user") {
        let text = ": its clients log in: set mode = \"multi-user\" in [server]";
        values.problem("bbftp", listen, text);
    }
    if values.is("server", "jail", "true") {
        let text = ": its clients can't enter a jail: remove jail from [server]";
        values.problem("bbftp", listen, text);
    }
    let versions: Vec<u32> = values.list("bbftp", "versions");
    let has_gap = versions.windows(2).any(|pair| pair[0] + 1 != pair[1]);
    if versions.is_empty() || has_gap {
        let text = ": list versions in order and without a gap, such as [2, 3]: a client may \
                    choose any between the first and the last";
        values.problem("bbftp", "versions", text);
    }
}

/// The key that lists its addresses.
fn listed_key(values: &Values<'_>) -> &'static str {
    match values.has_elements(Protocol::Bbftp.section(), "listen") {
        true => "listen",
        false => "tls_listen",
    }
}

/// The section, from checked values.
pub(super) fn build(values: &Values<'_>) -> Bbftp {
    Bbftp {
        password_logins: match values.is("bbftp", "password_logins", "rsa") {
            true => PasswordLogins::Rsa,
            false => PasswordLogins::Tls,
        },
        versions: values.list("bbftp", "versions"),
        active_source_port: match values.is("bbftp", "active_source_port", "any") {
            true => SourcePort::Any,
            false => SourcePort::BelowControl,
        },
    }
}
