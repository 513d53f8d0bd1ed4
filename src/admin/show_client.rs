//! `tfd show-client`: prints what clients need, as [`Handover`] has it. Reads the
//! configuration as it is now, and changes nothing.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;

use crate::admin::status::{fail, say};
use crate::admin::{ConfigFile, keygen};
use crate::config::{Config, Listener, Mode, Protocol};
use crate::handover::{Bbftp, Handover, Tf};
use crate::net::tls::certificate;
use crate::replace::{self, Access};
use crate::tf::key;
use crate::users::file::read;

// Whose client. No doc comment: clap would show it.
#[derive(Args)]
pub(super) struct ShowClient {
    /// The account it is for [default: none]
    #[arg(value_name = "ACCOUNT")]
    account: Option<String>,
    /// A new file, readable by its owner only, instead of standard output
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// The name or address by which clients reach the server [default: the
    /// first in its certificate, else the host's name]
    #[arg(long)]
    name: Option<String>,
    #[command(flatten)]
    file: ConfigFile,
}

/// Runs `tfd show-client`: its exit code.
pub(super) fn run(arguments: &ShowClient) -> ExitCode {
    let account = arguments.account.as_deref();
    let text = |config: &Config| {
        known_account(config, account)?;
        of_server(config, arguments.name.as_deref(), account)?.to_text()
    };
    match &arguments.out {
        None => of_config(&arguments.file.config, text),
        Some(file) => match loaded(&arguments.file.config).and_then(|config| text(&config)) {
            Ok(text) => match keygen::write_new(file, text.as_bytes(), 0o600) {
                Ok(()) => ExitCode::SUCCESS,
                Err(e) => fail(format!("{}: {e}", file.display())),
            },
            Err(text) => fail(text),
        },
    }
}

/// Prints a text that is made of a configuration: the exit code.
pub(super) fn of_config(
    path: &Path,
    text: impl FnOnce(&Config) -> Result<String, String>,
) -> ExitCode {
    match loaded(path).and_then(|config| text(&config)) {
        Ok(text) => say(&text),
        Err(text) => fail(text),
    }
}

fn loaded(path: &Path) -> Result<Config, String> {
    Config::load(path).map_err(|problems| {
        let problems: Vec<_> = problems.iter().map(ToString::to_string).collect();
        problems.join("\ntfd: ")
    })
}

/// Makes sure that there is an account of this name.
fn known_account(config: &Config, account: Option<&str>) -> Result<(), String> {
    let Some(account) = account else {
        return Ok(());
    };
    let users = config.server.users.as_ref();
    let Some(users) = users.filter(|_| config.server.mode == Mode::MultiUser) else {
        return Err("there are no accounts in single-user mode: leave the name out".to_owned());
    };
    let accounts = read(users).map_err(|problems| problems.join("\n"))?;
    match accounts.iter().any(|known| known.name == account) {
        true => Ok(()),
        false => Err(format!("no account {account}: see tfd user list")),
    }
}

/// What clients of a server need.
///
/// # Errors
/// One line: which of its files cannot be read.
pub(super) fn of_server(
    config: &Config,
    name: Option<&str>,
    account: Option<&str>,
) -> Result<Handover, String> {
    if config.proxy().is_some() {
        return Err("a proxy has no hash and no key: ask the server behind it".to_owned());
    }
    let certificate = match &config.server.tls {
        Some(tls) => Some(certificate::read_file(&tls.certificate)?),
        None => None,
    };
    let certified = certificate.as_deref().and_then(certificate::first_name);
    let own = || {
        rustix::system::uname()
            .nodename()
            .to_string_lossy()
            .into_owned()
    };
    let name = name.map(str::to_owned).or(certified).unwrap_or_else(own);
    let is_own = |pem: &&Vec<u8>| certificate::is_self_signed(pem);
    let tls_pin = match certificate.as_ref().filter(is_own) {
        Some(pem) => Some(format!("SHA256:{}", keygen::pin(pem)?)),
        None => None,
    };
    let address = |protocol, tls| address(config, &name, protocol, tls);
    let tf = match &config.tf {
        Some(tf) => {
            let key = key::read_key(&tf.private_key)?;
            let pem = key.public_key_to_pem().map_err(|e| e.to_string())?;
            Some(Tf {
                tls_address: address(Protocol::Tf, true),
                address: address(Protocol::Tf, false),
                version: tf.version.clone(),
                hash: tf.hash.clone(),
                fingerprint: format!("SHA256:{}", keygen::fingerprint(&key)?),
                key: String::from_utf8_lossy(&pem).into_owned(),
            })
        }
        None => None,
    };
    let bbftp = config.bbftp.as_ref().map(|_| Bbftp {
        tls_address: address(Protocol::Bbftp, true),
        address: address(Protocol::Bbftp, false),
    });
    Ok(Handover {
        tls_pin,
        user: account.map(str::to_owned),
        tf,
        bbftp,
        name,
    })
}

/// The first address of a protocol, by the server's name.
fn address(config: &Config, name: &str, protocol: Protocol, tls: bool) -> Option<String> {
    let is_meant = |listener: &Listener| listener.protocol == protocol && listener.tls == tls;
    let listener = config.listeners().into_iter().find(is_meant)?;
    let host = match name.parse() {
        Ok(IpAddr::V6(_)) => format!("[{name}]"),
        _ => name.to_owned(),
    };
    Some(format!("{host}:{}", listener.address.port()))
}

/// Writes what clients need to a file that only its owner may read, in place of
/// an older one.
pub(super) fn replace(file: &Path, handover: &Handover) -> Result<(), String> {
    let failed = |e: std::io::Error| format!("{}: {e}", file.display());
    let text = handover.to_text()?;
    replace::replace(file, text.as_bytes(), Access::Secret).map_err(failed)
}
