//! Whether a text is a value of its key; if not, why, for a person to read.

use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;

use super::proxy::Backend;
use crate::text::parse_size;
use crate::users::account::Network;

/// The hash in the configuration that is shipped.
const EXAMPLE_HASH: &str = "change this";

/// The longest hash, in bytes (document, "Starting communication").
const MAX_HASH: usize = 255;

type Result = std::result::Result<(), String>;

fn holds(is_right: bool, why: impl Into<String>) -> Result {
    if is_right { Ok(()) } else { Err(why.into()) }
}

pub(super) fn log_filter(text: &str) -> Result {
    let is_level = |part: &str| {
        let level = part.rsplit_once('=').map_or(part, |(_, level)| level);
        level.trim().parse::<log::LevelFilter>().is_ok()
    };
    let why = "is not a log filter: use error, warn, info, debug or trace";
    holds(text.split(',').all(is_level), format!("\"{text}\" {why}"))
}

/// Two ports, as in "20000-20100".
pub(crate) fn parse_port_range(text: &str) -> Option<RangeInclusive<u16>> {
    let (first, last) = text.split_once('-')?;
    let range = first.parse().ok()?..=last.parse().ok()?;
    (!range.is_empty() && *range.start() > 0).then_some(range)
}

pub(super) fn port_range(text: &str) -> Result {
    let why = "name the first and the last port, such as \"20000-20100\"";
    holds(parse_port_range(text).is_some(), why)
}

/// An argument of a program.
pub(super) fn argument(text: &str) -> Result {
    holds(!text.contains('\0'), "an argument of a program has no NUL")
}

/// A path, or an address that only this machine reaches.
pub(super) fn local(text: &str) -> Result {
    let is_local = match text.parse::<SocketAddr>() {
        Ok(address) => address.ip().is_loopback(),
        Err(_) => text.contains('/'),
    };
    let why = "use a loopback address such as \"127.0.0.1:9345\", or the path of a socket: \
               nobody else is to read it";
    holds(is_local, why)
}

pub(super) fn size(text: &str) -> Result {
    let is_size = parse_size(text).is_some_and(|bytes| (1..=1 << 62).contains(&bytes));
    holds(is_size, "use bytes above 0, as \"500G\" or \"2T\"")
}

pub(super) fn mode(text: &str) -> Result {
    let is_mode = u32::from_str_radix(text, 8).is_ok_and(|mode| mode <= 0o7777);
    holds(is_mode, "use an octal mode such as \"0644\"")
}

pub(super) fn hash(text: &str) -> Result {
    let is_hash = (1..=MAX_HASH).contains(&text.len()) && !text.contains('\0');
    holds(is_hash, format!("use 1 to {MAX_HASH} bytes without NUL"))?;
    let why = "everybody knows this one: put in what openssl rand -hex 16 prints";
    holds(text != EXAMPLE_HASH, why)
}

/// The name of a PAM service. PAM itself knows them by small letters alone.
pub(super) fn service_of_pam(text: &str) -> Result {
    let is_fine =
        |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, b'-' | b'_' | b'.');
    let is_name = (1..=64).contains(&text.len()) && text.bytes().all(is_fine);
    let why = "name a file in /etc/pam.d, in small letters, such as \"tfd\"";
    holds(is_name && !text.starts_with('.'), why)
}

pub(super) fn listen(text: &str) -> Result {
    let why = "is not an address:port, such as \"0.0.0.0:10345\" or \"[::]:10345\"";
    holds(text.parse::<SocketAddr>().is_ok(), why)
}

pub(super) fn network(text: &str) -> Result {
    let network = text.parse::<Network>();
    network.map(drop).map_err(|why| format!("is {why}"))
}

/// Whether a text is a DNS name to ask for: labels of letters, digits, hyphens
/// and underscores, at least two of them.
pub fn is_service_name(text: &str) -> bool {
    let text = text.strip_suffix('.').unwrap_or(text);
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label
                .bytes()
                .all(|c| c.is_ascii_alphanumeric() || matches!(c, b'-' | b'_'))
    };
    text.len() <= 253 && text.contains('.') && text.split('.').all(label)
}

pub(super) fn service(text: &str) -> Result {
    let why = "use the DNS name of a service, such as \"_tf._tcp.example.org\"";
    holds(is_service_name(text), why)
}

pub(super) fn backend(text: &str) -> Result {
    let why = "is not a host:port, such as \"192.0.2.1:10345\", \"[2001:db8::1]:10345\" or \
               \"files.example.org:10345\"";
    holds(Backend::parse(text).is_some(), format!("\"{text}\" {why}"))
}

pub(super) fn source(text: &str) -> Result {
    let address = text.parse::<IpAddr>();
    let is_machine = address.is_ok_and(|address| !address.is_unspecified());
    holds(is_machine, "is not an address of a machine")
}
