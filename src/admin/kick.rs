//! `tfd kick`: ends sessions, and keeps their account or address out, for a while
//! or until it is unlocked. What keeps out comes first, or a client would be back
//! before it.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{ArgGroup, Args};

use crate::admin::status::{ask, fail, say};
use crate::admin::user::{self, UsersFile};
use crate::admin::{blocked, one_line};
use crate::daemon::helpers::control::request::{Request, Whom};
use crate::text::parse_span;
use crate::users::throttle::{self, Target};

// Whom to kick. No doc comment: clap would show it.
#[derive(Args)]
#[command(group(ArgGroup::new("whom").args(["slot", "user", "address", "all"]).required(true)))]
#[command(group(ArgGroup::new("out").args(["lock", "span"])))]
pub(super) struct Kick {
    /// The session of this slot
    #[arg(long)]
    slot: Option<u32>,
    /// All sessions of this user
    #[arg(long, value_name = "NAME", value_parser = one_line)]
    user: Option<String>,
    /// All sessions from this address
    #[arg(long, value_name = "IP")]
    address: Option<IpAddr>,
    /// All sessions
    #[arg(long)]
    all: bool,
    /// Lock the account first, as tfd user lock does
    #[arg(long, requires = "user")]
    lock: bool,
    /// Keep the user or the address out for so long, such as 30s, 10m, 2h or 1d
    #[arg(long = "for", value_name = "TIME", value_parser = read_span)]
    #[arg(conflicts_with_all = ["slot", "all"])]
    span: Option<u64>,
    #[command(flatten)]
    file: UsersFile,
    /// The control socket of the running tfd
    #[arg(long, value_name = "PATH", default_value = "/run/tfd/control")]
    control: PathBuf,
}

fn read_span(text: &str) -> Result<u64, &'static str> {
    let span = parse_span(text).filter(|seconds| *seconds > 0);
    span.ok_or("use a number with s, m, h or d behind it")
}

/// Runs it.
pub(super) fn run(kick: Kick) -> ExitCode {
    let Kick {
        slot,
        user,
        address,
        lock,
        span,
        file,
        control,
        ..
    } = kick;
    if lock || span.is_some() {
        let until = span.map(|span| throttle::now().saturating_add(span));
        let whom = (user.as_deref(), address);
        match file.path().and_then(|file| keep_out(&file, whom, until)) {
            Ok(text) => drop(say(&format!("{text}\n"))),
            Err(text) => return fail(format!("{text}: no session was ended")),
        }
    }
    let whom = match (slot, user, address) {
        (Some(slot), ..) => Whom::Slot(slot),
        (_, Some(user), _) => Whom::User(user),
        (.., Some(address)) => Whom::Address(address),
        _ => Whom::All,
    };
    ask(&control, &Request::Kick(whom))
}

/// Bars an account or an address until then, or locks the account.
fn keep_out(
    file: &Path,
    (user, address): (Option<&str>, Option<IpAddr>),
    until: Option<u64>,
) -> Result<String, String> {
    let whom = match (user, address) {
        (Some(user), _) => user::existing(file, user)?,
        (None, address) => address.map(|ip| ip.to_string()).unwrap_or_default(),
    };
    let Some(until) = until else {
        return user::set_locked(file, &whom, true);
    };
    blocked::bar(file, Target::of(&whom), Some(until))?;
    let time = blocked::time(until).unwrap_or_default();
    Ok(format!("{whom} is kept out until {time}"))
}
