//! Notification mode (document, "The notification system"): ADDNTFY makes a
//! list of directories, STARTNTFY reports files in them to the client, for the
//! rest of the session.

mod events;
mod serve;
mod watch;

use std::time::Duration;

use rustix::io::Errno;

pub(crate) use self::serve::serve;
use crate::store::RootPath;
use crate::tf::env::Env;
use crate::tf::status::{Reply, Status};

/// The most entries of one session.
const MAX_LISTED: usize = 4096;

/// An entry of the list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// How the names begin that the client asks for.
    pub token: Vec<u8>,
    /// The directory.
    pub path: RootPath,
}

/// ADDNTFY (document, "ADDNTFY"): adds a directory to the list.
///
/// # Errors
/// 1 or 5.
pub(crate) fn add(env: &mut Env, token: Vec<u8>, path: RootPath) -> Result<Reply, Status> {
    env.root.open_dir(&path).map_err(|e| match e {
        Errno::ACCESS | Errno::PERM | Errno::XDEV => Status::AccessDenied,
        _ => Status::NotifyAdd,
    })?;
    if env.watches.len() >= MAX_LISTED {
        return Err(Status::NotifyAdd);
    }
    env.watches.push(Listed { token, path });
    Ok(Reply::Ok)
}

/// The interval of a client that sends none, or one below zero.
const DEFAULT_INTERVAL: Duration = Duration::from_millis(25);

/// The longest interval, in seconds.
const MAX_SECONDS: f64 = 1e9;

/// The longest number, in bytes.
const MAX_TEXT: usize = 64;

/// The interval of STARTNTFY: the seconds that a text begins with, `floor` at the least.
fn interval(text: &[u8], floor: Duration) -> Duration {
    let wanted = number(text).filter(|seconds| *seconds > 0.0);
    wanted
        .map_or(DEFAULT_INTERVAL, |seconds| {
            Duration::from_secs_f64(seconds.min(MAX_SECONDS))
        })
        .max(floor)
}

/// The longest start of a text that is a number.
fn number(text: &[u8]) -> Option<f64> {
    let text = text.trim_ascii_start();
    (1..=text.len().min(MAX_TEXT)).rev().find_map(|len| {
        let number: f64 = std::str::from_utf8(&text[..len]).ok()?.parse().ok()?;
        number.is_finite().then_some(number)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interval_is_seconds_and_what_is_none_is_25_ms() {
        let floor = Duration::from_millis(1);
        for (text, milliseconds) in [
            ("3.3", 3300),
            (" 0.5s", 500),
            ("1.0e-9", 1),
            ("2e", 2000),
            ("", 25),
            ("0", 25),
            ("soon", 25),
            ("inf", 25),
            ("nan", 25),
            ("-1", 25),
            ("1e300", 1_000_000_000_000),
        ] {
            let expected = Duration::from_millis(milliseconds);
            assert_eq!(interval(text.as_bytes(), floor), expected, "{text}");
        }
        assert_eq!(
            interval(b"0.001", Duration::from_secs(1)),
            Duration::from_secs(1)
        );
    }
}
