//! `tfd user totp`: gives an account one-time codes. A new secret counts once a
//! code of it has been shown, so that nobody is locked out by an app that was not
//! set up.

use std::io::{BufRead, IsTerminal};
use std::path::Path;

use clap::Args;
use qrcode::QrCode;
use qrcode::render::unicode::Dense1x2;
use zeroize::Zeroizing;

use super::{find, remark};
use crate::admin::blocked;
use crate::users::account::Account;
use crate::users::file::Edit;
use crate::users::throttle;
use crate::users::totp::Secret;

// What `tfd user totp` does.
#[derive(Args)]
pub(in crate::admin) struct Totp {
    /// The account
    name: String,
    /// Let the new secret count: a code that the app shows now
    #[arg(long, value_name = "CODE")]
    confirm: Option<String>,
    /// Let the account log in without codes
    #[arg(long, conflicts_with = "confirm")]
    remove: bool,
    /// The name that apps show for this server [default: the host's]
    #[arg(long, value_name = "NAME", conflicts_with_all = ["confirm", "remove"])]
    issuer: Option<String>,
}

/// Runs it.
pub(super) fn run(file: &Path, totp: &Totp) -> Result<String, String> {
    let name = totp.name.as_str();
    if totp.remove {
        return remove(file, name);
    }
    if let Some(code) = &totp.confirm {
        return confirm(file, name, code);
    }
    let secret = Secret::make()?;
    let host = || {
        rustix::system::uname()
            .nodename()
            .to_string_lossy()
            .into_owned()
    };
    let issuer = totp.issuer.clone().unwrap_or_else(host);
    let url = secret.url(name, &issuer);
    change(file, name, |account| {
        account.next_totp = Some(secret);
        Ok(())
    })?;
    let picture = QrCode::new(url.as_bytes()).map_err(|e| e.to_string())?;
    let picture = picture.render::<Dense1x2>().build();
    let picture = Zeroizing::new(picture);
    let text = Zeroizing::new(format!("{}\n{}\n", *picture, *url));
    crate::admin::status::say(&text);
    let later = format!(
        "{name}: the codes count once one is confirmed: tfd user totp {name} --confirm CODE"
    );
    if !std::io::stdin().is_terminal() {
        return Ok(later);
    }
    eprint!("Code that the app shows (empty: later): ");
    let mut code = String::new();
    let read = std::io::stdin().lock().read_line(&mut code);
    read.map_err(|e| e.to_string())?;
    match code.trim() {
        "" => Ok(later),
        code => confirm(file, name, code),
    }
}

/// Lets the new secret count if this is a code of it.
fn confirm(file: &Path, name: &str, code: &str) -> Result<String, String> {
    let code: String = code.split_whitespace().collect();
    let note = change(file, name, |account| {
        let next = account.next_totp.take();
        let next = next.ok_or_else(|| {
            format!("{name} has no secret to confirm: make one with tfd user totp {name}")
        })?;
        let is_right = next.step_of(code.as_bytes(), throttle::now()).is_some();
        if !is_right {
            return Err(format!(
                "{name}: wrong code: compare the clocks of the phone and of this machine"
            ));
        }
        account.totp = Some(next);
        Ok(())
    })?;
    forget_codes(file, name)?;
    Ok(format!(
        "{name} needs a one-time code from the next login on{note}"
    ))
}

fn remove(file: &Path, name: &str) -> Result<String, String> {
    let note = change(file, name, |account| {
        if account.totp.is_none() && account.next_totp.is_none() {
            return Err(format!("{name} needs no one-time code"));
        }
        (account.totp, account.next_totp) = (None, None);
        Ok(())
    })?;
    Ok(format!(
        "{name} needs no one-time code from the next login on{note}"
    ))
}

/// The codes of an old secret say nothing about those of the new one.
fn forget_codes(file: &Path, name: &str) -> Result<(), String> {
    let Some(mut throttle) = blocked::open(file, false)? else {
        return Ok(());
    };
    let forgotten = throttle.forget_codes(name);
    forgotten.map_err(|e| format!("{}.blocked: {e}", file.display()))
}

/// Changes an account; a note on what keeps the change from counting.
fn change(
    file: &Path,
    name: &str,
    what: impl FnOnce(&mut Account) -> Result<(), String>,
) -> Result<String, String> {
    let mut edit = Edit::begin(file)?;
    let mut account = find(&edit, name)?;
    what(&mut account)?;
    edit.put(&account);
    let problem = edit.problem();
    edit.commit()?;
    Ok(remark(problem))
}
