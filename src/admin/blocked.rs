//! `tfd blocked` and `tfd unblock`, and what else operators do to logins at once:
//! by the file that the authenticator keeps, so that no reading of the
//! configuration is needed.

use std::io;
use std::net::IpAddr;
use std::path::Path;
use std::process::ExitCode;

use jiff::Timestamp;
use serde::Serialize;

use crate::admin::status::{fail, free_elsewhere, say};
use crate::text::{columns, json_line, shown};
use crate::users::throttle::{self, Blocked, FOR_GOOD, Target, Throttle, now};

/// The bits of an address that count.
const NETWORK_BITS: u32 = 64;

/// A block in JSON, see tfd(8).
#[derive(Serialize)]
struct Entry<'a> {
    account: Option<&'a str>,
    address: Option<String>,
    failures: Option<u32>,
    until: Option<String>,
}

/// The state of logins next to a users file; `None` where no tfd has made it yet
/// and none is to be made.
pub(super) fn open(users: &Path, is_made: bool) -> Result<Option<Throttle>, String> {
    match throttle::open_beside(users, is_made) {
        Ok(file) => Ok(Some(Throttle::for_operator(file))),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(e.to_string()),
    }
}

/// Bars an account or an address until then, or no longer.
pub(super) fn bar(users: &Path, target: Target, until: Option<u64>) -> Result<(), String> {
    let Some(mut throttle) = open(users, until.is_some())? else {
        return Ok(());
    };
    let barred = throttle.bar(target, until);
    barred.map_err(|e| format!("{}.blocked: {e}", users.display()))
}

/// Frees an account or an address: how many blocks that has ended, and a note on
/// what still blocks it.
pub(super) fn free(users: &Path, target: &Target) -> Result<(usize, String), String> {
    let Some(mut throttle) = open(users, false)? else {
        return Ok((0, String::new()));
    };
    let whole = match target {
        Target::Account(name) => throttle.whole_addresses_of(name, now()),
        Target::Address(_) => Vec::new(),
    };
    let freed = throttle.free(target, now());
    let freed = freed.map_err(|e| format!("{}.blocked: {e}", users.display()))?;
    let note = whole.iter().map(|address| {
        let address = network(*address);
        format!("; {address} is blocked for every account: tfd unblock {address}")
    });
    Ok((freed, note.collect()))
}

/// Runs `tfd unblock`; by the control socket of a tfd that shares its state, at all servers.
pub(super) fn unblock(
    users: Result<std::path::PathBuf, String>,
    whom: &str,
    control: Option<&Path>,
) -> ExitCode {
    let address = whom.split('/').next().unwrap_or(whom);
    let target = Target::of(address);
    let freed = users.and_then(|users| free(&users, &target));
    let elsewhere = control.map(|control| free_elsewhere(control, target));
    match (freed, elsewhere) {
        (Err(text), _) => fail(text),
        (Ok((_, note)), Some(Ok(()))) => say(&format!("{whom} unblocked at all servers{note}\n")),
        (Ok((count, note)), Some(Err(e))) => {
            let here = if count > 0 {
                "unblocked here"
            } else {
                "not blocked here"
            };
            fail(format!(
                "{whom} is {here}, other servers did not hear of it: {e}{note}"
            ))
        }
        (Ok((0, note)), None) => fail(format!("{} is not blocked{note}", shown(whom.as_bytes()))),
        (Ok((_, note)), None) => say(&format!("{whom} unblocked{note}\n")),
    }
}

/// Runs `tfd blocked`.
pub(super) fn report(users: Result<std::path::PathBuf, String>, as_json: bool) -> ExitCode {
    let all = users.and_then(|users| {
        let throttle = open(&users, false)?;
        Ok(throttle.map_or_else(Vec::new, |mut throttle| throttle.all(now())))
    });
    match all {
        Ok(all) if as_json => {
            let entries: Vec<Entry<'_>> = all.iter().map(entry).collect();
            say(&json_line(&entries))
        }
        Ok(all) if all.is_empty() => say("nobody is blocked\n"),
        Ok(all) => say(&table(&all)),
        Err(text) => fail(text),
    }
}

fn entry(blocked: &Blocked) -> Entry<'_> {
    Entry {
        account: blocked.account.as_deref(),
        address: blocked.address.map(network),
        failures: blocked.failures,
        until: time(blocked.until),
    }
}

fn table(all: &[Blocked]) -> String {
    let mut rows = vec![["ACCOUNT", "ADDRESS", "FAILURES", "UNTIL"].map(str::to_owned)];
    rows.extend(all.iter().map(|blocked| {
        let account = blocked.account.as_deref();
        [
            account.map_or_else(|| "all".to_owned(), |name| shown(name.as_bytes())),
            blocked.address.map_or_else(|| "all".to_owned(), network),
            blocked.failures.map_or("-".to_owned(), |n| n.to_string()),
            time(blocked.until).unwrap_or_else(|| "unlocked".to_owned()),
        ]
    }));
    columns(&rows)
}

/// What counts as one address.
fn network(address: IpAddr) -> String {
    match address {
        IpAddr::V4(v4) => v4.to_string(),
        IpAddr::V6(v6) => format!("{v6}/{NETWORK_BITS}"),
    }
}

/// The end of a block, in UTC.
pub(super) fn time(until: u64) -> Option<String> {
    let seconds = i64::try_from(until).ok().filter(|_| until != FOR_GOOD)?;
    Some(Timestamp::from_second(seconds).ok()?.to_string())
}
